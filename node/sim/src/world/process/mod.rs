//! A running member: the simulator's executor of its effects.
//!
//! What the server does with threads happens here one step at a time, each when the world says:
//! a completion of a disk, a task of the applier, a step of a job. Between two steps anything can
//! happen, a crash too.

mod applier;
mod background;
mod identity;
mod requests;
mod streams;
mod witness;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use prost::Message as _;
use quorate_api::etcdserverpb::{InternalRaftRequest, RequestHeader};
use quorate_api::membershippb::{Attributes, ClusterMemberAttrSetRequest};
use quorate_disk::{Disk, Ticket};
use quorate_member::open::{Finding, Opened};
use quorate_member::route::RequestLimits;
use quorate_member::{Freed, JobRunner, LogWriter};
use quorate_raft::{Entry, EntryKind, Message, MessageKind, NodeId, SnapshotMetadata};
use quorate_replica::{
    Config, Effect, Event, Halt, Priority, Proposal, Replica, RequestId, RequestIds, Time,
};
use quorate_store::log::Damage;
use quorate_store::store::Store;
use quorate_store::watch::{self, WatchHub, WatchOptions};
use sim_disk::{FaultyHandle, HandleId};

use super::chaos::Tender;
use super::marks::Mark;
use crate::check::Rule;
use crate::check::raft::LogEntry;
use crate::client::{Call, Stream};
use crate::history::{ClientId, Event as HistoryEvent, Outcome, WatchMessage};
use applier::{Installing, Task};
pub(crate) use identity::{Hearing, Identity, Life};
use requests::Waiter;
use witness::{DurableLog, InFlight};

/// Recent revisions that the hub keeps: few, so that a slow client falls behind them.
const RING_REVISIONS: i64 = 16;
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
    /// The member is where a loss of power hurts most.
    Tender(Tender),
    /// A log that was taken for whole lacks what it had.
    EndLost,
    /// A log that was found damaged at this start is whole again.
    LogRepaired,
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
    /// Its peers do not take it for the member that it was.
    Refused(String),
}

pub(crate) struct Process {
    id: u64,
    pub(crate) replica: Replica,
    identity: Identity,
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
    /// Where its log changes the configuration.
    conf_changes: BTreeSet<u64>,
    /// It was among the members when last looked at.
    was_member: bool,
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
        identity: Identity,
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
        let conf_changes = boot
            .entries
            .iter()
            .filter(|entry| entry.kind != EntryKind::Normal)
            .map(|entry| entry.index.0)
            .collect();
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
            identity,
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
            conf_changes,
            was_member: false,
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

    /// The disk handles, log first.
    pub(crate) fn handles(&self) -> [HandleId; 3] {
        [self.log_disk.id(), self.store_disk.id(), self.identity.handle()]
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
            if let Some(batch) = freed.persisted {
                self.note_durable(batch);
            }
            freed.messages.into_iter().for_each(|message| self.send(message));
            if let Some(batch) = freed.persisted {
                self.hear(now, Event::Persisted(batch));
            }
        }
        self.store_disk.poll(&mut completions);
        for completion in completions {
            self.jobs.on_completion(completion);
        }
        self.poll_book();
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
                self.note_written(&batch);
                self.outputs.push(Output::Tender(Tender::Write));
                self.writer.persist(&mut self.log_disk, batch);
            }
            Effect::Send { message, after } => {
                if let Some(message) = self.writer.send(message, after) {
                    self.send(message);
                }
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
            Effect::RepairBegun(repair) => {
                self.writer.begin_repair(repair);
                self.outputs.push(Output::EndLost);
            }
            Effect::RepairDone => {
                self.writer.finish_repair(&mut self.log_disk);
                if std::mem::take(&mut self.mends_log) {
                    self.outputs.push(Output::LogRepaired);
                }
            }
            Effect::Halt(Halt::Removed) => self.stop(Stop::Removed),
            Effect::Halt(Halt::Broken(why)) => self.stop(Stop::Broken(why)),
        }
    }

    /// Heartbeat interval: a member whose name nobody knows tells it, as servers do.
    pub(crate) fn tick(&mut self, now: Time) {
        self.writer.on_tick(&mut self.log_disk);
        self.hear(now, Event::Tick);
        self.ticks += 1;
        self.look_around();
        self.check_configuration();
        self.read_slowly();
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

    fn send(&mut self, message: Box<Message>) {
        self.check_sent(&message);
        if message.kind == MessageKind::MsgVoteResp && !message.reject {
            self.outputs.push(Output::Tender(Tender::Vote));
        }
        self.outputs.push(Output::Send(message));
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

fn log_entry(entry: &Entry) -> LogEntry {
    let mut digest = 0xcbf2_9ce4_8422_2325_u64 ^ entry.kind as u64;
    for byte in &entry.data {
        digest = (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    LogEntry { index: entry.index.0, term: entry.term.0, digest }
}
