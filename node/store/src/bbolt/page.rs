//! One page of a file that is read: every offset verified before it is used.

use std::ops::Range;

use bytes::Bytes;

use super::format::{BRANCH, BUCKET_ELEMENT, ELEMENT, HEADER, LEAF, PageHeader, u32_at, u64_at};
use super::reader::ReadError;

/// What a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Branch,
    Leaf,
}

/// A leaf or branch page with the pages that overflow from it.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// Its number; 0 for an inline one.
    pub(super) id: u64,
    pub(super) kind: Kind,
    pub(super) count: usize,
    bytes: Bytes,
}

impl Page {
    /// `bytes` begins with the page's header.
    pub(super) fn parse(id: u64, bytes: Bytes) -> Result<Self, ReadError> {
        let damaged = |what| ReadError::Page { page: id, what };
        let header = PageHeader::decode(&bytes).ok_or(damaged("too short for its header"))?;
        let PageHeader { id: own_id, flags, count, overflow: _ } = header;
        if own_id != id {
            return Err(damaged("carries another page's number"));
        }
        let kind = match flags {
            BRANCH => Kind::Branch,
            LEAF => Kind::Leaf,
            _ => return Err(damaged("is neither a branch nor a leaf")),
        };
        let count = usize::from(count);
        if bytes.len() < HEADER + count * ELEMENT {
            return Err(damaged("has more elements than it has room for"));
        }
        Ok(Self { id, kind, count, bytes })
    }

    /// The element's flags are not known, or its key or value is not inside of the page.
    fn damaged(&self, what: &'static str) -> ReadError {
        ReadError::Page { page: self.id, what }
    }

    /// A leaf's element: whether it is a bucket, its key and its value.
    pub(super) fn leaf(&self, index: usize) -> Result<(bool, Bytes, Bytes), ReadError> {
        let outside = || self.damaged("has a key or value outside of itself");
        let at = HEADER + index * ELEMENT;
        let flags = u32_at(&self.bytes, at).ok_or_else(outside)?;
        if flags & !BUCKET_ELEMENT != 0 {
            return Err(self.damaged("has an element of an unknown kind"));
        }
        let position = u32_at(&self.bytes, at + 4).ok_or_else(outside)?;
        let key_bytes = u32_at(&self.bytes, at + 8).ok_or_else(outside)?;
        let value_bytes = u32_at(&self.bytes, at + 12).ok_or_else(outside)?;
        let key = self.range(at, position, key_bytes).ok_or_else(outside)?;
        let value_end = key.end.checked_add(value_bytes as usize).ok_or_else(outside)?;
        if value_end > self.bytes.len() {
            return Err(outside());
        }
        let value = self.bytes.slice(key.end..value_end);
        Ok((flags == BUCKET_ELEMENT, self.bytes.slice(key), value))
    }

    /// A branch's element: the key and the child's page.
    pub(super) fn branch(&self, index: usize) -> Result<(Bytes, u64), ReadError> {
        let outside = || self.damaged("has a key outside of itself");
        let at = HEADER + index * ELEMENT;
        let position = u32_at(&self.bytes, at).ok_or_else(outside)?;
        let key_bytes = u32_at(&self.bytes, at + 4).ok_or_else(outside)?;
        let child = u64_at(&self.bytes, at + 8).ok_or_else(outside)?;
        let key = self.range(at, position, key_bytes).ok_or_else(outside)?;
        Ok((self.bytes.slice(key), child))
    }

    /// The key that an element at `at` names, if it is behind the elements and in the page.
    fn range(&self, at: usize, position: u32, key_bytes: u32) -> Option<Range<usize>> {
        let start = at.checked_add(usize::try_from(position).ok()?)?;
        let end = start.checked_add(usize::try_from(key_bytes).ok()?)?;
        let elements_end = HEADER + self.count * ELEMENT;
        (start >= elements_end && end <= self.bytes.len()).then_some(start..end)
    }
}
