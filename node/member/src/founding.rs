//! A member's directory is made from a content that did not grow in it: a backup.
//!
//! ```text
//!   Verification ──► log: begins behind a checkpoint ──► store: records, then that checkpoint
//! ```
//! All first members of the new cluster are made from the same content, each for itself: the store
//! is as of the last of the entries that a new cluster's log begins with, which add the members,
//! and so equal on all of them.
//!
//! The log comes first: without its checkpoint [`open`](crate::open) refuses it, or lets it stand
//! for a content that only peers can give back, where a store without a log would be a new
//! member's. A founding that is cut off before the log is there is as good as an empty directory:
//! that it is not to become a new member is for the caller to see to.

use quorate_disk::{Completion, Disk};
use quorate_raft::{ConfState, NodeId};
use quorate_replica::wire;
use quorate_store::bbolt::ReadAt;
use quorate_store::checkpoint::{self, OpenOptions};
use quorate_store::jobs::JobOptions;
use quorate_store::members::Member;
use quorate_store::restart::{IndexLoader, RestartError};
use quorate_store::snapshot::{self, InstallError, NewCluster, SnapshotFile, Verification};
use quorate_store::store::{Store, StoreOptions};
use quorate_wal::{self as wal, Log};
use thiserror::Error;

use crate::identity::Book;
use crate::work::{Work, WorkError};
use crate::{JobRunner, applier};

/// The term of the entries that a new cluster's log begins with.
const FIRST_TERM: u64 = 1;

/// Which member of which cluster is made.
#[derive(Clone, Debug)]
pub struct Founder {
    /// The cluster.
    pub cluster: u64,
    /// This member.
    pub member: u64,
    /// All first members, with this one.
    pub members: Vec<Member>,
    /// Differs at every start.
    pub boot: u64,
    /// For the log.
    pub log: wal::Options,
    /// For the store.
    pub store: StoreOptions,
    /// For the store's jobs.
    pub jobs: JobOptions,
}

/// What was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Founded {
    /// The store's revision.
    pub revision: i64,
    /// Up to which revision it is compacted; -1 for never.
    pub compact_revision: i64,
    /// Keys that live.
    pub keys: u64,
    /// Leases.
    pub leases: usize,
    /// Equal on all members that are made from the same content.
    pub state_hash: u64,
}

/// Why a directory was not made.
#[derive(Debug, Error)]
pub enum FoundingError {
    /// The content.
    #[error(transparent)]
    Content(#[from] InstallError),
    /// The store's folder is not empty, or cannot be read.
    #[error(transparent)]
    Open(#[from] checkpoint::OpenError),
    /// An empty store does not begin.
    #[error(transparent)]
    Restart(#[from] RestartError),
    /// The store cannot be written.
    #[error(transparent)]
    Store(#[from] WorkError),
    /// The log cannot be written.
    #[error("the write-ahead log cannot be written")]
    Log(#[from] wal::Failure),
    /// A disk has stopped before all was durable.
    #[error("the disk has stopped before the directory was durable")]
    Stopped,
}

impl Founder {
    /// What the store becomes, apart from the content itself.
    #[must_use]
    pub fn new_cluster(&self, revision_bump: i64) -> NewCluster {
        NewCluster {
            members: self.members.clone(),
            applied_index: self.first_index(),
            applied_term: FIRST_TERM,
            conf_state: wire::conf_state_to_pb(&self.conf_state()),
            revision_bump,
        }
    }

    /// The block of the member's directory, which has not been started on.
    #[must_use]
    pub fn block(&self) -> Book {
        let mut book = Book::new(self.boot);
        book.found(self.cluster, self.member, self.boot);
        book
    }

    fn conf_state(&self) -> ConfState {
        let voters = self.members.iter().map(|member| NodeId(member.id)).collect();
        ConfState::new(voters, Vec::new())
    }

    /// The last of the entries that add the first members.
    fn first_index(&self) -> u64 {
        self.members.len() as u64
    }

    /// Read all of a file, and begin to make this member of it. Nothing is written yet.
    ///
    /// # Errors
    /// An [`InstallError`] names what is wrong with the file.
    pub fn verify<S: ReadAt>(
        &self,
        file: SnapshotFile<S>,
        revision_bump: i64,
    ) -> Result<Verification<S>, InstallError> {
        let mut verification =
            Verification::for_new_cluster(file, self.new_cluster(revision_bump))?;
        while verification.step()? == snapshot::Progress::Again {}
        Ok(verification)
    }

    /// Make the member in two empty folders. It is durable but for the names of the folders.
    /// `wait` is called while a disk has work, until it has done some of it.
    ///
    /// # Errors
    /// A [`FoundingError`]. What is in the folders is then of no use.
    pub fn found<S: ReadAt>(
        &self,
        content: Verification<S>,
        log_disk: &mut dyn Disk,
        store_disk: &mut dyn Disk,
        wait: &mut dyn FnMut() -> bool,
    ) -> Result<Founded, FoundingError> {
        self.begin_log(log_disk, wait)?;
        let identity = checkpoint::Identity { cluster_id: self.cluster, member_id: self.member };
        let options = OpenOptions { identity, log_start: 1, log: self.store.log, jobs: self.jobs };
        let mut loader = IndexLoader::default();
        let opened = checkpoint::open(store_disk.files(), options, &mut loader)?;
        let mut store = Store::restart(self.store, &opened.state, loader, opened.log)?;
        let mut work = Work::new(JobRunner::new(opened.jobs), store_disk, wait);
        let mut install = content.install(&mut store)?;
        loop {
            work.flush(&mut store)?;
            if install.step(&mut store)? == snapshot::Progress::Done {
                break;
            }
        }
        let _ = install.finish(&mut store);
        applier::note_conf_state(&mut store);
        work.checkpoint(&mut store)?;
        Ok(Founded {
            revision: store.revision(),
            compact_revision: store.compact_revision(),
            keys: store.mvcc().index().live(),
            leases: store.leases().len(),
            state_hash: store.state_hash(),
        })
    }

    /// The log begins behind the store's checkpoint, whose entries it never had.
    fn begin_log(
        &self,
        disk: &mut dyn Disk,
        wait: &mut dyn FnMut() -> bool,
    ) -> Result<(), FoundingError> {
        let identity = wal::Identity {
            cluster_id: self.cluster,
            member_id: self.member,
            incarnation: self.boot,
            boot: self.boot,
        };
        let (mut log, _) = Log::create(disk, identity, self.log);
        let index = self.first_index();
        let conf_state = wire::encode_conf_state(&self.conf_state());
        let last = log.append(
            disk,
            wal::Batch {
                hard_state: Some(wal::HardState { term: FIRST_TERM, vote: 0, commit: index }),
                mark: Some(wal::Mark { index, term: FIRST_TERM, conf_state }),
                entries: Vec::new(),
            },
        );
        let mut completions: Vec<Completion> = Vec::new();
        while log.durable() < last {
            disk.poll(&mut completions);
            if completions.is_empty() && !wait() {
                return Err(FoundingError::Stopped);
            }
            for completion in completions.drain(..) {
                log.on_completion(disk, completion)?;
            }
        }
        Ok(())
    }
}
