//! The events of the most recent revisions, shared by all streams.

use super::event::Event;
use super::window::Window;

/// A bounded [`Window`] that ends at the newest published revision. The oldest revisions leave
/// whole; a watcher that has not taken them reads the log instead.
#[derive(Debug)]
pub(super) struct Ring {
    pub(super) window: Window,
    bytes: u64,
    /// Distinct revisions in the window.
    revisions: u64,
}

impl Ring {
    pub(super) const fn new(revision: i64) -> Self {
        Self { window: Window::empty_after(revision), bytes: 0, revisions: 0 }
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The newest published revision.
    pub(super) const fn revision(&self) -> i64 {
        self.window.through
    }

    pub(super) fn push(&mut self, event: Event) {
        assert!(event.revision >= self.window.through, "published revisions ascend");
        if self.window.events.back().is_none_or(|last| last.revision < event.revision) {
            self.revisions += 1;
        }
        self.window.through = event.revision;
        self.bytes += event.cost();
        self.window.events.push_back(event);
    }

    /// Encodings were made that the window keeps.
    pub(super) const fn grow(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Let the oldest revisions go until the limits are kept.
    pub(super) fn shrink(&mut self, bytes_max: u64, revisions_max: u64) {
        while self.bytes > bytes_max || self.revisions > revisions_max {
            let Some(oldest) = self.window.events.front().map(|event| event.revision) else {
                break;
            };
            while let Some(event) = self.window.events.front()
                && event.revision == oldest
            {
                self.bytes -= event.cost();
                self.window.events.pop_front();
            }
            self.revisions -= 1;
            self.window.floor = oldest;
        }
    }
}
