//! The one format file: how segments, batches, seals and entries look as bytes.
//!
//! All numbers are little-endian. A segment begins with two equal header sectors (a damaged one
//! leaves the other); frames follow, each on a sector boundary.
//!
//! ```text
//!   segment   ┌ header ┬ header ┬ frame: batch ─────────────────┬ frame: seal ┬ batch …
//!             0       512     1024                         (multiple of 512)
//!
//!   header    magic:8 version:4 checksum:4 sequence cluster member incarnation boot
//!             first_number previous_segment previous_end synced first_segment repair_until
//!             term vote commit last_index last_term repair_term               (8 bytes each)
//!
//!   frame     magic:4 checksum:4 number:8 synced:8 previous:4 content:4 length:8
//!   (128 B)   term:8 vote:8 commit:8 first_index:8 last_index:8 entries:4 mark:4
//!             first_segment:8 repair_until:8 last_term:8 repair_term:8 zero:8
//!
//!   batch     frame │ [mark record] │ entry record … │ zeroes up to the sector's end
//!   record    magic:4 checksum:4 index:8 term:8 length:4 body_checksum:4 │ body │ zeroes to 8
//! ```
//!
//! - *checksum* of a frame or record header: CRC-32C over salt, offset in the file, and the bytes
//!   after the checksum. *body_checksum*: over salt and body. *content*: over the record headers
//!   of the batch, so that the frame vouches for the bodies too.
//! - The *salt* comes from cluster, member, incarnation and the segment's sequence number, which no
//!   two lives of a file share. A CRC maps different starting states to different results for the
//!   same bytes, so a record of a former life *never* passes, as long as there are fewer than 2³²
//!   segments. The offset rejects what was written to a wrong place.
//! - *previous* is the frame checksum of the batch before: batches form a chain, and a left-over
//!   batch does not link to a new predecessor.
//! - *synced*: every batch up to this number was durable when the frame was made. A seal has its
//!   own number there.
//! - *first_segment*: older segments are not needed. *repair_until*, *repair_term*: the member is
//!   under repair until its log ends there or later; 0 if it is not.
//! - *last_term* belongs to *last_index*. It and *repair_term* are 0 in logs from before these
//!   fields: nobody knows.

use bytes::Bytes;

use crate::{End, HardState, Identity};

/// Bytes that a disk writes as one.
pub(crate) const SECTOR: u64 = 512;
/// Where the first frame of a segment is.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = 2 * SECTOR;
pub(crate) const FRAME_BYTES: usize = 128;
pub(crate) const RECORD_HEADER_BYTES: usize = 32;
/// The newest version of the format that this code knows, and the one that it writes.
pub(crate) const VERSION: u32 = 1;

const SEGMENT_MAGIC: &[u8; 8] = b"QuorLog\0";
const BATCH_MAGIC: u32 = u32::from_le_bytes(*b"QBat");
const SEAL_MAGIC: u32 = u32::from_le_bytes(*b"QSea");
const ENTRY_MAGIC: u32 = u32::from_le_bytes(*b"QEnt");
const MARK_MAGIC: u32 = u32::from_le_bytes(*b"QMrk");

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) sequence: u64,
    pub(crate) identity: Identity,
    /// Number of its first batch.
    pub(crate) first_number: u64,
    /// The segment that the log continues from; 0 for none.
    pub(crate) previous_segment: u64,
    /// Where the log ends in that segment: what follows there is void.
    pub(crate) previous_end: u64,
    pub(crate) synced: u64,
    pub(crate) first_segment: u64,
    pub(crate) repair_until: End,
    pub(crate) hard_state: HardState,
    /// Where the log ends, without the segment's own batches.
    pub(crate) last: End,
}

/// What a sector that should be a segment's header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderCopy {
    Valid(SegmentHeader),
    /// Ours, but from a newer release.
    Newer(u32),
    /// No magic.
    Foreign,
    /// Magic, but a bad checksum.
    Damaged,
}

impl SegmentHeader {
    /// Both copies.
    pub(crate) fn encode(&self) -> Bytes {
        let mut sector = Vec::with_capacity(SECTOR as usize);
        sector.extend_from_slice(SEGMENT_MAGIC);
        sector.extend_from_slice(&VERSION.to_le_bytes());
        sector.extend_from_slice(&[0; 4]);
        let identity = self.identity;
        for field in [
            self.sequence,
            identity.cluster_id,
            identity.member_id,
            identity.incarnation,
            identity.boot,
            self.first_number,
            self.previous_segment,
            self.previous_end,
            self.synced,
            self.first_segment,
            self.repair_until.index,
            self.hard_state.term,
            self.hard_state.vote,
            self.hard_state.commit,
            self.last.index,
            self.last.term,
            self.repair_until.term,
        ] {
            sector.extend_from_slice(&field.to_le_bytes());
        }
        sector.resize(SECTOR as usize, 0);
        let checksum = crc32c::crc32c(&sector[16..]);
        sector[12..16].copy_from_slice(&checksum.to_le_bytes());
        sector.extend_from_within(..);
        sector.into()
    }

    pub(crate) fn decode(sector: &[u8]) -> HeaderCopy {
        let Some((fixed, rest)) = sector.split_at_checked(16) else { return HeaderCopy::Foreign };
        let mut fields = Fields(fixed);
        if fields.bytes(8) != SEGMENT_MAGIC {
            return HeaderCopy::Foreign;
        }
        let (version, checksum) = (fields.u32(), fields.u32());
        if version > VERSION {
            return HeaderCopy::Newer(version);
        }
        if version != VERSION || checksum != crc32c::crc32c(rest) {
            return HeaderCopy::Damaged;
        }
        let mut fields = Fields(rest);
        let mut next = || fields.u64();
        let mut header = Self {
            sequence: next(),
            identity: Identity {
                cluster_id: next(),
                member_id: next(),
                incarnation: next(),
                boot: next(),
            },
            first_number: next(),
            previous_segment: next(),
            previous_end: next(),
            synced: next(),
            first_segment: next(),
            repair_until: End { term: 0, index: next() },
            hard_state: HardState { term: next(), vote: next(), commit: next() },
            last: End { term: 0, index: next() },
        };
        header.last.term = last_term(header.last.index, next(), header.hard_state);
        header.repair_until.term = next();
        HeaderCopy::Valid(header)
    }
}

/// The term of a log's last entry: where it is not said, the highest that it can be.
fn last_term(last_index: u64, said: u64, hard_state: HardState) -> u64 {
    if said == 0 && last_index > 0 { hard_state.term } else { said }
}

/// What every checksum in a segment's life begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Salt(u32);

impl Salt {
    pub(crate) fn new(identity: &Identity, sequence: u64) -> Self {
        let Identity { cluster_id, member_id, incarnation, boot: _ } = *identity;
        let mut bytes = [0; 32];
        for (place, field) in
            bytes.chunks_exact_mut(8).zip([cluster_id, member_id, incarnation, sequence])
        {
            place.copy_from_slice(&field.to_le_bytes());
        }
        Self(crc32c::crc32c(&bytes))
    }

    fn checksum_at(self, offset: u64, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c_append(self.0, &offset.to_le_bytes()), bytes)
    }

    fn checksum(self, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(self.0, bytes)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Batch,
    Seal,
}

/// Whether a batch has a mark, and what becomes of the entries before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum MarkKind {
    #[default]
    None = 0,
    /// It takes the place of the whole log.
    Replaces = 1,
    /// Entries above its index stay.
    Keeps = 2,
}

impl MarkKind {
    fn decode(value: u32) -> Option<Self> {
        match value {
            0 => Some(Self::None),
            1 => Some(Self::Replaces),
            2 => Some(Self::Keeps),
            _ => None,
        }
    }
}

/// The head of a batch, or a seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: FrameKind,
    pub(crate) number: u64,
    pub(crate) synced: u64,
    /// Checksum of the batch before; of a seal, of the sealed batch.
    pub(crate) previous: u32,
    pub(crate) content: u32,
    /// Bytes of the whole batch, a multiple of a sector.
    pub(crate) length: u64,
    pub(crate) hard_state: HardState,
    /// Index of the first entry in the batch; 0 for none.
    pub(crate) first_index: u64,
    /// Where the log ends after the batch.
    pub(crate) last: End,
    pub(crate) entries: u32,
    pub(crate) mark: MarkKind,
    pub(crate) first_segment: u64,
    /// The member is under repair until its log ends so; index 0 if it is not.
    pub(crate) repair_until: End,
    /// Its own checksum: what the next batch has as `previous`.
    pub(crate) checksum: u32,
}

impl Frame {
    /// Append the frame to `out`; its checksum.
    pub(crate) fn encode(&self, salt: Salt, offset: u64, out: &mut Vec<u8>) -> u32 {
        let start = out.len();
        let magic = match self.kind {
            FrameKind::Batch => BATCH_MAGIC,
            FrameKind::Seal => SEAL_MAGIC,
        };
        out.extend_from_slice(&magic.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.synced.to_le_bytes());
        out.extend_from_slice(&self.previous.to_le_bytes());
        out.extend_from_slice(&self.content.to_le_bytes());
        let HardState { term, vote, commit } = self.hard_state;
        for field in [self.length, term, vote, commit, self.first_index, self.last.index] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.entries.to_le_bytes());
        out.extend_from_slice(&(self.mark as u32).to_le_bytes());
        out.extend_from_slice(&self.first_segment.to_le_bytes());
        for field in [self.repair_until.index, self.last.term, self.repair_until.term] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.resize(start + FRAME_BYTES, 0);
        finish_checksum(salt, offset, &mut out[start..])
    }

    /// Whether the bytes begin as a frame does, of whatever life.
    pub(crate) fn has_magic(bytes: &[u8]) -> bool {
        matches!(Fields(bytes).u32(), BATCH_MAGIC | SEAL_MAGIC)
    }

    /// The frame at `offset` of the segment, if there is a whole one of this life.
    pub(crate) fn decode(salt: Salt, offset: u64, bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes.get(..FRAME_BYTES)?);
        let kind = match fields.u32() {
            BATCH_MAGIC => FrameKind::Batch,
            SEAL_MAGIC => FrameKind::Seal,
            _ => return None,
        };
        let checksum = fields.u32();
        if checksum != salt.checksum_at(offset, fields.0) {
            return None;
        }
        let mut frame = Self {
            kind,
            number: fields.u64(),
            synced: fields.u64(),
            previous: fields.u32(),
            content: fields.u32(),
            length: fields.u64(),
            hard_state: HardState { term: fields.u64(), vote: fields.u64(), commit: fields.u64() },
            first_index: fields.u64(),
            last: End { term: 0, index: fields.u64() },
            entries: fields.u32(),
            mark: MarkKind::decode(fields.u32())?,
            first_segment: fields.u64(),
            repair_until: End { term: 0, index: fields.u64() },
            checksum,
        };
        frame.last.term = last_term(frame.last.index, fields.u64(), frame.hard_state);
        frame.repair_until.term = fields.u64();
        let whole = frame.length >= SECTOR && frame.length.is_multiple_of(SECTOR);
        whole.then_some(frame)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordKind {
    Entry,
    Mark,
}

/// The head of an entry or mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) kind: RecordKind,
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) length: u32,
    body_checksum: u32,
}

impl RecordHeader {
    pub(crate) fn new(salt: Salt, kind: RecordKind, index: u64, term: u64, body: &[u8]) -> Self {
        let length = u32::try_from(body.len()).expect("bodies are limited by append");
        Self { kind, index, term, length, body_checksum: salt.checksum(body) }
    }

    pub(crate) fn encode(&self, salt: Salt, offset: u64, out: &mut Vec<u8>) {
        let start = out.len();
        let magic = match self.kind {
            RecordKind::Entry => ENTRY_MAGIC,
            RecordKind::Mark => MARK_MAGIC,
        };
        out.extend_from_slice(&magic.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.index.to_le_bytes());
        out.extend_from_slice(&self.term.to_le_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&self.body_checksum.to_le_bytes());
        finish_checksum(salt, offset, &mut out[start..]);
    }

    pub(crate) fn decode(salt: Salt, offset: u64, bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes.get(..RECORD_HEADER_BYTES)?);
        let kind = match fields.u32() {
            ENTRY_MAGIC => RecordKind::Entry,
            MARK_MAGIC => RecordKind::Mark,
            _ => return None,
        };
        let checksum = fields.u32();
        if checksum != salt.checksum_at(offset, fields.0) {
            return None;
        }
        Some(Self {
            kind,
            index: fields.u64(),
            term: fields.u64(),
            length: fields.u32(),
            body_checksum: fields.u32(),
        })
    }

    pub(crate) fn is_body(&self, salt: Salt, body: &[u8]) -> bool {
        salt.checksum(body) == self.body_checksum
    }
}

/// Where the next record begins after a body of this length.
pub(crate) fn padded_body(length: usize) -> usize {
    length.next_multiple_of(8)
}

/// Put the checksum of a frame or record header to its place.
fn finish_checksum(salt: Salt, offset: u64, bytes: &mut [u8]) -> u32 {
    let checksum = salt.checksum_at(offset, &bytes[8..]);
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    checksum
}

/// Reads fields from the front. What is not there reads as zero: callers have checked the length.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at_checked(count).unwrap_or((self.0, &[]));
        self.0 = rest;
        front
    }

    fn u32(&mut self) -> u32 {
        self.bytes(4).try_into().map_or(0, u32::from_le_bytes)
    }

    fn u64(&mut self) -> u64 {
        self.bytes(8).try_into().map_or(0, u64::from_le_bytes)
    }
}
