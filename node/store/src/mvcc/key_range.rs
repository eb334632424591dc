//! Which keys a request means.

use bytes::Bytes;

/// A set of neighbouring keys, as `key` and `range_end` of a request say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    start: Bytes,
    end: End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// Only the start itself.
    Single,
    /// All keys from the start on.
    Open,
    /// Keys below it; none, if it is not above the start.
    Before(Bytes),
}

impl KeyRange {
    /// An empty `range_end` means the one key, a single zero byte means all keys from `key` on.
    #[must_use]
    pub fn new(key: Bytes, range_end: Bytes) -> Self {
        let end = match range_end.as_ref() {
            [] => End::Single,
            [0] => End::Open,
            _ => End::Before(range_end),
        };
        Self { start: key, end }
    }

    /// One key.
    #[must_use]
    pub fn single(key: Bytes) -> Self {
        Self { start: key, end: End::Single }
    }

    /// Every key.
    #[must_use]
    pub fn all() -> Self {
        Self { start: Bytes::new(), end: End::Open }
    }

    /// The first key that can be in the range.
    #[must_use]
    pub fn start(&self) -> &[u8] {
        &self.start
    }

    /// Whether only one key can be in the range.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.end == End::Single
    }

    /// Lower bound (inclusive) and upper bound (exclusive, if there is one); `None` for one key.
    #[must_use]
    pub fn span(&self) -> Option<(&[u8], Option<&[u8]>)> {
        match &self.end {
            End::Single => None,
            End::Open => Some((&self.start, None)),
            End::Before(end) => Some((&self.start, Some(end))),
        }
    }

    /// Whether the range has `key`.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match self.span() {
            None => self.start == key,
            Some((lower, below)) => lower <= key && below.is_none_or(|below| key < below),
        }
    }

    /// The part of the range that follows `key`.
    #[must_use]
    pub fn after(&self, key: &[u8]) -> Self {
        let mut next = Vec::with_capacity(key.len() + 1);
        next.extend_from_slice(key);
        next.push(0);
        match &self.end {
            // Nothing follows a single key: an empty interval.
            End::Single => Self { start: next.clone().into(), end: End::Before(next.into()) },
            end @ (End::Open | End::Before(_)) => Self { start: next.into(), end: end.clone() },
        }
    }
}
