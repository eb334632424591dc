//! Whole clusters from one seed: the members' real decisions over a disk, a network and a clock
//! that fail, judged at every step and, by what their clients saw, at the end (`judge`).
//!
//! Nothing here reads a clock, starts a thread or draws a number that does not follow from the
//! seed: equal seeds give equal runs, bit for bit.
//!
//! ```text
//!   random ──► faults, workload ──► members ──┬─ observations, every step ─► check::{raft,
//!                                             │             state_hash, bounded} ─► Violation
//!                                             └─ history of the clients, at the end ─►
//!                                                           check::clients ─► Violation
//! ```

pub mod world;

use judge::{check, client, history, random};
