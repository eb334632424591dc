//! Linearizable reads without a log entry (thesis 6.4).
//!
//! A read may go ahead at the commit index of the moment it arrived, once it is certain that this
//! member still led at that moment. Reads queue up, every heartbeat carries the length of the
//! queue so far, and a read is confirmed when a quorum has answered a heartbeat that was sent
//! after it came:
//!
//! ```text
//!   reads       1  2  3 │ 4  5         acknowledged by   a: 5   b: 3   c: 0
//!               ────────┘              quorum (2 of 3):  3   →  1, 2 and 3 are confirmed
//! ```
//! Invariants: positions only grow within a term and one leader only counts in its own term, so
//! neither an old answer nor a repeated one can confirm a read that came after the heartbeat it
//! answers; nor can an invented one, beyond what was ever sent. No read is confirmed before this
//! leader has committed an entry of its own term, for until then it may not know everything that
//! is committed.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use crate::config::ReadOnlyOption;
use crate::entry::Entry;
use crate::error::StepError;
use crate::message::{Message, MessageKind};
use crate::output::ReadState;
use crate::quorum::JointConfig;
use crate::raft::Raft;
use crate::storage::Storage;
use crate::types::{Index, NodeId, Term};

/// Reads that may wait for confirmation at a leader. Members send theirs in batches, one context
/// for many, so that even a few hundred mean that no quorum answers.
pub const READS_MAX: usize = 4096;

/// Bytes of a heartbeat's context: term and position, little-endian.
const CONTEXT_BYTES: usize = 16;

/// A read that waits for a quorum.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    from: NodeId,
    context: Bytes,
    /// The commit index when it came.
    index: Index,
}

/// The reads of one leader in one term.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadQueue {
    /// Came before the leader had committed in its term.
    early: Vec<(NodeId, Bytes)>,
    unconfirmed: VecDeque<Read>,
    /// The position of the last confirmed read.
    confirmed: u64,
    /// The highest position that each member has acknowledged.
    acknowledged: Vec<(NodeId, u64)>,
}

impl ReadQueue {
    fn len(&self) -> usize {
        self.early.len() + self.unconfirmed.len()
    }

    /// The position of the last read.
    fn position(&self) -> u64 {
        self.confirmed + self.unconfirmed.len() as u64
    }

    /// What a heartbeat must carry so that its answer confirms all reads so far; nothing if none
    /// waits.
    pub(crate) fn heartbeat_context(&self, term: Term) -> Bytes {
        if self.unconfirmed.is_empty() {
            return Bytes::new();
        }
        let mut context = BytesMut::with_capacity(CONTEXT_BYTES);
        context.put_u64_le(term.0);
        context.put_u64_le(self.position());
        context.freeze()
    }

    /// Takes in an answer that carries `context`, in `term`.
    fn acknowledge(&mut self, from: NodeId, term: Term, context: &[u8]) {
        let Ok(context) = <[u8; CONTEXT_BYTES]>::try_from(context) else { return };
        let value = u128::from_le_bytes(context);
        let (context_term, position) = (Term(value as u64), (value >> 64) as u64);
        if context_term != term || position > self.position() {
            return;
        }
        match self.acknowledged.iter_mut().find(|(id, _)| *id == from) {
            Some((_, acknowledged)) => *acknowledged = position.max(*acknowledged),
            None => self.acknowledged.push((from, position)),
        }
    }

    /// Takes out the reads that a quorum of `voters` confirms.
    fn take_confirmed(&mut self, voters: &JointConfig) -> Vec<Read> {
        let acknowledged = |id| {
            let found = self.acknowledged.iter().find(|(member, _)| *member == id);
            found.map(|(_, position)| Index(*position))
        };
        let position = voters.committed_index(acknowledged).0.min(self.position());
        let count = position.saturating_sub(self.confirmed);
        self.confirmed += count;
        self.unconfirmed.drain(..usize::try_from(count).unwrap_or(usize::MAX)).collect()
    }
}

impl<S: Storage> Raft<S> {
    /// Whether this leader knows everything that is committed.
    fn has_committed_in_term(&self) -> bool {
        self.log.term(self.log.committed) == Ok(self.term)
    }

    /// A read asked for here or at a follower.
    pub(crate) fn on_read_index(&mut self, message: Message) -> Result<(), StepError> {
        if self.reads.len() >= READS_MAX {
            return Err(StepError::TooManyReads);
        }
        let from = if message.from.is_none() { self.config.id } else { message.from };
        let context = message.entries.into_iter().next().map(|entry| entry.data);
        let read = (from, context.unwrap_or_default());
        if self.has_committed_in_term() {
            self.start_reads(vec![read]);
        } else {
            self.reads.early.push(read);
        }
        Ok(())
    }

    /// Something was committed: reads that came too early start now.
    pub(crate) fn release_reads(&mut self) {
        if !self.reads.early.is_empty() && self.has_committed_in_term() {
            let early = std::mem::take(&mut self.reads.early);
            self.start_reads(early);
        }
    }

    fn start_reads(&mut self, reads: Vec<(NodeId, Bytes)>) {
        let index = self.log.committed;
        let is_leased = self.config.read_only == ReadOnlyOption::LeaseBased && !self.lease_given_up;
        for (from, context) in reads {
            let read = Read { from, context, index };
            if is_leased {
                self.answer_read(read);
            } else {
                self.reads.unconfirmed.push_back(read);
            }
        }
        if self.reads.unconfirmed.is_empty() {
            return;
        }
        let own = self.reads.heartbeat_context(self.term);
        self.on_read_acknowledged(self.config.id, &own);
        if !self.reads.unconfirmed.is_empty() {
            self.broadcast_heartbeat();
        }
    }

    /// A member has answered a heartbeat that carried `context`.
    pub(crate) fn on_read_acknowledged(&mut self, from: NodeId, context: &[u8]) {
        self.reads.acknowledge(from, self.term, context);
        self.confirm_reads();
    }

    /// Answers the reads that the configuration in force confirms.
    pub(crate) fn confirm_reads(&mut self) {
        if self.reads.unconfirmed.is_empty() {
            return;
        }
        for read in self.reads.take_confirmed(&self.tracker.configuration.voters) {
            self.answer_read(read);
        }
    }

    fn answer_read(&mut self, read: Read) {
        let Read { from, context, index } = read;
        if from == self.config.id {
            self.read_states.push(ReadState { index, context });
            return;
        }
        let mut answer = Message::new(MessageKind::MsgReadIndexResp, from);
        answer.index = index;
        answer.entries = vec![Entry::normal(context)];
        self.send(answer);
    }
}
