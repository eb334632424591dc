//! A stretch of revisions with all their events.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Error;
use super::event::Event;
use super::range::KeyRange;
use super::watcher::Flags;
use crate::mvcc::Mvcc;

/// Every event of the revisions in `(floor, through]`, in order.
///
/// The ring of recent events is one, and so is a chunk that was read from the log for watchers
/// that lag behind the ring.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) events: VecDeque<Event>,
    pub(super) floor: i64,
    pub(super) through: i64,
}

/// What a watcher asks of a window.
#[derive(Debug)]
pub(super) struct Take<'a> {
    pub(super) range: &'a KeyRange,
    pub(super) flags: Flags,
    /// The first revision.
    pub(super) from: i64,
    /// The last revision; later ones have nothing for this range.
    pub(super) through: i64,
    /// No further revision is begun after so many bytes of events, …
    pub(super) bytes_max: usize,
    /// … so many revisions with events, …
    pub(super) revisions_max: usize,
    /// … or so many events looked at.
    pub(super) scanned_max: usize,
}

/// What a watcher got: always whole revisions.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Encoded `mvccpb.Event`s.
    pub(super) events: Vec<Bytes>,
    /// Every event of the range up to here was looked at.
    pub(super) covered: i64,
    /// How many events were looked at.
    pub(super) scanned: usize,
    /// How many bytes the new encodings keep in memory.
    pub(super) grown: u64,
}

impl Window {
    /// Nothing yet, after this revision.
    pub(super) const fn empty_after(revision: i64) -> Self {
        Self { events: VecDeque::new(), floor: revision, through: revision }
    }

    /// Whether a watcher that takes `revision` next can be served from here.
    pub(super) const fn covers(&self, revision: i64) -> bool {
        self.floor < revision && revision <= self.through
    }

    /// The events for one watcher, from `take.from` on, encoded.
    ///
    /// # Errors
    /// If a previous value cannot be read from the log; nothing is lost then.
    pub(super) fn take(&mut self, take: &Take<'_>, mvcc: &Mvcc) -> Result<Taken, Error> {
        assert!(self.covers(take.from) && take.through <= self.through, "asked beyond the window");
        let mut taken = Taken { covered: take.through, ..Taken::default() };
        let (mut bytes, mut revisions, mut last_revision) = (0, 0, take.from);
        let first = self.events.partition_point(|event| event.revision < take.from);
        for event in self.events.range_mut(first..) {
            if event.revision > take.through {
                break;
            }
            let full = bytes >= take.bytes_max
                || revisions >= take.revisions_max
                || taken.scanned >= take.scanned_max;
            if full && event.revision > last_revision {
                taken.covered = event.revision - 1;
                break;
            }
            taken.scanned += 1;
            if take.flags.filters_out(event.tombstone) || !take.range.contains(event.key()) {
                last_revision = last_revision.max(event.revision);
                continue;
            }
            if event.revision > last_revision || taken.events.is_empty() {
                revisions += 1;
            }
            last_revision = event.revision;
            let cost = event.cost();
            let encoded =
                if take.flags.has(Flags::PREV_KV) { event.with_prev(mvcc)? } else { event.plain() };
            taken.grown += event.cost() - cost;
            bytes += encoded.len();
            taken.events.push(encoded);
        }
        Ok(taken)
    }
}
