//! The message stream, and the head of a snapshot: messages, each behind its length.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message as _;

use super::frame::{FrameError, Incoming, LENGTH_BYTES, incoming, length_at, within};
use crate::limits::{PEER_MESSAGE_BYTES_MAX, SNAPSHOT_MESSAGE_BYTES_MAX};
use crate::raftpb::{Message, MessageType};

/// Appends a message behind its length: a frame of the message stream, or a snapshot's head.
pub fn encode_message(message: &Message, out: &mut BytesMut) {
    let bytes = message.encoded_len();
    out.reserve(LENGTH_BYTES + bytes);
    out.put_u64(bytes as u64);
    message.encode_raw(out);
}

/// Appends the heartbeat of the link: a Raft heartbeat from nobody to nobody.
pub fn encode_heartbeat(out: &mut BytesMut) {
    let heartbeat =
        Message { r#type: Some(MessageType::MsgHeartbeat.into()), ..Message::default() };
    encode_message(&heartbeat, out);
}

/// Reads the message stream. It has no state of its own: frames do not depend on each other.
#[derive(Clone, Copy, Debug, Default)]
pub struct MessageDecoder;

impl MessageDecoder {
    /// Takes the next frame off the buffer; `None` when more bytes have to arrive.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Incoming>, FrameError> {
        take_frame(buffer, PEER_MESSAGE_BYTES_MAX)?.map(incoming).transpose()
    }
}

/// Takes the message in front of a snapshot off the buffer; what stays in the buffer and follows it
/// is the database. `None` when more bytes have to arrive.
pub fn decode_snapshot_head(buffer: &mut BytesMut) -> Result<Option<Message>, FrameError> {
    match take_frame(buffer, SNAPSHOT_MESSAGE_BYTES_MAX)? {
        Some(frame) => Ok(Some(Message::decode(frame)?)),
        None => Ok(None),
    }
}

/// The content of the next frame.
fn take_frame(buffer: &mut BytesMut, limit: u64) -> Result<Option<Bytes>, FrameError> {
    let Some(length) = length_at(buffer, 0) else { return Ok(None) };
    let length = within(length, limit)?;
    if buffer.len() - LENGTH_BYTES < length {
        return Ok(None);
    }
    buffer.advance(LENGTH_BYTES);
    Ok(Some(buffer.split_to(length).freeze()))
}
