//! Which job is due, and the one that runs.

use std::collections::BTreeSet;
use std::io;

use super::cleanup::{self, Cleanup};
use super::collection::{self, Collection};
use super::flush::Flush;
use super::scrub::Scrub;
use super::step::{JobError, JobKind, Outcome, Step};
use crate::checkpoint::format::{self, FileKind};
use crate::checkpoint::writer::{Advance, CheckpointWriter, Kept};
use crate::checkpoint::{CHECKPOINTS_KEPT, Identity, Source};
use crate::log::RevisionLog;

/// When jobs are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobOptions {
    /// A checkpoint is due after this many bytes of records, or as many as the last index file
    /// has if that is more: writing checkpoints costs no more than writing records does.
    pub checkpoint_bytes: u64,
    /// A checkpoint is due after this many entries, or a quarter of the number of keys if that
    /// is more: what a restart replays takes no longer than what it loads.
    pub checkpoint_entries: u64,
    /// A checkpoint is due when segments that only older checkpoints need have this many bytes,
    /// or a quarter of all segments' if that is more: it lets go of them.
    pub held_bytes: u64,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self { checkpoint_bytes: 64 << 20, checkpoint_entries: 100_000, held_bytes: 64 << 20 }
    }
}

/// The background work of one store.
pub struct Jobs {
    identity: Identity,
    options: JobOptions,
    /// Durable checkpoints, the newest last.
    kept: Vec<Kept>,
    next_number: u64,
    /// Bytes that had been appended to the log when the newest checkpoint began.
    appended_before: u64,
    is_checkpoint_requested: bool,
    running: Option<Running>,
    /// A flush in the middle of another job.
    nested: Option<Flush>,
    /// Whose operations are under way: their number.
    submitted: Option<usize>,
    is_prepared: bool,
}

enum Running {
    Flush(Flush),
    Checkpoint { writer: Box<CheckpointWriter>, appended: u64 },
    Collection(Box<Collection>),
    Cleanup(Cleanup),
    Scrub(Box<Scrub>),
}

impl Jobs {
    /// For a store that has these checkpoints.
    pub(crate) fn new(
        identity: Identity,
        options: JobOptions,
        kept: Vec<Kept>,
        next_number: u64,
    ) -> Self {
        Self {
            identity,
            options,
            kept,
            next_number,
            appended_before: 0,
            is_checkpoint_requested: false,
            running: None,
            nested: None,
            submitted: None,
            is_prepared: false,
        }
    }

    /// Entries up to this index are in both kept checkpoints, and may leave the Raft log; those
    /// after it may not, so that a damaged newest checkpoint can be passed over.
    pub fn log_needed_after(&self) -> u64 {
        self.kept.first().map_or(0, |kept| kept.applied_index)
    }

    /// The newest durable checkpoint's applied index; 0 if there is none.
    pub fn checkpointed_index(&self) -> u64 {
        self.kept.last().map_or(0, |kept| kept.applied_index)
    }

    /// Have a checkpoint written next, whatever has changed: after a snapshot was installed, or
    /// before a planned stop.
    pub fn request_checkpoint(&mut self) {
        self.is_checkpoint_requested = true;
    }

    /// The work that should be done next; for when no job runs.
    pub fn due<S: Source>(&self, source: &S) -> Option<JobKind> {
        let log = source.log();
        let kept = self.kept_segments();
        if log.is_flush_due() {
            Some(JobKind::Flush)
        } else if cleanup::is_due(log, &kept) {
            Some(JobKind::Cleanup)
        } else if self.is_checkpoint_due(source, &kept) {
            Some(JobKind::Checkpoint)
        } else if !collection::victims(log).is_empty() {
            Some(JobKind::Collection)
        } else {
            None
        }
    }

    fn is_checkpoint_due<S: Source>(&self, source: &S, kept: &BTreeSet<u64>) -> bool {
        if self.is_checkpoint_requested {
            return true;
        }
        let log = source.log();
        let last = self.kept.last();
        let (keys, index_bytes) = last.map_or((0, 0), |last| (last.keys, last.index_bytes));
        let bytes = log.appended_bytes() - self.appended_before;
        let entries = source.applied_index().saturating_sub(self.checkpointed_index());
        entries >= self.options.checkpoint_entries.max(keys / 4)
            || (entries > 0 && bytes >= self.options.checkpoint_bytes.max(index_bytes))
            || held_bytes(log, kept) >= self.options.held_bytes.max(log.file_bytes() / 4)
    }

    fn kept_segments(&self) -> BTreeSet<u64> {
        self.kept.iter().flat_map(|kept| kept.segments.iter().copied()).collect()
    }

    /// Whether a job runs.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Begin a job. None may run.
    pub fn start(&mut self, kind: JobKind) {
        assert!(self.running.is_none(), "one job runs at a time");
        self.running = Some(match kind {
            JobKind::Flush => Running::Flush(Flush::new()),
            JobKind::Checkpoint => {
                let number = self.next_number;
                self.next_number = number.checked_add(1).expect("2^64 checkpoints are not reached");
                let writer = Box::new(CheckpointWriter::new(number, self.identity));
                Running::Checkpoint { writer, appended: 0 }
            }
            JobKind::Collection => Running::Collection(Box::new(Collection::new())),
            JobKind::Cleanup => Running::Cleanup(Cleanup::new(self.kept_segments())),
            JobKind::Scrub => Running::Scrub(Box::default()),
        });
    }

    /// The part of the next step that needs no store: reads and checks records, encodes what is
    /// to be written. May block on reads. Without it the step does the same, under the lock.
    pub fn prepare(&mut self) {
        self.is_prepared = true;
        if self.submitted.is_some() {
            return;
        }
        match (&mut self.nested, &mut self.running) {
            (Some(flush), _) | (None, Some(Running::Flush(flush))) => flush.prepare(),
            (None, Some(Running::Checkpoint { writer, .. })) => writer.prepare(),
            (None, Some(Running::Collection(collection))) => collection.prepare(),
            (None, Some(Running::Scrub(scrub))) => scrub.prepare(),
            (None, Some(Running::Cleanup(_)) | None) => {}
        }
    }

    /// The next step of the running job; `results` are those of all operations that the last
    /// step submitted, in order, or empty.
    ///
    /// # Errors
    /// [`JobError`]: the job has ended. The log is as whole as before.
    pub fn step<S: Source>(
        &mut self,
        source: &mut S,
        results: Vec<io::Result<()>>,
    ) -> Result<Step, JobError> {
        assert_eq!(results.len(), self.submitted.take().unwrap_or(0), "one result an operation");
        if let Some(error) = results.into_iter().find_map(Result::err) {
            self.abort(source);
            return Err(JobError::of(error));
        }
        if !std::mem::take(&mut self.is_prepared) {
            self.prepare();
            self.is_prepared = false;
        }
        let step = self.step_unfailed(source);
        match &step {
            Ok(Step::Submit(operations)) => self.submitted = Some(operations.len()),
            Ok(Step::Again) => {}
            Ok(Step::Done(_)) => self.running = None,
            Err(_) => self.abort(source),
        }
        step
    }

    fn step_unfailed<S: Source>(&mut self, source: &mut S) -> Result<Step, JobError> {
        if let Some(flush) = &mut self.nested {
            let step = flush.step(source.log_mut());
            if let Step::Done(_) = step {
                self.nested = None;
                return Ok(Step::Again);
            }
            return Ok(step);
        }
        let running = self.running.as_mut().expect("a job runs");
        let step = match running {
            Running::Flush(flush) => return Ok(flush.step(source.log_mut())),
            Running::Checkpoint { writer, appended } => match writer.advance(source) {
                Advance::Flush => {
                    *appended = source.log().appended_bytes();
                    self.nested = Some(Flush::new());
                    return Ok(Step::Again);
                }
                Advance::Submit(operations) => Step::Submit(operations),
                Advance::Again => Step::Again,
                Advance::Done(kept) => {
                    self.appended_before = *appended;
                    Step::Done(self.on_checkpointed(source.log_mut(), kept))
                }
            },
            Running::Collection(collection) => collection.step(source.log_mut())?,
            Running::Cleanup(cleanup) => cleanup.step(source.log_mut()),
            Running::Scrub(scrub) => scrub.step(source.log_mut())?,
        };
        if matches!(step, Step::Again) && source.log().is_flush_due() {
            self.nested = Some(Flush::new());
        }
        Ok(step)
    }

    fn on_checkpointed(&mut self, log: &mut RevisionLog, kept: Kept) -> Outcome {
        let applied_index = kept.applied_index;
        assert!(applied_index >= self.checkpointed_index(), "a checkpoint never goes back");
        self.is_checkpoint_requested = false;
        self.kept.push(kept);
        let excess = self.kept.len().saturating_sub(CHECKPOINTS_KEPT);
        for old in self.kept.drain(..excess) {
            for kind in [FileKind::Manifest, FileKind::Index] {
                log.garbage.push(format::file_name(old.number, kind).into());
            }
        }
        Outcome::Checkpointed { applied_index }
    }

    /// End the running job, if one runs, at once; operations that are under way may still happen.
    /// To be called before a store's content is replaced.
    pub fn abort<S: Source>(&mut self, source: &mut S) {
        self.submitted = None;
        if let Some(flush) = self.nested.take() {
            flush.abandon(source.log_mut());
        }
        match self.running.take() {
            Some(Running::Flush(flush)) => flush.abandon(source.log_mut()),
            Some(Running::Checkpoint { writer, .. }) => writer.abandon(source),
            Some(Running::Collection(collection)) => collection.abandon(source.log_mut()),
            Some(Running::Cleanup(cleanup)) => cleanup.abandon(source.log_mut()),
            Some(Running::Scrub(_)) | None => {}
        }
    }
}

/// Bytes of segments that hold nothing live and wait for older checkpoints to go.
fn held_bytes(log: &RevisionLog, kept: &BTreeSet<u64>) -> u64 {
    let held = log.segments.iter().filter(|(number, segment)| {
        segment.live == 0 && kept.contains(&segment.file.id) && log.active != Some(*number)
    });
    held.map(|(_, segment)| segment.length).sum()
}
