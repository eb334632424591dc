//! One watcher, and the lists that watchers stand in.

use super::slab::{NONE, Slab};

/// A client's interest in a range, as a cursor: it has seen every event of its range below `next`.
///
/// It stands in exactly one list, linked through itself, so that moving it allocates nothing:
/// `waiting` of its group (it has seen all there is), or `ready` of its stream (it may have news).
#[derive(Debug)]
pub(super) struct Watcher {
    /// The client's name for it within the stream.
    pub(super) id: i64,
    /// It takes events of this main revision and later ones.
    pub(super) next: i64,
    pub(super) stream: u32,
    pub(super) group: u32,
    pub(super) flags: Flags,
    pub(super) place: Place,
    before: u32,
    after: u32,
}

/// The list that a watcher stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// None yet, or none any more.
    Nowhere,
    /// `waiting` of its group.
    Waiting,
    /// `ready` of its stream.
    Ready,
}

/// What the client asked for, and what the next progress tick must know; one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Flags(u8);

impl Flags {
    pub(super) const NO_PUT: Self = Self(1);
    pub(super) const NO_DELETE: Self = Self(1 << 1);
    pub(super) const PREV_KV: Self = Self(1 << 2);
    pub(super) const FRAGMENT: Self = Self(1 << 3);
    pub(super) const PROGRESS_NOTIFY: Self = Self(1 << 4);
    /// Events were delivered since the last progress tick.
    pub(super) const EVENTS_SINCE_TICK: Self = Self(1 << 5);
    /// The last tick owes it a progress notification.
    pub(super) const PROGRESS_DUE: Self = Self(1 << 6);
    /// It waits for a start revision that was not published yet when it was asked for.
    pub(super) const STARTS_LATER: Self = Self(1 << 7);

    pub(super) const fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    pub(super) const fn set(&mut self, flag: Self) {
        self.0 |= flag.0;
    }

    pub(super) const fn clear(&mut self, flag: Self) {
        self.0 &= !flag.0;
    }

    /// Whether the client wants no events of this kind.
    pub(super) const fn filters_out(self, tombstone: bool) -> bool {
        self.has(if tombstone { Self::NO_DELETE } else { Self::NO_PUT })
    }
}

impl Watcher {
    pub(super) const fn new(id: i64, next: i64, stream: u32, group: u32, flags: Flags) -> Self {
        Self { id, next, stream, group, flags, place: Place::Nowhere, before: NONE, after: NONE }
    }

    /// The lowest revision of which it may be told, if it is not behind: the one before what it
    /// takes next, or, as in etcd, the start revision that it waits for.
    pub(super) const fn progress_min(&self) -> i64 {
        if self.flags.has(Flags::STARTS_LATER) { self.next } else { self.next - 1 }
    }
}

/// Watchers in a row, linked through themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    first: u32,
    last: u32,
}

impl List {
    pub(super) const fn new() -> Self {
        Self { first: NONE, last: NONE }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.first == NONE
    }

    pub(super) const fn first(&self) -> Option<u32> {
        if self.is_empty() { None } else { Some(self.first) }
    }

    pub(super) fn after(watchers: &Slab<Watcher>, number: u32) -> Option<u32> {
        let after = watchers.get(number).after;
        (after != NONE).then_some(after)
    }

    pub(super) fn push(&mut self, watchers: &mut Slab<Watcher>, number: u32, place: Place) {
        let watcher = watchers.get_mut(number);
        assert!(watcher.place == Place::Nowhere, "a watcher stands in one list");
        watcher.place = place;
        watcher.before = self.last;
        watcher.after = NONE;
        if self.last == NONE {
            self.first = number;
        } else {
            watchers.get_mut(self.last).after = number;
        }
        self.last = number;
    }

    pub(super) fn remove(&mut self, watchers: &mut Slab<Watcher>, number: u32) {
        let watcher = watchers.get_mut(number);
        let (before, after) = (watcher.before, watcher.after);
        watcher.place = Place::Nowhere;
        watcher.before = NONE;
        watcher.after = NONE;
        if before == NONE {
            self.first = after;
        } else {
            watchers.get_mut(before).after = after;
        }
        if after == NONE {
            self.last = before;
        } else {
            watchers.get_mut(after).before = before;
        }
    }
}
