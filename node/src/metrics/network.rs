//! Clients and peers.

use std::sync::LazyLock;
use std::time::Duration;

use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use quorate_api::identity::format_id;

use super::registry::{ROUND_TRIP, TRANSFER, counter, counters, gauges, histograms};

struct Network {
    client_received: IntCounter,
    client_sent: IntCounter,
    peer_received: IntCounterVec,
    peer_sent: IntCounterVec,
    peer_received_failures: IntCounterVec,
    peer_sent_failures: IntCounterVec,
    peer_round_trip: HistogramVec,
    known_peers: IntGaugeVec,
    active_peers: IntGaugeVec,
    disconnected_peers: IntCounterVec,
    snapshot_sending: IntGaugeVec,
    snapshot_sent: IntCounterVec,
    snapshot_send_failures: IntCounterVec,
    snapshot_send_duration: HistogramVec,
    snapshot_receiving: IntGaugeVec,
    snapshot_received: IntCounterVec,
    snapshot_receive_failures: IntCounterVec,
    snapshot_receive_duration: HistogramVec,
}

static NETWORK: LazyLock<Network> = LazyLock::new(|| Network {
    client_received: counter(
        "etcd_network_client_grpc_received_bytes_total",
        "Bytes of requests that clients sent.",
    ),
    client_sent: counter(
        "etcd_network_client_grpc_sent_bytes_total",
        "Bytes of answers that were sent to clients.",
    ),
    peer_received: counters(
        "etcd_network_peer_received_bytes_total",
        "Bytes received from a peer.",
        &["From"],
    ),
    peer_sent: counters("etcd_network_peer_sent_bytes_total", "Bytes sent to a peer.", &["To"]),
    peer_received_failures: counters(
        "etcd_network_peer_received_failures_total",
        "Messages of a peer that could not be received.",
        &["From"],
    ),
    peer_sent_failures: counters(
        "etcd_network_peer_sent_failures_total",
        "Messages that could not be sent to a peer.",
        &["To"],
    ),
    peer_round_trip: histograms(
        "etcd_network_peer_round_trip_time_seconds",
        "How long a probe takes to a peer and back, in seconds.",
        &["To"],
        ROUND_TRIP,
    ),
    known_peers: gauges(
        "etcd_network_known_peers",
        "1 for each member of the cluster, 0 for each that was removed.",
        &["Local", "Remote"],
    ),
    active_peers: gauges(
        "etcd_network_active_peers",
        "1 for each peer with a connection.",
        &["Local", "Remote"],
    ),
    disconnected_peers: counters(
        "etcd_network_disconnected_peers_total",
        "Connections to a peer that were lost.",
        &["Local", "Remote"],
    ),
    snapshot_sending: gauges(
        "etcd_network_snapshot_send_inflights_total",
        "Snapshots that are on their way to a peer.",
        &["To"],
    ),
    snapshot_sent: counters(
        "etcd_network_snapshot_send_success",
        "Snapshots sent to a peer.",
        &["To"],
    ),
    snapshot_send_failures: counters(
        "etcd_network_snapshot_send_failures",
        "Snapshots that could not be sent to a peer.",
        &["To"],
    ),
    snapshot_send_duration: histograms(
        "etcd_network_snapshot_send_total_duration_seconds",
        "How long sending a snapshot takes, in seconds.",
        &["To"],
        TRANSFER,
    ),
    snapshot_receiving: gauges(
        "etcd_network_snapshot_receive_inflights_total",
        "Snapshots of a peer that arrive.",
        &["From"],
    ),
    snapshot_received: counters(
        "etcd_network_snapshot_receive_success",
        "Snapshots received from a peer.",
        &["From"],
    ),
    snapshot_receive_failures: counters(
        "etcd_network_snapshot_receive_failures",
        "Snapshots of a peer that could not be received.",
        &["From"],
    ),
    snapshot_receive_duration: histograms(
        "etcd_network_snapshot_receive_total_duration_seconds",
        "How long receiving a snapshot takes, in seconds.",
        &["From"],
        TRANSFER,
    ),
});

/// Make everything here appear, whether or not it was observed.
pub(super) fn register() {
    LazyLock::force(&NETWORK);
}

/// Bytes of requests arrived from clients.
pub fn client_received(bytes: usize) {
    NETWORK.client_received.inc_by(bytes as u64);
}

/// Bytes of answers went to clients.
pub fn client_sent(bytes: usize) {
    NETWORK.client_sent.inc_by(bytes as u64);
}

/// The counter of bytes received from a peer, to be kept by its connection.
#[must_use]
pub fn peer_received(from: u64) -> IntCounter {
    NETWORK.peer_received.with_label_values(&[format_id(from).as_str()])
}

/// The counter of bytes sent to a peer, to be kept by its connection.
#[must_use]
pub fn peer_sent(to: u64) -> IntCounter {
    NETWORK.peer_sent.with_label_values(&[format_id(to).as_str()])
}

/// A message of a peer could not be received.
pub fn peer_received_failure(from: u64) {
    NETWORK.peer_received_failures.with_label_values(&[format_id(from).as_str()]).inc();
}

/// A message could not be sent to a peer.
pub fn peer_sent_failure(to: u64) {
    NETWORK.peer_sent_failures.with_label_values(&[format_id(to).as_str()]).inc();
}

/// A probe went to a peer and back.
pub fn peer_round_trip(to: u64, duration: Duration) {
    let histogram = NETWORK.peer_round_trip.with_label_values(&[format_id(to).as_str()]);
    histogram.observe(duration.as_secs_f64());
}

/// A peer has a connection.
pub fn peer_connected(local: u64, remote: u64) {
    let (local, remote) = (format_id(local), format_id(remote));
    NETWORK.active_peers.with_label_values(&[local.as_str(), remote.as_str()]).set(1);
}

/// A peer has no connection any more.
pub fn peer_disconnected(local: u64, remote: u64) {
    let (local, remote) = (format_id(local), format_id(remote));
    let labels = [local.as_str(), remote.as_str()];
    NETWORK.active_peers.with_label_values(&labels).set(0);
    NETWORK.disconnected_peers.with_label_values(&labels).inc();
}

/// The members of the cluster, and those that are not any more.
pub fn known_peers(
    local: u64,
    members: impl Iterator<Item = u64>,
    removed: impl Iterator<Item = u64>,
) {
    let local = format_id(local);
    NETWORK.known_peers.reset();
    for (remote, is_member) in removed.map(|id| (id, 0)).chain(members.map(|id| (id, 1))) {
        let remote = format_id(remote);
        NETWORK.known_peers.with_label_values(&[local.as_str(), remote.as_str()]).set(is_member);
    }
}

/// A snapshot that is on its way, until this is dropped.
#[derive(Debug)]
pub struct Transfer(IntGauge);

impl Transfer {
    /// To a peer.
    #[must_use]
    pub fn to(peer: u64) -> Self {
        Self::count(&NETWORK.snapshot_sending, peer)
    }

    /// From a peer.
    #[must_use]
    pub fn from(peer: u64) -> Self {
        Self::count(&NETWORK.snapshot_receiving, peer)
    }

    fn count(gauges: &IntGaugeVec, peer: u64) -> Self {
        let gauge = gauges.with_label_values(&[format_id(peer).as_str()]);
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A snapshot was sent.
pub fn snapshot_sent(to: u64, duration: Duration) {
    let to = format_id(to);
    NETWORK.snapshot_sent.with_label_values(&[to.as_str()]).inc();
    let histogram = NETWORK.snapshot_send_duration.with_label_values(&[to.as_str()]);
    histogram.observe(duration.as_secs_f64());
}

/// A snapshot could not be sent.
pub fn snapshot_send_failure(to: u64) {
    NETWORK.snapshot_send_failures.with_label_values(&[format_id(to).as_str()]).inc();
}

/// A snapshot was received.
pub fn snapshot_received(from: u64, duration: Duration) {
    let from = format_id(from);
    NETWORK.snapshot_received.with_label_values(&[from.as_str()]).inc();
    let histogram = NETWORK.snapshot_receive_duration.with_label_values(&[from.as_str()]);
    histogram.observe(duration.as_secs_f64());
}

/// A snapshot could not be received.
pub fn snapshot_receive_failure(from: u64) {
    NETWORK.snapshot_receive_failures.with_label_values(&[format_id(from).as_str()]).inc();
}
