//! What a member counts, under etcd's names where dashboards and alerts expect them.
//!
//! ```text
//!   core, applier, log disk, peers ──► functions here ──► registry ──► GET /metrics
//!   store, watches, process        ──► looked at when somebody asks ───┘
//! ```
//!
//! It decides nothing, and reads no clock but for the time of calls: durations are given to it. Each function is named for
//! what was observed. Counting costs an atomic addition; only labels cost a lookup, so that what
//! is counted for every call is resolved once.

mod absent;
mod background;
mod grpc;
mod network;
mod own;
mod process;
mod registry;
mod requests;
mod server;

use std::fmt::Write as _;

pub use background::{
    Installing, checkpoint_encoded, compacted, compaction_step, received_fsync, received_saved,
    snapshot_read, store_fsync, store_write, writing_checkpoint,
};
pub use grpc::{Call, CallKind, measure_calls};
pub use network::{
    Transfer, client_received, client_sent, known_peers, peer_connected, peer_disconnected,
    peer_received, peer_received_failure, peer_round_trip, peer_sent, peer_sent_failure,
    snapshot_receive_failure, snapshot_received, snapshot_send_failure, snapshot_sent,
};
pub use own::{
    Engine, answer_refused, apply_batch, checkpointed, collected, damage, files_removed,
    identity_refused, log_batch, observe_engine, refused_by_peer, scrubbed,
};
pub use requests::{
    PendingEvents, Scrape, WatchAnswer, client_called, keys_hashed, put_bytes,
    reading_txn_answered, request_answered, request_applied, store_hashed, stream_broke,
    watch_answered,
};
pub use server::{
    Changed, Observed, alarms, applied, backend_commit, checkpoint, cluster_version, committed,
    defragmented, features, health_failure, health_success, healthcheck, heartbeat_send_failure,
    identity, leader, learner_promoted, learner_promotion_failure, lease_granted, lease_renewed,
    lease_revoked, leases_expired, observe, proposal_failed, range_served, read_index_failed,
    slow_apply, slow_read_index, store_changed, txn_asked, wal_fsync, wal_write,
};

/// The text of all metrics, as Prometheus scrapes it.
#[must_use]
pub fn text() -> String {
    server::register();
    own::register();
    requests::register();
    background::register();
    absent::register();
    network::register();
    grpc::register();
    process::observe();
    let mut text = String::new();
    let families = prometheus::gather();
    if let Err(error) = prometheus::TextEncoder::new().encode_utf8(&families, &mut text) {
        // A family that cannot be written is our mistake; the others are still of use.
        let _ = writeln!(text, "# {error}");
    }
    text
}

#[cfg(test)]
mod tests;
