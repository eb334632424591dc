//! What a stream is told next.

use super::Error;
use super::hub::{WatchHub, compacted_response};
use super::options::{CHUNK_STEPS, POLL_STEPS_MAX, PollLimits, SCANNED_MAX};
use super::response::{NO_WATCHER, Response};
use super::stream::{Named, StreamId};
use super::watcher::{Flags, Place};
use super::window::{Take, Taken};
use crate::mvcc::Mvcc;

/// What a poll gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// In the order in which they must be sent.
    pub responses: Vec<Response>,
    /// There may be more: the limits, or the bound on a poll's work, were reached. Poll again,
    /// when the client has taken these.
    pub more: bool,
}

/// The responses of one poll, and how much more it may do.
struct Budget {
    responses: Vec<Response>,
    limits: PollLimits,
    bytes: usize,
    steps: usize,
}

impl Budget {
    fn is_full(&self) -> bool {
        !self.responses.is_empty()
            && (self.responses.len() >= self.limits.responses || self.bytes >= self.limits.bytes)
    }

    fn is_spent(&self) -> bool {
        self.steps >= POLL_STEPS_MAX
    }

    fn push(&mut self, response: Response) {
        self.bytes += response.size();
        self.responses.push(response);
    }
}

impl WatchHub {
    /// The next responses of a stream, in order: the rest of a split response, then answers to
    /// requests, then events of watchers in turn, and when all of those are given out, progress.
    ///
    /// A watcher that lags is served a bounded stretch at a time. A stream that is closed has
    /// nothing to say.
    ///
    /// # Errors
    /// If the log cannot be read; the hub is as before, less the responses of this call.
    pub fn poll(&mut self, id: StreamId, mvcc: &Mvcc, limits: PollLimits) -> Result<Polled, Error> {
        let Some(slot) = self.slot(id) else { return Ok(Polled::default()) };
        let mut budget = Budget { responses: Vec::new(), limits, bytes: 0, steps: 0 };
        while !budget.is_full() && !budget.is_spent() {
            let stream = self.streams.get_mut(slot);
            if let Some(piece) = stream.pieces.pop_front() {
                budget.push(piece);
            } else if let Some(answer) = stream.control.pop_front() {
                budget.push(answer);
            } else if let Some(number) = stream.ready.first() {
                budget.steps += 1;
                self.serve(number, mvcc, &mut budget)?;
            } else if stream.progress_requested {
                stream.progress_requested = false;
                self.say_progress(slot, &mut budget);
            } else if let Some(from) = stream.due_from {
                self.say_due_progress(slot, from, &mut budget);
            } else {
                break;
            }
        }
        self.ring.shrink(self.options.ring_bytes_max, self.options.ring_revisions_max);
        let stream = self.streams.get_mut(slot);
        stream.release_memory();
        stream.awake = stream.has_work();
        Ok(Polled { responses: budget.responses, more: stream.awake })
    }

    /// Give the first ready watcher of a stream its next events, or a stretch of history without
    /// any.
    fn serve(&mut self, number: u32, mvcc: &Mvcc, budget: &mut Budget) -> Result<(), Error> {
        let watcher = self.watchers.get(number);
        let (id, next, slot) = (watcher.id, watcher.next, watcher.stream);
        let fragment = watcher.flags.has(Flags::FRAGMENT);
        let last_match = self.groups.get(watcher.group).last_match;
        let compacted = mvcc.compact_revision();
        let in_ring = self.ring.window.covers(next);
        if next <= last_match && !in_ring && next < compacted {
            self.drop_watcher(number);
            let stream = self.streams.get_mut(slot);
            stream.ids.insert(id, Named::Compacted);
            stream.pieces.push_back(compacted_response(id, compacted));
            return Ok(());
        }
        let (events, covered) = if next <= last_match {
            let taken = self.take(number, mvcc, budget)?;
            (taken.events, taken.covered)
        } else {
            (Vec::new(), next - 1)
        };
        let synced = covered >= last_match;
        let watcher = self.watchers.get_mut(number);
        watcher.next = covered + 1;
        watcher.flags.clear(Flags::STARTS_LATER);
        self.move_on(number, synced);
        if events.is_empty() {
            return Ok(());
        }
        let watcher = self.watchers.get_mut(number);
        watcher.flags.set(Flags::EVENTS_SINCE_TICK);
        watcher.flags.clear(Flags::PROGRESS_DUE);
        let revision = if synced { self.revision().max(covered) } else { covered };
        let response = Response { watch_id: id, revision, events, ..Response::default() };
        let pieces = &mut self.streams.get_mut(slot).pieces;
        if fragment {
            pieces.extend(response.fragments(self.options.fragment_bytes));
        } else {
            pieces.push_back(response);
        }
        Ok(())
    }

    /// Events for a watcher from the ring, or else from the log.
    fn take(&mut self, number: u32, mvcc: &Mvcc, budget: &mut Budget) -> Result<Taken, Error> {
        let published = self.revision();
        let watcher = self.watchers.get(number);
        let group = self.groups.get(watcher.group);
        let in_ring = self.ring.window.covers(watcher.next);
        if !in_ring && !self.catch_up.window.covers(watcher.next) {
            budget.steps += CHUNK_STEPS;
            self.catch_up.read(mvcc, watcher.next, published, &self.options)?;
        }
        let window = if in_ring { &mut self.ring.window } else { &mut self.catch_up.window };
        let bytes_left = budget.limits.bytes.saturating_sub(budget.bytes);
        let take = Take {
            range: &group.range,
            flags: watcher.flags,
            from: watcher.next,
            through: group.last_match.min(window.through),
            bytes_max: self.options.response_bytes_max.min(bytes_left).max(1),
            revisions_max: self.options.response_revisions_max.max(1),
            scanned_max: SCANNED_MAX,
        };
        let taken = window.take(&take, mvcc)?;
        if in_ring {
            self.ring.grow(taken.grown);
        }
        budget.steps += taken.scanned;
        Ok(taken)
    }

    /// A watcher that was served waits in its group if it has all there is, else it takes its
    /// turn again after the others of its stream.
    fn move_on(&mut self, number: u32, synced: bool) {
        let watcher = self.watchers.get(number);
        let (slot, group) = (watcher.stream, watcher.group);
        let ready = &mut self.streams.get_mut(slot).ready;
        ready.remove(&mut self.watchers, number);
        if synced {
            self.behind -= 1;
            let waiting = &mut self.groups.get_mut(group).waiting;
            waiting.push(&mut self.watchers, number, Place::Waiting);
        } else {
            ready.push(&mut self.watchers, number, Place::Ready);
        }
    }

    /// Progress of the whole stream, none of whose watchers is behind.
    fn say_progress(&mut self, slot: u32, budget: &mut Budget) {
        let revision = self.revision();
        let stream = self.streams.get_mut(slot);
        if stream.watchers == 0 {
            return;
        }
        if stream.ahead > revision {
            // The highest one may have been canceled since.
            budget.steps += stream.watchers;
            let numbers = stream.ids.values().filter_map(|named| match named {
                Named::Watcher(number) => Some(*number),
                Named::Compacted => None,
            });
            let ahead = numbers.map(|number| self.watchers.get(number).progress_min());
            stream.ahead = ahead.max().unwrap_or_default();
            if stream.ahead > revision {
                return;
            }
        }
        budget.push(Response { watch_id: NO_WATCHER, revision, ..Response::default() });
    }

    /// Progress of the watchers to which the last tick owes it; none of the stream is behind.
    fn say_due_progress(&mut self, slot: u32, from: i64, budget: &mut Budget) {
        let revision = self.revision();
        let stream = self.streams.get_mut(slot);
        for (id, named) in stream.ids.range(from..) {
            stream.due_from = Some(*id);
            if budget.is_full() || budget.is_spent() {
                return;
            }
            budget.steps += 1;
            let Named::Watcher(number) = *named else { continue };
            let watcher = self.watchers.get_mut(number);
            let due = watcher.flags.has(Flags::PROGRESS_DUE);
            watcher.flags.clear(Flags::PROGRESS_DUE);
            if due && watcher.progress_min() <= revision {
                budget.push(Response { watch_id: *id, revision, ..Response::default() });
            }
        }
        stream.due_from = None;
    }
}
