//! The member itself: what each event does.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use quorate_api::Error;
use quorate_raft::{
    ConfChange, ConfChangeKind, Entry, EntryKind, Message, MessageKind, NodeId, RawNode,
    ReadOnlyOption, SnapshotStatus,
};

use crate::boot::{Boot, BootError};
use crate::config::{
    APPLY_BYTES_MAX, APPLY_GAP_HIGH_MAX, APPLY_GAP_MAX, Config, FIRST_ELECTION_TICKS_MIN,
    INFLIGHT_BYTES_MAX, UNCOMMITTED_BYTES_MAX,
};
use crate::effect::{BatchId, Effect, Halt};
use crate::ended_renewals::EndedRenewals;
use crate::event::{
    Event, Facts, LeaseChange, MembershipChange, Priority, Proposal, SnapshotOutcome,
};
use crate::held_changes::HeldChanges;
use crate::lease_clock::LeaseClock;
use crate::log::MemberLog;
use crate::membership::Membership;
use crate::own_requests::Internal;
use crate::proposals::{Expired, Proposals};
use crate::quota::Quota;
use crate::reads::{Purpose, Reads, Stage};
use crate::ready::{Applying, Batches};
use crate::repair::Repair;
use crate::request_id::{RequestId, RequestIds};
use crate::snapshots::Snapshots;
use crate::transfer::Transfer;
use crate::{Applied, Time};

/// One member.
pub struct Replica {
    pub(crate) config: Config,
    pub(crate) now: Time,
    pub(crate) node: RawNode<MemberLog>,
    pub(crate) out: Vec<Effect>,
    pub(crate) batches: Batches,
    pub(crate) applying: VecDeque<Applying>,
    pub(crate) applied: u64,
    pub(crate) leadership: Leadership,
    pub(crate) reads: Reads,
    pub(crate) leases: LeaseClock,
    /// Ends of leases that were put into the log.
    pub(crate) leases_ended: u64,
    pub(crate) ended_renewals: EndedRenewals,
    pub(crate) membership: Membership,
    pub(crate) snapshots: Snapshots,
    pub(crate) repair: Option<Repair>,
    /// When this batch is durable, so is all that the repair is about.
    pub(crate) repaired_by: Option<BatchId>,
    pub(crate) transfers: Vec<Transfer>,
    pub(crate) ids: RequestIds,
    pub(crate) proposals: Proposals,
    pub(crate) quota: Quota,
    /// The member's own requests in the log.
    pub(crate) internal: BTreeMap<RequestId, Internal>,
    pub(crate) held_changes: HeldChanges,
    pub(crate) halted: bool,
}

/// Who leads, as far as the member knows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Leadership {
    pub(crate) leader: Option<NodeId>,
    pub(crate) term: u64,
    pub(crate) is_self: bool,
    /// When this leader was first known.
    pub(crate) since: Time,
}

impl Replica {
    /// A member that goes on from what it finds.
    ///
    /// # Errors
    /// When log and store do not fit together.
    pub fn new(config: Config, boot: Boot, now: Time) -> Result<Self, BootError> {
        let log = boot.log()?;
        let node = RawNode::new(raft_config(&config, &boot), log)?;
        let mut leases = LeaseClock::default();
        leases.reset(&boot.facts.leases, now);
        let mut quota = Quota::new(config.member, config.quota_bytes);
        quota.set_live_bytes(boot.facts.live_bytes);
        quota.set_alarms(boot.facts.alarms);
        let mut replica = Self {
            now,
            node,
            out: Vec::new(),
            batches: Batches::new(boot.hard_state),
            applying: VecDeque::new(),
            applied: boot.checkpoint.index,
            leadership: Leadership::default(),
            reads: Reads::new(config.boot),
            leases,
            leases_ended: 0,
            ended_renewals: EndedRenewals::default(),
            membership: Membership::new(config.member, boot.facts.members),
            snapshots: Snapshots::default(),
            repair: boot.repair,
            repaired_by: None,
            transfers: Vec::new(),
            ids: RequestIds::new(config.member.0, config.boot, RequestIds::REPLICA_LANE),
            proposals: Proposals::default(),
            quota,
            internal: BTreeMap::new(),
            held_changes: HeldChanges::default(),
            halted: false,
            config,
        };
        replica.begin_repair();
        replica.begin_elections();
        Ok(replica)
    }

    /// A member that starts knows no leader. One that votes alone has nobody to wait for; any other
    /// need not wait as long as if it had just heard of a leader.
    fn begin_elections(&mut self) {
        if self.repair.is_some() {
            return;
        }
        let voters = self.node.raft().tracker().configuration.voters.ids();
        if voters.iter().eq([self.config.member]) {
            self.node.campaign();
        } else if self.config.advance_first_election {
            let ticks = self.config.election_ticks.saturating_sub(FIRST_ELECTION_TICKS_MIN);
            (0..ticks).for_each(|_| self.node.tick());
        }
    }

    /// Hear an event.
    pub fn on(&mut self, now: Time, event: Event) {
        self.now = self.now.max(now);
        if self.halted {
            return;
        }
        match event {
            Event::Tick => self.on_tick(),
            Event::Message(message) => self.on_message(*message),
            Event::PeerConnected(peer) => self.membership.on_connected(peer, self.now),
            Event::PeerDisconnected(peer) => {
                self.membership.on_disconnected(peer);
                self.node.report_unreachable(peer);
            }
            Event::PeerUnreachable(peer) => self.node.report_unreachable(peer),
            Event::Propose(proposal) => self.on_propose(proposal),
            Event::ChangeMembership { request, change } => {
                self.on_change_membership(request, change);
            }
            Event::Read { request } => self.on_read(Purpose::Read(request), request),
            Event::RenewLease { request, lease } => {
                self.on_lease_question(Purpose::RenewLease(request, lease), request);
            }
            Event::LeaseTimeLeft { request, lease } => {
                self.on_lease_question(Purpose::LeaseTimeLeft(request, lease), request);
            }
            Event::TransferLeadership { request, to } => self.on_transfer(request, to),
            Event::HandOver { request } => self.on_hand_over(request),
            Event::Persisted(batch) => self.on_persisted(batch),
            Event::Applied(applied) => self.on_applied(applied),
            Event::SnapshotPinned(metadata) => {
                self.snapshots.on_pinned(self.now);
                self.node.storage_mut().set_offer(Some(metadata));
            }
            Event::SnapshotSent { to, outcome } => self.on_snapshot_sent(to, outcome),
            Event::SnapshotInstalled { index, facts } => self.on_snapshot_installed(index, facts),
            Event::DiskRoom(room) => self.quota.set_disk_room(room),
            Event::LiveBytes(bytes) => self.quota.set_live_bytes(bytes),
            Event::Checkpointed { index } => self.out.push(Effect::ReleaseLog { index }),
        }
    }

    /// Move what is to be done to `effects`.
    pub fn effects(&mut self, effects: &mut Vec<Effect>) {
        // Twice: what becomes ready may make the member ask or propose something itself.
        for _ in 0..2 {
            if !self.halted {
                self.submit_proposals();
                self.submit_reads();
                self.drain_ready();
            }
        }
        effects.append(&mut self.out);
    }

    /// Send an answer of failure.
    pub(crate) fn fail(&mut self, request: RequestId, error: Error) {
        self.out.push(Effect::Fail { request, error });
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.leadership.is_self
    }

    pub(crate) fn halt(&mut self, reason: Halt) {
        self.halted = true;
        self.out.push(Effect::Halt(reason));
    }

    /// What a follower is known to have, on a leader.
    pub(crate) fn matched(&self, member: NodeId) -> u64 {
        let tracker = self.node.raft().tracker();
        if !self.is_leader() {
            return 0;
        }
        tracker.progress.get(member).map_or(0, |progress| progress.match_index.0)
    }

    pub(crate) fn deadline(&self) -> Time {
        self.now + self.config.request_timeout_ms()
    }

    fn on_tick(&mut self) {
        self.node.tick();
        self.expire_requests();
        self.expire_transfers();
        if self.is_leader() {
            self.end_leases();
            self.write_lease_checkpoints();
            self.leave_stalled_disk();
        }
        self.propose_alarm();
        if self.snapshots.take_ended(self.now) {
            self.node.storage_mut().set_offer(None);
            self.out.push(Effect::ReleaseSnapshot);
        }
        self.ask_for_repair();
    }

    fn on_propose(&mut self, proposal: Proposal) {
        let request = proposal.request;
        let gap_max = match proposal.priority {
            Priority::Normal => APPLY_GAP_MAX,
            Priority::High => APPLY_GAP_HIGH_MAX,
        };
        let commit = self.node.basic_status().hard_state.commit.0;
        let checked = if commit.saturating_sub(self.applied) > gap_max {
            Err(Error::TooManyRequests)
        } else {
            self.quota.check(proposal.growth_bytes)
        };
        let deadline = self.deadline();
        let taken = checked.and_then(|()| self.proposals.push(self.now, deadline, proposal));
        if let Err(error) = taken {
            self.fail(request, error);
        }
    }

    /// Hand all waiting requests to Raft, in messages of bounded size.
    fn submit_proposals(&mut self) {
        if !self.proposals.has_waiting() || self.leadership.leader.is_none() {
            return;
        }
        while self.proposals.has_waiting() {
            let mut bytes = 0;
            let mut entries = Vec::new();
            for proposal in self.proposals.waiting() {
                bytes += proposal.data.len() as u64;
                if bytes > self.config.message_bytes_max && !entries.is_empty() {
                    break;
                }
                entries.push(Entry { data: proposal.data.clone(), ..Entry::default() });
            }
            let count = entries.len();
            if !self.propose_entries(entries) {
                return;
            }
            let term = self.node.basic_status().hard_state.term.0;
            self.proposals.on_handed(count, term);
        }
    }

    /// Whether Raft took the entries.
    pub(crate) fn propose_entries(&mut self, entries: Vec<Entry>) -> bool {
        let message = self.proposal(entries);
        self.node.step(message).is_ok()
    }

    fn proposal(&self, entries: Vec<Entry>) -> Message {
        let (kind, from) = (MessageKind::MsgProp, self.config.member);
        Message { kind, from, entries, ..Message::default() }
    }

    fn on_change_membership(&mut self, request: RequestId, change: MembershipChange) {
        if let Err(error) = self.membership.check(&change, &self.config, self.now) {
            return self.fail(request, error);
        }
        if let MembershipChange::Promote { member, .. } = &change {
            match self.leadership.leader {
                None => return self.fail(request, Error::NoLeader),
                Some(leader) if !self.is_leader() => {
                    return self.out.push(Effect::AskLeader { request, leader });
                }
                Some(_) => {}
            }
            let last = self.node.storage().last().0;
            if let Err(error) = Membership::check_caught_up(self.matched(*member), last) {
                return self.fail(request, error);
            }
        }
        let deadline = self.deadline();
        if let Err(error) = self.proposals.track(self.now, deadline, request) {
            return self.fail(request, error);
        }
        let data = conf_change(request, change).encode();
        let entry = Entry { kind: EntryKind::ConfChange, data, ..Entry::default() };
        let message = self.proposal(vec![entry]);
        if !self.propose_change(message) {
            self.proposals.finish(request);
            let error = if self.leadership.leader.is_none() {
                Error::NoLeader
            } else {
                Error::LeaderChanged
            };
            self.fail(request, error);
        }
    }

    pub(crate) fn on_read(&mut self, purpose: Purpose, request: RequestId) {
        if self.reads.has_room() {
            let deadline = self.deadline();
            self.reads.push(purpose, deadline);
        } else {
            self.fail(request, Error::TooManyRequests);
        }
    }

    fn submit_reads(&mut self) {
        if self.leadership.leader.is_none() {
            return;
        }
        while let Some(context) = self.reads.start_attempt(self.now) {
            // One that Raft does not take now is asked again after a while.
            let _ = self.node.read_index(context);
        }
    }

    /// Carry out what a quorum confirmed and the store has caught up with.
    pub(crate) fn finish_reads(&mut self) {
        for purpose in self.reads.take_ready(self.applied) {
            match purpose {
                Purpose::Read(request) => self.out.push(Effect::ReadReady { request }),
                Purpose::RenewLease(request, lease) => self.renew_lease(request, lease),
                Purpose::LeaseTimeLeft(request, lease) => self.tell_lease_time(request, lease),
                Purpose::RevokeLeases(leases) => self.revoke_leases(leases),
            }
        }
    }

    fn on_applied(&mut self, applied: Applied) {
        self.applied = self.applied.max(applied.index);
        self.quota.set_live_bytes(applied.live_bytes);
        if let Some(members) = applied.members {
            self.membership.set_members(members);
        }
        if let Some(alarms) = applied.alarms {
            self.quota.set_alarms(alarms);
        }
        for &change in &applied.leases {
            self.leases.on_change(change, self.now);
            if let LeaseChange::Revoked { lease } = change {
                for renewal in self.ended_renewals.take_revoked(lease) {
                    self.fail(renewal.client, Error::LeaseNotFound);
                }
            }
        }
        self.start_lease_clock();
        for request in applied.requests {
            if self.proposals.finish(request) {
                self.finish_own(request);
            }
        }
        self.note_lost_proposals();
        self.on_applied_entries(&applied.conf_changes);
        self.propose_held_changes();
        self.finish_reads();
        self.cut_log();
    }

    /// Requests that the leaders of terms before that of what is applied have not put into the log
    /// are not waited for much longer.
    pub(crate) fn note_lost_proposals(&mut self) {
        if self.proposals.oldest_term().is_none_or(|oldest| oldest == self.leadership.term) {
            return;
        }
        let applied = quorate_raft::Index(self.applied);
        if let Ok(term) = quorate_raft::Storage::term(self.node.storage(), applied) {
            let until = self.now + self.config.election_timeout_ms();
            self.proposals.on_term_applied(term.0, until);
        }
    }

    fn expire_requests(&mut self) {
        for Expired { request, asked, was_lost } in self.proposals.expire(self.now) {
            let error = match was_lost {
                true => Error::TimeoutDueToLeaderFail,
                false => self.timeout_error(asked),
            };
            match self.internal.remove(&request) {
                None => self.fail(request, error),
                Some(Internal::Renewal { client, .. }) => self.fail(client, error),
                Some(Internal::Alarm) => {}
            }
        }
        for renewal in self.ended_renewals.take_expired(self.now) {
            self.fail(renewal.client, Error::Timeout);
        }
        for (purpose, stage) in self.reads.on_tick(self.now) {
            let (Purpose::Read(request)
            | Purpose::RenewLease(request, _)
            | Purpose::LeaseTimeLeft(request, _)) = purpose
            else {
                continue;
            };
            let error = match stage {
                Stage::Confirmation => Error::Timeout,
                Stage::Apply => Error::TimeoutWaitAppliedIndex,
            };
            self.fail(request, error);
        }
    }

    /// Why a request of that age was not done in time.
    fn timeout_error(&self, asked: Time) -> Error {
        let lost = self.leadership.since.0.saturating_sub(2 * self.config.election_timeout_ms());
        if asked.0 > lost && asked < self.leadership.since {
            return Error::TimeoutDueToLeaderFail;
        }
        if self.leadership.leader.is_some_and(|leader| !self.membership.reached(leader, asked)) {
            return Error::TimeoutDueToConnectionLost;
        }
        Error::Timeout
    }

    fn on_snapshot_sent(&mut self, to: NodeId, outcome: SnapshotOutcome) {
        self.snapshots.on_sent(to, self.now);
        let status = match outcome {
            SnapshotOutcome::Finished => SnapshotStatus::Finish,
            SnapshotOutcome::Failed => SnapshotStatus::Failure,
        };
        self.node.report_snapshot(to, status);
    }

    pub(crate) fn set_facts(&mut self, facts: Facts) {
        self.leases.reset(&facts.leases, self.now);
        self.membership.set_members(facts.members);
        self.quota.set_alarms(facts.alarms);
        self.quota.set_live_bytes(facts.live_bytes);
    }
}

fn raft_config(config: &Config, boot: &Boot) -> quorate_raft::Config {
    quorate_raft::Config {
        id: config.member,
        election_ticks: config.election_ticks,
        heartbeat_ticks: 1,
        applied: quorate_raft::Index(boot.checkpoint.index),
        max_message_bytes: config.message_bytes_max,
        max_committed_bytes_per_ready: APPLY_BYTES_MAX,
        max_uncommitted_bytes: UNCOMMITTED_BYTES_MAX,
        max_inflight_messages: config.inflight_messages_max,
        max_inflight_bytes: INFLIGHT_BYTES_MAX,
        check_quorum: true,
        pre_vote: config.pre_vote,
        read_only: ReadOnlyOption::Safe,
        async_storage_writes: true,
        disable_proposal_forwarding: false,
        disable_conf_change_validation: false,
        step_down_on_removal: true,
        seed: config.seed,
    }
}

fn conf_change(request: RequestId, change: MembershipChange) -> ConfChange {
    let (kind, node, context) = match change {
        MembershipChange::AddVoter { member, context }
        | MembershipChange::Promote { member, context } => {
            (ConfChangeKind::AddNode, member, context)
        }
        MembershipChange::AddLearner { member, context } => {
            (ConfChangeKind::AddLearnerNode, member, context)
        }
        MembershipChange::Remove { member } => (ConfChangeKind::RemoveNode, member, Bytes::new()),
        MembershipChange::Update { member, context } => {
            (ConfChangeKind::UpdateNode, member, context)
        }
    };
    ConfChange { id: request.0, kind, node_id: node, context }
}
