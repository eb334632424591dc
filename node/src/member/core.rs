//! The replica and its log behind one lock, driven by whoever has news for it.
//!
//! ```text
//!   client, peer, applier, ticker ── submit ──► inbox ─┐
//!   log disk's thread ── on_disk ──────────────────────┤
//!                                                      ▼
//!        whoever gets the lock: all that waits ─► Replica::on … ─► effects ─► carried out
//! ```
//!
//! Nobody waits for the lock: who finds it taken leaves the news to whoever has it, who looks
//! again after letting go. What came together so travels together. Under the lock, nothing blocks:
//! log writes are handed to the disk, messages to the transport, entries to the applier. Once the
//! lock is free, who has submitted a log write may carry it out ([`Worker`]).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use parking_lot::Mutex;
use quorate_api::peer::LogEnd;
use quorate_disk::{Completion, Disk as _, RealDisk, Worker};
use quorate_member::{Freed, LogWriter};
use quorate_raft::SnapshotMetadata;
use quorate_replica::{Effect, Event, Halt, Replica, RequestId, SnapshotOutcome, Standing, Status};
use quorate_wal::Space;

use super::applier::Task;
use super::rounds::end_round_again;
use super::stop::Stop;
use super::waiters::{Answer, serves_one_client};
use super::{Leadership, Shared};
use crate::metrics;

/// Ticks between two looks at what a full disk refused.
const SPACE_TICKS: u64 = 10;

/// The replica, its log and what waits for them.
pub(super) struct Core {
    inbox: Mutex<Vec<Event>>,
    disk_has_news: AtomicBool,
    state: Mutex<State>,
    /// Carries out what the log's disk was told to do.
    log_worker: Worker,
    /// As of the last turn, for those who must not wait for one.
    standing: Mutex<Standing>,
    /// What is durable, likewise.
    durable: Mutex<LogEnd>,
    ticks: AtomicU64,
}

struct State {
    replica: Replica,
    writer: LogWriter,
    /// `None` once the log is closed.
    disk: Option<RealDisk>,
    /// Says how far the clean end of the log is.
    closing: Closing,
    events: Vec<Event>,
    effects: Vec<Effect>,
    completions: Vec<Completion>,
    answers: Vec<(RequestId, Answer)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    Asked,
    /// The log has failed: nothing is written, sent or decided any more, and the member ends.
    Failed,
}

impl Core {
    pub(super) fn new(
        replica: Replica,
        writer: LogWriter,
        disk: RealDisk,
        log_worker: Worker,
    ) -> Self {
        let standing = Mutex::new(replica.standing());
        let durable = Mutex::new(writer.durable_end(0));
        Self {
            standing,
            durable,
            inbox: Mutex::default(),
            disk_has_news: AtomicBool::new(false),
            log_worker,
            state: Mutex::new(State {
                replica,
                writer,
                disk: Some(disk),
                closing: Closing::No,
                events: Vec::new(),
                effects: Vec::new(),
                completions: Vec::new(),
                answers: Vec::new(),
            }),
            ticks: AtomicU64::new(0),
        }
    }

    /// What the member says of itself.
    pub(super) fn status(&self) -> Status {
        self.state.lock().replica.status()
    }

    /// The same at no cost.
    pub(super) fn standing(&self) -> Standing {
        self.standing.lock().clone()
    }

    /// What is durable.
    pub(super) fn durable_end(&self) -> LogEnd {
        *self.durable.lock()
    }
}

impl Shared {
    /// Tell the replica something.
    pub(super) fn submit(&self, event: Event) {
        self.tell(event);
        self.drive();
    }

    /// Leave something for the next turn, which somebody must see to.
    pub(super) fn tell(&self, event: Event) {
        self.core.inbox.lock().push(event);
    }

    /// The log's disk has completions.
    pub(super) fn on_disk(&self) {
        self.core.disk_has_news.store(true, SeqCst);
        self.drive();
    }

    /// A heartbeat interval has passed.
    pub(super) fn tick(&self) {
        self.prove_log_end();
        self.submit(Event::Tick);
        let ticks = self.core.ticks.fetch_add(1, SeqCst);
        if ticks.is_multiple_of(SPACE_TICKS) {
            self.look_at_space();
        }
    }

    /// Carry on as long as there is news and nobody else does.
    pub(super) fn drive(&self) {
        loop {
            let Some(mut state) = self.core.state.try_lock() else { return };
            let state_ref = &mut *state;
            std::mem::swap(&mut state_ref.events, &mut *self.core.inbox.lock());
            let disk_has_news = self.core.disk_has_news.swap(false, SeqCst);
            self.turn(state_ref, disk_has_news);
            let answers = std::mem::take(&mut state_ref.answers);
            drop(state);
            self.waiters.answer_all(answers.into_iter());
            self.apply_here();
            self.write_here();
            // Whoever came while the lock was taken has left, and relies on this look.
            if !self.has_news() {
                return;
            }
        }
    }

    /// Whether a turn would find something that nobody has taken yet.
    pub(super) fn has_news(&self) -> bool {
        !self.core.inbox.lock().is_empty() || self.core.disk_has_news.load(SeqCst)
    }

    /// See to it that the log is written. A client that is alone has it written by its own thread,
    /// which has nothing else to do, and nobody else whom a disk that hangs would keep waiting; else the log's thread writes, and requests gather meanwhile.
    /// The mark behind a batch that says that it is durable is written after the answer.
    fn write_here(&self) {
        let worker = &self.core.log_worker;
        if !worker.has_work() {
            return;
        }
        let is_alone = self.waiters.count() <= 1 && serves_one_client();
        if is_alone && worker.may_wait() && end_round_again() {
            return;
        }
        if is_alone && worker.try_run() {
            self.core.disk_has_news.store(true, SeqCst);
        } else {
            worker.wake();
        }
    }

    /// Whether something of the log waits to be written that could wait.
    pub(super) fn has_rest(&self) -> bool {
        self.core.log_worker.has_work() && self.core.log_worker.may_wait()
    }

    /// See to it that what could wait is written.
    pub(super) fn write_rest(&self) {
        let worker = &self.core.log_worker;
        if worker.may_wait() && worker.try_run() {
            self.on_disk();
        } else if worker.has_work() {
            worker.wake();
        }
    }

    fn turn(&self, state: &mut State, disk_has_news: bool) {
        let now = self.clock.now();
        let mut events = std::mem::take(&mut state.events);
        if disk_has_news {
            self.hear_disk(state, &mut events);
        }
        if state.closing == Closing::Failed {
            return;
        }
        for event in events.drain(..) {
            state.replica.on(now, event);
        }
        state.events = events;
        let mut effects = std::mem::take(&mut state.effects);
        loop {
            state.replica.effects(&mut effects);
            if effects.is_empty() {
                break;
            }
            for effect in effects.drain(..) {
                self.carry_out(state, effect);
            }
        }
        state.effects = effects;
        self.note_standing(state);
    }

    fn hear_disk(&self, state: &mut State, events: &mut Vec<Event>) {
        let State { disk, writer, completions, closing, .. } = state;
        let (Some(disk), false) = (disk, *closing == Closing::Failed) else { return };
        disk.poll(completions);
        for completion in completions.drain(..) {
            let mut freed = Freed::default();
            if let Err(failure) = writer.on_completion(disk, completion, &mut freed) {
                *closing = Closing::Failed;
                self.stop(Stop::LogFailed(error_chain(&failure)));
                return;
            }
            for message in freed.messages {
                self.peers.send(message);
            }
            events.extend(freed.persisted.map(Event::Persisted));
        }
    }

    fn carry_out(&self, state: &mut State, effect: Effect) {
        match effect {
            Effect::Persist(batch) => {
                if !batch.entries.is_empty() {
                    metrics::log_batch(batch.entries.len());
                }
                if let Some(disk) = &mut state.disk {
                    state.writer.persist(disk, batch);
                }
            }
            Effect::Send { message, after } => {
                if let Some(message) = state.writer.send(message, after) {
                    self.peers.send(message);
                }
            }
            Effect::Apply(entries) => self.applier.push(Task::Apply(entries)),
            Effect::ReadReady { request } => state.answers.push((request, Answer::Ready)),
            Effect::LeaseRenewed { request, ttl_seconds } => {
                state.answers.push((request, Answer::Renewed(ttl_seconds)));
            }
            Effect::LeaseTimeLeft { request, ttl_seconds, remaining_seconds } => {
                let answer = Answer::TimeLeft(ttl_seconds, remaining_seconds);
                state.answers.push((request, answer));
            }
            Effect::LeadershipTransferred { request } => {
                state.answers.push((request, Answer::Transferred));
            }
            Effect::Fail { request, error } => state.answers.push((request, Answer::Failed(error))),
            Effect::AskLeader { request, leader } => {
                state.answers.push((request, Answer::AskLeader(leader.0)));
            }
            Effect::PinSnapshot => self.applier.push(Task::Pin),
            Effect::SendSnapshot { message } => self.send_snapshot(state, message),
            Effect::ReleaseSnapshot => *self.snapshots.pinned.lock() = None,
            Effect::InstallSnapshot(metadata) => self.install_snapshot(metadata),
            Effect::ReleaseLog { index } => state.writer.release(index),
            Effect::Leadership { leader, term } => {
                let leader = leader.map(|leader| leader.0);
                self.on_leadership(Leadership { leader, term });
            }
            Effect::RepairBegun(repair) => {
                state.writer.begin_repair(repair);
                tracing::error!(
                    "the leader knows of acknowledged entries that the log does not have: its end was \
                     lost, and it is repaired from peers"
                );
            }
            Effect::RepairDone => {
                if let Some(disk) = &mut state.disk {
                    state.writer.finish_repair(disk);
                }
                tracing::info!("the log has been repaired from peers");
            }
            Effect::Halt(Halt::Removed) => self.stop(Stop::Removed),
            Effect::Halt(Halt::Broken(why)) => self.stop(Stop::Broken(why)),
        }
    }

    fn send_snapshot(&self, state: &mut State, message: Box<quorate_raft::Message>) {
        let wanted = message.snapshot.as_ref().map(|snapshot| snapshot.metadata.index);
        let pinned = self.snapshots.pinned.lock().clone();
        match pinned {
            Some(pinned) if Some(pinned.metadata.index) == wanted => {
                tracing::info!(to = format!("{:x}", message.to.0), "sending a snapshot");
                self.peers.send_snapshot(message, pinned);
            }
            _ => {
                let (to, outcome) = (message.to, SnapshotOutcome::Failed);
                state.replica.on(self.clock.now(), Event::SnapshotSent { to, outcome });
            }
        }
    }

    fn install_snapshot(&self, metadata: SnapshotMetadata) {
        tracing::info!(index = metadata.index.0, "installing a snapshot");
        self.applier.push(Task::Install(metadata));
    }

    /// Tell those who look without asking.
    fn note_standing(&self, state: &State) {
        let standing = state.replica.standing();
        let mut known = self.core.standing.lock();
        if standing.commit != known.commit {
            metrics::committed(standing.commit);
        }
        metrics::leases_expired(standing.leases_ended.saturating_sub(known.leases_ended));
        self.term.store(standing.term, SeqCst);
        *self.core.durable.lock() = state.writer.durable_end(standing.commit);
        *known = standing;
    }

    /// How much room the log has; a full disk is asked again.
    pub(super) fn retry_log_space(&self) -> Space {
        let mut state = self.core.state.lock();
        let State { disk, writer, closing, .. } = &mut *state;
        let space = writer.log().space();
        let has_failed = *closing == Closing::Failed;
        if let (Space::Low { .. }, Some(disk), false) = (space, disk, has_failed) {
            writer.retry_space(disk);
        }
        drop(state);
        self.drive();
        space
    }

    /// A log that is idle has its end proved, by the turn that follows.
    fn prove_log_end(&self) {
        let mut state = self.core.state.lock();
        let State { disk, writer, closing, .. } = &mut *state;
        if let (Some(disk), Closing::No) = (disk, *closing) {
            writer.on_tick(disk);
        }
    }

    /// Submit what a clean end of the log needs.
    pub(super) fn close_log(&self) {
        let mut state = self.core.state.lock();
        let State { disk, writer, closing, .. } = &mut *state;
        if let (Some(disk), Closing::No) = (disk, *closing) {
            writer.close(disk);
            *closing = Closing::Asked;
        }
        drop(state);
        self.drive();
    }

    /// Whether nothing is being written any more.
    pub(super) fn is_log_quiet(&self) -> bool {
        let state = self.core.state.lock();
        state.disk.is_none() || state.writer.log().is_quiet()
    }

    /// Let go of the log's disk, whose thread ends with it. Not for that thread to call.
    pub(super) fn drop_log_disk(&self) {
        let disk = self.core.state.lock().disk.take();
        drop(disk);
        self.drive();
    }
}

/// An error with all that led to it.
pub(super) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
