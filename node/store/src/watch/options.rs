//! The limits of watching, each with its reason.

/// What bounds the memory and the work of a [`WatchHub`](super::WatchHub).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchOptions {
    /// Recent events kept at hand, in bytes. A watcher that lags further behind reads the log.
    pub ring_bytes_max: u64,
    /// Recent revisions kept at hand.
    pub ring_revisions_max: u64,
    /// Watchers of one stream. One more is refused with etcd's "too many requests".
    pub stream_watchers_max: usize,
    /// Watchers of all streams together. One more is refused likewise.
    pub watchers_max: usize,
    /// Revisions read from the log at a time for watchers that lag (etcd's batch: 1000).
    pub catch_up_revisions_max: usize,
    /// Bytes read from the log at a time. One chunk is kept, shared by all that lag.
    pub catch_up_bytes_max: usize,
    /// No further revision is added to a response that has so many bytes of events.
    pub response_bytes_max: usize,
    /// No further revision is added to a response that has so many with events.
    pub response_revisions_max: usize,
    /// A response of at least so many bytes is split if its watcher agreed (`fragment`):
    /// max-request-bytes and 512 KiB for what surrounds a request, as etcd counts.
    pub fragment_bytes: usize,
}

/// etcd's `--max-request-bytes` default, and the overhead that it allows a message.
const MESSAGE_BYTES: usize = 3 * 512 * 1024 + 512 * 1024;

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            // A few seconds of a heavy write load; most of it is shared with the log's tail.
            ring_bytes_max: 32 << 20,
            ring_revisions_max: 1 << 16,
            // At about 200 bytes each: 50 MiB for the largest stream, 800 MiB for a hub.
            stream_watchers_max: 1 << 18,
            watchers_max: 1 << 22,
            catch_up_revisions_max: 1000,
            catch_up_bytes_max: 1 << 20,
            response_bytes_max: 1 << 20,
            response_revisions_max: 1000,
            fragment_bytes: MESSAGE_BYTES,
        }
    }
}

/// How much one [`poll`](super::WatchHub::poll) may give out. At least one response is given if
/// there is one, however large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollLimits {
    /// No further response is begun after so many bytes.
    pub bytes: usize,
    /// Responses at most.
    pub responses: usize,
}

impl Default for PollLimits {
    fn default() -> Self {
        Self { bytes: 1 << 20, responses: 256 }
    }
}

/// Control responses that may wait in one stream; see [`Backlog`](super::Backlog).
pub(super) const CONTROL_RESPONSES_MAX: usize = 1024;

/// Steps of one poll: an event looked at or a watcher visited is one. Bounds the time that a poll
/// holds the store for readers.
pub(super) const POLL_STEPS_MAX: usize = 1 << 14;

/// What reading a chunk from the log counts as, in steps.
pub(super) const CHUNK_STEPS: usize = 1 << 11;

/// Events looked at for one response, so that a watcher without matches yields to the others.
pub(super) const SCANNED_MAX: usize = 1 << 12;
