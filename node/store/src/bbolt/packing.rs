//! How sorted keys are packed into pages: decided in one place, for the sizing as for the bytes.
//!
//! [`Packing`] is generic over what a key or value is: its length alone (a number) or its bytes.
//! The same calls therefore lead to the same pages in both passes.
//!
//! A page is planned for lengths that are rounded up: those of keys to 2, those of values to 8
//! bytes. Who sizes a file need therefore know them only so far, as the revision log's table of
//! places does; what is left of a page is zeros.

use std::mem;

use super::format::{BUCKET_ELEMENT, BUCKET_HEADER, ELEMENT, HEADER, PAGE_SIZE};

/// A branch needs two children: bbolt panics when it rebalances the only child of a branch.
const BRANCH_CHILDREN_MIN: usize = 2;

/// A key or a value, or only its length.
pub(super) trait Extent: Clone {
    /// Its length in bytes.
    fn extent(&self) -> usize;
    /// A bucket's value: its header with this root page.
    fn bucket(root: u64) -> Self;
    /// The value of a bucket without keys, which is an inline page as bbolt itself writes it.
    fn empty_bucket() -> Self;
}

impl Extent for usize {
    fn extent(&self) -> usize {
        *self
    }

    fn bucket(_root: u64) -> Self {
        BUCKET_HEADER
    }

    fn empty_bucket() -> Self {
        BUCKET_HEADER + HEADER
    }
}

/// An element of a leaf page.
pub(super) struct LeafElement<K> {
    /// 0 or [`BUCKET_ELEMENT`].
    pub(super) flags: u32,
    pub(super) key: K,
    pub(super) value: K,
}

/// An element of a branch page.
pub(super) struct BranchElement<K> {
    /// First key below the child.
    pub(super) key: K,
    /// The child's page.
    pub(super) child: u64,
}

/// Who takes the pages, in the order of the file.
pub(super) trait Pages<K> {
    /// A leaf page is complete; gives the page number it gets.
    fn leaf(&mut self, elements: Vec<LeafElement<K>>) -> u64;
    /// A branch page is complete; gives the page number it gets.
    fn branch(&mut self, elements: Vec<BranchElement<K>>) -> u64;
}

/// Pages that `content` bytes behind a page header take.
pub(super) fn pages_for(content: usize) -> u64 {
    (HEADER + content).div_ceil(PAGE_SIZE) as u64
}

/// Room that is planned for a key, in bytes.
fn key_room(key: &impl Extent) -> usize {
    key.extent().next_multiple_of(2)
}

/// Room that is planned for an element of a leaf, in bytes.
fn leaf_room<K: Extent>(key: &K, value: &K) -> usize {
    ELEMENT + key_room(key) + value.extent().next_multiple_of(8)
}

/// Room that is planned for a leaf's elements, in bytes.
pub(super) fn leaf_content<K: Extent>(elements: &[LeafElement<K>]) -> usize {
    elements.iter().map(|e| leaf_room(&e.key, &e.value)).sum()
}

/// Room that is planned for a branch's elements, in bytes.
pub(super) fn branch_content<K: Extent>(elements: &[BranchElement<K>]) -> usize {
    elements.iter().map(|e| ELEMENT + key_room(&e.key)).sum()
}

/// The tree of buckets and the tree of the bucket that is open.
pub(super) struct Packing<K> {
    buckets: Tree<K>,
    open: Option<(K, Tree<K>)>,
}

impl<K: Extent> Packing<K> {
    pub(super) fn new() -> Self {
        Self { buckets: Tree::new(), open: None }
    }

    /// Close the open bucket, if any, and open the next.
    pub(super) fn begin_bucket(&mut self, name: K, pages: &mut impl Pages<K>) {
        self.close_bucket(pages);
        self.open = Some((name, Tree::new()));
    }

    /// Add a key to the open bucket; `false` if none is open.
    #[must_use]
    pub(super) fn add(&mut self, key: K, value: K, pages: &mut impl Pages<K>) -> bool {
        let Some((_, tree)) = &mut self.open else { return false };
        tree.add(LeafElement { flags: 0, key, value }, pages);
        true
    }

    /// Close everything; gives the root page.
    pub(super) fn finish(mut self, pages: &mut impl Pages<K>) -> u64 {
        self.close_bucket(pages);
        self.buckets.finish(pages)
    }

    fn close_bucket(&mut self, pages: &mut impl Pages<K>) {
        let Some((key, tree)) = self.open.take() else { return };
        let value = if tree.is_empty() { K::empty_bucket() } else { K::bucket(tree.finish(pages)) };
        self.buckets.add(LeafElement { flags: BUCKET_ELEMENT, key, value }, pages);
    }
}

/// One tree under construction: the open page of each level.
struct Tree<K> {
    leaf: Vec<LeafElement<K>>,
    leaf_bytes: usize,
    /// Open branches, the lowest level first.
    branches: Vec<Vec<BranchElement<K>>>,
}

impl<K: Extent> Tree<K> {
    fn new() -> Self {
        Self { leaf: Vec::new(), leaf_bytes: 0, branches: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        // A leaf is only closed when the next key comes, so the open one is empty only at first.
        self.leaf.is_empty()
    }

    fn add(&mut self, element: LeafElement<K>, pages: &mut impl Pages<K>) {
        let bytes = leaf_room(&element.key, &element.value);
        if !self.leaf.is_empty() && HEADER + self.leaf_bytes + bytes > PAGE_SIZE {
            self.close_leaf(pages);
        }
        self.leaf_bytes += bytes;
        self.leaf.push(element);
    }

    fn close_leaf(&mut self, pages: &mut impl Pages<K>) {
        self.leaf_bytes = 0;
        let elements = mem::take(&mut self.leaf);
        let Some(first) = elements.first() else { return };
        let key = first.key.clone();
        let child = pages.leaf(elements);
        self.add_child(0, BranchElement { key, child }, pages);
    }

    /// Add a child to the open branch of a level, closing branches that are full, upwards. The
    /// last two children stay open, so that no branch is left with one.
    fn add_child(&mut self, level: usize, child: BranchElement<K>, pages: &mut impl Pages<K>) {
        let (mut level, mut child) = (level, child);
        loop {
            if level == self.branches.len() {
                self.branches.push(Vec::new());
            }
            let open = &mut self.branches[level];
            open.push(child);
            let full = HEADER + branch_content(open) > PAGE_SIZE;
            if !full || open.len() < 2 * BRANCH_CHILDREN_MIN {
                return;
            }
            let rest = open.split_off(open.len() - BRANCH_CHILDREN_MIN);
            let closed = mem::replace(open, rest);
            child = close_branch(closed, pages);
            level += 1;
        }
    }

    fn finish(mut self, pages: &mut impl Pages<K>) -> u64 {
        if self.branches.is_empty() {
            return pages.leaf(self.leaf);
        }
        self.close_leaf(pages);
        let mut level = 0;
        loop {
            let child = close_branch(mem::take(&mut self.branches[level]), pages);
            level += 1;
            if level == self.branches.len() {
                return child.child;
            }
            self.add_child(level, child, pages);
        }
    }
}

/// Hand a branch out; gives the element by which its parent knows it.
fn close_branch<K: Extent>(
    elements: Vec<BranchElement<K>>,
    pages: &mut impl Pages<K>,
) -> BranchElement<K> {
    assert!(elements.len() >= BRANCH_CHILDREN_MIN, "a branch has at least two children");
    let key = elements[0].key.clone();
    BranchElement { key, child: pages.branch(elements) }
}
