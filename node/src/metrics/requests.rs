//! Requests of clients, from their arrival to the answer.

use std::collections::BTreeMap;
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use parking_lot::RwLock;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge};
use quorate_api::request::RequestKind;

use super::CallKind;
use super::registry::{DISK, HASH, MEMORY, counters, gauge, histogram, histograms};

/// Versions of clients' libraries that are told apart: clients could make up any number of them.
const CLIENT_VERSIONS_MAX: usize = 32;
/// The label of those that did not say theirs, …
const UNKNOWN: &str = "unknown";
/// … and of those above the number.
const OTHER: &str = "other";

struct Requests {
    by_client: IntCounterVec,
    stream_failures: IntCounterVec,
    hash: Histogram,
    hash_kv: Histogram,
    put_bytes: IntGauge,
    watch: WatchSends,
    promhttp_in_flight: IntGauge,
    promhttp_total: IntCounterVec,
}

struct WatchSends {
    events: Histogram,
    per_event: Histogram,
    control: Histogram,
    progress: Histogram,
    pending_events: IntGauge,
}

static REQUESTS: LazyLock<Requests> = LazyLock::new(|| Requests {
    by_client: counters(
        "etcd_server_client_requests_total",
        "Calls of clients, by the version of their library.",
        &["type", "client_api_version"],
    ),
    stream_failures: counters(
        "etcd_network_server_stream_failures_total",
        "Streams of clients that broke.",
        &["Type", "API"],
    ),
    hash: histogram(
        "etcd_mvcc_hash_duration_seconds",
        "How long hashing the whole store takes, in seconds.",
        HASH,
    ),
    hash_kv: histogram(
        "etcd_mvcc_hash_rev_duration_seconds",
        "How long hashing the history of keys takes, in seconds.",
        HASH,
    ),
    put_bytes: gauge(
        "etcd_debugging_mvcc_total_put_size_in_bytes",
        "Bytes of keys and values that were put.",
    ),
    watch: WatchSends {
        events: histogram(
            "etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds",
            "How long an answer with events waits for its stream, in seconds.",
            DISK,
        ),
        per_event: histogram(
            "etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds",
            "The same, divided by the number of events.",
            DISK,
        ),
        control: histogram(
            "etcd_debugging_server_watch_send_loop_control_stream_duration_seconds",
            "How long an answer to a creation or a cancellation waits for its stream, in seconds.",
            DISK,
        ),
        progress: histogram(
            "etcd_debugging_server_watch_send_loop_progress_duration_seconds",
            "How long a word of progress waits for its stream, in seconds.",
            DISK,
        ),
        pending_events: gauge(
            "etcd_debugging_mvcc_pending_events_total",
            "Events that wait for their streams.",
        ),
    },
    promhttp_in_flight: gauge(
        "promhttp_metric_handler_requests_in_flight",
        "Scrapes that are being answered.",
    ),
    promhttp_total: counters(
        "promhttp_metric_handler_requests_total",
        "Scrapes, by the code of their answer.",
        &["code"],
    ),
});

/// What requests took, by kind and whether they succeeded.
struct Took {
    family: HistogramVec,
    labels: fn(&str) -> Vec<&str>,
    /// Each is looked up once. `[failed, succeeded]`.
    by_kind: BTreeMap<RequestKind, [OnceLock<Histogram>; 2]>,
}

impl Took {
    fn new(family: HistogramVec, labels: fn(&str) -> Vec<&str>) -> Self {
        let by_kind = RequestKind::ALL.into_iter().map(|kind| (kind, Default::default())).collect();
        Self { family, labels, by_kind }
    }

    fn observe(&self, kind: RequestKind, result: Result<(), ()>, duration: Duration) {
        let Some(of_kind) = self.by_kind.get(&kind) else { return };
        let of_outcome = &of_kind[usize::from(result.is_ok())];
        let histogram = of_outcome.get_or_init(|| self.histogram(&format!("{kind:?}"), result));
        histogram.observe(duration.as_secs_f64());
    }

    /// A kind's own name is etcd's for it.
    fn histogram(&self, name: &str, result: Result<(), ()>) -> Histogram {
        let mut labels = (self.labels)(name);
        labels.push(if result.is_ok() { "true" } else { "false" });
        self.family.with_label_values(&labels)
    }
}

static APPLIED: LazyLock<Took> = LazyLock::new(|| {
    let family = histograms(
        "etcd_server_apply_duration_seconds",
        "How long a request takes to apply, in seconds.",
        &["version", "op", "success"],
        MEMORY,
    );
    Took::new(family, |name| vec!["v3", name])
});

static ANSWERED: LazyLock<Took> = LazyLock::new(|| {
    let family = histograms(
        "etcd_server_request_duration_seconds",
        "How long a request takes until its answer is known, in seconds.",
        &["type", "success"],
        DISK,
    );
    Took::new(family, |name| vec![name])
});

/// Make everything here appear, whether or not it was observed.
pub(super) fn register() {
    LazyLock::force(&REQUESTS);
    LazyLock::force(&APPLIED);
    LazyLock::force(&ANSWERED);
    for code in ["200", "500", "503"] {
        // Making the label is enough.
        let _ = REQUESTS.promhttp_total.with_label_values(&[code]);
    }
}

/// Calls by the version of the client's library, looked up once each. `[streams, unary]`.
static BY_CLIENT: [RwLock<BTreeMap<String, IntCounter>>; 2] =
    [RwLock::new(BTreeMap::new()), RwLock::new(BTreeMap::new())];

/// A client whose library has this version, if it says so, made a call.
pub fn client_called(kind: CallKind, version: Option<&str>) {
    let is_unary = kind == CallKind::Unary;
    let by_version = &BY_CLIENT[usize::from(is_unary)];
    let version = version.unwrap_or(UNKNOWN);
    if let Some(counter) = by_version.read().get(version) {
        return counter.inc();
    }
    let mut by_version = by_version.write();
    let version = if by_version.len() < CLIENT_VERSIONS_MAX { version } else { OTHER };
    let counter = by_version.entry(version.to_owned()).or_insert_with(|| {
        let kind = if is_unary { "unary" } else { "stream" };
        REQUESTS.by_client.with_label_values(&[kind, version])
    });
    counter.inc();
}

/// A request was applied.
pub fn request_applied(kind: RequestKind, result: Result<(), ()>, duration: Duration) {
    APPLIED.observe(kind, result, duration);
}

/// A request that went through the log, or a range, was answered.
pub fn request_answered(kind: RequestKind, result: Result<(), ()>, duration: Duration) {
    ANSWERED.observe(kind, result, duration);
}

/// A transaction that only reads was answered.
pub fn reading_txn_answered(result: Result<(), ()>, duration: Duration) {
    static LABELLED: LazyLock<[Histogram; 2]> =
        LazyLock::new(|| [Err(()), Ok(())].map(|result| ANSWERED.histogram("ReadonlyTxn", result)));
    LABELLED[usize::from(result.is_ok())].observe(duration.as_secs_f64());
}

/// What a client sent on a stream of this service could not be read.
pub fn stream_broke(api: &str) {
    REQUESTS.stream_failures.with_label_values(&["receive", api]).inc();
}

/// The whole store was hashed.
pub fn store_hashed(duration: Duration) {
    REQUESTS.hash.observe(duration.as_secs_f64());
}

/// The history of keys was hashed.
pub fn keys_hashed(duration: Duration) {
    REQUESTS.hash_kv.observe(duration.as_secs_f64());
}

/// So many bytes of keys and values were put.
pub fn put_bytes(bytes: u64) {
    REQUESTS.put_bytes.add(i64::try_from(bytes).unwrap_or(i64::MAX));
}

/// What an answer on a watch stream is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchAnswer {
    /// So many events.
    Events(usize),
    /// A creation or a cancellation.
    Control,
    /// How far the watcher is.
    Progress,
}

/// An answer was given to its stream after so long.
pub fn watch_answered(answer: WatchAnswer, duration: Duration) {
    let sends = &REQUESTS.watch;
    let seconds = duration.as_secs_f64();
    match answer {
        WatchAnswer::Events(events) => {
            sends.events.observe(seconds);
            sends.per_event.observe(seconds / events.max(1) as f64);
        }
        WatchAnswer::Control => sends.control.observe(seconds),
        WatchAnswer::Progress => sends.progress.observe(seconds),
    }
}

/// Events that wait for their stream, until this is dropped.
#[derive(Debug)]
pub struct PendingEvents(i64);

impl PendingEvents {
    /// So many.
    #[must_use]
    pub fn new(events: usize) -> Self {
        let events = i64::try_from(events).unwrap_or(i64::MAX);
        REQUESTS.watch.pending_events.add(events);
        Self(events)
    }

    /// So many of them wait no more.
    pub fn taken(&mut self, events: usize) {
        let events = i64::try_from(events).unwrap_or(i64::MAX).min(self.0);
        REQUESTS.watch.pending_events.sub(events);
        self.0 -= events;
    }
}

impl Drop for PendingEvents {
    fn drop(&mut self) {
        REQUESTS.watch.pending_events.sub(self.0);
    }
}

/// A scrape that is being answered, until it is.
#[derive(Debug)]
pub struct Scrape(());

impl Scrape {
    /// It begins.
    #[must_use]
    pub fn begin() -> Self {
        REQUESTS.promhttp_in_flight.inc();
        Self(())
    }

    /// It was answered.
    pub fn succeeded(self) {
        REQUESTS.promhttp_total.with_label_values(&["200"]).inc();
    }
}

impl Drop for Scrape {
    fn drop(&mut self) {
        REQUESTS.promhttp_in_flight.dec();
    }
}
