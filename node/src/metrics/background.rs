//! What a member does beside its requests: compaction, checkpoints, snapshots.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{Histogram, IntGauge};

use super::registry::{
    COMPACTION, COMPACTION_STEP, DISK, INDEX_STEP, SNAPSHOT, TRANSFER, gauge, histogram,
};

struct Background {
    index_compaction_pause: Histogram,
    compaction_pause: Histogram,
    compaction_total: Histogram,
    compaction_last: IntGauge,
    commit_write: Histogram,
    snapshot: Histogram,
    checkpoint_encoding: Histogram,
    checkpoint_fsync: Histogram,
    received_fsync: Histogram,
    received_total: Histogram,
    installing: IntGauge,
}

static BACKGROUND: LazyLock<Background> = LazyLock::new(|| Background {
    index_compaction_pause: histogram(
        "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds",
        "How long a step of compaction holds the index, in milliseconds.",
        INDEX_STEP,
    ),
    compaction_pause: histogram(
        "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
        "How long a step of compaction holds the store, in milliseconds.",
        COMPACTION_STEP,
    ),
    compaction_total: histogram(
        "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
        "How long compactions take from their first step to the last, in milliseconds.",
        COMPACTION,
    ),
    compaction_last: gauge(
        "etcd_debugging_mvcc_db_compaction_last",
        "When the last compaction was finished, in seconds since 1970; 0 if there was none.",
    ),
    commit_write: histogram(
        "etcd_debugging_disk_backend_commit_write_duration_seconds",
        "How long writes of the store's files take, in seconds.",
        DISK,
    ),
    snapshot: histogram(
        "etcd_disk_backend_snapshot_duration_seconds",
        "How long a snapshot takes from its beginning until it is read wholly, in seconds.",
        SNAPSHOT,
    ),
    checkpoint_encoding: histogram(
        "etcd_debugging_snap_save_marshalling_duration_seconds",
        "How long checkpoints take beside what their disk does, in seconds.",
        DISK,
    ),
    checkpoint_fsync: histogram(
        "etcd_snap_fsync_duration_seconds",
        "How long syncs of checkpoints take, in seconds.",
        DISK,
    ),
    received_fsync: histogram(
        "etcd_snap_db_fsync_duration_seconds",
        "How long syncs of received snapshots take, in seconds.",
        DISK,
    ),
    received_total: histogram(
        "etcd_snap_db_save_total_duration_seconds",
        "How long received snapshots take until they are durable, in seconds.",
        TRANSFER,
    ),
    installing: gauge(
        "etcd_server_snapshot_apply_in_progress_total",
        "1 while a received snapshot becomes the store.",
    ),
});

/// Make everything here appear, whether or not it was observed.
pub(super) fn register() {
    LazyLock::force(&BACKGROUND);
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// A step of compaction was made: it has index and store for itself.
pub fn compaction_step(duration: Duration) {
    BACKGROUND.index_compaction_pause.observe(milliseconds(duration));
    BACKGROUND.compaction_pause.observe(milliseconds(duration));
}

/// A compaction is finished.
pub fn compacted(duration: Duration, now: SystemTime) {
    BACKGROUND.compaction_total.observe(milliseconds(duration));
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    BACKGROUND.compaction_last.set(i64::try_from(since).unwrap_or(i64::MAX));
}

/// Whether what the store's disk does now is of a checkpoint.
static WRITES_CHECKPOINT: AtomicBool = AtomicBool::new(false);

/// A checkpoint is being written, or something else.
pub fn writing_checkpoint(is_checkpoint: bool) {
    WRITES_CHECKPOINT.store(is_checkpoint, Relaxed);
}

/// A file of the store was written to.
pub fn store_write(duration: Duration) {
    BACKGROUND.commit_write.observe(duration.as_secs_f64());
}

/// A checkpoint was put together.
pub fn checkpoint_encoded(duration: Duration) {
    BACKGROUND.checkpoint_encoding.observe(duration.as_secs_f64());
}

/// A file of the store was synced.
pub fn store_fsync(duration: Duration) {
    if !WRITES_CHECKPOINT.load(Relaxed) {
        return;
    }
    BACKGROUND.checkpoint_fsync.observe(duration.as_secs_f64());
}

/// A snapshot was read to its end.
pub fn snapshot_read(duration: Duration) {
    BACKGROUND.snapshot.observe(duration.as_secs_f64());
}

/// A received snapshot was synced.
pub fn received_fsync(duration: Duration) {
    BACKGROUND.received_fsync.observe(duration.as_secs_f64());
}

/// A received snapshot is durable.
pub fn received_saved(duration: Duration) {
    BACKGROUND.received_total.observe(duration.as_secs_f64());
}

/// A received snapshot becomes the store, until this is dropped.
#[derive(Debug)]
pub struct Installing(());

impl Installing {
    /// It begins.
    #[must_use]
    pub fn begin() -> Self {
        BACKGROUND.installing.inc();
        Self(())
    }
}

impl Drop for Installing {
    fn drop(&mut self) {
        BACKGROUND.installing.dec();
    }
}
