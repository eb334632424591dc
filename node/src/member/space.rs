//! Whether the member's disks are full, for the replica to know.
//!
//! A disk is full when a write says so, not when a number is low: only then is anything refused.
//! That it has room again is what the log tries out by itself, and what the store's file system
//! says: while clients are refused, the store may have nothing to try it out with.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use quorate_replica::{DiskRoom, Event};
use quorate_wal::Space as LogSpace;

use super::Shared;

/// The store's disk has room again with so many bytes free: it can take all that the store may
/// have in memory only.
const STORE_ROOM_BYTES: u64 = 64 << 20;

/// What is known of the disks.
#[derive(Debug, Default)]
pub(super) struct Space {
    store_is_full: AtomicBool,
    /// What the replica was told.
    told_full: AtomicBool,
}

impl Shared {
    /// The store's disk has refused a write for want of room.
    pub(super) fn on_store_full(&self) {
        self.space.store_is_full.store(true, SeqCst);
        self.look_at_space();
    }

    /// Tell the replica of a disk that is full, or no longer is. Called now and then.
    pub(super) fn look_at_space(&self) {
        let log = self.retry_log_space();
        if self.space.store_is_full.load(SeqCst) && self.store_disk_has_room() {
            self.space.store_is_full.store(false, SeqCst);
        }
        let log_is_full = matches!(log, LogSpace::Low { .. });
        let is_full = log_is_full || self.space.store_is_full.load(SeqCst);
        if self.space.told_full.swap(is_full, SeqCst) == is_full {
            return;
        }
        let room = if is_full {
            let disk = if log_is_full { "log" } else { "store" };
            tracing::error!(disk, "the disk is full: writes are refused until it has room");
            DiskRoom::None
        } else {
            tracing::info!("the disk has room again");
            DiskRoom::Ample
        };
        self.submit(Event::DiskRoom(room));
    }

    fn store_disk_has_room(&self) -> bool {
        // A file system that does not answer is asked again.
        rustix::fs::statvfs(self.config.store_folder())
            .is_ok_and(|system| system.f_bavail.saturating_mul(system.f_frsize) >= STORE_ROOM_BYTES)
    }
}
