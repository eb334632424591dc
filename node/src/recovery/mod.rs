//! What is left of a cluster that lost its majority: looked at, and the best of it made a new one.
//!
//! ```text
//!   directories ── look, only read ──► Survivor … ── choose, as Raft would elect ──► the best
//!                                         │                                            │
//!                       quorate data status                     quorate recover: a backup's file,
//!                                                               or a member of a new cluster
//! ```
//! Sources are locked if they have a lock, and never written to. The new cluster has ids of its
//! own, so that nobody of the old one is ever taken for a member of it.

mod choose;
mod look;
mod recover;
mod status;

pub(crate) use recover::recover_command;
pub(crate) use status::data_command;
