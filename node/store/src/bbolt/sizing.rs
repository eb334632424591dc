//! The first pass of a file's writing: lengths in, the file's extent out.

use super::format::{PAGE_SIZE, VALUE_BYTES_MAX};
use super::packing::{
    BranchElement, LeafElement, Packing, Pages, branch_content, leaf_content, pages_for,
};

/// The meta pages come first.
pub(super) const FIRST_PAGE: u64 = 2;

/// Where a file ends and where its root is: what the meta pages say before the data comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub(super) root: u64,
    pub(super) pages: u64,
}

impl Layout {
    /// The file's length in bytes.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.pages * PAGE_SIZE as u64
    }
}

/// Counts the pages of a file from the lengths of its keys and values, which must come in the
/// order in which the [`Writer`](super::Writer) will get them.
pub struct Sizing {
    packing: Packing<usize>,
    pages: Counter,
}

impl Default for Sizing {
    fn default() -> Self {
        Self::new()
    }
}

impl Sizing {
    /// An empty file.
    #[must_use]
    pub fn new() -> Self {
        Self { packing: Packing::new(), pages: Counter { next: FIRST_PAGE } }
    }

    /// The keys that follow belong to this bucket. A bucket without keys is in the file, too.
    pub fn begin_bucket(&mut self, name: &str) {
        self.packing.begin_bucket(name.len(), &mut self.pages);
    }

    /// A key of the open bucket, with the length of its value in bytes; a key's may be rounded up
    /// to 2, a value's to 8. Ignored where the writer will answer with an error: without an open
    /// bucket, or if a length is beyond bbolt's.
    pub fn add(&mut self, key_bytes: usize, value_bytes: usize) {
        if key_bytes <= VALUE_BYTES_MAX && value_bytes <= VALUE_BYTES_MAX {
            let _ = self.packing.add(key_bytes, value_bytes, &mut self.pages);
        }
    }

    /// The extent of the whole.
    #[must_use]
    pub fn finish(mut self) -> Layout {
        let root = self.packing.finish(&mut self.pages);
        Layout { root, pages: self.pages.next }
    }
}

struct Counter {
    next: u64,
}

impl Counter {
    fn take(&mut self, content: usize) -> u64 {
        let page = self.next;
        self.next += pages_for(content);
        page
    }
}

impl Pages<usize> for Counter {
    fn leaf(&mut self, elements: Vec<LeafElement<usize>>) -> u64 {
        self.take(leaf_content(&elements))
    }

    fn branch(&mut self, elements: Vec<BranchElement<usize>>) -> u64 {
        self.take(branch_content(&elements))
    }
}
