//! Configuration changes as they stand in the log, in raftpb's encoding.
//!
//! A change of one member is *simple*; a change of several goes through a *joint* configuration
//! that needs both majorities, and is left by an empty change (thesis 4.3). The older
//! [`ConfChange`] carries one change; every change can be seen as a [`ConfChangeV2`].

pub(crate) mod encoding;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::entry::{Entry, EntryKind};
use crate::types::NodeId;

pub use encoding::DecodeError;

/// What happens to one member. The numbers are raftpb's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum ConfChangeKind {
    /// It becomes a voter.
    #[default]
    AddNode = 0,
    /// It is removed.
    RemoveNode = 1,
    /// Nothing that concerns consensus (its address, say).
    UpdateNode = 2,
    /// It becomes a learner.
    AddLearnerNode = 3,
}

/// Whether and how a change goes through a joint configuration. The numbers are raftpb's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum ConfChangeTransition {
    /// Joint only if there is more than one change, and left automatically.
    #[default]
    Auto = 0,
    /// Joint, and left automatically.
    JointImplicit = 1,
    /// Joint, and left when an empty change is proposed.
    JointExplicit = 2,
}

/// One member's change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConfChangeSingle {
    /// What happens.
    pub kind: ConfChangeKind,
    /// To whom; zero for a change that was refused after it was committed.
    pub node_id: NodeId,
}

/// The change of one member, in its older form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfChange {
    /// The proposer's number for it.
    pub id: u64,
    /// What happens.
    pub kind: ConfChangeKind,
    /// To whom.
    pub node_id: NodeId,
    /// Opaque to consensus.
    pub context: Bytes,
}

impl ConfChange {
    /// The same change in the newer form.
    pub fn into_v2(self) -> ConfChangeV2 {
        ConfChangeV2 {
            transition: ConfChangeTransition::Auto,
            changes: vec![ConfChangeSingle { kind: self.kind, node_id: self.node_id }],
            context: self.context,
        }
    }
}

/// A change of any number of members; without any, the end of a joint configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfChangeV2 {
    /// How.
    pub transition: ConfChangeTransition,
    /// Who.
    pub changes: Vec<ConfChangeSingle>,
    /// Opaque to consensus.
    pub context: Bytes,
}

/// What has to be done to apply a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Procedure {
    Simple,
    EnterJoint(AutoLeave),
    LeaveJoint,
}

/// Who ends a joint configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoLeave {
    /// The leader, as soon as the joint configuration is applied.
    Yes,
    /// Whoever proposes an empty change.
    No,
}

impl ConfChangeV2 {
    /// How the change is applied.
    pub(crate) fn procedure(&self) -> Procedure {
        match (self.transition, self.changes.len()) {
            (ConfChangeTransition::Auto, 0) => Procedure::LeaveJoint,
            (ConfChangeTransition::Auto, 1) => Procedure::Simple,
            (ConfChangeTransition::Auto | ConfChangeTransition::JointImplicit, _) => {
                Procedure::EnterJoint(AutoLeave::Yes)
            }
            (ConfChangeTransition::JointExplicit, _) => Procedure::EnterJoint(AutoLeave::No),
        }
    }
}

/// A change in either form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnyConfChange {
    /// The older form.
    V1(ConfChange),
    /// The newer form.
    V2(ConfChangeV2),
}

impl From<ConfChange> for AnyConfChange {
    fn from(change: ConfChange) -> AnyConfChange {
        AnyConfChange::V1(change)
    }
}

impl From<ConfChangeV2> for AnyConfChange {
    fn from(change: ConfChangeV2) -> AnyConfChange {
        AnyConfChange::V2(change)
    }
}

impl AnyConfChange {
    /// The change that `entry` carries; `None` if it is a normal entry.
    pub fn from_entry(entry: &Entry) -> Result<Option<AnyConfChange>, DecodeError> {
        match entry.kind {
            EntryKind::Normal => Ok(None),
            EntryKind::ConfChange => Ok(Some(AnyConfChange::V1(ConfChange::decode(&entry.data)?))),
            EntryKind::ConfChangeV2 => {
                Ok(Some(AnyConfChange::V2(ConfChangeV2::decode(&entry.data)?)))
            }
        }
    }

    /// The entry that carries the change, without a place in the log yet.
    pub fn to_entry(&self) -> Entry {
        let (kind, data) = match self {
            AnyConfChange::V1(change) => (EntryKind::ConfChange, change.encode()),
            AnyConfChange::V2(change) => (EntryKind::ConfChangeV2, change.encode()),
        };
        Entry { kind, data, ..Entry::default() }
    }

    /// The change in the newer form.
    pub fn into_v2(self) -> ConfChangeV2 {
        match self {
            AnyConfChange::V1(change) => change.into_v2(),
            AnyConfChange::V2(change) => change,
        }
    }
}
