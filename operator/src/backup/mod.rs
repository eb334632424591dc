//! Backups: made on demand and by schedule, kept, proved, deleted.
//!
//! ```text
//!   spec.backup ─▶ upkeep ─▶ QuorateBackup ─▶ plan ─▶ pods ─▶ worker ── snapshot ──▶ destination
//!                    ▲            ▲            │                │
//!                    └── status ──┴────────────┘◀─── report ────┘
//! ```
//! The operator decides and pods carry: what is large passes through a pod of the operator's image,
//! next to the members, and never through the operator. All destinations are reached in this one
//! way, since one of them, a volume, can be reached in no other.
//!
//! | module | what it is |
//! |---|---|
//! | `plan`, `upkeep`, `schedule` | what to do about one backup, about all of a cluster's, and when: pure |
//! | `place`, `pods`, `task` | where files are, the pods, and what they are told and tell: values |
//! | `worker`, `transfer`, `snapshot`, `store`, `endpoint`, `cause` | what runs in the pods |
//! | `controller` | asks the API server, and writes |
//!
//! Invariants:
//! - A file has its name only when it is whole and its SHA-256 was compared. What stands beside it
//!   is written after it.
//! - A backup never changes its cluster: it reads from one member.
//! - A failure has a cause in one word, in a condition and in an Event, and is tried again with
//!   growing pauses, so many times.
//! - No more than a few parts of a file are in memory.

mod cause;
mod controller;
mod endpoint;
pub mod place;
pub mod plan;
pub mod pods;
pub mod schedule;
mod snapshot;
mod store;
pub mod task;
mod transfer;
pub mod upkeep;
pub mod worker;

pub use cause::{Cause, Failure};
pub use controller::{backups_of, before_upgrade, keep_up, look, look_at_backup, run};
