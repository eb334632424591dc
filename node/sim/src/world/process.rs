//! A running member: the simulator's executor of its effects.
//!
//! What the server does with threads happens here one step at a time, each when the world says:
//! a completion of a disk, a task of the applier, a step of a job. Between two steps anything can
//! happen, a crash too.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use prost::Message as _;
use quorate_api::etcdserverpb::{InternalRaftRequest, RequestHeader};
use quorate_api::membershippb::{Attributes, ClusterMemberAttrSetRequest};
use quorate_api::mvccpb;
use quorate_disk::{Disk, Ticket};
use quorate_member::open::{Finding, Opened};
use quorate_member::route::{self, RequestLimits, Route};
use quorate_member::{Allowed, Freed, JobRunner, LogWriter, Progress, applier};
use quorate_raft::{Entry, Message, NodeId, SnapshotMetadata};
use quorate_replica::{
    BatchId, Config, Effect, Event, Facts, Halt, MembershipChange, Priority, Proposal, Replica,
    RequestId, RequestIds, SnapshotOutcome, Time, wire,
};
use quorate_store::entry::{Fatal, Reply};
use quorate_store::jobs::{JobError, Outcome as JobOutcome};
use quorate_store::log::{Damage, Record};
use quorate_store::mvcc::ReadError;
use quorate_store::snapshot::{self, DigestRule, SnapshotFile, Trailer};
use quorate_store::store::Store;
use quorate_store::watch::{self, PollLimits, WatchHub, WatchOptions};
use sim_disk::{FaultyHandle, HandleId};

use super::convert;
use super::machine::{ELECTION_TICKS, TICK_MS};
use super::marks::{Mark, Marks};
use crate::check::Rule;
use crate::check::raft::LogEntry;
use crate::client::{Call, Stream};
use crate::history::{
    Body, ClientId, Event as HistoryEvent, EventKind, Outcome, Refusal, Request, Response,
    WatchMessage,
};

/// Responses that a stream is given at a time: a slow client gets few.
const POLL: PollLimits = PollLimits { bytes: 16 << 10, responses: 4 };
/// Milliseconds after which a leader that is awake has revoked what has ended: longer than a full
/// disk may keep it from that.
const REVOKE_MS_MAX: u64 = 15_000;
/// What a new leader adds to leases: an election timeout, in seconds.
const LEASE_GRACE_SECONDS: i64 = (ELECTION_TICKS as u64 * TICK_MS).div_ceil(1_000) as i64;

/// Recent revisions that the hub keeps: few, so that a slow client falls behind them.
const RING_REVISIONS: i64 = 16;

/// One stream in so many has a slow client, …
const SLOW_STREAMS: u64 = 4;
/// … which reads once in so many ticks.
const SLOW_READ_TICKS: u64 = 30;
/// What a member says has arrived after so many ticks, if all is well.
const ARRIVAL_TICKS: u64 = 3;

/// Ticks between two attempts of a member to tell its name.
const PUBLISH_TICKS: u64 = 10;

/// What a member wants of the world.
#[derive(Debug)]
pub(crate) enum Output {
    /// A message for a peer.
    Send(Box<Message>),
    /// A snapshot for a peer.
    SendSnapshot(Box<Message>, Bytes),
    /// An answer for a client.
    Answer(ClientId, Call, Outcome),
    /// A message on a client's stream.
    Watch(ClientId, Stream, WatchMessage),
    /// A change of membership came to its end.
    Membership(Result<(), quorate_api::Error>),
    /// Leader or term are other than before.
    Leadership(Option<NodeId>, u64),
    /// The member was in a situation.
    Reached(Mark),
    /// The member does what it must not.
    Unsound(Rule, String),
    /// The member ends.
    Stop(Stop),
}

/// Why a member ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It was removed from the cluster.
    Removed,
    /// Its disk failed a write or sync.
    DiskFailed,
    /// Its log has no room left.
    DiskFull,
    /// Its store does not give back what was written.
    Damaged(String),
    /// A message or state that cannot be.
    Broken(String),
}

/// Work of the applier, in its order.
enum Task {
    Apply(Vec<Entry>),
    Pin,
    Install(SnapshotMetadata),
}

/// A snapshot on its way into the store.
enum Installing {
    Records(SnapshotMetadata, Box<snapshot::Install<Bytes>>),
    Checkpoint(SnapshotMetadata),
}

/// Who waits for a request.
enum Waiter {
    Client(ClientId, Call, Request),
    Admin,
}

/// A batch on its way to the log.
struct InFlight {
    batch: BatchId,
    /// The first index that it writes, if it writes entries.
    first_index: Option<u64>,
    /// What survives a crash once it is durable.
    durable: DurableLog,
}

/// What survives a crash of the member, as far as the log says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DurableLog {
    pub(crate) term: u64,
    pub(crate) vote: u64,
    pub(crate) last_index: u64,
}

pub(crate) struct Process {
    id: u64,
    pub(crate) replica: Replica,
    writer: LogWriter,
    log_disk: FaultyHandle,
    store_disk: FaultyHandle,
    pub(crate) store: Store,
    hub: WatchHub,
    jobs: JobRunner,
    tasks: VecDeque<Task>,
    installing: Option<Installing>,
    pinned: Option<(SnapshotMetadata, Bytes)>,
    received: Option<(u64, Bytes)>,
    ids: RequestIds,
    limits: RequestLimits,
    waiting: BTreeMap<RequestId, Waiter>,
    streams: BTreeMap<(ClientId, Stream), watch::StreamId>,
    /// Streams with news that their slow clients have not read, each with the revision whose
    /// events woke it, if events did.
    unread: BTreeMap<(ClientId, Stream), Option<i64>>,
    /// When slow clients read last, in ticks.
    slow_read: u64,
    /// What clients want while a snapshot fills the store, which must not be asked meanwhile.
    held_reads: Vec<RequestId>,
    held_watches: Vec<(ClientId, Stream, WatchMessage)>,
    /// Entries written since the world last looked.
    pub(crate) written: Vec<LogEntry>,
    in_flight: VecDeque<InFlight>,
    durable: DurableLog,
    pub(crate) outputs: Vec<Output>,
    /// Changes that this member applied, by revision, since the world last looked.
    pub(crate) applied_records: Vec<(i64, Vec<HistoryEvent>)>,
    applier_awake: bool,
    /// When it last heard its clock, and since when without a gap.
    ticked: Time,
    awake_since: Time,
    effects: Vec<Effect>,
    /// For each lease the term under which it was granted, or a later one.
    granted: BTreeMap<i64, u64>,
    /// The store is known to be full.
    is_full: bool,
    /// Its log was found damaged at this start.
    mends_log: bool,
    ticks: u64,
    stopped: bool,
}

impl Process {
    /// A member on its opened directory.
    pub(crate) fn start(
        opened: Opened,
        config: Config,
        disks: (FaultyHandle, FaultyHandle),
        now: Time,
    ) -> Result<Self, quorate_replica::BootError> {
        let Opened { writer, store, jobs, boot, findings, .. } = opened;
        let term = boot.checkpoint.term;
        let granted = boot.facts.leases.iter().map(|fact| (fact.lease, term)).collect();
        let mends_log =
            findings.iter().any(|finding| matches!(finding, Finding::DamagedLog { .. }));
        let is_full = !boot.facts.alarms.is_empty();
        let id = config.member.0;
        let limits = RequestLimits {
            txn_ops_max: 128,
            request_bytes_max: 1 << 20,
            lease_ttl_seconds_min: config.lease_ttl_min_seconds(),
        };
        let written = boot.entries.iter().map(log_entry).collect();
        let durable = DurableLog {
            term: boot.hard_state.term.0,
            vote: boot.hard_state.vote.0,
            last_index: boot
                .entries
                .last()
                .map_or(boot.log_start.0, |entry| entry.index.0)
                .max(boot.checkpoint.index),
        };
        let options = WatchOptions {
            ring_bytes_max: 4 << 10,
            ring_revisions_max: RING_REVISIONS.unsigned_abs(),
            catch_up_revisions_max: 8,
            response_revisions_max: 4,
            fragment_bytes: 512,
            ..WatchOptions::default()
        };
        Ok(Self {
            id,
            ids: RequestIds::new(id, config.boot, 0),
            hub: WatchHub::new(store.revision(), options),
            replica: Replica::new(config, boot, now)?,
            writer,
            log_disk: disks.0,
            store_disk: disks.1,
            jobs,
            tasks: VecDeque::new(),
            installing: None,

            store,
            pinned: None,
            received: None,
            limits,
            waiting: BTreeMap::new(),
            streams: BTreeMap::new(),
            unread: BTreeMap::new(),
            slow_read: 0,
            held_reads: Vec::new(),
            held_watches: Vec::new(),
            written,
            in_flight: VecDeque::new(),
            durable,
            outputs: Vec::new(),
            applied_records: Vec::new(),
            applier_awake: false,
            ticked: now,
            awake_since: now,
            effects: Vec::new(),
            granted,
            is_full,
            mends_log,
            ticks: 0,
            stopped: false,
        })
    }

    /// What is durable for certain, with the shortest log that a crash can leave: batches on
    /// their way replace entries, perhaps with fewer, and may reach the disk or not.
    pub(crate) fn durable(&self) -> DurableLog {
        let on_the_way = self.in_flight.iter().map(|batch| batch.durable.last_index);
        let last_index = on_the_way.fold(self.durable.last_index, u64::min);
        DurableLog { last_index, ..self.durable }
    }

    /// Whether all that the log wrote has ended, its seal too.
    pub(crate) fn is_log_quiet(&self) -> bool {
        self.writer.log().is_quiet()
    }

    /// The disk handles, log first.
    pub(crate) fn handles(&self) -> [HandleId; 2] {
        [self.log_disk.id(), self.store_disk.id()]
    }

    /// A leader revokes what has ended, again if a revoke is lost. Time that it slept does not
    /// count.
    fn check_ended_leases(&mut self, now: Time) {
        if now.since(self.ticked) > LEASE_GRACE_SECONDS.unsigned_abs() * 1_000 {
            self.awake_since = now;
        }
        self.ticked = now;
        let ended = self.replica.longest_ended_lease_ms();
        if ended > REVOKE_MS_MAX && now.since(self.awake_since) > REVOKE_MS_MAX {
            let text = format!("member {:x} leads; a lease ended {ended} ms ago", self.id);
            self.outputs.push(Output::Unsound(Rule::LeaseLate, text));
        }
    }

    /// Hear an event, and carry out what follows at once.
    pub(crate) fn hear(&mut self, now: Time, event: Event) {
        if matches!(event, Event::Tick) {
            self.check_ended_leases(now);
        }
        self.replica.on(now, event);
        self.carry_out(now);
    }

    /// A peer's message; a snapshot comes with its body.
    pub(crate) fn receive(&mut self, now: Time, message: Box<Message>, body: Option<Bytes>) {
        if let (Some(snapshot), Some(body)) = (&message.snapshot, body) {
            self.received = Some((snapshot.metadata.index.0, body));
        }
        self.hear(now, Event::Message(message));
    }

    /// The operations of a disk have ended.
    pub(crate) fn poll_disks(&mut self, now: Time) {
        let mut completions = Vec::new();
        self.log_disk.poll(&mut completions);
        for completion in completions.drain(..) {
            let mut freed = Freed::default();
            if let Err(failure) =
                self.writer.on_completion(&mut self.log_disk, completion, &mut freed)
            {
                let stop = match failure {
                    quorate_wal::Failure::Fatal { .. } => Stop::DiskFailed,
                    quorate_wal::Failure::DiskFull => Stop::DiskFull,
                };
                return self.stop(stop);
            }
            self.outputs.extend(freed.messages.into_iter().map(Output::Send));
            if let Some(batch) = freed.persisted {
                while self.in_flight.front().is_some_and(|written| written.batch <= batch) {
                    self.durable = self.in_flight.pop_front().expect("not empty").durable;
                }
                self.hear(now, Event::Persisted(batch));
            }
        }
        self.store_disk.poll(&mut completions);
        for completion in completions {
            self.jobs.on_completion(completion);
        }
    }

    /// Whether the applier has something to do that it can do.
    pub(crate) fn has_tasks(&self) -> bool {
        !self.stopped
            && match self.installing {
                None => !self.tasks.is_empty() && !self.store.mvcc().log().must_wait(),
                Some(Installing::Records(..)) => !self.store.mvcc().log().must_wait(),
                Some(Installing::Checkpoint(_)) => false,
            }
    }

    /// Whether the applier was idle and has something to do now.
    pub(crate) fn wakes_applier(&mut self) -> bool {
        self.has_tasks() && !std::mem::replace(&mut self.applier_awake, true)
    }

    /// Whether the store is becoming another one.
    pub(crate) fn is_installing(&self) -> bool {
        self.installing.is_some() || self.tasks.iter().any(|task| matches!(task, Task::Install(_)))
    }

    /// Do the applier's next task.
    pub(crate) fn run_task(&mut self, now: Time, marks: &mut Marks) {
        self.applier_awake = false;
        if !self.has_tasks() {
            return;
        }
        if let Some(Installing::Records(metadata, install)) = self.installing.take() {
            return self.install_more(metadata, install);
        }
        match self.tasks.pop_front() {
            None => {}
            Some(Task::Apply(entries)) => self.apply(now, &entries, marks),
            Some(Task::Pin) => self.pin(now),
            Some(Task::Install(metadata)) => self.install(metadata, marks),
        }
    }

    /// Do a step of the background work; whether there is more at once.
    pub(crate) fn run_job(&mut self, now: Time, marks: &mut Marks) -> bool {
        if self.stopped || self.jobs.is_waiting() {
            return false;
        }
        let is_idle = self.jobs.running().is_none() && self.installing.is_none();
        if is_idle && self.store.mvcc().compaction().is_due() {
            self.store.prune_step();
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

    fn on_job_done(&mut self, now: Time, outcome: JobOutcome, marks: &mut Marks) {
        match outcome {
            JobOutcome::Collected { records } if records > 0 => marks.reach(Mark::Collected),
            JobOutcome::Checkpointed { applied_index } => {
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
            JobOutcome::Flushed
            | JobOutcome::Collected { .. }
            | JobOutcome::Cleaned { .. }
            | JobOutcome::Scrubbed { .. } => {}
        }
    }

    fn carry_out(&mut self, now: Time) {
        let mut effects = std::mem::take(&mut self.effects);
        loop {
            self.replica.effects(&mut effects);
            if effects.is_empty() {
                break;
            }
            for effect in effects.drain(..) {
                self.carry_out_one(now, effect);
            }
        }
        self.effects = effects;
    }

    fn carry_out_one(&mut self, now: Time, effect: Effect) {
        if self.stopped {
            return;
        }
        match effect {
            Effect::Persist(batch) => {
                self.written.extend(batch.entries.iter().map(log_entry));
                let mut durable =
                    self.in_flight.back().map_or(self.durable, |before| before.durable);
                if let Some(state) = batch.hard_state {
                    (durable.term, durable.vote) = (state.term.0, state.vote.0);
                }
                if let Some(mark) = &batch.mark {
                    durable.last_index = mark.index;
                }
                if let Some(last) = batch.entries.last() {
                    durable.last_index = last.index.0;
                }
                let first_index = batch.entries.first().map(|entry| entry.index.0);
                self.in_flight.push_back(InFlight { batch: batch.batch, first_index, durable });
                self.writer.persist(&mut self.log_disk, batch);
            }
            Effect::Send { message, after } => {
                self.outputs.extend(self.writer.send(message, after).map(Output::Send));
            }
            Effect::Apply(entries) => {
                self.check_durable(&entries);
                self.tasks.push_back(Task::Apply(entries));
            }
            Effect::ReadReady { request } => self.serve(request),
            Effect::LeaseRenewed { request, ttl_seconds } => {
                self.note_renewal(request);
                self.answer_lease(request, ttl_seconds, None);
            }
            Effect::LeaseTimeLeft { request, ttl_seconds, remaining_seconds } => {
                self.check_time_left(request, remaining_seconds);
                self.answer_lease(request, ttl_seconds, Some(remaining_seconds));
            }
            Effect::LeadershipTransferred { request } | Effect::AskLeader { request, .. } => {
                // Clients of a run ask again elsewhere.
                self.answer(request, Outcome::NotApplied);
            }
            Effect::Fail { request, error } => self.fail(request, error),
            Effect::PinSnapshot => self.tasks.push_back(Task::Pin),
            Effect::ReleaseSnapshot => self.pinned = None,
            Effect::SendSnapshot { message } => self.send_snapshot(now, message),
            Effect::InstallSnapshot(metadata) => self.tasks.push_back(Task::Install(metadata)),
            Effect::ReleaseLog { index } => self.writer.release(index),
            Effect::Leadership { leader, term } => {
                self.outputs.push(Output::Leadership(leader, term));
            }
            Effect::RepairDone => {
                self.writer.finish_repair(&mut self.log_disk);
                if std::mem::take(&mut self.mends_log) {
                    self.outputs.push(Output::Reached(Mark::RepairedLog));
                }
            }
            Effect::Halt(Halt::Removed) => self.stop(Stop::Removed),
            Effect::Halt(Halt::Broken(why)) => self.stop(Stop::Broken(why)),
        }
    }

    /// A member applies only what its own log has durably, be it committed: what it serves and
    /// what its checkpoints hold is never ahead of the log that it would start with.
    fn check_durable(&mut self, entries: &[Entry]) {
        let Some(last) = entries.last().map(|entry| entry.index.0) else { return };
        let writes = |batch: &&InFlight| batch.first_index.is_some_and(|first| first <= last);
        if let Some(batch) = self.in_flight.iter().find(writes) {
            let (id, first) = (self.id, batch.first_index.unwrap_or(0));
            let text = format!(
                "member {id:x} applies up to {last}, entries from {first} on are being written"
            );
            self.outputs.push(Output::Unsound(Rule::Durable, text));
        }
    }

    /// While a lease's checkpoint stands, nobody has renewed the lease: it has no more left than
    /// the checkpoint says, but for the time that a new leader gives clients to find it.
    fn check_time_left(&mut self, request: RequestId, remaining_seconds: i64) {
        let Some(Waiter::Client(_, _, Request::LeaseTimeToLive { id, .. })) =
            self.waiting.get(&request)
        else {
            return;
        };
        let checkpoint = self.store.leases().get(*id).map_or(0, |lease| lease.remaining_seconds);
        if checkpoint > 0 && remaining_seconds > checkpoint + LEASE_GRACE_SECONDS {
            let text = format!(
                "member {:x} says that lease {id} has {remaining_seconds} s left, its checkpoint \
                 says {checkpoint} s",
                self.id
            );
            self.outputs.push(Output::Unsound(Rule::LeaseTtl, text));
        }
    }

    fn send_snapshot(&mut self, now: Time, message: Box<Message>) {
        let wanted = message.snapshot.as_ref().map(|snapshot| snapshot.metadata.index);
        match &self.pinned {
            Some((metadata, body)) if Some(metadata.index) == wanted => {
                self.outputs.push(Output::SendSnapshot(message, body.clone()));
            }
            _ => {
                let (to, outcome) = (message.to, SnapshotOutcome::Failed);
                self.replica.on(now, Event::SnapshotSent { to, outcome });
            }
        }
    }

    fn apply(&mut self, now: Time, entries: &[Entry], marks: &mut Marks) {
        let waiting = &self.waiting;
        let batch = applier::apply(&mut self.store, entries, |id| waiting.contains_key(&id));
        let batch = match batch {
            Ok(batch) => batch,
            Err(Fatal::Damage(damage)) => return self.damaged(&damage),
            Err(fatal @ Fatal::Malformed { .. }) => {
                return self.stop(Stop::Broken(fatal.to_string()));
            }
        };
        self.note_records(&batch.records);
        match self.hub.publish(batch.records) {
            Ok(woken) => self.poll_streams(&woken),
            Err(error) => return self.stop(Stop::Damaged(error.to_string())),
        }
        for change in &batch.applied.leases {
            if let quorate_replica::LeaseChange::Granted { lease, .. } = change {
                self.granted.insert(*lease, self.store.applied_term());
            }
        }
        if let Some(alarms) = &batch.applied.alarms {
            let was_full = std::mem::replace(&mut self.is_full, !alarms.is_empty());
            if was_full && !self.is_full {
                marks.reach(Mark::NoSpaceCleared);
            }
        }
        for (request, reply) in batch.replies {
            self.reply(request, reply);
        }
        self.hear(now, Event::Applied(batch.applied));
    }

    /// A leader renews a lease: perhaps one that an earlier leader granted.
    fn note_renewal(&mut self, request: RequestId) {
        let Some(Waiter::Client(_, _, Request::LeaseKeepAlive { id })) = self.waiting.get(&request)
        else {
            return;
        };
        if self.granted.get(id).is_some_and(|term| *term < self.replica.standing().term) {
            self.outputs.push(Output::Reached(Mark::LeaseAcrossLeaders));
        }
    }

    /// Heartbeat interval: a member whose name nobody knows tells it, as servers do.
    pub(crate) fn tick(&mut self, now: Time) {
        self.hear(now, Event::Tick);
        self.ticks += 1;
        if self.ticks.is_multiple_of(SLOW_READ_TICKS) && !self.is_installing() {
            self.read_slowly();
        }
        let is_nameless = self
            .store
            .members()
            .iter()
            .any(|member| member.id == self.id && member.name.is_empty());
        if self.ticks.is_multiple_of(PUBLISH_TICKS) && is_nameless && !self.stopped {
            let request = self.ids.next_id();
            let attributes =
                Attributes { name: format!("member-{}", self.id), ..Attributes::default() };
            let body = InternalRaftRequest {
                header: Some(RequestHeader { id: request.0, ..RequestHeader::default() }),
                cluster_member_attr_set: Some(ClusterMemberAttrSetRequest {
                    member_id: self.id,
                    member_attributes: Some(attributes),
                }),
                ..InternalRaftRequest::default()
            };
            let data = Bytes::from(body.encode_to_vec());
            let proposal = Proposal { request, data, growth_bytes: 0, priority: Priority::High };
            self.hear(now, Event::Propose(proposal));
        }
    }

    /// Tell the world what was applied, for its witness.
    fn note_records(&mut self, records: &[Record]) {
        for record in records {
            let Ok(kv) = mvccpb::KeyValue::decode(record.body.clone()) else { continue };
            let revision = record.revision.main;
            let before = self.store.mvcc().get_at(&kv.key, revision - 1).ok().flatten();
            let prev_kv = before.and_then(|body| mvccpb::KeyValue::decode(body).ok());
            let event = HistoryEvent {
                key: kv.key.clone(),
                mod_revision: revision,
                kind: if record.tombstone {
                    EventKind::Delete
                } else {
                    EventKind::Put(convert::key_value(kv))
                },
                prev_kv: prev_kv.map(convert::key_value),
            };
            match self.applied_records.last_mut() {
                Some((last, events)) if *last == revision => events.push(event),
                _ => self.applied_records.push((revision, vec![event])),
            }
        }
    }

    fn pin(&mut self, now: Time) {
        let conf_state = applier::conf_state(&self.store);
        let index = self.store.applied_index();
        let term = self.store.applied_term();
        let mut stream =
            snapshot::capture(&mut self.store, &wire::conf_state_to_pb(&conf_state), Trailer::None);
        let mut body = Vec::new();
        loop {
            match stream.step() {
                Ok(snapshot::Step::Again) => {}
                Ok(snapshot::Step::Chunk(chunk)) => body.extend_from_slice(&chunk),
                Ok(snapshot::Step::End) => break,
                Err(error) => return self.stop(Stop::Damaged(error.to_string())),
            }
        }
        let metadata = SnapshotMetadata {
            conf_state,
            index: quorate_raft::Index(index),
            term: quorate_raft::Term(term),
        };
        self.pinned = Some((metadata.clone(), body.into()));
        self.hear(now, Event::SnapshotPinned(metadata));
    }

    fn install(&mut self, metadata: SnapshotMetadata, marks: &mut Marks) {
        let body = match self.received.take() {
            Some((index, body)) if index == metadata.index.0 => body,
            _ => {
                // A newer body took its place: its message comes, or the leader sends again after
                // a restart.
                return self.stop(Stop::Broken("the snapshot's body is not here".into()));
            }
        };
        let verified = SnapshotFile::open(body, DigestRule::IfPresent)
            .map_err(|error| error.to_string())
            .and_then(|file| snapshot::Verification::new(file).map_err(|error| error.to_string()))
            .and_then(|mut verification| {
                loop {
                    match verification.step() {
                        Ok(snapshot::Progress::Again) => {}
                        Ok(snapshot::Progress::Done) => break Ok(verification),
                        Err(error) => break Err(error.to_string()),
                    }
                }
            });
        let verification = match verified {
            Ok(verification) => verification,
            Err(error) => return self.stop(Stop::Broken(error)),
        };
        assert_eq!(verification.applied_index(), metadata.index.0, "the body is the message's");
        self.jobs.abort(&mut self.store);
        self.pinned = None;
        match verification.install(&mut self.store) {
            Ok(install) => self.installing = Some(Installing::Records(metadata, Box::new(install))),
            Err(error) => self.stop(Stop::Broken(error.to_string())),
        }
        let _ = marks;
    }

    fn install_more(
        &mut self,
        metadata: SnapshotMetadata,
        mut install: Box<snapshot::Install<Bytes>>,
    ) {
        match install.step(&mut self.store) {
            Ok(snapshot::Progress::Again) => {
                self.installing = Some(Installing::Records(metadata, install));
            }
            Ok(snapshot::Progress::Done) => {
                let _ = install.finish(&mut self.store);
                applier::note_conf_state(&mut self.store);
                self.jobs.request_checkpoint();

                let woken = self.hub.on_snapshot_installed(self.store.mvcc());
                self.poll_streams(&woken);
                self.installing = Some(Installing::Checkpoint(metadata));
                self.release_held();
            }
            Err(error) => self.stop(Stop::Broken(error.to_string())),
        }
    }

    /// A client asks.
    pub(crate) fn ask(&mut self, now: Time, client: ClientId, call: Call, request: Request) {
        let id = self.ids.next_id();
        let wire = convert::request(&request);
        let route = match route::route(&wire, id, &self.limits) {
            Ok(route) => route,
            Err(error) => {
                let outcome = outcome_of(error, &request);
                return self.outputs.push(Output::Answer(client, call, outcome));
            }
        };
        self.waiting.insert(id, Waiter::Client(client, call, request));
        match route {
            Route::Propose(proposal) => self.hear(now, Event::Propose(proposal)),
            Route::Confirm => self.hear(now, Event::Read { request: id }),
            Route::Serve => self.serve(id),
            Route::RenewLease(lease) => self.hear(now, Event::RenewLease { request: id, lease }),
            Route::LeaseTimeLeft(lease) => {
                self.hear(now, Event::LeaseTimeLeft { request: id, lease });
            }
        }
    }

    /// Somebody wants another membership.
    pub(crate) fn change_membership(&mut self, now: Time, change: MembershipChange) {
        let request = self.ids.next_id();
        self.waiting.insert(request, Waiter::Admin);
        self.hear(now, Event::ChangeMembership { request, change });
    }

    /// Somebody wants another leader.
    pub(crate) fn transfer(&mut self, now: Time, to: NodeId) {
        let request = self.ids.next_id();
        self.hear(now, Event::TransferLeadership { request, to });
    }

    fn serve(&mut self, id: RequestId) {
        if self.is_filling() {
            return self.held_reads.push(id);
        }
        let Some(Waiter::Client(_, _, request)) = self.waiting.get(&id) else { return };
        match route::serve(&self.store, &convert::request(request)) {
            Ok(reply) => self.reply(id, Ok(reply)),
            Err(ReadError::Refused(error)) => self.reply(id, Err(error)),
            Err(ReadError::Damage(damage)) => self.damaged(&damage),
        }
    }

    fn answer_lease(&mut self, id: RequestId, ttl: i64, remaining: Option<i64>) {
        let Some(Waiter::Client(_, _, request)) = self.waiting.get(&id) else { return };
        let body = match (request, remaining) {
            (Request::LeaseTimeToLive { id, keys }, Some(remaining)) => Body::LeaseTimeToLive {
                id: *id,
                ttl: remaining,
                granted_ttl: ttl,
                keys: if *keys { route::lease_keys(&self.store, *id) } else { Vec::new() },
            },
            (Request::LeaseKeepAlive { id }, _) => Body::LeaseKeepAlive { id: *id, ttl },
            _ => return,
        };
        let revision = self.store.revision();
        self.answer(id, Outcome::Ok(Response { revision, body }));
    }

    fn reply(&mut self, id: RequestId, reply: Result<Reply, quorate_api::Error>) {
        match reply {
            Err(error) => self.fail(id, error),
            Ok(reply) => match convert::reply(reply) {
                Some((revision, body)) => {
                    self.answer(id, Outcome::Ok(Response { revision, body }));
                }
                None => {
                    if let Some(Waiter::Admin) = self.waiting.remove(&id) {
                        self.outputs.push(Output::Membership(Ok(())));
                    }
                }
            },
        }
    }

    fn fail(&mut self, id: RequestId, error: quorate_api::Error) {
        match self.waiting.get(&id) {
            None => {}
            Some(Waiter::Admin) => {
                self.waiting.remove(&id);
                self.outputs.push(Output::Membership(Err(error)));
            }
            Some(Waiter::Client(_, _, request)) => {
                let outcome = match (request, error) {
                    (Request::LeaseKeepAlive { id }, quorate_api::Error::LeaseNotFound) => {
                        let body = Body::LeaseKeepAlive { id: *id, ttl: 0 };
                        Outcome::Ok(Response { revision: self.store.revision(), body })
                    }
                    (Request::LeaseTimeToLive { id, .. }, quorate_api::Error::LeaseNotFound) => {
                        let body = Body::LeaseTimeToLive {
                            id: *id,
                            ttl: -1,
                            granted_ttl: 0,
                            keys: Vec::new(),
                        };
                        Outcome::Ok(Response { revision: self.store.revision(), body })
                    }
                    (request, error) => outcome_of(error, request),
                };
                self.answer(id, outcome);
            }
        }
    }

    fn answer(&mut self, id: RequestId, outcome: Outcome) {
        if let Some(Waiter::Client(client, call, _)) = self.waiting.remove(&id) {
            self.outputs.push(Output::Answer(client, call, outcome));
        }
    }

    /// A client's message on a stream; the first one opens it.
    pub(crate) fn watch(&mut self, client: ClientId, stream: Stream, message: &WatchMessage) {
        if self.is_filling() {
            return self.held_watches.push((client, stream, message.clone()));
        }
        let hub = &mut self.hub;
        let id = *self.streams.entry((client, stream)).or_insert_with(|| hub.open_stream());
        let taken = match message {
            WatchMessage::CreateRequest(create) => {
                self.hub.create(id, self.store.mvcc(), &convert::watch_create(create))
            }
            WatchMessage::CancelRequest { watch_id } => {
                self.hub.cancel(id, self.store.mvcc(), *watch_id)
            }
            WatchMessage::ProgressRequest => {
                self.hub.request_progress(id);
                Ok(())
            }
            WatchMessage::Created { .. }
            | WatchMessage::CreateRefused { .. }
            | WatchMessage::Events { .. }
            | WatchMessage::Progress { .. }
            | WatchMessage::Canceled { .. } => Ok(()),
        };
        debug_assert!(taken.is_ok(), "clients of a run do not ask that much between two reads");
        self.tell_stream(client, stream, id, None);
    }

    /// A client has gone.
    pub(crate) fn close_watch(&mut self, client: ClientId, stream: Stream) {
        self.unread.remove(&(client, stream));
        self.held_watches.retain(|(owner, held, _)| (*owner, *held) != (client, stream));
        if let Some(id) = self.streams.remove(&(client, stream)) {
            self.hub.close_stream(id);
        }
    }

    /// The interval of progress notifications has passed.
    pub(crate) fn tick_progress(&mut self) {
        let streams: Vec<_> = self.streams.iter().map(|(key, id)| (*key, *id)).collect();
        for ((client, stream), id) in streams {
            self.hub.tick_progress(id);
            self.tell_stream(client, stream, id, None);
        }
    }

    fn poll_streams(&mut self, woken: &[watch::StreamId]) {
        let streams: Vec<_> = self
            .streams
            .iter()
            .filter(|(_, id)| woken.contains(id))
            .map(|(key, id)| (*key, *id))
            .collect();
        let revision = self.hub.revision();
        for ((client, stream), id) in streams {
            self.tell_stream(client, stream, id, Some(revision));
        }
    }

    /// A stream may have news: its client reads them now, or, if it is slow, when it does.
    fn tell_stream(
        &mut self,
        client: ClientId,
        stream: Stream,
        id: watch::StreamId,
        woken_by: Option<i64>,
    ) {
        if (client.0 + stream.0).is_multiple_of(SLOW_STREAMS) || self.is_filling() {
            let unread = self.unread.entry((client, stream)).or_default();
            *unread = unread.or(woken_by);
        } else {
            self.poll_stream(client, stream, id);
        }
    }

    /// Whether a snapshot fills the store.
    fn is_filling(&self) -> bool {
        matches!(self.installing, Some(Installing::Records(..)))
    }

    /// The store can be asked again.
    fn release_held(&mut self) {
        for id in std::mem::take(&mut self.held_reads) {
            self.serve(id);
        }
        for (client, stream, message) in std::mem::take(&mut self.held_watches) {
            self.watch(client, stream, &message);
        }
    }

    /// The slow clients read.
    fn read_slowly(&mut self) {
        for ((client, stream), woken_by) in std::mem::take(&mut self.unread) {
            let Some(&id) = self.streams.get(&(client, stream)) else { continue };
            self.slow_read = self.ticks;
            let reads = self.hub.counts().log_reads;
            self.poll_stream(client, stream, id);
            let fell_behind =
                woken_by.is_some_and(|woken| woken + RING_REVISIONS <= self.hub.revision());
            if fell_behind && self.hub.counts().log_reads > reads {
                self.outputs.push(Output::Reached(Mark::WatchCaughtUp));
            }
        }
    }

    /// Whether slow clients have news to read, or on the way to them.
    pub(crate) fn has_unread(&self) -> bool {
        !self.unread.is_empty() || self.ticks <= self.slow_read + ARRIVAL_TICKS
    }

    fn poll_stream(&mut self, client: ClientId, stream: Stream, id: watch::StreamId) {
        loop {
            let polled = match self.hub.poll(id, self.store.mvcc(), POLL) {
                Ok(polled) => polled,
                Err(error) => return self.stop(Stop::Damaged(error.to_string())),
            };
            for response in polled.responses {
                let header = quorate_api::etcdserverpb::ResponseHeader::default();
                let message = response.to_message(&header).expect("the hub's own bytes");
                for message in convert::watch_response(message) {
                    self.outputs.push(Output::Watch(client, stream, message));
                }
            }
            if !polled.more {
                return;
            }
        }
    }

    fn damaged(&mut self, damage: &Damage) {
        self.stop(Stop::Damaged(damage.to_string()));
    }

    fn stop(&mut self, stop: Stop) {
        if !self.stopped {
            self.stopped = true;
            if let Stop::Damaged(what) = &stop {
                let note = quorate_store::checkpoint::note_damage(what);
                for (ticket, operation) in (1 << 62..).zip(note) {
                    self.store_disk.submit(Ticket(ticket), operation);
                }
            }
            self.outputs.push(Output::Stop(stop));
        }
    }

    /// Whether it has ended by itself.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// The member's id.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

/// What an error says to a client about its request.
fn outcome_of(error: quorate_api::Error, request: &Request) -> Outcome {
    use quorate_api::Error;
    let refusal = match error {
        Error::Compacted => Refusal::Compacted,
        Error::FutureRevision => Refusal::FutureRevision,
        Error::KeyNotFound => Refusal::KeyNotFound,
        Error::LeaseNotFound => Refusal::LeaseNotFound,
        Error::LeaseExists => Refusal::LeaseExists,
        Error::EmptyKey
        | Error::DuplicateKey
        | Error::ValueProvided
        | Error::LeaseProvided
        | Error::TooManyOps
        | Error::LeaseTtlTooLarge
        | Error::InvalidSortOption => Refusal::Invalid,
        Error::TooManyRequests | Error::NoSpace | Error::NoLeader | Error::NotLeader => {
            return Outcome::NotApplied;
        }
        _ if !request.may_write() && !is_lasting(request) => return Outcome::NotApplied,
        _ => return Outcome::Unknown,
    };
    Outcome::Refused(refusal)
}

/// Whether a request changes more than keys.
fn is_lasting(request: &Request) -> bool {
    match request {
        Request::Compact { .. }
        | Request::LeaseGrant { .. }
        | Request::LeaseRevoke { .. }
        | Request::LeaseKeepAlive { .. } => true,
        Request::Range(_)
        | Request::Put(_)
        | Request::DeleteRange(_)
        | Request::Txn(_)
        | Request::LeaseTimeToLive { .. } => false,
    }
}

fn log_entry(entry: &Entry) -> LogEntry {
    let mut digest = 0xcbf2_9ce4_8422_2325_u64 ^ entry.kind as u64;
    for byte in &entry.data {
        digest = (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    LogEntry { index: entry.index.0, term: entry.term.0, digest }
}
