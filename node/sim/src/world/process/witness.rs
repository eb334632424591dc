//! What the member is seen to do, beside what it says: what is durable for certain, and promises
//! that only its inside shows broken.

use quorate_member::applier;
use quorate_raft::{Entry, EntryKind, Message, MessageKind, Role};
use quorate_replica::{BatchId, LogBatch, RequestId, Time};

use super::requests::Waiter;
use super::{Output, Process};
use crate::check::Rule;
use crate::history::Request;
use crate::world::machine::{ELECTION_TICKS, TICK_MS};
use crate::world::marks::Mark;

/// Milliseconds after which a leader that is awake has revoked what has ended: longer than a full
/// disk may keep it from that.
const REVOKE_MS_MAX: u64 = 15_000;

/// What a new leader adds to leases: an election timeout, in seconds.
const LEASE_GRACE_SECONDS: i64 = (ELECTION_TICKS as u64 * TICK_MS).div_ceil(1_000) as i64;

/// A batch on its way to the log.
pub(super) struct InFlight {
    batch: BatchId,
    /// The first index that it writes, if it writes entries.
    first_index: Option<u64>,
    /// What survives a crash once it is durable.
    durable: DurableLog,
}

/// What survives a crash of the member, as far as the log says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DurableLog {
    pub(crate) term: u64,
    pub(crate) vote: u64,
    pub(crate) last_index: u64,
}

impl Process {
    /// A batch is given to the log.
    pub(super) fn note_written(&mut self, batch: &LogBatch) {
        let mut durable = self.in_flight.back().map_or(self.durable, |before| before.durable);
        if let Some(state) = batch.hard_state {
            (durable.term, durable.vote) = (state.term.0, state.vote.0);
        }
        if let Some(mark) = &batch.mark {
            durable.last_index = mark.index;
        }
        if let Some(last) = batch.entries.last() {
            durable.last_index = last.index.0;
        }
        self.check_conf_changes(&batch.entries);
        let first_index = batch.entries.first().map(|entry| entry.index.0);
        self.in_flight.push_back(InFlight { batch: batch.batch, first_index, durable });
    }

    /// The log says that a batch is durable, and with it all before.
    pub(super) fn note_durable(&mut self, batch: BatchId) {
        while self.in_flight.front().is_some_and(|written| written.batch <= batch) {
            self.durable = self.in_flight.pop_front().expect("not empty").durable;
        }
    }

    /// What is durable for certain, with the shortest log that a crash can leave: batches on
    /// their way replace entries, perhaps with fewer, and may reach the disk or not.
    pub(crate) fn durable(&self) -> DurableLog {
        let on_the_way = self.in_flight.iter().map(|batch| batch.durable.last_index);
        let last_index = on_the_way.fold(self.durable.last_index, u64::min);
        DurableLog { last_index, ..self.durable }
    }

    /// Whether all that the log wrote has ended, its seal too.
    pub(crate) fn is_log_quiet(&self) -> bool {
        self.writer.log().is_quiet()
    }

    /// Whether a loss of power takes nothing from the log that says where it ends.
    pub(crate) fn is_log_proved(&self) -> bool {
        self.writer.log().is_proved()
    }

    /// A leader revokes what has ended, again if a revoke is lost. Time that it slept does not
    /// count.
    pub(super) fn check_ended_leases(&mut self, now: Time) {
        if now.since(self.ticked) > LEASE_GRACE_SECONDS.unsigned_abs() * 1_000 {
            self.awake_since = now;
        }
        self.ticked = now;
        let ended = self.replica.longest_ended_lease_ms();
        if ended > REVOKE_MS_MAX && now.since(self.awake_since) > REVOKE_MS_MAX {
            let text = format!("member {:x} leads; a lease ended {ended} ms ago", self.id);
            self.outputs.push(Output::Unsound(Rule::LeaseLate, text));
        }
    }

    /// A member applies only what its own log has durably, be it committed: what it serves and
    /// what its checkpoints hold is never ahead of the log that it would start with.
    pub(super) fn check_durable(&mut self, entries: &[Entry]) {
        let Some(last) = entries.last().map(|entry| entry.index.0) else { return };
        let writes = |batch: &&InFlight| batch.first_index.is_some_and(|first| first <= last);
        if let Some(batch) = self.in_flight.iter().find(writes) {
            let (id, first) = (self.id, batch.first_index.unwrap_or(0));
            let text = format!(
                "member {id:x} applies up to {last}, entries from {first} on are being written"
            );
            self.outputs.push(Output::Unsound(Rule::Durable, text));
        }
    }

    /// What an answer says to a peer is durable before it leaves.
    pub(super) fn check_sent(&mut self, message: &Message) {
        if let MessageKind::MsgVote | MessageKind::MsgPreVote = message.kind {
            self.check_campaign();
        }
        let durable = self.durable;
        if message.reject || durable.term > message.term.0 {
            // A refusal promises nothing, and a newer term says that this one was kept.
            return;
        }
        let broken = match message.kind {
            MessageKind::MsgVoteResp => {
                let vote = (message.term.0, message.to.0);
                ((durable.term, durable.vote) != vote).then_some(Rule::SingleVote)
            }
            MessageKind::MsgAppResp => {
                (durable.last_index < message.index.0).then_some(Rule::Durable)
            }
            _ => None,
        };
        if let Some(rule) = broken {
            let text = format!(
                "member {:x} sends {} to {:x}, term {} index {}, durable is {durable:?}",
                self.id,
                message.kind.name(),
                message.to.0,
                message.term.0,
                message.index.0
            );
            self.outputs.push(Output::Unsound(rule, text));
        }
    }

    /// A leader adds no change of the configuration while another is not applied.
    fn check_conf_changes(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        self.conf_changes.split_off(&first.index.0);
        let standing = self.replica.standing();
        for entry in entries.iter().filter(|entry| entry.kind != EntryKind::Normal) {
            let open = self.conf_changes.last().filter(|last| **last > standing.applied);
            if let Some(open) = open
                && standing.role == Role::Leader
                && entry.term.0 == standing.term
            {
                let text = format!(
                    "member {:x} leads, and changes members at {} before {open} is applied",
                    self.id, entry.index
                );
                self.outputs.push(Output::Unsound(Rule::Configuration, text));
            }
            self.conf_changes.insert(entry.index.0);
        }
    }

    /// Who has not applied a committed change does not know who may elect it.
    fn check_campaign(&mut self) {
        let standing = self.replica.standing();
        let open = self.conf_changes.range(standing.applied + 1..).next();
        if let Some(open) = open.filter(|open| **open <= standing.commit) {
            let text = format!("member {:x} campaigns before {open} is applied", self.id);
            self.outputs.push(Output::Unsound(Rule::Configuration, text));
        }
    }

    /// Raft lets vote whom the log says, no more and no fewer, once the log is applied so far.
    pub(super) fn check_configuration(&mut self) {
        if self.is_installing() || self.replica.standing().applied != self.store.applied_index() {
            return;
        }
        let is_member = self.store.members().iter().any(|member| member.id == self.id);
        if self.was_member && !is_member {
            let text = format!("member {:x} applied its removal, and goes on", self.id);
            self.outputs.push(Output::Unsound(Rule::Configuration, text));
        }
        self.was_member = is_member;
        let (raft, log) = (self.replica.configuration(), applier::conf_state(&self.store));
        if self.store.applied_index() > 0 && raft != log {
            let text = format!("member {:x} has {raft:?}, the log says {log:?}", self.id);
            self.outputs.push(Output::Unsound(Rule::Configuration, text));
        }
    }

    /// While a lease's checkpoint stands, nobody has renewed the lease: it has no more left than
    /// the checkpoint says, but for the time that a new leader gives clients to find it.
    pub(super) fn check_time_left(&mut self, request: RequestId, remaining_seconds: i64) {
        let Some(Waiter::Client(_, _, Request::LeaseTimeToLive { id, .. })) =
            self.waiting.get(&request)
        else {
            return;
        };
        let checkpoint = self.store.leases().get(*id).map_or(0, |lease| lease.remaining_seconds);
        if checkpoint > 0 && remaining_seconds > checkpoint + LEASE_GRACE_SECONDS {
            let text = format!(
                "member {:x} says that lease {id} has {remaining_seconds} s left, its checkpoint \
                 says {checkpoint} s",
                self.id
            );
            self.outputs.push(Output::Unsound(Rule::LeaseTtl, text));
        }
    }

    /// A leader renews a lease: perhaps one that an earlier leader granted.
    pub(super) fn note_renewal(&mut self, request: RequestId) {
        let Some(Waiter::Client(_, _, Request::LeaseKeepAlive { id })) = self.waiting.get(&request)
        else {
            return;
        };
        if self.granted.get(id).is_some_and(|term| *term < self.replica.standing().term) {
            self.outputs.push(Output::Reached(Mark::LeaseAcrossLeaders));
        }
    }
}
