//! A member whose log lost entries that it may have acknowledged.
//!
//! Its word was counted: somewhere an entry may be committed because this member had it. Until it
//! has everything again it must act as if it still had:
//!
//! ```text
//!   log on disk:   1 … 40 │ damaged │ 57 … 60 (read, or known from headers)
//!   log in use:    1 … 40 │
//!   floor:                                 60 at its term
//! ```
//!
//! - It does not campaign: its log is shorter than what it stands for.
//! - It votes only for candidates whose log reaches the *floor*: Raft's own rule, for the log
//!   that it had. So two members still elect a complete third.
//! - If its newest hard state may be lost too, it does not know whom it voted for: it votes for
//!   nobody until a leader of a later term has shown that such votes are history.
//! - It acknowledges what it has, which is true, and tells a leader that counts on more.
//!
//! The leader's part: a follower it believes to hold more than it says it has is normally
//! ignored, because messages can be late. A message that carries [`LOST_LOG`] is not: the leader
//! forgets what the follower acknowledged (lowering a match never un-commits anything), and
//! sends from there on.

use bytes::Bytes;
use quorate_raft::{EntryId, Index, Message, MessageKind, Participation, Term};

use crate::Replica;

/// In the context of a rejecting `MsgAppResp`: the sender lost what it acknowledged. Members that
/// do not know it ignore the context of this message.
pub(crate) const LOST_LOG: &[u8] = b"quorate/lost-log";

/// What was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The last index that the member may have acknowledged.
    pub last_index: u64,
    /// The term of that entry, or the highest term that the log names if it is unknown.
    pub last_term: u64,
    /// Whether the member knows whom it voted for last.
    pub vote: VoteMemory,
}

/// Whether a damaged log still told the newest hard state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteMemory {
    /// It did.
    Certain,
    /// It may have lost a vote in this term or a later one.
    UncertainFrom(u64),
}

impl Repair {
    /// Whether a log that ends so, under a leader of `term`, has all that was lost.
    pub(crate) fn is_done(&self, last: (Term, Index), term: Term) -> bool {
        let complete = last >= (Term(self.last_term), Index(self.last_index));
        match self.vote {
            VoteMemory::Certain => complete,
            VoteMemory::UncertainFrom(lost) => complete && term.0 > lost,
        }
    }
}

impl Replica {
    /// Take part only as far as a member may whose log is damaged.
    pub(crate) fn begin_repair(&mut self) {
        let Some(repair) = self.repair else { return };
        let participation = match repair.vote {
            VoteMemory::Certain => Participation::VotesOnly {
                floor: EntryId { term: Term(repair.last_term), index: Index(repair.last_index) },
            },
            VoteMemory::UncertainFrom(_) => Participation::Passive,
        };
        self.node.set_participation(participation);
        self.end_repair();
    }

    /// Take part again in everything once nothing is missing.
    pub(crate) fn end_repair(&mut self) {
        let Some(repair) = self.repair else { return };
        if self.batches.oldest().is_some() {
            return;
        }
        let log = self.node.storage();
        let last = (log.last_term(), log.last());
        if repair.is_done(last, Term(self.leadership.term)) {
            self.repair = None;
            self.node.set_participation(Participation::Full);
            self.out.push(crate::Effect::RepairDone);
        }
    }

    /// Remind the leader of what is missing: it may have nothing to send that would tell it.
    pub(crate) fn ask_for_repair(&mut self) {
        let Some(leader) = self.leadership.leader.filter(|leader| *leader != self.config.member)
        else {
            return;
        };
        if self.repair.is_none() {
            return;
        }
        let log = self.node.storage();
        let message = Message {
            kind: MessageKind::MsgAppResp,
            from: self.config.member,
            to: leader,
            term: Term(self.leadership.term),
            index: log.last() + 1,
            reject: true,
            reject_hint: log.last(),
            log_term: log.last_term(),
            ..Message::default()
        };
        self.send(message, None);
    }

    /// Make a refusal say that its sender lost what it acknowledged.
    pub(crate) fn mark_lost_log(&self, mut message: Message) -> Message {
        if self.repair.is_some() && message.kind == MessageKind::MsgAppResp && message.reject {
            message.context = Bytes::from_static(LOST_LOG);
        }
        message
    }

    /// Hear a peer.
    pub(crate) fn on_message(&mut self, mut message: Message) {
        let lost = message.kind == MessageKind::MsgAppResp
            && message.reject
            && message.context == LOST_LOG;
        if lost {
            message.context = Bytes::new();
            if message.term.0 == self.leadership.term
                && self.matched(message.from) > message.reject_hint.0
            {
                self.node.reset_progress(message.from);
            }
        }
        if self.repair.is_some() && message.kind == MessageKind::MsgHeartbeat {
            // The leader still counts on entries that are gone: what stands in their place may be
            // what they once replaced. Only appends say which entries are meant.
            message.commit = message.commit.min(self.node.basic_status().hard_state.commit);
        }
        self.step(message);
    }
}
