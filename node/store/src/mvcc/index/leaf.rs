//! A sorted block of keys with their histories.
//!
//! ```text
//!   prefix    "/registry/pods/default/"           what all keys of the block begin with
//!   suffixes  "web-1web-2web-7"                   the rest of each key, one after the other
//!   ends      [5, 10, 15]                         where each rest ends
//!   versions  [.., .., ..]                        the histories
//! ```

use std::cmp::Ordering;

use super::versions::{Version, Versions};
use crate::revision::Revision;

/// Keys in one leaf at most: an insertion moves half of it on average, a lookup bisects it.
pub(super) const LEAF_KEYS_MAX: usize = 64;

/// A block of at most [`LEAF_KEYS_MAX`] keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaf {
    prefix: Vec<u8>,
    suffixes: Vec<u8>,
    ends: Vec<u32>,
    versions: Vec<Versions>,
}

impl Leaf {
    pub(super) fn len(&self) -> usize {
        self.versions.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    fn start(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.ends[before] as usize)
    }

    fn suffix(&self, at: usize) -> &[u8] {
        &self.suffixes[self.start(at)..self.ends[at] as usize]
    }

    /// Put the `at`-th key into `key`.
    pub(super) fn key_into(&self, at: usize, key: &mut Vec<u8>) {
        key.clear();
        key.extend_from_slice(&self.prefix);
        key.extend_from_slice(self.suffix(at));
    }

    /// The `at`-th key.
    pub(super) fn key(&self, at: usize) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.prefix.len() + self.suffix(at).len());
        self.key_into(at, &mut key);
        key
    }

    /// The `at`-th history.
    pub(super) fn versions(&self, at: usize) -> &Versions {
        &self.versions[at]
    }

    /// Where `key` is, or where it would be inserted.
    pub(super) fn find(&self, key: &[u8]) -> Result<usize, usize> {
        let head = &key[..key.len().min(self.prefix.len())];
        match head.cmp(&self.prefix) {
            Ordering::Less => return Err(0),
            Ordering::Greater => return Err(self.len()),
            Ordering::Equal => {}
        }
        let rest = &key[self.prefix.len()..];
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.suffix(middle).cmp(rest) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// How many of the first `until` keys exist now.
    pub(super) fn live(&self, until: usize) -> u64 {
        self.versions.iter().take(until).map(|history| u64::from(history.is_live())).sum()
    }

    /// The newest main revision of any change.
    pub(super) fn newest(&self) -> i64 {
        self.versions.iter().map(|history| history.latest().revision.main).max().unwrap_or(0)
    }

    /// Append a change to the `at`-th history; the change before it.
    pub(super) fn push_version(&mut self, at: usize, version: &Version) -> Version {
        let before = self.versions[at].latest();
        self.versions[at].push(version);
        before
    }

    /// Insert a key that is not there at the place that [`Leaf::find`] gave.
    pub(super) fn insert(&mut self, at: usize, key: &[u8], versions: Versions) {
        if self.is_empty() {
            self.prefix = key.to_vec();
        } else if !key.starts_with(&self.prefix) {
            let common = common_length(key, &self.prefix);
            self.shorten_prefix(common);
        }
        let rest = &key[self.prefix.len()..];
        let start = self.start(at);
        grow(&mut self.suffixes, rest.len());
        self.suffixes.splice(start..start, rest.iter().copied());
        let length = u32::try_from(rest.len()).expect("keys are shorter than requests");
        for end in &mut self.ends[at..] {
            *end = end.checked_add(length).expect("a leaf's keys are under 4 GiB");
        }
        grow(&mut self.ends, 1);
        let end = u32::try_from(start).expect("offsets fit, as above") + length;
        self.ends.insert(at, end);
        grow(&mut self.versions, 1);
        self.versions.insert(at, versions);
    }

    /// Give the first `shared - length` bytes of the prefix back to each suffix.
    fn shorten_prefix(&mut self, length: usize) {
        let returned = self.prefix.split_off(length);
        let mut suffixes = Vec::with_capacity(self.suffixes.len() + returned.len() * self.len());
        let mut ends = Vec::with_capacity(self.ends.capacity());
        for at in 0..self.len() {
            suffixes.extend_from_slice(&returned);
            suffixes.extend_from_slice(self.suffix(at));
            ends.push(u32::try_from(suffixes.len()).expect("a leaf's keys are under 4 GiB"));
        }
        self.suffixes = suffixes;
        self.ends = ends;
    }

    /// Move the keys from the `at`-th on to a leaf of their own.
    pub(super) fn split_off(&mut self, at: usize) -> Self {
        let keys: Vec<Vec<u8>> = (at..self.len()).map(|at| self.key(at)).collect();
        let histories = self.versions.split_off(at);
        let right = Self::from_sorted(keys.into_iter().zip(histories));
        let left: Vec<Vec<u8>> = (0..at).map(|at| self.key(at)).collect();
        *self = Self::from_sorted(left.into_iter().zip(std::mem::take(&mut self.versions)));
        right
    }

    /// A leaf of ascending keys, as small as it can be.
    pub(super) fn from_sorted(keys: impl Iterator<Item = (Vec<u8>, Versions)>) -> Self {
        let (keys, versions): (Vec<Vec<u8>>, Vec<Versions>) = keys.unzip();
        let shared = match (keys.first(), keys.last()) {
            (Some(first), Some(last)) => common_length(first, last),
            _ => 0,
        };
        let mut leaf = Self {
            prefix: keys.first().map_or_else(Vec::new, |first| first[..shared].to_vec()),
            suffixes: Vec::with_capacity(keys.iter().map(|key| key.len() - shared).sum()),
            ends: Vec::with_capacity(keys.len()),
            versions,
        };
        leaf.versions.shrink_to_fit();
        for key in &keys {
            leaf.suffixes.extend_from_slice(&key[shared..]);
            let end = u32::try_from(leaf.suffixes.len()).expect("a leaf's keys are under 4 GiB");
            leaf.ends.push(end);
        }
        leaf
    }

    /// Take the keys of the right neighbour over.
    pub(super) fn merge(&mut self, right: Self) {
        let mine: Vec<Vec<u8>> = (0..self.len()).map(|at| self.key(at)).collect();
        let theirs: Vec<Vec<u8>> = (0..right.len()).map(|at| right.key(at)).collect();
        let histories = std::mem::take(&mut self.versions).into_iter().chain(right.versions);
        *self = Self::from_sorted(mine.into_iter().chain(theirs).zip(histories));
    }

    /// Compact all histories; the keys that have none left go.
    pub(super) fn compact(&mut self, revision: i64, dropped: &mut Vec<Revision>) {
        let mut kept = Vec::with_capacity(self.len());
        for versions in &mut self.versions {
            kept.push(versions.compact(revision, dropped));
        }
        if kept.iter().all(|kept| *kept) {
            return;
        }
        let keys: Vec<Vec<u8>> = (0..self.len()).map(|at| self.key(at)).collect();
        let histories = std::mem::take(&mut self.versions);
        let left = keys.into_iter().zip(histories).zip(kept);
        *self = Self::from_sorted(left.filter_map(|(key, kept)| kept.then_some(key)));
    }

    /// Bytes allocated.
    pub(super) fn heap_bytes(&self) -> usize {
        self.prefix.capacity()
            + self.suffixes.capacity()
            + self.ends.capacity() * size_of::<u32>()
            + self.versions.capacity() * size_of::<Versions>()
            + self.versions.iter().map(Versions::heap_bytes).sum::<usize>()
    }
}

/// Make room for `more` elements, a quarter of the length at a time: doubling would leave half of
/// the index's memory unused.
fn grow<T>(vector: &mut Vec<T>, more: usize) {
    if vector.capacity() - vector.len() < more {
        vector.reserve_exact(more.max(vector.len() / 4));
    }
}

fn common_length(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}
