//! Flush: the tail's batches become a stretch of a segment.
//!
//! ```text
//!   plan ──► encode (no lock) ──► write + sync ──► commit, some batches a step ──► plan …
//! ```
//! A record is read from the tail until its segment is synced. A segment whose write failed is
//! sealed where it was last synced, and nothing is ever synced twice.

use std::collections::VecDeque;
use std::sync::Arc;

use quorate_disk::Operation;

use super::step::{Outcome, Step};
use crate::log::RevisionLog;
use crate::log::format::{self, Encoder, SEGMENT_HEADER_BYTES, record_bytes};
use crate::log::locations::DiskPlace;
use crate::log::segments::{Segment, SegmentFile};
use crate::log::tail::Batch;

/// Bytes of one write, about: large enough that a sync is a small part of its time.
const ROUND_BYTES: u64 = 4 << 20;

/// Batches that a step commits: a few thousand records, well below a millisecond.
const COMMIT_BATCHES: usize = 8;

/// The job.
#[derive(Debug)]
pub(super) struct Flush {
    state: FlushState,
    /// Bytes that were to be flushed when it began, less what is.
    left: Option<u64>,
}

#[derive(Debug)]
enum FlushState {
    Plan,
    Encode(Round),
    Encoded { round: Round, places: Vec<Vec<DiskPlace>>, end: u64, operations: Vec<Operation> },
    Written { round: Round, places: Vec<Vec<DiskPlace>>, end: u64 },
    Commit(VecDeque<(Arc<Batch>, Vec<DiskPlace>)>),
}

/// What is written at once, and where.
#[derive(Debug)]
struct Round {
    batches: Vec<Arc<Batch>>,
    file: Arc<SegmentFile>,
    number: u32,
    /// `None`: the file is new.
    continues_at: Option<u64>,
}

impl Flush {
    /// Everything that is in the tail when it takes its first step.
    pub(super) fn new() -> Self {
        Self { state: FlushState::Plan, left: None }
    }

    /// Encode, if that is next.
    pub(super) fn prepare(&mut self) {
        if let FlushState::Encode(round) = &self.state {
            let (places, end, operations) = round.encode();
            let FlushState::Encode(round) = std::mem::replace(&mut self.state, FlushState::Plan)
            else {
                unreachable!("the state has just been looked at");
            };
            self.state = FlushState::Encoded { round, places, end, operations };
        }
    }

    /// The next step; what was submitted has succeeded.
    pub(super) fn step(&mut self, log: &mut RevisionLog) -> Step {
        match std::mem::replace(&mut self.state, FlushState::Plan) {
            FlushState::Plan => self.plan(log),
            FlushState::Encode(round) => {
                self.state = FlushState::Encode(round);
                self.prepare();
                Step::Again
            }
            FlushState::Encoded { round, places, end, operations } => {
                self.state = FlushState::Written { round, places, end };
                Step::Submit(operations)
            }
            FlushState::Written { round, places, end } => {
                round.on_durable(log, end);
                self.state = FlushState::Commit(round.batches.into_iter().zip(places).collect());
                Step::Again
            }
            FlushState::Commit(mut batches) => {
                let some = batches.len().min(COMMIT_BATCHES);
                for (batch, places) in batches.drain(..some) {
                    log.on_flushed(&batch, places);
                }
                if !batches.is_empty() {
                    self.state = FlushState::Commit(batches);
                }
                Step::Again
            }
        }
    }

    fn plan(&mut self, log: &mut RevisionLog) -> Step {
        log.tail.close();
        let left = *self.left.get_or_insert(log.tail.unflushed_bytes());
        let mut bytes = 0;
        let mut batches = Vec::new();
        for batch in log.tail.unflushed() {
            if bytes >= ROUND_BYTES.min(left).min(log.options.segment_bytes) {
                break;
            }
            bytes += batch.bytes;
            batches.push(batch.clone());
        }
        if batches.is_empty() {
            return Step::Done(Outcome::Flushed);
        }
        self.left = Some(left.saturating_sub(bytes));
        let active = log.active.and_then(|number| Some((number, log.segments.get(number)?)));
        self.state = FlushState::Encode(match active {
            Some((number, segment)) => Round {
                batches,
                file: segment.file.clone(),
                number,
                continues_at: Some(segment.length),
            },
            None => Round {
                batches,
                file: log.segments.new_file(),
                number: log.segments.free_number(),
                continues_at: None,
            },
        });
        Step::Again
    }

    /// The job ends before its time; the file of a write that may have happened is left alone.
    pub(super) fn abandon(self, log: &mut RevisionLog) {
        if let FlushState::Written { round, .. } = self.state {
            if round.continues_at.is_none() {
                log.garbage.push(round.file.path.clone());
            }
            log.active = None;
        }
    }
}

impl Round {
    /// The places of each batch's records, the segment's new length, and what to do for it.
    fn encode(&self) -> (Vec<Vec<DiskPlace>>, u64, Vec<Operation>) {
        let start = self.continues_at.unwrap_or(SEGMENT_HEADER_BYTES);
        let mut encoder = Encoder::new(self.file.id, start);
        let places = self.batches.iter().map(|batch| {
            let push = |record: &crate::log::Record| {
                let offset = encoder.offset();
                encoder.push(record.revision, record.tombstone, &record.body);
                DiskPlace { segment: self.number, offset, size: record_bytes(record.body.len()) }
            };
            batch.records.iter().map(push).collect()
        });
        let places = places.collect();
        let end = encoder.offset();
        let path = self.file.path.clone();
        let mut operations = Vec::new();
        let mut data = encoder.finish();
        if self.continues_at.is_none() {
            operations.push(Operation::Create { path: path.clone(), size: 0 });
            data.insert(0, format::segment_header(self.file.id));
        }
        let offset = self.continues_at.unwrap_or(0);
        operations.push(Operation::Write { path: path.clone(), offset, data });
        operations.push(Operation::Sync { path });
        (places, end, operations)
    }

    fn on_durable(&self, log: &mut RevisionLog, end: u64) {
        if self.continues_at.is_none() {
            log.segments.insert(self.number, Segment::empty(self.file.clone()));
        }
        let segment = log.segments.get_mut(self.number).expect("an active segment is not removed");
        segment.length = end;
        log.active = (end < log.options.segment_bytes).then_some(self.number);
    }
}
