//! One member's decisions: events in, effects out.
//!
//! ```text
//!                 Event                                    Effect
//!   clients ──── Propose, Read, RenewLease ──►┌─────────┐──► Fail, ReadReady, LeaseRenewed
//!   peers   ──── Message ────────────────────►│         │──► Send (after a batch is durable)
//!   clock   ──── Tick ───────────────────────►│ Replica │
//!   log     ──── Persisted ──────────────────►│ (raft)  │──► Persist (one write, one sync)
//!   store   ──── Applied, SnapshotPinned ────►│         │──► Apply, InstallSnapshot
//!                                             └─────────┘
//! ```
//!
//! The replica holds Raft and what a member decides around it: which proposals are in flight and
//! until when, which reads wait for what, when a lease ends, what a membership change may be,
//! when followers need a snapshot and what the log may forget, whether the store takes more.
//! Two executors carry out its effects: the server with threads, the simulator in virtual time.
//!
//! It has no threads, no clock and no files, and it never sees an answer of the store: the
//! executor answers a client when it applies the client's entry.
//!
//! Invariants:
//! - Nothing that depends on durability leaves before its batch is durable ([`Effect::Send`]).
//! - Every request is answered at most once by an effect, and within the request timeout.
//! - Each attempt to confirm leadership carries a context that is never used again.
//! - A lease is renewed or revoked only by a leader that a quorum confirmed after it was asked.
//! - A member whose log was damaged neither campaigns nor helps a candidate that lacks what the
//!   member may have acknowledged ([`Repair`]).

mod boot;
mod config;
mod effect;
mod ended_renewals;
mod event;
mod held_changes;
mod lease_clock;
mod leases;
mod log;
mod membership;
mod own_requests;
mod proposals;
mod quota;
mod reads;
mod ready;
mod repair;
mod replica;
mod request_id;
mod snapshots;
mod status;
mod time;
mod transfer;
pub mod wire;

pub use boot::{Boot, BootError, Checkpoint};
pub use config::Config;
pub use effect::{BatchId, Effect, Halt, LogBatch, LogMark};
pub use event::{
    AlarmFact, AlarmKind, Applied, ConfChangeVerdict, DiskRoom, Event, Facts, LeaseChange,
    LeaseFact, MemberFact, MembershipChange, Presence, Priority, Proposal, Role, SnapshotOutcome,
};
pub use repair::Repair;
pub use replica::Replica;
pub use request_id::{RequestId, RequestIds};
pub use status::{Follower, Standing, Status};
pub use time::Time;
