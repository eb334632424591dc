//! How a data directory becomes a member.
//!
//! ```text
//!   log       store's checkpoint
//!    │             │
//!    ├─ empty ─────┼─ empty ──► a new member: of a new cluster, or one that joins
//!    ├─ clean ─────┼─ whole ──► goes on where it was
//!    ├─ torn ──────┤            the tail was never acknowledged: cut
//!    ├─ damaged ───┤            in a cluster: repaired from peers; alone: refused
//!    └─ whole ─────┴─ damaged ► in a cluster: both are laid aside, everything comes from peers,
//!                               and the member votes as if it still had its log; alone: refused
//! ```
//!
//! The log must be the one that the directory's block tells of (see [`identity`](crate::identity)):
//! a block without its log, a log without its block, or two that were never one are refused. A
//! lone member, whose vote nobody else counts on, makes itself a new block.
//!
//! Nothing is guessed: what is neither whole nor repairable is refused, with the file and the way
//! out. What goes on may answer for what it found only once that is durable, so opening ends
//! with a batch to wait for.

mod create;
mod error;
mod loss;
mod peers;
mod read;
mod resume;
mod start_over;

use std::sync::Arc;

use quorate_disk::{Completion, Disk, Files};
use quorate_raft::{Entry, HardState};
use quorate_replica::{Boot, wire};
use quorate_store::checkpoint;
use quorate_store::jobs::JobOptions;
use quorate_store::members::Member;
use quorate_store::restart::IndexLoader;
use quorate_store::store::{Store, StoreOptions};
use quorate_wal::{self as wal, Log};

use crate::identity::{Own, Stage};
use crate::{JobRunner, LogWriter};
use create::create;
use peers::has_peers_by_log;
use resume::resume;
use start_over::start_over;

pub use error::{OpenError, StoreError};
pub(crate) use loss::end_of;
pub(crate) use read::{Read, read};

/// What a member is opened with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What an empty directory becomes.
    pub fresh: Fresh,
    /// The directory's block, with this start in it; one that was not there before has no ids.
    pub own: Own,
    /// Differs at every start.
    pub boot: u64,
    /// For the log.
    pub log: wal::Options,
    /// For the store.
    pub store: StoreOptions,
    /// For the store's jobs.
    pub jobs: JobOptions,
}

/// What an empty directory becomes.
#[derive(Clone, Debug)]
pub enum Fresh {
    /// One of the first members of a new cluster.
    Bootstrap {
        /// The cluster.
        cluster: u64,
        /// This member.
        member: u64,
        /// All of the first members, with this one.
        members: Vec<Member>,
    },
    /// A member that was added to a cluster.
    Join {
        /// The cluster.
        cluster: u64,
        /// This member.
        member: u64,
    },
}

/// What was found, for people and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The directory was empty.
    Fresh,
    /// The log's tail was torn, and was cut.
    TornTail {
        /// The file, below the log's folder.
        file: String,
        /// Where it begins, in bytes.
        offset: u64,
    },
    /// The log is damaged and will be repaired from peers.
    DamagedLog {
        /// The file, below the log's folder.
        file: String,
        /// Where the damage begins, in bytes.
        offset: u64,
        /// The first index that is lost.
        from: u64,
        /// The last index that may have been acknowledged.
        to: u64,
    },
    /// The store is damaged and will be had from peers.
    DamagedStore(String),
    /// The newest checkpoint is damaged; the one before it was taken.
    OlderCheckpoint(String),
    /// The member was under repair when it stopped.
    Repairing {
        /// Up to this index.
        to: u64,
    },
    /// The block of a lone member was missing; it makes itself a new one.
    NewIdentity,
}

/// A directory on its way to a member.
pub struct Opening {
    opened: Opened,
    wait: wal::BatchId,
}

/// A directory that can run as a member.
pub struct Opened {
    /// The cluster.
    pub cluster: u64,
    /// This member.
    pub member: u64,
    /// Which data directory this is.
    pub incarnation: u64,
    /// The log.
    pub writer: LogWriter,
    /// The store.
    pub store: Store,
    /// The store's background work.
    pub jobs: JobRunner,
    /// What the replica starts with.
    pub boot: Boot,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Opening {
    /// Hear the end of an operation of the log's disk.
    ///
    /// # Errors
    /// When the log cannot go on.
    pub fn on_completion(
        &mut self,
        disk: &mut dyn Disk,
        completion: Completion,
    ) -> Result<(), wal::Failure> {
        self.opened.writer.on_completion(disk, completion, &mut crate::Freed::default())
    }

    /// What was found.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.opened.findings
    }

    /// The member, once all that was found is durable.
    ///
    /// # Errors
    /// Gives itself back while it is not.
    #[expect(clippy::result_large_err, reason = "the error is the value itself, handed back")]
    pub fn try_finish(mut self) -> Result<Opened, Self> {
        if self.opened.writer.log().durable() < self.wait {
            return Err(self);
        }
        let Opened { writer, boot, .. } = &mut self.opened;
        let last = boot.entries.last().map_or(boot.log_start.0, |entry| entry.index.0);
        let index = last.max(boot.checkpoint.index);
        writer.begin_at(boot.hard_state.term.0.max(boot.checkpoint.term), index);
        Ok(self.opened)
    }
}

/// Open a directory, or make it.
///
/// # Errors
/// [`OpenError`] says what is wrong with which file, and what to do.
pub fn open(
    settings: &Settings,
    log_disk: &mut dyn Disk,
    store_files: Arc<dyn Files>,
) -> Result<Opening, OpenError> {
    match Log::open(&*log_disk.files(), settings.log) {
        Err(wal::OpenError::Empty) => match settings.own.stage {
            Stage::Founding => create(settings, log_disk, store_files),
            Stage::Founded => {
                let Own { cluster, member, .. } = settings.own;
                Err(OpenError::NoLog { cluster, member })
            }
        },
        Err(error) => Err(error.into()),
        Ok((log, recovered)) => {
            let news = check_block(settings, &recovered)?;
            let mut opening = go_on(settings, log_disk, store_files, log, recovered)?;
            opening.opened.findings.extend(news);
            Ok(opening)
        }
    }
}

/// Whether block and log are of one directory, or may become so.
fn check_block(
    settings: &Settings,
    recovered: &wal::Recovered,
) -> Result<Option<Finding>, OpenError> {
    let (own, log) = (&settings.own, recovered.identity);
    match own.stage {
        Stage::Founding if own.incarnation == log.incarnation => Ok(None),
        Stage::Founding if has_peers_by_log(settings, recovered)? => {
            Err(OpenError::NoIdentity { cluster: log.cluster_id, member: log.member_id })
        }
        Stage::Founding => Ok(Some(Finding::NewIdentity)),
        Stage::Founded if (own.cluster, own.member) != (log.cluster_id, log.member_id) => {
            Err(OpenError::OtherIdentity {
                cluster: own.cluster,
                member: own.member,
                log_cluster: log.cluster_id,
                log_member: log.member_id,
            })
        }
        Stage::Founded if own.incarnation != log.incarnation => {
            Err(OpenError::OtherDirectory { cluster: own.cluster, member: own.member })
        }
        Stage::Founded => Ok(None),
    }
}

fn go_on(
    settings: &Settings,
    log_disk: &mut dyn Disk,
    store_files: Arc<dyn Files>,
    log: Log,
    recovered: wal::Recovered,
) -> Result<Opening, OpenError> {
    let identity = wal::Identity { boot: settings.boot, ..recovered.identity };
    let log_start = log_start(&recovered);
    let noted = checkpoint::noted_damage(&*store_files).map_err(StoreError::from)?;
    if let Some(what) = noted
        && has_peers_by_log(settings, &recovered)?
    {
        // A member alone goes on with what can still be read.
        let error = StoreError::Noted(what);
        return start_over(settings, log_disk, store_files, (log, recovered), error);
    }
    match open_store(settings, identity, Arc::clone(&store_files), log_start) {
        Ok((store, jobs, fell_back)) => {
            let mut findings = Vec::new();
            findings.extend(fell_back.map(Finding::OlderCheckpoint));
            resume(settings, log_disk, log, recovered, (store, jobs), findings)
        }
        Err(error) if error.is_damage() => {
            start_over(settings, log_disk, store_files, (log, recovered), error)
        }
        Err(error) => Err(error.into()),
    }
}

/// The first index that the log holds.
fn log_start(recovered: &wal::Recovered) -> u64 {
    recovered.entries.first().map_or_else(
        || recovered.mark.as_ref().map_or(1, |mark| mark.index + 1),
        |entry| entry.index,
    )
}

fn hard_state_for_log(hard_state: HardState) -> wal::HardState {
    wal::HardState { term: hard_state.term.0, vote: hard_state.vote.0, commit: hard_state.commit.0 }
}

fn decode_entries(entries: &[wal::Entry]) -> Result<Vec<Entry>, OpenError> {
    let decode = |entry: &wal::Entry| {
        wire::decode_entry(entry.body.clone())
            .map_err(|source| OpenError::Entry { index: entry.index, source })
    };
    entries.iter().map(decode).collect()
}

/// A store, its background work, and the damage for which an older checkpoint was taken.
type OpenStore = (Store, quorate_store::jobs::Jobs, Option<String>);

fn open_store(
    settings: &Settings,
    identity: wal::Identity,
    files: Arc<dyn Files>,
    log_start: u64,
) -> Result<OpenStore, StoreError> {
    let mut loader = IndexLoader::default();
    let opened = checkpoint::open(files, open_options(settings, identity, log_start), &mut loader)?;
    let checkpoint::Opened { state, log, jobs, fell_back } = opened;
    let store = Store::restart(settings.store, &state, loader, log)?;
    Ok((store, jobs, fell_back.map(|damage| damage.to_string())))
}

fn open_options(
    settings: &Settings,
    identity: wal::Identity,
    log_start: u64,
) -> checkpoint::OpenOptions {
    checkpoint::OpenOptions {
        identity: checkpoint::Identity {
            cluster_id: identity.cluster_id,
            member_id: identity.member_id,
        },
        log_start,
        log: settings.store.log,
        jobs: settings.jobs,
    }
}
