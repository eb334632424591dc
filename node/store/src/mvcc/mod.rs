//! Keys with their history: the index (key → changes) over the log (revision → body).
//!
//! ```text
//!   get(key, revision)      index ── newest change ≤ revision ──► log.read(change) ──► KeyValue
//!   put / delete            pending records of the next revision; commit makes them one revision
//!   compact(revision)       visible at once; prune steps drop what is not kept
//! ```
//!
//! It never knows leases, quotas or members: it stores the lease number that it is given.
//!
//! Invariants:
//! - Revisions start at 1 (the empty store). A commit adds 1, however many changes it has; one
//!   without changes adds none.
//! - Every change in the index has its record in the log or among the pending ones.
//! - Pending changes are visible to reads at `current + 1`, and to nobody else: they exist only
//!   while an entry is being applied.

pub mod index;
pub mod key_range;
pub mod range;
pub mod record;
pub mod stream;

use std::sync::Arc;

use bytes::Bytes;
use quorate_api::Error;
use quorate_disk::Files;

use self::index::{Index, Version};
use self::record::Content;
use crate::compaction::{Compaction, Pin, Progress, Trace};
use crate::hash::{BodySum, CompactionHash, CompactionHasher, HasherStep, Remembered, hash_record};
use crate::log::{Damage, DamageKind, LogOptions, Record, RevisionLog};
use crate::revision::Revision;

/// The revision of an empty store.
pub const FIRST_REVISION: i64 = 1;

/// Leaves that one prune step visits: with up to 64 keys each, about etcd's batch of 1000 keys.
const PRUNE_LEAVES: usize = 16;

/// Why a read has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The request is refused: this is the reply, equal on all members.
    #[error(transparent)]
    Refused(#[from] Error),
    /// This member's disk is damaged: never a reply.
    #[error(transparent)]
    Damage(#[from] Damage),
}

impl ReadError {
    /// A record that its checksum vouches for is no `KeyValue`.
    pub(crate) fn not_a_record() -> Self {
        let revision = Revision::default();
        Self::Damage(Damage { file: String::new(), offset: 0, revision, kind: DamageKind::Body })
    }
}

/// The revisions of a store, as a checkpoint holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revisions {
    /// The current main revision.
    pub current: i64,
    /// The newest compaction decided, or -1.
    pub compact_scheduled: i64,
    /// The newest compaction carried out, or -1.
    pub compact_finished: i64,
}

/// Keys with their history.
pub struct Mvcc {
    index: Index,
    log: RevisionLog,
    current: i64,
    compaction: Compaction,
    /// Sum of the hashes of all keys' current records.
    live_hash: u64,
    pending: Vec<Record>,
}

impl std::fmt::Debug for Mvcc {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Mvcc")
            .field("current", &self.current)
            .field("compaction", &self.compaction)
            .field("live_hash", &self.live_hash)
            .finish_non_exhaustive()
    }
}

impl Mvcc {
    /// No keys.
    #[must_use]
    pub fn new(files: Arc<dyn Files>, options: LogOptions) -> Self {
        let revisions =
            Revisions { current: FIRST_REVISION, compact_scheduled: -1, compact_finished: -1 };
        Self::assemble(Index::default(), RevisionLog::new(files, options), revisions)
    }

    /// The parts of a checkpoint or snapshot put together. The index has no change after
    /// `revisions.current`, and the log has the record of each change of the index.
    #[must_use]
    pub fn assemble(index: Index, log: RevisionLog, revisions: Revisions) -> Self {
        let mut live_hash = 0_u64;
        index.visit(&key_range::KeyRange::all(), &mut |_, versions| {
            live_hash = live_hash.wrapping_add(hash_record(&versions.latest()));
            std::ops::ControlFlow::Continue(())
        });
        let Revisions { current, compact_scheduled, compact_finished } = revisions;
        let compaction = Compaction::restore(compact_scheduled, compact_finished);
        Self { index, log, current, compaction, live_hash, pending: Vec::new() }
    }

    /// The current main revision.
    #[must_use]
    pub fn current_revision(&self) -> i64 {
        self.current
    }

    /// The compacted main revision; -1 if there was no compaction. Reads below it are refused,
    /// reads at it are answered.
    #[must_use]
    pub fn compact_revision(&self) -> i64 {
        self.compaction.scheduled()
    }

    /// The revisions, to store them.
    #[must_use]
    pub fn revisions(&self) -> Revisions {
        Revisions {
            current: self.current,
            compact_scheduled: self.compaction.scheduled(),
            compact_finished: self.compaction.finished(),
        }
    }

    /// How far compaction is.
    #[must_use]
    pub fn compaction(&self) -> &Compaction {
        &self.compaction
    }

    /// The revision log.
    #[must_use]
    pub fn log(&self) -> &RevisionLog {
        &self.log
    }

    /// The revision log, for jobs that move bytes.
    pub fn log_mut(&mut self) -> &mut RevisionLog {
        &mut self.log
    }

    /// The index.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The sum over all keys' current records.
    #[must_use]
    pub fn live_hash(&self) -> u64 {
        self.live_hash
    }

    /// The key's `KeyValue` bytes as of a main revision; `None` if it did not exist then. The
    /// revision is not checked against the compacted one.
    ///
    /// # Errors
    /// [`Damage`] if the disk does not give back what was written.
    pub fn get_at(&self, key: &[u8], revision: i64) -> Result<Option<Bytes>, Damage> {
        let version = self.index.get(key).and_then(|versions| versions.at(revision));
        version.map(|version| self.body(version.revision)).transpose()
    }

    /// The body of a record that the index knows, pending ones included.
    ///
    /// # Errors
    /// [`Damage`] if the disk does not give back what was written.
    pub fn body(&self, revision: Revision) -> Result<Bytes, Damage> {
        if revision.main > self.current
            && let Some(record) =
                usize::try_from(revision.sub).ok().and_then(|sub| self.pending.get(sub))
        {
            return Ok(record.body.clone());
        }
        self.log.read(revision)
    }

    /// The main revision at which the entry being applied reads: its own, once it changed
    /// something.
    #[must_use]
    pub fn read_revision(&self) -> i64 {
        self.current + i64::from(!self.pending.is_empty())
    }

    fn next_revision(&self) -> Revision {
        let sub = i64::try_from(self.pending.len()).expect("changes of one entry fit in memory");
        let main = self.current.checked_add(1).expect("2^63 revisions are not reached");
        Revision { main, sub }
    }

    /// Put a key in the pending revision, whose main number is returned.
    pub fn put(&mut self, content: &Content<'_>) -> i64 {
        let revision = self.next_revision();
        let before = self.index.get(content.key).map(index::Versions::latest);
        let before = before.filter(|before| !before.is_tombstone());
        let mut version = Version {
            revision,
            create_revision: before.map_or(revision.main, |before| before.create_revision),
            version: before.map_or(0, |before| before.version) + 1,
            body: BodySum::default(),
        };
        let body = record::encode(content, &version);
        version.body = BodySum::of(&body);
        self.index.append(content.key, &version);
        self.live_hash = self
            .live_hash
            .wrapping_add(hash_record(&version))
            .wrapping_sub(before.map_or(0, |before| hash_record(&before)));
        self.pending.push(Record { revision, tombstone: false, body });
        revision.main
    }

    /// Delete a key in the pending revision; whether it existed.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        let before = self.index.get(key).map(index::Versions::latest);
        let Some(before) = before.filter(|before| !before.is_tombstone()) else {
            return false;
        };
        let revision = self.next_revision();
        self.index.append(key, &Version::tombstone(revision));
        self.live_hash = self.live_hash.wrapping_sub(hash_record(&before));
        let body = record::encode_tombstone(key);
        self.pending.push(Record { revision, tombstone: true, body });
        true
    }

    /// Make the pending changes the next revision, if there are any; their records.
    pub fn commit(&mut self) -> Vec<Record> {
        if !self.pending.is_empty() {
            self.current = self.next_revision().main;
            self.log.append(self.pending.clone());
        }
        std::mem::take(&mut self.pending)
    }

    /// Decide a compaction, which [`crate::apply`] has checked.
    pub(crate) fn schedule_compaction(&mut self, revision: i64, trace: Trace) {
        assert!(revision <= self.current, "the future is not compacted");
        self.compaction.schedule(revision, trace);
    }

    /// Take over what another store of this process remembers.
    pub(crate) fn remember(&mut self, remembered: Remembered) {
        self.compaction.set_remembered(remembered);
    }

    /// What hashes the compaction that waits for that, if one does, to be stepped elsewhere;
    /// nothing is dropped before its hash comes back.
    pub fn lend_hasher(&mut self) -> Option<CompactionHasher> {
        self.compaction.lend_hasher()
    }

    /// Take the hash of what was lent. One of a compaction that does not wait for it is ignored.
    pub fn give_hash(&mut self, hash: CompactionHash) {
        self.compaction.give_hash(hash);
    }

    /// What was lent is lost: the compaction gets no hash.
    pub fn give_hash_up(&mut self) {
        self.compaction.give_hash_up();
    }

    fn hash_step(&mut self) -> Option<Progress> {
        let mut hasher = self.compaction.lend_hasher()?;
        let hash = match hasher.next() {
            HasherStep::Select => {
                hasher.select(self);
                None
            }
            HasherStep::Join => hasher.join(),
        };
        match hash {
            Some(hash) => self.compaction.give_hash(hash),
            None => self.compaction.give_hasher(hasher),
        }
        Some(Progress::More)
    }

    /// Carry the decided compaction out for a bounded number of keys: hash what it finds, then
    /// drop what it does not keep.
    pub fn prune_step(&mut self) -> Progress {
        if let Some(progress) = self.hash_step() {
            return progress;
        }
        let (target, mut from) = match self.compaction.next() {
            Ok(next) => next,
            Err(progress) => return progress,
        };
        let mut dropped = Vec::new();
        let mut next = None;
        for _ in 0..PRUNE_LEAVES {
            next = self.index.compact_step(&from, target, &mut dropped);
            match &next {
                Some(key) => from.clone_from(key),
                None => break,
            }
        }
        self.compaction.note_dropped(dropped.len());
        for revision in dropped {
            self.log.release(revision);
        }
        self.compaction.advance(next)
    }

    /// Keep everything readable that is readable now, until [`Mvcc::unpin`].
    pub fn pin(&mut self) -> Pin {
        self.compaction.pin(self.current)
    }

    /// Give a pin back.
    pub fn unpin(&mut self, pin: &Pin) {
        self.compaction.unpin(pin);
    }
}
