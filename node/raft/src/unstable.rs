//! The end of the log that is not durable yet.
//!
//! ```text
//!   storage:  … 4 5 6 7
//!   unstable:     │ 6'7'8'9'        offset = 6: its entries replace those in storage
//!                 └──in progress─┐
//!                    being written│ not handed out yet
//! ```

use crate::entry::{Entry, Snapshot};
use crate::types::{EntryId, Index, Term};

/// Entries and a snapshot until storage is known to have them.
///
/// Invariants: `entries[i]` has index `offset + i`; `offset <= in_progress_end <=
/// offset + entries.len()`; with a snapshot and no entries, `offset` follows the snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Unstable {
    pub(crate) snapshot: Option<Snapshot>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) offset: Index,
    snapshot_in_progress: bool,
    /// The index after the last entry that was handed out to be written.
    in_progress_end: Index,
}

/// Capacity beyond which an emptied or mostly empty buffer is given back. Below it the memory is
/// kept, so that steady traffic does not allocate.
const KEPT_CAPACITY: usize = 1024;

impl Unstable {
    pub(crate) fn new(offset: Index) -> Unstable {
        Unstable {
            snapshot: None,
            entries: Vec::new(),
            offset,
            snapshot_in_progress: false,
            in_progress_end: offset,
        }
    }

    pub(crate) fn snapshot_index(&self) -> Option<Index> {
        self.snapshot.as_ref().map(|snapshot| snapshot.metadata.index)
    }

    /// The end of the log, if it lies here.
    pub(crate) fn last_index(&self) -> Option<Index> {
        match self.entries.last() {
            Some(entry) => Some(entry.index),
            None => self.snapshot_index(),
        }
    }

    /// The term of entry `index`, if it lies here.
    pub(crate) fn term(&self, index: Index) -> Option<Term> {
        if index < self.offset {
            let snapshot = self.snapshot.as_ref()?;
            return (snapshot.metadata.index == index).then_some(snapshot.metadata.term);
        }
        self.entries.get(index.offset_from(self.offset)).map(|entry| entry.term)
    }

    /// Entries that are not being written yet.
    pub(crate) fn next_entries(&self) -> &[Entry] {
        &self.entries[self.in_progress_end.offset_from(self.offset)..]
    }

    /// The snapshot, unless it is being written already.
    pub(crate) fn next_snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref().filter(|_| !self.snapshot_in_progress)
    }

    /// Everything here is being written from now on.
    pub(crate) fn accept_in_progress(&mut self) {
        self.in_progress_end = self.offset + self.entries.len() as u64;
        if self.snapshot.is_some() {
            self.snapshot_in_progress = true;
        }
    }

    /// Drops what is durable: everything up to `id`, provided that `id` still is what stands
    /// there.
    pub(crate) fn stable_to(&mut self, id: EntryId) {
        if id.index < self.offset || self.term(id.index) != Some(id.term) {
            return;
        }
        let count = id.index.next().offset_from(self.offset);
        self.entries.drain(..count);
        self.offset = id.index.next();
        self.in_progress_end = self.in_progress_end.max(self.offset);
        if self.entries.capacity() > KEPT_CAPACITY.max(2 * self.entries.len()) {
            self.entries.shrink_to(KEPT_CAPACITY);
        }
    }

    pub(crate) fn stable_snapshot_to(&mut self, index: Index) {
        if self.snapshot_index() == Some(index) {
            self.snapshot = None;
            self.snapshot_in_progress = false;
        }
    }

    /// Everything before gives way to `snapshot`.
    pub(crate) fn restore(&mut self, snapshot: Snapshot) {
        self.offset = snapshot.metadata.index.next();
        self.in_progress_end = self.offset;
        self.entries.clear();
        self.snapshot = Some(snapshot);
        self.snapshot_in_progress = false;
    }

    /// Adds `entries`, of which the first is `first`; what stood there and behind it goes.
    pub(crate) fn truncate_and_append(
        &mut self,
        first: Index,
        entries: impl Iterator<Item = Entry>,
    ) {
        if first <= self.offset {
            self.entries.clear();
            self.offset = first;
            self.in_progress_end = first;
        } else {
            let keep = first.offset_from(self.offset);
            assert!(keep <= self.entries.len(), "append at {first} leaves a gap");
            self.entries.truncate(keep);
            // What is written behind here is being replaced, so it must be handed out again.
            self.in_progress_end = self.in_progress_end.min(first);
        }
        self.entries.extend(entries);
    }

    /// The entries `[lo, hi)`, which must all lie here.
    pub(crate) fn slice(&self, lo: Index, hi: Index) -> &[Entry] {
        assert!(
            lo >= self.offset,
            "entries from {lo} are not here, but those from {}",
            self.offset
        );
        &self.entries[lo.offset_from(self.offset)..hi.offset_from(self.offset)]
    }
}
