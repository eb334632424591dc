//! What a job asks of its executor, and how it ends.

use std::io;

use quorate_disk::Operation;

use crate::log::Damage;

/// The kinds of background work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobKind {
    /// Write the tail to segments.
    Flush,
    /// Write a checkpoint.
    Checkpoint,
    /// Rewrite the live records of segments that hold few.
    Collection,
    /// Remove files that nothing needs.
    Cleanup,
    /// Read and check every record on disk.
    Scrub,
}

/// What happens next with the running job.
#[derive(Debug)]
pub enum Step {
    /// Submit these operations in this order, and step again with all their results, in this
    /// order.
    Submit(Vec<Operation>),
    /// Step again, without results; others may have the store in between.
    Again,
    /// The job has ended.
    Done(Outcome),
}

/// What a job has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The tail is in segments.
    Flushed,
    /// A checkpoint at this applied index is durable.
    Checkpointed {
        /// The last applied entry that it holds.
        applied_index: u64,
    },
    /// This many records have moved.
    Collected {
        /// How many.
        records: u64,
    },
    /// This many files are removed.
    Cleaned {
        /// How many.
        files: u64,
    },
    /// All records on disk are sound.
    Scrubbed {
        /// How many.
        records: u64,
    },
}

/// Why a job has failed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The disk is full. Nothing is lost; the job may be started again, after a pause, for it
    /// stays due.
    #[error("the disk is full")]
    Full(#[source] io::Error),
    /// The disk failed a write or a sync. The process must stop: what is durable is unknown.
    #[error("the disk failed; the process must restart and recover")]
    Broken(#[source] io::Error),
    /// A record on disk is damaged. The member must stop and re-sync from its peers.
    #[error(transparent)]
    Damaged(#[from] Damage),
}

impl JobError {
    pub(super) fn of(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(error),
            _ => Self::Broken(error),
        }
    }
}
