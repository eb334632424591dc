//! Collection: the live records of segments that hold few move to a new one.
//!
//! ```text
//!   choose ──► scan ──► (read + encode ──► write)… ──► sync ──► move, some records a step
//! ```
//! A record that is released meanwhile stays behind, dead. The old files are left to
//! [cleanup](super::cleanup), which waits for checkpoints and readers.

use std::collections::VecDeque;
use std::sync::Arc;

use quorate_disk::Operation;

use super::step::{JobError, Outcome, Step};
use crate::log::format::{self, Encoder, SEGMENT_HEADER_BYTES};
use crate::log::locations::{DiskPlace, Place, Slot};
use crate::log::pin::{Pin, Window};
use crate::log::segments::{Segment, SegmentFile};
use crate::log::{Damage, RevisionLog};
use crate::revision::Revision;

/// Segments with live bytes up to this share of their length are collected: a byte moved frees
/// one at least, and the disk holds at most twice what is live.
const LIVE_PERCENT_MAX: u64 = 50;

/// Segments of at most this share of the length at which one is sealed are joined…
const SMALL_PERCENT_MAX: u64 = 25;

/// … once there are this many: each restart leaves one.
const SMALL_SEGMENTS: usize = 8;

/// Bytes of one write, about.
const ROUND_BYTES: u64 = 4 << 20;

/// Records that a step moves: well below a millisecond.
const MOVE_RECORDS: usize = 2048;

/// The job.
pub(super) struct Collection {
    state: CollectionState,
    work: Option<Work>,
}

#[derive(Debug)]
enum CollectionState {
    Choose,
    Scan,
    Read,
    Write(Vec<Operation>),
    Sync,
    Add,
    Move { number: u32, moved: u64 },
}

struct Work {
    pin: Pin,
    window: Window,
    victims: Vec<u32>,
    file: Arc<SegmentFile>,
    end: u64,
    is_created: bool,
    is_added: bool,
    waiting: VecDeque<(Revision, DiskPlace)>,
    /// Revision, from, offset in the new segment.
    written: VecDeque<(Revision, DiskPlace, u64)>,
    /// Records that could not be read.
    damaged: Vec<(DiskPlace, Damage)>,
}

/// The segments to collect next, by number; together they fit one segment.
pub(super) fn victims(log: &RevisionLog) -> Vec<u32> {
    // The newest segments hold records that are still in memory and would not move.
    let bound = log.tail.oldest_resident().and_then(|n| log.segments.get(n));
    let bound = bound.map_or(u64::MAX, |segment| segment.file.id);
    let movable = |number: u32, segment: &Segment| {
        segment.live > 0 && segment.file.id < bound && log.active != Some(number)
    };
    let size = log.options.segment_bytes;
    let mut sparse: Vec<(u64, u32)> = Vec::new();
    let mut small: Vec<(u64, u32)> = Vec::new();
    for (number, segment) in log.segments.iter().filter(|(n, segment)| movable(*n, segment)) {
        // Without the header, which its copy would have as well: a collection must free something.
        let records = segment.length - SEGMENT_HEADER_BYTES;
        if segment.live * 100 <= records * LIVE_PERCENT_MAX {
            sparse.push((segment.live, number));
        } else if segment.length * 100 <= size * SMALL_PERCENT_MAX {
            small.push((segment.live, number));
        }
    }
    sparse.sort_unstable();
    if small.len() >= SMALL_SEGMENTS {
        sparse.extend(small);
    }
    let mut total = 0;
    let fits = sparse.into_iter().take_while(|(live, _)| {
        let is_first = total == 0;
        total += live;
        is_first || total <= size
    });
    fits.map(|(_, number)| number).collect()
}

impl Collection {
    pub(super) fn new() -> Self {
        Self { state: CollectionState::Choose, work: None }
    }

    /// Find the records, or read and encode the next ones.
    pub(super) fn prepare(&mut self) {
        let Some(work) = &mut self.work else {
            return;
        };
        match self.state {
            CollectionState::Scan => {
                work.scan();
                self.state = CollectionState::Read;
            }
            CollectionState::Read => {
                if let Some(operations) = work.read() {
                    self.state = CollectionState::Write(operations);
                } else {
                    self.state = CollectionState::Sync;
                }
            }
            CollectionState::Choose
            | CollectionState::Write(_)
            | CollectionState::Sync
            | CollectionState::Add
            | CollectionState::Move { .. } => {}
        }
    }

    /// The next step; what was submitted has succeeded.
    pub(super) fn step(&mut self, log: &mut RevisionLog) -> Result<Step, JobError> {
        let Some(work) = &mut self.work else {
            return Ok(self.choose(log));
        };
        // Damage of a record that was released meanwhile hurts nobody.
        for (place, damage) in work.damaged.drain(..) {
            if log.locations.get(damage.revision) == Some(Slot::on_disk(place)) {
                return Err(damage.into());
            }
        }
        match std::mem::replace(&mut self.state, CollectionState::Scan) {
            CollectionState::Choose | CollectionState::Scan => Ok(Step::Again),
            CollectionState::Read => {
                self.state = CollectionState::Read;
                Ok(Step::Again)
            }
            CollectionState::Write(operations) => {
                work.is_created = true;
                self.state = CollectionState::Read;
                Ok(Step::Submit(operations))
            }
            CollectionState::Sync if work.written.is_empty() => {
                Ok(Step::Done(Outcome::Collected { records: 0 }))
            }
            CollectionState::Sync => {
                self.state = CollectionState::Add;
                Ok(Step::Submit(vec![Operation::Sync { path: work.file.path.clone() }]))
            }
            CollectionState::Add => {
                let number = work.add(log);
                self.state = CollectionState::Move { number, moved: 0 };
                Ok(Step::Again)
            }
            CollectionState::Move { number, mut moved } => {
                moved += work.move_some(log, number);
                if work.written.is_empty() {
                    return Ok(Step::Done(Outcome::Collected { records: moved }));
                }
                self.state = CollectionState::Move { number, moved };
                Ok(Step::Again)
            }
        }
    }

    fn choose(&mut self, log: &mut RevisionLog) -> Step {
        let victims = victims(log);
        if victims.is_empty() {
            return Step::Done(Outcome::Collected { records: 0 });
        }
        self.work = Some(Work {
            pin: log.pin(),
            window: Window::default(),
            victims,
            file: log.segments.new_file(),
            end: SEGMENT_HEADER_BYTES,
            is_created: false,
            is_added: false,
            waiting: VecDeque::new(),
            written: VecDeque::new(),
            damaged: Vec::new(),
        });
        self.state = CollectionState::Scan;
        Step::Again
    }

    /// The job ends before its time.
    pub(super) fn abandon(self, log: &mut RevisionLog) {
        if let Some(work) = self.work
            && work.is_created
            && !work.is_added
        {
            log.garbage.push(work.file.path.clone());
        }
    }
}

impl Work {
    fn scan(&mut self) {
        let all = self.pin.locations.iter_from(Revision::new(i64::MIN, 0));
        let mut found: Vec<(Revision, DiskPlace)> = all
            .filter_map(|(revision, slot)| match slot.place() {
                Place::Disk(place) => Some((revision, place)),
                Place::Tail(_) => None,
            })
            .filter(|(_, place)| self.victims.contains(&place.segment))
            .collect();
        // One segment after the other, each from front to back.
        found.sort_unstable_by_key(|(_, place)| *place);
        self.waiting = found.into();
    }

    /// Read the next records and encode their copies; `None` if there are no more.
    fn read(&mut self) -> Option<Vec<Operation>> {
        let start = self.end;
        let mut encoder = Encoder::new(self.file.id, start);
        while encoder.offset() - start < ROUND_BYTES {
            let Some((revision, place)) = self.waiting.pop_front() else {
                break;
            };
            match self.pin.read_disk(&mut self.window, revision, place) {
                Ok(record) => {
                    self.written.push_back((revision, place, encoder.offset()));
                    encoder.push(revision, record.tombstone, &record.body);
                }
                Err(damage) => self.damaged.push((place, damage)),
            }
        }
        self.end = encoder.offset();
        if self.end == start {
            return None;
        }
        let path = self.file.path.clone();
        let mut data = encoder.finish();
        if self.is_created {
            return Some(vec![Operation::Write { path, offset: start, data }]);
        }
        data.insert(0, format::segment_header(self.file.id));
        Some(vec![
            Operation::Create { path: path.clone(), size: 0 },
            Operation::Write { path, offset: 0, data },
        ])
    }

    fn add(&mut self, log: &mut RevisionLog) -> u32 {
        self.is_added = true;
        let file = self.file.clone();
        let segment = Segment { length: self.end, ..Segment::empty(file) };
        log.add_segment(segment)
    }

    fn move_some(&mut self, log: &mut RevisionLog, number: u32) -> u64 {
        let mut moved = 0;
        for _ in 0..MOVE_RECORDS {
            let Some((revision, from, offset)) = self.written.pop_front() else {
                break;
            };
            let size = self.pin.sized(from).map(|place| place.size);
            let size = size.expect("a record that was read has a size");
            moved += u64::from(log.on_moved(
                revision,
                from,
                DiskPlace { segment: number, offset, size },
            ));
        }
        moved
    }
}
