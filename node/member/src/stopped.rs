//! A directory on which nobody runs: what it holds, and how it becomes the only one of its cluster.
//!
//! ```text
//!   log, checkpoint ── look ──► Looked: who, how far, what is damaged       changes nothing
//!                                  └── replay ──► Stopped: all that the log holds, applied
//!                                                    └── leave ──► a checkpoint: one member
//! ```
//! All entries of the log are applied, also those of which the log does not say that they are
//! committed: it says so late, as the commit index travels with the next batch, and what was
//! acknowledged must not be lost for that. A leader that had this log would commit them, too.
//!
//! Becoming the only one is one checkpoint, behind the log's end and of a later term: before it is
//! durable nothing has changed, and once it is, [`open`] lets the log begin behind it.

use std::sync::Arc;

use quorate_disk::{Disk, Files};
use quorate_raft::Entry;
use quorate_store::entry::Fatal;
use quorate_store::jobs::Jobs;
use quorate_store::members::Member;
use quorate_store::store::Store;
use quorate_wal::{self as wal, Outcome};
use thiserror::Error;

use crate::open::{self, OpenError, Settings, StoreError};
use crate::work::{Work, WorkError};
use crate::{JobRunner, applier};

/// Entries that are applied before what waits in memory is written.
const CHUNK_ENTRIES: usize = 256;

/// What a directory holds.
pub struct Looked {
    /// Whose it is.
    pub identity: wal::Identity,
    /// Term and vote, and what is known to be committed, as of the last batch.
    pub hard_state: wal::HardState,
    /// Index and term of the last entry, of the log or of the checkpoint.
    pub last: (u64, u64),
    /// What is wrong with the log, if anything is.
    pub log_damage: Option<LogDamage>,
    /// The store as of its checkpoint, or why there is none.
    pub store: Result<Store, StoreError>,
    jobs: Option<Jobs>,
    entries: Vec<Entry>,
}

/// What is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LogDamage {
    /// Acknowledged batches are not readable.
    #[error(
        "log file {file}, byte {offset}: entries from index {from} on are damaged, and those up to \
         {to} may have been acknowledged"
    )]
    Damaged {
        /// The file, below the log's folder.
        file: String,
        /// Where the damage begins, in bytes.
        offset: u64,
        /// The first index that is lost.
        from: u64,
        /// The last that may have been acknowledged.
        to: u64,
    },
    /// It was damaged, and is not repaired yet.
    #[error("the log was damaged, and its entries up to index {to} are not all had from peers yet")]
    Repairing {
        /// The last index that may have been acknowledged.
        to: u64,
    },
}

/// Why a directory cannot be used to its end.
#[derive(Debug, Error)]
pub enum StoppedError {
    /// The log is damaged.
    #[error(transparent)]
    Log(#[from] LogDamage),
    /// The store is damaged, or somebody else's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An entry cannot be applied.
    #[error(transparent)]
    Entry(#[from] Fatal),
    /// The checkpoint cannot be written.
    #[error(transparent)]
    Work(#[from] WorkError),
}

/// Look at a directory. Nothing is written.
///
/// # Errors
/// There is no log that can be read.
pub fn look(
    settings: &Settings,
    log_files: &dyn Files,
    store_files: Arc<dyn Files>,
) -> Result<Looked, OpenError> {
    let (_, recovered) = wal::Log::open(log_files, settings.log)?;
    let open::Read { store, jobs, entries, last } = open::read(settings, store_files, &recovered)?;
    let log_damage = match &recovered.outcome {
        // A repair that has everything again may not have said so yet.
        Outcome::Clean | Outcome::TornTail { .. } => recovered
            .repairing_until
            .filter(|until| (last.1, last.0) < (until.term, until.index))
            .map(|until| LogDamage::Repairing { to: until.index }),
        Outcome::Damaged(damage) | Outcome::MissingSegment { damage, .. } => {
            let wal::Damage { file, offset, first_bad_index: from, .. } = damage;
            let to = damage.possibly_acknowledged_up_to;
            Some(LogDamage::Damaged { file: file.clone(), offset: *offset, from: *from, to })
        }
    };
    let (identity, hard_state) = (recovered.identity, recovered.hard_state);
    Ok(Looked { identity, hard_state, last, log_damage, store, jobs, entries })
}

/// A directory's content with everything that its log holds.
pub struct Stopped {
    /// Whose it is.
    pub identity: wal::Identity,
    /// The newest term that the member has seen.
    pub term: u64,
    /// The content.
    pub store: Store,
    jobs: Jobs,
    entries: Vec<Entry>,
}

impl Looked {
    /// The directory's content, up to which nothing is damaged.
    ///
    /// # Errors
    /// [`StoppedError`], of the damage, unless `despite` says that it is known.
    pub fn replay(self, despite: Despite) -> Result<Stopped, StoppedError> {
        let Self { identity, hard_state, last, log_damage, store, jobs, entries } = self;
        match (despite, log_damage) {
            (Despite::Nothing, Some(damage)) => return Err(damage.into()),
            (Despite::Nothing, None) | (Despite::LogDamage, _) => {}
        }
        let store = store?;
        let jobs = jobs.expect("a store has its jobs");
        let term = hard_state.term.max(last.1);
        Ok(Stopped { identity, term, store, jobs, entries })
    }
}

/// Which damage is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Despite {
    /// None.
    Nothing,
    /// That of the log: what is behind it is lost.
    LogDamage,
}

/// Who is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The members that are removed.
    pub removed: Vec<u64>,
    /// The entry behind which the log begins.
    pub index: u64,
}

impl Stopped {
    /// Apply everything in memory: nothing is written.
    ///
    /// # Errors
    /// An entry cannot be applied.
    pub fn into_store(mut self) -> Result<Store, Fatal> {
        for entries in self.entries.chunks(CHUNK_ENTRIES) {
            applier::apply(&mut self.store, entries, |_| false)?;
        }
        Ok(self.store)
    }

    /// Leave the cluster to this member, who keeps its id and the cluster's, and is reached at
    /// these URLs if it was no member any more. Durable when this returns. `wait` is called while
    /// the disk has work, until it has done some of it. Does nothing where it is alone already.
    ///
    /// # Errors
    /// A [`StoppedError`]. The directory is then as it was, or done with.
    pub fn leave(
        self,
        peer_urls: &[String],
        store_disk: &mut dyn Disk,
        wait: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Left>, StoppedError> {
        let Self { identity, term, mut store, jobs, entries } = self;
        let mut work = Work::new(JobRunner::new(jobs), store_disk, wait);
        for entries in entries.chunks(CHUNK_ENTRIES) {
            work.flush(&mut store)?;
            applier::apply(&mut store, entries, |_| false)?;
        }
        let own = identity.member_id;
        let known = store.members().get(own).cloned();
        let removed: Vec<u64> =
            store.members().iter().map(|member| member.id).filter(|id| *id != own).collect();
        if removed.is_empty() && known.as_ref().is_some_and(|member| !member.is_learner) {
            return Ok(None);
        }
        let member = known.unwrap_or_else(|| Member {
            id: own,
            peer_urls: Some(peer_urls.to_vec()),
            ..Member::default()
        });
        let index = store.applied_index() + 1;
        // Of a term that nobody has seen, so that the log of before does not go on behind it.
        store.leave_to(Member { is_learner: false, ..member }, (index, term + 1));
        applier::note_conf_state(&mut store);
        work.checkpoint(&mut store)?;
        Ok(Some(Left { removed, index }))
    }
}
