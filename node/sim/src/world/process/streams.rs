//! Clients' streams of watches. Some have slow clients, which read seldom and fall behind.

use quorate_store::watch::{self, PollLimits};

use super::{Output, Process, RING_REVISIONS, Stop};
use crate::client::Stream;
use crate::history::{ClientId, WatchMessage};
use crate::world::marks::Mark;
use judge::wire;

/// Responses that a stream is given at a time: a slow client gets few.
const POLL: PollLimits = PollLimits { bytes: 16 << 10, responses: 4 };

/// One stream in so many has a slow client, …
const SLOW_STREAMS: u64 = 4;

/// … which reads once in so many ticks.
const SLOW_READ_TICKS: u64 = 30;

/// What a member says has arrived after so many ticks, if all is well.
const ARRIVAL_TICKS: u64 = 3;

impl Process {
    /// A client's message on a stream; the first one opens it.
    pub(crate) fn watch(&mut self, client: ClientId, stream: Stream, message: &WatchMessage) {
        if self.is_filling() {
            return self.held_watches.push((client, stream, message.clone()));
        }
        let hub = &mut self.hub;
        let id = *self.streams.entry((client, stream)).or_insert_with(|| hub.open_stream());
        let taken = match message {
            WatchMessage::CreateRequest(create) => {
                self.hub.create(id, self.store.mvcc(), &wire::watch_create(create))
            }
            WatchMessage::CancelRequest { watch_id } => {
                self.hub.cancel(id, self.store.mvcc(), *watch_id)
            }
            WatchMessage::ProgressRequest => {
                self.hub.request_progress(id);
                Ok(())
            }
            WatchMessage::Created { .. }
            | WatchMessage::CreateRefused { .. }
            | WatchMessage::Events { .. }
            | WatchMessage::Progress { .. }
            | WatchMessage::Canceled { .. } => Ok(()),
        };
        debug_assert!(taken.is_ok(), "clients of a run do not ask that much between two reads");
        self.tell_stream(client, stream, id, None);
    }

    /// A client has gone.
    pub(crate) fn close_watch(&mut self, client: ClientId, stream: Stream) {
        self.unread.remove(&(client, stream));
        self.held_watches.retain(|(owner, held, _)| (*owner, *held) != (client, stream));
        if let Some(id) = self.streams.remove(&(client, stream)) {
            self.hub.close_stream(id);
        }
    }

    /// The interval of progress notifications has passed.
    pub(crate) fn tick_progress(&mut self) {
        let streams: Vec<_> = self.streams.iter().map(|(key, id)| (*key, *id)).collect();
        for ((client, stream), id) in streams {
            self.hub.tick_progress(id);
            // A slow client that has read everything has nothing else to do.
            if self.unread.contains_key(&(client, stream)) || self.is_filling() {
                self.tell_stream(client, stream, id, None);
            } else {
                self.poll_stream(client, stream, id);
            }
        }
    }

    pub(super) fn poll_streams(&mut self, woken: &[watch::StreamId]) {
        let streams: Vec<_> = self
            .streams
            .iter()
            .filter(|(_, id)| woken.contains(id))
            .map(|(key, id)| (*key, *id))
            .collect();
        let revision = self.hub.revision();
        for ((client, stream), id) in streams {
            self.tell_stream(client, stream, id, Some(revision));
        }
    }

    /// A stream may have news: its client reads them now, or, if it is slow, when it does.
    pub(super) fn tell_stream(
        &mut self,
        client: ClientId,
        stream: Stream,
        id: watch::StreamId,
        woken_by: Option<i64>,
    ) {
        if (client.0 + stream.0).is_multiple_of(SLOW_STREAMS) || self.is_filling() {
            let unread = self.unread.entry((client, stream)).or_default();
            *unread = unread.or(woken_by);
        } else {
            self.poll_stream(client, stream, id);
        }
    }

    /// The slow clients read, now and then.
    pub(super) fn read_slowly(&mut self) {
        if !self.ticks.is_multiple_of(SLOW_READ_TICKS) || self.is_installing() {
            return;
        }
        for ((client, stream), woken_by) in std::mem::take(&mut self.unread) {
            let Some(&id) = self.streams.get(&(client, stream)) else { continue };
            self.slow_read = self.ticks;
            let reads = self.hub.counts().log_reads;
            self.poll_stream(client, stream, id);
            let fell_behind =
                woken_by.is_some_and(|woken| woken + RING_REVISIONS <= self.hub.revision());
            if fell_behind && self.hub.counts().log_reads > reads {
                self.outputs.push(Output::Reached(Mark::WatchCaughtUp));
            }
        }
    }

    /// Whether slow clients have news to read, or on the way to them.
    pub(crate) fn has_unread(&self) -> bool {
        !self.unread.is_empty() || self.ticks <= self.slow_read + ARRIVAL_TICKS
    }

    fn poll_stream(&mut self, client: ClientId, stream: Stream, id: watch::StreamId) {
        loop {
            let polled = match self.hub.poll(id, self.store.mvcc(), POLL) {
                Ok(polled) => polled,
                Err(error) => return self.stop(Stop::Damaged(error.to_string())),
            };
            for response in polled.responses {
                let header = quorate_api::etcdserverpb::ResponseHeader::default();
                let message = response.to_message(&header).expect("the hub's own bytes");
                for message in wire::watch_response(message) {
                    self.outputs.push(Output::Watch(client, stream, message));
                }
            }
            if !polled.more {
                return;
            }
        }
    }
}
