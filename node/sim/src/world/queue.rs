//! What happens next: events of the run by their virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::history::Time;

/// Events in the order of their time; those of one moment in the order they were added.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    heap: BinaryHeap<Reverse<Scheduled<E>>>,
    added: u64,
}

#[derive(Debug)]
struct Scheduled<E> {
    time: Time,
    order: u64,
    event: E,
}

impl<E> PartialEq for Scheduled<E> {
    fn eq(&self, other: &Self) -> bool {
        (self.time, self.order) == (other.time, other.order)
    }
}

impl<E> Eq for Scheduled<E> {}

impl<E> PartialOrd for Scheduled<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Scheduled<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.time, self.order).cmp(&(other.time, other.order))
    }
}

impl<E> Queue<E> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), added: 0 }
    }

    pub(crate) fn push(&mut self, time: Time, event: E) {
        self.added += 1;
        self.heap.push(Reverse(Scheduled { time, order: self.added, event }));
    }

    pub(crate) fn pop(&mut self) -> Option<(Time, E)> {
        self.heap.pop().map(|Reverse(scheduled)| (scheduled.time, scheduled.event))
    }
}
