//! What a member can tell of itself.

use crate::membership::Configuration;
use crate::progress::{Progress, ProgressState};
use crate::types::{HardState, Index, NodeId, SoftState};

/// A member in a few numbers; costs nothing to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BasicStatus {
    /// Who it is.
    pub id: NodeId,
    /// Term, vote and commit index, durable or not.
    pub hard_state: HardState,
    /// Who leads, and what this member is.
    pub soft_state: SoftState,
    /// What its state machine has applied.
    pub applied: Index,
    /// The end of its log, durable or not.
    pub last_index: Index,
    /// To whom it is handing leadership over.
    pub lead_transferee: NodeId,
}

/// A leader's view of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressStatus {
    /// Up to here its log is known to equal the leader's.
    pub match_index: Index,
    /// The next entry to send to it.
    pub next_index: Index,
    /// How it is treated.
    pub state: ProgressState,
    /// Whether it was heard since the last check of the quorum.
    pub recent_active: bool,
    /// Whether appends to it are held back.
    pub paused: bool,
    /// The index of the snapshot on its way; otherwise zero.
    pub pending_snapshot: Index,
    /// Appends on their way.
    pub inflight_messages: usize,
    /// Bytes of commands in those.
    pub inflight_bytes: u64,
    /// Whether no more appends fit in flight.
    pub inflights_full: bool,
    /// Whether it has no vote.
    pub is_learner: bool,
}

impl From<&Progress> for ProgressStatus {
    fn from(progress: &Progress) -> ProgressStatus {
        ProgressStatus {
            match_index: progress.match_index,
            next_index: progress.next_index,
            state: progress.state,
            recent_active: progress.recent_active,
            paused: progress.is_paused(),
            pending_snapshot: progress.pending_snapshot,
            inflight_messages: progress.inflights.len(),
            inflight_bytes: progress.inflights.bytes(),
            inflights_full: progress.inflights.is_full(),
            is_learner: progress.is_learner,
        }
    }
}

/// A member and, if it leads, what it knows of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The member itself.
    pub basic: BasicStatus,
    /// The configuration that it has applied.
    pub configuration: Configuration,
    /// Every member in ascending order, itself included; empty unless it leads.
    pub progress: Vec<(NodeId, ProgressStatus)>,
}
