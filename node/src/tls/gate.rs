//! How many connections may be on their way to a handshake, and who gives way to whom.
//!
//! ```text
//!   arrives ──► silent ── first byte ──► inside: reads, computes, answers ──► done
//!                │                         │      ▲
//!                │          inside is full │      │ a place is free: the newest first
//!                ▼                         ▼      │
//!          too many: the oldest ends     waiting ─┘
//! ```
//! Pure: it knows numbers and no time, connection or task. A connection that says nothing costs
//! little, and ends when there are too many of its kind. A place inside is for a pace at least;
//! whoever has it for longer gives it up to the next who wants it. The newest of those who wait
//! goes first: under an attack it is the one that somebody still waits for.

use std::collections::{BTreeMap, BTreeSet};

/// The most of each kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections that have said nothing, or wait to get inside.
    pub(super) outside: usize,
    /// Handshakes at a time.
    pub(super) inside: usize,
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It has said nothing yet.
    Silent,
    /// It wants to get inside.
    Waiting,
    /// Its handshake goes on.
    Inside,
    /// It had to give way.
    Ended,
}

/// All connections whose handshake has not ended, by numbers that grow; `T` is what their tasks
/// are woken with.
#[derive(Debug)]
pub(super) struct Gate<T> {
    limits: Limits,
    next: u64,
    silent: BTreeMap<u64, T>,
    waiting: BTreeMap<u64, T>,
    inside: BTreeMap<u64, T>,
    /// Those inside who have had their time.
    slow: BTreeSet<u64>,
}

impl<T: Clone> Gate<T> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            next: 0,
            silent: BTreeMap::new(),
            waiting: BTreeMap::new(),
            inside: BTreeMap::new(),
            slow: BTreeSet::new(),
        }
    }

    /// A connection arrives: its number, and who has to end for it.
    pub(super) fn arrive(&mut self, waker: T) -> (u64, Option<T>) {
        let number = self.next;
        self.next = number.wrapping_add(1);
        let is_full = self.silent.len() + self.waiting.len() >= self.limits.outside;
        let ended = match is_full {
            true => self.silent.pop_first().or_else(|| self.waiting.pop_first()),
            false => None,
        };
        self.silent.insert(number, waker);
        (number, ended.map(|(_, waker)| waker))
    }

    /// There is no room for more: who is on their way for longest has to end.
    pub(super) fn give_way(&mut self) -> Option<T> {
        if let Some((_, waker)) = self.silent.pop_first().or_else(|| self.waiting.pop_first()) {
            return Some(waker);
        }
        let slow = self.slow.pop_first()?;
        self.inside.remove(&slow)
    }

    /// It has said something. Says who has to end for it; it waits if it is not inside then.
    pub(super) fn knock(&mut self, number: u64) -> Option<T> {
        let waker = self.silent.remove(&number)?;
        if self.inside.len() < self.limits.inside {
            self.inside.insert(number, waker);
            return None;
        }
        let Some(slow) = self.slow.pop_first() else {
            self.waiting.insert(number, waker);
            return None;
        };
        let ended = self.inside.remove(&slow);
        self.inside.insert(number, waker);
        ended
    }

    /// It has been inside for a pace, and goes on only if nobody waits. Says who is inside for it.
    pub(super) fn grow_slow(&mut self, number: u64) -> Option<T> {
        if !self.inside.contains_key(&number) {
            return None;
        }
        if self.waiting.is_empty() {
            self.slow.insert(number);
            return None;
        }
        self.inside.remove(&number);
        self.let_in()
    }

    /// It has ended, one way or the other. Says who is inside for it.
    pub(super) fn leave(&mut self, number: u64) -> Option<T> {
        self.silent.remove(&number);
        self.waiting.remove(&number);
        self.slow.remove(&number);
        self.inside.remove(&number)?;
        self.let_in()
    }

    fn let_in(&mut self) -> Option<T> {
        let (number, waker) = self.waiting.pop_last()?;
        self.inside.insert(number, waker.clone());
        Some(waker)
    }

    /// Where a connection is.
    pub(super) fn place(&self, number: u64) -> Place {
        if self.inside.contains_key(&number) {
            Place::Inside
        } else if self.waiting.contains_key(&number) {
            Place::Waiting
        } else if self.silent.contains_key(&number) {
            Place::Silent
        } else {
            Place::Ended
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(outside: usize, inside: usize) -> Gate<&'static str> {
        Gate::new(Limits { outside, inside })
    }

    #[test]
    fn the_oldest_silent_one_ends_when_there_are_too_many() {
        let mut gate = gate(2, 1);
        assert_eq!(gate.arrive("a"), (0, None));
        assert_eq!(gate.arrive("b"), (1, None));
        assert_eq!(gate.arrive("c"), (2, Some("a")));
        assert_eq!(gate.place(0), Place::Ended);
        assert_eq!(gate.knock(0), None);
        assert_eq!(gate.place(0), Place::Ended);
        assert_eq!(gate.knock(1), None);
        assert_eq!((gate.place(1), gate.place(2)), (Place::Inside, Place::Silent));
    }

    #[test]
    fn the_oldest_ends_when_room_is_needed() {
        let mut gate = gate(9, 1);
        for name in ["a", "b", "c"] {
            gate.arrive(name);
        }
        gate.knock(0);
        gate.knock(1);
        assert_eq!(gate.give_way(), Some("c"));
        assert_eq!(gate.give_way(), Some("b"));
        // Its handshake is not over, but nobody can say yet that it takes long.
        assert_eq!(gate.give_way(), None);
        gate.grow_slow(0);
        assert_eq!(gate.give_way(), Some("a"));
        assert_eq!(gate.place(0), Place::Ended);
    }

    #[test]
    fn a_place_is_given_to_the_newest_who_waits() {
        let mut gate = gate(9, 1);
        for name in ["a", "b", "c"] {
            let (number, _) = gate.arrive(name);
            assert_eq!(gate.knock(number), None);
        }
        assert_eq!((gate.place(0), gate.place(1)), (Place::Inside, Place::Waiting));
        assert_eq!(gate.leave(0), Some("c"));
        assert_eq!((gate.place(0), gate.place(1)), (Place::Ended, Place::Waiting));
        assert_eq!(gate.grow_slow(2), Some("b"));
        assert_eq!((gate.place(2), gate.place(1)), (Place::Ended, Place::Inside));
        assert_eq!(gate.leave(2), None);
        assert_eq!(gate.leave(1), None);
    }

    #[test]
    fn who_had_their_time_give_way_to_who_comes() {
        let mut gate = gate(9, 2);
        for name in ["a", "b"] {
            let (number, _) = gate.arrive(name);
            gate.knock(number);
        }
        assert_eq!(gate.grow_slow(1), None);
        assert_eq!(gate.grow_slow(0), None);
        let (number, _) = gate.arrive("c");
        assert_eq!(gate.knock(number), Some("a"));
        assert_eq!((gate.place(0), gate.place(1)), (Place::Ended, Place::Inside));
        assert_eq!(gate.place(number), Place::Inside);
        // One that ends by itself takes nobody with it.
        assert_eq!(gate.leave(0), None);
        assert_eq!(gate.place(number), Place::Inside);
    }
}
