//! The protobuf encoding of configuration changes, byte for byte what raftpb reads.
//!
//! ```text
//! ConfChange        1 id   2 kind   3 node id   4 context
//! ConfChangeV2      1 transition   2 repeated ConfChangeSingle   3 context
//! ConfChangeSingle  1 kind   2 node id
//! ```
//! Fields at their default are left out, except kind and node id, which etcd always writes. An
//! unknown field is skipped; an unknown kind is an error, for to guess at it would let members'
//! configurations differ.

use bytes::{BufMut, Bytes, BytesMut};

use super::{ConfChange, ConfChangeKind, ConfChangeSingle, ConfChangeTransition, ConfChangeV2};
use crate::types::NodeId;

/// Changes that one entry may hold: a cluster has far fewer members, and each costs memory
/// before anything else has checked it.
pub(crate) const CHANGES_MAX: usize = 1024;

/// Why bytes are not a configuration change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end within a field.
    #[error("truncated")]
    Truncated,
    /// A number has more than 64 bits.
    #[error("a number has too many bytes")]
    Overlong,
    /// A field has another type than it must have.
    #[error("field {0} has the wrong type")]
    WireType(u64),
    /// A field type that protobuf does not have.
    #[error("wire type {0} does not exist")]
    UnknownWireType(u64),
    /// A kind of change that does not exist.
    #[error("unknown kind of change {0}")]
    UnknownKind(u64),
    /// A transition that does not exist.
    #[error("unknown transition {0}")]
    UnknownTransition(u64),
    /// More changes than any cluster has members.
    #[error("too many changes")]
    TooManyChanges,
}

/// Bytes of `value` as a varint.
pub(crate) fn varint_bytes(value: u64) -> u64 {
    u64::from((64 - (value | 1).leading_zeros()).div_ceil(7))
}

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value as u8) | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn put_number(out: &mut BytesMut, field: u64, value: u64) {
    put_varint(out, field << 3);
    put_varint(out, value);
}

fn put_bytes(out: &mut BytesMut, field: u64, value: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, value.len() as u64);
    out.put_slice(value);
}

enum Value {
    Number(u64),
    Bytes(Bytes),
    /// A fixed-width number, which no field here is.
    Fixed,
}

struct Reader {
    rest: Bytes,
}

impl Reader {
    fn new(bytes: &Bytes) -> Reader {
        Reader { rest: bytes.clone() }
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for (position, byte) in self.rest.iter().enumerate().take(10) {
            let part = u64::from(byte & 0x7f);
            if position == 9 && part > 1 {
                return Err(DecodeError::Overlong);
            }
            value |= part << (7 * position);
            if byte & 0x80 == 0 {
                let _ = self.rest.split_to(position + 1);
                return Ok(value);
            }
        }
        if self.rest.len() < 10 { Err(DecodeError::Truncated) } else { Err(DecodeError::Overlong) }
    }

    fn take(&mut self, length: u64) -> Result<Bytes, DecodeError> {
        match usize::try_from(length) {
            Ok(length) if length <= self.rest.len() => Ok(self.rest.split_to(length)),
            _ => Err(DecodeError::Truncated),
        }
    }

    fn next_field(&mut self) -> Result<Option<(u64, Value)>, DecodeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            other => return Err(DecodeError::UnknownWireType(other)),
        };
        Ok(Some((tag >> 3, value)))
    }
}

fn number(field: u64, value: Value) -> Result<u64, DecodeError> {
    match value {
        Value::Number(number) => Ok(number),
        Value::Bytes(_) | Value::Fixed => Err(DecodeError::WireType(field)),
    }
}

fn bytes(field: u64, value: Value) -> Result<Bytes, DecodeError> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        Value::Number(_) | Value::Fixed => Err(DecodeError::WireType(field)),
    }
}

fn kind(number: u64) -> Result<ConfChangeKind, DecodeError> {
    match number {
        0 => Ok(ConfChangeKind::AddNode),
        1 => Ok(ConfChangeKind::RemoveNode),
        2 => Ok(ConfChangeKind::UpdateNode),
        3 => Ok(ConfChangeKind::AddLearnerNode),
        other => Err(DecodeError::UnknownKind(other)),
    }
}

fn transition(number: u64) -> Result<ConfChangeTransition, DecodeError> {
    match number {
        0 => Ok(ConfChangeTransition::Auto),
        1 => Ok(ConfChangeTransition::JointImplicit),
        2 => Ok(ConfChangeTransition::JointExplicit),
        other => Err(DecodeError::UnknownTransition(other)),
    }
}

impl ConfChange {
    /// The change as raftpb bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        if self.id != 0 {
            put_number(&mut out, 1, self.id);
        }
        put_number(&mut out, 2, self.kind as u64);
        put_number(&mut out, 3, self.node_id.0);
        if !self.context.is_empty() {
            put_bytes(&mut out, 4, &self.context);
        }
        out.freeze()
    }

    /// Reads raftpb bytes; the context shares them.
    pub fn decode(data: &Bytes) -> Result<ConfChange, DecodeError> {
        let mut change = ConfChange::default();
        let mut reader = Reader::new(data);
        while let Some((field, value)) = reader.next_field()? {
            match field {
                1 => change.id = number(field, value)?,
                2 => change.kind = kind(number(field, value)?)?,
                3 => change.node_id = NodeId(number(field, value)?),
                4 => change.context = bytes(field, value)?,
                _ => {}
            }
        }
        Ok(change)
    }
}

impl ConfChangeSingle {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        put_number(&mut out, 1, self.kind as u64);
        put_number(&mut out, 2, self.node_id.0);
        out.freeze()
    }

    fn decode(data: &Bytes) -> Result<ConfChangeSingle, DecodeError> {
        let mut change = ConfChangeSingle::default();
        let mut reader = Reader::new(data);
        while let Some((field, value)) = reader.next_field()? {
            match field {
                1 => change.kind = kind(number(field, value)?)?,
                2 => change.node_id = NodeId(number(field, value)?),
                _ => {}
            }
        }
        Ok(change)
    }
}

impl ConfChangeV2 {
    /// The change as raftpb bytes; none at all for a change that only leaves a joint
    /// configuration, so that no limit on sizes can refuse it.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        if self.transition != ConfChangeTransition::Auto {
            put_number(&mut out, 1, self.transition as u64);
        }
        for change in &self.changes {
            put_bytes(&mut out, 2, &change.encode());
        }
        if !self.context.is_empty() {
            put_bytes(&mut out, 3, &self.context);
        }
        out.freeze()
    }

    /// Reads raftpb bytes; the context shares them.
    pub fn decode(data: &Bytes) -> Result<ConfChangeV2, DecodeError> {
        let mut change = ConfChangeV2::default();
        let mut reader = Reader::new(data);
        while let Some((field, value)) = reader.next_field()? {
            match field {
                1 => change.transition = transition(number(field, value)?)?,
                2 if change.changes.len() == CHANGES_MAX => {
                    return Err(DecodeError::TooManyChanges);
                }
                2 => change.changes.push(ConfChangeSingle::decode(&bytes(field, value)?)?),
                3 => change.context = bytes(field, value)?,
                _ => {}
            }
        }
        Ok(change)
    }
}
