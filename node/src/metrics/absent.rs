//! What every server of etcd shows of parts that this one does not have.
//!
//! Dashboards and etcd's own tests ask for these families. Nothing ever happens to them: no file of
//! B+ trees is rebalanced or spilled, no keys of the second API exist, and no proxy runs in the
//! server, which is as in etcd. So their zeros are true.

use std::sync::LazyLock;

use prometheus::{Histogram, IntCounter, IntGauge};

use super::registry::{DISK, counter, gauge, histogram};

struct Absent {
    _histograms: [Histogram; 2],
    _counters: [IntCounter; 3],
    _gauges: [IntGauge; 5],
}

static ABSENT: LazyLock<Absent> = LazyLock::new(|| Absent {
    _histograms: [
        histogram(
            "etcd_debugging_disk_backend_commit_rebalance_duration_seconds",
            "Nothing: no pages are rebalanced.",
            DISK,
        ),
        histogram(
            "etcd_debugging_disk_backend_commit_spill_duration_seconds",
            "Nothing: no pages are spilled.",
            DISK,
        ),
    ],
    _counters: [
        counter("etcd_debugging_store_expires_total", "None: keys of API 2 do not exist."),
        counter("etcd_debugging_store_watch_requests_total", "None: API 2 does not exist."),
        counter("etcd_grpc_proxy_events_coalescing_total", "None: the server is no proxy."),
    ],
    _gauges: [
        gauge("etcd_debugging_store_watchers", "None: API 2 does not exist."),
        gauge("etcd_grpc_proxy_cache_hits_total", "None: the server is no proxy."),
        gauge("etcd_grpc_proxy_cache_keys_total", "None: the server is no proxy."),
        gauge("etcd_grpc_proxy_cache_misses_total", "None: the server is no proxy."),
        gauge("etcd_grpc_proxy_watchers_coalescing_total", "None: the server is no proxy."),
    ],
});

/// Make everything here appear.
pub(super) fn register() {
    LazyLock::force(&ABSENT);
}
