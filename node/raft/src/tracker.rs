//! The configuration in force, every member's progress, and the votes of the election at hand.

use crate::entry::ConfState;
use crate::inflights::Inflights;
use crate::membership::Configuration;
use crate::progress::ProgressMap;
use crate::quorum::VoteResult;
use crate::types::{Index, NodeId};

/// What a member tracks of the others. Invariant: exactly the voters and learners of the
/// configuration have a progress.
#[derive(Debug, Clone)]
pub struct Tracker {
    /// Who votes and who listens.
    pub configuration: Configuration,
    /// How far each has come.
    pub progress: ProgressMap,
    votes: Vec<(NodeId, bool)>,
    max_inflight_messages: usize,
    max_inflight_bytes: u64,
}

impl Tracker {
    /// Nobody, with the limits for appends in flight.
    pub fn new(max_inflight_messages: usize, max_inflight_bytes: u64) -> Tracker {
        Tracker {
            configuration: Configuration::default(),
            progress: ProgressMap::default(),
            votes: Vec::new(),
            max_inflight_messages,
            max_inflight_bytes,
        }
    }

    /// An empty window with this tracker's limits.
    pub(crate) fn new_inflights(&self) -> Inflights {
        Inflights::new(self.max_inflight_messages, self.max_inflight_bytes)
    }

    /// The configuration as it is stored.
    pub fn conf_state(&self) -> ConfState {
        self.configuration.to_conf_state()
    }

    /// What a quorum has acknowledged.
    pub(crate) fn committed(&self) -> Index {
        let acked = |id| self.progress.get(id).map(|progress| progress.match_index);
        self.configuration.voters.committed_index(acked)
    }

    /// Whether a quorum was heard since the last check.
    pub(crate) fn is_quorum_active(&self) -> bool {
        let active = |id| self.progress.get(id).map(|progress| progress.recent_active);
        self.configuration.voters.vote_result(active) == VoteResult::Won
    }

    pub(crate) fn reset_votes(&mut self) {
        self.votes.clear();
    }

    /// Counts a vote; only the first of each member counts.
    pub(crate) fn record_vote(&mut self, id: NodeId, granted: bool) {
        if self.votes.iter().all(|(voter, _)| *voter != id) {
            self.votes.push((id, granted));
        }
    }

    pub(crate) fn vote_result(&self) -> VoteResult {
        let vote = |id| self.votes.iter().find(|(voter, _)| *voter == id).map(|(_, vote)| *vote);
        self.configuration.voters.vote_result(vote)
    }
}
