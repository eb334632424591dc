//! The tree above the leaves: each child's lower bound, live keys and newest change.

use std::ops::ControlFlow;

use super::leaf::{LEAF_KEYS_MAX, Leaf};
use super::versions::{Version, Versions};
use crate::revision::Revision;

/// Children of one branch at most.
pub(super) const BRANCH_CHILDREN_MAX: usize = 64;

/// Two neighbours that together hold at most this share of a full node become one.
const MERGE_DIVISOR: usize = 2;

#[derive(Clone, Debug)]
pub(super) enum Node {
    Leaf(Leaf),
    Branch(Vec<Child>),
}

/// A subtree, and what its parent knows about it.
#[derive(Clone, Debug)]
pub(super) struct Child {
    /// No key of the subtree is below it.
    first: Box<[u8]>,
    /// Keys of the subtree that exist now.
    live: u64,
    /// No change in the subtree has a greater main revision.
    newest: i64,
    node: Box<Node>,
}

/// What appending a change did to a subtree.
pub(super) struct Appended {
    /// The key's change before it.
    pub(super) before: Option<Version>,
    /// The right part, if the subtree was split.
    pub(super) split: Option<Child>,
}

/// Keys from `lower` on, below `below` if there is such a bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span<'a> {
    pub(super) lower: &'a [u8],
    pub(super) below: Option<&'a [u8]>,
}

impl Span<'_> {
    fn ends_before(&self, key: &[u8]) -> bool {
        self.below.is_some_and(|below| key >= below)
    }
}

impl Child {
    /// The subtree with what its parent must know.
    pub(super) fn new(node: Node) -> Self {
        let first = match &node {
            Node::Leaf(leaf) => leaf.key(0).into_boxed_slice(),
            Node::Branch(children) => children[0].first.clone(),
        };
        Self { first, live: node.live(), newest: node.newest(), node: Box::new(node) }
    }
}

/// The child that holds `key` if any does.
fn child_of(children: &[Child], key: &[u8]) -> usize {
    children.partition_point(|child| *child.first <= *key).saturating_sub(1)
}

impl Node {
    pub(super) fn live(&self) -> u64 {
        match self {
            Self::Leaf(leaf) => leaf.live(leaf.len()),
            Self::Branch(children) => children.iter().map(|child| child.live).sum(),
        }
    }

    fn newest(&self) -> i64 {
        match self {
            Self::Leaf(leaf) => leaf.newest(),
            Self::Branch(children) => {
                children.iter().map(|child| child.newest).max().unwrap_or_default()
            }
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.is_empty(),
            Self::Branch(children) => children.is_empty(),
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Versions> {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(leaf) => return leaf.find(key).ok().map(|at| leaf.versions(at)),
                Self::Branch(children) => node = &children.get(child_of(children, key))?.node,
            }
        }
    }

    pub(super) fn append(&mut self, key: &[u8], version: &Version) -> Appended {
        match self {
            Self::Leaf(leaf) => match leaf.find(key) {
                Ok(at) => Appended { before: Some(leaf.push_version(at, version)), split: None },
                Err(at) => {
                    let versions = Versions::one(version);
                    if leaf.len() < LEAF_KEYS_MAX {
                        leaf.insert(at, key, versions);
                        return Appended { before: None, split: None };
                    }
                    let (mut right, at_right) = split_leaf(leaf, at);
                    match at_right {
                        Some(at) => right.insert(at, key, versions),
                        None => leaf.insert(at, key, versions),
                    }
                    Appended { before: None, split: Some(Child::new(Self::Leaf(right))) }
                }
            },
            Self::Branch(children) => append_below(children, key, version),
        }
    }

    /// Keys of `span` that existed at `revision`. `upper` bounds the node's keys, if known.
    pub(super) fn count(&self, span: Span<'_>, revision: i64, upper: Option<&[u8]>) -> u64 {
        match self {
            Self::Leaf(leaf) => {
                let from = leaf.find(span.lower).unwrap_or_else(|at| at);
                let until = span
                    .below
                    .map_or(leaf.len(), |below| leaf.find(below).unwrap_or_else(|at| at).max(from));
                (from..until).map(|at| u64::from(leaf.versions(at).at(revision).is_some())).sum()
            }
            Self::Branch(children) => {
                let mut count = 0;
                for at in child_of(children, span.lower)..children.len() {
                    let child = &children[at];
                    if span.ends_before(&child.first) {
                        break;
                    }
                    let child_upper = children.get(at + 1).map(|next| &*next.first).or(upper);
                    let whole = span.lower <= &*child.first
                        && match (span.below, child_upper) {
                            (None, _) => true,
                            (Some(below), Some(upper)) => upper <= below,
                            (Some(_), None) => false,
                        };
                    count += if whole && child.newest <= revision {
                        child.live
                    } else {
                        child.node.count(span, revision, child_upper)
                    };
                }
                count
            }
        }
    }

    /// Show the keys of `span` in order, with their histories.
    pub(super) fn visit(
        &self,
        span: Span<'_>,
        key: &mut Vec<u8>,
        see: &mut dyn FnMut(&[u8], &Versions) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self {
            Self::Leaf(leaf) => {
                let from = leaf.find(span.lower).unwrap_or_else(|at| at);
                for at in from..leaf.len() {
                    leaf.key_into(at, key);
                    if span.ends_before(key) {
                        return ControlFlow::Break(());
                    }
                    see(key, leaf.versions(at))?;
                }
            }
            Self::Branch(children) => {
                for child in &children[child_of(children, span.lower)..] {
                    if span.ends_before(&child.first) {
                        return ControlFlow::Break(());
                    }
                    child.node.visit(span, key, see)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Compact the one leaf where `key` belongs; the first key of the leaf after it.
    pub(super) fn compact_leaf(
        &mut self,
        key: &[u8],
        revision: i64,
        dropped: &mut Vec<Revision>,
    ) -> Option<Box<[u8]>> {
        let children = match self {
            Self::Leaf(leaf) => {
                leaf.compact(revision, dropped);
                return None;
            }
            Self::Branch(children) => children,
        };
        let at = child_of(children, key);
        let next = children[at].node.compact_leaf(key, revision, dropped);
        let next = next.or_else(|| children.get(at + 1).map(|next| next.first.clone()));
        if children[at].node.is_empty() {
            children.remove(at);
        } else if !merge_with_next(children, at) && at > 0 {
            merge_with_next(children, at - 1);
        }
        next
    }

    /// Stack levels on `nodes` until one is left.
    pub(super) fn build(mut level: Vec<Child>) -> Self {
        while level.len() > 1 {
            let mut above = Vec::with_capacity(level.len() / BRANCH_CHILDREN_MAX + 1);
            let mut children = level.into_iter().peekable();
            while children.peek().is_some() {
                let group: Vec<Child> = children.by_ref().take(BRANCH_CHILDREN_MAX).collect();
                above.push(Child::new(Self::Branch(group)));
            }
            level = above;
        }
        level.pop().map_or_else(|| Self::Leaf(Leaf::default()), |child| *child.node)
    }

    /// A branch with one child is that child.
    pub(super) fn flatten(&mut self) {
        loop {
            match self {
                Self::Branch(children) if children.is_empty() => {
                    *self = Self::Leaf(Leaf::default());
                }
                Self::Branch(children) if children.len() == 1 => {
                    let only = children.pop().expect("there is one");
                    *self = *only.node;
                }
                Self::Leaf(_) | Self::Branch(_) => return,
            }
        }
    }

    /// Split off `right` of a root.
    pub(super) fn grow_root(&mut self, right: Child) {
        let left = std::mem::replace(self, Self::Leaf(Leaf::default()));
        *self = Self::Branch(vec![Child::new(left), right]);
    }

    /// Bytes allocated below this node.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.heap_bytes(),
            Self::Branch(children) => {
                children.capacity() * size_of::<Child>()
                    + children
                        .iter()
                        .map(|child| {
                            child.first.len() + size_of::<Self>() + child.node.heap_bytes()
                        })
                        .sum::<usize>()
            }
        }
    }

    /// Check what parents say about their children; the number of keys.
    #[cfg(test)]
    pub(super) fn check(&self) -> usize {
        match self {
            Self::Leaf(leaf) => {
                assert!(leaf.len() <= LEAF_KEYS_MAX);
                for at in 1..leaf.len() {
                    assert!(leaf.key(at - 1) < leaf.key(at), "keys ascend");
                }
                leaf.len()
            }
            Self::Branch(children) => {
                assert!(!children.is_empty() && children.len() <= BRANCH_CHILDREN_MAX);
                let mut keys = 0;
                for (at, child) in children.iter().enumerate() {
                    keys += child.node.check();
                    assert_eq!(child.live, child.node.live(), "live keys are counted");
                    assert!(child.newest >= child.node.newest(), "newest bounds the changes");
                    let mut seen = Vec::new();
                    let all = Span { lower: b"", below: None };
                    let _ = child.node.visit(all, &mut Vec::new(), &mut |key, _| {
                        seen.push(key.to_vec());
                        ControlFlow::Continue(())
                    });
                    assert!(seen.first().is_some_and(|key| **key >= *child.first));
                    if let Some(next) = children.get(at + 1) {
                        assert!(seen.last().is_some_and(|key| **key < *next.first));
                    }
                }
                keys
            }
        }
    }
}

/// Split a full leaf before a key goes in at `at`; the right part, and the key's place in it if it
/// goes there. Ascending insertions leave full leaves behind.
fn split_leaf(leaf: &mut Leaf, at: usize) -> (Leaf, Option<usize>) {
    if at == leaf.len() {
        return (Leaf::default(), Some(0));
    }
    let middle = leaf.len() / 2;
    let right = leaf.split_off(middle);
    (right, at.checked_sub(middle))
}

fn append_below(children: &mut Vec<Child>, key: &[u8], version: &Version) -> Appended {
    let at = child_of(children, key);
    let child = &mut children[at];
    if *key < *child.first {
        child.first = key.into();
    }
    let appended = child.node.append(key, version);
    child.newest = child.newest.max(version.revision.main);
    let was_live = appended.before.is_some_and(|before| !before.is_tombstone());
    match appended.split {
        None => {
            child.live = (child.live + u64::from(!version.is_tombstone()))
                .checked_sub(u64::from(was_live))
                .expect("a key that was live was counted");
            Appended { before: appended.before, split: None }
        }
        Some(right) => {
            child.live = child.node.live();
            children.insert(at + 1, right);
            let split = (children.len() > BRANCH_CHILDREN_MAX).then(|| {
                // Ascending insertions leave full branches behind.
                let middle =
                    if at + 2 == children.len() { children.len() - 1 } else { children.len() / 2 };
                Child::new(Node::Branch(children.split_off(middle)))
            });
            Appended { before: appended.before, split }
        }
    }
}

/// Make one of the `at`-th child and the next one if both are small; whether it did.
fn merge_with_next(children: &mut Vec<Child>, at: usize) -> bool {
    let [left, right, ..] = &children[at..] else { return false };
    let small = match (&*left.node, &*right.node) {
        (Node::Leaf(left), Node::Leaf(right)) => {
            left.len() + right.len() <= LEAF_KEYS_MAX / MERGE_DIVISOR
        }
        (Node::Branch(left), Node::Branch(right)) => {
            left.len() + right.len() <= BRANCH_CHILDREN_MAX / MERGE_DIVISOR
        }
        (Node::Leaf(_), Node::Branch(_)) | (Node::Branch(_), Node::Leaf(_)) => false,
    };
    if !small {
        return false;
    }
    let right = children.remove(at + 1);
    let left = &mut children[at];
    left.live += right.live;
    left.newest = left.newest.max(right.newest);
    match (&mut *left.node, *right.node) {
        (Node::Leaf(left), Node::Leaf(right)) => left.merge(right),
        (Node::Branch(left), Node::Branch(right)) => left.extend(right),
        (Node::Leaf(_), Node::Branch(_)) | (Node::Branch(_), Node::Leaf(_)) => {
            unreachable!("all leaves are at one depth")
        }
    }
    true
}
