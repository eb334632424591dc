//! The hash of what a compaction finds, from memory alone.
//!
//! etcd reads its whole database at each compaction. Here the index has checksum and length of each
//! record's body, so that the disk is left alone, whatever the size of the data, and there is no
//! damage to meet. It says what was applied; whether the disk still has it is for those to find who
//! read.

use super::empty;
use super::joined::join;
use super::remembered::CompactionHash;
use super::selection::{Asker, Chosen, Selection};
use crate::mvcc::Mvcc;
use crate::snapshot::record_key;

/// Records of one step: well below a millisecond.
const STEP_RECORDS: usize = 8192;

/// Computes it in steps. Until all is selected, nothing may be dropped that the compaction or the
/// one before it keeps; what is joined then needs no store.
#[derive(Clone, Debug)]
pub struct CompactionHasher {
    selection: Selection,
    joining: Option<Joining>,
}

#[derive(Clone, Debug)]
struct Joining {
    chosen: Vec<Chosen>,
    joined: usize,
    crc: u32,
}

/// What a hasher needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HasherStep {
    /// [`CompactionHasher::select`].
    Select,
    /// [`CompactionHasher::join`].
    Join,
}

impl CompactionHasher {
    /// Of the compaction to `revision`, after the one to `compact_revision`.
    pub(crate) fn new(compact_revision: i64, revision: i64) -> Self {
        let selection = Selection::new(compact_revision, revision, Asker::Compaction);
        Self { selection, joining: None }
    }

    /// The revision that is compacted to.
    pub(crate) fn revision(&self) -> i64 {
        self.selection.revision
    }

    /// What is next.
    #[must_use]
    pub fn next(&self) -> HasherStep {
        if self.selection.is_complete() { HasherStep::Join } else { HasherStep::Select }
    }

    /// Collect some more from the index.
    pub fn select(&mut self, mvcc: &Mvcc) {
        self.selection.step(mvcc);
    }

    /// Order what is collected, or go on with it; the hash, once it is complete.
    pub fn join(&mut self) -> Option<CompactionHash> {
        let Some(Joining { chosen, joined, crc }) = &mut self.joining else {
            let chosen = self.selection.take();
            self.joining = Some(Joining { chosen, joined: 0, crc: empty() });
            return None;
        };
        for change in chosen.iter().skip(*joined).take(STEP_RECORDS) {
            let key = record_key::of(change.revision(), change.is_tombstone);
            *crc = join(crc32c::crc32c_append(*crc, key.as_ref()), change.body);
            *joined += 1;
        }
        let Selection { revision, compact_revision, .. } = self.selection;
        let hash = CompactionHash { hash: *crc, revision, compact_revision };
        (*joined == chosen.len()).then_some(hash)
    }
}
