//! Why a directory does not become a member, and what to do then.

use quorate_replica::wire;
use quorate_store::checkpoint;
use quorate_store::restart::RestartError;
use quorate_wal as wal;
use thiserror::Error;

use crate::identity::REMEDY;

/// Why a directory does not become a member.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] wal::OpenError),
    /// The store cannot be read, and nobody can help.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log lost acknowledged entries, and this member has no peers to get them from.
    #[error(
        "log file {file}, byte {offset}: acknowledged entries from index {index} on are damaged, \
         and this member is alone: restore a backup, or give them up with `quorate log repair \
         --force-truncate`"
    )]
    DamagedAlone {
        /// The file, below the log's folder.
        file: String,
        /// Where the damage begins, in bytes.
        offset: u64,
        /// The first index that is lost.
        index: u64,
    },
    /// The directory says whose it is, and the log is gone.
    #[error(
        "the data directory is of member {member:x} of cluster {cluster:x}, and its write-ahead \
         log is gone: put it back (--wal-dir), or {REMEDY}"
    )]
    NoLog {
        /// The cluster.
        cluster: u64,
        /// The member.
        member: u64,
    },
    /// There is a log, and nothing says that it is all that the member had.
    #[error(
        "the write-ahead log is of member {member:x} of cluster {cluster:x}, and the file \
         `identity` that goes with it is missing or unreadable: the data directory was lost or \
         replaced. Put it back, or {REMEDY}"
    )]
    NoIdentity {
        /// The cluster.
        cluster: u64,
        /// The member.
        member: u64,
    },
    /// Directory and log are of two members.
    #[error(
        "the data directory is of member {member:x} of cluster {cluster:x}, and the write-ahead \
         log of member {log_member:x} of cluster {log_cluster:x}: start each with its own, or \
         {REMEDY}"
    )]
    OtherIdentity {
        /// The directory's cluster.
        cluster: u64,
        /// The directory's member.
        member: u64,
        /// The log's cluster.
        log_cluster: u64,
        /// The log's member.
        log_member: u64,
    },
    /// Directory and log are of one member, and were never one.
    #[error(
        "the data directory and the write-ahead log of member {member:x} of cluster {cluster:x} \
         do not belong together: one of them was replaced. Put back what does, or {REMEDY}"
    )]
    OtherDirectory {
        /// The cluster.
        cluster: u64,
        /// The member.
        member: u64,
    },
    /// An entry that the log vouches for is no entry.
    #[error("the log's entry {index} cannot be read: {source}")]
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong.
        source: wire::WireError,
    },
}

/// Why a store's folder is no store.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Its files are not what they should be.
    #[error(transparent)]
    Open(#[from] checkpoint::OpenError),
    /// Its files are whole, and contradict each other.
    #[error(transparent)]
    Restart(#[from] RestartError),
    /// It did not give back what was written, the last time that it ran.
    #[error("the store was found damaged while it ran: {0}")]
    Noted(String),
}

impl StoreError {
    /// Whether peers can help.
    pub(super) fn is_damage(&self) -> bool {
        use checkpoint::OpenError as Open;
        match self {
            Self::Restart(_)
            | Self::Noted(_)
            | Self::Open(Open::Damaged(_) | Open::TooOld { .. } | Open::Gap { .. }) => true,
            Self::Open(Open::Newer { .. } | Open::OtherIdentity { .. } | Open::List(_)) => false,
        }
    }
}
