//! The store's background work, a step at a time.

use quorate_member::{Allowed, Progress, applier};
use quorate_replica::{Event, Facts, Time};
use quorate_store::jobs::{JobError, Outcome};

use super::applier::Installing;
use super::{Output, Process, Stop};
use crate::world::chaos::Tender;
use crate::world::marks::{Mark, Marks};

impl Process {
    /// Do a step of the background work; whether there is more at once.
    pub(crate) fn run_job(&mut self, now: Time, marks: &mut Marks) -> bool {
        if self.stopped || self.jobs.is_waiting() {
            return false;
        }
        let is_idle = self.jobs.running().is_none() && self.installing.is_none();
        if is_idle && self.store.mvcc().compaction().is_due() {
            let before = self.store.mvcc().compaction().finished();
            self.store.prune_step();
            if self.store.mvcc().compaction().finished() > before {
                let live_bytes = self.store.live_bytes();
                self.hear(now, Event::LiveBytes(live_bytes));
            }
            return true;
        }
        let allowed = match self.installing {
            Some(Installing::Records(..)) => Allowed::Flush,
            Some(Installing::Checkpoint(_)) | None => Allowed::All,
        };
        match self.jobs.step(&mut self.store, &mut self.store_disk, allowed) {
            Ok(Progress::Idle | Progress::Waiting) => false,
            Ok(Progress::More) => true,
            Ok(Progress::Done(outcome)) => {
                self.on_job_done(now, outcome, marks);
                true
            }
            Err(JobError::Full(_)) => {
                marks.reach(Mark::DiskFull);
                false
            }
            Err(JobError::Broken(_)) => {
                self.stop(Stop::DiskFailed);
                false
            }
            Err(JobError::Damaged(damage)) => {
                self.damaged(&damage);
                false
            }
        }
    }

    fn on_job_done(&mut self, now: Time, outcome: Outcome, marks: &mut Marks) {
        match outcome {
            Outcome::Collected { records } if records > 0 => marks.reach(Mark::Collected),
            Outcome::Checkpointed { applied_index } => {
                self.outputs.push(Output::Tender(Tender::Checkpoint));
                let index = self.jobs.jobs().log_needed_after();
                self.hear(now, Event::Checkpointed { index });
                if let Some(Installing::Checkpoint(metadata)) = &self.installing
                    && applied_index >= metadata.index.0
                {
                    let index = metadata.index.0;
                    self.installing = None;
                    let facts: Facts = applier::facts(&self.store);
                    self.hear(now, Event::SnapshotInstalled { index, facts });
                    marks.reach(Mark::SnapshotInstalled);
                }
            }
            Outcome::Flushed
            | Outcome::Collected { .. }
            | Outcome::Cleaned { .. }
            | Outcome::Scrubbed { .. } => {}
        }
    }
}
