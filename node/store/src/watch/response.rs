//! What a stream is told.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::encode_varint;
use quorate_api::etcdserverpb::{ResponseHeader, WatchResponse};
use quorate_api::mvccpb;

use super::event::delimited_length;

/// The id of a response that is about no single watcher: a refused creation, or progress of the
/// whole stream.
pub const NO_WATCHER: i64 = -1;

/// One `WatchResponse`, without the member's part of the header, its events encoded already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The watcher, or [`NO_WATCHER`].
    pub watch_id: i64,
    /// `header.revision`. For events: all of this watcher's events up to it were delivered with
    /// this response. For progress: likewise of the watcher, or of all of the stream's.
    pub revision: i64,
    /// It answers a create request.
    pub created: bool,
    /// The watcher is no more.
    pub canceled: bool,
    /// Not 0: the watcher was canceled because what it takes next is compacted.
    pub compact_revision: i64,
    /// Why a creation was refused, in etcd's words.
    pub cancel_reason: Cow<'static, str>,
    /// More of the same response follows.
    pub fragment: bool,
    /// Encoded `mvccpb.Event`s, in order.
    pub events: Vec<Bytes>,
}

/// Room for the header and the numbers when the size of a response is estimated.
const FRAME_BYTES: usize = 64;
const EVENTS_TAG: u8 = 0x5a;
const HEADER_TAG: u8 = 0x0a;

impl Response {
    /// About as many bytes as it has on the wire.
    pub fn size(&self) -> usize {
        let events: usize = self.events.iter().map(|event| delimited_length(event.len())).sum();
        FRAME_BYTES + self.cancel_reason.len() + events
    }

    /// The encoded `WatchResponse`: the events' bytes are copied as they are. Cluster, member and
    /// term come from `header`, its revision from this response.
    pub fn encode(&self, header: &ResponseHeader) -> Bytes {
        let mut out = BytesMut::with_capacity(self.encoded_len(header));
        self.encode_to(header, &mut out);
        out.freeze()
    }

    /// The length of what [`encode`](Self::encode) gives.
    pub fn encoded_len(&self, header: &ResponseHeader) -> usize {
        let header = ResponseHeader { revision: self.revision, ..*header };
        let events: usize = self.events.iter().map(|event| delimited_length(event.len())).sum();
        delimited_length(header.encoded_len()) + self.frame().encoded_len() + events
    }

    /// Writes what [`encode`](Self::encode) gives.
    pub fn encode_to(&self, header: &ResponseHeader, out: &mut impl BufMut) {
        self.encode_head(header, out);
        for event in &self.events {
            Self::encode_event_head(event.len(), out);
            out.put_slice(event);
        }
    }

    /// Writes what comes before the events.
    pub fn encode_head(&self, header: &ResponseHeader, out: &mut impl BufMut) {
        let header = ResponseHeader { revision: self.revision, ..*header };
        out.put_u8(HEADER_TAG);
        encode_varint(header.encoded_len() as u64, out);
        header.encode_raw(out);
        self.frame().encode_raw(out);
    }

    /// Writes what comes before an event of so many bytes.
    pub fn encode_event_head(event_bytes: usize, out: &mut impl BufMut) {
        out.put_u8(EVENTS_TAG);
        encode_varint(event_bytes as u64, out);
    }

    /// The decoded `WatchResponse`, for callers that do not count bytes.
    ///
    /// # Errors
    /// Never for a response of a hub: its events are encoded by it.
    pub fn to_message(&self, header: &ResponseHeader) -> Result<WatchResponse, prost::DecodeError> {
        let header = ResponseHeader { revision: self.revision, ..*header };
        let events = self.events.iter().map(|event| mvccpb::Event::decode(event.clone()));
        Ok(WatchResponse {
            header: Some(header),
            events: events.collect::<Result<_, _>>()?,
            ..self.frame()
        })
    }

    /// The response without header and events.
    fn frame(&self) -> WatchResponse {
        WatchResponse {
            header: None,
            watch_id: self.watch_id,
            created: self.created,
            canceled: self.canceled,
            compact_revision: self.compact_revision,
            cancel_reason: self.cancel_reason.to_string(),
            fragment: self.fragment,
            events: Vec::new(),
        }
    }

    /// The same response in pieces of less than `bytes`, as far as single events allow; all but
    /// the last are marked.
    pub(super) fn fragments(mut self, bytes: usize) -> Vec<Self> {
        if self.size() < bytes || self.events.len() < 2 {
            return vec![self];
        }
        let events = std::mem::take(&mut self.events);
        let frame = self.size();
        let mut pieces = Vec::new();
        let mut piece = self.clone();
        let mut size = frame;
        for event in events {
            let length = delimited_length(event.len());
            if !piece.events.is_empty() && size + length >= bytes {
                piece.fragment = true;
                pieces.push(std::mem::replace(&mut piece, self.clone()));
                size = frame;
            }
            size += length;
            piece.events.push(event);
        }
        pieces.push(piece);
        pieces
    }
}
