//! What the revision log holds, and how much of it a reader asks for at once.

use bytes::Bytes;

use crate::revision::Revision;

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub revision: Revision,
    /// Whether the change deletes the key; the body then holds the key only.
    pub tombstone: bool,
    /// The exact bytes of the `mvccpb.KeyValue`: ascending fields, zero fields omitted.
    pub body: Bytes,
}

/// Where a read of changes stops. At least one whole revision is always returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeLimit {
    /// Main revisions at most.
    pub revisions: usize,
    /// Bytes of bodies at most.
    pub bytes: usize,
}
