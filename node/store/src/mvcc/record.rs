//! The bytes of a record: `mvccpb.KeyValue` exactly as etcd writes it.
//!
//! ```text
//!   put        key(1) create_revision(2) mod_revision(3) version(4) value(5) lease(6)
//!   tombstone  key(1)
//! ```
//! Fields ascend and zero ones are left out, so that hashes over records equal etcd's.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};
use quorate_api::mvccpb::KeyValue;

use super::index::Version;
use crate::hash::BodySum;

const KEY: u8 = 1 << 3 | 2;
const CREATE_REVISION: u8 = 2 << 3;
const MOD_REVISION: u8 = 3 << 3;
const VERSION: u8 = 4 << 3;
const VALUE: u8 = 5 << 3 | 2;
const LEASE: u8 = 6 << 3;

/// A key's content as a record has it.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// The lease it is attached to; 0 for none.
    pub lease: i64,
}

fn bytes_length(field: &[u8]) -> usize {
    if field.is_empty() { 0 } else { 1 + encoded_len_varint(field.len() as u64) + field.len() }
}

fn number_length(number: i64) -> usize {
    if number == 0 { 0 } else { 1 + encoded_len_varint(number.cast_unsigned()) }
}

fn put_bytes(out: &mut BytesMut, tag: u8, field: &[u8]) {
    if !field.is_empty() {
        out.put_u8(tag);
        encode_varint(field.len() as u64, out);
        out.put_slice(field);
    }
}

fn put_number(out: &mut BytesMut, tag: u8, number: i64) {
    if number != 0 {
        out.put_u8(tag);
        encode_varint(number.cast_unsigned(), out);
    }
}

/// The body of a put. `version` says when; what it says of the body is not looked at.
#[must_use]
pub fn encode(content: &Content<'_>, version: &Version) -> Bytes {
    let length = bytes_length(content.key)
        + number_length(version.create_revision)
        + number_length(version.revision.main)
        + number_length(version.version)
        + bytes_length(content.value)
        + number_length(content.lease);
    let mut out = BytesMut::with_capacity(length);
    put_bytes(&mut out, KEY, content.key);
    put_number(&mut out, CREATE_REVISION, version.create_revision);
    put_number(&mut out, MOD_REVISION, version.revision.main);
    put_number(&mut out, VERSION, version.version);
    put_bytes(&mut out, VALUE, content.value);
    put_number(&mut out, LEASE, content.lease);
    out.freeze()
}

/// The body of a deletion.
#[must_use]
pub fn encode_tombstone(key: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(bytes_length(key));
    put_bytes(&mut out, KEY, key);
    out.freeze()
}

/// Checksum and length of [`encode_tombstone`].
#[must_use]
pub fn tombstone_sum(key: &[u8]) -> BodySum {
    // A tag, a length of at most ten bytes, the key.
    let mut head = [0; 11];
    let mut rest = &mut head[..];
    if !key.is_empty() {
        rest.put_u8(KEY);
        encode_varint(key.len() as u64, &mut rest);
    }
    let unused = rest.len();
    let head = &head[..head.len() - unused];
    let length = u32::try_from(head.len() + key.len()).expect("keys are shorter than requests");
    BodySum { crc: crc32c::crc32c_append(crc32c::crc32c(head), key), length }
}

/// What an answer about keys alone has: neither value nor lease (as etcd's keys-only ranges).
#[must_use]
pub fn encode_key_only(key: &[u8], version: &Version) -> Bytes {
    encode(&Content { key, value: &[], lease: 0 }, version)
}

/// How many bytes key and value of a body have together, without reading them.
#[must_use]
pub fn content_bytes(mut body: &[u8]) -> u64 {
    let mut found = 0;
    while let Some((&tag, rest)) = body.split_first() {
        body = rest;
        let Ok(number) = decode_varint(&mut body) else { break };
        if tag == KEY || tag == VALUE {
            found += number;
            body =
                usize::try_from(number).ok().and_then(|length| body.get(length..)).unwrap_or(&[]);
        }
    }
    found
}

/// Read a body back; key and value share its memory.
///
/// # Errors
/// If it is no `KeyValue`.
pub fn decode(body: &Bytes) -> Result<KeyValue, prost::DecodeError> {
    KeyValue::decode(body.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revision::Revision;

    #[test]
    fn the_bytes_of_a_record_are_those_of_key_and_value() {
        let revision = Revision::new(1 << 40, 0);
        let version =
            Version { revision, create_revision: 7, version: 300, body: BodySum::default() };
        for (key, value, lease) in [(1, 0, 0), (64, 256, 0), (200, 70_000, 1 << 60), (3, 1, 9)] {
            let (key, value) = (vec![b'k'; key], vec![b'v'; value]);
            let body = encode(&Content { key: &key, value: &value, lease }, &version);
            assert_eq!(content_bytes(&body), (key.len() + value.len()) as u64);
            assert!(content_bytes(&body[..body.len() / 2]) <= (key.len() + value.len()) as u64);
        }
        assert_eq!(content_bytes(&[]), 0);
    }

    #[test]
    fn a_tombstone_is_summed_without_its_bytes() {
        for length in [0, 1, 127, 128, 300, 20_000] {
            let key = vec![b'k'; length];
            assert_eq!(tombstone_sum(&key), BodySum::of(&encode_tombstone(&key)), "{length}");
        }
    }
}
