//! The keys that a watcher is about.

use std::sync::Arc;

/// Where a range of keys ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// It is the one key it starts with.
    Single,
    /// Just before this key.
    Before(Arc<[u8]>),
    /// Never: all keys from the start on.
    Unbounded,
}

/// One key, or all keys from a start up to an end.
///
/// The bytes are copies: a slice of the request would keep all of it in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyRange {
    pub(super) start: Arc<[u8]>,
    pub(super) end: End,
}

impl KeyRange {
    /// The range that a request names with etcd's conventions: an empty key is the smallest key
    /// (`"\0"`), an empty end means the one key, and `"\0"` as end means all keys from `key` on.
    ///
    /// `None` if the range is empty (`key >= end`).
    pub(super) fn from_request(key: &[u8], range_end: &[u8]) -> Option<Self> {
        let key: &[u8] = if key.is_empty() { b"\0" } else { key };
        let end = match range_end {
            [] => End::Single,
            [0] => End::Unbounded,
            _ if key >= range_end => return None,
            _ => End::Before(range_end.into()),
        };
        Some(Self { start: key.into(), end })
    }

    pub(super) fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            End::Single => *key == *self.start,
            End::Before(end) => *self.start <= *key && *key < **end,
            End::Unbounded => *self.start <= *key,
        }
    }
}
