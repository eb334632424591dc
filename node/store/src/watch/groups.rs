//! Watchers of the same range, found by an event's key.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::interval::IntervalTree;
use super::range::{End, KeyRange};
use super::slab::Slab;
use super::watcher::List;

/// All watchers of one range.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) range: KeyRange,
    /// No event of this range is later than this revision. At first it is the revision at which
    /// the group came to be: what happened before is not known.
    pub(super) last_match: i64,
    /// Those who have seen everything up to `last_match`.
    pub(super) waiting: List,
    watchers: u32,
}

/// The distinct ranges: single keys in a map, the others in an interval tree.
#[derive(Debug)]
pub(super) struct Groups {
    groups: Slab<Group>,
    single: BTreeMap<Arc<[u8]>, u32>,
    ranges: IntervalTree,
}

impl Groups {
    pub(super) const fn new() -> Self {
        Self { groups: Slab::new(), single: BTreeMap::new(), ranges: IntervalTree::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn get(&self, group: u32) -> &Group {
        self.groups.get(group)
    }

    pub(super) fn get_mut(&mut self, group: u32) -> &mut Group {
        self.groups.get_mut(group)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Group> {
        self.groups.iter_mut().map(|(_, group)| group)
    }

    /// The group of this range, with one watcher more; made if there is none.
    pub(super) fn join(&mut self, range: KeyRange, revision: i64) -> u32 {
        let found = match &range.end {
            End::Single => self.single.get(&range.start).copied(),
            end => self.ranges.get(&range.start, end),
        };
        if let Some(group) = found {
            self.groups.get_mut(group).watchers += 1;
            return group;
        }
        let KeyRange { start, end } = range.clone();
        let group = Group { range, last_match: revision, waiting: List::new(), watchers: 1 };
        let group = self.groups.insert(group);
        match end {
            End::Single => {
                self.single.insert(start, group);
            }
            end => self.ranges.insert(start, end, group),
        }
        group
    }

    /// One watcher, which stands in no list any more, leaves; the last one takes the group with
    /// it.
    pub(super) fn leave(&mut self, number: u32) {
        let group = self.groups.get_mut(number);
        group.watchers -= 1;
        if group.watchers > 0 {
            return;
        }
        let Group { range: KeyRange { start, end }, waiting, .. } = self.groups.remove(number);
        assert!(waiting.is_empty(), "the last watcher of a group is in none of its lists");
        match end {
            End::Single => {
                self.single.remove(&start);
            }
            end => self.ranges.remove(&start, &end),
        }
    }

    /// Put the groups of all ranges that contain `key` into `found`.
    pub(super) fn find(&self, key: &[u8], found: &mut Vec<u32>) {
        found.clear();
        found.extend(self.single.get(key));
        self.ranges.stab(key, found);
    }
}
