//! One client's stream, as the hub keeps it.

use std::collections::{BTreeMap, VecDeque};

use super::response::Response;
use super::watcher::List;

/// An empty queue keeps room for so many responses: what a client commonly asks at once.
const QUEUE_CAPACITY_KEPT: usize = 4;

/// The name of an open stream. Names are not used twice (within four billion streams).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    pub(super) slot: u32,
    pub(super) serial: u32,
}

/// What a watch id stands for in its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// A watcher, by number.
    Watcher(u32),
    /// One that compaction ended. As in etcd its id stays taken until the client cancels it.
    Compacted,
}

/// The watchers of a stream and what waits to be said that is not an event.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) serial: u32,
    pub(super) ids: BTreeMap<i64, Named>,
    /// How many of `ids` are watchers.
    pub(super) watchers: usize,
    /// The smallest id that the server may pick next.
    pub(super) next_id: i64,
    /// Answers to requests, in order.
    pub(super) control: VecDeque<Response>,
    /// The pieces of the response begun last; nothing else may go between them.
    pub(super) pieces: VecDeque<Response>,
    /// Watchers that may have news.
    pub(super) ready: List,
    /// The executor was told of news and has not yet polled them all.
    pub(super) awake: bool,
    /// The client asked for progress and waits for all watchers to be synced.
    pub(super) progress_requested: bool,
    /// Below it, some watcher may be ahead of what is published. At least the highest
    /// [`progress_min`](super::watcher::Watcher::progress_min) of the stream; more than that only
    /// after a cancel.
    pub(super) ahead: i64,
    /// From this watch id on, watchers may be owed a progress notification.
    pub(super) due_from: Option<i64>,
}

impl Stream {
    pub(super) const fn new(serial: u32) -> Self {
        Self {
            serial,
            ids: BTreeMap::new(),
            watchers: 0,
            next_id: 0,
            control: VecDeque::new(),
            pieces: VecDeque::new(),
            ready: List::new(),
            awake: false,
            progress_requested: false,
            ahead: 0,
            due_from: None,
        }
    }

    /// An id that no watcher has, counting up as etcd does.
    pub(super) fn pick_id(&mut self) -> i64 {
        while self.ids.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// Give back what a burst of answers took.
    pub(super) fn release_memory(&mut self) {
        for queue in [&mut self.control, &mut self.pieces] {
            if queue.is_empty() && queue.capacity() > QUEUE_CAPACITY_KEPT {
                queue.shrink_to_fit();
            }
        }
    }

    /// Whether a poll would find something to do.
    pub(super) fn has_work(&self) -> bool {
        !self.pieces.is_empty()
            || !self.control.is_empty()
            || !self.ready.is_empty()
            || self.progress_requested
            || self.due_from.is_some()
    }
}
