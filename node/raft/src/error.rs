//! Why an input was not taken.

use crate::conf_change::DecodeError;
use crate::membership::ConfChangeError;
use crate::message::MessageKind;
use crate::types::{Index, NodeId, Term};

/// Why a proposal or message had no effect. [`StepError::is_fatal`] tells the ones after which a
/// member must not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// There is no leader, the leader is handing over, or it has too much uncommitted: try again.
    #[error("raft proposal dropped")]
    ProposalDropped,
    /// Nobody is known to lead, so nobody can confirm a read: try again.
    #[error("no leader")]
    NoLeader,
    /// A kind of message that never travels between members.
    #[error("raft: cannot step raft local message")]
    LocalMessage,
    /// An answer from somebody who is not a member.
    #[error("raft: cannot step as peer not found")]
    PeerNotFound,
    /// The message contradicts itself.
    #[error("malformed {kind:?} from {from}: {reason}")]
    Malformed {
        /// What it claims to be.
        kind: MessageKind,
        /// Who sent it.
        from: NodeId,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A proposed configuration change does not parse.
    #[error("proposed configuration change: {0}")]
    UndecodableConfChange(#[from] DecodeError),
    /// Too many reads wait for confirmation; at most [`READS_MAX`](crate::READS_MAX) may.
    #[error("too many reads are waiting for confirmation")]
    TooManyReads,
    /// The leader says that more is committed than this log holds: part of this log is lost, or
    /// the leader miscounts.
    #[error("commit index {commit} from {from} is beyond this log's end {last}")]
    CommitBeyondLog {
        /// Who said it.
        from: NodeId,
        /// What it said.
        commit: Index,
        /// The end of this log.
        last: Index,
    },
    /// A leader's entries contradict what is committed here.
    #[error("entry {index} of term {term} from {from} conflicts with a committed entry")]
    CommittedConflict {
        /// Who sent it.
        from: NodeId,
        /// The position.
        index: Index,
        /// The term of the entry sent.
        term: Term,
    },
    /// A follower acknowledges entries that this leader does not have: this log lost its end.
    #[error("{from} acknowledges index {index}, beyond this leader's end {last}")]
    AcknowledgedBeyondLog {
        /// Who acknowledged.
        from: NodeId,
        /// What.
        index: Index,
        /// The end of this log.
        last: Index,
    },
    /// Two members act as leader of one term.
    #[error("{from} acts as leader of term {term}, which {lead} leads")]
    SecondLeader {
        /// The one who sent the message.
        from: NodeId,
        /// The leader known here.
        lead: NodeId,
        /// The term.
        term: Term,
    },
    /// A snapshot carries a configuration that contradicts itself.
    #[error("configuration of the snapshot from {from}: {source}")]
    SnapshotConfState {
        /// Who sent it.
        from: NodeId,
        /// What is wrong with it.
        source: ConfChangeError,
    },
}

impl StepError {
    /// Whether the error shows that promises are broken, here or at the sender, so that this
    /// member must stop rather than guess.
    pub fn is_fatal(&self) -> bool {
        match self {
            StepError::CommitBeyondLog { .. }
            | StepError::CommittedConflict { .. }
            | StepError::AcknowledgedBeyondLog { .. }
            | StepError::SecondLeader { .. }
            | StepError::SnapshotConfState { .. } => true,
            StepError::ProposalDropped
            | StepError::NoLeader
            | StepError::LocalMessage
            | StepError::PeerNotFound
            | StepError::Malformed { .. }
            | StepError::UndecodableConfChange(_)
            | StepError::TooManyReads => false,
        }
    }
}
