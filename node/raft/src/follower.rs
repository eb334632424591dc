//! What a follower does with messages: it takes in what the leader sends, and passes on what only
//! the leader can do.

use crate::config::ReadOnlyOption;
use crate::entry::Snapshot;
use crate::error::StepError;
use crate::log::AppendRefusal;
use crate::membership::restore;
use crate::message::{Message, MessageKind};
use crate::output::ReadState;
use crate::raft::Raft;
use crate::storage::Storage;
use crate::tracker::Tracker;
use crate::types::{EntryId, NodeId};

impl<S: Storage> Raft<S> {
    pub(crate) fn step_follower(&mut self, message: Message) -> Result<(), StepError> {
        use MessageKind::*;
        match message.kind {
            MsgProp => {
                if self.lead.is_none() || self.config.disable_proposal_forwarding {
                    return Err(StepError::ProposalDropped);
                }
                self.forward(message);
            }
            MsgApp => {
                self.hear_leader(message.from)?;
                self.on_append(message)?;
            }
            MsgHeartbeat => {
                self.hear_leader(message.from)?;
                self.on_heartbeat(message)?;
            }
            MsgSnap => {
                self.hear_leader(message.from)?;
                self.on_snapshot(message)?;
            }
            MsgTransferLeader if self.lead.is_some() => self.forward(message),
            MsgForgetLeader => {
                // Under lease-based reads this would break the lease that the leader trusts.
                if self.config.read_only != ReadOnlyOption::LeaseBased {
                    self.lead = NodeId::NONE;
                }
            }
            MsgTimeoutNow => self.on_timeout_now(),
            MsgReadIndex => {
                if self.lead.is_none() {
                    return Err(StepError::NoLeader);
                }
                self.forward(message);
            }
            MsgReadIndexResp => {
                let context = message.entries.into_iter().next().map(|entry| entry.data);
                let context = context.unwrap_or_default();
                self.read_states.push(ReadState { index: message.index, context });
            }
            // Late answers to what it was before, and what concerns only leaders or storage.
            MsgTransferLeader | MsgAppResp | MsgVoteResp | MsgPreVoteResp | MsgHeartbeatResp
            | MsgUnreachable | MsgSnapStatus | MsgCheckQuorum | MsgBeat | MsgHup | MsgVote
            | MsgPreVote | MsgStorageAppend | MsgStorageAppendResp | MsgStorageApply
            | MsgStorageApplyResp => {}
        }
        Ok(())
    }

    fn forward(&mut self, mut message: Message) {
        message.to = self.lead;
        self.send(message);
    }

    fn hear_leader(&mut self, from: NodeId) -> Result<(), StepError> {
        if self.lead.is_some() && self.lead != from {
            return Err(StepError::SecondLeader { from, lead: self.lead, term: self.term });
        }
        self.election_elapsed = 0;
        self.lead = from;
        Ok(())
    }

    fn on_append(&mut self, message: Message) -> Result<(), StepError> {
        let from = message.from;
        let previous = EntryId { term: message.log_term, index: message.index };
        let mut answer = Message::new(MessageKind::MsgAppResp, from);
        if previous.index < self.log.committed {
            // What is committed is common to all logs, so this much matches in any case.
            answer.index = self.log.committed;
            self.send(answer);
            return Ok(());
        }
        match self.log.maybe_append(previous, message.entries) {
            Ok(last) => {
                let commit = message.commit.min(last);
                assert!(self.log.commit_to(commit), "what was appended just now is in the log");
                answer.index = last;
            }
            Err(AppendRefusal::Committed(EntryId { term, index })) => {
                return Err(StepError::CommittedConflict { from, index, term });
            }
            Err(AppendRefusal::Mismatch) => {
                // The last entry here that may be common: not behind the leader's, and not of a
                // term above the leader's term there.
                let last = previous.index.min(self.log.last_index());
                let hint = self.log.find_conflict_by_term(last, previous.term);
                answer.index = previous.index;
                answer.reject = true;
                answer.reject_hint = hint.index;
                answer.log_term = hint.term;
            }
        }
        self.send(answer);
        Ok(())
    }

    fn on_heartbeat(&mut self, message: Message) -> Result<(), StepError> {
        if !self.log.commit_to(message.commit) {
            return Err(StepError::CommitBeyondLog {
                from: message.from,
                commit: message.commit,
                last: self.log.last_index(),
            });
        }
        let mut answer = Message::new(MessageKind::MsgHeartbeatResp, message.from);
        answer.context = message.context;
        self.send(answer);
        Ok(())
    }

    fn on_snapshot(&mut self, message: Message) -> Result<(), StepError> {
        let from = message.from;
        let mut answer = Message::new(MessageKind::MsgAppResp, from);
        let restored = match message.snapshot {
            Some(snapshot) => self.maybe_restore(from, snapshot)?,
            None => false,
        };
        answer.index = if restored { self.log.last_index() } else { self.log.committed };
        self.send(answer);
        Ok(())
    }

    /// Puts `snapshot` in the place of log and configuration, unless it brings nothing new.
    fn maybe_restore(&mut self, from: NodeId, snapshot: Snapshot) -> Result<bool, StepError> {
        let conf_state = &snapshot.metadata.conf_state;
        if snapshot.metadata.index <= self.log.committed || !conf_state.contains(self.config.id) {
            return Ok(false);
        }
        if self.log.matches(snapshot.id()) {
            // The log has all of it, only without knowing that it is committed.
            return Ok(!self.log.commit_to(snapshot.metadata.index));
        }
        let empty = Tracker::new(self.config.max_inflight_messages, self.config.max_inflight_bytes);
        let changed = restore(&empty, snapshot.metadata.index, conf_state)
            .map_err(|source| StepError::SnapshotConfState { from, source })?;
        self.log.restore(snapshot);
        self.tracker = empty;
        self.switch_to(changed);
        Ok(true)
    }
}
