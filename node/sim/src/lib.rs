//! Whole clusters from one seed: the members' real decisions over a disk, a network and a clock
//! that fail, and the judges of what comes out.
//!
//! Nothing here reads a clock, starts a thread or draws a number that does not follow from the
//! seed: equal seeds give equal runs, bit for bit.
//!
//! ```text
//!   random ──► faults, workload ──► members ──┬─ observations, every step ─► check::{raft,
//!                                             │             state_hash, bounded} ─► Violation
//!                                             └─ history of the clients, at the end ─►
//!               check::linearizable ─► Linearization ─► check::{serializable, watch, lease,
//!                                                       durability} ─► Violation
//! ```

pub mod check;
pub mod client;
pub mod history;
pub mod model;
pub mod random;
pub mod world;
