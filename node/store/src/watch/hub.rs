//! The hub: streams, their watchers, and what was published.

use std::borrow::Cow;

use quorate_api::etcdserverpb::WatchCreateRequest;
use quorate_api::etcdserverpb::watch_create_request::FilterType;

use super::Error;
use super::catch_up::CatchUp;
use super::event::Event;
use super::groups::Groups;
use super::options::{CONTROL_RESPONSES_MAX, WatchOptions};
use super::range::KeyRange;
use super::response::{NO_WATCHER, Response};
use super::ring::Ring;
use super::slab::Slab;
use super::stream::{Named, Stream, StreamId};
use super::watcher::{Flags, List, Place, Watcher};
use crate::log::Record;
use crate::mvcc::Mvcc;

/// etcd's texts, which have no error of the wire's table behind them.
const DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";
const EMPTY_RANGE: &str = "mvcc: watcher range is empty";

/// The stream has too many answers that its client did not read: poll it, then ask again. Until
/// then the executor reads no further request from this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream's answers are not read")]
pub struct Backlog;

/// How much the hub holds, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// Open streams.
    pub streams: usize,
    /// Watchers of all streams.
    pub watchers: usize,
    /// Watchers that have not yet been given all that was published.
    pub behind: usize,
    /// Distinct ranges.
    pub ranges: usize,
    /// Events in the ring.
    pub ring_events: usize,
    /// Bytes kept by the ring.
    pub ring_bytes: u64,
    /// Stretches read from the log so far, for watchers that the ring did not serve any more.
    pub log_reads: u64,
}

/// All streams and watchers of a member; see the [module](super).
#[derive(Debug)]
pub struct WatchHub {
    pub(super) options: WatchOptions,
    pub(super) streams: Slab<Stream>,
    pub(super) watchers: Slab<Watcher>,
    pub(super) groups: Groups,
    pub(super) ring: Ring,
    pub(super) catch_up: CatchUp,
    /// Watchers in `ready` lists.
    pub(super) behind: usize,
    next_serial: u32,
    found: Vec<u32>,
}

impl WatchHub {
    /// A hub without streams, of a store whose current revision is `revision`. What happens
    /// later must be published.
    pub const fn new(revision: i64, options: WatchOptions) -> Self {
        Self {
            options,
            streams: Slab::new(),
            watchers: Slab::new(),
            groups: Groups::new(),
            ring: Ring::new(revision),
            catch_up: CatchUp::new(),
            behind: 0,
            next_serial: 0,
            found: Vec::new(),
        }
    }

    /// The newest revision that was published.
    pub const fn revision(&self) -> i64 {
        self.ring.revision()
    }

    /// How much the hub holds.
    pub fn counts(&self) -> Counts {
        Counts {
            streams: self.streams.len(),
            watchers: self.watchers.len(),
            behind: self.behind,
            ranges: self.groups.len(),
            ring_events: self.ring.window.events.len(),
            ring_bytes: self.ring.bytes(),
            log_reads: self.catch_up.reads,
        }
    }

    /// Take in what was applied: the records of one or more revisions, in order, each newer than
    /// all before. Gives the streams that have news now and had none before: the executor polls
    /// each until [`Polled::more`](super::Polled::more) is false.
    ///
    /// # Errors
    /// [`Error::Malformed`] if a record is not what apply writes.
    ///
    /// # Panics
    /// If a revision was published before, or only a part of it.
    pub fn publish(&mut self, records: Vec<Record>) -> Result<Vec<StreamId>, Error> {
        let mut woken = Vec::new();
        let before = self.revision();
        for record in records {
            assert!(record.revision.main > before, "a revision is published once, as a whole");
            let event = Event::new(record)?;
            self.notify(&event, &mut woken);
            self.ring.push(event);
        }
        self.ring.shrink(self.options.ring_bytes_max, self.options.ring_revisions_max);
        Ok(woken)
    }

    /// Move the watchers that wait for this event from their groups to their streams.
    fn notify(&mut self, event: &Event, woken: &mut Vec<StreamId>) {
        let mut found = std::mem::take(&mut self.found);
        self.groups.find(event.key(), &mut found);
        for number in &found {
            let group = self.groups.get_mut(*number);
            group.last_match = event.revision;
            let mut next = group.waiting.first();
            while let Some(number) = next {
                next = List::after(&self.watchers, number);
                let watcher = self.watchers.get_mut(number);
                if watcher.next > event.revision || watcher.flags.filters_out(event.tombstone) {
                    continue;
                }
                // It waited, so it has seen all of its range before this event.
                watcher.next = event.revision;
                self.make_ready(number);
                self.wake(number, woken);
            }
        }
        self.found = found;
    }

    /// Open a stream.
    pub fn open_stream(&mut self) -> StreamId {
        let serial = self.next_serial;
        self.next_serial = serial.wrapping_add(1);
        StreamId { slot: self.streams.insert(Stream::new(serial)), serial }
    }

    /// Close a stream with all its watchers. What was not polled is gone.
    pub fn close_stream(&mut self, id: StreamId) {
        let Some(slot) = self.slot(id) else { return };
        let ids = std::mem::take(&mut self.streams.get_mut(slot).ids);
        for named in ids.into_values() {
            if let Named::Watcher(number) = named {
                self.drop_watcher(number);
            }
        }
        self.streams.remove(slot);
    }

    /// Whether the stream takes another request now; if not, poll it first.
    pub fn takes_requests(&self, id: StreamId) -> bool {
        self.slot(id)
            .is_none_or(|slot| self.streams.get(slot).control.len() < CONTROL_RESPONSES_MAX)
    }

    /// Create a watcher. Its answer, and then its events, come from [`poll`](Self::poll).
    /// Requests of a stream that is closed are ignored, here and below.
    ///
    /// # Errors
    /// [`Backlog`] if the client does not read its answers; nothing happened then.
    pub fn create(
        &mut self,
        id: StreamId,
        mvcc: &Mvcc,
        request: &WatchCreateRequest,
    ) -> Result<(), Backlog> {
        let Some(slot) = self.slot_for_request(id)? else { return Ok(()) };
        let revision = mvcc.current_revision();
        if request.start_revision < 0 {
            self.say_refused(slot, revision, quorate_api::Error::Compacted.message().into());
            return Ok(());
        }
        let Some(range) = KeyRange::from_request(&request.key, &request.range_end) else {
            self.say_refused(slot, revision, EMPTY_RANGE.into());
            return Ok(());
        };
        let stream = self.streams.get_mut(slot);
        let taken = request.watch_id != 0 && stream.ids.contains_key(&request.watch_id);
        if taken {
            self.say_refused(slot, revision, DUPLICATE_ID.into());
            return Ok(());
        }
        if stream.ids.len() >= self.options.stream_watchers_max
            || self.watchers.len() >= self.options.watchers_max
        {
            let reason = quorate_api::Error::TooManyRequests.message();
            self.say_refused(slot, revision, reason.into());
            return Ok(());
        }
        let watch_id = if request.watch_id == 0 { stream.pick_id() } else { request.watch_id };
        stream.control.push_back(Response {
            watch_id,
            revision,
            created: true,
            ..Response::default()
        });
        let compacted = mvcc.compact_revision();
        if (1..compacted).contains(&request.start_revision) {
            stream.ids.insert(watch_id, Named::Compacted);
            stream.control.push_back(compacted_response(watch_id, compacted));
            return Ok(());
        }
        let mut flags = flags_of(request);
        let next = match request.start_revision {
            0 => revision + 1,
            start => start,
        };
        if request.start_revision > self.revision() {
            flags.set(Flags::STARTS_LATER);
        }
        self.add_watcher(slot, watch_id, next, range, flags);
        Ok(())
    }

    fn add_watcher(&mut self, slot: u32, id: i64, next: i64, range: KeyRange, flags: Flags) {
        let revision = self.revision();
        let group = self.groups.join(range, revision);
        let watcher = Watcher::new(id, next, slot, group, flags);
        let stream = self.streams.get_mut(slot);
        stream.ahead = stream.ahead.max(watcher.progress_min());
        let number = self.watchers.insert(watcher);
        stream.ids.insert(id, Named::Watcher(number));
        stream.watchers += 1;
        let group = self.groups.get_mut(group);
        if next > group.last_match {
            group.waiting.push(&mut self.watchers, number, Place::Waiting);
        } else {
            stream.ready.push(&mut self.watchers, number, Place::Ready);
            self.behind += 1;
        }
    }

    /// Refuse a creation for a reason that the executor knows (permissions).
    ///
    /// # Errors
    /// [`Backlog`] as in [`create`](Self::create).
    pub fn refuse(
        &mut self,
        id: StreamId,
        mvcc: &Mvcc,
        reason: Cow<'static, str>,
    ) -> Result<(), Backlog> {
        if let Some(slot) = self.slot_for_request(id)? {
            self.say_refused(slot, mvcc.current_revision(), reason);
        }
        Ok(())
    }

    /// Cancel a watcher. An id that names none is ignored, as in etcd.
    ///
    /// # Errors
    /// [`Backlog`] as in [`create`](Self::create).
    pub fn cancel(&mut self, id: StreamId, mvcc: &Mvcc, watch_id: i64) -> Result<(), Backlog> {
        let Some(slot) = self.slot_for_request(id)? else { return Ok(()) };
        match self.streams.get_mut(slot).ids.remove(&watch_id) {
            None => return Ok(()),
            Some(Named::Compacted) => {}
            Some(Named::Watcher(number)) => {
                self.drop_watcher(number);
            }
        }
        self.streams.get_mut(slot).control.push_back(Response {
            watch_id,
            revision: mvcc.current_revision(),
            canceled: true,
            ..Response::default()
        });
        Ok(())
    }

    /// The client asks for progress of all its watchers. It is answered, once, when all that was
    /// published up to then is given out; not at all if the stream has no watcher or one that
    /// waits for a revision to come.
    pub fn request_progress(&mut self, id: StreamId) {
        if let Some(slot) = self.slot(id) {
            self.streams.get_mut(slot).progress_requested = true;
        }
    }

    /// The progress-notify interval of this stream has passed: its watchers that asked for it,
    /// have been given all events, and got none since the last tick, are told how far they are.
    pub fn tick_progress(&mut self, id: StreamId) {
        let Some(slot) = self.slot(id) else { return };
        let stream = self.streams.get_mut(slot);
        for named in stream.ids.values() {
            let Named::Watcher(number) = *named else { continue };
            let watcher = self.watchers.get_mut(number);
            if !watcher.flags.has(Flags::PROGRESS_NOTIFY) {
                continue;
            }
            if watcher.place == Place::Waiting && !watcher.flags.has(Flags::EVENTS_SINCE_TICK) {
                watcher.flags.set(Flags::PROGRESS_DUE);
                stream.due_from = Some(i64::MIN);
            }
            watcher.flags.clear(Flags::EVENTS_SINCE_TICK);
        }
    }

    /// The store's content is another one now, from a snapshot. Watchers go on where they are:
    /// what they missed comes from the new log, what it does not hold any more cancels them, and
    /// what they have seen never comes again. Gives the streams that have news now.
    pub fn on_snapshot_installed(&mut self, mvcc: &Mvcc) -> Vec<StreamId> {
        let (before, revision) = (self.revision(), mvcc.current_revision());
        self.ring = Ring::new(revision);
        self.catch_up.clear();
        for group in self.groups.iter_mut() {
            group.last_match = revision;
        }
        let mut woken = Vec::new();
        let numbers: Vec<u32> = self.watchers.iter().map(|(number, _)| number).collect();
        for number in numbers {
            let watcher = self.watchers.get_mut(number);
            if watcher.place == Place::Waiting && watcher.next <= before {
                watcher.next = before + 1;
                watcher.flags.clear(Flags::STARTS_LATER);
            }
            let (next, place) = (watcher.next, watcher.place);
            let stream = self.streams.get_mut(watcher.stream);
            stream.ahead = stream.ahead.max(watcher.progress_min());
            if place == Place::Waiting && next <= revision {
                self.make_ready(number);
                self.wake(number, &mut woken);
            }
        }
        woken
    }

    /// From its group's list to its stream's.
    fn make_ready(&mut self, number: u32) {
        let Watcher { group, stream, .. } = *self.watchers.get(number);
        self.groups.get_mut(group).waiting.remove(&mut self.watchers, number);
        self.streams.get_mut(stream).ready.push(&mut self.watchers, number, Place::Ready);
        self.behind += 1;
    }

    /// The watcher's stream has news; the executor hears it once until it has polled them all.
    fn wake(&mut self, number: u32, woken: &mut Vec<StreamId>) {
        let slot = self.watchers.get(number).stream;
        let stream = self.streams.get_mut(slot);
        if !stream.awake {
            stream.awake = true;
            woken.push(StreamId { slot, serial: stream.serial });
        }
    }

    /// Take a watcher, whose id is gone from its stream, out of everything else.
    pub(super) fn drop_watcher(&mut self, number: u32) {
        let Watcher { group, stream, place, .. } = *self.watchers.get(number);
        let stream = self.streams.get_mut(stream);
        match place {
            Place::Waiting => {
                self.groups.get_mut(group).waiting.remove(&mut self.watchers, number);
            }
            Place::Ready => {
                stream.ready.remove(&mut self.watchers, number);
                self.behind -= 1;
            }
            Place::Nowhere => unreachable!("a watcher stands in one list"),
        }
        stream.watchers -= 1;
        self.groups.leave(group);
        self.watchers.remove(number);
    }

    pub(super) fn slot(&self, id: StreamId) -> Option<u32> {
        let stream = self.streams.find(id.slot)?;
        (stream.serial == id.serial).then_some(id.slot)
    }

    fn slot_for_request(&self, id: StreamId) -> Result<Option<u32>, Backlog> {
        if self.takes_requests(id) { Ok(self.slot(id)) } else { Err(Backlog) }
    }

    fn say_refused(&mut self, slot: u32, revision: i64, cancel_reason: Cow<'static, str>) {
        self.streams.get_mut(slot).control.push_back(Response {
            watch_id: NO_WATCHER,
            revision,
            created: true,
            canceled: true,
            cancel_reason,
            ..Response::default()
        });
    }
}

/// The end of a watcher whose next events are gone: etcd gives no revision and no reason.
pub(super) fn compacted_response(watch_id: i64, compact_revision: i64) -> Response {
    Response { watch_id, canceled: true, compact_revision, ..Response::default() }
}

fn flags_of(request: &WatchCreateRequest) -> Flags {
    let mut flags = Flags::default();
    for filter in request.filters() {
        flags.set(match filter {
            FilterType::Noput => Flags::NO_PUT,
            FilterType::Nodelete => Flags::NO_DELETE,
        });
    }
    if request.prev_kv {
        flags.set(Flags::PREV_KV);
    }
    if request.fragment {
        flags.set(Flags::FRAGMENT);
    }
    if request.progress_notify {
        flags.set(Flags::PROGRESS_NOTIFY);
    }
    flags
}
