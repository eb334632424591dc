//! Calls of clients.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use prometheus::{HistogramVec, IntCounter, IntCounterVec};
use quorate_api::Code;

use super::registry::{counters, histograms_with};

const LABELS: [&str; 3] = ["grpc_type", "grpc_service", "grpc_method"];

static STARTED: LazyLock<IntCounterVec> =
    LazyLock::new(|| counters("grpc_server_started_total", "Calls that began.", &LABELS));
static HANDLED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let labels = ["grpc_type", "grpc_service", "grpc_method", "grpc_code"];
    counters("grpc_server_handled_total", "Calls that ended, by code.", &labels)
});

static RECEIVED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("grpc_server_msg_received_total", "Messages that clients sent.", &LABELS)
});
static SENT: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("grpc_server_msg_sent_total", "Messages that were sent to clients.", &LABELS)
});

/// Whether the time of each call is observed, which has a price in series: a dozen a method.
static MEASURES: AtomicBool = AtomicBool::new(false);
static HANDLING: LazyLock<HistogramVec> = LazyLock::new(|| {
    let help = "How long calls take, in seconds.";
    histograms_with("grpc_server_handling_seconds", help, &LABELS, &HANDLING_SECONDS)
});

/// What Go's library has, which dashboards reckon with.
const HANDLING_SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Observe the time of each call from now on (`--metrics=extensive`).
pub fn measure_calls() {
    MEASURES.store(true, Relaxed);
    LazyLock::force(&HANDLING);
}

/// How many messages go each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// One and one.
    Unary,
    /// One and many.
    ServerStream,
    /// Many and many.
    BidiStream,
}

impl CallKind {
    const fn label(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ServerStream => "server_stream",
            Self::BidiStream => "bidi_stream",
        }
    }
}

/// The methods that are served, with the kinds of their calls.
const METHODS: &[(&str, &str, CallKind)] = &[
    ("etcdserverpb.KV", "Range", CallKind::Unary),
    ("etcdserverpb.KV", "RangeStream", CallKind::ServerStream),
    ("etcdserverpb.KV", "Put", CallKind::Unary),
    ("etcdserverpb.KV", "DeleteRange", CallKind::Unary),
    ("etcdserverpb.KV", "Txn", CallKind::Unary),
    ("etcdserverpb.KV", "Compact", CallKind::Unary),
    ("etcdserverpb.Watch", "Watch", CallKind::BidiStream),
    ("etcdserverpb.Lease", "LeaseGrant", CallKind::Unary),
    ("etcdserverpb.Lease", "LeaseRevoke", CallKind::Unary),
    ("etcdserverpb.Lease", "LeaseKeepAlive", CallKind::BidiStream),
    ("etcdserverpb.Lease", "LeaseTimeToLive", CallKind::Unary),
    ("etcdserverpb.Lease", "LeaseLeases", CallKind::Unary),
    ("etcdserverpb.Cluster", "MemberAdd", CallKind::Unary),
    ("etcdserverpb.Cluster", "MemberRemove", CallKind::Unary),
    ("etcdserverpb.Cluster", "MemberUpdate", CallKind::Unary),
    ("etcdserverpb.Cluster", "MemberList", CallKind::Unary),
    ("etcdserverpb.Cluster", "MemberPromote", CallKind::Unary),
    ("etcdserverpb.Maintenance", "Alarm", CallKind::Unary),
    ("etcdserverpb.Maintenance", "Status", CallKind::Unary),
    ("etcdserverpb.Maintenance", "Defragment", CallKind::Unary),
    ("etcdserverpb.Maintenance", "Hash", CallKind::Unary),
    ("etcdserverpb.Maintenance", "HashKV", CallKind::Unary),
    ("etcdserverpb.Maintenance", "Snapshot", CallKind::ServerStream),
    ("etcdserverpb.Maintenance", "MoveLeader", CallKind::Unary),
    ("etcdserverpb.Maintenance", "Downgrade", CallKind::Unary),
    ("grpc.health.v1.Health", "Check", CallKind::Unary),
    ("grpc.health.v1.Health", "Watch", CallKind::ServerStream),
];

struct Method {
    kind: CallKind,
    service: &'static str,
    method: &'static str,
    started: IntCounter,
    succeeded: IntCounter,
    received: IntCounter,
    sent: IntCounter,
}

static BY_PATH: LazyLock<BTreeMap<String, Method>> = LazyLock::new(|| {
    let resolve = |(service, method, kind): &(&'static str, &'static str, CallKind)| {
        let labels = [kind.label(), *service, *method];
        let started = STARTED.with_label_values(&labels);
        let succeeded = HANDLED.with_label_values(&[labels[0], labels[1], labels[2], "OK"]);
        let (received, sent) =
            (RECEIVED.with_label_values(&labels), SENT.with_label_values(&labels));
        let path = format!("/{service}/{method}");
        (path, Method { kind: *kind, service, method, started, succeeded, received, sent })
    };
    METHODS.iter().map(resolve).collect()
});

/// Make everything here appear, whether or not it was observed.
pub(super) fn register() {
    LazyLock::force(&BY_PATH);
}

/// A call under way. A call that is dropped before it ended was canceled.
pub struct Call {
    method: Option<&'static Method>,
    /// If its time is observed.
    began: Option<Instant>,
}

impl Call {
    /// A call of the method at this path began. Unknown methods are not counted: clients could
    /// make up any number of them.
    #[must_use]
    pub fn begin(path: &str) -> Self {
        let method = BY_PATH.get(path);
        if let Some(method) = method {
            method.started.inc();
        }
        let began = (method.is_some() && MEASURES.load(Relaxed)).then(Instant::now);
        Self { method, began }
    }

    /// No call, which counts nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self { method: None, began: None }
    }

    /// Its name; nothing for an unknown method.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.method.map_or("", |method| method.method)
    }

    /// The counter of its requests' messages, to be kept by who reads them.
    #[must_use]
    pub fn received(&self) -> Option<&'static IntCounter> {
        self.method.map(|method| &method.received)
    }

    /// The counter of its answers' messages, to be kept by who sends them.
    #[must_use]
    pub fn sent(&self) -> Option<&'static IntCounter> {
        self.method.map(|method| &method.sent)
    }

    /// How many messages go each way; `None` for an unknown method.
    #[must_use]
    pub fn kind(&self) -> Option<CallKind> {
        self.method.map(|method| method.kind)
    }

    /// It ended with this code. Only the first end counts.
    pub fn end(&mut self, code: Code) {
        let Some(called) = self.method.take() else { return };
        let Method { kind, service, method, succeeded, .. } = called;
        if let Some(began) = self.began {
            let labels = [kind.label(), *service, *method];
            HANDLING.with_label_values(&labels).observe(began.elapsed().as_secs_f64());
        }
        if code == Code::Ok {
            return succeeded.inc();
        }
        let code = format!("{code:?}");
        HANDLED.with_label_values(&[kind.label(), *service, *method, code.as_str()]).inc();
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Code::Canceled);
    }
}
