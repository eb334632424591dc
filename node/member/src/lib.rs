//! A member put together, without its threads.
//!
//! What the server and the simulator would otherwise both write, and one of them would get wrong:
//! how a data directory becomes a running member, which way a request goes, how the replica's
//! effects become operations of log and store, and how their results become its events.
//!
//! ```text
//!     data directory ── open ──► replica::Boot, wal::Log, Store
//!     peer's claim ──── identity ► heard, or refused
//!     request ───────── route ─► Propose │ Confirm │ Serve │ lease clock
//!     Effect::Persist, Send ───► LogWriter ──► Event::Persisted, messages to send
//!     Effect::Apply ───────────► apply ──────► Event::Applied, replies, records for watches
//!     store's jobs ────────────► JobRunner ──► operations of the store's disk
//! ```
//!
//! It decides nothing that the replica or the store should, has no thread and no clock, and waits
//! for nothing but reads.

pub mod applier;
pub mod founding;
pub mod identity;
mod job_runner;
mod log_writer;
pub mod open;
pub mod route;
pub mod stopped;
mod work;

pub use job_runner::{Allowed, JobRunner, Progress};
pub use log_writer::{Freed, LogWriter};
pub use work::WorkError;
