//! The state machine of one member: what it is, what time does to it, and how a message's term
//! is weighed before anything else.
//!
//! What each role does with a message is in [`election`](crate::election) and
//! [`replication`](crate::replication); this file only leads there.

use crate::config::{Config, ConfigError};
use crate::entry::{entries_size, payloads_size};
use crate::error::StepError;
use crate::jitter::Jitter;
use crate::log::{Applicable, Log};
use crate::membership::restore;
use crate::message::{Message, MessageKind};
use crate::output::ReadState;
use crate::read_index::ReadQueue;
use crate::storage::Storage;
use crate::tracker::Tracker;
use crate::types::{EntryId, HardState, Index, NodeId, Participation, Role, SoftState, Term};

/// One member. Inputs change it and fill `messages`, `messages_after_append` and `read_states`;
/// nothing else leaves it.
pub struct Raft<S> {
    pub(crate) config: Config,
    pub(crate) term: Term,
    pub(crate) vote: NodeId,
    pub(crate) role: Role,
    pub(crate) lead: NodeId,
    pub(crate) participation: Participation,
    pub(crate) log: Log<S>,
    pub(crate) tracker: Tracker,
    pub(crate) read_states: Vec<ReadState>,
    /// Messages that may be sent at once.
    pub(crate) messages: Vec<Message>,
    /// Messages, to others or itself, that wait until everything not durable now is durable.
    pub(crate) messages_after_append: Vec<Message>,
    pub(crate) reads: ReadQueue,
    /// To whom leadership is being handed over (thesis 3.10).
    pub(crate) lead_transferee: NodeId,
    /// Whether somebody was told to campaign at once in this term: from then on the lease
    /// protects no read, for that campaign ignores it.
    pub(crate) lease_given_up: bool,
    /// No configuration change may be proposed before this index is applied; at least the index
    /// of the last one in the log.
    pub(crate) pending_conf_index: Index,
    /// Bytes of commands appended by this leader and not applied.
    pub(crate) uncommitted_bytes: u64,
    /// Ticks since the last election timeout (leader, candidate) or since the leader was heard.
    pub(crate) election_elapsed: u32,
    /// Ticks since the last heartbeat.
    heartbeat_elapsed: u32,
    pub(crate) randomized_election_timeout: u32,
    jitter: Jitter,
}

impl<S: Storage> Raft<S> {
    pub(crate) fn new(config: Config, storage: S) -> Result<Raft<S>, ConfigError> {
        let config = config.into_valid()?;
        let (hard_state, conf_state) = storage.initial_state()?;
        let applicable =
            if config.async_storage_writes { Applicable::StableOnly } else { Applicable::Unstable };
        let mut log = Log::new(storage, config.max_committed_bytes_per_ready, applicable);
        let mut tracker = Tracker::new(config.max_inflight_messages, config.max_inflight_bytes);
        (tracker.configuration, tracker.progress) =
            restore(&tracker, log.last_index(), &conf_state)?;

        let (first, last) = (log.committed, log.last_index());
        if hard_state.commit > last {
            return Err(ConfigError::CommitBeyondLog { commit: hard_state.commit, last });
        }
        // What a snapshot covers or was applied was committed, even if that was not written down.
        log.committed = first.max(hard_state.commit);
        if config.applied > Index::ZERO {
            if config.applied < first || config.applied > last {
                return Err(ConfigError::AppliedOutOfRange {
                    applied: config.applied,
                    first,
                    last,
                });
            }
            log.committed = log.committed.max(config.applied);
            log.applied_to(config.applied, 0);
        }
        let mut raft = Raft {
            term: hard_state.term,
            vote: hard_state.vote,
            role: Role::Follower,
            lead: NodeId::NONE,
            participation: Participation::Full,
            log,
            tracker,
            read_states: Vec::new(),
            messages: Vec::new(),
            messages_after_append: Vec::new(),
            reads: ReadQueue::default(),
            lead_transferee: NodeId::NONE,
            lease_given_up: false,
            pending_conf_index: Index::ZERO,
            uncommitted_bytes: 0,
            election_elapsed: 0,
            heartbeat_elapsed: 0,
            randomized_election_timeout: 0,
            jitter: Jitter::new(config.seed),
            config,
        };
        raft.become_follower(raft.term, NodeId::NONE);
        Ok(raft)
    }

    /// Who this member is.
    pub fn id(&self) -> NodeId {
        self.config.id
    }

    /// Its term.
    pub fn term(&self) -> Term {
        self.term
    }

    /// What it is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The leader that it believes in.
    pub fn lead(&self) -> NodeId {
        self.lead
    }

    /// Whether a change of members is in its log that it has not applied, or may be: what is proposed
    /// meanwhile would be refused without a word.
    pub fn is_change_pending(&self) -> bool {
        self.pending_conf_index > self.log.applied
    }

    /// The end of its log, durable or not.
    pub fn last_index(&self) -> Index {
        self.log.last_index()
    }

    /// The first entry that is not compacted.
    pub fn first_index(&self) -> Index {
        self.log.first_index()
    }

    /// How far the log is known to be committed.
    pub fn committed(&self) -> Index {
        self.log.committed
    }

    /// How far the state machine has applied it.
    pub fn applied(&self) -> Index {
        self.log.applied
    }

    /// Whether it takes part in decisions.
    pub fn participation(&self) -> Participation {
        self.participation
    }

    /// The configuration and, on a leader, everybody's progress.
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// Bytes of commands that count against
    /// [`max_uncommitted_bytes`](crate::Config::max_uncommitted_bytes).
    pub fn uncommitted_bytes(&self) -> u64 {
        self.uncommitted_bytes
    }

    /// The ticks after which it campaigns.
    pub fn randomized_election_timeout(&self) -> u32 {
        self.randomized_election_timeout
    }

    pub(crate) fn hard_state(&self) -> HardState {
        HardState { term: self.term, vote: self.vote, commit: self.log.committed }
    }

    pub(crate) fn soft_state(&self) -> SoftState {
        SoftState { lead: self.lead, role: self.role }
    }

    /// Starts a role afresh, in `term`.
    pub(crate) fn reset(&mut self, term: Term) {
        if self.term != term {
            self.term = term;
            self.vote = NodeId::NONE;
        }
        self.lead = NodeId::NONE;
        self.election_elapsed = 0;
        self.heartbeat_elapsed = 0;
        self.draw_election_timeout();
        self.lead_transferee = NodeId::NONE;
        self.lease_given_up = false;
        self.tracker.reset_votes();
        let last = self.log.last_index();
        for (id, progress) in self.tracker.progress.iter_mut() {
            progress.forget(last.next());
            progress.recent_active = false;
            if id == self.config.id {
                progress.match_index = last;
            }
        }
        self.pending_conf_index = Index::ZERO;
        self.uncommitted_bytes = 0;
        self.reads = ReadQueue::default();
    }

    fn draw_election_timeout(&mut self) {
        let timeout = self.config.election_ticks;
        self.randomized_election_timeout = timeout + self.jitter.below(timeout);
    }

    /// Puts `message` with the others, under this member's id and term.
    pub(crate) fn send(&mut self, mut message: Message) {
        use MessageKind::*;
        if message.from.is_none() {
            message.from = self.config.id;
        }
        match message.kind {
            // A vote's term is that of the election; pre-votes are about the one to come.
            MsgVote | MsgVoteResp | MsgPreVote | MsgPreVoteResp => {
                assert!(message.term > Term::ZERO, "a vote without a term");
            }
            // Forwarded as they came: the leader, whoever that is by then, sets the term.
            MsgProp | MsgReadIndex => {}
            _ => message.term = self.term,
        }
        if message.kind.is_after_append() {
            self.messages_after_append.push(message);
        } else {
            assert!(message.to != self.config.id, "{:?} to itself", message.kind);
            self.messages.push(message);
        }
    }

    /// One tick of the caller's clock.
    pub(crate) fn tick(&mut self) {
        match self.role {
            Role::Leader => self.tick_leader(),
            Role::Follower | Role::Candidate | Role::PreCandidate => self.tick_election(),
        }
    }

    fn tick_election(&mut self) {
        self.election_elapsed = self.election_elapsed.saturating_add(1);
        if self.is_promotable() && self.election_elapsed >= self.randomized_election_timeout {
            self.election_elapsed = 0;
            self.hup();
        }
    }

    fn tick_leader(&mut self) {
        self.heartbeat_elapsed += 1;
        self.election_elapsed += 1;
        if self.election_elapsed >= self.config.election_ticks {
            self.election_elapsed = 0;
            if self.config.check_quorum {
                self.check_quorum();
            }
            // A transfer that took longer than an election would have is given up.
            self.lead_transferee = NodeId::NONE;
        }
        if self.role == Role::Leader && self.heartbeat_elapsed >= self.config.heartbeat_ticks {
            self.heartbeat_elapsed = 0;
            self.broadcast_heartbeat();
        }
    }

    /// Sets whether this member takes part in decisions; one that leads or campaigns stops.
    pub(crate) fn set_participation(&mut self, participation: Participation) {
        self.participation = participation;
        if participation != Participation::Full && self.role != Role::Follower {
            self.become_follower(self.term, NodeId::NONE);
        }
    }

    /// Follows nobody in `term`, if that is a later one.
    pub(crate) fn skip_to_term(&mut self, term: Term) {
        if term > self.term {
            self.become_follower(term, NodeId::NONE);
        }
    }

    /// Takes in a message that was checked to be well-formed.
    pub(crate) fn step(&mut self, message: Message) -> Result<(), StepError> {
        use MessageKind::*;
        match self.participation {
            Participation::VotesOnly { .. } if message.kind == MsgTimeoutNow => return Ok(()),
            Participation::Full | Participation::VotesOnly { .. } => {}
        }
        if message.term > self.term {
            if !self.enter_newer_term(&message) {
                return Ok(());
            }
        } else if message.term < self.term && message.term != Term::ZERO {
            self.on_older_term(&message);
            return Ok(());
        }
        match message.kind {
            MsgHup => self.hup(),
            MsgVote | MsgPreVote => self.on_vote_request(&message),
            MsgStorageAppendResp => self.on_storage_appended(&message),
            MsgStorageApplyResp => self.on_storage_applied_entries(&message),
            MsgVoteResp | MsgPreVoteResp => {
                if message.reject {
                    self.on_vote_refused(&message);
                }
                return self.step_role(message);
            }
            _ => return self.step_role(message),
        }
        Ok(())
    }

    fn step_role(&mut self, message: Message) -> Result<(), StepError> {
        match self.role {
            Role::Leader => self.step_leader(message),
            Role::Candidate | Role::PreCandidate => self.step_candidate(message),
            Role::Follower => self.step_follower(message),
        }
    }

    /// Weighs a message of a newer term; false if it is to be ignored.
    fn enter_newer_term(&mut self, message: &Message) -> bool {
        use MessageKind::*;
        match message.kind {
            MsgVote | MsgPreVote if self.is_in_lease() && !self.is_forced(message) => {
                // A member that hears its leader does not help to replace it (thesis 4.2.3).
                return false;
            }
            // Asking whether one could win changes nobody's term, nor does the answer yes.
            MsgPreVote => {}
            MsgPreVoteResp if !message.reject => {}
            MsgApp | MsgHeartbeat | MsgSnap => self.become_follower(message.term, message.from),
            _ => self.become_follower(message.term, NodeId::NONE),
        }
        true
    }

    /// Answers a message of an older term, where silence would keep its sender stuck.
    fn on_older_term(&mut self, message: &Message) {
        use MessageKind::*;
        match message.kind {
            // Its sender leads an older term, while this member cannot win with its newer one:
            // the answer's term makes that leader step down and frees both.
            MsgHeartbeat | MsgApp if self.config.check_quorum || self.config.pre_vote => {
                self.send(Message::new(MsgAppResp, message.from));
            }
            // A pre-candidate of an older term would wait for ever.
            MsgPreVote => {
                let mut answer = Message::new(MsgPreVoteResp, message.from);
                answer.term = self.term;
                answer.reject = true;
                self.send(answer);
            }
            // The entries may since have been replaced by a write still under way, so only the
            // snapshot, which holds committed state, counts.
            MsgStorageAppendResp => {
                if let Some(snapshot) = &message.snapshot {
                    self.on_snapshot_stored(snapshot.metadata.index);
                }
            }
            _ => {}
        }
    }

    fn on_storage_appended(&mut self, message: &Message) {
        if message.index != Index::ZERO {
            let id = EntryId { term: message.log_term, index: message.index };
            self.log.unstable.stable_to(id);
        }
        if let Some(snapshot) = &message.snapshot {
            self.on_snapshot_stored(snapshot.metadata.index);
        }
    }

    fn on_snapshot_stored(&mut self, index: Index) {
        self.log.unstable.stable_snapshot_to(index);
        self.on_applied(index, 0);
    }

    fn on_storage_applied_entries(&mut self, message: &Message) {
        if let Some(last) = message.entries.last() {
            let (bytes, payload) =
                (entries_size(&message.entries), payloads_size(&message.entries));
            self.on_entries_applied(last.index, bytes, payload);
        }
    }

    /// The state machine has applied entries up to `last`, of `bytes` encoded and `payload` of
    /// commands.
    pub(crate) fn on_entries_applied(&mut self, last: Index, bytes: u64, payload: u64) {
        self.on_applied(last, bytes);
        self.uncommitted_bytes = self.uncommitted_bytes.saturating_sub(payload);
    }

    fn on_applied(&mut self, index: Index, bytes: u64) {
        let applied = self.log.applied.max(index);
        self.log.applied_to(applied, bytes);
        if self.role == Role::Leader
            && self.tracker.configuration.auto_leave
            && applied >= self.pending_conf_index
        {
            // Dropped while leadership is handed over; the next applied entry tries again.
            let _ = self.propose(vec![crate::AnyConfChange::V2(Default::default()).to_entry()]);
        }
    }
}
