use std::time::Duration;

use quorate_api::Code;

use super::*;

/// What the published alerts and the dashboard of etcd ask for.
const EXPECTED: &[&str] = &[
    "etcd_server_has_leader ",
    "etcd_server_leader_changes_seen_total ",
    "etcd_network_peer_sent_failures_total{To=\"1f\"} ",
    "etcd_network_peer_round_trip_time_seconds_bucket{To=\"1f\",le=\"0.0001\"} ",
    "etcd_network_peer_sent_bytes_total{To=\"1f\"} ",
    "etcd_network_peer_received_bytes_total{From=\"1f\"} ",
    "etcd_network_client_grpc_received_bytes_total ",
    "etcd_network_client_grpc_sent_bytes_total ",
    "etcd_server_proposals_failed_total ",
    "etcd_server_proposals_pending ",
    "etcd_server_proposals_committed_total ",
    "etcd_server_proposals_applied_total ",
    "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.001\"} ",
    "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"8.192\"} ",
    "etcd_disk_backend_commit_duration_seconds_bucket{le=\"0.001\"} ",
    "etcd_mvcc_db_total_size_in_bytes 12",
    "etcd_mvcc_db_total_size_in_use_in_bytes 12",
    "etcd_server_quota_backend_bytes 77",
    "etcd_server_version{server_version=\"3.7.1\"} 1",
    "etcd_cluster_version{cluster_version=\"3.7\"} 1",
    "process_resident_memory_bytes ",
    "process_start_time_seconds ",
    "grpc_server_started_total{grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",\
     grpc_type=\"unary\"} ",
    "grpc_server_handled_total{grpc_code=\"Unavailable\",grpc_method=\"Put\",\
     grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 1",
    "grpc_server_handled_total{grpc_code=\"Canceled\",grpc_method=\"Watch\",\
     grpc_service=\"etcdserverpb.Watch\",grpc_type=\"bidi_stream\"} 1",
];

#[test]
fn the_alerts_find_their_metrics() {
    identity(31, Some(77));
    cluster_version("3.7.0");
    peer_sent_failure(31);
    peer_round_trip(31, Duration::from_micros(50));
    peer_sent(31).inc_by(1);
    peer_received(31).inc_by(1);
    observe(&Observed { total_bytes: 5, live_bytes: 12, ..Observed::default() });
    Call::begin("/etcdserverpb.KV/Put").end(Code::Unavailable);
    drop(Call::begin("/etcdserverpb.Watch/Watch"));
    assert_eq!(Call::begin("/made.up/Method").kind(), None);
    let text = text();
    for expected in EXPECTED {
        assert!(
            text.lines().any(|line| line.starts_with(expected)),
            "no line begins with {expected:?} in\n{text}"
        );
    }
    assert!(!text.contains("made"), "unknown methods are not counted");
}

/// Names and types, which dashboards and the operator rely on. `UPDATE_GOLDEN=1` writes the file
/// anew.
#[test]
fn names_and_types_are_what_is_written_down() {
    measure_calls();
    let text = text();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut types: Vec<&str> = types.collect();
    types.sort_unstable();
    let helps = text.lines().filter_map(|line| line.strip_prefix("# HELP "));
    for help in helps {
        let (name, help) = help.split_once(' ').expect("a name and its help");
        assert!(help.ends_with('.'), "{name}: {help:?}");
    }
    // Those with labels appear when they are first observed, which other tests may or may not do.
    let always: String = types
        .into_iter()
        .filter(|line| !LABELLED.iter().any(|name| line.starts_with(name)))
        .map(|line| format!("{line}\n"))
        .collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/metrics/names.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &always).expect("the file can be written");
    }
    let golden = std::fs::read_to_string(path).expect("the file is there");
    assert_eq!(always, golden, "run with UPDATE_GOLDEN=1 and read what changed");
}

/// What has labels that come with what is observed.
const LABELLED: [&str; 8] = [
    "etcd_cluster_version",
    "etcd_debugging_server_alarms",
    "etcd_network_",
    "etcd_server_health",
    "etcd_server_id",
    "etcd_server_learner_promote_failures",
    "grpc_server_handling_seconds",
    "quorate_raft_follower_lag_entries",
];
