//! Appends that were sent and not yet acknowledged.

use std::collections::VecDeque;

use crate::types::Index;

/// A window over the appends in flight to one follower, limited in messages and in bytes. The
/// limit in bytes is soft: a message that starts below it may end above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inflights {
    /// The last index of each append and the bytes of its commands, in sending order.
    window: VecDeque<(Index, u64)>,
    bytes: u64,
    max_messages: usize,
    max_bytes: u64,
}

impl Inflights {
    /// An empty window.
    pub fn new(max_messages: usize, max_bytes: u64) -> Inflights {
        Inflights { window: VecDeque::new(), bytes: 0, max_messages, max_bytes }
    }

    /// Counts an append whose last entry is `last` and whose commands have `bytes`.
    ///
    /// # Panics
    /// If the window is full.
    pub fn add(&mut self, last: Index, bytes: u64) {
        assert!(!self.is_full(), "an append was sent through a full window");
        self.window.push_back((last, bytes));
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Forgets the appends that end at or before `acked`.
    pub fn free_to(&mut self, acked: Index) {
        while let Some(&(last, bytes)) = self.window.front() {
            if last > acked {
                break;
            }
            self.window.pop_front();
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }

    /// Forgets all.
    pub fn reset(&mut self) {
        self.window.clear();
        self.bytes = 0;
    }

    /// Whether nothing more may be sent.
    pub fn is_full(&self) -> bool {
        self.window.len() >= self.max_messages || self.bytes >= self.max_bytes
    }

    /// Appends in flight.
    pub fn len(&self) -> usize {
        self.window.len()
    }

    /// Whether nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.window.is_empty()
    }

    /// Bytes of commands in flight.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
