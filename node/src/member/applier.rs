//! The only writer of the store.
//!
//! ```text
//!   core ── Apply, Pin, Install ──► queue ──► whoever has the turn ─► store ─► hub, waiters
//!                                                                        └─► core: Applied
//! ```
//!
//! Tasks are done in their order, by whoever has the turn. What is little is done at once by
//! whoever brought it, as waking another thread would cost more than the work; everything else is
//! left to the applier's own thread. Between two tasks the background work may have the store.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLockWriteGuard};
use quorate_api::Error;
use quorate_api::request::{self, RequestKind};
use quorate_member::applier;
use quorate_raft::{Entry, EntryKind, Index, SnapshotMetadata, Term};
use quorate_replica::{Event, LeaseChange};
use quorate_store::bbolt::FileSource;
use quorate_store::entry::{Fatal, Touched};
use quorate_store::log::Record;
use quorate_store::mvcc::record::content_bytes;
use quorate_store::snapshot::{self, DigestRule, SnapshotFile, Verification};
use quorate_store::store::Store;

use super::core::error_chain;
use super::snapshots::{self, PinnedSnapshot};
use super::stop::Stop;
use super::waiters::Answer;
use super::{Shared, Work};
use crate::metrics;

/// Looking again whether the store can take more: a flush is on its way.
const FLUSH_WAIT: Duration = Duration::from_millis(20);

/// Entries that are applied by whoever brings them: those of a few clients at once. More of them
/// are worth a thread of their own, beside which the log goes on.
const ENTRIES_HERE_MAX: usize = 16;

/// Bytes of an entry that is applied by whoever brings it.
const BYTES_HERE_MAX: usize = 16 << 10;

/// How long whoever brings entries waits for those who read the store: a step of a range takes less,
/// and another thread would hardly wake sooner.
const READER_WAIT: Duration = Duration::from_micros(100);

/// What the applier is to do.
pub(super) enum Task {
    /// Apply committed entries.
    Apply(Vec<Entry>),
    /// Keep the store as it is now for followers.
    Pin,
    /// Become what a snapshot says.
    Install(SnapshotMetadata),
}

/// Whether they take a moment only: a few changes of single keys or leases.
fn is_all_little(entries: &[Entry]) -> bool {
    entries.len() <= ENTRIES_HERE_MAX && entries.iter().all(is_little)
}

fn is_little(entry: &Entry) -> bool {
    let kind = request::leading_kind(&entry.data);
    entry.kind == EntryKind::Normal
        && entry.data.len() <= BYTES_HERE_MAX
        && matches!(kind, Some(RequestKind::Put | RequestKind::Txn | RequestKind::LeaseGrant))
}

/// The applier's queue.
#[derive(Default)]
pub(super) struct Applier {
    queue: Mutex<Queue>,
    has_news: Condvar,
    /// Only who has it takes tasks. Who finds it taken leaves what it brought to whoever has it,
    /// who looks again after letting go.
    turn: Mutex<()>,
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    is_ended: bool,
}

/// What whoever brought tasks is to do about the first of them.
enum Next {
    Nothing,
    Here(Vec<Entry>),
    Thread,
}

impl Applier {
    /// Queue a task: [`Shared::apply_here`] sees to it, once no lock is held any more.
    pub(super) fn push(&self, task: Task) {
        let mut queue = self.queue.lock();
        if !queue.is_ended {
            queue.tasks.push_back(task);
        }
    }

    /// What is queued is not done any more.
    pub(super) fn end(&self) {
        let mut queue = self.queue.lock();
        queue.is_ended = true;
        queue.tasks.clear();
        drop(queue);
        self.has_news.notify_all();
    }

    fn is_ended(&self) -> bool {
        self.queue.lock().is_ended
    }

    fn is_empty(&self) -> bool {
        self.queue.lock().tasks.is_empty()
    }

    /// Wait until there is a task; whether there will be one.
    fn wait(&self) -> bool {
        let mut queue = self.queue.lock();
        while queue.tasks.is_empty() && !queue.is_ended {
            self.has_news.wait(&mut queue);
        }
        !queue.is_ended
    }

    /// The next task, for whoever has the turn.
    fn take(&self) -> Option<Task> {
        self.queue.lock().tasks.pop_front()
    }

    /// Leave a task that was taken to the thread.
    fn give_back(&self, task: Task) {
        let mut queue = self.queue.lock();
        if !queue.is_ended {
            queue.tasks.push_front(task);
        }
        drop(queue);
        self.has_news.notify_one();
    }

    /// The next task if it is little, for whoever has the turn.
    fn take_little(&self) -> Next {
        let mut queue = self.queue.lock();
        match queue.tasks.pop_front() {
            None => Next::Nothing,
            Some(Task::Apply(entries)) if is_all_little(&entries) => Next::Here(entries),
            Some(task) => {
                queue.tasks.push_front(task);
                Next::Thread
            }
        }
    }
}

impl Shared {
    /// The applier's thread.
    pub(super) fn run_applier(&self) {
        while self.applier.wait() {
            let turn = self.applier.turn.lock();
            while let Some(task) = self.applier.take() {
                let done = match task {
                    Task::Apply(entries) => self.apply(&entries),
                    Task::Pin => {
                        self.pin();
                        Ok(())
                    }
                    Task::Install(metadata) => self.install(metadata),
                };
                if let Err(stop) = done {
                    return self.fail(stop);
                }
            }
            drop(turn);
        }
    }

    /// Do what was queued if it is little and nothing is in its way; leave it to the applier's
    /// thread otherwise. For whoever holds no lock.
    pub(super) fn apply_here(&self) {
        while !self.applier.is_empty() {
            let Some(turn) = self.applier.turn.try_lock() else { return };
            loop {
                let entries = match self.applier.take_little() {
                    Next::Nothing => break,
                    Next::Thread => {
                        self.applier.has_news.notify_one();
                        return;
                    }
                    Next::Here(entries) => entries,
                };
                let store = self.store.try_write_for(READER_WAIT);
                let Some(store) = store.filter(|store| !store.mvcc().log().must_wait()) else {
                    return self.applier.give_back(Task::Apply(entries));
                };
                if let Err(stop) = self.apply_to(store, &entries) {
                    return self.fail(stop);
                }
            }
            drop(turn);
        }
    }

    /// Nothing is applied behind what could not be.
    fn fail(&self, stop: Stop) {
        self.applier.end();
        match stop {
            Stop::Damaged(what) => self.note_damage(&what),
            stop => self.stop(stop),
        }
    }

    /// The store, once it takes more: records wait in memory until the background work has
    /// written them.
    fn store_for_more(&self) -> Option<RwLockWriteGuard<'_, Store>> {
        loop {
            let store = self.store.write();
            if !store.mvcc().log().must_wait() {
                return Some(store);
            }
            drop(store);
            if self.applier.is_ended() {
                return None;
            }
            self.background.wake();
            std::thread::sleep(FLUSH_WAIT);
        }
    }

    fn apply(&self, entries: &[Entry]) -> Result<(), Stop> {
        match self.store_for_more() {
            Some(store) => self.apply_to(store, entries),
            None => Ok(()),
        }
    }

    fn apply_to(
        &self,
        mut store: RwLockWriteGuard<'_, Store>,
        entries: &[Entry],
    ) -> Result<(), Stop> {
        let began = Instant::now();
        let mut last = began;
        let applied_one = |kind, result: Result<(), &Error>| {
            let now = Instant::now();
            // What is compacted already is no failure.
            let result = result.or_else(|error| match error {
                Error::Compacted => Ok(()),
                _ => Err(()),
            });
            metrics::request_applied(kind, result, now - last);
            last = now;
        };
        let waits = |id| self.waiters.has(id);
        let batch = applier::apply_each(&mut store, entries, waits, applied_one);
        let mut batch = batch.map_err(|fatal| match fatal {
            Fatal::Damage(damage) => Stop::Damaged(damage.to_string()),
            fatal @ Fatal::Malformed { .. } => Stop::Broken(fatal.to_string()),
        })?;
        let has_work = batch.compacted || store.mvcc().log().is_flush_due();
        // Who reads the new revision must find that the hub has it, too.
        let mut hub = self.watches.hub();
        let records = std::mem::take(&mut batch.records);
        let puts = records.iter().filter(|record| !record.tombstone).count();
        let deletes = records.len() - puts;
        let put_bytes = records.iter().map(put_bytes).sum();
        let woken = hub.publish(records).map_err(|error| Stop::Damaged(error.to_string()))?;
        drop(hub);
        if batch.members == Touched::Yes {
            self.note_members(&store);
        }
        drop(store);
        self.watches.wake(&woken);
        metrics::applied(batch.applied.index);
        metrics::apply_batch(entries.len());
        metrics::store_changed(puts as u64, deletes as u64);
        metrics::put_bytes(put_bytes);
        count_leases(&batch.applied.leases);
        let replies = batch.replies.into_iter();
        let replies = replies.map(|(request, reply)| (request, Answer::Reply(reply)));
        let applied = Event::Applied(batch.applied);
        // Clients do not wait for the replica, except those that may ask for the next change of
        // the members at once: it is judged by, and only taken after, this one.
        match batch.members {
            Touched::No => {
                self.waiters.answer_all(replies);
                self.submit(applied);
            }
            Touched::Yes => {
                self.submit(applied);
                self.waiters.answer_all(replies);
            }
        }
        if has_work {
            self.background.wake();
        }
        let took = began.elapsed();
        if took > self.config.slow_apply {
            metrics::slow_apply();
            tracing::warn!(
                took = format!("{took:?}"),
                expected_duration = format!("{:?}", self.config.slow_apply),
                entries = entries.len(),
                "apply request took too long"
            );
        }
        Ok(())
    }

    fn pin(&self) {
        let mut store = self.store.write();
        let metadata = SnapshotMetadata {
            conf_state: applier::conf_state(&store),
            index: Index(store.applied_index()),
            term: Term(store.applied_term()),
        };
        let small = snapshot::small_buckets(&store, &snapshots::conf_state(&metadata));
        let log = store.mvcc_mut().log_mut().pin();
        drop(store);
        let pinned = PinnedSnapshot { metadata: metadata.clone(), small, log };
        *self.snapshots.pinned.lock() = Some(Arc::new(pinned));
        self.submit(Event::SnapshotPinned(metadata));
    }

    /// Become what a received snapshot says. Nobody reads the store until it is filled; until it
    /// is durable, the applier applies nothing else.
    fn install(&self, metadata: SnapshotMetadata) -> Result<(), Stop> {
        let index = metadata.index.0;
        let _installing = metrics::Installing::begin();
        let Some(path) = self.snapshots.take(index) else {
            return Err(Stop::Broken(format!("the body of snapshot {index} is not here")));
        };
        let broken = |error: &dyn std::error::Error| Stop::Broken(error_chain(error));
        let verification = verify(&path).map_err(|error| broken(&*error))?;
        if verification.applied_index() != index {
            return Err(Stop::Broken(format!("the snapshot's body is not that of index {index}")));
        }
        *self.snapshots.pinned.lock() = None;
        self.background.begin_install(self);
        let mut store = self.store.write();
        self.filling.send_replace(true);
        let mut install = verification.install(&mut store).map_err(|error| broken(&error))?;
        drop(store);
        loop {
            let Some(mut store) = self.store_for_more() else { return Ok(()) };
            match install.step(&mut store).map_err(|error| broken(&error))? {
                snapshot::Progress::Again => {
                    let has_work = store.mvcc().log().is_flush_due();
                    drop(store);
                    if has_work {
                        self.background.wake();
                    }
                }
                snapshot::Progress::Done => {
                    let _ = install.finish(&mut store);
                    applier::note_conf_state(&mut store);
                    let woken = self.watches.hub().on_snapshot_installed(store.mvcc());
                    self.note_members(&store);
                    self.filling.send_replace(false);
                    drop(store);
                    self.watches.wake(&woken);
                    break;
                }
            }
        }
        self.background.set_work(Work::Checkpoint);
        if !self.background.wait_for_checkpoint(index) {
            return Ok(());
        }
        let _ = std::fs::remove_file(&path);
        let facts = applier::facts(&self.store.read());
        tracing::info!(index, "installed a snapshot");
        metrics::applied(index);
        self.submit(Event::SnapshotInstalled { index, facts });
        Ok(())
    }
}

fn verify(path: &Path) -> Result<Verification<FileSource>, Box<dyn std::error::Error>> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let disk = quorate_disk::RealDisk::inline(folder, Arc::new(|_| {}))?;
    let files = quorate_disk::Disk::files(&disk);
    let file = SnapshotFile::open(FileSource::new(files, name.into()), DigestRule::IfPresent)?;
    let mut verification = Verification::new(file)?;
    loop {
        match verification.step()? {
            snapshot::Progress::Again => {}
            snapshot::Progress::Done => return Ok(verification),
        }
    }
}

/// Bytes of key and value, if a record is a put.
fn put_bytes(record: &Record) -> u64 {
    if record.tombstone { 0 } else { content_bytes(&record.body) }
}

fn count_leases(changes: &[LeaseChange]) {
    for change in changes {
        match change {
            LeaseChange::Granted { ttl_seconds, .. } => metrics::lease_granted(*ttl_seconds),
            LeaseChange::Revoked { .. } => metrics::lease_revoked(),
            LeaseChange::Checkpointed { .. } => {}
        }
    }
}
