//! The member's log as Raft reads it: the recent entries in memory.
//!
//! Entries come here when they are handed to the log on disk, and leave when they are far enough
//! behind what is applied. What is on disk is the executor's; Raft itself knows which of these
//! entries are durable.

use std::cell::Cell;
use std::collections::VecDeque;

use quorate_raft::{
    ConfState, Entry, HardState, Index, Snapshot, SnapshotMetadata, Storage, StorageError, Term,
};

/// Recent entries, the position before them, and the snapshot on offer to followers.
pub(crate) struct MemberLog {
    start: (Index, Term),
    entries: VecDeque<Entry>,
    bytes: u64,
    hard_state: HardState,
    conf_state: ConfState,
    offer: Option<SnapshotMetadata>,
    /// Set when Raft asked for a snapshot that is not on offer.
    wanted: Cell<bool>,
}

impl MemberLog {
    pub(crate) fn new(
        start: (Index, Term),
        entries: Vec<Entry>,
        hard_state: HardState,
        conf_state: ConfState,
    ) -> Self {
        let bytes = entries.iter().map(entry_bytes).sum();
        let entries = entries.into();
        Self {
            start,
            entries,
            bytes,
            hard_state,
            conf_state,
            offer: None,
            wanted: Cell::new(false),
        }
    }

    /// Take entries that follow, or replace a suffix of, what is here.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(first.index.0 <= self.last().0 + 1, "a gap in the log before {:?}", first.index);
        while self.last() >= first.index && !self.entries.is_empty() {
            let removed = self.entries.pop_back().expect("not empty");
            self.bytes -= entry_bytes(&removed);
        }
        let known = self.start.0;
        for entry in entries.iter().filter(|entry| entry.index > known) {
            self.bytes += entry_bytes(entry);
            self.entries.push_back(entry.clone());
        }
    }

    /// Forget everything: the log starts behind a snapshot.
    pub(crate) fn restart_at(&mut self, metadata: &SnapshotMetadata) {
        self.start = (metadata.index, metadata.term);
        self.entries.clear();
        self.bytes = 0;
        self.conf_state = metadata.conf_state.clone();
        self.offer = None;
    }

    /// Forget entries up to `index`, which must have been applied.
    pub(crate) fn compact(&mut self, index: Index) {
        while self.entries.front().is_some_and(|entry| entry.index <= index) {
            let entry = self.entries.pop_front().expect("not empty");
            self.bytes -= entry_bytes(&entry);
            self.start = (entry.index, entry.term);
        }
    }

    pub(crate) fn first(&self) -> Index {
        Index(self.start.0.0 + 1)
    }

    pub(crate) fn last(&self) -> Index {
        self.entries.back().map_or(self.start.0, |entry| entry.index)
    }

    pub(crate) fn last_term(&self) -> Term {
        self.entries.back().map_or(self.start.1, |entry| entry.term)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where the newest entries begin that take no more than so many bytes together.
    pub(crate) fn first_of_newest(&self, bytes: u64) -> Index {
        let mut left = bytes;
        let newest = self.entries.iter().rev().take_while(|entry| {
            let fits = entry_bytes(entry) <= left;
            left = left.saturating_sub(entry_bytes(entry));
            fits
        });
        newest.last().map_or(Index(self.last().0 + 1), |entry| entry.index)
    }

    pub(crate) fn set_offer(&mut self, offer: Option<SnapshotMetadata>) {
        self.offer = offer;
    }

    pub(crate) fn offer(&self) -> Option<&SnapshotMetadata> {
        self.offer.as_ref()
    }

    /// Whether Raft asked for a snapshot in vain since the last call.
    pub(crate) fn take_wanted(&mut self) -> bool {
        self.wanted.replace(false)
    }

    fn position(&self, index: Index) -> Option<usize> {
        usize::try_from(index.0.checked_sub(self.start.0.0 + 1)?).ok()
    }
}

/// What an entry costs in memory, roughly.
fn entry_bytes(entry: &Entry) -> u64 {
    entry.data.len() as u64 + 64
}

impl Storage for MemberLog {
    fn initial_state(&self) -> Result<(HardState, ConfState), StorageError> {
        Ok((self.hard_state, self.conf_state.clone()))
    }

    fn entries(&self, low: Index, high: Index, bytes_max: u64) -> Result<Vec<Entry>, StorageError> {
        let from = self.position(low).ok_or(StorageError::Compacted)?;
        let to = self.position(high).ok_or(StorageError::Compacted)?;
        if to > self.entries.len() {
            return Err(StorageError::Unavailable);
        }
        let mut bytes = 0_u64;
        let mut taken = Vec::with_capacity((to - from).min(1_024));
        for entry in self.entries.range(from..to) {
            bytes = bytes.saturating_add(entry.size());
            if bytes > bytes_max && !taken.is_empty() {
                break;
            }
            taken.push(entry.clone());
        }
        Ok(taken)
    }

    fn term(&self, index: Index) -> Result<Term, StorageError> {
        if index == self.start.0 {
            return Ok(self.start.1);
        }
        let at = self.position(index).ok_or(StorageError::Compacted)?;
        self.entries.get(at).map(|entry| entry.term).ok_or(StorageError::Unavailable)
    }

    fn first_index(&self) -> Index {
        self.first()
    }

    fn last_index(&self) -> Index {
        self.last()
    }

    fn snapshot(&self) -> Result<Snapshot, StorageError> {
        match &self.offer {
            // A snapshot from before the log's start would not let a follower go on with it.
            Some(metadata) if metadata.index >= self.start.0 => {
                Ok(Snapshot { metadata: metadata.clone(), ..Snapshot::default() })
            }
            _ => {
                self.wanted.set(true);
                Err(StorageError::SnapshotTemporarilyUnavailable)
            }
        }
    }
}
