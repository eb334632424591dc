//! The store's background work, on a thread of its own.
//!
//! ```text
//!   loop { prepare: no lock ─► step: the store's lock, for a moment ─► the store's disk }
//! ```
//!
//! While a snapshot fills the store, only flushes are made; when it is filled, a checkpoint is.

use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};
use quorate_disk::{Disk as _, RealDisk, Ticket};
use quorate_member::{Allowed, JobRunner, Progress};
use quorate_replica::Event;
use quorate_store::hash::{CompactionHasher, HasherStep};
use quorate_store::jobs::{JobError, JobKind, Outcome};

use super::core::error_chain;
use super::stop::Stop;
use super::{Shared, Work};
use crate::allocator::GivingBack;
use crate::metrics;

/// Without news, look so often whether work is due: some of it is due by numbers that nobody is
/// told of.
const LOOK: Duration = Duration::from_millis(250);

/// After a full disk, before the next attempt.
const FULL_WAIT: Duration = Duration::from_secs(5);

/// After damage that a lone member goes on with, before the next attempt.
const DAMAGED_WAIT: Duration = Duration::from_secs(600);

/// A clean end waits for its checkpoint this long.
const LAST_CHECKPOINT: Duration = Duration::from_secs(10);

/// The background thread's orders and tools.
pub(super) struct Background {
    orders: Mutex<Orders>,
    has_news: Condvar,
    has_checkpoint: Condvar,
    tools: Mutex<Tools>,
    /// When the running compaction took its first step.
    compaction_began: Mutex<Option<Instant>>,
}

struct Orders {
    woken: bool,
    work: Work,
    is_ended: bool,
    checkpointed: u64,
}

/// The running job's times.
#[derive(Default)]
struct Job {
    /// Of its first step.
    began: Option<Instant>,
    /// In all its steps: the rest is its disk's.
    stepped: Duration,
}

struct Tools {
    runner: JobRunner,
    /// What hashes the compaction that is to be carried out next.
    hasher: Option<CompactionHasher>,
    disk: Option<RealDisk>,
    full_until: Option<Instant>,
    job: Job,
}

impl Background {
    pub(super) fn new(runner: JobRunner, disk: RealDisk) -> Self {
        let checkpointed = runner.jobs().checkpointed_index();
        Self {
            orders: Mutex::new(Orders {
                woken: false,
                work: Work::All,
                is_ended: false,
                checkpointed,
            }),
            has_news: Condvar::new(),
            has_checkpoint: Condvar::new(),
            tools: Mutex::new(Tools {
                runner,
                hasher: None,
                disk: Some(disk),
                full_until: None,
                job: Job::default(),
            }),
            compaction_began: Mutex::new(None),
        }
    }

    /// There may be work.
    pub(super) fn wake(&self) {
        let mut orders = self.orders.lock();
        orders.woken = true;
        drop(orders);
        self.has_news.notify_one();
    }

    /// What may be done from now on.
    pub(super) fn set_work(&self, work: Work) {
        self.orders.lock().work = work;
        self.wake();
    }

    /// Give the running job up: the store's content is about to be replaced.
    pub(super) fn begin_install(&self, shared: &Shared) {
        self.set_work(Work::Flush);
        let mut tools = self.tools.lock();
        let mut store = shared.store.write();
        tools.runner.abort(&mut *store);
        if tools.hasher.take().is_some() {
            store.mvcc_mut().give_hash_up();
        }
    }

    /// Wait until a checkpoint holds this index; whether it does.
    pub(super) fn wait_for_checkpoint(&self, index: u64) -> bool {
        let mut orders = self.orders.lock();
        while orders.checkpointed < index && !orders.is_ended {
            self.has_checkpoint.wait(&mut orders);
        }
        orders.checkpointed >= index
    }

    /// Have a checkpoint of all that is applied, and wait for it a while.
    pub(super) fn checkpoint_at_end(&self, shared: &Shared) {
        let index = shared.store.read().applied_index();
        let mut orders = self.orders.lock();
        if orders.checkpointed >= index {
            return;
        }
        orders.work = Work::Checkpoint;
        orders.woken = true;
        self.has_news.notify_one();
        let until = Instant::now() + LAST_CHECKPOINT;
        while orders.checkpointed < index && !orders.is_ended {
            if self.has_checkpoint.wait_until(&mut orders, until).timed_out() {
                tracing::warn!(
                    "the last checkpoint takes too long; the next start replays the log"
                );
                return;
            }
        }
    }

    /// No step is begun any more.
    pub(super) fn end(&self) {
        self.orders.lock().is_ended = true;
        self.has_news.notify_all();
        self.has_checkpoint.notify_all();
    }

    /// Let go of the store's disk, whose thread ends with it.
    pub(super) fn drop_disk(&self) {
        let disk = self.tools.lock().disk.take();
        drop(disk);
    }

    /// Leave a note of damage for the next start, durably.
    pub(super) fn note_damage(&self, what: &str) {
        let mut tools = self.tools.lock();
        let Some(disk) = &mut tools.disk else { return };
        let operations = quorate_store::checkpoint::note_damage(what);
        for (ticket, operation) in (1 << 62..).zip(operations) {
            disk.submit(Ticket(ticket), operation);
        }
        // Dropping the disk waits for what was submitted.
        tools.disk = None;
    }

    fn wait(&self) -> Option<Work> {
        let mut orders = self.orders.lock();
        if !orders.woken && !orders.is_ended {
            self.has_news.wait_for(&mut orders, LOOK);
        }
        orders.woken = false;
        (!orders.is_ended).then_some(orders.work)
    }
}

/// What a turn of the background came to.
enum Turn {
    /// There is more at once.
    More,
    /// Nothing to do before there is news.
    Wait,
}

/// What a step of compaction came to.
enum Pruned {
    /// There may be more to remove.
    Some,
    /// All is removed, and so much is left.
    All { live_bytes: u64 },
}

impl Shared {
    /// The background's thread.
    pub(super) fn run_background(&self) {
        let mut memory = GivingBack::default();
        while let Some(mut work) = self.background.wait() {
            memory.look();
            if work == Work::Checkpoint {
                self.background.tools.lock().runner.request_checkpoint();
                let mut orders = self.background.orders.lock();
                // Only if nobody has ordered something else since.
                if orders.work == Work::Checkpoint {
                    orders.work = Work::All;
                }
                work = Work::All;
            }
            while let Turn::More = self.background_turn(work) {
                let orders = self.background.orders.lock();
                if orders.is_ended || orders.work != work {
                    break;
                }
            }
        }
    }

    fn background_turn(&self, work: Work) -> Turn {
        let mut tools = self.background.tools.lock();
        let Tools { runner, hasher, disk, full_until, job } = &mut *tools;
        let Some(disk) = disk else { return Turn::Wait };
        let mut completions = Vec::new();
        disk.poll(&mut completions);
        for completion in completions {
            runner.on_completion(completion);
        }
        let is_hashing = work == Work::All && self.hash_compaction(hasher);
        let idle_turn = if is_hashing { Turn::More } else { Turn::Wait };
        if runner.is_waiting() || full_until.is_some_and(|until| Instant::now() < until) {
            return idle_turn;
        }
        *full_until = None;
        let is_idle = runner.running().is_none() && work == Work::All;
        if is_idle && let Some(pruned) = self.prune() {
            drop(tools);
            if let Pruned::All { live_bytes } = pruned {
                self.submit(Event::LiveBytes(live_bytes));
            }
            return Turn::More;
        }
        let began = Instant::now();
        runner.prepare();
        let mut store = self.store.write();
        // The applier may have ordered otherwise while nobody held the lock.
        let allowed = match self.background.orders.lock().work {
            Work::Flush => Allowed::Flush,
            Work::All | Work::Checkpoint => Allowed::All,
        };
        if runner.running().is_none() {
            *job = Job::default();
        }
        let progress = runner.step(&mut *store, disk, allowed);
        drop(store);
        let job_began = *job.began.get_or_insert(began);
        job.stepped += began.elapsed();
        metrics::writing_checkpoint(runner.running() == Some(JobKind::Checkpoint));
        match progress {
            Ok(Progress::Idle | Progress::Waiting) => idle_turn,
            Ok(Progress::More) => Turn::More,
            Ok(Progress::Done(outcome)) => {
                let needed_after = runner.jobs().log_needed_after();
                if let Outcome::Checkpointed { .. } = outcome {
                    metrics::checkpoint_encoded(job.stepped);
                }
                drop(tools);
                self.on_job_done(outcome, needed_after, job_began.elapsed());
                Turn::More
            }
            Err(JobError::Full(error)) => {
                *full_until = Some(Instant::now() + FULL_WAIT);
                drop(tools);
                tracing::warn!("the disk of the store is full: {}", error_chain(&error));
                self.on_store_full();
                Turn::Wait
            }
            Err(JobError::Broken(error)) => {
                drop(tools);
                self.stop(Stop::StoreFailed(error_chain(&error)));
                Turn::Wait
            }
            Err(JobError::Damaged(damage)) => {
                *full_until = Some(Instant::now() + DAMAGED_WAIT);
                drop(tools);
                self.damaged(&damage.to_string());
                Turn::Wait
            }
        }
    }

    /// A step of a compaction's hash, if one is due; whether it was. Jobs go on in between: the
    /// next compaction may be decided soon, and would have no hash if this one's was not complete.
    fn hash_compaction(&self, hasher: &mut Option<CompactionHasher>) -> bool {
        if hasher.is_none() && self.store.read().mvcc().compaction().is_hash_due() {
            self.background.compaction_began.lock().get_or_insert(Instant::now());
            *hasher = self.store.write().mvcc_mut().lend_hasher();
        }
        let Some(running) = hasher else { return false };
        match running.next() {
            HasherStep::Select => running.select(self.store.read().mvcc()),
            HasherStep::Join => {
                if let Some(hash) = running.join() {
                    *hasher = None;
                    self.store.write().mvcc_mut().give_hash(hash);
                }
            }
        }
        true
    }

    /// A step of compaction, if one is due.
    fn prune(&self) -> Option<Pruned> {
        if !self.store.read().mvcc().compaction().is_due() {
            return None;
        }
        let mut began_first = self.background.compaction_began.lock();
        let mut store = self.store.write();
        let began = Instant::now();
        store.prune_step();
        let finished = store.mvcc().compaction().finished();
        let live_bytes = store.live_bytes();
        metrics::compaction_step(began.elapsed());
        drop(store);
        let first = *began_first.get_or_insert(began);
        let is_finished = self.compacted.send_if_modified(|seen| {
            let is_news = *seen < finished;
            *seen = finished.max(*seen);
            is_news
        });
        if is_finished {
            *began_first = None;
            metrics::compacted(first.elapsed(), SystemTime::now());
        }
        Some(if is_finished { Pruned::All { live_bytes } } else { Pruned::Some })
    }

    fn on_job_done(&self, outcome: Outcome, needed_after: u64, took: Duration) {
        match outcome {
            Outcome::Checkpointed { applied_index } => {
                metrics::checkpoint(took);
                metrics::checkpointed(applied_index);
                self.submit(Event::Checkpointed { index: needed_after });
                let mut orders = self.background.orders.lock();
                orders.checkpointed = orders.checkpointed.max(applied_index);
                drop(orders);
                self.background.has_checkpoint.notify_all();
            }
            Outcome::Flushed => metrics::backend_commit(took),
            Outcome::Collected { records } => metrics::collected(records),
            Outcome::Cleaned { files } => metrics::files_removed(files),
            Outcome::Scrubbed { records: _ } => metrics::scrubbed(),
        }
    }
}
