//! The hashes that compactions leave behind.
//!
//! ```text
//!   compaction R decided ──► hash from the compaction before it to R ──► remembered ──► pruned
//! ```
//! As in etcd 3.7: when a compaction is carried out, all that it finds is hashed, before any of
//! it is dropped. HashKV at that revision then says this hash, even where later compactions have
//! made the revision unreadable, so that members can compare what they compacted: see `--feature-
//! gates=CompactHashCheck` of etcd. Restarts forget it, and HashKV at the compacted revision is
//! then the hash of what is left.

use std::collections::VecDeque;

use super::KvHash;

/// How many are remembered: etcd's number. The oldest goes first.
const REMEMBERED_MAX: usize = 10;

/// The hash of what a compaction found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionHash {
    /// CRC-32C over the records' keys and values.
    pub hash: u32,
    /// The revision that was compacted to.
    pub revision: i64,
    /// The compaction before it; -1 if there was none.
    pub compact_revision: i64,
}

impl CompactionHash {
    /// As HashKV says it of a store that is at `current_revision`.
    #[must_use]
    pub fn at(self, current_revision: i64) -> KvHash {
        let Self { hash, revision, compact_revision } = self;
        KvHash { hash, revision, compact_revision, current_revision }
    }
}

/// The newest of them.
#[derive(Clone, Debug, Default)]
pub struct Remembered(VecDeque<CompactionHash>);

impl Remembered {
    /// Add that of a later compaction.
    pub(crate) fn push(&mut self, hash: CompactionHash) {
        self.0.retain(|known| known.revision < hash.revision);
        if self.0.len() == REMEMBERED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(hash);
    }

    /// That of the compaction to this revision.
    #[must_use]
    pub fn get(&self, revision: i64) -> Option<CompactionHash> {
        self.0.iter().find(|hash| hash.revision == revision).copied()
    }

    /// All, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = CompactionHash> + '_ {
        self.0.iter().copied()
    }
}
