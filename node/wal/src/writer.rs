//! Writing: a batch is one write and one sync; everything else happens around them.
//!
//! ```text
//!   append ─► frame, records ─► Write ─► Sync ─► durable ─► seal, if nothing else is in flight
//!                │
//!                └ the segment is full and the next is there: header and batch in one write
//! ```
//!
//! The seal is written without a sync of its own: the next batch's sync carries it, or, when the
//! log stays idle or is closed, one that is submitted for it. The next segment and the reserve are
//! pre-written piece by piece.

use std::collections::VecDeque;
use std::io;

use quorate_disk::{Completion, Disk, Operation, Path, Ticket};

use crate::encoding::batch_bytes;
use crate::extent::Extent;
use crate::record::{MarkKind, SECTOR, SEGMENT_HEADER_BYTES, Salt};
use crate::recovery::Plan;
use crate::retention::Pool;
use crate::segment::{CREATING, Closed, Options, SEGMENT_BYTES_MIN, segment_path};
use crate::{Batch, BatchId, End, Failure, HardState, Identity, Mark};

/// How much room the log has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// The next segment is there or can be made.
    Ample,
    /// The disk is full: only this many bytes are left, the reserve with them.
    Low {
        /// Bytes that can still be appended, headers with them.
        bytes: u64,
    },
}

/// The segment that is written.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    pub(crate) sequence: u64,
    pub(crate) path: Path,
    pub(crate) salt: Salt,
    /// Where the next frame goes.
    pub(crate) offset: u64,
    /// Bytes of the file, as far as they were pre-written or written.
    pub(crate) length: u64,
    pub(crate) max_index: u64,
    /// What its header says about the segment before.
    pub(crate) previous: (u64, u64),
}

/// A batch that is not durable yet, with what is needed to write it to another place.
#[derive(Clone, Debug)]
struct InFlight {
    number: u64,
    batch: Batch,
    mark: MarkKind,
    /// Which writing of it counts.
    attempt: u64,
    before: Before,
    first_segment: u64,
    then: Vec<Operation>,
}

/// The log's state before a batch.
#[derive(Clone, Debug)]
struct Before {
    chain: u32,
    hard_state: HardState,
    mark: Option<Mark>,
    current: Current,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Write {
        number: u64,
        attempt: u64,
    },
    Sync {
        number: u64,
        attempt: u64,
    },
    Seal,
    /// Must succeed.
    Needed(&'static str),
    Prepare(crate::retention::Step),
}

/// The durable log.
#[derive(Debug)]
pub struct Log {
    pub(crate) options: Options,
    pub(crate) identity: Identity,
    pub(crate) current: Current,
    pub(crate) closed: VecDeque<Closed>,
    pub(crate) pool: Pool,
    pub(crate) number: u64,
    pub(crate) chain: u32,
    pub(crate) durable: u64,
    pub(crate) sealed: u64,
    /// The batch whose seal is durable, or will be by a sync that is submitted.
    pub(crate) proved: u64,
    /// The newest batch when somebody last looked whether the log is idle.
    pub(crate) looked_at: u64,
    pub(crate) is_closing: bool,
    pub(crate) hard_state: HardState,
    pub(crate) mark: Option<Mark>,
    pub(crate) extent: Extent,
    pub(crate) first_segment: u64,
    /// `first_segment` as the newest durable batch says it.
    pub(crate) first_segment_durable: u64,
    pub(crate) repair_until: End,
    pub(crate) plan: Option<Plan>,
    in_flight: VecDeque<InFlight>,
    tickets: VecDeque<(Ticket, Path, Purpose)>,
    next_ticket: u64,
    attempt: u64,
    pub(crate) failed: bool,
}

/// State that recovery and creation begin with.
pub(crate) struct Start {
    pub(crate) options: Options,
    pub(crate) identity: Identity,
    pub(crate) current: Current,
    pub(crate) number: u64,
    pub(crate) chain: u32,
}

impl Log {
    /// Submit a new, empty log. It exists when the returned batch is durable; before that, a crash
    /// leaves no log ([`OpenError::Empty`](crate::OpenError::Empty)).
    pub fn create(disk: &mut dyn Disk, identity: Identity, options: Options) -> (Self, BatchId) {
        Self::create_with(disk, identity, options, Batch::default())
    }

    /// Submit a new log that has a batch from its first moment on: it exists with it, or not at
    /// all.
    ///
    /// # Panics
    /// If the batch is one that [`Log::append`] does not take, or not for one segment.
    pub fn create_with(
        disk: &mut dyn Disk,
        identity: Identity,
        options: Options,
        batch: Batch,
    ) -> (Self, BatchId) {
        assert!(options.segment_bytes >= SEGMENT_BYTES_MIN, "a segment must hold a batch");
        assert!(options.segment_bytes.is_multiple_of(SECTOR), "segments are whole sectors");
        let sequence = 1;
        let current = Current {
            sequence,
            path: CREATING.into(),
            salt: Salt::new(&identity, sequence),
            offset: 0,
            length: options.segment_bytes,
            max_index: 0,
            previous: (0, 0),
        };
        let mut log = Self::start(Start { options, identity, current, number: 0, chain: 0 });
        log.first_segment = sequence;
        log.first_segment_durable = sequence;
        let creating: Path = CREATING.into();
        log.submit_needed(disk, "clear", Operation::Remove { path: creating.clone() });
        let size = options.segment_bytes;
        log.submit_needed(disk, "create", Operation::Create { path: creating.clone(), size });
        // The file gets its name when this batch is synced, so its header may vouch for it.
        let header = log.header(1, 1);
        let before = log.before();
        let kind = log.take_in(&batch);
        if let Some(hard_state) = batch.hard_state {
            log.hard_state = hard_state;
        }
        log.mark.clone_from(&batch.mark);
        let (mut pieces, frame) = log.encode(1, &batch, kind, SEGMENT_HEADER_BYTES);
        pieces.insert(0, header.encode());
        let offset = SEGMENT_HEADER_BYTES + frame.length;
        assert!(offset + SECTOR <= size, "the first batch is larger than a segment");
        log.current.max_index = batch.entries.last().map_or(0, |entry| entry.index);
        log.submit_needed(
            disk,
            "write",
            Operation::Write { path: creating.clone(), offset: 0, data: pieces },
        );
        log.submit_needed(disk, "sync", Operation::Sync { path: creating.clone() });
        let path = segment_path(sequence);
        log.submit_needed(disk, "rename", Operation::Rename { from: creating, to: path.clone() });
        log.number = 1;
        log.chain = frame.checksum;
        log.current.path = path;
        log.current.offset = offset;
        log.in_flight.push_back(InFlight {
            number: 1,
            batch,
            mark: kind,
            attempt: log.attempt,
            before: Before { current: log.current.clone(), ..before },
            first_segment: sequence,
            then: Vec::new(),
        });
        let purpose = Purpose::Sync { number: 1, attempt: log.attempt };
        log.submit(disk, "".into(), purpose, Operation::SyncDirectory { path: "".into() });
        (log, BatchId(1))
    }

    pub(crate) fn start(start: Start) -> Self {
        let Start { options, identity, current, number, chain } = start;
        Self {
            options,
            identity,
            current,
            closed: VecDeque::new(),
            pool: Pool::default(),
            number,
            chain,
            durable: number,
            sealed: 0,
            proved: 0,
            looked_at: 0,
            is_closing: false,
            hard_state: HardState::default(),
            mark: None,
            extent: Extent::default(),
            first_segment: 0,
            first_segment_durable: 0,
            repair_until: End::default(),
            plan: None,
            in_flight: VecDeque::new(),
            tickets: VecDeque::new(),
            next_ticket: 0,
            attempt: 0,
            failed: false,
        }
    }

    /// Submit a batch, with one write and one sync. It is durable when
    /// [`Log::on_completion`] names it.
    ///
    /// # Panics
    /// If entries do not follow each other, leave a gap, or go below the mark; if the log was
    /// opened and not resumed; after a failure.
    pub fn append(&mut self, disk: &mut dyn Disk, batch: Batch) -> BatchId {
        self.append_then(disk, batch, Vec::new())
    }

    /// Append, and submit operations when the batch is durable.
    pub(crate) fn append_then(
        &mut self,
        disk: &mut dyn Disk,
        batch: Batch,
        then: Vec<Operation>,
    ) -> BatchId {
        assert!(self.plan.is_none(), "the log was opened and not resumed");
        assert!(!self.failed, "the log has failed");
        let kind = self.take_in(&batch);
        self.number += 1;
        let before = self.before();
        self.in_flight.push_back(InFlight {
            number: self.number,
            batch: batch.clone(),
            mark: kind,
            attempt: self.attempt,
            before,
            first_segment: self.first_segment,
            then,
        });
        self.write(disk, self.number, batch, kind);
        self.maintain(disk);
        BatchId(self.number)
    }

    /// What the log holds grows by a batch, which is checked.
    fn take_in(&mut self, batch: &Batch) -> MarkKind {
        let mut kind = MarkKind::None;
        if let Some(mark) = &batch.mark {
            kind = self.extent.kind_of(mark);
            self.extent.mark(mark, kind);
        }
        if let Some(first) = batch.entries.first() {
            assert!(self.extent.fits(first.index), "entries leave a gap");
            let indexes = batch.entries.iter().map(|entry| entry.index);
            assert!(indexes.eq((first.index..).take(batch.entries.len())), "indexes ascend");
        }
        self.extent.append(&batch.entries);
        kind
    }

    fn before(&self) -> Before {
        Before {
            chain: self.chain,
            hard_state: self.hard_state,
            mark: self.mark.clone(),
            current: self.current.clone(),
        }
    }

    /// Write a batch to where the log ends, or to the next segment.
    fn write(&mut self, disk: &mut dyn Disk, number: u64, batch: Batch, mut kind: MarkKind) {
        if let Some(hard_state) = batch.hard_state {
            self.hard_state = hard_state;
        }
        // The last sector stays free for the seal.
        let room = self.options.segment_bytes.saturating_sub(self.current.offset + SECTOR);
        let is_new = self.current.offset <= SEGMENT_HEADER_BYTES;
        let mut header = None;
        if (batch_bytes(&batch) > room && !is_new && self.roll(disk)) || self.is_unbegun() {
            let synced = self.durable;
            header = Some(self.header(number, synced));
        }
        if let Some(mark) = &batch.mark {
            self.mark = Some(mark.clone());
        }
        // Each segment repeats the mark, so that those before it can go.
        let batch = match (&header, &self.mark) {
            (Some(_), Some(mark)) if batch.mark.is_none() => {
                kind = MarkKind::Keeps;
                Batch { mark: Some(mark.clone()), ..batch }
            }
            _ => batch,
        };
        let mut offset = self.current.offset;
        if header.is_some() {
            offset = SEGMENT_HEADER_BYTES;
        }
        let (mut pieces, frame) = self.encode(number, &batch, kind, offset);
        let mut from = offset;
        if let Some(header) = header {
            pieces.insert(0, header.encode());
            from = 0;
        }
        self.chain = frame.checksum;
        self.current.offset = offset + frame.length;
        self.current.length = self.current.length.max(self.current.offset);
        if let Some(last) = batch.entries.last() {
            self.current.max_index = self.current.max_index.max(last.index);
        }
        let (path, attempt) = (self.current.path.clone(), self.attempt);
        let write = Operation::Write { path: path.clone(), offset: from, data: pieces };
        self.submit(disk, path.clone(), Purpose::Write { number, attempt }, write);
        let sync = Operation::Sync { path: path.clone() };
        self.submit(disk, path, Purpose::Sync { number, attempt }, sync);
    }

    /// Whether the current segment has no header yet.
    fn is_unbegun(&self) -> bool {
        self.current.offset == 0
    }

    /// Go to the next segment, if there is one. Its header comes with its first batch.
    fn roll(&mut self, disk: &mut dyn Disk) -> bool {
        let sequence = self.current.sequence + 1;
        let Some(length) = self.take_next(disk, sequence) else { return false };
        self.leave_current(sequence, length, (self.current.sequence, self.current.offset));
        true
    }

    /// Make the file with this sequence number the current one, without a header.
    pub(crate) fn leave_current(&mut self, sequence: u64, length: u64, previous: (u64, u64)) {
        self.closed.push_back(Closed {
            sequence: self.current.sequence,
            max_index: self.current.max_index,
            length: self.current.length,
        });
        self.current = Current {
            sequence,
            path: segment_path(sequence),
            salt: Salt::new(&self.identity, sequence),
            offset: 0,
            length,
            max_index: 0,
            previous,
        };
    }

    /// Take in the end of an operation. The batches that are durable by it, in order.
    ///
    /// # Errors
    /// [`Failure`]: the log has ended, the process must not answer anything that it has not
    /// answered yet.
    pub fn on_completion(
        &mut self,
        disk: &mut dyn Disk,
        completion: Completion,
    ) -> Result<Vec<BatchId>, Failure> {
        let expected = self.tickets.front().map(|(ticket, _, _)| *ticket);
        if expected != Some(completion.ticket) {
            return Ok(Vec::new());
        }
        let Some((_, path, purpose)) = self.tickets.pop_front() else { return Ok(Vec::new()) };
        let mut done = Vec::new();
        match (purpose, completion.result) {
            (Purpose::Write { attempt, number }, Err(error))
                if error.kind() == io::ErrorKind::StorageFull =>
            {
                if attempt == self.attempt {
                    self.move_to_reserve(disk, number)?;
                }
            }
            (Purpose::Write { .. }, Err(source)) => return Err(self.fatal(&path, "write", source)),
            (Purpose::Sync { .. }, Err(source)) => return Err(self.fatal(&path, "sync", source)),
            (Purpose::Needed(action), Err(source)) => {
                return Err(self.fatal(&path, action, source));
            }
            (Purpose::Seal, Err(source)) if source.kind() != io::ErrorKind::StorageFull => {
                return Err(self.fatal(&path, "write", source));
            }
            (Purpose::Sync { number, attempt }, Ok(())) if attempt == self.attempt => {
                done = self.on_durable(disk, number);
            }
            (Purpose::Prepare(step), result) => {
                self.on_prepared(disk, step, result)
                    .map_err(|source| self.fatal(&path, "prepare", source))?;
            }
            (Purpose::Write { .. } | Purpose::Sync { .. }, Ok(()))
            | (Purpose::Needed(_), Ok(()))
            | (Purpose::Seal, _) => {}
        }
        self.maintain(disk);
        Ok(done)
    }

    fn fatal(&mut self, path: &str, action: &'static str, source: io::Error) -> Failure {
        self.failed = true;
        Failure::Fatal { path: path.to_owned(), action, source }
    }

    fn on_durable(&mut self, disk: &mut dyn Disk, number: u64) -> Vec<BatchId> {
        let mut done = Vec::new();
        while let Some(first) = self.in_flight.front()
            && first.number <= number
        {
            let Some(first) = self.in_flight.pop_front() else { break };
            done.push(BatchId(first.number));
            self.durable = first.number;
            self.first_segment_durable = first.first_segment;
            for operation in first.then {
                self.submit_needed(disk, "give back", operation);
            }
        }
        self.recycle(disk);
        if self.in_flight.is_empty() && self.sealed < self.durable {
            self.seal(disk);
            if self.is_closing {
                self.prove(disk);
            }
        }
        done
    }

    /// The disk had no room for batch `number`: write it and all after it to the reserve.
    fn move_to_reserve(&mut self, disk: &mut dyn Disk, number: u64) -> Result<(), Failure> {
        let at = self.in_flight.iter().position(|batch| batch.number == number);
        let Some(first) = at.and_then(|at| self.in_flight.get(at)) else { return Ok(()) };
        let Before { chain, hard_state, mark, current } = first.before.clone();
        let sequence = self.current.sequence + 1;
        self.pool.full = true;
        let Some(length) = self.take_next(disk, sequence) else {
            self.failed = true;
            return Err(Failure::DiskFull);
        };
        // A segment whose header is not durable is no predecessor.
        let is_begun = current.offset >= SEGMENT_HEADER_BYTES;
        let previous = if is_begun { (current.sequence, current.offset) } else { current.previous };
        self.leave_current(sequence, length, previous);
        self.closed.retain(|closed| closed.sequence <= previous.0);
        self.chain = chain;
        self.hard_state = hard_state;
        self.mark = mark;
        self.attempt += 1;
        let attempt = self.attempt;
        let mut again = Vec::new();
        for batch in self.in_flight.iter_mut().filter(|batch| batch.number >= number) {
            batch.attempt = attempt;
            again.push((batch.number, batch.batch.clone(), batch.mark));
        }
        for (number, batch, kind) in again {
            self.write(disk, number, batch, kind);
        }
        Ok(())
    }

    /// Whether every operation that was submitted has completed.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.tickets.is_empty()
    }

    /// The newest batch that is durable.
    #[must_use]
    pub fn durable(&self) -> BatchId {
        BatchId(self.durable)
    }

    /// The hard state as the newest batch has it.
    #[must_use]
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// The last index, of an entry or of the mark; 0 for an empty log.
    #[must_use]
    pub fn last_index(&self) -> u64 {
        self.extent.last_index()
    }

    /// Where the log must end for the repair to be over; `None` if it is not under repair.
    #[must_use]
    pub fn repairing_until(&self) -> Option<End> {
        (self.repair_until.index > 0).then_some(self.repair_until)
    }

    /// How many files the log is in.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.closed.len() + 1
    }

    /// The segment that the oldest batch in flight was to go to, or the one before.
    pub(crate) fn oldest_in_flight(&self) -> Option<u64> {
        self.in_flight.front().map(|batch| batch.before.current.sequence)
    }

    pub(crate) fn has_ticket(&self, is_it: impl Fn(&Purpose) -> bool) -> bool {
        self.tickets.iter().any(|(_, _, purpose)| is_it(purpose))
    }

    pub(crate) fn submit_needed(
        &mut self,
        disk: &mut dyn Disk,
        action: &'static str,
        operation: Operation,
    ) {
        let path = match &operation {
            Operation::Create { path, .. }
            | Operation::Write { path, .. }
            | Operation::Sync { path }
            | Operation::Truncate { path, .. }
            | Operation::Remove { path }
            | Operation::CreateDirectory { path }
            | Operation::SyncDirectory { path } => path.clone(),
            Operation::Rename { from, .. } => from.clone(),
        };
        self.submit(disk, path, Purpose::Needed(action), operation);
    }

    pub(crate) fn submit(
        &mut self,
        disk: &mut dyn Disk,
        path: Path,
        purpose: Purpose,
        operation: Operation,
    ) {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.tickets.push_back((ticket, path, purpose));
        disk.submit(ticket, operation);
    }
}
