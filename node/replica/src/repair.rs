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
//! - It acknowledges what it has, which is true, and tells a leader that counts on more.
//!
//! The floor is written into the log and stays what it is over any number of restarts: several
//! members may be under repair and start again at any moment, and as soon as one that reaches their
//! floors is there, it leads. Nobody reaches them if what some have acknowledged is on none of the
//! disks that are left: then nothing is answered, which is all that can be true.
//!
//! *A lost end.* If the newest of the log is lost, with all that would say what it was, neither the
//! floor is known nor for whom the member voted. It then goes far ahead, into a term in which none
//! of its forgotten votes can be, and its floor is any entry of a later term still:
//!
//! ```text
//!   terms:   7 (read)  8, 9 (forgotten?)         7 + 2³²              7 + 2³² + 1
//!            log in use                          this member is here   floor: its first entry
//! ```
//!
//! It cannot vote twice in a term, for it never voted above; it cannot follow a leader of a
//! forgotten term, who may have been replaced with its help; and whoever leads in a later term was
//! elected without it, by members that have everything that it may have helped to commit. A leader
//! that is there gives way, and the others elect the next.
//!
//! The leader's part: a follower it believes to hold more than it says it has is normally
//! ignored, because messages can be late. A message that carries [`LOST_LOG`] is not: the leader
//! forgets what the follower acknowledged (lowering a match never un-commits anything), and
//! sends from there on.

use bytes::Bytes;
use quorate_raft::{EntryId, Index, Message, MessageKind, NodeId, Participation, Term};

use crate::held_changes::is_change;
use crate::{Effect, Replica};

/// In the context of a rejecting `MsgAppResp`: the sender lost what it acknowledged. Members that
/// do not know it ignore the context of this message.
pub(crate) const LOST_LOG: &[u8] = b"quorate/lost-log";

/// More elections than there can have been since the newest record that is readable: one in each
/// millisecond for seven weeks.
const ELECTIONS_LOST_MAX: u64 = 1 << 32;

/// What was lost: the log must end at this entry or a later one before the member is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The last index that the member may have acknowledged.
    pub last_index: u64,
    /// The term of that entry.
    pub last_term: u64,
}

impl Repair {
    /// Of a log whose newest part is lost: the newest term that is readable is `term`. Also the term
    /// in which the member goes on, with a vote for nobody; both must be durable first.
    #[must_use]
    pub fn of_lost_end(term: u64) -> (Self, u64) {
        let term = term.saturating_add(ELECTIONS_LOST_MAX);
        (Self { last_index: 1, last_term: term.saturating_add(1) }, term)
    }

    /// Whether a log that ends so has all that was lost.
    fn is_done(&self, last: (Term, Index)) -> bool {
        last >= (Term(self.last_term), Index(self.last_index))
    }
}

impl Replica {
    /// Take part only as far as a member may whose log is damaged.
    pub(crate) fn begin_repair(&mut self) {
        let Some(repair) = self.repair else { return };
        let floor = EntryId { term: Term(repair.last_term), index: Index(repair.last_index) };
        self.node.set_participation(Participation::VotesOnly { floor });
        self.end_repair();
    }

    /// A leader counts on more than is here: the end of the log was lost, and nothing said so.
    fn begin_repair_of_lost_end(&mut self, term: Term) {
        let (repair, term) = Repair::of_lost_end(term.0.max(self.leadership.term));
        self.repair = Some(repair);
        self.repaired_by = None;
        // Durable with the new term, which is the next thing that is written.
        self.out.push(Effect::RepairBegun(repair));
        self.begin_repair();
        self.node.skip_to_term(Term(term));
    }

    /// Take part again in everything once nothing is missing.
    pub(crate) fn end_repair(&mut self) {
        let Some(repair) = self.repair else { return };
        if !repair.is_done(self.log_end()) {
            self.repaired_by = None;
            return;
        }
        // Under load there is always a batch on its way: wait for those that are now.
        let batch = *self.repaired_by.get_or_insert(self.batches.newest());
        if self.batches.is_durable(batch) {
            self.repair = None;
            self.node.set_participation(Participation::Full);
            self.out.push(Effect::RepairDone);
        }
    }

    fn log_end(&self) -> (Term, Index) {
        let log = self.node.storage();
        (log.last_term(), log.last())
    }

    /// Remind the leader of what is missing: it may have nothing to send that would tell it.
    pub(crate) fn ask_for_repair(&mut self) {
        let Some(leader) = self.leadership.leader.filter(|leader| *leader != self.config.member)
        else {
            return;
        };
        let Some(repair) = self.repair else { return };
        let (last_term, last) = self.log_end();
        if repair.is_done((last_term, last)) {
            // Only the disk is waited for.
            return;
        }
        let message = Message {
            kind: MessageKind::MsgAppResp,
            from: self.config.member,
            to: leader,
            term: Term(self.leadership.term),
            index: last + 1,
            reject: true,
            reject_hint: last,
            log_term: last_term,
            context: Bytes::from_static(LOST_LOG),
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
    fn help_repair(&mut self, member: NodeId, last: Index) {
        if self.is_leader() && self.matched(member) > last.0 {
            self.node.reset_progress(member);
        }
    }

    /// Hear a peer.
    pub(crate) fn on_message(&mut self, mut message: Message) {
        let is_refusal = message.kind == MessageKind::MsgAppResp && message.reject;
        if is_refusal && message.context == LOST_LOG {
            message.context = Bytes::new();
            if message.term.0 == self.leadership.term {
                self.help_repair(message.from, message.reject_hint);
            }
        }
        if message.kind == MessageKind::MsgHeartbeat {
            if self.repair.is_none() && self.lacks_acknowledged(&message) {
                return self.begin_repair_of_lost_end(message.term);
            }
            if self.repair.is_some() {
                // The leader still counts on entries that are gone: what stands in their place may
                // be what they once replaced. Only appends say which entries are meant.
                let known = self.node.basic_status().hard_state.commit;
                message.commit = message.commit.min(known);
            }
        }
        if is_change(&message) {
            self.propose_change(message);
            return;
        }
        self.step(message);
    }

    /// Whether a leader knows to be committed, and that this member has it, what it has not. A
    /// heartbeat never says more than its receiver has acknowledged to that leader.
    fn lacks_acknowledged(&self, heartbeat: &Message) -> bool {
        heartbeat.term.0 >= self.node.basic_status().hard_state.term.0
            && heartbeat.commit > self.node.raft().last_index()
    }
}
