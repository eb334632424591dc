//! The bytes of a checkpoint's two files, version 1. All numbers are little-endian, varints are
//! LEB128, checksums CRC-32C.
//!
//! ```text
//!  manifest  "checkpoint-" + 16 hexadecimal digits of its number + ".manifest"
//!    magic 8 │ version 4 │ body length 4 │ checksum 4 │ body │ checksum of the body 4
//!
//!  index     the same name with ".index"
//!    magic 8 │ version 4 │ number 8 │ checksum 4 │ block … │ block of kind End
//!    block:  checksum 4 │ kind 4 │ body length 4 │ body
//!            the checksum covers the checkpoint's number, the block's place in the file, and the
//!            rest of the block, so that no block of another file or place is taken for it
//!
//!    Locations  per record: flags │ [main − previous main, sub] │ [segment number, offset / 8]
//!               │ size / 8       (left out: sub 0 of the next main; right behind the previous)
//!    Keys       per key: bytes shared with the previous key of the block │ bytes that follow
//!               │ bytes of versions │ the bytes that follow │ the versions
//!    End        empty
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Identity, State};
use crate::log::format::ALIGNMENT;
use crate::log::locations::{DiskPlace, OFFSETS, SEGMENT_NUMBERS};
use crate::revision::Revision;

/// The format that this file describes.
pub(crate) const VERSION: u32 = 1;

const MANIFEST_MAGIC: [u8; 8] = *b"QRTMANIF";
const INDEX_MAGIC: [u8; 8] = *b"QRTINDEX";

/// Bytes before a manifest's body.
pub(crate) const MANIFEST_HEADER_BYTES: usize = 20;

/// Bytes before an index file's first block.
pub(crate) const INDEX_HEADER_BYTES: usize = 24;

/// Bytes before a block's body.
pub(crate) const BLOCK_HEADER_BYTES: usize = 12;

/// A record's sub is not 0, or its main is not the next.
const HAS_REVISION: u8 = 1;

/// A record is not right behind the previous one.
const HAS_PLACE: u8 = 2;

/// The number that a file's name ends in: 16 lower-case hexadecimal digits, nothing else.
pub(crate) fn parse_number(digits: &str) -> Option<u64> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if digits.len() != 16 || !plain {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

/// The files of checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    Manifest,
    /// A manifest that has not got its name yet.
    NewManifest,
    Index,
}

/// A checkpoint's file.
pub(crate) fn file_name(number: u64, kind: FileKind) -> String {
    let suffix = match kind {
        FileKind::Manifest => "manifest",
        FileKind::NewManifest => "manifest.new",
        FileKind::Index => "index",
    };
    format!("checkpoint-{number:016x}.{suffix}")
}

/// The checkpoint and kind of the file with this name, if it is one of a checkpoint.
pub(crate) fn parse_file_name(name: &str) -> Option<(u64, FileKind)> {
    let (digits, suffix) = name.strip_prefix("checkpoint-")?.split_once('.')?;
    let kind = match suffix {
        "manifest" => FileKind::Manifest,
        "manifest.new" => FileKind::NewManifest,
        "index" => FileKind::Index,
        _ => return None,
    };
    Some((parse_number(digits)?, kind))
}

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FormatError {
    /// Not a file of this kind at all.
    Foreign,
    /// A later release's.
    Newer(u32),
    /// Damaged.
    Damaged,
}

/// A segment as a checkpoint names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentEntry {
    pub(crate) number: u32,
    pub(crate) id: u64,
    pub(crate) length: u64,
    pub(crate) live: u64,
}

/// All of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) number: u64,
    pub(crate) identity: Identity,
    pub(crate) state: State,
    pub(crate) next_segment_id: u64,
    pub(crate) index_bytes: u64,
    pub(crate) keys: u64,
    pub(crate) records: u64,
    pub(crate) segments: Vec<SegmentEntry>,
}

impl Manifest {
    /// The file's bytes.
    pub(crate) fn encode(&self) -> Bytes {
        let Self { number, identity, state, next_segment_id, index_bytes, keys, records, segments } =
            self;
        let mut body = BytesMut::new();
        body.put_u64_le(*number);
        body.put_u64_le(identity.cluster_id);
        body.put_u64_le(identity.member_id);
        encode_state(state, &mut body);
        for value in [*next_segment_id, *index_bytes, *keys, *records, segments.len() as u64] {
            body.put_u64_le(value);
        }
        for SegmentEntry { number, id, length, live } in segments {
            body.put_u32_le(*number);
            body.put_u64_le(*id);
            body.put_u64_le(*length);
            body.put_u64_le(*live);
        }
        let mut out = BytesMut::with_capacity(body.len() + MANIFEST_HEADER_BYTES + 4);
        out.put_slice(&MANIFEST_MAGIC);
        out.put_u32_le(VERSION);
        out.put_u32_le(u32::try_from(body.len()).expect("a manifest is far below 4 GiB"));
        let checksum = crc32c::crc32c(&out);
        out.put_u32_le(checksum);
        out.put_slice(&body);
        out.put_u32_le(crc32c::crc32c(&body));
        out.freeze()
    }

    /// Take a whole file apart.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, FormatError> {
        let header = bytes.get(..MANIFEST_HEADER_BYTES).ok_or(FormatError::Damaged)?;
        let mut fields = check_header(header, MANIFEST_MAGIC)?;
        let length = fields.get_u32_le() as usize;
        let body = bytes.slice(MANIFEST_HEADER_BYTES..);
        if body.len() != length + 4 {
            return Err(FormatError::Damaged);
        }
        let checksum = body.slice(length..).get_u32_le();
        let mut body = body.slice(..length);
        if crc32c::crc32c(&body) != checksum {
            return Err(FormatError::Damaged);
        }
        Self::decode_body(&mut body).ok_or(FormatError::Damaged)
    }

    fn decode_body(body: &mut Bytes) -> Option<Self> {
        let number = body.try_get_u64_le().ok()?;
        let cluster_id = body.try_get_u64_le().ok()?;
        let member_id = body.try_get_u64_le().ok()?;
        let state = decode_state(body)?;
        let next_segment_id = body.try_get_u64_le().ok()?;
        let index_bytes = body.try_get_u64_le().ok()?;
        let keys = body.try_get_u64_le().ok()?;
        let records = body.try_get_u64_le().ok()?;
        let count = body.try_get_u64_le().ok()?;
        let mut segments = Vec::new();
        for _ in 0..count {
            segments.push(SegmentEntry {
                number: body.try_get_u32_le().ok().filter(|n| *n < SEGMENT_NUMBERS)?,
                id: body.try_get_u64_le().ok()?,
                length: body.try_get_u64_le().ok()?,
                live: body.try_get_u64_le().ok()?,
            });
        }
        body.is_empty().then_some(Self {
            number,
            identity: Identity { cluster_id, member_id },
            state,
            next_segment_id,
            index_bytes,
            keys,
            records,
            segments,
        })
    }
}

fn encode_state(state: &State, out: &mut BytesMut) {
    let State {
        applied_index,
        applied_term,
        conf_state,
        revision,
        compact_scheduled,
        compact_finished,
        tables,
        state_hash,
    } = state;
    out.put_u64_le(*applied_index);
    out.put_u64_le(*applied_term);
    for revision in [*revision, *compact_scheduled, *compact_finished] {
        out.put_i64_le(revision);
    }
    out.put_u128_le(*state_hash);
    for bytes in [conf_state, tables] {
        out.put_u32_le(u32::try_from(bytes.len()).expect("small tables are below 4 GiB"));
        out.put_slice(bytes);
    }
}

fn decode_state(body: &mut Bytes) -> Option<State> {
    Some(State {
        applied_index: body.try_get_u64_le().ok()?,
        applied_term: body.try_get_u64_le().ok()?,
        revision: body.try_get_i64_le().ok()?,
        compact_scheduled: body.try_get_i64_le().ok()?,
        compact_finished: body.try_get_i64_le().ok()?,
        state_hash: body.try_get_u128_le().ok()?,
        conf_state: decode_bytes(body)?,
        tables: decode_bytes(body)?,
    })
}

fn decode_bytes(body: &mut Bytes) -> Option<Bytes> {
    let length = body.try_get_u32_le().ok()? as usize;
    (length <= body.len()).then(|| Bytes::copy_from_slice(&body.split_to(length)))
}

/// Check magic, version and the checksum at the header's end; gives the fields in between.
fn check_header(header: &[u8], magic: [u8; 8]) -> Result<&[u8], FormatError> {
    let (fields, checksum) = header.split_last_chunk::<4>().ok_or(FormatError::Damaged)?;
    let (found, mut rest) = fields.split_first_chunk::<8>().ok_or(FormatError::Damaged)?;
    if crc32c::crc32c(fields) != u32::from_le_bytes(*checksum) {
        let kind = if *found == magic { FormatError::Damaged } else { FormatError::Foreign };
        return Err(kind);
    }
    if *found != magic {
        return Err(FormatError::Foreign);
    }
    let version = rest.try_get_u32_le().map_err(|_| FormatError::Damaged)?;
    if version > VERSION { Err(FormatError::Newer(version)) } else { Ok(rest) }
}

/// An index file's first bytes.
pub(crate) fn index_header(number: u64) -> Bytes {
    let mut out = BytesMut::with_capacity(INDEX_HEADER_BYTES);
    out.put_slice(&INDEX_MAGIC);
    out.put_u32_le(VERSION);
    out.put_u64_le(number);
    let checksum = crc32c::crc32c(&out);
    out.put_u32_le(checksum);
    out.freeze()
}

/// Check an index file's first bytes.
pub(crate) fn check_index_header(header: &[u8], number: u64) -> Result<(), FormatError> {
    let mut fields = check_header(header, INDEX_MAGIC)?;
    if fields.get_u64_le() == number { Ok(()) } else { Err(FormatError::Damaged) }
}

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockKind {
    Locations,
    Keys,
    End,
}

impl BlockKind {
    fn code(self) -> u32 {
        match self {
            Self::Locations => 1,
            Self::Keys => 2,
            Self::End => 3,
        }
    }

    fn of(code: u32) -> Option<Self> {
        [Self::Locations, Self::Keys, Self::End].into_iter().find(|kind| kind.code() == code)
    }
}

/// A block's header.
pub(crate) fn block_header(number: u64, offset: u64, kind: BlockKind, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(BLOCK_HEADER_BYTES);
    out.put_u32_le(0);
    out.put_u32_le(kind.code());
    out.put_u32_le(u32::try_from(body.len()).expect("a block is far below 4 GiB"));
    let checksum = block_checksum(number, offset, &out[4..], body);
    out[..4].copy_from_slice(&checksum.to_le_bytes());
    out.freeze()
}

fn block_checksum(number: u64, offset: u64, fields: &[u8], body: &[u8]) -> u32 {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&number.to_le_bytes());
    place[8..].copy_from_slice(&offset.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&place), fields), body)
}

/// The length of a block's body, by its header; not checked against anything yet.
pub(crate) fn block_body_bytes(header: &[u8]) -> Option<u64> {
    let length = header.get(8..BLOCK_HEADER_BYTES)?;
    Some(u64::from(u32::from_le_bytes(length.try_into().ok()?)))
}

/// Check a block.
pub(crate) fn check_block(
    number: u64,
    offset: u64,
    header: &[u8],
    body: &[u8],
) -> Option<BlockKind> {
    let (checksum, fields) = header.split_first_chunk::<4>()?;
    let expected = block_checksum(number, offset, fields, body);
    if u32::from_le_bytes(*checksum) != expected {
        return None;
    }
    let (kind, _) = fields.split_first_chunk::<4>()?;
    BlockKind::of(u32::from_le_bytes(*kind))
}

pub(crate) fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

pub(crate) fn get_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if bits.leading_zeros() < shift {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Encodes and decodes the records of one Locations block, each relative to the one before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LocationCodec {
    main: i64,
    segment: u32,
    end: u64,
}

impl LocationCodec {
    pub(crate) fn encode(&mut self, revision: Revision, place: DiskPlace, out: &mut BytesMut) {
        let has_revision = revision.sub != 0 || self.main.checked_add(1) != Some(revision.main);
        let has_place = place.segment != self.segment || place.offset != self.end;
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        out.put_u8(flag(has_revision, HAS_REVISION) | flag(has_place, HAS_PLACE));
        if has_revision {
            put_varint(out, revision.main.wrapping_sub(self.main) as u64);
            put_varint(out, revision.sub as u64);
        }
        if has_place {
            put_varint(out, u64::from(place.segment));
            put_varint(out, place.offset / ALIGNMENT);
        }
        put_varint(out, place.size / ALIGNMENT);
        self.advance(revision, place);
    }

    pub(crate) fn decode(&mut self, bytes: &mut &[u8]) -> Option<(Revision, DiskPlace)> {
        let (flags, rest) = bytes.split_first()?;
        *bytes = rest;
        let mut revision = Revision::new(self.main.checked_add(1)?, 0);
        if flags & HAS_REVISION != 0 {
            revision.main = self.main.wrapping_add(get_varint(bytes)? as i64);
            revision.sub = i64::from(u32::try_from(get_varint(bytes)?).ok()?);
        }
        let (mut segment, mut offset) = (self.segment, self.end);
        if flags & HAS_PLACE != 0 {
            segment = u32::try_from(get_varint(bytes)?).ok()?;
            offset = get_varint(bytes)?.checked_mul(ALIGNMENT)?;
        }
        let size = get_varint(bytes)?.checked_mul(ALIGNMENT)?;
        let is_sound = segment < SEGMENT_NUMBERS && offset < OFFSETS && size > 0;
        offset.checked_add(size).filter(|_| is_sound)?;
        let place = DiskPlace { segment, offset, size };
        self.advance(revision, place);
        Some((revision, place))
    }

    fn advance(&mut self, revision: Revision, place: DiskPlace) {
        self.main = revision.main;
        self.segment = place.segment;
        self.end = place.offset + place.size;
    }
}

/// Encodes the keys of one Keys block.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyEncoder {
    previous: Bytes,
}

impl KeyEncoder {
    pub(crate) fn encode(&mut self, key: &Bytes, versions: &[u8], out: &mut BytesMut) {
        let pairs = self.previous.iter().zip(key.iter());
        let shared = pairs.take_while(|(one, other)| one == other).count();
        let rest = key.get(shared..).unwrap_or_default();
        for length in [shared, rest.len(), versions.len()] {
            put_varint(out, length as u64);
        }
        out.put_slice(rest);
        out.put_slice(versions);
        self.previous = key.clone();
    }
}

/// Decodes the keys of one Keys block; `key` begins empty and holds each key in turn. Gives the
/// versions' bytes.
pub(crate) fn decode_key<'a>(bytes: &mut &'a [u8], key: &mut Vec<u8>) -> Option<&'a [u8]> {
    let shared = usize::try_from(get_varint(bytes)?).ok()?;
    let rest = usize::try_from(get_varint(bytes)?).ok()?;
    let versions = usize::try_from(get_varint(bytes)?).ok()?;
    if shared > key.len() {
        return None;
    }
    key.truncate(shared);
    let (rest, after) = bytes.split_at_checked(rest)?;
    key.extend_from_slice(rest);
    let (versions, after) = after.split_at_checked(versions)?;
    *bytes = after;
    Some(versions)
}
