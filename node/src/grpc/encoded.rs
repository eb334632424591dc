//! Answers that are sent as they are stored.
//!
//! A `KeyValue` never changes once it is written, and an event is encoded once for all its
//! watchers: these messages hold such bytes and put a frame around them. They can be encoded
//! only.
//!
//! ```text
//!   RangeResponse    0a <header>  { 12 len <KeyValue> }*  18 more  20 count
//!   WatchResponse    0a <header>  numbers  { 5a len <Event> }*
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::encoding::{
    DecodeContext, WireType, bool, encode_varint, encoded_len_varint, int64, message, skip_field,
};
use prost::{DecodeError, Message};
use quorate_api::etcdserverpb as pb;
use quorate_store::mvcc::range::RangeOutcome;
use quorate_store::mvcc::stream::RangeChunk;
use quorate_store::watch::Response;

use super::measured::PIECE_BYTES;

const HEADER: u32 = 1;
const KVS: u8 = 2 << 3 | 2;
const MORE: u32 = 3;
const COUNT: u32 = 4;
/// Of a `SnapshotResponse`.
const BLOB: u8 = 3 << 3 | 2;
const RANGE_RESPONSE: u8 = 1 << 3 | 2;
/// A larger `KeyValue` is sent from where it is.
const COPIED_BYTES_MAX: usize = 16 << 10;

fn delimited_length(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

/// `etcdserverpb.RangeResponse` around stored bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct RangeResponse {
    header: Option<pb::ResponseHeader>,
    kvs: Vec<Bytes>,
    more: bool,
    count: i64,
}

impl RangeResponse {
    /// The answer of the member that `header` names; its revision is the outcome's.
    #[must_use]
    pub(super) fn new(header: pb::ResponseHeader, outcome: RangeOutcome) -> Self {
        let RangeOutcome { revision, kvs, more, count } = outcome;
        Self { header: Some(pb::ResponseHeader { revision, ..header }), kvs, more, count }
    }
}

impl RangeResponse {
    /// The message with its prefix, in pieces that are written when they are asked for.
    pub(super) fn into_pieces(self) -> Pieces {
        let length = u32::try_from(self.encoded_len()).expect("an answer has a limit below this");
        let mut front = BytesMut::new();
        front.put_u8(0);
        front.put_u32(length);
        if let Some(header) = &self.header {
            message::encode(HEADER, header, &mut front);
        }
        let mut end = BytesMut::new();
        Self { kvs: Vec::new(), header: None, ..self }.encode_raw(&mut end);
        let kvs = self.kvs.into_iter();
        Pieces { front, kvs, whole: None, end: Some(end.freeze()) }
    }
}

/// A [`RangeResponse`] on its way out. What was given out is let go of.
#[derive(Debug)]
pub(super) struct Pieces {
    /// Written, and not given out.
    front: BytesMut,
    kvs: std::vec::IntoIter<Bytes>,
    /// Follows what is in front; too large to be copied.
    whole: Option<Bytes>,
    end: Option<Bytes>,
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.front.is_empty()
            && let Some(whole) = self.whole.take()
        {
            return Some(whole);
        }
        if self.kvs.len() > 0 {
            self.front.reserve(PIECE_BYTES + COPIED_BYTES_MAX);
        }
        while self.front.len() < PIECE_BYTES && self.whole.is_none() {
            if let Some(kv) = self.kvs.next() {
                self.front.put_u8(KVS);
                encode_varint(kv.len() as u64, &mut self.front);
                if kv.len() < COPIED_BYTES_MAX {
                    self.front.put_slice(&kv);
                } else {
                    self.whole = Some(kv);
                }
            } else if let Some(end) = self.end.take() {
                self.front.put_slice(&end);
            } else {
                break;
            }
        }
        let piece = self.front.split();
        Some(piece.freeze()).filter(|piece| !piece.is_empty())
    }
}

impl Message for RangeResponse {
    fn encode_raw(&self, out: &mut impl BufMut) {
        if let Some(header) = &self.header {
            message::encode(HEADER, header, out);
        }
        for kv in &self.kvs {
            out.put_u8(KVS);
            encode_varint(kv.len() as u64, out);
            out.put_slice(kv);
        }
        if self.more {
            bool::encode(MORE, &self.more, out);
        }
        if self.count != 0 {
            int64::encode(COUNT, &self.count, out);
        }
    }

    fn encoded_len(&self) -> usize {
        let header = self.header.as_ref().map_or(0, |header| message::encoded_len(HEADER, header));
        let kvs: usize = self.kvs.iter().map(|kv| delimited_length(kv.len())).sum();
        let more = if self.more { bool::encoded_len(MORE, &self.more) } else { 0 };
        let count = if self.count == 0 { 0 } else { int64::encoded_len(COUNT, &self.count) };
        header + kvs + more + count
    }

    /// Nothing is kept: the message is only sent.
    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        input: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        skip_field(wire_type, tag, input, context)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// A message of a snapshot with its prefix: what stands before the blob, and the blob as it is,
/// which comes last.
pub(super) fn snapshot_pieces(mut message: pb::SnapshotResponse) -> [Bytes; 2] {
    let blob = std::mem::take(&mut message.blob);
    let of_blob = if blob.is_empty() { 0 } else { delimited_length(blob.len()) };
    let length = u32::try_from(message.encoded_len() + of_blob).expect("a piece is small");
    let mut front = BytesMut::new();
    front.put_u8(0);
    front.put_u32(length);
    message.encode_raw(&mut front);
    if !blob.is_empty() {
        front.put_u8(BLOB);
        encode_varint(blob.len() as u64, &mut front);
    }
    [front.freeze(), blob]
}

/// `etcdserverpb.RangeStreamResponse` around stored bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct RangeStreamResponse {
    range: RangeResponse,
}

impl RangeStreamResponse {
    /// One message of a stream; only the last has header, `more` and `count`.
    #[must_use]
    pub(super) fn new(header: pb::ResponseHeader, chunk: RangeChunk) -> Self {
        let RangeChunk { kvs, last } = chunk;
        let mut range = RangeResponse { kvs, ..RangeResponse::default() };
        if let Some(end) = last {
            range.header = Some(pb::ResponseHeader { revision: end.revision, ..header });
            range.more = end.more;
            range.count = end.count;
        }
        Self { range }
    }
}

impl Message for RangeStreamResponse {
    fn encode_raw(&self, out: &mut impl BufMut) {
        out.put_u8(RANGE_RESPONSE);
        encode_varint(self.range.encoded_len() as u64, out);
        self.range.encode_raw(out);
    }

    fn encoded_len(&self) -> usize {
        delimited_length(self.range.encoded_len())
    }

    /// Nothing is kept: the message is only sent.
    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        input: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        skip_field(wire_type, tag, input, context)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// `etcdserverpb.WatchResponse` around events that the hub has encoded once for all. It is written
/// when it is sent: a client that does not read keeps no copy.
#[derive(Clone, Debug, Default)]
pub(crate) struct WatchResponse {
    pub(super) header: pb::ResponseHeader,
    pub(super) response: Response,
}

impl Message for WatchResponse {
    fn encode_raw(&self, out: &mut impl BufMut) {
        self.response.encode_to(&self.header, out);
    }

    fn encoded_len(&self) -> usize {
        self.response.encoded_len(&self.header)
    }

    /// Nothing is kept: the message is only sent.
    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        input: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        skip_field(wire_type, tag, input, context)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use quorate_api::mvccpb::KeyValue;

    use super::*;

    fn kv(key: &'static str, value_bytes: usize) -> KeyValue {
        KeyValue {
            key: key.into(),
            value: vec![7; value_bytes].into(),
            mod_revision: 3,
            ..KeyValue::default()
        }
    }

    #[test]
    fn a_range_is_encoded_as_its_message() {
        let header = pb::ResponseHeader { cluster_id: 1, member_id: 2, revision: 9, raft_term: 4 };
        for (more, count) in [(false, 0), (true, 300)] {
            let kvs = vec![kv("a", 0), kv("b", 5000)];
            let bytes = kvs.iter().map(|kv| Bytes::from(kv.encode_to_vec())).collect();
            let outcome = RangeOutcome { revision: 5, kvs: bytes, more, count };
            let ours = RangeResponse::new(header, outcome).encode_to_vec();
            let header = Some(pb::ResponseHeader { revision: 5, ..header });
            assert_eq!(ours, pb::RangeResponse { header, kvs, more, count }.encode_to_vec());
        }
    }

    #[test]
    fn pieces_are_the_message_with_its_prefix() {
        let sizes = [&[][..], &[0, 200], &[70_000], &[9, 70_000, 70_001, 5], &[300; 2_000]];
        for (sizes, more) in sizes.into_iter().zip([false, true, false, true, true]) {
            let kvs: Vec<Bytes> =
                sizes.iter().map(|bytes| kv("k", *bytes).encode_to_vec().into()).collect();
            let outcome = RangeOutcome { revision: 5, kvs, more, count: i64::from(more) * 7 };
            let answer = RangeResponse::new(pb::ResponseHeader::default(), outcome);
            let message = answer.encode_to_vec();
            let pieces: Vec<Bytes> = answer.into_pieces().collect();
            assert!(pieces.iter().all(|piece| piece.len() < 2 * PIECE_BYTES));
            let (prefix, sent) = {
                let mut all = Bytes::from(pieces.concat());
                (all.split_to(5), all)
            };
            assert_eq!(sent, message);
            let length = u32::try_from(message.len()).expect("short").to_be_bytes();
            assert_eq!(prefix.as_ref(), [&[0][..], &length].concat());
        }
    }

    #[test]
    fn a_snapshots_pieces_are_the_message_with_its_prefix() {
        let header = pb::ResponseHeader { revision: 7, ..pb::ResponseHeader::default() };
        for (header, blob) in [(None, 0), (Some(header), 1), (None, 200), (Some(header), 70_000)] {
            let message = pb::SnapshotResponse {
                header,
                remaining_bytes: 9_000_000_000,
                blob: vec![3; blob].into(),
                version: "3.7".into(),
            };
            let mut sent = Bytes::from(snapshot_pieces(message.clone()).concat());
            let prefix = sent.split_to(5);
            let length = u32::try_from(sent.len()).expect("short").to_be_bytes();
            assert_eq!(prefix.as_ref(), [&[0][..], &length].concat());
            assert_eq!(pb::SnapshotResponse::decode(sent), Ok(message));
        }
    }

    #[test]
    fn a_chunk_is_encoded_as_its_message() {
        let kvs = vec![kv("key", 200)];
        let bytes = kvs.iter().map(|kv| Bytes::from(kv.encode_to_vec())).collect();
        let chunk = RangeChunk { kvs: bytes, last: None };
        let header = pb::ResponseHeader { cluster_id: 1, ..pb::ResponseHeader::default() };
        let ours = RangeStreamResponse::new(header, chunk).encode_to_vec();
        let range = pb::RangeResponse { kvs, ..pb::RangeResponse::default() };
        let theirs = pb::RangeStreamResponse { range_response: Some(range) };
        assert_eq!(ours, theirs.encode_to_vec());
    }
}
