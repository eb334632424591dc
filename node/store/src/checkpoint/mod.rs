//! Checkpoints: a restart begins at the newest one and replays the Raft log from there.
//!
//! ```text
//!   checkpoint-N.manifest ── names ──► checkpoint-N.index   where each record is; each key's
//!     small state, applied index         versions
//!     segment table         ── names ──► segment-…          the records themselves
//! ```
//! The manifest gets its name last, in one rename: a checkpoint exists whole or not at all. The
//! newest two are kept, with all they name; everything else in the folder is of no use after a
//! restart, records that were flushed later too, for the Raft log gives them again.
//!
//! It never knows what versions, tables or a configuration mean, and never decides when entries
//! may leave the Raft log: it only says which are needed
//! ([`log_needed_after`](crate::jobs::Jobs::log_needed_after)).
//!
//! Invariants:
//! - checkpoint ≤ persisted ∧ committed: a checkpoint holds what is applied, and the executor
//!   applies only entries that are both.
//! - A checkpoint's applied index is never below the one before it.
//! - Files of the two newest checkpoints are not changed below the lengths they name.
//! - What is read is checked: damage is an older checkpoint or a named error, never an answer.

pub(crate) mod format;
mod loader;
mod restore;
mod source;
pub(crate) mod writer;

pub(crate) use restore::CHECKPOINTS_KEPT;
pub use restore::{
    DamageReason, FileDamage, OpenError, OpenOptions, Opened, begin_anew, note_damage,
    noted_damage, open,
};
pub use source::{Exported, Identity, IndexChunk, IndexSink, Malformed, Source, State};
