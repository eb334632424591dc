//! A received snapshot becomes the store's content.
//!
//! ```text
//!   SnapshotFile ──► Verification ── step … ──► Install ── step … ──► the store, as the sender's
//!                    reads everything,          the old content is gone from here on
//!                    changes nothing
//! ```

use bytes::Bytes;
use prost::Message;
use quorate_api::mvccpb::KeyValue;
use quorate_api::raftpb::ConfState;
use thiserror::Error;

use super::auth_defaults;
use super::buckets::{BUCKETS, KEY_BUCKET, META_BUCKET};
use super::file::{FileError, Records, SnapshotFile};
use super::meta::Meta;
use crate::bbolt::ReadAt;
use crate::compaction::NEVER;
use crate::hash::BodySum;
use crate::log::{Record, RevisionLog};
use crate::members::Member;
use crate::mvcc::index::{Index, Version};
use crate::mvcc::{FIRST_REVISION, Revisions};
use crate::store::{Parts, Store};
use crate::tables::{Tables, TablesError};

/// Records of one step, about: little enough that a flush can come in between.
const STEP_RECORDS: usize = 1024;
/// Bytes of their bodies, about.
const STEP_BYTES: usize = 1 << 20;

/// What a new cluster does not take from a backup.
const MEMBER_BUCKETS: [&str; 2] = ["members", "members_removed"];

/// Why a snapshot cannot be installed.
#[derive(Debug, Error)]
pub enum InstallError {
    /// The file is not what it should be.
    #[error(transparent)]
    File(#[from] FileError),
    /// The rows of a small bucket are not what they should be.
    #[error("the snapshot's small buckets: {0}")]
    Tables(#[from] TablesError),
    /// The file does not say what place in the Raft log it has; etcd before 3.5 did not.
    #[error("the snapshot does not name its {what}")]
    Position {
        /// What is missing.
        what: &'static str,
    },
}

/// What a restored backup becomes: the first content of a cluster that has its own members and its
/// own log.
#[derive(Clone, Debug)]
pub struct NewCluster {
    /// Its members; those of the backup are left out, the removed ones, too.
    pub members: Vec<Member>,
    /// The index of the log's entry that the content is as of.
    pub applied_index: u64,
    /// That entry's term.
    pub applied_term: u64,
    /// Raft's configuration at that entry.
    pub conf_state: ConfState,
    /// Raise the current revision by this, and compact up to it, so that clients that saw
    /// revisions after the backup do not see them again with another meaning; 0 to leave it.
    pub revision_bump: i64,
}

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Step again.
    Again,
    /// That was all.
    Done,
}

/// What a snapshot says besides its records.
struct State {
    applied_index: u64,
    applied_term: u64,
    conf_state: ConfState,
    compact_scheduled: Option<i64>,
    compact_finished: Option<i64>,
    revision_bump: i64,
    tables: Tables,
}

/// Reads a whole snapshot before anything is given up for it.
pub struct Verification<S> {
    file: SnapshotFile<S>,
    state: State,
    /// `None` when all were read.
    records: Option<Records<S>>,
}

impl<S: ReadAt> Verification<S> {
    /// Begin with what is not records.
    ///
    /// # Errors
    /// An [`InstallError`] names what is missing or wrong.
    pub fn new(file: SnapshotFile<S>) -> Result<Self, InstallError> {
        let missing = |what| InstallError::Position { what };
        let Meta {
            consistent_index,
            term,
            conf_state,
            compact_scheduled,
            compact_finished,
            storage_version: _,
        } = file.meta().clone();
        if consistent_index == 0 || term == 0 {
            return Err(missing("consistent index and term"));
        }
        let state = State {
            applied_index: consistent_index,
            applied_term: term,
            conf_state: conf_state.ok_or(missing("configuration"))?,
            compact_scheduled,
            compact_finished,
            revision_bump: 0,
            tables: read_tables(&file, &[])?,
        };
        let records = Some(file.records()?);
        Ok(Self { file, state, records })
    }

    /// Begin with what is not records, for another cluster than the file's. As `etcdutl snapshot
    /// restore` does, keep everything but the members and the place in the log.
    ///
    /// # Errors
    /// An [`InstallError`] names what is wrong.
    ///
    /// # Panics
    /// If the revision is to be lowered.
    pub fn for_new_cluster(
        file: SnapshotFile<S>,
        cluster: NewCluster,
    ) -> Result<Self, InstallError> {
        let NewCluster { members, applied_index, applied_term, conf_state, revision_bump } =
            cluster;
        assert!(revision_bump >= 0, "revisions never go back");
        let mut tables = read_tables(&file, &MEMBER_BUCKETS)?;
        for member in members {
            tables.members.insert(member);
        }
        let Meta { compact_scheduled, compact_finished, .. } = *file.meta();
        let state = State {
            applied_index,
            applied_term,
            conf_state,
            compact_scheduled,
            compact_finished,
            revision_bump,
            tables,
        };
        let records = Some(file.records()?);
        Ok(Self { file, state, records })
    }

    /// The index of the last entry that is in the snapshot.
    #[must_use]
    pub fn applied_index(&self) -> u64 {
        self.state.applied_index
    }

    /// The term of that entry.
    #[must_use]
    pub fn applied_term(&self) -> u64 {
        self.state.applied_term
    }

    /// Raft's configuration at that entry.
    #[must_use]
    pub fn conf_state(&self) -> &ConfState {
        &self.state.conf_state
    }

    /// Verify more records.
    ///
    /// # Errors
    /// An [`InstallError`] names the page or record that is wrong.
    pub fn step(&mut self) -> Result<Progress, InstallError> {
        let Some(records) = &mut self.records else { return Ok(Progress::Done) };
        let mut seen = 0;
        while seen < STEP_RECORDS {
            let revision = records.next_revision()?;
            if revision.is_empty() {
                self.records = None;
                return Ok(Progress::Done);
            }
            seen += revision.len();
        }
        Ok(Progress::Again)
    }

    /// Empty the store and begin to fill it. Until [`Install::finish`] it must not be asked or
    /// fed, nor checkpointed; of the jobs only a flush may run. A crash meanwhile finds the old
    /// content: its files stay until a checkpoint does without them.
    ///
    /// # Errors
    /// An [`InstallError`] if the file cannot be read any more; the store is then unchanged.
    ///
    /// # Panics
    /// If [`Verification::step`] has not said [`Progress::Done`].
    pub fn install(self, store: &mut Store) -> Result<Install<S>, InstallError> {
        let Self { file, state, records } = self;
        assert!(records.is_none(), "a snapshot is verified before it is installed");
        let records = file.records()?;
        let mut log = take_log(store);
        log.reset();
        let revisions = Revisions {
            current: FIRST_REVISION,
            compact_scheduled: NEVER,
            compact_finished: NEVER,
        };
        let empty = Parts {
            index: Index::default(),
            log,
            revisions,
            tables: Tables::default(),
            applied_index: 0,
            applied_term: 0,
        };
        store.replace(empty);
        Ok(Install { state, records, index: Index::default() })
    }
}

/// Fills an empty store.
pub struct Install<S> {
    state: State,
    records: Records<S>,
    index: Index,
}

impl<S: ReadAt> Install<S> {
    /// Take more records over. While the log says [`RevisionLog::must_wait`], flush instead.
    ///
    /// # Errors
    /// [`InstallError::File`]: the disk does not give what it gave before. The store is then of no
    /// use; a restart finds its old content.
    pub fn step(&mut self, store: &mut Store) -> Result<Progress, InstallError> {
        let (mut records, mut bytes) = (0, 0);
        while records < STEP_RECORDS && bytes < STEP_BYTES {
            let mut revision = self.records.next_revision()?;
            if revision.is_empty() {
                return Ok(Progress::Done);
            }
            // Only there to raise the revision (`etcdutl snapshot restore --bump-revision`).
            revision.retain(|record| !record.body.is_empty());
            for record in &revision {
                self.take(record)?;
                records += 1;
                bytes += record.body.len();
            }
            store.mvcc_mut().log_mut().append(revision);
        }
        Ok(Progress::Again)
    }

    fn take(&mut self, record: &Record) -> Result<(), FileError> {
        let Record { revision, tombstone, body } = record;
        let KeyValue { key, create_revision, version, lease, .. } = KeyValue::decode(body.clone())
            .map_err(|_| FileError::Record {
                main: revision.main,
                sub: revision.sub,
                what: "is no KeyValue",
            })?;
        let change = if *tombstone {
            Version::tombstone(*revision)
        } else {
            let body = BodySum::of(body);
            Version { revision: *revision, create_revision, version, body }
        };
        self.index.append(&key, &change);
        // A tombstone has lease 0, which detaches. Copied, so that a key that stays attached does
        // not keep the page that it was read from.
        self.state.tables.attach(&Bytes::copy_from_slice(&key), lease);
        Ok(())
    }

    /// All records are there: the store is now the sender's. Gives Raft's configuration.
    pub fn finish(self, store: &mut Store) -> ConfState {
        let Self { state, records, index } = self;
        let State {
            applied_index,
            applied_term,
            conf_state,
            compact_scheduled,
            compact_finished,
            revision_bump,
            tables,
        } = state;
        let bumped = (revision_bump > 0).then(|| {
            // etcdutl counts from the last record, also where there is none.
            let compacted = compact_scheduled.max(compact_finished).unwrap_or(0);
            records.last().max(compacted).saturating_add(revision_bump)
        });
        let current = records.revision().max(bumped.unwrap_or(0));
        let revisions = Revisions {
            current,
            compact_scheduled: bumped.or(compact_scheduled).unwrap_or(NEVER),
            compact_finished: compact_finished.unwrap_or(NEVER),
        };
        let log = take_log(store);
        let parts = Parts { index, log, revisions, tables, applied_index, applied_term };
        store.replace(parts);
        conf_state
    }
}

fn take_log(store: &mut Store) -> RevisionLog {
    let log = store.mvcc_mut().log_mut();
    let empty = RevisionLog::new(log.files.clone(), log.options);
    std::mem::replace(log, empty)
}

fn read_tables<S: ReadAt>(file: &SnapshotFile<S>, without: &[&str]) -> Result<Tables, TablesError> {
    let mut tables = Tables::default();
    let is_table = |name: &&str| ![KEY_BUCKET, META_BUCKET].contains(name);
    for bucket in BUCKETS.into_iter().filter(is_table).filter(|name| !without.contains(name)) {
        for (key, value) in file.small_buckets().pairs(bucket) {
            if auth_defaults::is_default(bucket, key, value) {
                continue;
            }
            tables.insert_row(bucket, key.clone(), value.clone())?;
        }
    }
    Ok(tables)
}
