//! What etcd has no name for: this engine's log, store, consensus and answers.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use quorate_api::identity::format_id;

use super::registry::{Exponential, counter, counters, float_gauge, gauge, gauges, histogram};

/// Of batches: 1 to 32768.
const BATCH: Exponential = Exponential { start: 1.0, factor: 2.0, count: 16 };

struct Own {
    answer_bytes: IntGauge,
    answers_refused: IntCounter,
    memory_bytes_max: IntGauge,
    raft_role: IntGaugeVec,
    raft_term: IntGauge,
    raft_first_index: IntGauge,
    raft_last_index: IntGauge,
    raft_log_bytes: IntGauge,
    raft_follower_lag: IntGaugeVec,
    reads_pending: IntGauge,
    leases: IntGauge,
    log_batch: Histogram,
    apply_batch: Histogram,
    store_segments: IntGauge,
    store_file_bytes: IntGauge,
    store_unflushed_bytes: IntGauge,
    store_memory_bytes: IntGauge,
    watch_ring_bytes: IntGauge,
    compaction_pins: IntGauge,
    snapshot_pins: IntGauge,
    collections: IntCounter,
    collected_records: IntCounter,
    removed_files: IntCounter,
    scrubs: IntCounter,
    checkpoint_index: IntGauge,
    checkpoint_age: Gauge,
    repairing: IntGauge,
    damages: IntCounter,
    identities_refused: IntCounterVec,
    refusals: IntCounterVec,
}

/// When the last checkpoint was made, or the process began.
static CHECKPOINTED: LazyLock<Mutex<Instant>> = LazyLock::new(|| Mutex::new(Instant::now()));

static OWN: LazyLock<Own> = LazyLock::new(|| Own {
    answer_bytes: gauge(
        "quorate_answer_bytes",
        "Bytes of answers that are built or that clients have not taken yet.",
    ),
    answers_refused: counter(
        "quorate_answers_refused_total",
        "Answers that were refused because others took all the memory for answers.",
    ),
    memory_bytes_max: gauge(
        "quorate_memory_limit_bytes",
        "Bytes of memory that the member takes itself to be allowed.",
    ),
    raft_role: gauges("quorate_raft_role", "1 for the role that the member has.", &["role"]),
    raft_term: gauge("quorate_raft_term", "The term of consensus."),
    raft_first_index: gauge("quorate_raft_first_index", "The first entry in memory."),
    raft_last_index: gauge("quorate_raft_last_index", "The last entry of the log."),
    raft_log_bytes: gauge("quorate_raft_log_bytes", "Bytes of entries in memory."),
    raft_follower_lag: gauges(
        "quorate_raft_follower_lag_entries",
        "Of a leader: entries that a member is not known to have yet.",
        &["To"],
    ),
    reads_pending: gauge("quorate_reads_pending", "Linearizable reads that wait."),
    leases: gauge("quorate_leases", "Leases whose time this member watches."),
    log_batch: histogram(
        "quorate_log_batch_entries",
        "Entries that are written to the log at a time.",
        BATCH,
    ),
    apply_batch: histogram(
        "quorate_apply_batch_entries",
        "Entries that are applied at a time.",
        BATCH,
    ),
    store_segments: gauge("quorate_store_segments", "Files of the revision log."),
    store_file_bytes: gauge("quorate_store_file_bytes", "Bytes of the revision log's files."),
    store_unflushed_bytes: gauge(
        "quorate_store_unflushed_bytes",
        "Bytes of applied changes that are not in files yet.",
    ),
    store_memory_bytes: gauge(
        "quorate_store_memory_bytes",
        "Bytes of memory that the revision log takes, about.",
    ),
    watch_ring_bytes: gauge("quorate_watch_ring_bytes", "Bytes of recent events for watches."),
    compaction_pins: gauge(
        "quorate_compaction_pins",
        "1 while somebody reads an old revision that compaction waits for.",
    ),
    snapshot_pins: gauge("quorate_snapshot_pins", "Snapshots that are kept for followers."),
    collections: counter("quorate_collections_total", "Segments whose space was taken back."),
    collected_records: counter(
        "quorate_collected_records_total",
        "Records that were moved to take space back.",
    ),
    removed_files: counter("quorate_removed_files_total", "Files of the store that were removed."),
    scrubs: counter("quorate_scrubs_total", "Times that all records on disk were checked."),
    checkpoint_index: gauge("quorate_checkpoint_index", "The entry that a restart begins at."),
    checkpoint_age: float_gauge(
        "quorate_checkpoint_age_seconds",
        "Seconds since the last checkpoint, or since the start.",
    ),
    repairing: gauge("quorate_repairing", "1 while the log is being repaired from peers."),
    damages: counter("quorate_damages_total", "Times that data was not what was written."),
    identities_refused: counters(
        "quorate_peer_identities_refused_total",
        "Times that a peer was not taken for the member that it was.",
        &["From"],
    ),
    refusals: counters(
        "quorate_refused_by_peer_total",
        "Times that a peer did not take this member for the one that it was.",
        &["To"],
    ),
});

/// Make everything here appear, whether or not it was observed.
pub(super) fn register() {
    LazyLock::force(&OWN);
    LazyLock::force(&CHECKPOINTED);
    for role in ROLES {
        // Making the label is enough.
        let _ = OWN.raft_role.with_label_values(&[role]);
    }
}

/// The roles of consensus, as labels.
const ROLES: [&str; 4] = ["follower", "pre_candidate", "candidate", "leader"];

fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// An answer was refused for want of memory.
pub fn answer_refused() {
    OWN.answers_refused.inc();
}

/// So many entries were written to the log at a time.
pub fn log_batch(entries: usize) {
    OWN.log_batch.observe(entries as f64);
}

/// So many entries were applied at a time.
pub fn apply_batch(entries: usize) {
    OWN.apply_batch.observe(entries as f64);
}

/// Space was taken back by moving so many records.
pub fn collected(records: u64) {
    OWN.collections.inc();
    OWN.collected_records.inc_by(records);
}

/// So many files were removed.
pub fn files_removed(files: u64) {
    OWN.removed_files.inc_by(files);
}

/// All records on disk were checked.
pub fn scrubbed() {
    OWN.scrubs.inc();
}

/// A checkpoint was made at this applied index.
pub fn checkpointed(index: u64) {
    OWN.checkpoint_index.set(clamp(index));
    *CHECKPOINTED.lock() = Instant::now();
}

/// Data was not what was written.
pub fn damage() {
    OWN.damages.inc();
}

/// A peer was not taken for the member that it was.
pub fn identity_refused(peer: u64) {
    OWN.identities_refused.with_label_values(&[format_id(peer).as_str()]).inc();
}

/// A peer did not take this member for the one that it was.
pub fn refused_by_peer(peer: u64) {
    OWN.refusals.with_label_values(&[format_id(peer).as_str()]).inc();
}

/// What is looked at when somebody asks.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    /// Bytes of answers that clients have not taken yet.
    pub answer_bytes: u64,
    /// Bytes of memory that the process may have.
    pub memory_bytes_max: u64,
    /// What the member does in its term: one of the roles of consensus.
    pub role: &'static str,
    /// The term.
    pub term: u64,
    /// The first entry in memory.
    pub first_index: u64,
    /// The last entry of the log.
    pub last_index: u64,
    /// Bytes of entries in memory.
    pub log_bytes: u64,
    /// Of a leader: members, and the entries that they lack.
    pub followers: Vec<(u64, u64)>,
    /// Linearizable reads that wait.
    pub reads: usize,
    /// Leases that are watched.
    pub leases: usize,
    /// Whether the log is being repaired.
    pub is_repairing: bool,
    /// Files of the revision log.
    pub segments: usize,
    /// Their bytes.
    pub file_bytes: u64,
    /// Bytes that are not in files yet.
    pub unflushed_bytes: u64,
    /// Bytes of memory of the revision log.
    pub memory_bytes: u64,
    /// Bytes of recent events.
    pub ring_bytes: u64,
    /// Whether compaction waits for a reader.
    pub is_compaction_pinned: bool,
    /// Whether a snapshot is kept for followers.
    pub is_snapshot_pinned: bool,
}

/// Set the gauges that are not kept up to date all the time.
pub fn observe_engine(engine: &Engine) {
    let size = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    OWN.answer_bytes.set(clamp(engine.answer_bytes));
    OWN.memory_bytes_max.set(clamp(engine.memory_bytes_max));
    for role in ROLES {
        OWN.raft_role.with_label_values(&[role]).set(i64::from(role == engine.role));
    }
    OWN.raft_term.set(clamp(engine.term));
    OWN.raft_first_index.set(clamp(engine.first_index));
    OWN.raft_last_index.set(clamp(engine.last_index));
    OWN.raft_log_bytes.set(clamp(engine.log_bytes));
    OWN.raft_follower_lag.reset();
    for (member, lag) in &engine.followers {
        let member = format_id(*member);
        OWN.raft_follower_lag.with_label_values(&[member.as_str()]).set(clamp(*lag));
    }
    OWN.reads_pending.set(size(engine.reads));
    OWN.leases.set(size(engine.leases));
    OWN.repairing.set(i64::from(engine.is_repairing));
    OWN.store_segments.set(size(engine.segments));
    OWN.store_file_bytes.set(clamp(engine.file_bytes));
    OWN.store_unflushed_bytes.set(clamp(engine.unflushed_bytes));
    OWN.store_memory_bytes.set(clamp(engine.memory_bytes));
    OWN.watch_ring_bytes.set(clamp(engine.ring_bytes));
    OWN.compaction_pins.set(i64::from(engine.is_compaction_pinned));
    OWN.snapshot_pins.set(i64::from(engine.is_snapshot_pinned));
    let age: Duration = CHECKPOINTED.lock().elapsed();
    OWN.checkpoint_age.set(age.as_secs_f64());
}
