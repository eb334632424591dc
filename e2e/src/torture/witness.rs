//! A client that watches everything, from the beginning to the end.
//!
//! What revisions did guides the search of the linearizability check where nobody knows who made
//! one. Its streams are part of the history and judged as all others are.

use std::time::Duration;

use judge::check::linearizable;
use judge::client::Stream;
use judge::history::{ClientId, KeyRange, Time, WatchCreate, WatchMessage};

/// The witness among the clients.
pub(super) const ID: ClientId = ClientId(1 << 33);
/// How long it waits for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// So long it may stand still while others see new revisions.
const LAG_MAX: Time = Time::from_millis(1_000);

/// What it has seen.
#[derive(Debug, Default)]
pub(super) struct Witness {
    /// What each revision changed.
    pub(super) changes: linearizable::Witness,
    stream: Option<Stream>,
    streams: u64,
    lagging_since: Option<(Time, i64)>,
}

impl Witness {
    /// Up to where it has seen everything.
    pub(super) fn revision(&self) -> i64 {
        self.changes.last_key_value().map_or(1, |(revision, _)| *revision)
    }

    /// The number of its next stream.
    pub(super) fn next_stream(&mut self) -> u64 {
        self.streams += 1;
        self.streams
    }

    pub(super) fn take_stream(&mut self) -> Option<Stream> {
        self.stream.take()
    }

    pub(super) fn set_stream(&mut self, stream: Stream) {
        self.stream = Some(stream);
        self.lagging_since = None;
    }

    /// A watcher of everything that it has not seen yet.
    pub(super) fn create(&self) -> WatchCreate {
        let mut create = WatchCreate::new(KeyRange::all(), self.revision() + 1);
        create.prev_kv = true;
        create
    }

    /// Learn from a message. Whether the stream is of no use any more.
    pub(super) fn hear(&mut self, message: &WatchMessage) -> bool {
        match message {
            WatchMessage::Events { events, .. } => {
                let known = self.revision();
                for event in events.iter().filter(|event| event.mod_revision > known) {
                    self.changes.entry(event.mod_revision).or_default().push(event.clone());
                }
                false
            }
            WatchMessage::Canceled { .. } | WatchMessage::CreateRefused { .. } => true,
            WatchMessage::CreateRequest(_)
            | WatchMessage::CancelRequest { .. }
            | WatchMessage::ProgressRequest
            | WatchMessage::Created { .. }
            | WatchMessage::Progress { .. } => false,
        }
    }

    /// Whether it has stood still for too long behind what others saw.
    pub(super) fn lags(&mut self, seen: i64, now: Time) -> bool {
        let own = self.revision();
        if seen <= own {
            self.lagging_since = None;
            return false;
        }
        match self.lagging_since {
            Some((since, at)) if at == own => now > since.plus(LAG_MAX),
            Some(_) | None => {
                self.lagging_since = Some((now, own));
                false
            }
        }
    }
}
