//! Two sets of voters that must both agree (thesis 4.3).

use std::fmt;

use super::{MajorityConfig, VoteResult};
use crate::node_set::NodeSet;
use crate::types::{Index, NodeId};

/// The voters of a configuration on its way from `outgoing` to `incoming`, or, with `outgoing`
/// empty, of a plain one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JointConfig {
    /// The voters of the configuration that comes.
    pub incoming: MajorityConfig,
    /// The voters of the configuration that goes; empty unless the configuration is joint.
    pub outgoing: MajorityConfig,
}

impl JointConfig {
    /// Whether a change is half done.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.0.is_empty()
    }

    /// Whether one voter decides alone.
    pub fn is_singleton(&self) -> bool {
        self.incoming.0.len() == 1 && !self.is_joint()
    }

    /// Whether `id` votes in either half.
    pub fn contains(&self, id: NodeId) -> bool {
        self.incoming.0.contains(id) || self.outgoing.0.contains(id)
    }

    /// The voters of both halves.
    pub fn ids(&self) -> NodeSet {
        self.incoming.0.iter().chain(self.outgoing.0.iter()).collect()
    }

    /// The largest number that both majorities have reached.
    pub fn committed_index(&self, acked: impl Fn(NodeId) -> Option<Index>) -> Index {
        self.incoming.committed_index(&acked).min(self.outgoing.committed_index(&acked))
    }

    /// How an election stands that needs both majorities.
    pub fn vote_result(&self, vote: impl Fn(NodeId) -> Option<bool>) -> VoteResult {
        let halves = (self.incoming.vote_result(&vote), self.outgoing.vote_result(&vote));
        match halves {
            (VoteResult::Won, VoteResult::Won) => VoteResult::Won,
            (VoteResult::Lost, _) | (_, VoteResult::Lost) => VoteResult::Lost,
            (VoteResult::Pending, _) | (_, VoteResult::Pending) => VoteResult::Pending,
        }
    }
}

impl fmt::Display for JointConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.incoming.fmt(f)?;
        if self.is_joint() {
            write!(f, "&&{}", self.outgoing)?;
        }
        Ok(())
    }
}
