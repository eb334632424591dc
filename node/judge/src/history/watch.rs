//! Watch streams as their client sees them.

use super::{KeyRange, KeyValue, Session, StreamId, Time};
use bytes::Bytes;

/// What happened to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// It was written and stands so.
    Put(KeyValue),
    /// It was deleted.
    Delete,
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The key.
    pub key: Bytes,
    /// The revision that changed it.
    pub mod_revision: i64,
    /// What happened.
    pub kind: EventKind,
    /// The key as it stood, if asked for and there.
    pub prev_kv: Option<KeyValue>,
}

impl Event {
    /// The same change without what stood before.
    #[must_use]
    pub fn without_prev_kv(&self) -> Self {
        let Self { key, mod_revision, kind, prev_kv: _ } = self;
        Self { key: key.clone(), mod_revision: *mod_revision, kind: kind.clone(), prev_kv: None }
    }
}

/// A watcher wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchCreate {
    /// The keys watched.
    pub keys: KeyRange,
    /// The first revision wanted; 0 is the one after now.
    pub start_revision: i64,
    /// Whether an idle watcher hears how far it is.
    pub progress_notify: bool,
    /// Whether events carry what stood before.
    pub prev_kv: bool,
    /// Whether events of one revision may come in several responses.
    pub fragment: bool,
    /// Whether writes are left out.
    pub no_put: bool,
    /// Whether deletions are left out.
    pub no_delete: bool,
}

impl WatchCreate {
    /// A watcher of `keys` from `start_revision` on, without extras.
    #[must_use]
    pub fn new(keys: KeyRange, start_revision: i64) -> Self {
        Self {
            keys,
            start_revision,
            progress_notify: false,
            prev_kv: false,
            fragment: false,
            no_put: false,
            no_delete: false,
        }
    }
}

/// A message on a watch stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchMessage {
    /// The client wants a watcher. Answers come in the order of these requests.
    CreateRequest(WatchCreate),
    /// The client ends a watcher.
    CancelRequest {
        /// The watcher.
        watch_id: i64,
    },
    /// The client asks how far the stream is.
    ProgressRequest,
    /// The answer to the next create request.
    Created {
        /// The new watcher.
        watch_id: i64,
        /// The revision in the header.
        revision: i64,
    },
    /// The next create request failed for a reason other than compaction.
    CreateRefused {
        /// What the server says.
        reason: String,
    },
    /// Events.
    Events {
        /// Their watcher.
        watch_id: i64,
        /// The revision in the header.
        revision: i64,
        /// Whether the rest of the last revision comes in the next response.
        fragment: bool,
        /// What happened, in order.
        events: Vec<Event>,
    },
    /// How far the stream is.
    Progress {
        /// The watcher, or −1 for all of the stream.
        watch_id: i64,
        /// Everything up to this revision was delivered.
        revision: i64,
    },
    /// The server ended a watcher.
    Canceled {
        /// The watcher.
        watch_id: i64,
        /// The oldest revision left, if the wanted one is compacted; else 0.
        compact_revision: i64,
    },
}

/// A watch stream with all that passed on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchStream {
    /// Position in the history.
    pub id: StreamId,
    /// Who watches at whom.
    pub session: Session,
    /// When the client opened it.
    pub opened: Time,
    /// When it ended, if it has.
    pub closed: Option<Time>,
    /// What passed, with the time at the client.
    pub messages: Vec<(Time, WatchMessage)>,
}
