//! Snapshots that leave for followers, and snapshots that arrive.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use quorate_api::Error;
use quorate_member::applier;
use quorate_raft::SnapshotMetadata;
use quorate_replica::wire;
use quorate_store::log::Pin;
use quorate_store::snapshot::{self, SmallBuckets, SnapshotStream, Trailer};

use super::Member;

/// The store at one moment, kept for followers.
pub struct PinnedSnapshot {
    pub(super) metadata: SnapshotMetadata,
    pub(super) small: SmallBuckets,
    pub(super) log: Pin,
}

impl std::fmt::Debug for PinnedSnapshot {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PinnedSnapshot").field("metadata", &self.metadata).finish()
    }
}

impl PinnedSnapshot {
    /// Where in the log it stands.
    #[must_use]
    pub fn metadata(&self) -> &SnapshotMetadata {
        &self.metadata
    }

    /// Its bytes, from the beginning: a bbolt file without digest, as members send each other.
    /// Reading it blocks.
    #[must_use]
    pub fn stream(&self) -> SnapshotStream {
        SnapshotStream::new(self.small.clone(), self.log.clone(), Trailer::None)
    }
}

/// What is pinned, and what has arrived and is not installed.
#[derive(Default)]
pub(super) struct Snapshots {
    pub(super) pinned: Mutex<Option<Arc<PinnedSnapshot>>>,
    received: Mutex<BTreeMap<u64, PathBuf>>,
}

impl Snapshots {
    /// A file has arrived. Older ones that nobody installed are removed.
    pub(super) fn put(&self, index: u64, file: PathBuf) {
        let mut received = self.received.lock();
        let kept = received.split_off(&index);
        let old = std::mem::replace(&mut *received, kept);
        let same = received.insert(index, file.clone());
        drop(received);
        for path in old.into_values().chain(same.filter(|same| *same != file)) {
            let _ = std::fs::remove_file(path);
        }
    }

    /// The file of a snapshot that is to be installed.
    pub(super) fn take(&self, index: u64) -> Option<PathBuf> {
        self.received.lock().remove(&index)
    }
}

impl Member {
    /// The store as it is now, for a backup, and its revision. Reading it blocks.
    ///
    /// # Errors
    /// The member ends.
    pub async fn capture_snapshot(&self, trailer: Trailer) -> Result<(SnapshotStream, i64), Error> {
        loop {
            drop(self.readable_store().await);
            if self.0.ending.reason().is_some() {
                return Err(Error::Stopped);
            }
            let mut store = self.0.store.write();
            if *self.0.filling.borrow() {
                continue;
            }
            let conf_state = wire::conf_state_to_pb(&applier::conf_state(&store));
            let revision = store.revision();
            return Ok((snapshot::capture(&mut store, &conf_state, trailer), revision));
        }
    }
}

/// Raft's configuration as a snapshot's file has it.
pub(super) fn conf_state(metadata: &SnapshotMetadata) -> quorate_api::raftpb::ConfState {
    wire::conf_state_to_pb(&metadata.conf_state)
}
