//! Elections: who may campaign, who gets a vote, and how roles change (paper §5.2, thesis 9.6).

use bytes::Bytes;

use crate::entry::Entry;
use crate::error::StepError;
use crate::message::{Message, MessageKind};
use crate::quorum::VoteResult;
use crate::raft::Raft;
use crate::storage::Storage;
use crate::types::{EntryId, NodeId, Participation, Role, Term};

/// The context of a vote request after a transfer of leadership, as etcd writes it: the old
/// leader agreed, so its lease does not count.
const TRANSFER: &[u8] = b"CampaignTransfer";

/// Why and how a member campaigns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Campaign {
    /// It first asks whether it could win.
    PreElection,
    /// It asks for votes.
    Election,
    /// The leader asked it to.
    Transfer,
}

impl<S: Storage> Raft<S> {
    pub(crate) fn become_follower(&mut self, term: Term, lead: NodeId) {
        self.reset(term);
        self.lead = lead;
        self.role = Role::Follower;
    }

    fn become_candidate(&mut self) {
        assert!(self.role != Role::Leader, "a leader does not campaign");
        self.reset(self.term.next());
        self.vote = self.config.id;
        self.role = Role::Candidate;
    }

    fn become_pre_candidate(&mut self) {
        assert!(self.role != Role::Leader, "a leader does not campaign");
        // Neither term nor vote change: nobody is to notice unless it could win.
        self.tracker.reset_votes();
        self.lead = NodeId::NONE;
        self.role = Role::PreCandidate;
    }

    fn become_leader(&mut self) {
        assert!(self.role == Role::Candidate, "only a candidate becomes leader");
        self.reset(self.term);
        self.lead = self.config.id;
        self.role = Role::Leader;
        if let Some(progress) = self.tracker.progress.get_mut(self.config.id) {
            progress.become_replicate();
            progress.recent_active = true;
        }
        // There may be a configuration change in the part of the log that is not committed; to
        // wait for all of it is cheaper than to look.
        self.pending_conf_index = self.log.last_index();
        let appended = self.append_entries(vec![Entry::default()]);
        assert!(appended, "an empty entry is never over a limit");
    }

    /// Whether this member may become leader.
    pub(crate) fn is_promotable(&self) -> bool {
        self.participation == Participation::Full
            && self.log.unstable.snapshot.is_none()
            && self
                .tracker
                .progress
                .get(self.config.id)
                .is_some_and(|progress| !progress.is_learner)
    }

    /// Starts an election, if that is allowed.
    pub(crate) fn hup(&mut self) {
        let kind = if self.config.pre_vote { Campaign::PreElection } else { Campaign::Election };
        self.maybe_campaign(kind);
    }

    fn maybe_campaign(&mut self, campaign: Campaign) {
        // Whoever has not applied a committed change does not know who may elect it.
        if self.role != Role::Leader
            && self.is_promotable()
            && !self.log.has_unapplied_conf_change()
        {
            self.campaign(campaign);
        }
    }

    fn campaign(&mut self, campaign: Campaign) {
        let (request, answer, term) = match campaign {
            Campaign::PreElection => {
                self.become_pre_candidate();
                (MessageKind::MsgPreVote, MessageKind::MsgPreVoteResp, self.term.next())
            }
            Campaign::Election | Campaign::Transfer => {
                self.become_candidate();
                (MessageKind::MsgVote, MessageKind::MsgVoteResp, self.term)
            }
        };
        let last = self.log.last_id();
        for id in self.tracker.configuration.voters.ids().iter() {
            if id == self.config.id {
                // Its own vote counts once it is durable, like everybody's.
                let mut own = Message::new(answer, id);
                own.term = term;
                self.send(own);
                continue;
            }
            let mut message = Message::new(request, id);
            message.term = term;
            message.index = last.index;
            message.log_term = last.term;
            if campaign == Campaign::Transfer {
                message.context = Bytes::from_static(TRANSFER);
            }
            self.send(message);
        }
    }

    /// Whether a leader was heard so lately that no other may be elected.
    pub(crate) fn is_in_lease(&self) -> bool {
        self.config.check_quorum
            && self.lead.is_some()
            && self.election_elapsed < self.config.election_ticks
    }

    /// Whether a vote is asked for at the leader's own wish.
    pub(crate) fn is_forced(&self, message: &Message) -> bool {
        message.context == TRANSFER
    }

    /// Gives or refuses a vote. Learners vote too: one may have been promoted without knowing
    /// yet, and the candidate, whose log has the promotion, may need it to win.
    pub(crate) fn on_vote_request(&mut self, message: &Message) {
        let is_pre_vote = message.kind == MessageKind::MsgPreVote;
        let kind = if is_pre_vote { MessageKind::MsgPreVoteResp } else { MessageKind::MsgVoteResp };
        let can_vote = self.vote == message.from
            || (self.vote.is_none() && self.lead.is_none())
            || (is_pre_vote && message.term > self.term);
        let theirs = EntryId { term: message.log_term, index: message.index };
        let mut answer = Message::new(kind, message.from);
        let reaches_floor = match self.participation {
            Participation::Full => true,
            Participation::VotesOnly { floor } => {
                (theirs.term, theirs.index) >= (floor.term, floor.index)
            }
        };
        if can_vote && reaches_floor && self.log.is_up_to_date(theirs) {
            // The election's term, not this member's: a pre-candidate's is one ahead.
            answer.term = message.term;
            self.send(answer);
            if !is_pre_vote {
                self.election_elapsed = 0;
                self.vote = message.from;
            }
        } else {
            answer.term = self.term;
            answer.reject = true;
            if !self.tracker.configuration.voters.contains(self.config.id) {
                // The candidate may need this vote only because it does not know yet that the
                // change which took it away is committed, and would ask for it for ever.
                answer.commit = self.log.committed;
                answer.log_term = self.log.term(self.log.committed).unwrap_or(Term::ZERO);
            }
            self.send(answer);
        }
    }

    /// Commits what a member that refused its vote has told to be committed, if this log has it.
    pub(crate) fn on_vote_refused(&mut self, message: &Message) {
        let told = EntryId { term: message.log_term, index: message.commit };
        if self.role != Role::Leader && told.term != Term::ZERO && self.log.matches(told) {
            let is_in_log = self.log.commit_to(told.index);
            assert!(is_in_log, "what matches is in the log");
        }
    }

    pub(crate) fn step_candidate(&mut self, message: Message) -> Result<(), StepError> {
        use MessageKind::*;
        match message.kind {
            MsgProp => Err(StepError::ProposalDropped),
            MsgApp | MsgHeartbeat | MsgSnap => {
                self.become_follower(message.term, message.from);
                self.step_follower(message)
            }
            MsgPreVoteResp if self.role == Role::PreCandidate => {
                self.on_vote_response(&message);
                Ok(())
            }
            MsgVoteResp if self.role == Role::Candidate => {
                self.on_vote_response(&message);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn on_vote_response(&mut self, message: &Message) {
        self.tracker.record_vote(message.from, !message.reject);
        match self.tracker.vote_result() {
            VoteResult::Won if self.role == Role::PreCandidate => {
                self.campaign(Campaign::Election);
            }
            VoteResult::Won => {
                self.become_leader();
                self.broadcast_append();
            }
            VoteResult::Lost => self.become_follower(self.term, NodeId::NONE),
            VoteResult::Pending => {}
        }
    }

    /// The leader asks this member to take over, without asking first whether it could win: no
    /// partition is being recovered from.
    pub(crate) fn on_timeout_now(&mut self) {
        self.maybe_campaign(Campaign::Transfer);
    }

    /// Steps down if no quorum was heard since the last time.
    pub(crate) fn check_quorum(&mut self) {
        if !self.tracker.is_quorum_active() {
            self.become_follower(self.term, NodeId::NONE);
        }
        for (id, progress) in self.tracker.progress.iter_mut() {
            if id != self.config.id {
                progress.recent_active = false;
            }
        }
    }
}
