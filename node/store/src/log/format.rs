//! The bytes of a segment file, version 1. All numbers are little-endian.
//!
//! ```text
//!  file    "segment-" + 16 hexadecimal digits of its id
//!
//!  header  0        8         12        20         24              32
//!          │ magic  │ version │ id      │ checksum │ zero          │
//!
//!  record  0                 4               8                  12    16      24
//!          │ header checksum │ body checksum │ length │t (bit 31) │ sub │ main  │ body │ zeros to 8
//! ```
//! A record begins at a multiple of 8. Its header checksum covers the segment's id, the record's
//! place in it and the rest of the header, so that a record read from a wrong place is noticed.
//! Checksums are CRC-32C. `t` marks a tombstone.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::DamageKind;
use crate::checkpoint::format::FormatError;
use crate::revision::Revision;

/// The first bytes of every segment.
const MAGIC: [u8; 8] = *b"QRTSEGMT";

/// The format that this file describes.
pub(crate) const VERSION: u32 = 1;

/// Bytes before the first record.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = 32;

/// Bytes before a record's body.
pub(crate) const RECORD_HEADER_BYTES: usize = 24;

/// Records begin at multiples of this, which keeps locations short.
pub(crate) const ALIGNMENT: u64 = 8;

/// A body is shorter than this: its length has 31 bits, and requests are far below.
pub(crate) const BODY_BYTES_MAX: usize = (1 << 30) - 1;

/// Bodies at least this long go to the disk from where they are; shorter ones are copied next to
/// their headers, which costs less than another piece.
const GATHER_BYTES_MIN: usize = 2048;

const TOMBSTONE: u32 = 1 << 31;

/// The name of a segment's file.
pub(crate) fn file_name(id: u64) -> String {
    format!("segment-{id:016x}")
}

/// The id of the segment that has this name, if it is one's.
pub(crate) fn parse_file_name(name: &str) -> Option<u64> {
    crate::checkpoint::format::parse_number(name.strip_prefix("segment-")?)
}

/// Bytes that a record takes in a segment, with its header and its padding.
pub(crate) fn record_bytes(body: usize) -> u64 {
    ((RECORD_HEADER_BYTES + body) as u64).next_multiple_of(ALIGNMENT)
}

/// A segment's first bytes.
pub(crate) fn segment_header(id: u64) -> Bytes {
    let mut out = BytesMut::with_capacity(SEGMENT_HEADER_BYTES as usize);
    out.put_slice(&MAGIC);
    out.put_u32_le(VERSION);
    out.put_u64_le(id);
    let checksum = crc32c::crc32c(&out);
    out.put_u32_le(checksum);
    out.resize(SEGMENT_HEADER_BYTES as usize, 0);
    out.freeze()
}

/// Check a segment's first bytes.
pub(crate) fn check_segment_header(bytes: &[u8], id: u64) -> Result<(), FormatError> {
    let Some((fields, rest)) = bytes.split_at_checked(20) else {
        return Err(FormatError::Damaged);
    };
    let checksum = rest.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    if !fields.starts_with(&MAGIC) || checksum != Some(crc32c::crc32c(fields)) {
        return Err(FormatError::Damaged);
    }
    let mut fields = &fields[MAGIC.len()..];
    let version = fields.get_u32_le();
    if version > VERSION {
        return Err(FormatError::Newer(version));
    }
    if fields.get_u64_le() == id { Ok(()) } else { Err(FormatError::Damaged) }
}

/// Collects records, and gives them as the pieces of one write.
pub(crate) struct Encoder {
    segment_id: u64,
    /// Where the next record goes in the segment.
    offset: u64,
    /// Finished pieces.
    pieces: Vec<Bytes>,
    /// Headers and short bodies that are not in a piece yet.
    open: BytesMut,
}

impl Encoder {
    /// Records of one segment, the first at `offset`.
    pub(crate) fn new(segment_id: u64, offset: u64) -> Self {
        Self { segment_id, offset, pieces: Vec::new(), open: BytesMut::new() }
    }

    /// Add a record.
    pub(crate) fn push(&mut self, revision: Revision, is_tombstone: bool, body: &Bytes) {
        let header = header(self.segment_id, self.offset, revision, is_tombstone, body);
        self.open.put_slice(&header);
        if body.len() < GATHER_BYTES_MIN {
            self.open.put_slice(body);
        } else {
            self.pieces.push(self.open.split().freeze());
            self.pieces.push(body.clone());
        }
        let size = record_bytes(body.len());
        self.open.put_bytes(0, (size as usize) - RECORD_HEADER_BYTES - body.len());
        self.offset += size;
    }

    /// Where the next record would go.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The pieces to write.
    pub(crate) fn finish(mut self) -> Vec<Bytes> {
        if !self.open.is_empty() {
            self.pieces.push(self.open.freeze());
        }
        self.pieces
    }
}

fn header(
    segment_id: u64,
    offset: u64,
    revision: Revision,
    is_tombstone: bool,
    body: &[u8],
) -> [u8; RECORD_HEADER_BYTES] {
    assert!(body.len() <= BODY_BYTES_MAX, "a body of {} bytes", body.len());
    let sub = u32::try_from(revision.sub).expect("a transaction has fewer than 2^32 changes");
    let length = body.len() as u32 | if is_tombstone { TOMBSTONE } else { 0 };
    let mut out = [0; RECORD_HEADER_BYTES];
    out[4..8].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
    out[8..12].copy_from_slice(&length.to_le_bytes());
    out[12..16].copy_from_slice(&sub.to_le_bytes());
    out[16..24].copy_from_slice(&revision.main.to_le_bytes());
    let checksum = header_checksum(segment_id, offset, &out[4..]);
    out[..4].copy_from_slice(&checksum.to_le_bytes());
    out
}

fn header_checksum(segment_id: u64, offset: u64, fields: &[u8]) -> u32 {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&segment_id.to_le_bytes());
    place[8..].copy_from_slice(&offset.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&place), fields)
}

/// What a record's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) is_tombstone: bool,
    /// The body's length in bytes.
    pub(crate) length: usize,
    checksum: u32,
}

/// Check the header of the record of `revision` at `offset`, which takes `size` bytes with its
/// padding; `bytes` begin with it.
pub(crate) fn decode_header(
    segment_id: u64,
    offset: u64,
    revision: Revision,
    (bytes, size): (&[u8], u64),
) -> Result<Header, DamageKind> {
    let header = bytes.get(..RECORD_HEADER_BYTES).ok_or(DamageKind::Header)?;
    let mut fields = header;
    if fields.get_u32_le() != header_checksum(segment_id, offset, &header[4..]) {
        return Err(DamageKind::Header);
    }
    let checksum = fields.get_u32_le();
    let length = fields.get_u32_le();
    let sub = i64::from(fields.get_u32_le());
    let main = fields.get_i64_le();
    let is_tombstone = length & TOMBSTONE != 0;
    let length = (length & !TOMBSTONE) as usize;
    if Revision::new(main, sub) != revision || record_bytes(length) != size {
        return Err(DamageKind::Misplaced);
    }
    Ok(Header { is_tombstone, length, checksum })
}

/// Check and take apart the record of `revision` at `offset`; `bytes` are all of it, padding
/// included. Gives whether it is a tombstone, and its body.
pub(crate) fn decode(
    segment_id: u64,
    offset: u64,
    revision: Revision,
    bytes: &Bytes,
) -> Result<(bool, Bytes), DamageKind> {
    let size = bytes.len() as u64;
    let Header { is_tombstone, length, checksum } =
        decode_header(segment_id, offset, revision, (bytes, size))?;
    let end = RECORD_HEADER_BYTES + length;
    if crc32c::crc32c(&bytes[RECORD_HEADER_BYTES..end]) != checksum {
        return Err(DamageKind::Body);
    }
    Ok((is_tombstone, bytes.slice(RECORD_HEADER_BYTES..end)))
}
