//! What the state machine is fed: committed entries of the Raft log.

use bytes::Bytes;

/// How an entry's data is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// An encoded `InternalRaftRequest`, or nothing (a new leader's first entry).
    Normal,
    /// An encoded `raftpb.ConfChange`.
    ConfChange,
    /// An encoded `raftpb.ConfChangeV2`.
    ConfChangeV2,
}

/// One committed entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Position in the Raft log, from 1.
    pub index: u64,
    /// The term it was proposed in.
    pub term: u64,
    /// How to read `data`.
    pub kind: EntryKind,
    /// The message, encoded as `kind` says.
    pub data: Bytes,
}
