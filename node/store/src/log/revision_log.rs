//! The log itself: what apply and readers call.

use std::sync::Arc;

use bytes::Bytes;
use quorate_disk::{Files, Path};

use super::cache::BlockCache;
use super::format::record_bytes;
use super::locations::{DiskPlace, Locations, Place, Slot};
use super::pin::{self, Pin};
use super::segments::{Segment, Segments};
use super::tail::{Batch, Tail};
use super::{ChangeLimit, Damage, DamageKind, Record};
use crate::revision::Revision;

/// Segments are at most this long, so that a location fits eight bytes with a wide margin.
pub const SEGMENT_BYTES_MAX: u64 = 256 << 20;

/// How the log uses memory and disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// A segment is sealed when it has reached this length, in bytes. At most
    /// [`SEGMENT_BYTES_MAX`].
    pub segment_bytes: u64,
    /// A flush is due when this many bytes wait for one.
    pub flush_bytes: u64,
    /// Apply must wait when this many bytes wait for a flush.
    pub unflushed_bytes_max: u64,
    /// Memory for the newest flushed records, in bytes, and as much again for blocks of segments
    /// that were read.
    pub resident_bytes: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            flush_bytes: 8 << 20,
            unflushed_bytes_max: 64 << 20,
            resident_bytes: 64 << 20,
        }
    }
}

/// Every change that is not compacted, by revision.
pub struct RevisionLog {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) options: LogOptions,
    pub(crate) locations: Locations,
    pub(crate) tail: Tail,
    pub(crate) segments: Segments,
    cache: BlockCache,
    /// The segment that the next flush continues.
    pub(crate) active: Option<u32>,
    /// Files that are of no use any more, to be removed.
    pub(crate) garbage: Vec<Path>,
    /// Live bytes of records that no segment holds.
    unflushed_live: u64,
    /// Bytes ever appended in this process.
    appended: u64,
    newest: Revision,
}

impl RevisionLog {
    /// An empty log over a folder without segments.
    pub fn new(files: Arc<dyn Files>, options: LogOptions) -> Self {
        Self::with(files, options, Locations::default(), Segments::new(1))
    }

    /// A log with these records.
    pub(crate) fn with(
        files: Arc<dyn Files>,
        options: LogOptions,
        locations: Locations,
        segments: Segments,
    ) -> Self {
        assert!(options.segment_bytes <= SEGMENT_BYTES_MAX, "segment_bytes is too large");
        Self {
            files,
            options,
            locations,
            tail: Tail::default(),
            segments,
            cache: BlockCache::new(options.resident_bytes),
            active: None,
            garbage: Vec::new(),
            unflushed_live: 0,
            appended: 0,
            newest: Revision::new(i64::MIN, 0),
        }
    }

    /// Add the records of one main revision, newer than all before, ascending by `sub`. Never
    /// blocks, never fails.
    pub fn append(&mut self, records: Vec<Record>) {
        for record in records {
            let revision = record.revision;
            assert!(revision > self.newest, "{revision} is appended after {}", self.newest);
            self.newest = revision;
            let bytes = record_bytes(record.body.len());
            let sequence = self.tail.push(record);
            self.locations.set(revision, Slot::in_tail(sequence));
            self.unflushed_live += bytes;
            self.appended += bytes;
        }
    }

    /// The body of the record at `revision`, which may share memory with its neighbours. A record
    /// that is not in memory is one read of the disk; its checksum is checked each time.
    ///
    /// # Errors
    /// [`Damage`] if the disk does not give back what was written.
    pub fn read(&self, revision: Revision) -> Result<Bytes, Damage> {
        let slot = self.locations.get(revision).ok_or_else(|| pin::missing(revision))?;
        self.read_slot(revision, slot).map(|record| record.body)
    }

    /// The records of whole main revisions from `from_main` on, in order, up to `limit`. What is
    /// released is left out.
    ///
    /// # Errors
    /// [`Damage`] if the disk does not give back what was written.
    pub fn changes(&self, from_main: i64, limit: ChangeLimit) -> Result<Vec<Record>, Damage> {
        let mut found: Vec<Record> = Vec::new();
        let mut mains = 0;
        let mut bytes = 0;
        for (revision, slot) in self.locations.iter_from(Revision::new(from_main, 0)) {
            if found.last().is_none_or(|last| last.revision.main != revision.main) {
                if mains > 0 && (mains >= limit.revisions || bytes >= limit.bytes) {
                    break;
                }
                mains += 1;
            }
            let record = self.read_slot(revision, slot)?;
            bytes += record.body.len();
            found.push(record);
        }
        Ok(found)
    }

    fn read_slot(&self, revision: Revision, slot: Slot) -> Result<Record, Damage> {
        let place = match slot.place() {
            Place::Tail(sequence) => {
                return self.tail.get(sequence).cloned().ok_or_else(|| pin::missing(revision));
            }
            Place::Disk(place) => place,
        };
        let place = self.segments.sized(place).ok_or_else(|| pin::missing(revision))?;
        let segment = self.segments.get(place.segment).ok_or_else(|| pin::missing(revision))?;
        let file = &segment.file;
        let bytes = self
            .cache
            .read(&*self.files, file, segment.length, place)
            .map_err(|error| pin::damage(file, place, revision, DamageKind::Io(error.kind())))?;
        pin::decode(file, place, revision, &bytes)
    }

    /// Compaction dropped this record: its bytes are dead. A revision that is not there is
    /// ignored. Never touches the disk.
    pub fn release(&mut self, revision: Revision) {
        let Some(slot) = self.locations.remove(revision) else {
            return;
        };
        match slot.place() {
            Place::Disk(place) => self.segments.remove_live(place),
            Place::Tail(sequence) => match self.tail.place(sequence) {
                Some(place) => self.segments.remove_live(place),
                None => {
                    let record = self.tail.get(sequence).expect("an unflushed record is here");
                    self.unflushed_live -= record_bytes(record.body.len());
                }
            },
        }
    }

    /// Drop every record, to be filled anew from a snapshot. A job that runs must have been
    /// aborted. The files stay until a checkpoint does without them.
    pub fn reset(&mut self) {
        self.locations.clear();
        self.tail.clear();
        self.segments.release_all();
        self.unflushed_live = 0;
        self.newest = Revision::new(i64::MIN, 0);
    }

    /// The log as it is now, to read while it changes. Cheap: a pointer per 512 revisions.
    pub fn pin(&mut self) -> Pin {
        self.tail.close();
        Pin {
            files: self.files.clone(),
            locations: self.locations.clone(),
            batches: self.tail.batches().clone(),
            segments: pin::pin_segments(&self.segments),
        }
    }

    /// Whether apply must wait for a flush before it appends more.
    pub fn must_wait(&self) -> bool {
        self.tail.unflushed_bytes() >= self.options.unflushed_bytes_max
    }

    /// Whether enough waits for a flush.
    pub fn is_flush_due(&self) -> bool {
        self.tail.unflushed_bytes() >= self.options.flush_bytes
    }

    /// Bytes of records that are not released, with their headers.
    pub fn live_bytes(&self) -> u64 {
        self.segments.live_bytes() + self.unflushed_live
    }

    /// Bytes that the log takes on disk and in its unflushed tail; at least the live bytes.
    pub fn total_bytes(&self) -> u64 {
        self.segments.file_bytes() + self.tail.unflushed_bytes()
    }

    /// Bytes that wait for a flush.
    pub fn unflushed_bytes(&self) -> u64 {
        self.tail.unflushed_bytes()
    }

    /// Segments' files.
    pub fn segment_count(&self) -> usize {
        self.segments.iter().count()
    }

    /// Bytes of segments' files.
    pub fn file_bytes(&self) -> u64 {
        self.segments.file_bytes()
    }

    /// Bytes ever appended in this process.
    pub fn appended_bytes(&self) -> u64 {
        self.appended
    }

    /// Memory that the log takes besides its cache, in bytes, about: locations, unflushed and
    /// resident records.
    pub fn memory_bytes(&self) -> u64 {
        self.locations.memory_bytes() + self.tail.unflushed_bytes() + self.tail.flushed_bytes()
    }

    /// A batch is durable in the segment with this number. Its records are live there from now
    /// on, but for those released meanwhile.
    pub(crate) fn on_flushed(&mut self, batch: &Arc<Batch>, places: Vec<DiskPlace>) {
        for ((sequence, record), place) in batch.sequenced().zip(&places) {
            if let Some(segment) = self.segments.get_mut(place.segment) {
                segment.note_size(*place);
            }
            if self.locations.get(record.revision) == Some(Slot::in_tail(sequence)) {
                self.segments.add_live(*place);
                self.unflushed_live -= place.size;
            }
        }
        batch.places.set(places).expect("a batch is flushed once");
        self.tail.on_flushed(batch);
        self.evict();
    }

    /// Let go of flushed batches beyond the budget.
    fn evict(&mut self) {
        while let Some(batch) = self.tail.evict(self.options.resident_bytes) {
            let places = batch.places.get().expect("a flushed batch has places");
            for ((sequence, record), place) in batch.sequenced().zip(places) {
                if self.locations.get(record.revision) == Some(Slot::in_tail(sequence)) {
                    self.locations.set(record.revision, Slot::on_disk(*place));
                }
            }
        }
    }

    /// A record has a second copy, at `to`: it is the one to read from now on, unless the record
    /// was released meanwhile: then this is `false`.
    pub(crate) fn on_moved(&mut self, revision: Revision, from: DiskPlace, to: DiskPlace) -> bool {
        if self.locations.get(revision) != Some(Slot::on_disk(from)) {
            return false;
        }
        self.segments.remove_live(from);
        if let Some(segment) = self.segments.get_mut(to.segment) {
            segment.note_size(to);
        }
        self.segments.add_live(to);
        self.locations.set(revision, Slot::on_disk(to));
        true
    }

    /// Add a segment that is durable; gives its number.
    pub(crate) fn add_segment(&mut self, segment: Segment) -> u32 {
        let number = self.segments.free_number();
        self.segments.insert(number, segment);
        number
    }
}
