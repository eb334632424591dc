//! Asking the API server, and writing to it.
//!
//! ```text
//!   Objects ── get, list, apply, merge, delete ──▶ kube::Client ──▶ Counted ──▶ the API server
//!   Events  ── what a person wants to know     ──▶     │
//! ```
//!
//! It decides nothing about clusters. Reads go to the API server and are as new as it is; nothing
//! here has a cache.
//!
//! Invariants:
//! - Who writes is told apart by concern: [`Manager`]. What one concern no longer says, goes; what
//!   others say, stays.
//! - An object that exists and is not owned by the cluster is never written over: [`Objects::apply`].
//! - A delete names the uid of what it means: what came later under the same name stays.
//! - Every call ends within [`CALL_TIMEOUT`]. One that does not may have happened.

mod calls;
mod error;
mod events;
mod objects;

pub use calls::{CallCount, Counted, CountedService};
pub(crate) use error::with_causes;
pub use error::{Error, ErrorKind};
pub use events::{Events, Severity};
pub use objects::{CALL_TIMEOUT, Deletion, Manager, Objects, Precondition, controller_uid};
