//! The store's background work, one step at a time.

use std::io;

use quorate_disk::{Completion, Disk, Ticket};
use quorate_store::checkpoint::Source;
use quorate_store::jobs::{JobError, JobKind, Jobs, Outcome, Step};

/// Runs the jobs of a store over its disk.
pub struct JobRunner {
    jobs: Jobs,
    running: Option<JobKind>,
    next_ticket: u64,
    /// Operations of the running step that have not ended.
    outstanding: usize,
    results: Vec<io::Result<()>>,
}

/// Which jobs may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// All that are due.
    All,
    /// Only flushes: the store is becoming another one.
    Flush,
}

/// What a call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No work is due.
    Idle,
    /// The disk has work; call again when it has done it.
    Waiting,
    /// There is more to do at once.
    More,
    /// A job has ended.
    Done(Outcome),
}

impl JobRunner {
    /// A runner of the jobs that a store was opened with.
    #[must_use]
    pub fn new(jobs: Jobs) -> Self {
        Self { jobs, running: None, next_ticket: 0, outstanding: 0, results: Vec::new() }
    }

    /// The jobs, to look at.
    #[must_use]
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// Have a checkpoint written next.
    pub fn request_checkpoint(&mut self) {
        self.jobs.request_checkpoint();
    }

    /// What runs now.
    #[must_use]
    pub fn running(&self) -> Option<JobKind> {
        self.running
    }

    /// Whether the disk has work for the running job.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.outstanding > 0
    }

    /// Hear the end of an operation.
    pub fn on_completion(&mut self, completion: Completion) {
        // Operations of a job that was aborted end unheard.
        if self.outstanding > 0 && completion.ticket.0 + self.outstanding as u64 >= self.next_ticket
        {
            self.outstanding -= 1;
            self.results.push(completion.result);
        }
    }

    /// The part of the next step that needs no store; blocks on reads.
    pub fn prepare(&mut self) {
        if self.outstanding == 0 {
            self.jobs.prepare();
        }
    }

    /// Take one step, if one can be taken.
    ///
    /// # Errors
    /// The job has ended; [`JobError::Full`] alone lets the member go on.
    pub fn step<S: Source>(
        &mut self,
        store: &mut S,
        disk: &mut dyn Disk,
        allowed: Allowed,
    ) -> Result<Progress, JobError> {
        if self.outstanding > 0 {
            return Ok(Progress::Waiting);
        }
        if self.running.is_none() {
            let due = self.jobs.due(store);
            let Some(kind) = due.filter(|kind| allowed == Allowed::All || *kind == JobKind::Flush)
            else {
                return Ok(Progress::Idle);
            };
            self.jobs.start(kind);
            self.running = Some(kind);
        }
        let results = std::mem::take(&mut self.results);
        match self.jobs.step(store, results) {
            Ok(Step::Submit(operations)) => {
                self.outstanding = operations.len();
                for operation in operations {
                    disk.submit(Ticket(self.next_ticket), operation);
                    self.next_ticket += 1;
                }
                Ok(if self.outstanding > 0 { Progress::Waiting } else { Progress::More })
            }
            Ok(Step::Again) => Ok(Progress::More),
            Ok(Step::Done(outcome)) => {
                self.running = None;
                Ok(Progress::Done(outcome))
            }
            Err(error) => {
                self.running = None;
                Err(error)
            }
        }
    }

    /// Give the running job up: the store's content is about to be replaced.
    pub fn abort<S: Source>(&mut self, store: &mut S) {
        self.jobs.abort(store);
        self.running = None;
        self.outstanding = 0;
        self.results.clear();
    }
}
