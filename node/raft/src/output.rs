//! What a member wants done: the only way in which consensus acts on the world.

use bytes::Bytes;

use crate::entry::{Entry, Snapshot};
use crate::message::Message;
use crate::types::{HardState, Index, SoftState};

/// A read that is confirmed: whoever asked with `context` may answer once the state machine has
/// applied `index`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadState {
    /// The index to wait for.
    pub index: Index,
    /// What was given to [`read_index`](crate::RawNode::read_index).
    pub context: Bytes,
}

/// Work that is ready, in the order in which its parts depend on each other.
///
/// With synchronous storage the caller makes `entries`, `hard_state` and `snapshot` durable,
/// then sends `messages`, applies `committed_entries` and calls
/// [`advance`](crate::RawNode::advance).
///
/// With asynchronous storage `entries`, `snapshot` and `committed_entries` stay empty: the work
/// is in `messages` to [`NodeId::APPEND_THREAD`](crate::NodeId::APPEND_THREAD) and
/// [`NodeId::APPLY_THREAD`](crate::NodeId::APPLY_THREAD), each to be done in order, whereupon
/// their `responses` are delivered. All other messages may be sent at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ready {
    /// Who leads and what the member is, if that changed.
    pub soft_state: Option<SoftState>,
    /// What to make durable, if it changed.
    pub hard_state: Option<HardState>,
    /// Reads that are confirmed.
    pub read_states: Vec<ReadState>,
    /// Entries to make durable.
    pub entries: Vec<Entry>,
    /// A snapshot to make durable and load into the state machine.
    pub snapshot: Option<Snapshot>,
    /// Entries to apply to the state machine.
    pub committed_entries: Vec<Entry>,
    /// Messages to send.
    pub messages: Vec<Message>,
    /// Whether term, vote or entries changed, so that the write must reach the disk before
    /// anything acknowledges it; a new commit index alone need not.
    pub must_sync: bool,
}
