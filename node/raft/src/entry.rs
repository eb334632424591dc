//! Log entries, and snapshots that stand in for a prefix of the log.

use bytes::Bytes;

use crate::conf_change::encoding::varint_bytes;
use crate::node_set::NodeSet;
use crate::types::{EntryId, Index, NodeId, Term};

/// What an entry's data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum EntryKind {
    /// A command of the state machine, or nothing (a new leader's first entry).
    #[default]
    Normal = 0,
    /// A [`ConfChange`](crate::ConfChange).
    ConfChange = 1,
    /// A [`ConfChangeV2`](crate::ConfChangeV2).
    ConfChangeV2 = 2,
}

/// One entry of the log. Cloning shares the data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// What the data is.
    pub kind: EntryKind,
    /// The term of the leader that appended it.
    pub term: Term,
    /// Where it stands in the log.
    pub index: Index,
    /// The command.
    pub data: Bytes,
}

impl Entry {
    /// A command that has no place in the log yet.
    pub fn normal(data: impl Into<Bytes>) -> Entry {
        Entry { data: data.into(), ..Entry::default() }
    }

    /// Bytes that the entry takes as a raftpb message, which is what limits count. Fields at
    /// their default are left out, term and index excepted.
    pub fn size(&self) -> u64 {
        let kind = if self.kind == EntryKind::Normal { 0 } else { 2 };
        let data = match self.data.len() as u64 {
            0 => 0,
            length => 1 + varint_bytes(length) + length,
        };
        kind + 1 + varint_bytes(self.term.0) + 1 + varint_bytes(self.index.0) + data
    }

    /// Bytes of the command alone.
    pub fn payload_size(&self) -> u64 {
        self.data.len() as u64
    }

    /// The entry's name.
    pub fn id(&self) -> EntryId {
        EntryId { term: self.term, index: self.index }
    }
}

/// The encoded size of all `entries` together, in bytes.
pub(crate) fn entries_size(entries: &[Entry]) -> u64 {
    entries.iter().map(Entry::size).sum()
}

/// The size of all commands together, in bytes.
pub(crate) fn payloads_size(entries: &[Entry]) -> u64 {
    entries.iter().map(Entry::payload_size).sum()
}

/// The longest prefix of `entries` within `max_bytes`; at least one entry if there is any, so
/// that an entry larger than the limit does not stop replication for good.
pub fn limit_size(entries: &[Entry], max_bytes: u64) -> &[Entry] {
    let mut total: u64 = 0;
    for (position, entry) in entries.iter().enumerate() {
        total = total.saturating_add(entry.size());
        if position > 0 && total > max_bytes {
            return &entries[..position];
        }
    }
    entries
}

/// A configuration as it is stored: who votes, who only listens, and the half-way state of a
/// joint change (thesis 4.3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfState {
    /// Voters; in a joint configuration those of the incoming half.
    pub voters: Vec<NodeId>,
    /// Members that receive the log but have no vote.
    pub learners: Vec<NodeId>,
    /// Voters of the outgoing half; empty unless the configuration is joint.
    pub voters_outgoing: Vec<NodeId>,
    /// Outgoing voters that become learners when the joint configuration is left.
    pub learners_next: Vec<NodeId>,
    /// Whether the leader leaves the joint configuration by itself.
    pub auto_leave: bool,
}

impl ConfState {
    /// A plain configuration.
    pub fn new(voters: Vec<NodeId>, learners: Vec<NodeId>) -> ConfState {
        ConfState { voters, learners, ..ConfState::default() }
    }

    /// Whether both describe one configuration, in whatever order.
    pub fn is_equivalent(&self, other: &ConfState) -> bool {
        fn same(left: &[NodeId], right: &[NodeId]) -> bool {
            left.iter().copied().collect::<NodeSet>() == right.iter().copied().collect::<NodeSet>()
        }
        same(&self.voters, &other.voters)
            && same(&self.learners, &other.learners)
            && same(&self.voters_outgoing, &other.voters_outgoing)
            && same(&self.learners_next, &other.learners_next)
            && self.auto_leave == other.auto_leave
    }

    /// Whether `id` is a voter or learner of any half.
    pub fn contains(&self, id: NodeId) -> bool {
        // A member staged as a learner is an outgoing voter too, so three lists are enough.
        self.voters.contains(&id)
            || self.learners.contains(&id)
            || self.voters_outgoing.contains(&id)
    }
}

/// What prefix of the log a snapshot stands for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotMetadata {
    /// The configuration at `index`.
    pub conf_state: ConfState,
    /// The last entry that the snapshot includes.
    pub index: Index,
    /// That entry's term.
    pub term: Term,
}

/// The state machine at one index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// What it stands for.
    pub metadata: SnapshotMetadata,
    /// Opaque to consensus; often empty, with the state travelling in a stream of its own.
    pub data: Bytes,
}

impl Snapshot {
    /// Whether it stands for nothing.
    pub fn is_empty(&self) -> bool {
        self.metadata.index == Index::ZERO
    }

    /// The name of the last entry that it includes.
    pub fn id(&self) -> EntryId {
        EntryId { term: self.metadata.term, index: self.metadata.index }
    }
}
