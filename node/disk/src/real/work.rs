//! Operations on their way to the disk, and who carries them out.
//!
//! ```text
//!   submit ─► queue ─► whoever has the executor ─► completed ─► poll
//!                      the disk's thread, or a Worker's caller
//! ```
//! Whoever finds the executor taken leaves what is queued to whoever has it. The thread looks again
//! after letting go; a caller that leaves something behind wakes the thread.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::executor::Executor;
use crate::{Completion, Operation, Ticket};

/// A disk that took longer the last time is left to its thread: what it gains to have no change of
/// threads is little beside that, and who waits for a disk that hangs should not serve anybody.
const QUICK: Duration = Duration::from_micros(500);

/// Operations that a caller carries out itself, at most: those of one batch of the log.
const LITTLE_OPERATIONS: usize = 4;
/// Bytes that a caller writes itself, at most.
const LITTLE_BYTES: usize = 64 << 10;

pub(super) struct Work {
    queue: Mutex<Queue>,
    has_work: Condvar,
    executor: Mutex<Executor>,
    completed: Mutex<Vec<Completion>>,
    /// What the last turn with a sync took.
    last_sync_us: AtomicU64,
}

#[derive(Default)]
struct Queue {
    operations: VecDeque<(Ticket, Operation)>,
    is_ended: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Work {
    pub(super) fn new(executor: Executor, completed: Vec<Completion>) -> Self {
        Self {
            queue: Mutex::default(),
            has_work: Condvar::new(),
            executor: Mutex::new(executor),
            completed: Mutex::new(completed),
            last_sync_us: AtomicU64::new(u64::MAX),
        }
    }

    pub(super) fn push(&self, ticket: Ticket, operation: Operation) {
        lock(&self.queue).operations.push_back((ticket, operation));
    }

    pub(super) fn wake(&self) {
        self.has_work.notify_one();
    }

    /// What is queued is still done, and then the thread ends.
    pub(super) fn end(&self) {
        lock(&self.queue).is_ended = true;
        self.has_work.notify_one();
    }

    pub(super) fn take_completed(&self, completions: &mut Vec<Completion>) {
        completions.append(&mut lock(&self.completed));
    }

    fn is_empty(&self) -> bool {
        lock(&self.queue).operations.is_empty()
    }

    /// The disk's thread: carries out what is queued until the end, and says so each time.
    pub(super) fn run(&self, waker: &dyn Fn()) {
        loop {
            let is_ended = self.wait();
            // Whoever had the executor may have left something.
            let mut executor = lock(&self.executor);
            while self.turn(&mut executor) {
                waker();
            }
            drop(executor);
            if is_ended && self.is_empty() {
                return;
            }
        }
    }

    /// Wait until there is something to do; whether nothing comes after it.
    fn wait(&self) -> bool {
        let mut queue = lock(&self.queue);
        while queue.operations.is_empty() && !queue.is_ended {
            queue = self.has_work.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.is_ended
    }

    /// Whether what is queued takes a moment on a quick disk: a few small writes and a sync.
    fn is_little(&self) -> bool {
        let queue = lock(&self.queue);
        let mut rest = LITTLE_BYTES;
        queue.operations.len() <= LITTLE_OPERATIONS
            && queue.operations.iter().all(|(_, operation)| match operation {
                Operation::Write { data, .. } => {
                    let bytes: usize = data.iter().map(Bytes::len).sum();
                    rest.checked_sub(bytes).map(|left| rest = left).is_some()
                }
                Operation::Sync { .. } => true,
                Operation::Create { .. }
                | Operation::Truncate { .. }
                | Operation::Rename { .. }
                | Operation::Remove { .. }
                | Operation::CreateDirectory { .. }
                | Operation::SyncDirectory { .. } => false,
            })
    }

    /// Carry out the first operations that go together; whether there were any.
    fn turn(&self, executor: &mut Executor) -> bool {
        let mut operations = std::mem::take(&mut lock(&self.queue).operations);
        if operations.is_empty() {
            return false;
        }
        let is_sync = |(_, operation): &_| matches!(operation, Operation::Sync { .. });
        let has_sync = operations.iter().any(is_sync);
        let (mut done, began) = (Vec::new(), Instant::now());
        executor.run_some(&mut operations, &mut done);
        if has_sync {
            let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.last_sync_us.store(took, Relaxed);
        }
        // What has come meanwhile stands behind what was left.
        let mut queue = lock(&self.queue);
        operations.append(&mut queue.operations);
        queue.operations = operations;
        drop(queue);
        lock(&self.completed).append(&mut done);
        true
    }
}

/// Carries out on the caller's thread what was submitted to a disk, where a change of threads would
/// cost more than waiting; or leaves it to the disk's thread.
#[derive(Clone)]
pub struct Worker(pub(super) Arc<Work>);

impl fmt::Debug for Worker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl Worker {
    /// Whether something waits to be carried out.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether what waits is little and nobody can wait for it: writes that no sync follows.
    #[must_use]
    pub fn may_wait(&self) -> bool {
        let is_write = |(_, operation): &_| matches!(operation, Operation::Write { .. });
        self.0.is_little() && lock(&self.0.queue).operations.iter().all(is_write)
    }

    /// Leave what was submitted to the disk's thread.
    pub fn wake(&self) {
        self.0.wake();
    }

    /// Carry out what was submitted, on this thread, if it is little, nobody else is at it, and the
    /// disk was quick the last time. Whether it did: then the disk has completions.
    #[must_use]
    pub fn try_run(&self) -> bool {
        let last_sync = Duration::from_micros(self.0.last_sync_us.load(Relaxed));
        if last_sync > QUICK || !self.0.is_little() {
            return false;
        }
        let Ok(mut executor) = self.0.executor.try_lock() else { return false };
        let has_run = self.0.turn(&mut executor);
        drop(executor);
        if !self.0.is_empty() {
            self.0.wake();
        }
        has_run
    }
}
