//! The log as it is at one moment, to read at leisure while it changes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use quorate_disk::Files;

use super::locations::{DiskPlace, Locations, Place, Slot};
use super::segments::{LargeSizes, SegmentFile, Segments};
use super::tail::Batches;
use super::{Damage, DamageKind, Record, format};
use crate::revision::Revision;

/// How much is read from a segment at once when records are read in order, in bytes: enough that
/// a disk's latency does not count.
const WINDOW_BYTES: u64 = 1 << 20;

/// Every record of the log at the moment of the pin, whatever is appended, released, flushed or
/// collected since. The files it needs stay until it is dropped, so it should not live long.
#[derive(Clone)]
pub struct Pin {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) locations: Locations,
    pub(crate) batches: Batches,
    pub(crate) segments: BTreeMap<u32, PinnedSegment>,
}

/// What a reader needs of a segment.
#[derive(Clone, Debug)]
pub(crate) struct PinnedSegment {
    pub(crate) file: Arc<SegmentFile>,
    pub(crate) length: u64,
    pub(crate) large: LargeSizes,
}

/// The segments as they are now.
pub(crate) fn pin_segments(segments: &Segments) -> BTreeMap<u32, PinnedSegment> {
    let pinned = |segment: &super::segments::Segment| PinnedSegment {
        file: segment.file.clone(),
        length: segment.length,
        large: segment.large.clone(),
    };
    segments.iter().map(|(number, segment)| (number, pinned(segment))).collect()
}

impl Pin {
    /// All records in order of their revisions, or the error that the first unreadable one meets.
    pub fn records(&self) -> impl Iterator<Item = Result<Record, Damage>> + '_ {
        let mut window = Window::default();
        let slots = self.locations.iter_from(Revision::new(i64::MIN, 0));
        slots.map(move |(revision, slot)| self.read(&mut window, revision, slot))
    }

    /// The revisions alone, in order; reads nothing.
    pub fn revisions(&self) -> impl Iterator<Item = Revision> + '_ {
        self.locations.iter_from(Revision::new(i64::MIN, 0)).map(|(revision, _)| revision)
    }

    /// Read a record through a window over its segment.
    pub(crate) fn read(
        &self,
        window: &mut Window,
        revision: Revision,
        slot: Slot,
    ) -> Result<Record, Damage> {
        match slot.place() {
            Place::Tail(sequence) => {
                self.batches.get(sequence).cloned().ok_or_else(|| missing(revision))
            }
            Place::Disk(place) => self.read_disk(window, revision, place),
        }
    }

    /// The length of a record's body in bytes, rounded up to 8. Reads nothing: whether the record
    /// is there and whole is seen by whoever reads it.
    pub(crate) fn body_room(&self, revision: Revision, slot: Slot) -> Result<usize, Damage> {
        let bytes = match slot.place() {
            Place::Tail(sequence) => {
                let record = self.batches.get(sequence).ok_or_else(|| missing(revision))?;
                format::record_bytes(record.body.len())
            }
            Place::Disk(place) => self.sized(place).ok_or_else(|| missing(revision))?.size,
        };
        let room = bytes.checked_sub(format::RECORD_HEADER_BYTES as u64);
        room.and_then(|room| usize::try_from(room).ok()).ok_or_else(|| missing(revision))
    }

    /// Read a record of a segment through a window over it.
    pub(crate) fn read_disk(
        &self,
        window: &mut Window,
        revision: Revision,
        place: DiskPlace,
    ) -> Result<Record, Damage> {
        let place = self.sized(place).ok_or_else(|| missing(revision))?;
        let segment = self.segment(place, revision)?;
        let range = window
            .read(&*self.files, segment, place)
            .map_err(|kind| damage(&segment.file, place, revision, kind))?;
        decode(&segment.file, place, revision, &window.bytes.slice(range))
    }

    fn segment(&self, place: DiskPlace, revision: Revision) -> Result<&PinnedSegment, Damage> {
        self.segments.get(&place.segment).ok_or_else(|| missing(revision))
    }

    /// A place with its size.
    pub(crate) fn sized(&self, place: DiskPlace) -> Option<DiskPlace> {
        if place.size != 0 {
            return Some(place);
        }
        let size = *self.segments.get(&place.segment)?.large.get(&place.offset)?;
        Some(DiskPlace { size, ..place })
    }
}

/// The stretch of a segment that was read last.
#[derive(Debug, Default)]
pub(crate) struct Window {
    segment: Option<u32>,
    start: u64,
    bytes: Bytes,
}

impl Window {
    /// See to it that a place is in the window; gives where in it.
    fn read(
        &mut self,
        files: &dyn Files,
        segment: &PinnedSegment,
        place: DiskPlace,
    ) -> Result<Range<usize>, DamageKind> {
        if let Some(range) = self.within(place) {
            return Ok(range);
        }
        let left = segment.length.saturating_sub(place.offset);
        let length = WINDOW_BYTES.min(left).max(place.size);
        let length = usize::try_from(length).map_err(|_| DamageKind::Misplaced)?;
        let read = files.read(&segment.file.path, place.offset, length);
        self.bytes = read.map_err(|error| DamageKind::Io(error.kind()))?;
        self.segment = Some(place.segment);
        self.start = place.offset;
        self.within(place).ok_or(DamageKind::Io(std::io::ErrorKind::UnexpectedEof))
    }

    fn within(&self, place: DiskPlace) -> Option<Range<usize>> {
        let from = usize::try_from(place.offset.checked_sub(self.start)?).ok()?;
        let to = from.checked_add(usize::try_from(place.size).ok()?)?;
        let hit = self.segment == Some(place.segment) && to <= self.bytes.len();
        hit.then_some(from..to)
    }
}

/// Take a record apart that was read from its place.
pub(crate) fn decode(
    file: &SegmentFile,
    place: DiskPlace,
    revision: Revision,
    bytes: &Bytes,
) -> Result<Record, Damage> {
    let (tombstone, body) = format::decode(file.id, place.offset, revision, bytes)
        .map_err(|kind| damage(file, place, revision, kind))?;
    Ok(Record { revision, tombstone, body })
}

/// The error for a place.
pub(crate) fn damage(
    file: &SegmentFile,
    place: DiskPlace,
    revision: Revision,
    kind: DamageKind,
) -> Damage {
    Damage { file: file.path.to_string(), offset: place.offset, revision, kind }
}

/// The error for a revision without a place.
pub(crate) fn missing(revision: Revision) -> Damage {
    Damage { file: String::new(), offset: 0, revision, kind: DamageKind::Missing }
}
