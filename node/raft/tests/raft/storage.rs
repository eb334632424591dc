//! A log in memory whose snapshot is always that of the last applied entry.

use quorate_raft::{
    ConfState, Entry, HardState, Index, MemoryStorage, Snapshot, Storage, StorageError, Term,
};

#[derive(Debug, Clone, Default)]
pub(crate) struct TestStorage {
    pub(crate) log: MemoryStorage,
    /// The state after each applied entry; the last is what a snapshot holds.
    pub(crate) history: Vec<Snapshot>,
    pub(crate) snapshot_unavailable: bool,
}

impl Storage for TestStorage {
    fn initial_state(&self) -> Result<(HardState, ConfState), StorageError> {
        self.log.initial_state()
    }

    fn entries(&self, lo: Index, hi: Index, max_bytes: u64) -> Result<Vec<Entry>, StorageError> {
        self.log.entries(lo, hi, max_bytes)
    }

    fn term(&self, index: Index) -> Result<Term, StorageError> {
        self.log.term(index)
    }

    fn first_index(&self) -> Index {
        self.log.first_index()
    }

    fn last_index(&self) -> Index {
        self.log.last_index()
    }

    fn snapshot(&self) -> Result<Snapshot, StorageError> {
        if self.snapshot_unavailable {
            return Err(StorageError::SnapshotTemporarilyUnavailable);
        }
        Ok(self.history.last().cloned().unwrap_or_default())
    }
}
