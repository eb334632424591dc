//! What the streams of the peer protocol have in common.

use bytes::Bytes;
use prost::Message as _;

use crate::raftpb::{Message, MessageType};

/// The bytes of a length or a count.
pub(super) const LENGTH_BYTES: usize = 8;

/// What arrived on a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// The link lives. It is no Raft message and goes no further.
    LinkHeartbeat,
    /// A message for Raft.
    Message(Box<Message>),
}

/// Why the bytes of a peer are refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FrameError {
    /// The first byte of a frame names no kind.
    #[error("unknown kind {0} of a frame in the append stream")]
    UnknownKind(u8),
    /// A frame is longer than a message may be.
    #[error("a frame of {bytes} bytes exceeds the limit of {limit}")]
    TooLong {
        /// What the frame claims.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
    /// A message or an entry does not decode.
    #[error("malformed message from a peer: {0}")]
    Malformed(#[from] prost::DecodeError),
}

/// The big-endian length at this offset, if all of it has arrived.
pub(super) fn length_at(bytes: &[u8], offset: usize) -> Option<u64> {
    let end = offset.checked_add(LENGTH_BYTES)?;
    let length: [u8; LENGTH_BYTES] = bytes.get(offset..end)?.try_into().ok()?;
    Some(u64::from_be_bytes(length))
}

/// A length that is within the limit.
pub(super) fn within(bytes: u64, limit: u64) -> Result<usize, FrameError> {
    let too_long = FrameError::TooLong { bytes, limit };
    if bytes > limit {
        return Err(too_long);
    }
    usize::try_from(bytes).map_err(|_| too_long)
}

/// Decodes a message and tells the link's heartbeat apart: a heartbeat from nobody to nobody,
/// which Raft never sends.
pub(super) fn incoming(bytes: Bytes) -> Result<Incoming, FrameError> {
    let message = Message::decode(bytes)?;
    let is_link_heartbeat = message.r#type == Some(MessageType::MsgHeartbeat.into())
        && message.from() == 0
        && message.to() == 0;
    Ok(match is_link_heartbeat {
        true => Incoming::LinkHeartbeat,
        false => Incoming::Message(Box::new(message)),
    })
}
