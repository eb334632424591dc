//! The revision log: every change that is not compacted, by revision.
//!
//! ```text
//!   append ──► tail (memory) ──flush──► segments (append-only files, sealed at a size)
//!                                         │ few live bytes
//!                                         └──collect──► new segments; old ones are removed once
//!                                                       no checkpoint and no pin needs them
//!   revision ──► locations (8 bytes each) ──► tail or segment ──► the exact KeyValue bytes
//! ```
//! Only [`append`](RevisionLog::append), [`release`](RevisionLog::release) and
//! [`reset`](RevisionLog::reset) change what the log answers. The jobs ([`crate::jobs`]) move bytes.
//!
//! It never interprets a body, never decides what is compacted, and never waits for the disk but
//! to read.
//!
//! Invariants:
//! - A record read from disk has had its checksums, its revision and its place checked.
//! - A segment's byte is written once; what is sealed does not change.
//! - live bytes ≤ total bytes; each live record counts in exactly one segment or in the tail.
//! - Memory is bounded: locations by what is live, the tail by back-pressure
//!   ([`must_wait`](RevisionLog::must_wait)).

mod cache;
mod damage;
pub(crate) mod format;
pub(crate) mod locations;
pub(crate) mod pin;
mod pin_reader;
mod record;
mod revision_log;
pub(crate) mod segments;
pub(crate) mod tail;

pub use damage::{Damage, DamageKind};
pub use pin::Pin;
pub use pin_reader::PinReader;
pub use record::{ChangeLimit, Record};
pub use revision_log::{LogOptions, RevisionLog, SEGMENT_BYTES_MAX};
