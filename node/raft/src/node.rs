//! The member as its caller handles it: inputs in, [`Ready`] out.

use bytes::Bytes;

use crate::conf_change::{AnyConfChange, ConfChangeV2};
use crate::config::{Config, ConfigError};
use crate::entry::{ConfState, Entry, entries_size, payloads_size};
use crate::error::StepError;
use crate::membership::ConfChangeError;
use crate::message::{Message, MessageKind};
use crate::output::Ready;
use crate::raft::Raft;
use crate::status::{BasicStatus, Status};
use crate::storage::Storage;
use crate::types::{EntryId, HardState, Index, NodeId, Participation, Role, SoftState, Term};

/// How the sending of a snapshot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotStatus {
    /// The follower has it.
    Finish,
    /// It did not arrive.
    Failure,
}

/// Entries that are being applied, for [`RawNode::advance`] to report.
struct Applying {
    last: Index,
    bytes: u64,
    payload: u64,
}

/// One member, driven by its caller:
///
/// ```text
///   tick, step, propose, read_index, …        (as often as they come)
///   while has_ready():
///       ready()   →  write, sync, send, apply
///       advance() →  or, with asynchronous storage, deliver the responses when they are due
/// ```
pub struct RawNode<S> {
    raft: Raft<S>,
    given_soft_state: SoftState,
    given_hard_state: HardState,
    /// What [`RawNode::advance`] reports back to consensus: first these, then `applying`.
    steps_on_advance: Vec<Message>,
    applying: Option<Applying>,
}

impl<S: Storage> RawNode<S> {
    /// A member that goes on from what `storage` holds.
    ///
    /// A cluster starts from a stored configuration: a snapshot at some index, or configuration
    /// changes at the head of the log, committed in the hard state.
    pub fn new(config: Config, storage: S) -> Result<RawNode<S>, ConfigError> {
        let raft = Raft::new(config, storage)?;
        Ok(RawNode {
            given_soft_state: raft.soft_state(),
            given_hard_state: raft.hard_state(),
            raft,
            steps_on_advance: Vec::new(),
            applying: None,
        })
    }

    /// One tick of the clock.
    pub fn tick(&mut self) {
        self.raft.tick();
    }

    /// Starts an election, unless the member leads or may not lead.
    pub fn campaign(&mut self) {
        self.raft.hup();
    }

    /// Proposes a command. That this succeeds means that it is on its way, not that it will be
    /// committed.
    pub fn propose(&mut self, data: impl Into<Bytes>) -> Result<(), StepError> {
        self.propose_with(vec![Entry::normal(data)])
    }

    /// Proposes several entries that are appended together, one behind the other.
    pub fn propose_with(&mut self, entries: Vec<Entry>) -> Result<(), StepError> {
        let mut message = Message::new(MessageKind::MsgProp, NodeId::NONE);
        message.from = self.raft.id();
        message.entries = entries;
        check_well_formed(&message)?;
        self.raft.step(message)
    }

    /// Proposes a change of the configuration. While another is not applied, or if it does not
    /// fit the configuration in force, an empty entry is appended in its place.
    pub fn propose_conf_change(
        &mut self,
        change: impl Into<AnyConfChange>,
    ) -> Result<(), StepError> {
        self.propose_with(vec![change.into().to_entry()])
    }

    /// Puts a committed change in force. To be called for every one that is applied, except for
    /// those that a snapshot taken in meanwhile includes (their index is below
    /// [`Raft::first_index`]). A caller that refuses one does not call it, or with node ids set
    /// to [`NONE`](crate::NodeId::NONE); what matters is that all members do the same.
    pub fn apply_conf_change(
        &mut self,
        change: &ConfChangeV2,
    ) -> Result<ConfState, ConfChangeError> {
        self.raft.apply_conf_change(change)
    }

    /// Takes in a message from another member, or a response of storage. The caller makes sure
    /// that no message from the network claims to come from this member or from
    /// [a storage thread](NodeId::is_local_thread): these tell what is durable.
    pub fn step(&mut self, message: Message) -> Result<(), StepError> {
        if !message.from.is_local_thread() {
            if message.kind.is_local() {
                return Err(StepError::LocalMessage);
            }
            if message.kind.is_response() && !self.raft.tracker.progress.contains(message.from) {
                return Err(StepError::PeerNotFound);
            }
        }
        check_well_formed(&message)?;
        if message.from == self.raft.id() && !is_from_itself(&message) {
            return Err(StepError::Malformed {
                kind: message.kind,
                from: message.from,
                reason: "not something that a member tells itself",
            });
        }
        self.raft.step(message)
    }

    /// Asks for an index to read at, which comes back in [`Ready::read_states`] with `context`.
    /// It may be lost on the way: ask again, with another context each time.
    pub fn read_index(&mut self, context: impl Into<Bytes>) -> Result<(), StepError> {
        let mut message = Message::new(MessageKind::MsgReadIndex, NodeId::NONE);
        message.entries = vec![Entry::normal(context)];
        self.raft.step(message)
    }

    /// Asks the leader to hand over to `to`; given up silently after an election timeout.
    pub fn transfer_leadership(&mut self, to: NodeId) {
        self.local(MessageKind::MsgTransferLeader, to);
    }

    /// Makes a follower forget its leader, so that it gives its vote at once.
    pub fn forget_leader(&mut self) {
        self.local(MessageKind::MsgForgetLeader, NodeId::NONE);
    }

    /// Says that the last message to `id` was not delivered.
    pub fn report_unreachable(&mut self, id: NodeId) {
        self.local(MessageKind::MsgUnreachable, id);
    }

    /// Says how the sending of a snapshot to `id` ended. Must be called for each one.
    pub fn report_snapshot(&mut self, id: NodeId, status: SnapshotStatus) {
        let mut message = Message::new(MessageKind::MsgSnapStatus, NodeId::NONE);
        message.from = id;
        message.reject = status == SnapshotStatus::Failure;
        // Local reports are never refused.
        let _ = self.raft.step(message);
    }

    fn local(&mut self, kind: MessageKind, from: NodeId) {
        let mut message = Message::new(kind, NodeId::NONE);
        message.from = from;
        // Local reports are never refused.
        let _ = self.raft.step(message);
    }

    /// Tells a leader that `id` lost part of the log that it had acknowledged: it is probed from
    /// the end again. The commit index stays. Acknowledgements that `id` sent before its loss
    /// must not be delivered after this.
    pub fn reset_progress(&mut self, id: NodeId) {
        self.raft.reset_progress(id);
    }

    /// Sets whether the member takes part in decisions.
    pub fn set_participation(&mut self, participation: Participation) {
        self.raft.set_participation(participation);
    }

    /// Follows nobody in `term`, if that is a later one: of a member that cannot know any more what
    /// it did in its own.
    pub fn skip_to_term(&mut self, term: Term) {
        self.raft.skip_to_term(term);
    }

    /// Fixes the election timeout until the next change of role or term; for tests.
    pub fn set_randomized_election_timeout(&mut self, ticks: u32) {
        self.raft.randomized_election_timeout = ticks;
    }

    /// Whether [`ready`](RawNode::ready) has anything to give.
    pub fn has_ready(&self) -> bool {
        let raft = &self.raft;
        !raft.messages.is_empty()
            || !raft.messages_after_append.is_empty()
            || !raft.read_states.is_empty()
            || !raft.log.unstable.next_entries().is_empty()
            || raft.log.has_next_committed()
            || raft.log.unstable.next_snapshot().is_some()
            || raft.soft_state() != self.given_soft_state
            || raft.hard_state() != self.given_hard_state
    }

    /// Gives out the work that is ready; it counts as being done from now on.
    ///
    /// # Panics
    /// With synchronous storage, if the one before was not [advanced](RawNode::advance).
    pub fn ready(&mut self) -> Ready {
        assert!(
            self.steps_on_advance.is_empty() && self.applying.is_none(),
            "the Ready before this one was not advanced"
        );
        let raft = &mut self.raft;
        let soft_state = raft.soft_state();
        let hard_state = raft.hard_state();
        let given = self.given_hard_state;
        let entries = raft.log.unstable.next_entries().to_vec();
        let must_sync =
            !entries.is_empty() || (hard_state.vote, hard_state.term) != (given.vote, given.term);
        let mut ready = Ready {
            soft_state: (soft_state != self.given_soft_state).then_some(soft_state),
            hard_state: (hard_state != given).then_some(hard_state),
            read_states: std::mem::take(&mut raft.read_states),
            snapshot: raft.log.unstable.next_snapshot().cloned(),
            committed_entries: raft.log.next_committed(),
            messages: std::mem::take(&mut raft.messages),
            entries,
            must_sync,
        };
        self.given_soft_state = soft_state;
        self.given_hard_state = hard_state;
        let committed = std::mem::take(&mut ready.committed_entries);
        raft.log.accept_applying(&committed);
        if raft.config.async_storage_writes {
            self.hand_to_storage(&mut ready, committed);
        } else {
            self.note_for_advance(&mut ready, &committed);
            ready.committed_entries = committed;
        }
        self.raft.log.unstable.accept_in_progress();
        ready
    }

    /// Moves the storage work into messages to the storage threads.
    fn hand_to_storage(&mut self, ready: &mut Ready, committed: Vec<Entry>) {
        let id = self.raft.id();
        let after_append = std::mem::take(&mut self.raft.messages_after_append);
        let confirmation = self.append_confirmation(ready);
        let mut append = Message::new(MessageKind::MsgStorageAppend, NodeId::APPEND_THREAD);
        append.from = id;
        append.entries = std::mem::take(&mut ready.entries);
        append.snapshot = ready.snapshot.take();
        if !append.entries.is_empty()
            || append.snapshot.is_some()
            || ready.hard_state.is_some()
            || !after_append.is_empty()
        {
            if let Some(HardState { term, vote, commit }) = ready.hard_state {
                (append.term, append.vote, append.commit) = (term, vote, commit);
            }
            // The confirmation goes last: the leader's own acknowledgement before it then finds
            // its entries still in memory.
            append.responses = after_append;
            append.responses.extend(confirmation);
            ready.messages.push(append);
        }
        if !committed.is_empty() {
            let mut applied = Message::new(MessageKind::MsgStorageApplyResp, id);
            applied.from = NodeId::APPLY_THREAD;
            applied.entries = committed.clone();
            let mut apply = Message::new(MessageKind::MsgStorageApply, NodeId::APPLY_THREAD);
            apply.from = id;
            apply.entries = committed;
            apply.responses = vec![applied];
            ready.messages.push(apply);
        }
    }

    /// Notes what [`advance`](RawNode::advance) has to report, and what may be sent after the
    /// write.
    fn note_for_advance(&mut self, ready: &mut Ready, committed: &[Entry]) {
        let id = self.raft.id();
        let confirmation = self.append_confirmation(ready);
        for message in self.raft.messages_after_append.drain(..) {
            if message.to == id {
                self.steps_on_advance.push(message);
            } else {
                ready.messages.push(message);
            }
        }
        self.steps_on_advance.extend(confirmation);
        self.applying = committed.last().map(|last| Applying {
            last: last.index,
            bytes: entries_size(committed),
            payload: payloads_size(committed),
        });
    }

    /// The message that tells consensus, once everything handed out so far is durable, that it
    /// is; `None` if there is nothing to tell.
    ///
    /// It names the end of the whole log, even if only the hard state is written: a confirmation
    /// is dropped when the term has changed since, as its entries may have been replaced twice
    /// and be the same again while the write of the replacement is still under way; the
    /// confirmation of the new term's hard state then takes its place.
    fn append_confirmation(&self, ready: &Ready) -> Option<Message> {
        let raft = &self.raft;
        let has_unstable = !raft.log.unstable.entries.is_empty();
        if !has_unstable && ready.snapshot.is_none() {
            return None;
        }
        let mut message = Message::new(MessageKind::MsgStorageAppendResp, raft.id());
        message.from = NodeId::APPEND_THREAD;
        message.term = raft.term;
        message.snapshot = ready.snapshot.clone();
        if has_unstable {
            let EntryId { term, index } = raft.log.last_id();
            message.log_term = term;
            message.index = index;
        }
        Some(message)
    }

    /// Says that the work of `ready` is done: written, sent and applied. Only with synchronous
    /// storage.
    pub fn advance(&mut self, ready: Ready) {
        drop(ready);
        let mut steps = std::mem::take(&mut self.steps_on_advance);
        for message in steps.drain(..) {
            // Its own acknowledgements and votes are never refused.
            drop(self.raft.step(message));
        }
        // Given back empty, for its memory.
        self.steps_on_advance = steps;
        if let Some(Applying { last, bytes, payload }) = self.applying.take() {
            self.raft.on_entries_applied(last, bytes, payload);
        }
    }

    /// The member in a few numbers.
    pub fn basic_status(&self) -> BasicStatus {
        BasicStatus {
            id: self.raft.id(),
            hard_state: self.raft.hard_state(),
            soft_state: self.raft.soft_state(),
            applied: self.raft.log.applied,
            last_index: self.raft.log.last_index(),
            lead_transferee: self.raft.lead_transferee,
        }
    }

    /// The member and, if it leads, what it knows of the others.
    pub fn status(&self) -> Status {
        let tracker = &self.raft.tracker;
        let progress = match self.raft.role {
            Role::Leader => tracker.progress.iter().map(|(id, p)| (id, p.into())).collect(),
            Role::Follower | Role::Candidate | Role::PreCandidate => Vec::new(),
        };
        Status {
            basic: self.basic_status(),
            configuration: tracker.configuration.clone(),
            progress,
        }
    }

    /// The storage that it reads from.
    pub fn storage(&self) -> &S {
        &self.raft.log.storage
    }

    /// The storage that it reads from, for the caller to write to.
    pub fn storage_mut(&mut self) -> &mut S {
        &mut self.raft.log.storage
    }

    /// The state machine, to look at.
    pub fn raft(&self) -> &Raft<S> {
        &self.raft
    }
}

/// Whether a member sends itself such messages: its own vote and acknowledgement, which wait for
/// storage, and what it passes on to whoever leads.
fn is_from_itself(message: &Message) -> bool {
    use MessageKind::*;
    match message.kind {
        MsgAppResp | MsgVoteResp | MsgPreVoteResp => !message.reject,
        MsgProp | MsgReadIndex | MsgTransferLeader | MsgForgetLeader => true,
        _ => false,
    }
}

/// Refuses a message that no member would send, before it can change anything.
fn check_well_formed(message: &Message) -> Result<(), StepError> {
    use MessageKind::*;
    let malformed =
        |reason| Err(StepError::Malformed { kind: message.kind, from: message.from, reason });
    match message.kind {
        MsgApp | MsgAppResp | MsgVote | MsgVoteResp | MsgSnap | MsgHeartbeat | MsgHeartbeatResp
        | MsgTimeoutNow | MsgPreVote | MsgPreVoteResp
            if message.term == Term::ZERO =>
        {
            return malformed("no term");
        }
        _ => {}
    }
    match message.kind {
        MsgProp if message.entries.is_empty() => malformed("no entries"),
        MsgReadIndex | MsgReadIndexResp if message.entries.len() != 1 => {
            malformed("not exactly one context")
        }
        MsgSnap => match &message.snapshot {
            None => malformed("no snapshot"),
            Some(snapshot) if snapshot.metadata.index == Index::MAX => malformed("index"),
            Some(_) => Ok(()),
        },
        MsgApp => {
            let mut previous = EntryId { term: message.log_term, index: message.index };
            for entry in &message.entries {
                if entry.index.0.checked_sub(1) != Some(previous.index.0) {
                    return malformed("entries leave a gap");
                }
                if entry.term < previous.term {
                    return malformed("terms go back");
                }
                previous = entry.id();
            }
            if previous.term > message.term {
                return malformed("entries of a newer term");
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
