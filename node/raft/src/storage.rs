//! The durable log as consensus reads it, and one held in memory.

use crate::entry::{ConfState, Entry, Snapshot, limit_size};
use crate::types::{HardState, Index, Term};

/// Why storage cannot answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The entry is only part of a snapshot any more.
    #[error("requested index is unavailable due to compaction")]
    Compacted,
    /// The entry is not in the log.
    #[error("requested entry is unavailable")]
    Unavailable,
    /// A newer snapshot is there already.
    #[error("requested index is older than the existing snapshot")]
    SnapshotOutOfDate,
    /// A snapshot is being made; ask again.
    #[error("snapshot is temporarily unavailable")]
    SnapshotTemporarilyUnavailable,
}

/// What consensus asks of the durable log. It never writes: what to write is in a
/// [`Ready`](crate::Ready).
pub trait Storage {
    /// What was saved before the last restart.
    fn initial_state(&self) -> Result<(HardState, ConfState), StorageError>;

    /// The entries `[lo, hi)` as far as `max_bytes` (encoded) reach, at least one.
    ///
    /// `Compacted` if `lo` is before [`first_index`](Storage::first_index). `Unavailable` means
    /// "not at the moment": an append to a follower is tried again at its next heartbeat.
    fn entries(&self, lo: Index, hi: Index, max_bytes: u64) -> Result<Vec<Entry>, StorageError>;

    /// The term of entry `index`, known from `first_index - 1` (the last entry of the snapshot)
    /// to `last_index`.
    fn term(&self, index: Index) -> Result<Term, StorageError>;

    /// The first entry that is not compacted; it may not be written yet. Storage never compacts
    /// an entry that [`Raft::applied`](crate::Raft::applied) has not passed.
    fn first_index(&self) -> Index;

    /// The last entry; `first_index - 1` if there are none.
    fn last_index(&self) -> Index;

    /// The newest snapshot, or `SnapshotTemporarilyUnavailable`.
    fn snapshot(&self) -> Result<Snapshot, StorageError>;
}

/// A log in memory, for tests and simulations.
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage {
    hard_state: HardState,
    snapshot: Snapshot,
    /// The last compacted entry, whose term is still known.
    compacted: (Index, Term),
    entries: Vec<Entry>,
}

impl MemoryStorage {
    /// An empty log without configuration.
    pub fn new() -> MemoryStorage {
        MemoryStorage::default()
    }

    /// An empty log with a configuration.
    pub fn with_conf_state(conf_state: ConfState) -> MemoryStorage {
        let mut storage = MemoryStorage::new();
        storage.snapshot.metadata.conf_state = conf_state;
        storage
    }

    /// Saves the hard state.
    pub fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    /// What [`set_hard_state`](MemoryStorage::set_hard_state) saved.
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// Writes `entries`, which must follow or overlap the log, and cuts off what lay behind them.
    ///
    /// # Panics
    /// If there would be a gap.
    pub fn append(&mut self, entries: &[Entry]) {
        let first = self.first_index();
        let compacted = entries.partition_point(|entry| entry.index < first);
        let entries = &entries[compacted..];
        let Some(head) = entries.first() else { return };
        assert!(
            head.index <= self.last_index().next(),
            "append at {} leaves a gap after {}",
            head.index,
            self.last_index()
        );
        self.entries.truncate(head.index.offset_from(first));
        self.entries.extend_from_slice(entries);
    }

    /// Forgets the entries up to and including `index`.
    ///
    /// # Panics
    /// If `index` is beyond the log.
    pub fn compact(&mut self, index: Index) -> Result<(), StorageError> {
        if index <= self.compacted.0 {
            return Err(StorageError::Compacted);
        }
        assert!(index <= self.last_index(), "compaction at {index} is beyond the log");
        let term = self.term(index)?;
        self.entries.drain(..index.next().offset_from(self.first_index()));
        self.compacted = (index, term);
        Ok(())
    }

    /// Makes the snapshot at `index` the newest one; the log stays as it is.
    pub fn create_snapshot(
        &mut self,
        index: Index,
        conf_state: Option<ConfState>,
        data: bytes::Bytes,
    ) -> Result<Snapshot, StorageError> {
        if index <= self.snapshot.metadata.index {
            return Err(StorageError::SnapshotOutOfDate);
        }
        self.snapshot.metadata.term = self.term(index)?;
        self.snapshot.metadata.index = index;
        if let Some(conf_state) = conf_state {
            self.snapshot.metadata.conf_state = conf_state;
        }
        self.snapshot.data = data;
        Ok(self.snapshot.clone())
    }

    /// Replaces the whole log by `snapshot`.
    pub fn apply_snapshot(&mut self, snapshot: Snapshot) -> Result<(), StorageError> {
        let newest = self.snapshot.metadata.index;
        if newest != Index::ZERO && newest >= snapshot.metadata.index {
            return Err(StorageError::SnapshotOutOfDate);
        }
        self.compacted = (snapshot.metadata.index, snapshot.metadata.term);
        self.entries.clear();
        self.snapshot = snapshot;
        Ok(())
    }
}

impl Storage for MemoryStorage {
    fn initial_state(&self) -> Result<(HardState, ConfState), StorageError> {
        Ok((self.hard_state, self.snapshot.metadata.conf_state.clone()))
    }

    fn entries(&self, lo: Index, hi: Index, max_bytes: u64) -> Result<Vec<Entry>, StorageError> {
        let first = self.first_index();
        if lo < first {
            return Err(StorageError::Compacted);
        }
        let wanted = self
            .entries
            .get(lo.offset_from(first)..hi.offset_from(first))
            .ok_or(StorageError::Unavailable)?;
        Ok(limit_size(wanted, max_bytes).to_vec())
    }

    fn term(&self, index: Index) -> Result<Term, StorageError> {
        let (compacted, compacted_term) = self.compacted;
        if index < compacted {
            return Err(StorageError::Compacted);
        }
        if index == compacted {
            return Ok(compacted_term);
        }
        self.entries
            .get(index.offset_from(compacted.next()))
            .map(|entry| entry.term)
            .ok_or(StorageError::Unavailable)
    }

    fn first_index(&self) -> Index {
        self.compacted.0.next()
    }

    fn last_index(&self) -> Index {
        self.compacted.0 + self.entries.len() as u64
    }

    fn snapshot(&self) -> Result<Snapshot, StorageError> {
        Ok(self.snapshot.clone())
    }
}
