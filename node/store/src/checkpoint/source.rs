//! What a checkpoint is made of, and who gives it.

use bytes::Bytes;

use crate::log::RevisionLog;

/// Whose data a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's id.
    pub cluster_id: u64,
    /// The member's id.
    pub member_id: u64,
}

/// The small state at one applied index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The last applied entry's index.
    pub applied_index: u64,
    /// Its term.
    pub applied_term: u64,
    /// The Raft configuration, as its owner encodes it.
    pub conf_state: Bytes,
    /// The current main revision.
    pub revision: i64,
    /// The revision that compaction was last asked for; 0 if never.
    pub compact_scheduled: i64,
    /// The revision that compaction has last finished; 0 if never.
    pub compact_finished: i64,
    /// Leases, members, alarms and the like, as their owner encodes them.
    pub tables: Bytes,
    /// The state hash at this applied index.
    pub state_hash: u128,
}

/// Where exported keys go.
#[derive(Debug, Default)]
pub struct IndexChunk {
    pub(crate) entries: Vec<(Bytes, Bytes)>,
}

impl IndexChunk {
    /// Add a key (strictly ascending) and its versions, as the index encodes them.
    pub fn push(&mut self, key: Bytes, versions: Bytes) {
        self.entries.push((key, versions));
    }
}

/// Whether an export has reached the end of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exported {
    /// Ask again, after the last key that was pushed.
    Partly,
    /// There are no more keys.
    Wholly,
}

/// Whose state the jobs persist.
pub trait Source {
    /// The revision log, to look at.
    fn log(&self) -> &RevisionLog;

    /// The revision log, to move bytes in.
    fn log_mut(&mut self) -> &mut RevisionLog;

    /// The last applied entry's index.
    fn applied_index(&self) -> u64;

    /// The small state as of now. Until [`Source::unpin`], what [`Source::export`] gives for this
    /// state's revision stays obtainable: compaction drops nothing from the index meanwhile (or
    /// keeps what it drops aside). Apply goes on.
    fn pin(&mut self) -> State;

    /// The export is over, or given up. Harmless if nothing is pinned.
    fn unpin(&mut self);

    /// Push up to `keys_max` keys after `after` (`None`: from the first) that have versions at
    /// or below `revision`, each with those versions only, in ascending order of keys.
    fn export(
        &self,
        after: Option<&[u8]>,
        revision: i64,
        keys_max: usize,
        chunk: &mut IndexChunk,
    ) -> Exported;
}

/// Who takes a restored index.
pub trait IndexSink {
    /// Forget all that was added: the checkpoint turned out to be damaged, another follows.
    fn reset(&mut self);

    /// The next key, in strictly ascending order, with its versions as they were exported.
    ///
    /// # Errors
    /// [`Malformed`] if they are no versions; counts as damage of the checkpoint.
    fn add(&mut self, key: &[u8], versions: &[u8]) -> Result<(), Malformed>;
}

/// Bytes of an index entry that decode to no versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the versions of a key cannot be decoded")]
pub struct Malformed;
