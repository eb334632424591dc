//! The ordered index: key → its changes, in memory.
//!
//! A B+-tree of leaf blocks. Each child's parent knows how many of its keys exist now and the
//! newest change below, so the keys of a range are counted without a walk: a subtree without a
//! change after the asked revision counts as its live keys, whatever the revision.
//!
//! ```text
//!              branch [ first │ live │ newest │ node ] …        ≤ 64 children
//!                 │
//!              leaf   prefix + suffixes + histories             ≤ 64 keys
//! ```
//!
//! It never reads a record: bodies are in the revision log. It never decides what may be dropped.
//!
//! Invariants: keys ascend and each has a history that is not empty and ascends; `live` is exact;
//! `newest` is never below a change of the subtree.

mod leaf;
mod loader;
mod node;
#[cfg(test)]
mod tests;
mod versions;

use std::ops::ControlFlow;

pub use loader::{Loader, decode_versions, encode_versions};
pub use versions::{History, Version, Versions};

use self::leaf::Leaf;
use self::node::{Node, Span};
use super::key_range::KeyRange;
use crate::revision::Revision;

/// Why a sorted load was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// A key does not follow the one before it.
    #[error("keys of the index do not ascend at key {at}")]
    Order {
        /// Position of the key in the load, from 0.
        at: usize,
    },
    /// A key has no changes, or they do not ascend.
    #[error("changes of key {at} of the index do not ascend")]
    Changes {
        /// Position of the key in the load, from 0.
        at: usize,
    },
}

/// A key with its changes, as a checkpoint holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedKey {
    /// The key.
    pub key: Vec<u8>,
    /// Its changes up to the exported revision, ascending, at least one.
    pub versions: Vec<Version>,
}

/// The index.
#[derive(Clone, Debug)]
pub struct Index {
    root: Node,
}

impl Default for Index {
    fn default() -> Self {
        Self { root: Node::Leaf(Leaf::default()) }
    }
}

impl Index {
    /// Load ascending keys, without comparing more than each with the one before.
    ///
    /// # Errors
    /// If keys or changes do not ascend.
    pub fn load(keys: impl IntoIterator<Item = ExportedKey>) -> Result<Self, LoadError> {
        let mut loader = Loader::default();
        keys.into_iter().try_for_each(|key| loader.push(key))?;
        Ok(loader.finish())
    }

    /// Keys that exist now.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.root.live()
    }

    /// The history of a key.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&Versions> {
        self.root.get(key)
    }

    /// Add a change to a key, which may be new; the key's change before it.
    ///
    /// # Panics
    /// If the key has a change of the same revision or a newer one.
    pub fn append(&mut self, key: &[u8], version: &Version) -> Option<Version> {
        let appended = self.root.append(key, version);
        if let Some(right) = appended.split {
            self.root.grow_root(right);
        }
        appended.before
    }

    /// How many keys of the range existed at main revision `revision`.
    #[must_use]
    pub fn count(&self, range: &KeyRange, revision: i64) -> u64 {
        match range.span() {
            None => {
                let versions = self.root.get(range.start());
                u64::from(versions.is_some_and(|versions| versions.at(revision).is_some()))
            }
            Some((lower, below)) => {
                if below.is_some_and(|below| below <= lower) {
                    return 0;
                }
                self.root.count(Span { lower, below }, revision, None)
            }
        }
    }

    /// Show the keys of the range in order with their histories, until told to stop.
    pub fn visit(
        &self,
        range: &KeyRange,
        see: &mut dyn FnMut(&[u8], &Versions) -> ControlFlow<()>,
    ) {
        match range.span() {
            None => {
                if let Some(versions) = self.root.get(range.start()) {
                    let _ = see(range.start(), versions);
                }
            }
            Some((lower, below)) => {
                if below.is_none_or(|below| below > lower) {
                    let _ = self.root.visit(Span { lower, below }, &mut Vec::new(), see);
                }
            }
        }
    }

    /// The next keys after `after` (from the first key on, if `None`) with their changes up to
    /// main revision `revision`; keys without any are left out. Fewer than `keys_max` come only at
    /// the end. Export in chunks is consistent while the revision is pinned.
    #[must_use]
    pub fn export(&self, after: Option<&[u8]>, revision: i64, keys_max: usize) -> Vec<ExportedKey> {
        let mut keys = Vec::new();
        let lower = after.unwrap_or_default();
        let all = Span { lower, below: None };
        let _ = self.root.visit(all, &mut Vec::new(), &mut |key, versions| {
            if after.is_some_and(|after| key == after) {
                return ControlFlow::Continue(());
            }
            if keys.len() >= keys_max {
                return ControlFlow::Break(());
            }
            let versions: Vec<Version> =
                versions.iter().take_while(|version| version.revision.main <= revision).collect();
            if !versions.is_empty() {
                keys.push(ExportedKey { key: key.to_vec(), versions });
            }
            ControlFlow::Continue(())
        });
        keys
    }

    /// Drop what compaction at `revision` does not keep from the leaf where `from` belongs, adding
    /// the dropped revisions to `dropped`; where to go on, or `None` at the end.
    pub fn compact_step(
        &mut self,
        from: &[u8],
        revision: i64,
        dropped: &mut Vec<Revision>,
    ) -> Option<Box<[u8]>> {
        let next = self.root.compact_leaf(from, revision, dropped);
        self.root.flatten();
        next
    }

    /// Bytes of memory in use.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.root.heap_bytes()
    }
}
