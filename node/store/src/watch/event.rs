//! One event, and its bytes on the wire.

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{WireType, decode_key, decode_varint, encode_varint, encoded_len_varint};

use super::Error;
use crate::log::Record;
use crate::mvcc::Mvcc;

/// A change of one key, as the ring and the catch-up chunk hold it.
///
/// Its encodings are made when the first watcher takes them, and shared by all:
///
/// ```text
///   mvccpb.Event   08 01          12 len <KeyValue>                          1a len <KeyValue>
///                  type DELETE    kv: the log's own bytes; for a tombstone   prev_kv
///                  (PUT is zero:  key and mod_revision
///                  not written)
/// ```
#[derive(Debug)]
pub(super) struct Event {
    pub(super) revision: i64,
    pub(super) tombstone: bool,
    /// The key did not exist before.
    creates: bool,
    key_start: u32,
    key_end: u32,
    body: Bytes,
    plain: Option<Bytes>,
    with_prev: Option<Bytes>,
}

const TYPE_TAG: u8 = 0x08;
const TYPE_DELETE: u8 = 0x01;
const KV_TAG: u8 = 0x12;
const PREV_KV_TAG: u8 = 0x1a;
const MOD_REVISION_TAG: u8 = 0x18;

impl Event {
    /// # Errors
    /// [`Error::Malformed`] if the record's body is not a `KeyValue` with a key.
    pub(super) fn new(record: Record) -> Result<Self, Error> {
        let Record { revision, tombstone, body } = record;
        let fields = fields_of(&body).ok_or(Error::Malformed { revision })?;
        Ok(Self {
            revision: revision.main,
            tombstone,
            creates: !tombstone && fields.create_revision == fields.mod_revision,
            key_start: fields.key_start,
            key_end: fields.key_end,
            body,
            plain: None,
            with_prev: None,
        })
    }

    pub(super) fn key(&self) -> &[u8] {
        // Both ends were checked against the body when they were found.
        &self.body[self.key_start as usize..self.key_end as usize]
    }

    /// The bytes that this event keeps in memory, itself included.
    pub(super) fn cost(&self) -> u64 {
        let encodings = self.plain.as_ref().map_or(0, Bytes::len)
            + self.with_prev.as_ref().map_or(0, Bytes::len);
        (size_of::<Self>() + self.body.len() + encodings) as u64
    }

    /// The encoded event without `prev_kv`.
    pub(super) fn plain(&mut self) -> Bytes {
        if self.plain.is_none() {
            self.plain = Some(self.encode(None));
        }
        self.plain.clone().unwrap_or_default()
    }

    /// The encoded event with `prev_kv`: the key's value just before this revision. It is left
    /// out if the key was not there, or if that revision was compacted when it was first asked
    /// for.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub(super) fn with_prev(&mut self, mvcc: &Mvcc) -> Result<Bytes, Error> {
        if let Some(encoded) = &self.with_prev {
            return Ok(encoded.clone());
        }
        let before = self.revision - 1;
        let previous = if self.creates || before < mvcc.compact_revision() {
            None
        } else {
            mvcc.get_at(self.key(), before)?
        };
        let encoded = match previous {
            Some(previous) => self.encode(Some(&previous)),
            None => self.plain(),
        };
        self.with_prev = Some(encoded.clone());
        Ok(encoded)
    }

    fn encode(&self, previous: Option<&[u8]>) -> Bytes {
        let modified = self.revision.unsigned_abs();
        let mut kv_length = self.body.len();
        if self.tombstone {
            kv_length += 1 + encoded_len_varint(modified);
        }
        let previous_length = previous.map_or(0, |bytes| delimited_length(bytes.len()));
        let mut out = BytesMut::with_capacity(2 + delimited_length(kv_length) + previous_length);
        if self.tombstone {
            out.put_slice(&[TYPE_TAG, TYPE_DELETE]);
        }
        out.put_u8(KV_TAG);
        encode_varint(kv_length as u64, &mut out);
        out.put_slice(&self.body);
        if self.tombstone {
            out.put_u8(MOD_REVISION_TAG);
            encode_varint(modified, &mut out);
        }
        if let Some(previous) = previous {
            out.put_u8(PREV_KV_TAG);
            encode_varint(previous.len() as u64, &mut out);
            out.put_slice(previous);
        }
        out.freeze()
    }
}

/// The bytes of a field with a one-byte tag and a length before it.
pub(super) fn delimited_length(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

struct Fields {
    key_start: u32,
    key_end: u32,
    create_revision: u64,
    mod_revision: u64,
}

/// The first three fields of a `KeyValue`, whose fields stand in ascending order.
fn fields_of(body: &Bytes) -> Option<Fields> {
    let mut rest = &body[..];
    let (tag, wire_type) = decode_key(&mut rest).ok()?;
    if (tag, wire_type) != (1, WireType::LengthDelimited) {
        return None;
    }
    let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
    let key_start = body.len() - rest.len();
    rest = rest.get(length..)?;
    let key_end = body.len() - rest.len();
    let mut fields = Fields {
        key_start: u32::try_from(key_start).ok()?,
        key_end: u32::try_from(key_end).ok()?,
        create_revision: 0,
        mod_revision: 0,
    };
    while !rest.is_empty() {
        match decode_key(&mut rest).ok()? {
            (2, WireType::Varint) => fields.create_revision = decode_varint(&mut rest).ok()?,
            (3, WireType::Varint) => fields.mod_revision = decode_varint(&mut rest).ok()?,
            _ => break,
        }
    }
    Some(fields)
}
