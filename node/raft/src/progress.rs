//! How far a leader knows each member's log.
//!
//! ```text
//!            acknowledged
//!   Probe ───────────────► Replicate
//!     ▲  ◄───────────────      │
//!     │    rejected, lost      │ next entry is compacted
//!     │                        ▼
//!     └──────────────────── Snapshot
//!        sent, or failed
//! ```
//! In `Probe` one append is sent per heartbeat until the end of the common log is found; in
//! `Replicate` appends follow each other without waiting, up to the window; in `Snapshot`
//! nothing is sent until the snapshot arrived or failed.

use crate::inflights::Inflights;
use crate::types::{Index, NodeId};

/// How a leader treats a follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProgressState {
    /// Its log's end is unknown.
    #[default]
    Probe,
    /// It keeps up.
    Replicate,
    /// It needs a snapshot.
    Snapshot,
}

/// What a leader knows of one member. Invariant: `match_index < next_index`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Up to here its log is known to equal the leader's.
    pub match_index: Index,
    /// The next entry to send; what lies between is in flight.
    pub next_index: Index,
    /// The highest commit index sent that it may not have taken in.
    pub(crate) sent_commit: Index,
    /// How it is treated.
    pub state: ProgressState,
    /// The index of the snapshot on its way, in state `Snapshot`; otherwise zero.
    pub pending_snapshot: Index,
    /// Whether it was heard since the last check of the quorum.
    pub recent_active: bool,
    /// Whether appends wait for its next heartbeat response.
    pub append_flow_paused: bool,
    /// Appends on their way, in state `Replicate`.
    pub inflights: Inflights,
    /// Whether it has no vote.
    pub is_learner: bool,
}

impl Progress {
    /// A member whose log's end is guessed to be before `next_index`.
    pub(crate) fn new(next_index: Index, inflights: Inflights) -> Progress {
        Progress {
            match_index: Index::ZERO,
            next_index,
            sent_commit: Index::ZERO,
            state: ProgressState::Probe,
            pending_snapshot: Index::ZERO,
            recent_active: false,
            append_flow_paused: false,
            inflights,
            is_learner: false,
        }
    }

    /// Whether appends are held back.
    pub fn is_paused(&self) -> bool {
        match self.state {
            ProgressState::Probe | ProgressState::Replicate => self.append_flow_paused,
            ProgressState::Snapshot => true,
        }
    }

    fn enter(&mut self, state: ProgressState) {
        self.append_flow_paused = false;
        self.pending_snapshot = Index::ZERO;
        self.state = state;
        self.inflights.reset();
    }

    pub(crate) fn become_probe(&mut self) {
        // A snapshot that arrived moves the start of the probing; one that failed must have been
        // cleared before.
        let snapshot = self.pending_snapshot;
        self.enter(ProgressState::Probe);
        self.next_index = self.match_index.max(snapshot).next();
        self.sent_commit = self.sent_commit.min(self.next_index.prev());
    }

    pub(crate) fn become_replicate(&mut self) {
        self.enter(ProgressState::Replicate);
        self.next_index = self.match_index.next();
    }

    pub(crate) fn become_snapshot(&mut self, index: Index) {
        self.enter(ProgressState::Snapshot);
        self.pending_snapshot = index;
        self.next_index = index.next();
        self.sent_commit = index;
    }

    /// Notes that the member may have lost everything: probing starts at `next_index`, and
    /// nothing counts as matching until it is acknowledged anew.
    pub(crate) fn forget(&mut self, next_index: Index) {
        self.enter(ProgressState::Probe);
        self.match_index = Index::ZERO;
        self.next_index = next_index.max(Index(1));
        self.sent_commit = Index::ZERO;
    }

    /// Notes an append with `count` entries and `bytes` of commands.
    pub(crate) fn on_sent_entries(&mut self, count: u64, bytes: u64) {
        match self.state {
            ProgressState::Replicate => {
                if count > 0 {
                    self.next_index = self.next_index + count;
                    self.inflights.add(self.next_index.prev(), bytes);
                }
                // A full window turns the append into a probe: the next one waits.
                self.append_flow_paused = self.inflights.is_full();
            }
            ProgressState::Probe => {
                if count > 0 {
                    self.append_flow_paused = true;
                }
            }
            ProgressState::Snapshot => unreachable!("nothing is appended beside a snapshot"),
        }
    }

    /// Whether it is worth telling the member of `commit`: it has not been told of one that
    /// reaches the end of what was sent.
    pub(crate) fn can_bump_commit(&self, commit: Index) -> bool {
        commit > self.sent_commit && self.sent_commit < self.next_index.prev()
    }

    /// Takes in an acknowledgement up to `index`; false if it tells nothing new.
    pub(crate) fn maybe_update(&mut self, index: Index) -> bool {
        if index <= self.match_index {
            return false;
        }
        self.match_index = index;
        self.next_index = self.next_index.max(index.next());
        self.append_flow_paused = false;
        true
    }

    /// Takes in the rejection of an append behind `rejected`, with the member's `hint` where to
    /// go on; false if it is stale.
    pub(crate) fn maybe_decrease_to(&mut self, rejected: Index, hint: Index) -> bool {
        if self.state == ProgressState::Replicate {
            if rejected <= self.match_index {
                return false;
            }
            self.next_index = self.match_index.next();
        } else {
            // Probes go one at a time, so a rejection of anything else is an old one.
            if self.next_index.prev() != rejected {
                return false;
            }
            self.next_index = rejected.min(hint.next()).max(self.match_index.next());
            self.append_flow_paused = false;
        }
        self.sent_commit = self.sent_commit.min(self.next_index.prev());
        true
    }
}

/// The progress of every member, in ascending order of ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProgressMap(Vec<(NodeId, Progress)>);

impl ProgressMap {
    fn position(&self, id: NodeId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |(id, _)| *id)
    }

    /// The progress of `id`.
    pub fn get(&self, id: NodeId) -> Option<&Progress> {
        self.position(id).ok().map(|position| &self.0[position].1)
    }

    /// The progress of `id`.
    pub(crate) fn get_mut(&mut self, id: NodeId) -> Option<&mut Progress> {
        self.position(id).ok().map(|position| &mut self.0[position].1)
    }

    /// Whether `id` is tracked.
    pub fn contains(&self, id: NodeId) -> bool {
        self.position(id).is_ok()
    }

    pub(crate) fn insert(&mut self, id: NodeId, progress: Progress) {
        match self.position(id) {
            Ok(position) => self.0[position].1 = progress,
            Err(position) => self.0.insert(position, (id, progress)),
        }
    }

    pub(crate) fn remove(&mut self, id: NodeId) {
        if let Ok(position) = self.position(id) {
            self.0.remove(position);
        }
    }

    /// How many members are tracked.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Progress)> {
        self.0.iter().map(|(id, progress)| (*id, progress))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (NodeId, &mut Progress)> {
        self.0.iter_mut().map(|(id, progress)| (*id, progress))
    }

    /// The id at `slot`, for loops that change the members while they go over them.
    pub(crate) fn id_at(&self, slot: usize) -> NodeId {
        self.0[slot].0
    }
}
