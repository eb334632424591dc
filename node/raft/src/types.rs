//! The numbers of consensus as types of their own, so that a term is never mistaken for an index,
//! and the two states that a member reports: what must be durable and what need not be.

use std::fmt;
use std::ops::{Add, Sub};

/// The identity of a member. Zero means "nobody".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId(pub u64);

impl NodeId {
    /// Nobody: no leader, no vote, no transfer.
    pub const NONE: NodeId = NodeId(0);
    /// The pseudo-member that makes appends durable when storage writes are asynchronous.
    pub const APPEND_THREAD: NodeId = NodeId(u64::MAX);
    /// The pseudo-member that applies committed entries when storage writes are asynchronous.
    pub const APPLY_THREAD: NodeId = NodeId(u64::MAX - 1);

    /// Whether this names nobody.
    pub fn is_none(self) -> bool {
        self == NodeId::NONE
    }

    /// Whether this names somebody.
    pub fn is_some(self) -> bool {
        self != NodeId::NONE
    }

    /// Whether this is one of the two storage pseudo-members. A transport must refuse every
    /// message from a peer that claims to come from one.
    pub fn is_local_thread(self) -> bool {
        self == NodeId::APPEND_THREAD || self == NodeId::APPLY_THREAD
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// A term of leadership: at most one leader is elected in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Term(pub u64);

impl Term {
    /// Before any election. A message that carries it comes from the member itself, or is one
    /// that stands outside terms (a forwarded proposal or read).
    pub const ZERO: Term = Term(0);

    /// The term that an election started now would be held in.
    pub fn next(self) -> Term {
        Term(self.0.saturating_add(1))
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A position in the log; the first entry has 1. Arithmetic saturates, so that an absurd index
/// from the network compares as too large instead of wrapping round to a plausible one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Index(pub u64);

impl Index {
    /// Before the first entry.
    pub const ZERO: Index = Index(0);
    /// Beyond every entry.
    pub const MAX: Index = Index(u64::MAX);

    /// The position after this one.
    pub fn next(self) -> Index {
        self + 1
    }

    /// The position before this one.
    pub fn prev(self) -> Index {
        self - 1
    }

    /// How many positions lie from `start` up to this one, this one excluded; 0 if it is not
    /// after `start`.
    pub fn distance_from(self, start: Index) -> u64 {
        self.0.saturating_sub(start.0)
    }

    /// [`Index::distance_from`] as an offset into memory.
    pub(crate) fn offset_from(self, start: Index) -> usize {
        usize::try_from(self.distance_from(start)).unwrap_or(usize::MAX)
    }
}

impl Add<u64> for Index {
    type Output = Index;

    fn add(self, count: u64) -> Index {
        Index(self.0.saturating_add(count))
    }
}

impl Sub<u64> for Index {
    type Output = Index;

    fn sub(self, count: u64) -> Index {
        Index(self.0.saturating_sub(count))
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Names one entry of one leader: no two entries ever share both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EntryId {
    /// The term of the leader that appended the entry.
    pub term: Term,
    /// Where it stands in the log.
    pub index: Index,
}

/// What a member must find again after a crash (Raft paper, figure 2), plus the commit index,
/// which saves time at a restart but need not be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HardState {
    /// The newest term seen.
    pub term: Term,
    /// Who got this member's vote in that term.
    pub vote: NodeId,
    /// How far the log is known to be committed.
    pub commit: Index,
}

impl HardState {
    /// Whether nothing was ever saved.
    pub fn is_empty(&self) -> bool {
        *self == HardState::default()
    }
}

/// What a member is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Follows a leader, or waits for one.
    #[default]
    Follower,
    /// Asks for votes in a new term.
    Candidate,
    /// Replicates its log to the others.
    Leader,
    /// Asks whether it would get votes, before it disturbs anybody with a new term
    /// (thesis 9.6).
    PreCandidate,
}

/// What is useful to know of a member but is not kept over a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SoftState {
    /// The leader that this member believes in.
    pub lead: NodeId,
    /// What the member is.
    pub role: Role,
}

/// Whether a member takes part in decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Participation {
    /// It votes, campaigns and acknowledges.
    #[default]
    Full,
    /// Its log is under repair: it lost entries that it had acknowledged, up to `floor` at most. It
    /// takes in entries and snapshots, does not campaign, and votes as if it still had them.
    VotesOnly {
        /// The last entry of the log that it had.
        floor: EntryId,
    },
}
