//! The replicated state machine: keys and their history, watches, leases, members, alarms.
//!
//! One [`Store`](store::Store) is fed the committed entries of the Raft log, in order, and answers
//! reads at any revision that is not compacted. Equal entries give equal stores on every member.
//!
//! ```text
//!                       Entry                                   RangeRequest …
//!                         │                                           │
//!   ┌─────────────────────▼───────────────────────────────────────────▼────────────┐
//!   │ store   apply/* ── one file per kind of request     mvcc/range, apply/txn    │
//!   │           │                                                     │            │
//!   │           ▼                                                     ▼            │
//!   │   lease, members, alarms, quota        mvcc = index (key → revisions)        │
//!   │   (small tables, in memory)                 + log   (revision → KeyValue)    │
//!   └───────────┬──────────────────────────────────────┬───────────────────────────┘
//!               │ tables, index export                 │ records
//!           checkpoint, snapshot (bbolt)           segments (jobs), watch
//! ```
//!
//! It never waits, never reads a clock, draws no random number, starts no thread and knows no
//! network: only applied entries change what it answers. Background work is described as jobs
//! that the executor runs; they move bytes, never answers.
//!
//! Invariants:
//! - Equal applied index ⇒ equal [state hash](hash) on all members.
//! - An entry is applied once, and in the order of its index.
//! - An error of an applied request is a reply, equal on all members; what is not (damage on this
//!   member's disk) stops the member and is never a reply.

pub mod alarms;
pub mod apply;
pub mod bbolt;
pub mod checkpoint;
pub mod cluster;
pub mod compaction;
pub mod entry;
pub mod hash;
pub mod jobs;
pub mod lease;
pub mod log;
pub mod members;
pub mod mvcc;
pub mod quota;
pub mod restart;
pub mod revision;
pub mod snapshot;
pub mod store;
pub mod tables;
pub mod watch;
