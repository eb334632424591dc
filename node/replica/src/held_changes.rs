//! Changes of members that wait for the one before.
//!
//! A leader takes one change at a time. What is proposed before it has applied the last one, it
//! would turn into an entry that changes nothing, and whoever asked would wait in vain: members
//! apply at their own pace, and one that has applied the last change already may ask for the next.

use std::collections::VecDeque;

use quorate_raft::{EntryKind, Message, MessageKind};

use crate::{Replica, Time};

/// Changes that wait, at most: people and operators make them one at a time.
const HELD_MAX: usize = 64;

/// Proposals of changes, the oldest first, each with the time after which nobody waits for it any
/// more.
#[derive(Debug, Default)]
pub(crate) struct HeldChanges(VecDeque<(Time, Message)>);

/// Whether a message proposes a change of members.
pub(crate) fn is_change(message: &Message) -> bool {
    let is_change = |kind| matches!(kind, EntryKind::ConfChange | EntryKind::ConfChangeV2);
    message.kind == MessageKind::MsgProp
        && message.entries.iter().any(|entry| is_change(entry.kind))
}

impl Replica {
    /// Propose a change of members, once the one before is applied. Whether Raft took it, or may
    /// yet.
    pub(crate) fn propose_change(&mut self, message: Message) -> bool {
        let waits = self.node.raft().is_change_pending() || !self.held_changes.0.is_empty();
        if self.is_leader() && waits && self.held_changes.0.len() < HELD_MAX {
            self.held_changes.0.push_back((self.deadline(), message));
            return true;
        }
        self.node.step(message).is_ok()
    }

    /// Propose what has waited for long enough; whoever does not lead any more passes it on.
    pub(crate) fn propose_held_changes(&mut self) {
        while self.leadership.leader.is_some()
            && !(self.is_leader() && self.node.raft().is_change_pending())
        {
            let Some((deadline, message)) = self.held_changes.0.pop_front() else { return };
            if self.now <= deadline {
                // If it is dropped all the same, whoever asked hears of no answer in time.
                let _ = self.node.step(message);
            }
        }
    }
}
