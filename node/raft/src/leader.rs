//! What a leader does with messages: proposals, acknowledgements, transfers of leadership.

use crate::conf_change::{AnyConfChange, ConfChangeV2};
use crate::entry::{Entry, payloads_size};
use crate::error::StepError;
use crate::membership::Changer;
use crate::message::{Message, MessageKind};
use crate::progress::ProgressState;
use crate::raft::Raft;
use crate::replication::WhenEmpty;
use crate::storage::Storage;
use crate::types::{Index, NodeId, Term};

impl<S: Storage> Raft<S> {
    pub(crate) fn step_leader(&mut self, message: Message) -> Result<(), StepError> {
        use MessageKind::*;
        match message.kind {
            MsgProp => self.propose(message.entries),
            MsgReadIndex => self.on_read_index(message),
            MsgAppResp => self.on_append_response(&message),
            MsgHeartbeatResp => {
                self.on_heartbeat_response(&message);
                Ok(())
            }
            MsgSnapStatus => {
                self.on_snapshot_status(&message);
                Ok(())
            }
            MsgUnreachable => {
                self.on_unreachable(message.from);
                Ok(())
            }
            MsgTransferLeader => {
                self.on_transfer_leader(message.from);
                Ok(())
            }
            MsgApp | MsgHeartbeat | MsgSnap => Err(StepError::SecondLeader {
                from: message.from,
                lead: self.config.id,
                term: self.term,
            }),
            MsgBeat => {
                self.broadcast_heartbeat();
                Ok(())
            }
            MsgCheckQuorum => {
                self.check_quorum();
                Ok(())
            }
            // Late answers to its candidacy, and what concerns only followers or storage.
            MsgVoteResp | MsgPreVoteResp | MsgTimeoutNow | MsgReadIndexResp | MsgForgetLeader
            | MsgHup | MsgVote | MsgPreVote | MsgStorageAppend | MsgStorageAppendResp
            | MsgStorageApply | MsgStorageApplyResp => Ok(()),
        }
    }

    /// Appends `entries` to the log and sends them out.
    pub(crate) fn propose(&mut self, mut entries: Vec<Entry>) -> Result<(), StepError> {
        if !self.tracker.progress.contains(self.config.id) || self.lead_transferee.is_some() {
            return Err(StepError::ProposalDropped);
        }
        let mut pending = self.pending_conf_index;
        let mut index = self.log.last_index();
        for entry in &mut entries {
            index = index.next();
            let Some(change) = AnyConfChange::from_entry(entry)? else { continue };
            if self.config.disable_conf_change_validation
                || self.is_acceptable(&change.into_v2(), pending)
            {
                pending = index;
            } else {
                // Refused, but something else may be in the same message: it keeps its place.
                *entry = Entry::default();
            }
        }
        if !self.append_entries(entries) {
            return Err(StepError::ProposalDropped);
        }
        self.pending_conf_index = pending;
        self.broadcast_append();
        Ok(())
    }

    /// Whether `change` may be proposed: no other is unapplied, and it could be applied now.
    fn is_acceptable(&self, change: &ConfChangeV2, pending: Index) -> bool {
        let leaves_joint = change.changes.is_empty();
        let changer = Changer { tracker: &self.tracker, last_index: self.log.last_index() };
        pending <= self.log.applied
            && self.tracker.configuration.voters.is_joint() == leaves_joint
            && changer.apply(change).is_ok()
    }

    /// Appends `entries` to the log; false if too much is uncommitted already.
    pub(crate) fn append_entries(&mut self, mut entries: Vec<Entry>) -> bool {
        // The first entry passes at any size, and empty ones always do: a new leader's first
        // entry and the end of a joint configuration must never be refused.
        let payload = payloads_size(&entries);
        let total = self.uncommitted_bytes.saturating_add(payload);
        if self.uncommitted_bytes > 0 && payload > 0 && total > self.config.max_uncommitted_bytes {
            return false;
        }
        self.uncommitted_bytes = total;
        let mut index = self.log.last_index();
        for entry in &mut entries {
            index = index.next();
            entry.term = self.term;
            entry.index = index;
        }
        self.log.append(entries.into_iter());
        // The leader acknowledges its own entries like a follower: once they are durable.
        let mut own = Message::new(MessageKind::MsgAppResp, self.config.id);
        own.index = index;
        self.send(own);
        true
    }

    fn on_append_response(&mut self, message: &Message) -> Result<(), StepError> {
        let from = message.from;
        let last = self.log.last_index();
        if !message.reject && message.index > last && self.tracker.progress.contains(from) {
            let index = message.index;
            return Err(StepError::AcknowledgedBeyondLog { from, index, last });
        }
        if message.reject {
            self.on_append_rejected(message);
        } else {
            self.on_append_acknowledged(from, message.index);
        }
        Ok(())
    }

    fn on_append_rejected(&mut self, message: &Message) {
        // The follower names the last entry of its log that could be common, and its term. All
        // entries here behind it with a higher term cannot be in a log whose terms end lower, so
        // probing them is skipped: one probe per term at most.
        let mut hint = message.reject_hint;
        if message.log_term > Term::ZERO {
            hint = self.log.find_conflict_by_term(hint, message.log_term).index;
        }
        let Some(progress) = self.tracker.progress.get_mut(message.from) else { return };
        progress.recent_active = true;
        if progress.maybe_decrease_to(message.index, hint) {
            if progress.state == ProgressState::Replicate {
                progress.become_probe();
            }
            self.maybe_send_append(message.from, WhenEmpty::Send);
        }
    }

    fn on_append_acknowledged(&mut self, from: NodeId, index: Index) {
        let first = self.log.first_index();
        let Some(progress) = self.tracker.progress.get_mut(from) else { return };
        progress.recent_active = true;
        // An acknowledgement of what is known already still ends the probing of a follower that
        // was thought to be unreachable.
        let is_probe_answered =
            progress.match_index == index && progress.state == ProgressState::Probe;
        if !progress.maybe_update(index) && !is_probe_answered {
            return;
        }
        match progress.state {
            ProgressState::Probe => progress.become_replicate(),
            // Whatever snapshot it got, and from whom: if the log reaches from there on, it
            // catches up from the log.
            ProgressState::Snapshot if progress.match_index.next() >= first => {
                progress.become_probe();
                progress.become_replicate();
            }
            ProgressState::Snapshot => {}
            ProgressState::Replicate => progress.inflights.free_to(index),
        }
        let can_bump_commit = progress.can_bump_commit(self.log.committed);
        let match_index = progress.match_index;
        if self.maybe_commit() {
            self.broadcast_append();
        } else if from != self.config.id && can_bump_commit {
            // Not needed for progress, but it need not wait for a heartbeat to learn this.
            self.maybe_send_append(from, WhenEmpty::Send);
        }
        if from != self.config.id {
            // There may be room now for more than one message.
            while self.maybe_send_append(from, WhenEmpty::Skip) {}
        }
        if from == self.lead_transferee && match_index == self.log.last_index() {
            self.send_timeout_now(from);
        }
    }

    fn on_heartbeat_response(&mut self, message: &Message) {
        let last = self.log.last_index();
        let Some(progress) = self.tracker.progress.get_mut(message.from) else { return };
        progress.recent_active = true;
        // One append per heartbeat goes out even to a follower with a full window, so that the
        // loss of everything in flight is noticed.
        progress.append_flow_paused = false;
        if progress.match_index < last || progress.state == ProgressState::Probe {
            self.maybe_send_append(message.from, WhenEmpty::Send);
        }
        self.on_read_acknowledged(message.from, &message.context);
    }

    fn on_snapshot_status(&mut self, message: &Message) {
        let Some(progress) = self.tracker.progress.get_mut(message.from) else { return };
        if progress.state != ProgressState::Snapshot {
            return;
        }
        if message.reject {
            // Cleared first, or probing would start behind a snapshot that never arrived.
            progress.pending_snapshot = Index::ZERO;
        }
        progress.become_probe();
        // If it arrived, its acknowledgement is due; if not, the next heartbeat is soon enough.
        progress.append_flow_paused = true;
    }

    fn on_unreachable(&mut self, id: NodeId) {
        let Some(progress) = self.tracker.progress.get_mut(id) else { return };
        // Appends sent on trust are probably lost.
        if progress.state == ProgressState::Replicate {
            progress.become_probe();
        }
    }

    fn on_transfer_leader(&mut self, to: NodeId) {
        let Some(progress) = self.tracker.progress.get(to) else { return };
        if progress.is_learner || self.lead_transferee == to {
            return;
        }
        // A newer wish replaces the older one; to oneself it only ends it.
        self.lead_transferee = NodeId::NONE;
        if to == self.config.id {
            return;
        }
        let is_caught_up = progress.match_index == self.log.last_index();
        // It has to be done within one election timeout.
        self.election_elapsed = 0;
        self.lead_transferee = to;
        if is_caught_up {
            self.send_timeout_now(to);
        } else {
            self.maybe_send_append(to, WhenEmpty::Send);
        }
    }

    fn send_timeout_now(&mut self, to: NodeId) {
        self.lease_given_up = true;
        self.send(Message::new(MessageKind::MsgTimeoutNow, to));
    }
}
