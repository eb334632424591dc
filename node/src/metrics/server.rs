//! Consensus, disks, store and leases.

use std::sync::LazyLock;
use std::time::Duration;

use prometheus::{
    GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
};
use quorate_api::version::ETCD_VERSION;

use super::registry::{
    DEFRAG, DISK, LIFETIME, MEMORY, counter, counters, float_gauges, gauge, gauges, histogram,
    histograms,
};

struct Server {
    has_leader: IntGauge,
    is_leader: IntGauge,
    is_learner: IntGauge,
    leader_changes: IntCounter,
    id: IntGaugeVec,
    version: IntGaugeVec,
    cluster_version: IntGaugeVec,
    proposals_committed: IntGauge,
    proposals_applied: IntGauge,
    proposals_pending: IntGauge,
    proposals_failed: IntCounter,
    read_indexes_failed: IntCounter,
    slow_read_indexes: IntCounter,
    slow_apply: IntCounter,
    heartbeat_send_failures: IntCounter,
    learner_promote_successes: IntCounter,
    learner_promote_failures: IntCounterVec,
    quota: IntGauge,
    alarms: IntGaugeVec,
    health_success: IntCounter,
    health_failures: IntCounter,
    healthcheck: GaugeVec,
    healthchecks: IntCounterVec,
    range_duration: HistogramVec,
    features: IntGaugeVec,
    auth_revision: IntGauge,
}

struct Disk {
    wal_fsync: Histogram,
    wal_write: Histogram,
    wal_write_bytes: IntGauge,
    backend_commit: Histogram,
    checkpoint: Histogram,
    defrag: Histogram,
    defrag_inflight: IntGauge,
}

struct Mvcc {
    put: IntCounter,
    delete: IntCounter,
    range: IntCounter,
    txn: IntCounter,
    events: IntCounter,
    current_revision: IntGauge,
    compact_revision: IntGauge,
    compaction_keys: IntCounter,
    keys: IntGauge,
    total_bytes: IntGauge,
    live_bytes: IntGauge,
    streams: IntGauge,
    watchers: IntGauge,
    slow_watchers: IntGauge,
    lease_granted: IntCounter,
    lease_revoked: IntCounter,
    lease_renewed: IntCounter,
    lease_expired: IntCounter,
    lease_ttl: Histogram,
    open_reads: IntGauge,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| Server {
    has_leader: gauge("etcd_server_has_leader", "Whether a leader is known: 1, or 0."),
    is_leader: gauge("etcd_server_is_leader", "Whether this member leads: 1, or 0."),
    is_learner: gauge("etcd_server_is_learner", "Whether this member has no vote: 1, or 0."),
    leader_changes: counter("etcd_server_leader_changes_seen_total", "Leaders that came to be."),
    id: gauges("etcd_server_id", "1 for the label with this member's id.", &["server_id"]),
    version: gauges(
        "etcd_server_version",
        "1 for the label with the version whose contract is served.",
        &["server_version"],
    ),
    cluster_version: gauges(
        "etcd_cluster_version",
        "1 for the label with the version that the cluster agreed on.",
        &["cluster_version"],
    ),
    proposals_committed: gauge("etcd_server_proposals_committed_total", "The committed index."),
    proposals_applied: gauge("etcd_server_proposals_applied_total", "The applied index."),
    proposals_pending: gauge("etcd_server_proposals_pending", "Requests on their way."),
    proposals_failed: counter("etcd_server_proposals_failed_total", "Requests that failed."),
    read_indexes_failed: counter(
        "etcd_server_read_indexes_failed_total",
        "Linearizable reads that no leader confirmed.",
    ),
    slow_read_indexes: counter(
        "etcd_server_slow_read_indexes_total",
        "Linearizable reads that were confirmed late.",
    ),
    slow_apply: counter("etcd_server_slow_apply_total", "Requests that took long to apply."),
    heartbeat_send_failures: counter(
        "etcd_server_heartbeat_send_failures_total",
        "Heartbeats that the leader was late to send.",
    ),
    learner_promote_successes: counter(
        "etcd_server_learner_promote_successes",
        "Learners that were given a vote.",
    ),
    learner_promote_failures: counters(
        "etcd_server_learner_promote_failures",
        "Learners that were not given a vote.",
        &["Reason"],
    ),
    quota: gauge("etcd_server_quota_backend_bytes", "Bytes above which writes are refused."),
    alarms: gauges(
        "etcd_debugging_server_alarms",
        "1 for each alarm that is raised.",
        &["server_id", "alarm_type"],
    ),
    health_success: counter("etcd_server_health_success", "Answers of /health that were good."),
    health_failures: counter("etcd_server_health_failures", "Answers of /health that were not."),
    healthcheck: float_gauges(
        "etcd_server_healthcheck",
        "The last result of each check: 1, or 0.",
        &["type", "name"],
    ),
    healthchecks: counters(
        "etcd_server_healthchecks_total",
        "Results of each check.",
        &["type", "name", "status"],
    ),
    range_duration: histograms(
        "etcd_server_range_duration_seconds",
        "How long ranges take, in seconds.",
        &["success"],
        MEMORY,
    ),
    features: gauges(
        "etcd_server_feature_enabled",
        "Whether a gate is on, as the flag has it: 1, or 0.",
        &["name", "stage"],
    ),
    auth_revision: gauge("etcd_debugging_auth_revision", "The revision of users and roles."),
});

static LOG_AND_STORE: LazyLock<Disk> = LazyLock::new(|| Disk {
    wal_fsync: histogram(
        "etcd_disk_wal_fsync_duration_seconds",
        "How long syncs of the log take, in seconds.",
        DISK,
    ),
    wal_write: histogram(
        "etcd_disk_wal_write_duration_seconds",
        "How long writes to the log take, in seconds.",
        DISK,
    ),
    wal_write_bytes: gauge("etcd_disk_wal_write_bytes_total", "Bytes written to the log."),
    backend_commit: histogram(
        "etcd_disk_backend_commit_duration_seconds",
        "How long the store takes to write what was applied, in seconds.",
        DISK,
    ),
    checkpoint: histogram(
        "etcd_debugging_snap_save_total_duration_seconds",
        "How long checkpoints take, in seconds.",
        DISK,
    ),
    defrag: histogram(
        "etcd_disk_backend_defrag_duration_seconds",
        "How long Defragment takes, in seconds.",
        DEFRAG,
    ),
    defrag_inflight: gauge("etcd_disk_defrag_inflight", "Defragmentations that are being done."),
});

static MVCC: LazyLock<Mvcc> = LazyLock::new(|| Mvcc {
    put: counter("etcd_mvcc_put_total", "Puts seen by this member."),
    delete: counter("etcd_mvcc_delete_total", "Deletions seen by this member."),
    range: counter("etcd_mvcc_range_total", "Ranges served by this member."),
    txn: counter("etcd_mvcc_txn_total", "Transactions seen by this member."),
    events: counter("etcd_debugging_mvcc_events_total", "Changes given to watches."),
    current_revision: gauge("etcd_debugging_mvcc_current_revision", "The current revision."),
    compact_revision: gauge("etcd_debugging_mvcc_compact_revision", "The compacted revision."),
    compaction_keys: counter(
        "etcd_debugging_mvcc_db_compaction_keys_total",
        "Changes that compaction removed.",
    ),
    keys: gauge("etcd_debugging_mvcc_keys_total", "Keys."),
    total_bytes: gauge("etcd_mvcc_db_total_size_in_bytes", "Bytes of the store on disk."),
    live_bytes: gauge(
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        "Bytes of the store that compaction could not free now.",
    ),
    streams: gauge("etcd_debugging_mvcc_watch_stream_total", "Open watch streams."),
    watchers: gauge("etcd_debugging_mvcc_watcher_total", "Watchers."),
    slow_watchers: gauge("etcd_debugging_mvcc_slow_watcher_total", "Watchers that are behind."),
    lease_granted: counter("etcd_debugging_lease_granted_total", "Leases granted."),
    lease_revoked: counter("etcd_debugging_lease_revoked_total", "Leases revoked."),
    lease_renewed: counter("etcd_debugging_lease_renewed_total", "Renewals seen by the leader."),
    lease_expired: counter("etcd_debugging_server_lease_expired_total", "Leases that expired."),
    lease_ttl: histogram(
        "etcd_debugging_lease_ttl_total",
        "For how long leases are granted, in seconds.",
        LIFETIME,
    ),
    open_reads: gauge(
        "etcd_mvcc_db_open_read_transactions",
        "Reads and snapshots that keep what is there from being removed.",
    ),
});

/// Make everything here appear, whether or not it was observed.
pub(super) fn register() {
    LazyLock::force(&SERVER);
    LazyLock::force(&LOG_AND_STORE);
    LazyLock::force(&MVCC);
    version_gauge();
}

fn version_gauge() {
    SERVER.version.with_label_values(&[ETCD_VERSION]).set(1);
}

fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Who this member is.
pub fn identity(member: u64, quota_bytes: Option<u64>) {
    let id = quorate_api::identity::format_id(member);
    SERVER.id.with_label_values(&[id.as_str()]).set(1);
    SERVER.quota.set(clamp(quota_bytes.unwrap_or_default()));
}

/// Whether there is a leader now, another than before, and this member's part.
pub fn leader(has_leader: bool, is_leader: bool, changed: Changed) {
    SERVER.has_leader.set(i64::from(has_leader));
    SERVER.is_leader.set(i64::from(is_leader));
    if changed == Changed::Yes && has_leader {
        SERVER.leader_changes.inc();
    }
}

/// Whether something is another than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It is.
    Yes,
    /// It is the same.
    No,
}

/// The cluster agreed on a version.
pub fn cluster_version(version: &str) {
    SERVER.cluster_version.reset();
    // The label has major and minor only, as etcd's.
    let label: Vec<&str> = version.split('.').take(2).collect();
    SERVER.cluster_version.with_label_values(&[label.join(".").as_str()]).set(1);
}

/// The committed index.
pub fn committed(index: u64) {
    SERVER.proposals_committed.set(clamp(index));
}

/// The applied index.
pub fn applied(index: u64) {
    SERVER.proposals_applied.set(clamp(index));
}

/// A request was proposed and failed.
pub fn proposal_failed() {
    SERVER.proposals_failed.inc();
}

/// A linearizable read was not confirmed.
pub fn read_index_failed() {
    SERVER.read_indexes_failed.inc();
}

/// A linearizable read was confirmed late.
pub fn slow_read_index() {
    SERVER.slow_read_indexes.inc();
}

/// A batch took long to apply.
pub fn slow_apply() {
    SERVER.slow_apply.inc();
}

/// The leader was late with a heartbeat.
pub fn heartbeat_send_failure() {
    SERVER.heartbeat_send_failures.inc();
}

/// A learner was given a vote.
pub fn learner_promoted() {
    SERVER.learner_promote_successes.inc();
}

/// A learner was not given a vote.
pub fn learner_promotion_failure(reason: &str) {
    SERVER.learner_promote_failures.with_label_values(&[reason]).inc();
}

/// These alarms are raised, and no others: member and kind.
pub fn alarms<'a>(raised: impl Iterator<Item = (u64, &'a str)>) {
    SERVER.alarms.reset();
    for (member, kind) in raised {
        let id = quorate_api::identity::format_id(member);
        SERVER.alarms.with_label_values(&[id.as_str(), kind]).set(1);
    }
}

/// `/health` was good.
pub fn health_success() {
    SERVER.health_success.inc();
}

/// `/health` was not.
pub fn health_failure() {
    SERVER.health_failures.inc();
}

/// The result of one check of `/livez` or `/readyz`.
pub fn healthcheck(kind: &str, name: &str, result: Result<(), ()>) {
    let (value, status) = if result.is_ok() { (1.0, "success") } else { (0.0, "error") };
    SERVER.healthcheck.with_label_values(&[kind, name]).set(value);
    SERVER.healthchecks.with_label_values(&[kind, name, status]).inc();
}

/// A range was answered.
pub fn range_served(duration: Duration, result: Result<(), ()>) {
    static LABELLED: LazyLock<[Histogram; 2]> = LazyLock::new(|| {
        ["true", "false"].map(|success| SERVER.range_duration.with_label_values(&[success]))
    });
    let [success, failure] = &*LABELLED;
    if result.is_ok() { success } else { failure }.observe(duration.as_secs_f64());
    MVCC.range.inc();
}

/// The log was synced.
pub fn wal_fsync(duration: Duration) {
    LOG_AND_STORE.wal_fsync.observe(duration.as_secs_f64());
}

/// So many bytes were written to the log.
pub fn wal_write(bytes: u64, duration: Duration) {
    LOG_AND_STORE.wal_write.observe(duration.as_secs_f64());
    LOG_AND_STORE.wal_write_bytes.add(clamp(bytes));
}

/// The store wrote what was applied.
pub fn backend_commit(duration: Duration) {
    LOG_AND_STORE.backend_commit.observe(duration.as_secs_f64());
}

/// The store wrote a checkpoint.
pub fn checkpoint(duration: Duration) {
    LOG_AND_STORE.checkpoint.observe(duration.as_secs_f64());
}

/// Space was asked to be given back, which took so long.
pub fn defragmented(work: impl FnOnce()) {
    LOG_AND_STORE.defrag_inflight.inc();
    let timer = LOG_AND_STORE.defrag.start_timer();
    work();
    timer.observe_duration();
    LOG_AND_STORE.defrag_inflight.dec();
}

/// These gates are on or off: name, stage, whether it is on.
pub fn features<'a>(gates: impl IntoIterator<Item = (&'a str, &'a str, bool)>) {
    for (name, stage, is_on) in gates {
        SERVER.features.with_label_values(&[name, stage]).set(i64::from(is_on));
    }
}

/// An entry was applied that made so many puts and deletions.
pub fn store_changed(puts: u64, deletes: u64) {
    MVCC.put.inc_by(puts);
    MVCC.delete.inc_by(deletes);
    MVCC.events.inc_by(puts + deletes);
}

/// A client asked for a transaction.
pub fn txn_asked() {
    MVCC.txn.inc();
}

/// A lease was granted, for so many seconds.
pub fn lease_granted(ttl_seconds: i64) {
    MVCC.lease_ttl.observe(ttl_seconds as f64);
    MVCC.lease_granted.inc();
}

/// A lease was revoked.
pub fn lease_revoked() {
    MVCC.lease_revoked.inc();
}

/// A lease was renewed.
pub fn lease_renewed() {
    MVCC.lease_renewed.inc();
}

/// So many leases expired.
pub fn leases_expired(count: u64) {
    if count > 0 {
        MVCC.lease_expired.inc_by(count);
    }
}

/// What is looked at when somebody asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observed {
    /// The store's revision.
    pub revision: i64,
    /// The compacted revision, or -1.
    pub compact_revision: i64,
    /// Changes that compaction dropped since the start.
    pub compacted_keys: u64,
    /// Keys there are now.
    pub keys: u64,
    /// Bytes that the store's records take.
    pub total_bytes: u64,
    /// Bytes of them that compaction could not free.
    pub live_bytes: u64,
    /// Open watch streams.
    pub streams: usize,
    /// Watchers.
    pub watchers: usize,
    /// Watchers that have not yet been given all.
    pub slow_watchers: usize,
    /// Whether this member has no vote.
    pub is_learner: bool,
    /// The revision of users and roles.
    pub auth_revision: u64,
    /// Reads and snapshots that keep what they read.
    pub open_reads: usize,
    /// Requests that wait for their entries.
    pub proposals_pending: usize,
}

/// Set the gauges that are not kept up to date all the time.
pub fn observe(observed: &Observed) {
    let size = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let Observed { revision, compact_revision, keys, total_bytes, live_bytes, .. } = *observed;
    let Observed { streams, watchers, slow_watchers, is_learner, .. } = *observed;
    MVCC.compaction_keys.inc_by(observed.compacted_keys.saturating_sub(MVCC.compaction_keys.get()));
    SERVER.auth_revision.set(clamp(observed.auth_revision));
    MVCC.open_reads.set(size(observed.open_reads));
    SERVER.proposals_pending.set(size(observed.proposals_pending));
    MVCC.current_revision.set(revision);
    MVCC.compact_revision.set(compact_revision);
    MVCC.keys.set(clamp(keys));
    // Alerts divide by the total and compare with what is in use.
    MVCC.total_bytes.set(clamp(total_bytes.max(live_bytes)));
    MVCC.live_bytes.set(clamp(live_bytes));
    MVCC.streams.set(size(streams));
    MVCC.watchers.set(size(watchers));
    MVCC.slow_watchers.set(size(slow_watchers));
    SERVER.is_learner.set(i64::from(is_learner));
}
