//! What a member says of itself.

use quorate_raft::{ConfState, NodeId};

use crate::Replica;

/// A member's state at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// This member.
    pub member: NodeId,
    /// The leader it knows.
    pub leader: Option<NodeId>,
    /// Its term.
    pub term: u64,
    /// Whom it voted for in that term.
    pub vote: Option<NodeId>,
    /// The last entry of its log, durable or not.
    pub last_index: u64,
    /// The first entry of its log in memory.
    pub first_index: u64,
    /// What it knows to be committed.
    pub commit: u64,
    /// What its store has applied.
    pub applied: u64,
    /// Whether it may vote.
    pub is_learner: bool,
    /// Whether its log is being repaired.
    pub is_repairing: bool,
    /// Requests that wait for their end.
    pub proposals: usize,
    /// Reads that wait for a confirmation or for the store.
    pub reads: usize,
    /// Leases that it watches over.
    pub leases: usize,
    /// Bytes of log entries in memory.
    pub log_bytes: u64,
    /// For a leader: what each follower has.
    pub followers: Vec<Follower>,
}

/// What a leader knows of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    /// The member.
    pub member: NodeId,
    /// The last index it is known to have.
    pub matched: u64,
    /// Whether it answered within the last election timeout.
    pub is_active: bool,
}

/// What a member says of itself at no cost, for those who look often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What it does in its term.
    pub role: quorate_raft::Role,
    /// The leader it knows.
    pub leader: Option<NodeId>,
    /// Its term.
    pub term: u64,
    /// Whom it voted for in that term; 0 for nobody.
    pub vote: u64,
    /// What it knows to be committed.
    pub commit: u64,
    /// What its store has applied, as far as it heard.
    pub applied: u64,
    /// The first entry of its log in memory.
    pub first_index: u64,
    /// The last entry of its log, durable or not.
    pub last_index: u64,
    /// Bytes of log entries in memory.
    pub log_bytes: u64,
    /// Whether it may not vote.
    pub is_learner: bool,
    /// Whether its log is being repaired.
    pub is_repairing: bool,
    /// Leases whose end it has put into the log since it was started, because their time was over.
    pub leases_ended: u64,
}

impl Replica {
    /// What the member says of itself.
    #[must_use]
    pub fn status(&self) -> Status {
        let status = self.node.status();
        let storage = self.node.storage();
        let followers = status
            .progress
            .iter()
            .map(|(member, progress)| Follower {
                member: *member,
                matched: progress.match_index.0,
                is_active: progress.recent_active,
            })
            .collect();
        Status {
            member: self.config.member,
            leader: self.leadership.leader,
            term: status.basic.hard_state.term.0,
            vote: Some(status.basic.hard_state.vote).filter(|vote| *vote != NodeId::NONE),
            last_index: storage.last().0,
            first_index: storage.first().0,
            commit: status.basic.hard_state.commit.0,
            applied: self.applied,
            is_learner: self.is_learner(),
            is_repairing: self.repair.is_some(),
            proposals: self.proposals.len(),
            reads: self.reads.len(),
            leases: self.leases.len(),
            log_bytes: storage.bytes(),
            followers,
        }
    }

    /// Who votes and who listens, as Raft has it.
    #[must_use]
    pub fn configuration(&self) -> ConfState {
        self.node.raft().tracker().conf_state()
    }

    /// What the member says of itself at no cost.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let status = self.node.basic_status();
        let log = self.node.storage();
        Standing {
            role: status.soft_state.role,
            leader: self.leadership.leader,
            term: status.hard_state.term.0,
            vote: status.hard_state.vote.0,
            commit: status.hard_state.commit.0,
            applied: self.applied,
            first_index: log.first().0,
            last_index: status.last_index.0,
            log_bytes: log.bytes(),
            is_learner: self.is_learner(),
            is_repairing: self.repair.is_some(),
            leases_ended: self.leases_ended,
        }
    }

    /// How many requests wait for their end.
    #[must_use]
    pub fn load(&self) -> usize {
        self.proposals.len() + self.reads.len() + self.ended_renewals.len()
    }

    /// For how many milliseconds the lease has ended that waits longest for its revoke, on a
    /// leader. To be asked for now and then: it looks at all leases.
    #[must_use]
    pub fn longest_ended_lease_ms(&self) -> u64 {
        self.leases.longest_ended_ms(self.now)
    }

    fn is_learner(&self) -> bool {
        self.node.raft().tracker().configuration.learners.contains(self.config.member)
    }
}
