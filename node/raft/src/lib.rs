//! Consensus as a state machine: one member of a replicated log, after the Raft paper and thesis,
//! and in messages, numbers and behaviour as etcd's members expect it.
//!
//! ```text
//!   tick ─────────┐                                        ┌──► entries, hard state, snapshot
//!   step(message) │   ┌──────────────────────────────┐     │    to make durable
//!   propose ──────┼──►│ RawNode ─► Raft              │     ├──► messages to send
//!   read_index ───┤   │   election    follower       │──►Ready   (some only after the write)
//!   transfer ─────┘   │   leader      replication    │     ├──► entries to apply
//!                     │   read_index  reconfigure    │     └──► reads that are confirmed
//!   advance, or ─────►│   log + unstable ── Storage  │
//!   storage responses └──────────────────────────────┘
//! ```
//!
//! It never does IO, never looks at a clock, has no threads, no randomness but what grows from
//! the caller's seed, and logs nothing: equal inputs give equal outputs. What it wants done is in
//! [`Ready`]; what it reads of the past comes through [`Storage`].
//!
//! Invariants, each with its place in the paper:
//! - a term has at most one leader (§5.2), and votes count only once durable;
//! - a leader only appends (§5.3); logs that share an entry share everything before it (§5.3);
//! - what is committed is in the log of every later leader (§5.4), and commit never goes back;
//! - decisions in a joint configuration need both majorities (§6, thesis 4.3);
//! - a read is confirmed only by a quorum that answered after it came (thesis 6.4).
//!
//! It panics only if one of its own invariants is broken, or the caller breaks the order of calls;
//! never on a message, which at worst gives a [`StepError`]. After a [fatal](StepError::is_fatal)
//! one the member must be stopped: somebody has lost what it had promised to keep.
//!
//! Left out on purpose: transport, storage and the choice when to snapshot are the caller's, as
//! is making each attempt of a read unique.

mod conf_change;
mod config;
mod election;
mod entry;
mod error;
mod follower;
mod inflights;
mod jitter;
mod leader;
mod log;
pub mod membership;
mod message;
mod node;
mod node_set;
mod output;
mod progress;
pub mod quorum;
mod raft;
mod read_index;
mod reconfigure;
mod replication;
mod status;
mod storage;
mod tracker;
mod types;
mod unstable;

pub use conf_change::{
    AnyConfChange, AutoLeave, ConfChange, ConfChangeKind, ConfChangeSingle, ConfChangeTransition,
    ConfChangeV2, DecodeError,
};
pub use config::{Config, ConfigError, ReadOnlyOption};
pub use entry::{ConfState, Entry, EntryKind, Snapshot, SnapshotMetadata, limit_size};
pub use error::StepError;
pub use inflights::Inflights;
pub use membership::ConfChangeError;
pub use message::{Message, MessageKind};
pub use node::{RawNode, SnapshotStatus};
pub use node_set::NodeSet;
pub use output::{ReadState, Ready};
pub use progress::{Progress, ProgressMap, ProgressState};
pub use raft::Raft;
pub use read_index::READS_MAX;
pub use status::{BasicStatus, ProgressStatus, Status};
pub use storage::{MemoryStorage, Storage, StorageError};
pub use tracker::Tracker;
pub use types::{EntryId, HardState, Index, NodeId, Participation, Role, SoftState, Term};
