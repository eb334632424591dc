//! The durable log: batches of entries, each with the hard state, in pre-written segments.
//!
//! It knows records and where they are; it knows none of Raft's rules, except that an entry
//! written again at a lower index ends what came after it, that a hard state belongs to a term,
//! and how two ends of a log compare. It has no clock and no thread: operations are submitted to a disk, and what became
//! durable is learnt from their completions.
//!
//! ```text
//!   append ──► one write + one sync ──► on_completion ──► BatchId is durable
//!
//!   0000000000000007.log       0000000000000008.log       0000000000000009.log   reserve
//!   ┌──────┬────┬────┬────┐    ┌──────┬────┬────┬─ ─ ┐    ┌─ ─ ─ ─ ─ ─ ─ ─ ─┐   ┌─ ─ ─ ─ ┐
//!   │header│ 41 │ 42 │seal│───►│header│ 43 │ 44 │         │ pre-written next     │ for a
//!   │ ×2   │    │    │ 42 │    │ ×2   │    │    │    │    │ one             │    full disk
//!   └──────┴────┴────┴────┘    └──────┴────┴────┴─ ─ ┘    └─ ─ ─ ─ ─ ─ ─ ─ ─┘   └─ ─ ─ ─ ┘
//! ```
//!
//! Invariants:
//! - A batch is durable as a whole or was never acknowledged; batches become durable in order.
//! - No byte of a file's former life is ever read as a record: every checksum begins with a salt
//!   that differs between two lives of a file (see the format file).
//! - Damage among acknowledged batches is never taken for the end of the log ([`Outcome`]; the
//!   argument is in the recovery module).
//! - Segments are given back only after a durable batch says that they are not needed.
//! - A failed sync is final: [`Failure::Fatal`], nothing is tried again.

mod encoding;
mod extent;
pub mod inspect;
mod proof;
mod reader;
mod record;
mod recovery;
pub mod repair;
mod retention;
mod segment;
mod writer;

use std::io;

use bytes::Bytes;

pub use recovery::{Damage, HardStateCertainty, OpenError, Outcome, Recovered};
pub use segment::Options;
pub use writer::{Log, Space};

/// One entry of the replicated log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log.
    pub index: u64,
    /// The term of the leader that made it.
    pub term: u64,
    /// The bytes of the entry, opaque here.
    pub body: Bytes,
}

/// Where a log ends: its last entry, or its mark. Of two, that of the later term is the later, and
/// in one term that of the higher index, as members compare their logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// The term of the last entry.
    pub term: u64,
    /// Its index; 0 for an empty log.
    pub index: u64,
}

/// What a member must remember before it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The newest term that the member has seen.
    pub term: u64,
    /// Whom it voted for in that term; 0 for nobody.
    pub vote: u64,
    /// The highest index known to be committed.
    pub commit: u64,
}

/// A checkpoint or snapshot that holds everything up to an index: the log starts after it.
///
/// If the log has an entry with this index and term, what follows it stays; if not, the whole log
/// is replaced by the mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The last index that the checkpoint holds.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
    /// The configuration at that index, opaque here.
    pub conf_state: Bytes,
}

/// What is written and synced as one. The mark goes before the entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The hard state from now on, if it changes.
    pub hard_state: Option<HardState>,
    /// A checkpoint, if there is a new one.
    pub mark: Option<Mark>,
    /// Entries with ascending indexes, the first at most one above the last index of the log. At
    /// a lower one, it and all after it are replaced.
    pub entries: Vec<Entry>,
}

/// Whose log it is; in every segment's header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: u64,
    /// The member in it.
    pub member_id: u64,
    /// Which of the member's data directories.
    pub incarnation: u64,
    /// How many times the member had started when the segment was begun.
    pub boot: u64,
}

/// A batch's number: they count up by one, and become durable in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// Why the log cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A write or sync failed. What is durable is known again only after the next start.
    #[error("log file {path}: {action} failed")]
    Fatal {
        /// The file, below the log's folder.
        path: String,
        /// What was tried.
        action: &'static str,
        /// What the disk said.
        source: io::Error,
    },
    /// The disk is full and the reserve is used up: the newest batches are not durable.
    #[error("the disk is full and the log's reserve is used up")]
    DiskFull,
}
