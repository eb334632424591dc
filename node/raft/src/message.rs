//! Messages between members, and between a member and its own storage.

use bytes::Bytes;

use crate::entry::{Entry, Snapshot};
use crate::types::{Index, NodeId, Term};

/// What a message asks or answers. Names and numbers are raftpb's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum MessageKind {
    /// Local: start an election.
    #[default]
    MsgHup = 0,
    /// Local: send heartbeats.
    MsgBeat = 1,
    /// Append these entries; forwarded to the leader.
    MsgProp = 2,
    /// The leader's entries, or an empty probe.
    MsgApp = 3,
    /// How far a follower's log matches, or a rejection with a hint.
    MsgAppResp = 4,
    /// A candidate asks for a vote.
    MsgVote = 5,
    /// The answer to [`MsgVote`](MessageKind::MsgVote).
    MsgVoteResp = 6,
    /// The leader's snapshot, for a follower whose next entry is compacted.
    MsgSnap = 7,
    /// The leader is alive; carries the commit index and the round of reads.
    MsgHeartbeat = 8,
    /// The follower heard it; echoes the round of reads.
    MsgHeartbeatResp = 9,
    /// Local: a message to that member was not delivered.
    MsgUnreachable = 10,
    /// Local: how the sending of a snapshot ended.
    MsgSnapStatus = 11,
    /// Local: does the leader still hear a quorum?
    MsgCheckQuorum = 12,
    /// Hand leadership to the member in `from`.
    MsgTransferLeader = 13,
    /// The leader tells a member to campaign at once.
    MsgTimeoutNow = 14,
    /// Confirm leadership and give an index to read at.
    MsgReadIndex = 15,
    /// The index to read at.
    MsgReadIndexResp = 16,
    /// Would you vote for me in a later term?
    MsgPreVote = 17,
    /// The answer to [`MsgPreVote`](MessageKind::MsgPreVote).
    MsgPreVoteResp = 18,
    /// To storage: make these entries, hard state and snapshot durable.
    MsgStorageAppend = 19,
    /// From storage: they are.
    MsgStorageAppendResp = 20,
    /// To the state machine: apply these entries.
    MsgStorageApply = 21,
    /// From the state machine: they are applied.
    MsgStorageApplyResp = 22,
    /// Local: forget who leads, so that a vote may be given before the election timeout.
    MsgForgetLeader = 23,
}

impl MessageKind {
    /// Every kind, at the position of its number.
    pub const ALL: [MessageKind; 24] = {
        use MessageKind::*;
        [
            MsgHup,
            MsgBeat,
            MsgProp,
            MsgApp,
            MsgAppResp,
            MsgVote,
            MsgVoteResp,
            MsgSnap,
            MsgHeartbeat,
            MsgHeartbeatResp,
            MsgUnreachable,
            MsgSnapStatus,
            MsgCheckQuorum,
            MsgTransferLeader,
            MsgTimeoutNow,
            MsgReadIndex,
            MsgReadIndexResp,
            MsgPreVote,
            MsgPreVoteResp,
            MsgStorageAppend,
            MsgStorageAppendResp,
            MsgStorageApply,
            MsgStorageApplyResp,
            MsgForgetLeader,
        ]
    };

    /// The kind with raftpb's `number`.
    pub fn from_number(number: u64) -> Option<MessageKind> {
        MessageKind::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// raftpb's number.
    pub fn number(self) -> u64 {
        self as u64
    }

    /// raftpb's name.
    pub fn name(self) -> &'static str {
        use MessageKind::*;
        match self {
            MsgHup => "MsgHup",
            MsgBeat => "MsgBeat",
            MsgProp => "MsgProp",
            MsgApp => "MsgApp",
            MsgAppResp => "MsgAppResp",
            MsgVote => "MsgVote",
            MsgVoteResp => "MsgVoteResp",
            MsgSnap => "MsgSnap",
            MsgHeartbeat => "MsgHeartbeat",
            MsgHeartbeatResp => "MsgHeartbeatResp",
            MsgUnreachable => "MsgUnreachable",
            MsgSnapStatus => "MsgSnapStatus",
            MsgCheckQuorum => "MsgCheckQuorum",
            MsgTransferLeader => "MsgTransferLeader",
            MsgTimeoutNow => "MsgTimeoutNow",
            MsgReadIndex => "MsgReadIndex",
            MsgReadIndexResp => "MsgReadIndexResp",
            MsgPreVote => "MsgPreVote",
            MsgPreVoteResp => "MsgPreVoteResp",
            MsgStorageAppend => "MsgStorageAppend",
            MsgStorageAppendResp => "MsgStorageAppendResp",
            MsgStorageApply => "MsgStorageApply",
            MsgStorageApplyResp => "MsgStorageApplyResp",
            MsgForgetLeader => "MsgForgetLeader",
        }
    }

    /// Whether it never travels between members.
    pub fn is_local(self) -> bool {
        use MessageKind::*;
        matches!(
            self,
            MsgHup
                | MsgBeat
                | MsgUnreachable
                | MsgSnapStatus
                | MsgCheckQuorum
                | MsgStorageAppend
                | MsgStorageAppendResp
                | MsgStorageApply
                | MsgStorageApplyResp
        )
    }

    /// Whether it answers another message, so that its sender must be a known member.
    pub fn is_response(self) -> bool {
        use MessageKind::*;
        matches!(
            self,
            MsgAppResp
                | MsgVoteResp
                | MsgHeartbeatResp
                | MsgUnreachable
                | MsgReadIndexResp
                | MsgPreVoteResp
                | MsgStorageAppendResp
                | MsgStorageApplyResp
        )
    }

    /// Whether it may only be sent once everything handed out for storage before it is durable:
    /// it acknowledges an append or gives a vote.
    pub fn is_after_append(self) -> bool {
        use MessageKind::*;
        matches!(self, MsgAppResp | MsgVoteResp | MsgPreVoteResp)
    }
}

/// One message. Fields that a kind does not use are at their default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// What it asks or answers.
    pub kind: MessageKind,
    /// The receiver.
    pub to: NodeId,
    /// The sender.
    pub from: NodeId,
    /// The sender's term; zero for what stands outside terms.
    pub term: Term,
    /// The term at `index`: of the entry before `entries` (MsgApp), of the candidate's last entry
    /// (votes), of the hint (rejections), of the last entry made durable (storage).
    pub log_term: Term,
    /// The position that the message is about, see `log_term`; for acknowledgements the last
    /// matching entry, for reads the index to wait for.
    pub index: Index,
    /// The entries.
    pub entries: Vec<Entry>,
    /// The sender's commit index.
    pub commit: Index,
    /// The vote to make durable (MsgStorageAppend).
    pub vote: NodeId,
    /// The snapshot (MsgSnap, MsgStorageAppend and its response).
    pub snapshot: Option<Snapshot>,
    /// Whether the answer is no.
    pub reject: bool,
    /// Where a rejecting follower suggests to go on.
    pub reject_hint: Index,
    /// Opaque to the receiver: the round of reads (heartbeats), or why there is an election.
    pub context: Bytes,
    /// What to deliver once the storage work is done, each to its own `to`.
    pub responses: Vec<Message>,
}

impl Message {
    /// A message of `kind` to `to` with every other field at its default.
    pub fn new(kind: MessageKind, to: NodeId) -> Message {
        Message { kind, to, ..Message::default() }
    }

    /// The hard state that a MsgStorageAppend asks to make durable, if it does.
    pub fn hard_state(&self) -> Option<crate::HardState> {
        let state = crate::HardState { term: self.term, vote: self.vote, commit: self.commit };
        (self.kind == MessageKind::MsgStorageAppend && !state.is_empty()).then_some(state)
    }
}
