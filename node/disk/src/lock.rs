//! One process for a data directory.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// The name of the lock's file in its folder.
const NAME: &str = "lock";

/// Held for as long as the process uses the folder. The kernel lets go of it when the process
/// ends, however it ends.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

/// Why the folder is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("the data directory {} is used by another process", .0.display())]
    Held(PathBuf),
    /// The lock's file cannot be used.
    #[error("cannot lock the data directory {}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl DirectoryLock {
    /// Lock the folder, which must exist. Does not wait.
    ///
    /// # Errors
    /// [`LockError`] if another process holds the lock, or if there can be none.
    pub fn acquire(folder: &Path) -> Result<Self, LockError> {
        let path = folder.to_owned();
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(folder.join(NAME))
            .map_err(|source| LockError::Io { path: path.clone(), source })?;
        Self::hold(file, path)
    }

    /// Lock a folder in which nothing may be made: if somebody uses it, it has the lock's file.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn acquire_existing(folder: &Path) -> Result<Option<Self>, LockError> {
        let path = folder.to_owned();
        match File::open(folder.join(NAME)) {
            Ok(file) => Self::hold(file, path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LockError::Io { path, source }),
        }
    }

    fn hold(file: File, path: PathBuf) -> Result<Self, LockError> {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::Held(path)),
            Err(errno) => Err(LockError::Io { path, source: errno.into() }),
        }
    }
}
