//! The store's background work, waited for: where no member runs.

use quorate_disk::Disk;
use quorate_store::jobs::{JobError, JobKind};
use quorate_store::store::Store;
use thiserror::Error;

use crate::{Allowed, JobRunner, Progress};

/// Why the work is not done.
#[derive(Debug, Error)]
pub enum WorkError {
    /// A job has failed.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The disk has stopped before all was durable.
    #[error("the disk has stopped before the store was durable")]
    Stopped,
}

/// The store's jobs with their disk; `wait` is called while that has work, until it has done some
/// of it.
pub(crate) struct Work<'disk> {
    jobs: JobRunner,
    disk: &'disk mut dyn Disk,
    wait: &'disk mut dyn FnMut() -> bool,
}

impl<'disk> Work<'disk> {
    pub(crate) fn new(
        jobs: JobRunner,
        disk: &'disk mut dyn Disk,
        wait: &'disk mut dyn FnMut() -> bool,
    ) -> Self {
        Self { jobs, disk, wait }
    }

    /// Write what waits in memory, if it is enough for that.
    pub(crate) fn flush(&mut self, store: &mut Store) -> Result<(), WorkError> {
        while store.mvcc().log().is_flush_due() {
            self.step(store, Allowed::Flush)?;
        }
        Ok(())
    }

    /// Write a checkpoint.
    pub(crate) fn checkpoint(&mut self, store: &mut Store) -> Result<(), WorkError> {
        self.jobs.request_checkpoint();
        while self.step(store, Allowed::All)? != Some(JobKind::Checkpoint) {}
        Ok(())
    }

    /// One step; the job that it ended.
    fn step(&mut self, store: &mut Store, allowed: Allowed) -> Result<Option<JobKind>, WorkError> {
        let running = self.jobs.running();
        match self.jobs.step(store, self.disk, allowed)? {
            Progress::Idle | Progress::More => Ok(None),
            Progress::Done(_) => Ok(running),
            Progress::Waiting => {
                let mut completions = Vec::new();
                self.disk.poll(&mut completions);
                if completions.is_empty() && !(self.wait)() {
                    return Err(WorkError::Stopped);
                }
                completions.into_iter().for_each(|end| self.jobs.on_completion(end));
                Ok(None)
            }
        }
    }
}
