//! The segments that the log knows: their files, lengths and how much of each is live.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_disk::Path;

use super::format::{self, SEGMENT_HEADER_BYTES};
use super::locations::{DiskPlace, SEGMENT_NUMBERS, SLOT_SIZES};

/// A segment's file. Whoever reads from it outside the log keeps a reference: a file with
/// references is not removed.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    /// Never used twice in a folder.
    pub(crate) id: u64,
    /// Its name.
    pub(crate) path: Path,
}

impl SegmentFile {
    pub(crate) fn new(id: u64) -> Arc<Self> {
        Arc::new(Self { id, path: format::file_name(id).into() })
    }
}

/// Sizes of the records that do not have theirs in their slot, by offset.
pub(crate) type LargeSizes = Arc<BTreeMap<u64, u64>>;

/// One segment.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    /// Its file.
    pub(crate) file: Arc<SegmentFile>,
    /// Durable bytes, header included. What follows in the file is not the log's.
    pub(crate) length: u64,
    /// Bytes of records that are not released.
    pub(crate) live: u64,
    /// Large records.
    pub(crate) large: LargeSizes,
}

impl Segment {
    /// A segment without records.
    pub(crate) fn empty(file: Arc<SegmentFile>) -> Self {
        Self { file, length: SEGMENT_HEADER_BYTES, live: 0, large: LargeSizes::default() }
    }

    /// Note the size of a record that is too large for its slot.
    pub(crate) fn note_size(&mut self, place: DiskPlace) {
        if place.size >= SLOT_SIZES {
            Arc::make_mut(&mut self.large).insert(place.offset, place.size);
        }
    }
}

/// All segments by number. A number is given again once its segment is gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Segments {
    by_number: BTreeMap<u32, Segment>,
    next_id: u64,
}

impl Segments {
    /// No segments; the next one gets this id.
    pub(crate) fn new(next_id: u64) -> Self {
        Self { by_number: BTreeMap::new(), next_id }
    }

    /// A name for a new segment.
    pub(crate) fn new_file(&mut self) -> Arc<SegmentFile> {
        let id = self.next_id;
        self.next_id = id.checked_add(1).expect("2^64 segments are not reached");
        SegmentFile::new(id)
    }

    /// The next segment gets an id after this one.
    pub(crate) fn skip_ids(&mut self, last: Option<u64>) {
        let next = last.map_or(0, |last| last.saturating_add(1));
        self.next_id = self.next_id.max(next);
    }

    /// The id that the next segment gets.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// The number that the next segment gets.
    pub(crate) fn free_number(&self) -> u32 {
        let taken = self.by_number.keys().zip(0..).find(|(number, free)| *number != free);
        let free = taken.map_or(self.by_number.len() as u32, |(_, free)| free);
        assert!(free < SEGMENT_NUMBERS, "2^24 segments are a petabyte");
        free
    }

    /// Add a segment under a free number.
    pub(crate) fn insert(&mut self, number: u32, segment: Segment) {
        let old = self.by_number.insert(number, segment);
        assert!(old.is_none(), "segment number {number} is taken");
    }

    /// The segment with this number.
    pub(crate) fn get(&self, number: u32) -> Option<&Segment> {
        self.by_number.get(&number)
    }

    /// The segment with this number, to change.
    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut Segment> {
        self.by_number.get_mut(&number)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Segment)> {
        self.by_number.iter().map(|(number, segment)| (*number, segment))
    }

    /// A place with its size, whatever the slot left out.
    pub(crate) fn sized(&self, place: DiskPlace) -> Option<DiskPlace> {
        if place.size != 0 {
            return Some(place);
        }
        let size = *self.get(place.segment)?.large.get(&place.offset)?;
        Some(DiskPlace { size, ..place })
    }

    /// A record of this place is live from now on.
    pub(crate) fn add_live(&mut self, place: DiskPlace) {
        if let Some(segment) = self.get_mut(place.segment) {
            segment.live += place.size;
            assert!(segment.live <= segment.length, "{} live > length", segment.file.path);
        }
    }

    /// The record at this place is dead.
    pub(crate) fn remove_live(&mut self, place: DiskPlace) {
        let place = self.sized(place).expect("a live record's size is known");
        let segment = self.get_mut(place.segment).expect("a live record's segment is there");
        segment.live = segment.live.checked_sub(place.size).expect("live bytes count each record");
    }

    /// Bytes of live records.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.by_number.values().map(|segment| segment.live).sum()
    }

    /// Bytes of files.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.by_number.values().map(|segment| segment.length).sum()
    }

    /// No record is live any more.
    pub(crate) fn release_all(&mut self) {
        for segment in self.by_number.values_mut() {
            segment.live = 0;
        }
    }

    /// The numbers of segments without live records that nobody reads and nobody needs: not
    /// `kept` by a checkpoint (by id) and not `active`.
    pub(crate) fn removable(&self, kept: &BTreeSet<u64>, active: Option<u32>) -> Vec<u32> {
        let removable = |number: u32, segment: &Segment| {
            segment.live == 0
                && active != Some(number)
                && !kept.contains(&segment.file.id)
                && Arc::strong_count(&segment.file) == 1
        };
        self.iter().filter(|(n, segment)| removable(*n, segment)).map(|(n, _)| n).collect()
    }

    /// Forget a segment.
    pub(crate) fn remove(&mut self, number: u32) -> Option<Segment> {
        self.by_number.remove(&number)
    }
}
