//! Which of many ranges contain a key.

use std::cmp::Ordering;
use std::sync::Arc;

use super::range::End;
use super::slab::{NONE, Slab};

/// Distinct ranges, each with the number of its group, that answers which of them contain a key in
/// O(log n + found).
///
/// It is a treap: a binary search tree by (start, end), and a heap by a priority that is computed
/// from the order of insertion, so that equal histories give equal trees. Each node knows which
/// node below it (or itself) ends last, so that a branch which ends before the key is never
/// entered.
#[derive(Debug)]
pub(super) struct IntervalTree {
    nodes: Slab<Node>,
    root: u32,
    inserted: u64,
}

#[derive(Debug)]
struct Node {
    start: Arc<[u8]>,
    end: End,
    group: u32,
    priority: u32,
    left: u32,
    right: u32,
    /// The node of this branch that ends last.
    last: u32,
}

impl IntervalTree {
    pub(super) const fn new() -> Self {
        Self { nodes: Slab::new(), root: NONE, inserted: 0 }
    }

    /// The group of exactly this range.
    pub(super) fn get(&self, start: &[u8], end: &End) -> Option<u32> {
        let mut at = self.root;
        while at != NONE {
            let node = self.nodes.get(at);
            at = match order((start, end), node) {
                Ordering::Less => node.left,
                Ordering::Greater => node.right,
                Ordering::Equal => return Some(node.group),
            };
        }
        None
    }

    /// Add a range that is not there yet.
    pub(super) fn insert(&mut self, start: Arc<[u8]>, end: End, group: u32) {
        assert!(end != End::Single, "single keys are kept apart");
        self.inserted += 1;
        let priority = mix(self.inserted);
        let (left, right) = self.split(self.root, &start, &end);
        let node = Node { start, end, group, priority, left: NONE, right: NONE, last: NONE };
        let number = self.nodes.insert(node);
        self.nodes.get_mut(number).last = number;
        let left = self.merge(left, number);
        self.root = self.merge(left, right);
    }

    /// Remove a range.
    pub(super) fn remove(&mut self, start: &[u8], end: &End) {
        self.root = self.remove_below(self.root, start, end);
    }

    /// Add the groups of all ranges that contain `key` to `found`, in the order of the ranges.
    pub(super) fn stab(&self, key: &[u8], found: &mut Vec<u32>) {
        self.stab_below(self.root, key, found);
    }

    fn stab_below(&self, at: u32, key: &[u8], found: &mut Vec<u32>) {
        if at == NONE {
            return;
        }
        let node = self.nodes.get(at);
        if !ends_after(&self.nodes.get(node.last).end, key) {
            return;
        }
        self.stab_below(node.left, key, found);
        if *node.start > *key {
            return;
        }
        if ends_after(&node.end, key) {
            found.push(node.group);
        }
        self.stab_below(node.right, key, found);
    }

    /// Cut a branch into what is less than (start, end) and what is not.
    fn split(&mut self, at: u32, start: &[u8], end: &End) -> (u32, u32) {
        if at == NONE {
            return (NONE, NONE);
        }
        if order((start, end), self.nodes.get(at)) == Ordering::Greater {
            let (left, right) = self.split(self.nodes.get(at).right, start, end);
            self.nodes.get_mut(at).right = left;
            self.update(at);
            (at, right)
        } else {
            let (left, right) = self.split(self.nodes.get(at).left, start, end);
            self.nodes.get_mut(at).left = right;
            self.update(at);
            (left, at)
        }
    }

    /// Join two branches, all of `left` being less than all of `right`.
    fn merge(&mut self, left: u32, right: u32) -> u32 {
        if left == NONE {
            return right;
        }
        if right == NONE {
            return left;
        }
        if self.nodes.get(left).priority >= self.nodes.get(right).priority {
            let joined = self.merge(self.nodes.get(left).right, right);
            self.nodes.get_mut(left).right = joined;
            self.update(left);
            left
        } else {
            let joined = self.merge(left, self.nodes.get(right).left);
            self.nodes.get_mut(right).left = joined;
            self.update(right);
            right
        }
    }

    fn remove_below(&mut self, at: u32, start: &[u8], end: &End) -> u32 {
        assert!(at != NONE, "the range is in the tree");
        let node = self.nodes.get(at);
        let (left, right) = (node.left, node.right);
        match order((start, end), node) {
            Ordering::Less => {
                let rest = self.remove_below(left, start, end);
                self.nodes.get_mut(at).left = rest;
            }
            Ordering::Greater => {
                let rest = self.remove_below(right, start, end);
                self.nodes.get_mut(at).right = rest;
            }
            Ordering::Equal => {
                self.nodes.remove(at);
                return self.merge(left, right);
            }
        }
        self.update(at);
        at
    }

    fn update(&mut self, at: u32) {
        let node = self.nodes.get(at);
        let mut last = at;
        for child in [node.left, node.right] {
            if child == NONE {
                continue;
            }
            let candidate = self.nodes.get(child).last;
            if self.nodes.get(candidate).end > self.nodes.get(last).end {
                last = candidate;
            }
        }
        self.nodes.get_mut(at).last = last;
    }
}

fn order((start, end): (&[u8], &End), node: &Node) -> Ordering {
    start.cmp(&node.start).then_with(|| end.cmp(&node.end))
}

fn ends_after(end: &End, key: &[u8]) -> bool {
    match end {
        End::Single => unreachable!("single keys are kept apart"),
        End::Before(end) => *key < **end,
        End::Unbounded => true,
    }
}

/// A number spread over all 32 bits (the finaliser of splitmix64).
fn mix(number: u64) -> u32 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed >> 32) as u32
}
