//! What a member says of itself.

use quorate_raft::NodeId;

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
}
