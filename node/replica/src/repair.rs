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
//! sends from there on. To a follower that lacks nothing but a later term it gives one: it hands
//! over to a third member.

use bytes::Bytes;
use quorate_raft::{EntryId, Index, Message, MessageKind, NodeId, Participation, Term};

use crate::Replica;

/// In the context of a rejecting `MsgAppResp`: the sender lost what it acknowledged. Members that
/// do not know it ignore the context of this message.
pub(crate) const LOST_LOG: &[u8] = b"quorate/lost-log";

/// Likewise, and the sender has everything again but a leader of a later term: only then are the
/// votes that it may have forgotten history. In a quiet cluster there would never be one.
pub(crate) const LOST_VOTE: &[u8] = b"quorate/lost-vote";

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

/// What a member under repair says it lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    /// Entries that it had.
    Entries,
    /// Only a leader of a later term.
    LaterTerm,
}

impl Repair {
    /// Whether a log that ends so, under a leader of `term`, has all that was lost.
    pub(crate) fn is_done(&self, last: (Term, Index), term: Term) -> bool {
        let is_vote_known = match self.vote {
            VoteMemory::Certain => true,
            VoteMemory::UncertainFrom(lost) => term.0 > lost,
        };
        is_vote_known && self.is_complete(last)
    }

    fn is_complete(&self, last: (Term, Index)) -> bool {
        last >= (Term(self.last_term), Index(self.last_index))
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
        let log = self.node.storage();
        let last = (log.last_term(), log.last());
        if !repair.is_done(last, Term(self.leadership.term)) {
            self.repaired_by = None;
            return;
        }
        // Under load there is always a batch on its way: wait for those that are now.
        let batch = *self.repaired_by.get_or_insert(self.batches.newest());
        if self.batches.is_durable(batch) {
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
        let Some(repair) = self.repair else { return };
        let log = self.node.storage();
        let last = (log.last_term(), log.last());
        if repair.is_done(last, Term(self.leadership.term)) {
            // Only the disk is waited for.
            return;
        }
        let is_complete = repair.is_complete(last);
        let message = Message {
            kind: MessageKind::MsgAppResp,
            from: self.config.member,
            to: leader,
            term: Term(self.leadership.term),
            index: log.last() + 1,
            reject: true,
            reject_hint: log.last(),
            log_term: log.last_term(),
            context: Bytes::from_static(if is_complete { LOST_VOTE } else { LOST_LOG }),
            ..Message::default()
        };
        self.send(message, None);
    }

    /// Make a refusal say that its sender lost what it acknowledged.
    pub(crate) fn mark_lost_log(&self, mut message: Message) -> Message {
        let is_refusal = message.kind == MessageKind::MsgAppResp && message.reject;
        if self.repair.is_some() && is_refusal && message.context.is_empty() {
            message.context = Bytes::from_static(LOST_LOG);
        }
        message
    }

    /// What a leader does for a member under repair whose log ends at `last`.
    fn help_repair(&mut self, member: NodeId, last: Index, lacks: Lack) {
        if !self.is_leader() {
            return;
        }
        let matched = self.matched(member);
        if matched > last.0 {
            return self.node.reset_progress(member);
        }
        if lacks == Lack::LaterTerm {
            self.hand_over_for_repair(member);
        }
    }

    /// Let another lead, in a later term. Whoever does not take over is followed by the next.
    fn hand_over_for_repair(&mut self, member: NodeId) {
        let others = self.membership.connected_voters_except(member);
        let turn = self.now.0 / self.config.election_timeout_ms().max(1);
        let count = others.len().max(1) as u64;
        let next = usize::try_from(turn % count).ok().and_then(|at| others.get(at));
        if let Some(&next) = next {
            self.node.transfer_leadership(next);
        }
    }

    /// Hear a peer.
    pub(crate) fn on_message(&mut self, mut message: Message) {
        let is_refusal = message.kind == MessageKind::MsgAppResp && message.reject;
        let lacks_vote = is_refusal && message.context == LOST_VOTE;
        if lacks_vote || (is_refusal && message.context == LOST_LOG) {
            message.context = Bytes::new();
            if message.term.0 == self.leadership.term {
                let lacks = if lacks_vote { Lack::LaterTerm } else { Lack::Entries };
                self.help_repair(message.from, message.reject_hint, lacks);
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
