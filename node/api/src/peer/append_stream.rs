//! The append stream (etcd's "msgappv2"): log entries from a leader to one follower.
//!
//! ```text
//!   heartbeat   00
//!   entries     01 │ count │ { len │ entry } × count │ commit
//!   message     02 │ len │ message
//! ```
//!
//! Both ends remember the term of the last whole message and the index of the last entry. While a
//! leader replicates steadily, the next append starts there, in that term, and goes as `entries`:
//! everything but entries and commit follows from the memory. Any other append goes whole and
//! resets the memory. A stream starts with a memory of zero.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;

use super::frame::{FrameError, Incoming, LENGTH_BYTES, incoming, length_at, within};
use crate::limits::PEER_MESSAGE_BYTES_MAX;
use crate::raftpb::{Entry, Message, MessageType};

const HEARTBEAT: u8 = 0;
const ENTRIES: u8 = 1;
const MESSAGE: u8 = 2;

/// What both ends of a stream remember.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Position {
    /// The term of the last whole message.
    term: u64,
    /// The index of the last entry sent.
    index: u64,
}

impl Position {
    /// Where the stream stands after a whole message.
    fn after(message: &Message) -> Self {
        let index = message.entries.last().map_or(message.index(), Entry::index);
        Self { term: message.term(), index }
    }
}

/// Writes one append stream.
#[derive(Clone, Debug, Default)]
pub struct AppendEncoder {
    position: Position,
}

impl AppendEncoder {
    /// Appends the heartbeat of the link.
    pub fn encode_heartbeat(&mut self, out: &mut BytesMut) {
        out.put_u8(HEARTBEAT);
    }

    /// Appends a message, in the short form if it continues the stream.
    pub fn encode(&mut self, message: &Message, out: &mut BytesMut) {
        if self.is_continued_by(message) {
            return self.encode_entries(message, out);
        }
        let bytes = message.encoded_len();
        out.reserve(1 + LENGTH_BYTES + bytes);
        out.put_u8(MESSAGE);
        out.put_u64(bytes as u64);
        message.encode_raw(out);
        self.position = Position::after(message);
    }

    fn is_continued_by(&self, message: &Message) -> bool {
        message.r#type == Some(MessageType::MsgApp.into())
            && message.index() == self.position.index
            && message.log_term() == self.position.term
            && message.term() == self.position.term
    }

    fn encode_entries(&mut self, message: &Message, out: &mut BytesMut) {
        let payload: usize =
            message.entries.iter().map(|entry| LENGTH_BYTES + entry.encoded_len()).sum();
        out.reserve(1 + 2 * LENGTH_BYTES + payload);
        out.put_u8(ENTRIES);
        out.put_u64(message.entries.len() as u64);
        for entry in &message.entries {
            out.put_u64(entry.encoded_len() as u64);
            entry.encode_raw(out);
        }
        self.position.index = self.position.index.wrapping_add(message.entries.len() as u64);
        out.put_u64(message.commit());
    }
}

/// Reads one append stream.
#[derive(Clone, Debug)]
pub struct AppendDecoder {
    local: u64,
    remote: u64,
    position: Position,
    scan: Option<Scan>,
}

/// How far a frame of entries has been walked, so that each arrival of bytes continues the walk.
#[derive(Clone, Copy, Debug)]
struct Scan {
    /// Entries whose length has not been read.
    entries_left: u64,
    /// Where the next length, or the commit, stands in the buffer.
    offset: usize,
}

impl AppendDecoder {
    /// A decoder of the stream that `remote` sends to `local`; the short form carries neither id.
    pub fn new(local: u64, remote: u64) -> Self {
        Self { local, remote, position: Position::default(), scan: None }
    }

    /// Takes the next frame off the buffer; `None` when more bytes have to arrive. The caller adds
    /// bytes at the end of the buffer and takes none away between two calls.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Incoming>, FrameError> {
        match buffer.first() {
            None => Ok(None),
            Some(&HEARTBEAT) => {
                let _ = buffer.split_to(1);
                Ok(Some(Incoming::LinkHeartbeat))
            }
            Some(&ENTRIES) => self.decode_entries(buffer),
            Some(&MESSAGE) => self.decode_message(buffer),
            Some(&kind) => Err(FrameError::UnknownKind(kind)),
        }
    }

    fn decode_message(&mut self, buffer: &mut BytesMut) -> Result<Option<Incoming>, FrameError> {
        let Some(length) = length_at(buffer, 1) else { return Ok(None) };
        let head = 1 + LENGTH_BYTES;
        let length = within(length, PEER_MESSAGE_BYTES_MAX)?;
        if buffer.len() - head < length {
            return Ok(None);
        }
        let frame = buffer.split_to(head + length).freeze();
        let incoming = incoming(frame.slice(head..))?;
        if let Incoming::Message(message) = &incoming {
            self.position = Position::after(message);
        }
        Ok(Some(incoming))
    }

    fn decode_entries(&mut self, buffer: &mut BytesMut) -> Result<Option<Incoming>, FrameError> {
        let Some(count) = length_at(buffer, 1) else { return Ok(None) };
        let body = 1 + LENGTH_BYTES;
        let mut scan = self.scan.unwrap_or(Scan { entries_left: count, offset: body });
        while scan.entries_left > 0 {
            let Some(length) = length_at(buffer, scan.offset) else { break };
            let length = within(length, PEER_MESSAGE_BYTES_MAX)?;
            scan.offset += LENGTH_BYTES + length;
            within(scan.offset as u64, PEER_MESSAGE_BYTES_MAX)?;
            scan.entries_left -= 1;
        }
        self.scan = Some(scan);
        if scan.entries_left > 0 {
            return Ok(None);
        }
        let Some(commit) = length_at(buffer, scan.offset) else { return Ok(None) };
        self.scan = None;
        let frame = buffer.split_to(scan.offset + LENGTH_BYTES).freeze();
        let entries = entries_of(frame.slice(body..scan.offset))?;
        let message = Message {
            r#type: Some(MessageType::MsgApp.into()),
            to: Some(self.local),
            from: Some(self.remote),
            term: Some(self.position.term),
            log_term: Some(self.position.term),
            index: Some(self.position.index),
            commit: Some(commit),
            entries,
            ..Message::default()
        };
        self.position.index = self.position.index.wrapping_add(count);
        Ok(Some(Incoming::Message(Box::new(message))))
    }
}

/// Decodes entries, each behind its length, out of bytes that hold exactly them. Their data are
/// slices of the bytes.
fn entries_of(mut bytes: Bytes) -> Result<Vec<Entry>, FrameError> {
    let mut entries = Vec::new();
    while let Some(length) = length_at(&bytes, 0) {
        let length = within(length, (bytes.len() - LENGTH_BYTES) as u64)?;
        let _ = bytes.split_to(LENGTH_BYTES);
        entries.push(Entry::decode(bytes.split_to(length))?);
    }
    Ok(entries)
}
