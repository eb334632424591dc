//! An executor for tests: batches become durable, entries are applied and messages arrive when
//! the test says so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use prost::Message as _;
use quorate_api::etcdserverpb as pb;
use quorate_raft::{
    ConfState, Entry, EntryKind, HardState, Index, Message, MessageKind, NodeId, SnapshotMetadata,
    Term,
};
use quorate_replica::{
    AlarmFact, AlarmKind, Applied, BatchId, Boot, Checkpoint, ConfChangeVerdict, Config, Effect,
    Event, Facts, LeaseChange, LogBatch, MemberFact, Presence, Priority, Proposal, Replica,
    RequestId, Role, Time,
};

/// Milliseconds from tick to tick.
pub(crate) const TICK_MS: u64 = 100;
/// Where every log of a test begins: all members have this entry and its term.
pub(crate) const BASE: u64 = 1;

pub(crate) fn config(member: u64) -> Config {
    Config {
        member: NodeId(member),
        boot: 7,
        seed: member,
        tick_ms: TICK_MS,
        election_ticks: 10,
        pre_vote: true,
        snapshot_entries: 20,
        catch_up_entries: 5,
        log_bytes_max: 1 << 20,
        message_bytes_max: Config::MESSAGE_BYTES_MAX,
        inflight_messages_max: Config::INFLIGHT_MESSAGES_MAX,
        quota_bytes: Some(1_000),
        advance_first_election: false,
        strict_reconfiguration: true,
        learners_max: 1,
    }
}

pub(crate) fn voter(member: u64) -> MemberFact {
    MemberFact { member: NodeId(member), role: Role::Voter, presence: Presence::Started }
}

pub(crate) fn learner(member: u64) -> MemberFact {
    MemberFact { role: Role::Learner, ..voter(member) }
}

/// A member of a cluster of these that has applied the first entry.
pub(crate) fn boot(members: &[MemberFact]) -> Boot {
    let ids = |role| {
        members.iter().filter(|fact| fact.role == role).map(|fact| fact.member).collect::<Vec<_>>()
    };
    let conf_state = ConfState::new(ids(Role::Voter), ids(Role::Learner));
    Boot {
        checkpoint: Checkpoint { index: BASE, term: 1, conf_state },
        log_start: (BASE, 1),
        entries: Vec::new(),
        hard_state: HardState { term: Term(1), vote: NodeId::NONE, commit: Index(BASE) },
        facts: Facts { members: members.to_vec(), ..Facts::default() },
        repair: None,
    }
}

/// What a client puts into the log.
pub(crate) fn proposal(request: u64, body: pb::InternalRaftRequest) -> Proposal {
    let header = pb::RequestHeader { id: request, ..pb::RequestHeader::default() };
    let body = pb::InternalRaftRequest { header: Some(header), ..body };
    Proposal {
        request: RequestId(request),
        data: body.encode_to_vec().into(),
        growth_bytes: 0,
        priority: Priority::Normal,
    }
}

pub(crate) fn put(request: u64) -> Event {
    let put = pb::PutRequest { key: "k".into(), ..pb::PutRequest::default() };
    let body = pb::InternalRaftRequest { put: Some(put), ..Default::default() };
    Event::Propose(proposal(request, body))
}

pub(crate) fn grant(request: u64, lease: i64, ttl: i64) -> Event {
    let grant = pb::LeaseGrantRequest { id: lease, ttl };
    let body = pb::InternalRaftRequest { lease_grant: Some(grant), ..Default::default() };
    Event::Propose(proposal(request, body))
}

pub(crate) fn read(request: u64) -> Event {
    Event::Read { request: RequestId(request) }
}

pub(crate) fn renew(request: u64, lease: i64) -> Event {
    Event::RenewLease { request: RequestId(request), lease }
}

/// One member with its disk, its store, and what it told its clients.
pub(crate) struct Member {
    pub(crate) replica: Replica,
    pub(crate) batches: VecDeque<LogBatch>,
    pub(crate) durable: BatchId,
    pub(crate) applies: VecDeque<Vec<Entry>>,
    /// Entries that the log was given, in order.
    pub(crate) written: Vec<Entry>,
    held: Vec<(BatchId, Box<Message>)>,
    /// Answers to clients since the test last looked.
    pub(crate) answers: Vec<String>,
    /// All other effects since the test last looked.
    pub(crate) effects: Vec<String>,
    /// Requests of the log in the order they were applied.
    pub(crate) applied: Vec<pb::InternalRaftRequest>,
    pub(crate) installs: VecDeque<SnapshotMetadata>,
    pub(crate) live_bytes: u64,
    pub(crate) alarms: BTreeSet<(u64, i32)>,
    pub(crate) last_applied: (u64, u64),
}

impl Member {
    pub(crate) fn new(config: Config, boot: Boot, now: Time) -> Self {
        let last_applied = (boot.checkpoint.index, boot.checkpoint.term);
        let alarms = boot
            .facts
            .alarms
            .iter()
            .map(|alarm| (alarm.member.0, pb::AlarmType::Nospace.into()))
            .collect();
        Self {
            live_bytes: boot.facts.live_bytes,
            replica: Replica::new(config, boot, now).unwrap(),
            batches: VecDeque::new(),
            durable: BatchId(0),
            applies: VecDeque::new(),
            written: Vec::new(),
            held: Vec::new(),
            answers: Vec::new(),
            effects: Vec::new(),
            applied: Vec::new(),
            installs: VecDeque::new(),
            alarms,
            last_applied,
        }
    }

    /// Take all effects; messages that may go are returned.
    fn collect(&mut self) -> Vec<Message> {
        let mut sent = Vec::new();
        let mut effects = Vec::new();
        self.replica.effects(&mut effects);
        for effect in effects {
            match describe(&effect) {
                Said::Answer(text) => self.answers.push(text),
                Said::Work(text) => self.effects.push(text),
            }
            match effect {
                Effect::Persist(batch) => {
                    self.written.extend(batch.entries.iter().cloned());
                    self.batches.push_back(batch);
                }
                Effect::Send { message, after } => match after {
                    Some(batch) if batch > self.durable => self.held.push((batch, message)),
                    _ => sent.push(*message),
                },
                Effect::SendSnapshot { message } => sent.push(*message),
                Effect::Apply(entries) => self.applies.push_back(entries),
                Effect::InstallSnapshot(metadata) => self.installs.push_back(metadata),
                _ => {}
            }
        }
        sent
    }

    /// What the store makes of entries.
    fn apply(&mut self, entries: &[Entry]) -> Applied {
        let mut applied = Applied { live_bytes: self.live_bytes, ..Applied::default() };
        for entry in entries {
            self.last_applied = (entry.index.0, entry.term.0);
            applied.index = entry.index.0;
            if entry.kind != EntryKind::Normal {
                applied.conf_changes.push((entry.index.0, ConfChangeVerdict::Accepted));
                let change = quorate_raft::ConfChange::decode(&entry.data).unwrap();
                applied.requests.push(RequestId(change.id));
                continue;
            }
            if entry.data.is_empty() {
                continue;
            }
            let request = pb::InternalRaftRequest::decode(entry.data.clone()).unwrap();
            applied.requests.push(RequestId(request.header.as_ref().unwrap().id));
            if let Some(grant) = &request.lease_grant {
                let (lease, ttl_seconds) = (grant.id, grant.ttl);
                applied.leases.push(LeaseChange::Granted { lease, ttl_seconds });
            }
            if let Some(revoke) = &request.lease_revoke {
                applied.leases.push(LeaseChange::Revoked { lease: revoke.id });
            }
            for checkpoint in request.lease_checkpoint.iter().flat_map(|all| &all.checkpoints) {
                let (lease, remaining_seconds) = (checkpoint.id, checkpoint.remaining_ttl);
                applied.leases.push(LeaseChange::Checkpointed { lease, remaining_seconds });
            }
            if let Some(alarm) = &request.alarm {
                let key = (alarm.member_id, alarm.alarm);
                if alarm.action == i32::from(pb::alarm_request::AlarmAction::Activate) {
                    self.alarms.insert(key);
                } else {
                    self.alarms.remove(&key);
                }
                applied.alarms = Some(self.alarm_facts());
            }
            self.applied.push(request);
        }
        applied
    }

    pub(crate) fn alarm_facts(&self) -> Vec<AlarmFact> {
        let fact = |&(member, _): &(u64, i32)| AlarmFact {
            member: NodeId(member),
            kind: AlarmKind::NoSpace,
        };
        self.alarms.iter().map(fact).collect()
    }

    pub(crate) fn take_answers(&mut self) -> Vec<String> {
        std::mem::take(&mut self.answers)
    }

    pub(crate) fn take_effects(&mut self) -> Vec<String> {
        std::mem::take(&mut self.effects)
    }

    /// Leases that the log revoked, in order.
    pub(crate) fn revoked(&self) -> Vec<i64> {
        self.applied.iter().filter_map(|request| Some(request.lease_revoke.as_ref()?.id)).collect()
    }

    /// Revokes that the log was given, committed or not.
    pub(crate) fn revokes_written(&self) -> usize {
        let bodies = self.written.iter().map(|entry| entry.data.clone());
        let requests = bodies.filter_map(|data| pb::InternalRaftRequest::decode(data).ok());
        requests.filter(|request| request.lease_revoke.is_some()).count()
    }

    /// What the log's checkpoints say, in order.
    pub(crate) fn checkpoints(&self) -> Vec<(i64, i64)> {
        let all = self.applied.iter().filter_map(|request| request.lease_checkpoint.as_ref());
        all.flat_map(|all| &all.checkpoints).map(|one| (one.id, one.remaining_ttl)).collect()
    }
}

enum Said {
    Answer(String),
    Work(String),
}

fn describe(effect: &Effect) -> Said {
    match effect {
        Effect::ReadReady { request } => Said::Answer(format!("{} read", request.0)),
        Effect::LeaseRenewed { request, ttl_seconds } => {
            Said::Answer(format!("{} renewed {ttl_seconds}", request.0))
        }
        Effect::LeaseTimeLeft { request, ttl_seconds, remaining_seconds } => {
            Said::Answer(format!("{} left {remaining_seconds} of {ttl_seconds}", request.0))
        }
        Effect::LeadershipTransferred { request } => {
            Said::Answer(format!("{} transferred", request.0))
        }
        Effect::Fail { request, error } => Said::Answer(format!("{} fails {error:?}", request.0)),
        Effect::AskLeader { request, leader } => {
            Said::Answer(format!("{} ask {leader}", request.0))
        }
        Effect::Persist(batch) => {
            let indexes: Vec<u64> = batch.entries.iter().map(|entry| entry.index.0).collect();
            let mark =
                batch.mark.as_ref().map_or(String::new(), |mark| format!(" mark {}", mark.index));
            Said::Work(format!("persist {}{mark} {indexes:?}", batch.batch.0))
        }
        Effect::Send { message, after } => {
            let after = after.map_or("now".into(), |batch| format!("after {}", batch.0));
            Said::Work(format!("send {} to {} {after}", message.kind.name(), message.to))
        }
        Effect::Apply(entries) => {
            let indexes: Vec<u64> = entries.iter().map(|entry| entry.index.0).collect();
            Said::Work(format!("apply {indexes:?}"))
        }
        Effect::PinSnapshot => Said::Work("pin".into()),
        Effect::SendSnapshot { message } => Said::Work(format!("snapshot to {}", message.to)),
        Effect::ReleaseSnapshot => Said::Work("unpin".into()),
        Effect::InstallSnapshot(metadata) => Said::Work(format!("install {}", metadata.index)),
        Effect::ReleaseLog { index } => Said::Work(format!("release log {index}")),
        Effect::Leadership { leader, term } => {
            let leader = leader.map_or("nobody".into(), |leader| leader.to_string());
            Said::Work(format!("leader {leader} term {term}"))
        }
        Effect::RepairBegun(_) => Said::Work("under repair".into()),
        Effect::RepairDone => Said::Work("repaired".into()),
        Effect::Halt(halt) => Said::Work(format!("halt {halt:?}")),
    }
}

/// Members and the messages between them.
pub(crate) struct Cluster {
    pub(crate) now: Time,
    pub(crate) members: BTreeMap<u64, Member>,
    pub(crate) network: VecDeque<Message>,
    /// Members that nothing reaches, and that reach nobody.
    pub(crate) cut: BTreeSet<u64>,
    /// Members whose disk does not answer.
    pub(crate) stalled: BTreeSet<u64>,
    /// Members whose store does not apply.
    pub(crate) idle: BTreeSet<u64>,
    /// Kinds of message that are lost.
    pub(crate) lost: Vec<MessageKind>,
}

impl Cluster {
    /// A cluster of this many voters that are connected to each other for long.
    pub(crate) fn of(count: u64) -> Self {
        let facts: Vec<MemberFact> = (1..=count).map(voter).collect();
        Self::with(&facts, config)
    }

    pub(crate) fn with(facts: &[MemberFact], config: impl Fn(u64) -> Config) -> Self {
        let now = Time(0);
        let ids: Vec<u64> = facts.iter().map(|fact| fact.member.0).collect();
        let member = |&id: &u64| (id, Member::new(config(id), boot(facts), now));
        let mut cluster = Self {
            now,
            members: ids.iter().map(member).collect(),
            network: VecDeque::new(),
            cut: BTreeSet::new(),
            stalled: BTreeSet::new(),
            idle: BTreeSet::new(),
            lost: Vec::new(),
        };
        for &id in &ids {
            for &peer in ids.iter().filter(|&&peer| peer != id) {
                cluster.on(id, Event::PeerConnected(NodeId(peer)));
            }
        }
        cluster.now = Time(10_000);
        cluster
    }

    /// A cluster of this many voters that member 1 leads.
    pub(crate) fn led(count: u64) -> Self {
        let mut cluster = Self::of(count);
        cluster.elect(1);
        cluster
    }

    pub(crate) fn member(&mut self, id: u64) -> &mut Member {
        self.members.get_mut(&id).unwrap()
    }

    pub(crate) fn on(&mut self, id: u64, event: Event) {
        self.hear(id, event);
        self.collect(id);
    }

    /// Let a member hear an event without looking at its effects.
    pub(crate) fn hear(&mut self, id: u64, event: Event) {
        let now = self.now;
        self.member(id).replica.on(now, event);
    }

    pub(crate) fn collect(&mut self, id: u64) {
        let sent = self.member(id).collect();
        self.network.extend(sent);
    }

    /// All that is written becomes durable.
    pub(crate) fn persist(&mut self, id: u64) -> bool {
        let member = self.member(id);
        let Some(last) = member.batches.drain(..).next_back() else { return false };
        member.durable = last.batch;
        let (free, held) = std::mem::take(&mut member.held)
            .into_iter()
            .partition(|(batch, _)| *batch <= last.batch);
        member.held = held;
        let free: Vec<(BatchId, Box<Message>)> = free;
        self.network.extend(free.into_iter().map(|(_, message)| *message));
        self.on(id, Event::Persisted(last.batch));
        true
    }

    /// The store applies what it has been given first.
    pub(crate) fn apply(&mut self, id: u64) -> bool {
        let member = self.member(id);
        let Some(entries) = member.applies.pop_front() else { return false };
        let applied = member.apply(&entries);
        self.on(id, Event::Applied(applied));
        true
    }

    /// The oldest message arrives or is lost.
    pub(crate) fn deliver(&mut self) -> bool {
        let Some(message) = self.network.pop_front() else { return false };
        let (from, to) = (message.from.0, message.to.0);
        let is_lost = self.cut.contains(&from)
            || self.cut.contains(&to)
            || self.lost.contains(&message.kind)
            || !self.members.contains_key(&to);
        if !is_lost {
            self.on(to, Event::Message(Box::new(message)));
        }
        true
    }

    /// Everything that can happen without a tick happens.
    pub(crate) fn settle(&mut self) {
        let ids: Vec<u64> = self.members.keys().copied().collect();
        loop {
            let mut progress = false;
            for &id in &ids {
                progress |= !self.stalled.contains(&id) && self.persist(id);
                progress |= !self.idle.contains(&id) && self.apply(id);
            }
            while self.deliver() {
                progress = true;
            }
            if !progress {
                return;
            }
        }
    }

    /// Intervals pass for one member alone.
    pub(crate) fn tick(&mut self, id: u64, count: u64) {
        for _ in 0..count {
            self.now = self.now + TICK_MS;
            self.on(id, Event::Tick);
            self.settle();
        }
    }

    /// Intervals pass for all members.
    pub(crate) fn tick_all(&mut self, count: u64) {
        let ids: Vec<u64> = self.members.keys().copied().collect();
        for _ in 0..count {
            self.now = self.now + TICK_MS;
            for &id in &ids {
                self.on(id, Event::Tick);
            }
            self.settle();
        }
    }

    /// Make a member leader of those that are not cut off.
    pub(crate) fn elect(&mut self, id: u64) {
        let ids: Vec<u64> =
            self.members.keys().copied().filter(|peer| !self.cut.contains(peer)).collect();
        let is_fresh = ids.iter().all(|&peer| self.leader_of(peer).is_none());
        for _ in 0..80 {
            if is_fresh {
                self.tick(id, 1);
            } else {
                self.now = self.now + TICK_MS;
                ids.iter().for_each(|&peer| self.on(peer, Event::Tick));
                self.settle();
            }
            match self.leader_of(id) {
                Some(leader) if leader == id => return self.settle(),
                Some(leader) if ids.contains(&leader) => {
                    let request = RequestId(u64::MAX);
                    self.ask(leader, Event::TransferLeadership { request, to: NodeId(id) });
                    self.answers(leader);
                }
                Some(_) | None => {}
            }
        }
        panic!("member {id} does not win");
    }

    pub(crate) fn leader_of(&mut self, id: u64) -> Option<u64> {
        self.member(id).replica.standing().leader.map(|leader| leader.0)
    }

    pub(crate) fn answers(&mut self, id: u64) -> Vec<String> {
        self.member(id).take_answers()
    }

    /// A client's request, and all that follows without a tick.
    pub(crate) fn ask(&mut self, id: u64, event: Event) {
        self.on(id, event);
        self.settle();
    }
}

/// Bytes that no other test data has.
pub(crate) fn context() -> Bytes {
    Bytes::from_static(b"{}")
}
