//! The log's side of a member: batches in, durable batches and free messages out.

use std::collections::VecDeque;

use quorate_api::peer::LogEnd;
use quorate_disk::{Completion, Disk};
use quorate_raft::Message;
use quorate_replica::{BatchId, LogBatch, Repair, wire};
use quorate_wal as wal;

use crate::open::end_of;

/// Writes what a replica wants persisted, and keeps back what must wait for it.
#[derive(Debug)]
pub struct LogWriter {
    log: wal::Log,
    /// Batches on their way to the disk.
    in_flight: VecDeque<InFlight>,
    /// What survives a crash, as of the last durable batch.
    end: DurableEnd,
    /// The last durable batch. One that the replica still holds back is later than this, too.
    durable: BatchId,
    /// Messages that wait for a batch, in the order of their batches.
    waiting: VecDeque<(BatchId, Box<Message>)>,
}

/// A batch on its way, under both its names.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    id: wal::BatchId,
    name: BatchId,
    /// What survives a crash once it is durable.
    end: DurableEnd,
}

/// Term and last index, durable.
#[derive(Clone, Copy, Debug, Default)]
struct DurableEnd {
    term: u64,
    index: u64,
}

/// What became possible because batches are durable.
#[derive(Debug, Default)]
pub struct Freed {
    /// The last durable batch, if there are new ones: an
    /// [`Event::Persisted`](quorate_replica::Event::Persisted).
    pub persisted: Option<BatchId>,
    /// Messages that may be sent now.
    pub messages: Vec<Box<Message>>,
}

impl LogWriter {
    /// A writer for an open log.
    #[must_use]
    pub fn new(log: wal::Log) -> Self {
        Self {
            log,
            in_flight: VecDeque::new(),
            end: DurableEnd::default(),
            durable: BatchId(0),
            waiting: VecDeque::new(),
        }
    }

    /// What was found is durable up to here.
    pub(crate) fn begin_at(&mut self, term: u64, index: u64) {
        self.end = DurableEnd { term, index };
    }

    /// What is durable, of a member that knows so much to be committed. Batches on their way may
    /// replace entries, perhaps with fewer, and reach the disk or not: only what is committed stays
    /// for certain.
    #[must_use]
    pub fn durable_end(&self, commit: u64) -> LogEnd {
        let DurableEnd { term, index } = self.end;
        let on_the_way = self.in_flight.iter().map(|batch| batch.end.index);
        LogEnd { term, index, committed: on_the_way.fold(index, u64::min).min(commit) }
    }

    /// The log, to look at.
    #[must_use]
    pub fn log(&self) -> &wal::Log {
        &self.log
    }

    /// Submit a batch.
    pub fn persist(&mut self, disk: &mut dyn Disk, batch: LogBatch) {
        let name = batch.batch;
        let mut end = self.in_flight.back().map_or(self.end, |before| before.end);
        if let Some(state) = batch.hard_state {
            end.term = state.term.0;
        }
        if let Some(mark) = &batch.mark {
            end.index = mark.index;
        }
        if let Some(last) = batch.entries.last() {
            end.index = last.index.0;
        }
        let id = self.log.append(disk, batch_for_log(batch));
        self.in_flight.push_back(InFlight { id, name, end });
    }

    /// The message, if it may be sent now; else it is kept until its batch is durable.
    pub fn send(&mut self, message: Box<Message>, after: Option<BatchId>) -> Option<Box<Message>> {
        match after {
            Some(batch) if batch > self.durable => {
                self.waiting.push_back((batch, message));
                None
            }
            _ => Some(message),
        }
    }

    /// Forget what is behind a checkpoint.
    pub fn release(&mut self, index: u64) {
        self.log.release(index);
    }

    /// Try again to make what a full disk has refused.
    pub fn retry_space(&mut self, disk: &mut dyn Disk) {
        self.log.retry_space(disk);
    }

    /// The log's end turned out to be lost: what is persisted from now on says so.
    pub fn begin_repair(&mut self, repair: Repair) {
        self.log.begin_repair(end_of(repair));
    }

    /// The log has everything again that it had lost.
    pub fn finish_repair(&mut self, disk: &mut dyn Disk) {
        if self.log.repairing_until().is_some() {
            self.log.finish_repair(disk);
        }
    }

    /// A tick: a log that is idle has its end proved.
    pub fn on_tick(&mut self, disk: &mut dyn Disk) {
        self.log.prove_if_idle(disk);
    }

    /// Submit what a clean end needs; it is over when [`wal::Log::is_quiet`] says so.
    pub fn close(&mut self, disk: &mut dyn Disk) {
        self.log.close(disk);
    }

    /// Hear the end of an operation of the log's disk.
    ///
    /// # Errors
    /// When the log cannot go on.
    pub fn on_completion(
        &mut self,
        disk: &mut dyn Disk,
        completion: Completion,
        freed: &mut Freed,
    ) -> Result<(), wal::Failure> {
        for durable in self.log.on_completion(disk, completion)? {
            while let Some(&InFlight { id, name, end }) = self.in_flight.front() {
                if id > durable {
                    break;
                }
                self.in_flight.pop_front();
                self.end = end;
                freed.persisted = Some(name);
                self.durable = name;
            }
        }
        while self.waiting.front().is_some_and(|(batch, _)| *batch <= self.durable) {
            freed.messages.extend(self.waiting.pop_front().map(|(_, message)| message));
        }
        Ok(())
    }
}

/// A batch as the log writes it.
fn batch_for_log(batch: LogBatch) -> wal::Batch {
    let LogBatch { batch: _, hard_state, mark, entries } = batch;
    wal::Batch {
        hard_state: hard_state.map(|state| wal::HardState {
            term: state.term.0,
            vote: state.vote.0,
            commit: state.commit.0,
        }),
        mark: mark.map(|mark| wal::Mark {
            index: mark.index,
            term: mark.term,
            conf_state: wire::encode_conf_state(&mark.conf_state),
        }),
        entries: entries
            .iter()
            .map(|entry| wal::Entry {
                index: entry.index.0,
                term: entry.term.0,
                body: wire::encode_entry(entry),
            })
            .collect(),
    }
}
