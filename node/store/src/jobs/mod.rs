//! Background work, described: the executor carries it out, one job at a time.
//!
//! ```text
//!   loop {                                            no job runs: due(store) ──► start(kind)
//!       jobs.prepare();                               no lock: reads, checks, encodes
//!       match jobs.step(&mut store, results) {        the store's lock, for a moment
//!           Submit(operations) ──► the disk ──► results
//!           Again              ──► apply may run in between
//!           Done(outcome)      ──► the next job
//!       }
//!   }
//! ```
//! A long job makes way for the tail: between its steps [`Jobs`] flushes whenever that is due, so
//! that one job at a time is enough and apply is never held up for long.
//!
//! It never changes an answer, and never knows when a job's operations are carried out.
//!
//! Invariants:
//! - A job may be cut at any point, by a crash, by [`Jobs::abort`] or by a full disk: nothing
//!   that is acknowledged or checkpointed is lost.
//! - A file is removed only when no record that is live, no kept checkpoint and no
//!   [`Pin`](crate::log::Pin) needs it.
//! - A failed sync is not tried again: the file is given up.

mod cleanup;
mod collection;
mod flush;
mod running;
mod scrub;
mod step;
#[cfg(test)]
mod tests;

pub use running::{JobOptions, Jobs};
pub use step::{JobError, JobKind, Outcome, Step};
