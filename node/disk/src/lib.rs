//! Files as the log and the store need them.
//!
//! Whoever owns files (the log, the store's jobs) *submits* operations and hears of their end as
//! a [`Completion`]; only reads block. So the owner stays a pure state machine, and whether an
//! operation runs on a thread, or in virtual time on a disk that tears, loses and corrupts, is
//! the executor's business.
//!
//! ```text
//!   owner ── submit(ticket, operation) ──► disk ── later ──► completion(ticket, result) ──► owner
//! ```
//!
//! Invariants that every implementation keeps:
//! - Operations of one handle take effect in the order of their submission, and complete in it;
//!   but a sync may wait for writes and syncs of the same file that follow it, and be one for all.
//! - A completed [`Operation::Sync`] means: every write to that file submitted before it is
//!   durable. A completed [`Operation::SyncDirectory`] means the same for names.
//! - Nothing else is durable. After a crash, any subset of what was not synced may be there.
//! - A file of which something was not written, for another reason than want of room, is not
//!   renamed: the rename fails, though it was submitted before anybody knew.
//! - After a failed sync nothing may be assumed, and the sync is never tried again.
//!
//! It never knows what is written.

mod lock;
mod real;

use std::io;
use std::sync::Arc;

use bytes::Bytes;

pub use lock::{DirectoryLock, LockError};
pub use real::{Measured, Observer, RealDisk, RealFiles, Timing, Waker, Worker};

/// A file's path below the handle's root folder, with `/` between its parts.
pub type Path = Arc<str>;

/// The owner's name for an operation, given back with its completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What a disk is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Create the file, which must not exist, with `size` zero bytes *written* (not only
    /// reserved), so that later writes inside need no change of the file's metadata.
    Create {
        /// The new file.
        path: Path,
        /// Its length in bytes.
        size: u64,
    },
    /// Write the pieces one after the other, the first at `offset`; a file that is too short
    /// grows. The file must exist.
    Write {
        /// The file.
        path: Path,
        /// Where the first piece goes, in bytes.
        offset: u64,
        /// The pieces, written as one.
        data: Vec<Bytes>,
    },
    /// Make all earlier writes of this file durable (data and length).
    Sync {
        /// The file.
        path: Path,
    },
    /// Cut or extend the file to `size` bytes.
    Truncate {
        /// The file.
        path: Path,
        /// Its new length in bytes.
        size: u64,
    },
    /// Give the file another name; a file that has the new name is replaced, atomically.
    Rename {
        /// The old name.
        from: Path,
        /// The new name.
        to: Path,
    },
    /// Remove the file. Removing a file that is not there succeeds.
    Remove {
        /// The file.
        path: Path,
    },
    /// Create the folder with its parents. A folder that is there already is no error.
    CreateDirectory {
        /// The folder; empty for the root.
        path: Path,
    },
    /// Make creations, renames and removals in the folder durable.
    SyncDirectory {
        /// The folder; empty for the root.
        path: Path,
    },
}

/// The end of an operation.
#[derive(Debug)]
pub struct Completion {
    /// As given when it was submitted.
    pub ticket: Ticket,
    /// `Err` if it failed; [`io::ErrorKind::StorageFull`] for a full disk. An operation that
    /// failed may have happened in part.
    pub result: io::Result<()>,
}

/// A folder of files, to read. Shared by every reader of the process; all its calls block.
pub trait Files: Send + Sync {
    /// Read `length` bytes at `offset`. Sees every write that has completed.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is no such file, [`io::ErrorKind::UnexpectedEof`] if
    /// it is shorter, else what the disk says.
    fn read(&self, path: &str, offset: u64, length: usize) -> io::Result<Bytes>;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is no such file, else what the disk says.
    fn length(&self, path: &str) -> io::Result<u64>;

    /// The names of the files in a folder (not its sub-folders), sorted; empty if there is no
    /// such folder.
    ///
    /// # Errors
    /// What the disk says.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
}

/// A folder of files, to change. One owner each.
pub trait Disk {
    /// Queue an operation. Never blocks; its completion comes from [`Disk::poll`].
    fn submit(&mut self, ticket: Ticket, operation: Operation);

    /// Move the completions that have arrived to `completions`, in the order of submission.
    /// Never blocks: how to wait for one is the executor's business.
    fn poll(&mut self, completions: &mut Vec<Completion>);

    /// The same folder, to read.
    fn files(&self) -> Arc<dyn Files>;
}
