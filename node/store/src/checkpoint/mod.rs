//! Checkpoints: a restart begins at the newest one and replays the Raft log from there.

pub(crate) mod format;
mod source;

pub use source::{Exported, Identity, IndexChunk, IndexSink, Malformed, Source, State};
