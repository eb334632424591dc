//! What a leader sends: appends, snapshots and heartbeats (paper §5.3, §7).

use bytes::Bytes;

use crate::message::{Message, MessageKind};
use crate::progress::ProgressState;
use crate::raft::Raft;
use crate::storage::{Storage, StorageError};
use crate::types::{EntryId, NodeId, Role};

/// What to do when there are no entries to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhenEmpty {
    /// Send all the same: it carries the commit index, or probes.
    Send,
    /// Do not bother.
    Skip,
}

impl<S: Storage> Raft<S> {
    /// Sends everybody what they lack.
    pub(crate) fn broadcast_append(&mut self) {
        self.append_to_all(WhenEmpty::Send);
    }

    pub(crate) fn append_to_all(&mut self, when_empty: WhenEmpty) {
        for slot in 0..self.tracker.progress.len() {
            let id = self.tracker.progress.id_at(slot);
            if id != self.config.id {
                self.maybe_send_append(id, when_empty);
            }
        }
    }

    /// Sends `to` the entries that it lacks, as far as one message and its window allow, or a
    /// snapshot if they are compacted. Says whether something was sent.
    pub(crate) fn maybe_send_append(&mut self, to: NodeId, when_empty: WhenEmpty) -> bool {
        let Some(progress) = self.tracker.progress.get_mut(to) else { return false };
        if progress.is_paused() {
            return false;
        }
        let previous = progress.next_index.prev();
        let Ok(previous_term) = self.log.term(previous) else {
            return self.maybe_send_snapshot(to);
        };
        // With a full window an empty append still goes out, so that a follower whose appends
        // were all lost gets to reject it.
        let is_full = progress.state == ProgressState::Replicate && progress.inflights.is_full();
        let entries = if is_full {
            Ok(Vec::new())
        } else {
            self.log.entries(progress.next_index, self.config.max_message_bytes)
        };
        let entries = match entries {
            Ok(entries) if entries.is_empty() && when_empty == WhenEmpty::Skip => return false,
            Ok(entries) => entries,
            // Storage has them but not at hand: the next heartbeat's answer tries again.
            Err(StorageError::Unavailable) => return false,
            Err(_) if when_empty == WhenEmpty::Skip => return false,
            Err(_) => return self.maybe_send_snapshot(to),
        };
        let payload = crate::entry::payloads_size(&entries);
        progress.on_sent_entries(entries.len() as u64, payload);
        progress.sent_commit = self.log.committed;
        let mut message = Message::new(MessageKind::MsgApp, to);
        message.index = previous;
        message.log_term = previous_term;
        message.entries = entries;
        message.commit = self.log.committed;
        self.send(message);
        true
    }

    /// Sends `to` a snapshot, if there is one and somebody seems to be there to receive it.
    fn maybe_send_snapshot(&mut self, to: NodeId) -> bool {
        let snapshot = match &self.log.unstable.snapshot {
            Some(snapshot) => Ok(snapshot.clone()),
            None => self.log.storage.snapshot(),
        };
        let Some(progress) = self.tracker.progress.get_mut(to) else { return false };
        let Ok(snapshot) = snapshot else { return false };
        if !progress.recent_active || snapshot.is_empty() {
            return false;
        }
        progress.become_snapshot(snapshot.metadata.index);
        let mut message = Message::new(MessageKind::MsgSnap, to);
        message.snapshot = Some(snapshot);
        self.send(message);
        true
    }

    /// Tells everybody that this leader lives; the answers also confirm the reads that wait.
    pub(crate) fn broadcast_heartbeat(&mut self) {
        let context = self.reads.heartbeat_context(self.term);
        for slot in 0..self.tracker.progress.len() {
            let id = self.tracker.progress.id_at(slot);
            if id != self.config.id {
                self.send_heartbeat(id, context.clone());
            }
        }
    }

    fn send_heartbeat(&mut self, to: NodeId, context: Bytes) {
        let Some(progress) = self.tracker.progress.get_mut(to) else { return };
        // Beyond its match the follower's log may differ from this one, and must not be
        // committed there.
        let commit = progress.match_index.min(self.log.committed);
        progress.sent_commit = commit;
        let mut message = Message::new(MessageKind::MsgHeartbeat, to);
        message.commit = commit;
        message.context = context;
        self.send(message);
    }

    /// Commits what a quorum has by now; says whether that was more than before.
    pub(crate) fn maybe_commit(&mut self) -> bool {
        let id = EntryId { term: self.term, index: self.tracker.committed() };
        let advanced = self.log.maybe_commit(id);
        if advanced {
            self.release_reads();
        }
        advanced
    }

    /// Notes that `id` lost a part of its log that it had acknowledged. Nothing that is committed
    /// becomes uncommitted by that, but it no longer counts towards committing more until it
    /// has acknowledged again.
    pub(crate) fn reset_progress(&mut self, id: NodeId) {
        if self.role != Role::Leader || id == self.config.id {
            return;
        }
        let next = self.log.last_index().next();
        let Some(progress) = self.tracker.progress.get_mut(id) else { return };
        progress.forget(next);
        if self.lead_transferee == id {
            self.lead_transferee = NodeId::NONE;
        }
        self.maybe_send_append(id, WhenEmpty::Send);
    }
}
