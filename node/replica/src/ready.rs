//! From Raft's output to effects, and from their completion back to Raft.
//!
//! Raft describes work as messages to two local workers, with the answers that follow from its
//! completion already written:
//!
//! ```text
//!   MsgStorageAppend{entries, hard state, snapshot; responses}
//!        ├─► Persist (one batch) ── Persisted ──► responses to itself are stepped
//!        └─► responses to peers: Send { after: that batch }
//!   MsgStorageApply{entries; responses}
//!        └─► Apply ── Applied ──► configuration changes, then responses are stepped
//! ```
//!
//! A change of the commit index alone is not worth a write: it travels with the next batch. What
//! answers to nothing new still waits for the batches before it.

use std::collections::VecDeque;

use quorate_raft::{
    ConfChange, ConfChangeV2, Entry, EntryKind, HardState, Message, MessageKind, NodeId, Ready,
    SnapshotMetadata, SnapshotStatus,
};

use crate::Replica;
use crate::Time;
use crate::effect::{BatchId, Effect, Halt, LogBatch, LogMark};
use crate::event::{ConfChangeVerdict, Facts};
use crate::snapshots::log_cut;

/// Batches on their way to the disk.
#[derive(Debug)]
pub(crate) struct Batches {
    next: u64,
    pending: VecDeque<PendingBatch>,
    /// The newest hard state; on disk or in a batch unless only its commit differs.
    hard_state: HardState,
    /// Batches behind a snapshot that the store does not have yet.
    held: Option<Held>,
}

#[derive(Debug)]
struct PendingBatch {
    batch: BatchId,
    since: Time,
    to_self: Vec<Message>,
}

#[derive(Debug)]
struct Held {
    index: u64,
    batches: Vec<LogBatch>,
}

/// Entries at the store.
#[derive(Debug)]
pub(crate) struct Applying {
    last: u64,
    responses: Vec<Message>,
    conf_changes: VecDeque<Entry>,
}

impl Batches {
    pub(crate) fn new(hard_state: HardState) -> Self {
        Self { next: 0, pending: VecDeque::new(), hard_state, held: None }
    }

    /// The newest batch, durable or not.
    pub(crate) fn newest(&self) -> BatchId {
        BatchId(self.next)
    }

    /// Whether all batches up to this one are durable.
    pub(crate) fn is_durable(&self, batch: BatchId) -> bool {
        self.pending.front().is_none_or(|pending| pending.batch > batch)
    }

    /// When the oldest batch that is not durable was handed out.
    pub(crate) fn oldest(&self) -> Option<Time> {
        self.pending.front().map(|batch| batch.since)
    }

    fn last_pending(&mut self) -> Option<&mut PendingBatch> {
        self.pending.back_mut()
    }
}

impl Replica {
    /// Turn all that Raft has ready into effects.
    pub(crate) fn drain_ready(&mut self) {
        while !self.halted && self.node.has_ready() {
            let ready = self.node.ready();
            self.on_ready(ready);
        }
        if self.node.storage_mut().take_wanted() && self.snapshots.on_wanted() {
            self.out.push(Effect::PinSnapshot);
        }
    }

    fn on_ready(&mut self, ready: Ready) {
        self.note_leadership();
        for read in ready.read_states {
            self.reads.on_confirmed(&read.context, read.index.0);
        }
        let mut to_self = Vec::new();
        for message in ready.messages {
            if message.to == NodeId::APPEND_THREAD {
                self.on_storage_append(message, &mut to_self);
            } else if message.to == NodeId::APPLY_THREAD {
                self.on_storage_apply(message);
            } else {
                self.send(message, None);
            }
        }
        for message in to_self {
            self.step(message);
        }
        self.finish_reads();
    }

    /// Hear that the log's batches up to this one are durable.
    pub(crate) fn on_persisted(&mut self, batch: BatchId) {
        while self.batches.pending.front().is_some_and(|pending| pending.batch <= batch) {
            let Some(pending) = self.batches.pending.pop_front() else { return };
            for message in pending.to_self {
                self.step(message);
            }
        }
        self.end_repair();
    }

    /// Configuration changes and Raft's own bookkeeping for what the store has applied.
    pub(crate) fn on_applied_entries(&mut self, verdicts: &[(u64, ConfChangeVerdict)]) {
        for &(index, verdict) in verdicts {
            let change = self.applying.iter_mut().find_map(|chunk| {
                let first = chunk.conf_changes.front()?;
                (first.index.0 == index).then(|| chunk.conf_changes.pop_front())?
            });
            if let Some(entry) = change {
                self.apply_conf_change(&entry, verdict);
            }
        }
        while self.applying.front().is_some_and(|chunk| chunk.last <= self.applied) {
            let Some(chunk) = self.applying.pop_front() else { return };
            for message in chunk.responses {
                self.step(message);
            }
        }
    }

    /// The store is what a snapshot says: the log may start anew behind it.
    pub(crate) fn on_snapshot_installed(&mut self, index: u64, facts: Facts) {
        self.applied = self.applied.max(index);
        self.set_facts(facts);
        self.note_lost_proposals();
        self.finish_reads();
        // If a newer snapshot came meanwhile, its batch and all behind it go on waiting.
        let is_newest = self.batches.held.as_ref().is_some_and(|held| held.index == index);
        if is_newest && let Some(held) = self.batches.held.take() {
            self.out.extend(held.batches.into_iter().map(Effect::Persist));
        }
    }

    /// Hand a message to Raft.
    pub(crate) fn step(&mut self, message: Message) {
        if let Err(error) = self.node.step(message)
            && error.is_fatal()
        {
            self.halt(Halt::Broken(error.to_string()));
        }
    }

    /// Keep the log in memory short.
    pub(crate) fn cut_log(&mut self) {
        let log = self.node.storage();
        let offered = log.offer().map(|metadata| metadata.index.0);
        let bytes_max = self.config.log_bytes_max;
        let half = (log.bytes() > bytes_max).then(|| log.first_of_newest(bytes_max / 2).0);
        let cut = log_cut(&self.config, log.first().0, self.applied, half, offered);
        if let Some(cut) = cut {
            self.node.storage_mut().compact(quorate_raft::Index(cut));
        }
    }

    pub(crate) fn send(&mut self, message: Message, after: Option<BatchId>) {
        let message = Box::new(self.mark_lost_log(message));
        if message.kind == MessageKind::MsgSnap {
            if !names_receiver(&message) {
                return self.renew_offer(message.to);
            }
            self.snapshots.on_sending(message.to);
            self.out.push(Effect::SendSnapshot { message });
        } else {
            self.out.push(Effect::Send { message, after });
        }
    }

    /// The pinned state is older than the receiver's membership, and its receiver would not take
    /// it: another is needed.
    fn renew_offer(&mut self, to: NodeId) {
        self.node.storage_mut().set_offer(None);
        self.node.report_snapshot(to, SnapshotStatus::Failure);
        if self.snapshots.on_wanted() {
            self.out.push(Effect::PinSnapshot);
        }
    }

    fn on_storage_append(&mut self, message: Message, to_self: &mut Vec<Message>) {
        let hard_state = message.hard_state();
        let Message { entries, snapshot, responses, .. } = message;
        self.persist(hard_state, entries, snapshot.map(|snapshot| snapshot.metadata));
        let after = self.batches.last_pending().map(|pending| pending.batch);
        for response in responses {
            if response.to != self.config.member {
                self.send(response, after);
            } else if let Some(pending) = self.batches.last_pending() {
                pending.to_self.push(response);
            } else {
                to_self.push(response);
            }
        }
    }

    /// Write what must be durable, if anything must.
    fn persist(
        &mut self,
        hard_state: Option<HardState>,
        entries: Vec<Entry>,
        snapshot: Option<SnapshotMetadata>,
    ) {
        let known = self.batches.hard_state;
        let newest = hard_state.unwrap_or(known);
        self.batches.hard_state = newest;
        let is_vote_new = (newest.term, newest.vote) != (known.term, known.vote);
        if entries.is_empty() && snapshot.is_none() && !is_vote_new {
            return;
        }
        self.batches.next += 1;
        let batch = BatchId(self.batches.next);
        let since = self.now;
        self.batches.pending.push_back(PendingBatch { batch, since, to_self: Vec::new() });
        let mark = snapshot.as_ref().map(|metadata| LogMark {
            index: metadata.index.0,
            term: metadata.term.0,
            conf_state: metadata.conf_state.clone(),
        });
        if let Some(metadata) = &snapshot {
            self.node.storage_mut().restart_at(metadata);
        }
        self.node.storage_mut().append(&entries);
        let record = LogBatch { batch, hard_state: Some(newest), mark, entries };
        if let Some(metadata) = snapshot {
            let held = self.batches.held.take().map_or_else(Vec::new, |held| held.batches);
            self.batches.held = Some(Held { index: metadata.index.0, batches: held });
            self.out.push(Effect::InstallSnapshot(metadata));
        }
        match &mut self.batches.held {
            Some(held) => held.batches.push(record),
            None => self.out.push(Effect::Persist(record)),
        }
    }

    fn on_storage_apply(&mut self, message: Message) {
        let Some(last) = message.entries.last() else { return };
        let conf_changes = message
            .entries
            .iter()
            .filter(|entry| entry.kind != EntryKind::Normal)
            .cloned()
            .collect();
        let (last, responses) = (last.index.0, message.responses);
        self.applying.push_back(Applying { last, responses, conf_changes });
        self.out.push(Effect::Apply(message.entries));
    }

    fn apply_conf_change(&mut self, entry: &Entry, verdict: ConfChangeVerdict) {
        let decoded = match entry.kind {
            EntryKind::Normal => return,
            EntryKind::ConfChange => ConfChange::decode(&entry.data).map(ConfChange::into_v2),
            EntryKind::ConfChangeV2 => ConfChangeV2::decode(&entry.data),
        };
        let Ok(mut change) = decoded else {
            return self.halt(Halt::Broken(format!(
                "the configuration change at index {} cannot be read",
                entry.index
            )));
        };
        if verdict == ConfChangeVerdict::Rejected {
            // Raft must hear of it all the same, as of a change that changes nobody.
            for single in &mut change.changes {
                single.node_id = NodeId::NONE;
            }
        }
        let removes_self = change.changes.iter().any(|single| {
            single.node_id == self.config.member
                && single.kind == quorate_raft::ConfChangeKind::RemoveNode
        });
        if let Err(error) = self.node.apply_conf_change(&change) {
            let index = entry.index;
            let text = format!("the configuration change at index {index} cannot be: {error}");
            return self.halt(Halt::Broken(text));
        }
        if removes_self {
            self.halt_when_drained();
        }
    }

    /// The member was removed: what it knows of the commit goes out first.
    fn halt_when_drained(&mut self) {
        self.drain_ready();
        self.halt(Halt::Removed);
    }

    fn note_leadership(&mut self) {
        let status = self.node.basic_status();
        let leader = Some(status.soft_state.lead).filter(|lead| lead.is_some());
        let term = status.hard_state.term.0;
        let known = self.leadership;
        if known.leader == leader && known.term == term {
            return;
        }
        let is_self = leader == Some(self.config.member);
        if known.is_self && (!is_self || known.term != term) {
            self.leases.stop();
        }
        self.leadership.leader = leader;
        self.leadership.term = term;
        self.leadership.is_self = is_self;
        if known.leader != leader {
            self.leadership.since = self.now;
        }
        self.reads.restart_attempts();
        self.out.push(Effect::Leadership { leader, term });
        self.ask_ended_renewals_again();
        self.pass_on_lease_questions();
        self.propose_held_changes();
        self.finish_transfers();
    }

    /// A new leader counts its leases' time from the moment it has applied an entry of its own
    /// term: by then it has seen all that earlier leaders did to them.
    pub(crate) fn start_lease_clock(&mut self) {
        if !self.leadership.is_self || self.leases.is_running() {
            return;
        }
        let applied = quorate_raft::Index(self.applied);
        let term = quorate_raft::Storage::term(self.node.storage(), applied);
        if term.is_ok_and(|term| term.0 == self.leadership.term) {
            self.leases.start(self.now, self.config.election_timeout_ms());
        }
    }
}

/// Whether a snapshot message's configuration has its receiver.
fn names_receiver(message: &Message) -> bool {
    message.snapshot.as_ref().is_none_or(|snapshot| {
        let state = &snapshot.metadata.conf_state;
        let mut members = state.voters.iter().chain(&state.learners).chain(&state.voters_outgoing);
        members.any(|member| *member == message.to)
    })
}
