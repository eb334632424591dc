//! The log as one whole: what storage has, what is not durable yet, and the three marks in it.
//!
//! ```text
//!   first ─────── applied ── applying ──── committed ─────────── last
//!     in storage ……………………………………………………………………│ unstable ………………│
//! ```
//! Invariant: `applied <= applying <= committed <= last`. Committed never goes back.

use crate::entry::{Entry, EntryKind, Snapshot, entries_size, limit_size};
use crate::storage::{Storage, StorageError};
use crate::types::{EntryId, Index, Term};
use crate::unstable::Unstable;

/// Whether committed entries may be applied that this member has not made durable itself. With
/// synchronous storage both happen before the next step, so the order does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applicable {
    Unstable,
    StableOnly,
}

/// Why a leader's entries were not appended.
pub(crate) enum AppendRefusal {
    /// The entry before them is not in this log.
    Mismatch,
    /// They contradict this committed entry.
    Committed(EntryId),
}

pub(crate) struct Log<S> {
    pub(crate) storage: S,
    pub(crate) unstable: Unstable,
    pub(crate) committed: Index,
    applying: Index,
    pub(crate) applied: Index,
    applicable: Applicable,
    /// Encoded bytes that may be handed out for applying and not be applied yet.
    max_applying_bytes: u64,
    applying_bytes: u64,
    applying_paused: bool,
}

impl<S: Storage> Log<S> {
    pub(crate) fn new(storage: S, max_applying_bytes: u64, applicable: Applicable) -> Log<S> {
        let compacted = storage.first_index().prev();
        let unstable = Unstable::new(storage.last_index().next());
        Log {
            storage,
            unstable,
            committed: compacted,
            applying: compacted,
            applied: compacted,
            applicable,
            max_applying_bytes,
            applying_bytes: 0,
            applying_paused: false,
        }
    }

    pub(crate) fn first_index(&self) -> Index {
        match self.unstable.snapshot_index() {
            Some(index) => index.next(),
            None => self.storage.first_index(),
        }
    }

    pub(crate) fn last_index(&self) -> Index {
        self.unstable.last_index().unwrap_or_else(|| self.storage.last_index())
    }

    /// The term of entry `index`, known from the last compacted entry on.
    pub(crate) fn term(&self, index: Index) -> Result<Term, StorageError> {
        if let Some(term) = self.unstable.term(index) {
            return Ok(term);
        }
        if index.next() < self.first_index() {
            return Err(StorageError::Compacted);
        }
        if index > self.last_index() {
            return Err(StorageError::Unavailable);
        }
        self.storage.term(index)
    }

    pub(crate) fn last_id(&self) -> EntryId {
        let index = self.last_index();
        let term = self.term(index).expect("the term of the last entry is always known");
        EntryId { term, index }
    }

    pub(crate) fn matches(&self, id: EntryId) -> bool {
        self.term(id.index) == Ok(id.term)
    }

    /// Whether a log that ends in `theirs` holds at least what this one does (paper §5.4.1).
    pub(crate) fn is_up_to_date(&self, theirs: EntryId) -> bool {
        let ours = self.last_id();
        (theirs.term, theirs.index) >= (ours.term, ours.index)
    }

    /// Appends a leader's `entries`, which follow `previous`, unless they are here already; gives
    /// the index of the last one.
    pub(crate) fn maybe_append(
        &mut self,
        previous: EntryId,
        mut entries: Vec<Entry>,
    ) -> Result<Index, AppendRefusal> {
        if !self.matches(previous) {
            return Err(AppendRefusal::Mismatch);
        }
        let last = previous.index + entries.len() as u64;
        let known = entries.iter().take_while(|entry| self.matches(entry.id())).count();
        if let Some(new) = entries.get(known) {
            if new.index <= self.committed {
                return Err(AppendRefusal::Committed(new.id()));
            }
            let first = new.index;
            self.unstable.truncate_and_append(first, entries.drain(known..));
        }
        Ok(last)
    }

    /// Appends a leader's own entries.
    pub(crate) fn append(&mut self, entries: impl Iterator<Item = Entry>) {
        let first = self.last_index().next();
        self.unstable.truncate_and_append(first, entries);
    }

    /// Where this log may agree with another of which only one entry is known: the last index up
    /// to `index` with a term of at most `term`, or of unknown term. Gives its term too, zero if
    /// unknown.
    pub(crate) fn find_conflict_by_term(&self, index: Index, term: Term) -> EntryId {
        let mut index = index;
        while index > Index::ZERO {
            match self.term(index) {
                Err(_) => return EntryId { term: Term::ZERO, index },
                Ok(ours) if ours <= term => return EntryId { term: ours, index },
                Ok(_) => index = index.prev(),
            }
        }
        EntryId::default()
    }

    /// Moves the commit index up to `index`, if that is higher; false if the log is too short
    /// for it.
    #[must_use]
    pub(crate) fn commit_to(&mut self, index: Index) -> bool {
        if index > self.last_index() {
            return false;
        }
        self.committed = self.committed.max(index);
        true
    }

    /// Commits what a quorum has acknowledged, if it is of the leader's own term (paper §5.4.2).
    pub(crate) fn maybe_commit(&mut self, id: EntryId) -> bool {
        id.term != Term::ZERO
            && id.index > self.committed
            && self.matches(id)
            && self.commit_to(id.index)
    }

    pub(crate) fn restore(&mut self, snapshot: Snapshot) {
        self.committed = snapshot.metadata.index;
        self.unstable.restore(snapshot);
    }

    fn last_applicable(&self) -> Index {
        match self.applicable {
            Applicable::Unstable => self.committed,
            Applicable::StableOnly => self.committed.min(self.unstable.offset.prev()),
        }
    }

    pub(crate) fn has_next_committed(&self) -> bool {
        // A snapshot goes first; what lies behind it waits.
        !self.applying_paused
            && self.unstable.snapshot.is_none()
            && self.applying < self.last_applicable()
    }

    /// The committed entries to apply next.
    pub(crate) fn next_committed(&self) -> Vec<Entry> {
        if !self.has_next_committed() {
            return Vec::new();
        }
        let room = self.max_applying_bytes - self.applying_bytes;
        self.slice(self.applying.next(), self.last_applicable().next(), room)
            .expect("committed entries that are not applied are never compacted")
    }

    /// `entries`, which [`next_committed`](Log::next_committed) gave, are being applied.
    pub(crate) fn accept_applying(&mut self, entries: &[Entry]) {
        let Some(last) = entries.last() else { return };
        self.applying = last.index;
        self.applying_bytes += entries_size(entries);
        // Entries that were left out did not fit, so there is no room until some are applied.
        self.applying_paused =
            self.applying_bytes >= self.max_applying_bytes || last.index < self.last_applicable();
    }

    /// Entries up to `index`, of `bytes` in all, are applied.
    pub(crate) fn applied_to(&mut self, index: Index, bytes: u64) {
        assert!(
            self.applied <= index && index <= self.committed,
            "applied {index} is outside [{}, {}]",
            self.applied,
            self.committed
        );
        self.applied = index;
        self.applying = self.applying.max(index);
        self.applying_bytes = self.applying_bytes.saturating_sub(bytes);
        self.applying_paused = self.applying_bytes >= self.max_applying_bytes;
    }

    /// The entries from `lo` to the end, as far as `max_bytes` reach.
    pub(crate) fn entries(&self, lo: Index, max_bytes: u64) -> Result<Vec<Entry>, StorageError> {
        let hi = self.last_index().next();
        if lo >= hi {
            return Ok(Vec::new());
        }
        self.slice(lo, hi, max_bytes)
    }

    /// The entries `[lo, hi)` as far as `max_bytes` reach, at least one.
    fn slice(&self, lo: Index, hi: Index, max_bytes: u64) -> Result<Vec<Entry>, StorageError> {
        if lo < self.first_index() {
            return Err(StorageError::Compacted);
        }
        if lo >= self.unstable.offset {
            return Ok(limit_size(self.unstable.slice(lo, hi), max_bytes).to_vec());
        }
        let cut = hi.min(self.unstable.offset);
        let mut entries = self.storage.entries(lo, cut, max_bytes)?;
        if hi <= cut || lo + (entries.len() as u64) < cut {
            return Ok(entries);
        }
        let size = entries_size(&entries);
        if size < max_bytes {
            let room = max_bytes - size;
            let more = limit_size(self.unstable.slice(cut, hi), room);
            // One entry is given even if it is too large; here it is not the first.
            if more.first().is_some_and(|entry| entry.size() <= room) {
                entries.extend_from_slice(more);
            }
        }
        Ok(entries)
    }

    /// Whether a configuration change may be committed and not applied.
    pub(crate) fn has_unapplied_conf_change(&self) -> bool {
        let mut lo = self.applied.next();
        while lo <= self.committed {
            let page = self.slice(lo, self.committed.next(), self.max_applying_bytes);
            // Entries that cannot be looked at count as one.
            let Ok(page) = page else { return true };
            if page.iter().any(|entry| entry.kind != EntryKind::Normal) {
                return true;
            }
            lo = lo + (page.len() as u64).max(1);
        }
        false
    }
}
