//! One set of voters that decides by majority.

use std::fmt;

use super::VoteResult;
use crate::node_set::NodeSet;
use crate::types::{Index, NodeId};

/// Voters whose acknowledgements are sorted on the stack; larger clusters allocate.
const VOTERS_ON_STACK: usize = 7;

/// A set of voters. The empty set agrees with everything, so that a joint configuration with one
/// empty half behaves like its other half.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MajorityConfig(pub NodeSet);

impl MajorityConfig {
    /// How many voters make a majority.
    fn quorum(&self) -> usize {
        self.0.len() / 2 + 1
    }

    /// The largest number that a majority has reached; `acked` tells how far each has come.
    pub fn committed_index(&self, acked: impl Fn(NodeId) -> Option<Index>) -> Index {
        let voters = self.0.len();
        if voters == 0 {
            return Index::MAX;
        }
        let mut on_stack = [Index::ZERO; VOTERS_ON_STACK];
        let mut on_heap = Vec::new();
        let reached: &mut [Index] = if let Some(part) = on_stack.get_mut(..voters) {
            part
        } else {
            on_heap.resize(voters, Index::ZERO);
            &mut on_heap
        };
        for (slot, id) in reached.iter_mut().zip(self.0.iter()) {
            *slot = acked(id).unwrap_or(Index::ZERO);
        }
        reached.sort_unstable();
        reached[voters - self.quorum()]
    }

    /// How an election stands; `vote` tells what each said.
    pub fn vote_result(&self, vote: impl Fn(NodeId) -> Option<bool>) -> VoteResult {
        if self.0.is_empty() {
            return VoteResult::Won;
        }
        let mut granted = 0;
        let mut missing = 0;
        for id in self.0.iter() {
            match vote(id) {
                Some(true) => granted += 1,
                Some(false) => {}
                None => missing += 1,
            }
        }
        if granted >= self.quorum() {
            VoteResult::Won
        } else if granted + missing >= self.quorum() {
            VoteResult::Pending
        } else {
            VoteResult::Lost
        }
    }
}

impl fmt::Display for MajorityConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
