//! The facade: entries in, answers out.

use std::sync::Arc;

use bytes::Bytes;
use quorate_api::Error;
use quorate_api::etcdserverpb::{RangeRequest, TxnRequest, TxnResponse};
use quorate_disk::Files;

use crate::alarms::Alarms;
use crate::apply;
use crate::cluster::Cluster;
use crate::compaction::{Pin, Progress};
use crate::entry::{Answer, Applied, Entry, Fatal};
use crate::hash::{self, KvHash};
use crate::lease::Leases;
use crate::log::{LogOptions, RevisionLog};
use crate::members::{Member, Members};
use crate::mvcc::index::Index;
use crate::mvcc::range::RangeOutcome;
use crate::mvcc::{FIRST_REVISION, Mvcc, ReadError, Revisions};
use crate::tables::Tables;

/// What all members of a cluster must have in common for equal entries to mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Shorter lifetimes of leases are raised to this, in seconds. etcd's: one and a half
    /// election timeouts, rounded up.
    pub lease_ttl_seconds_min: i64,
    /// More learners are refused.
    pub learners_max: usize,
    /// How the revision log uses memory and disk; members may differ in this.
    pub log: LogOptions,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { lease_ttl_seconds_min: 2, learners_max: 1, log: LogOptions::default() }
    }
}

/// The replicated state machine.
#[derive(Debug)]
pub struct Store {
    pub(crate) options: StoreOptions,
    pub(crate) mvcc: Mvcc,
    pub(crate) tables: Tables,
    applied_index: u64,
    applied_term: u64,
    /// Raft's configuration, as its owner encodes it; stored with checkpoints.
    conf_state: Bytes,
    /// The last entry that the log held when the process began.
    replayed_until: u64,
    pub(crate) checkpoint_pin: Option<Pin>,
}

/// The parts of a store as a checkpoint or a snapshot has them.
pub struct Parts {
    /// Key → changes, none newer than the current revision.
    pub index: Index,
    /// The records of all changes of the index.
    pub log: RevisionLog,
    /// The revisions.
    pub revisions: Revisions,
    /// The small tables.
    pub tables: Tables,
    /// The last applied entry.
    pub applied_index: u64,
    /// Its term.
    pub applied_term: u64,
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(files: Arc<dyn Files>, options: StoreOptions) -> Self {
        let revisions =
            Revisions { current: FIRST_REVISION, compact_scheduled: -1, compact_finished: -1 };
        let parts = Parts {
            index: Index::default(),
            log: RevisionLog::new(files, options.log),
            revisions,
            tables: Tables::default(),
            applied_index: 0,
            applied_term: 0,
        };
        Self::assemble(options, parts)
    }

    /// A store put together from a checkpoint or a snapshot.
    #[must_use]
    pub fn assemble(options: StoreOptions, parts: Parts) -> Self {
        let Parts { index, log, revisions, tables, applied_index, applied_term } = parts;
        let mvcc = Mvcc::assemble(index, log, revisions);
        Self {
            options,
            mvcc,
            tables,
            applied_index,
            applied_term,
            conf_state: Bytes::new(),
            replayed_until: 0,
            checkpoint_pin: None,
        }
    }

    /// Have other content, and remember what this process remembers.
    pub(crate) fn replace(&mut self, parts: Parts) {
        let remembered = self.mvcc.compaction().remembered().clone();
        let replayed_until = self.replayed_until;
        *self = Self::assemble(self.options, parts);
        self.mvcc.remember(remembered);
        self.replayed_until = replayed_until;
    }

    /// Entries up to this index were in the log before the process began. Their compactions leave
    /// no hashes behind, as none does that was carried out before: what HashKV says after a
    /// restart does not depend on where the last checkpoint was.
    pub fn set_replayed_until(&mut self, index: u64) {
        self.replayed_until = index;
    }

    /// Whether the entry that is being applied is such a one.
    pub(crate) fn is_replaying(&self) -> bool {
        self.applied_index < self.replayed_until
    }

    /// Apply a committed entry whose reply somebody waits for. Deterministic. An entry at or below
    /// the applied index changes nothing.
    ///
    /// # Errors
    /// [`Fatal`]: the store must not be used any more.
    ///
    /// # Panics
    /// If an entry is left out.
    pub fn apply(&mut self, entry: &Entry) -> Result<Applied, Fatal> {
        self.apply_as(entry, Answer::Wanted)
    }

    /// As [`Store::apply`]; without anybody waiting, reads that only the reply needs are left out.
    ///
    /// # Errors
    /// [`Fatal`]: the store must not be used any more.
    ///
    /// # Panics
    /// If an entry is left out.
    pub fn apply_as(&mut self, entry: &Entry, answer: Answer) -> Result<Applied, Fatal> {
        if entry.index <= self.applied_index {
            return Ok(apply::skip());
        }
        assert_eq!(entry.index, self.applied_index + 1, "entries are applied in order");
        assert!(entry.term >= self.applied_term, "terms never go back");
        let applied = apply::apply(self, entry, answer)?;
        self.applied_index = entry.index;
        self.applied_term = entry.term;
        Ok(applied)
    }

    /// Leave the cluster to one member, as if an entry of its own had done so: the others are
    /// removed for ever. Its configuration is the caller's to note.
    ///
    /// # Panics
    /// If the entry would not be the next one.
    pub fn leave_to(&mut self, member: Member, (index, term): (u64, u64)) {
        assert_eq!(index, self.applied_index + 1, "entries are applied in order");
        assert!(term >= self.applied_term, "terms never go back");
        self.tables.members.leave_to(member);
        self.applied_index = index;
        self.applied_term = term;
    }

    /// Answer a range at once; for large ones see [`crate::mvcc::range::RangeCursor`].
    ///
    /// # Errors
    /// etcd's error for the revision, or damage.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeOutcome, ReadError> {
        self.mvcc.range(request)
    }

    /// Answer a transaction that only reads.
    ///
    /// # Errors
    /// etcd's error for a revision, or damage.
    ///
    /// # Panics
    /// If the transaction writes: see [`apply::check::is_read_only`].
    pub fn read_txn(&self, request: &TxnRequest) -> Result<TxnResponse, ReadError> {
        apply::txn::read(&self.mvcc, request)
    }

    /// etcd's HashKV at a revision; 0 means the current one.
    ///
    /// # Errors
    /// etcd's error for the revision, or damage.
    pub fn hash_kv(&self, revision: i64) -> Result<KvHash, ReadError> {
        hash::hash_kv(&self.mvcc, revision)
    }

    /// Carry the decided compaction out for a bounded number of keys. Changes no answer.
    pub fn prune_step(&mut self) -> Progress {
        self.mvcc.prune_step()
    }

    /// The hash of all that is replicated, equal on all members at equal applied index.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        let revisions = [self.mvcc.current_revision(), self.mvcc.compact_revision()];
        let revisions = revisions.map(i64::to_be_bytes).concat();
        self.mvcc.live_hash().wrapping_add(self.tables.state_hash()).wrapping_add(hash::hash_row(
            "revisions",
            &[],
            &revisions,
        ))
    }

    /// The current main revision.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.mvcc.current_revision()
    }

    /// The compacted main revision, or -1.
    #[must_use]
    pub fn compact_revision(&self) -> i64 {
        self.mvcc.compact_revision()
    }

    /// The index of the last applied entry.
    #[must_use]
    pub fn applied_index(&self) -> u64 {
        self.applied_index
    }

    /// The term of the last applied entry.
    #[must_use]
    pub fn applied_term(&self) -> u64 {
        self.applied_term
    }

    /// Raft's configuration as of the applied index, as its owner encodes it; empty until
    /// [`Store::set_conf_state`].
    #[must_use]
    pub fn conf_state(&self) -> &Bytes {
        &self.conf_state
    }

    /// Note Raft's configuration, to be stored with the next checkpoint: after a configuration
    /// change is applied, before the next entry is.
    pub fn set_conf_state(&mut self, conf_state: Bytes) {
        self.conf_state = conf_state;
    }

    /// The keys.
    #[must_use]
    pub fn mvcc(&self) -> &Mvcc {
        &self.mvcc
    }

    /// The keys, for jobs that move bytes, and pins.
    pub fn mvcc_mut(&mut self) -> &mut Mvcc {
        &mut self.mvcc
    }

    /// The small tables.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The members.
    #[must_use]
    pub fn members(&self) -> &Members {
        &self.tables.members
    }

    /// Version and downgrade.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.tables.cluster
    }

    /// The leases.
    #[must_use]
    pub fn leases(&self) -> &Leases {
        &self.tables.leases
    }

    /// The revision of users and roles.
    #[must_use]
    pub fn auth_revision(&self) -> u64 {
        self.tables.auth.revision()
    }

    /// The alarms.
    #[must_use]
    pub fn alarms(&self) -> &Alarms {
        &self.tables.alarms
    }

    /// What all members must have in common.
    #[must_use]
    pub fn options(&self) -> &StoreOptions {
        &self.options
    }

    /// Bytes that compaction could not free now.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.mvcc.log().live_bytes()
    }

    /// Bytes that the records take.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.mvcc.log().total_bytes()
    }

    /// The error that a request which makes the store grow gets while an alarm is raised.
    #[must_use]
    pub fn alarm_error(&self) -> Option<Error> {
        apply::alarm::error_of(&self.tables.alarms)
    }
}
