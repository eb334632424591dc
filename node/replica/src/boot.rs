//! How a member starts: from what the store's checkpoint and the log hold.

use quorate_raft::{ConfState, Entry, HardState, Index, Term};
use thiserror::Error;

use crate::event::Facts;
use crate::log::MemberLog;
use crate::repair::Repair;

/// What a member finds when it starts.
#[derive(Clone, Debug, Default)]
pub struct Boot {
    /// What the store holds.
    pub checkpoint: Checkpoint,
    /// Index and term just before the log's first entry.
    pub log_start: (u64, u64),
    /// The log's entries, without a gap.
    pub entries: Vec<Entry>,
    /// The last hard state that the log holds.
    pub hard_state: HardState,
    /// What the store knows at the checkpoint.
    pub facts: Facts,
    /// What the log lost, if it was damaged.
    pub repair: Option<Repair>,
}

/// Where in the log the store's durable state stands.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// The last applied index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// The configuration there.
    pub conf_state: ConfState,
}

/// Log and store of a member do not fit together.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BootError {
    /// Entries between the two are nowhere.
    #[error(
        "the store ends at index {checkpoint}, but the log begins after {log_start}: the entries \
         between are lost; remove this member and add it anew"
    )]
    Gap {
        /// The store's last applied index.
        checkpoint: u64,
        /// The index before the log's first entry.
        log_start: u64,
    },
    /// The entries do not follow each other.
    #[error("the log holds index {found} where {expected} should be")]
    Order {
        /// What comes next by counting.
        expected: u64,
        /// What stands there.
        found: u64,
    },
    /// Raft does not start with what it is given.
    #[error("cannot start: {0}")]
    Raft(#[from] quorate_raft::ConfigError),
}

impl Boot {
    /// The log that Raft starts with.
    ///
    /// # Errors
    /// When the parts contradict each other.
    pub(crate) fn log(&self) -> Result<MemberLog, BootError> {
        let (start, _) = self.log_start;
        if start > self.checkpoint.index {
            return Err(BootError::Gap { checkpoint: self.checkpoint.index, log_start: start });
        }
        for (position, entry) in self.entries.iter().enumerate() {
            let expected = start + 1 + position as u64;
            if entry.index.0 != expected {
                return Err(BootError::Order { expected, found: entry.index.0 });
            }
        }
        let last = start + self.entries.len() as u64;
        let mut hard_state = self.hard_state;
        // A commit alone is not synced; the store applied only what was committed.
        hard_state.commit = hard_state.commit.max(Index(self.checkpoint.index));
        let conf_state = self.checkpoint.conf_state.clone();
        if self.checkpoint.index > last {
            // A snapshot was installed, and the log did not hear of it.
            hard_state.term = hard_state.term.max(Term(self.checkpoint.term));
            let position = (Index(self.checkpoint.index), Term(self.checkpoint.term));
            return Ok(MemberLog::new(position, Vec::new(), hard_state, conf_state));
        }
        hard_state.commit = hard_state.commit.min(Index(last));
        let position = (Index(start), Term(self.log_start.1));
        Ok(MemberLog::new(position, self.entries.clone(), hard_state, conf_state))
    }
}
