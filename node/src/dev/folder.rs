//! The folder of a cluster, marked so that nothing else is ever deleted.
//!
//! ```text
//!   quorate-dev/cluster.json   the mark: names and ports, as the data has them
//!   quorate-dev/lock           one run at a time
//!   quorate-dev/m1/            a member's data
//!   quorate-dev/m1.log         what it says
//! ```

use std::io;
use std::path::{Path, PathBuf};

use quorate_disk::{DirectoryLock, LockError};

use super::layout::Layout;

/// The mark of a folder that is ours.
const MARK: &str = "cluster.json";

/// A file that stays while the folder is emptied.
const LOCK: &str = "lock";

/// A folder that is ours, for as long as this lives.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) layout: Layout,
    /// It holds the data of an earlier run.
    pub(super) is_kept: bool,
    _lock: DirectoryLock,
}

/// Why the folder is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    /// Somebody else's.
    #[error(
        "{} has files that quorate dev did not make: choose another folder with --data-dir",
        .0.display()
    )]
    Foreign(PathBuf),
    /// Ours, of another shape.
    #[error(
        "{} holds a cluster of {members} members at {endpoints}: run without --members and \
         --base-port to go on with it, with --fresh to delete it, or with another --data-dir",
        path.display()
    )]
    Other {
        /// The folder.
        path: PathBuf,
        /// How many members it has.
        members: usize,
        /// Where they are reached.
        endpoints: String,
    },
    /// The mark is damaged.
    #[error("{}: {MARK} cannot be read: --fresh deletes the cluster and starts anew", .0.display())]
    Mark(PathBuf),
    /// Another run has it.
    #[error("{0}: quorate dev runs there already")]
    Running(PathBuf, #[source] LockError),
    /// A member of a run that was killed.
    #[error(
        "{name} of an earlier run is still running: end it, for example with `fuser -k {}`",
        lock.display()
    )]
    MemberRunning {
        /// The member.
        name: String,
        /// The file that it holds.
        lock: PathBuf,
    },
    /// The file system.
    #[error("{}: {source}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Take the folder, make it, or make it anew. `wanted` is what a new one becomes; a kept one must
/// be of this shape, unless `is_default`.
pub(super) fn open(
    path: &Path,
    wanted: Layout,
    is_default: bool,
    is_fresh: bool,
) -> Result<Folder, FolderError> {
    let io_error = |source| FolderError::Io { path: path.to_owned(), source };
    let path = std::path::absolute(path).map_err(io_error)?;
    std::fs::create_dir_all(&path).map_err(io_error)?;
    let mark = path.join(MARK);
    let is_marked = mark.is_file();
    if !is_marked && has_files(&path).map_err(io_error)? {
        return Err(FolderError::Foreign(path));
    }
    let lock = match DirectoryLock::acquire(&path) {
        Ok(lock) => lock,
        Err(error @ LockError::Held(_)) => return Err(FolderError::Running(path, error)),
        Err(LockError::Io { path, source }) => return Err(FolderError::Io { path, source }),
    };
    check_members(&path)?;
    if is_marked && is_fresh {
        empty(&path).map_err(io_error)?;
    }
    if is_marked && !is_fresh {
        let text = std::fs::read_to_string(&mark).map_err(io_error)?;
        let json = serde_json::from_str(&text).ok();
        let layout = json.as_ref().and_then(Layout::from_json);
        let layout = layout.ok_or_else(|| FolderError::Mark(path.clone()))?;
        if !is_default && layout != wanted {
            let (members, endpoints) = (layout.members.len(), layout.endpoints());
            return Err(FolderError::Other { path, members, endpoints });
        }
        return Ok(Folder { path, layout, is_kept: true, _lock: lock });
    }
    std::fs::write(&mark, format!("{:#}\n", wanted.to_json())).map_err(io_error)?;
    Ok(Folder { path, layout: wanted, is_kept: false, _lock: lock })
}

/// Whether no member uses its data: one may have outlived a run that was killed.
fn check_members(path: &Path) -> Result<(), FolderError> {
    let io_error = |source| FolderError::Io { path: path.to_owned(), source };
    for entry in std::fs::read_dir(path).map_err(io_error)? {
        let member = entry.map_err(io_error)?;
        let lock = member.path().join(LOCK);
        if lock.is_file()
            && let Err(LockError::Held(_)) = DirectoryLock::acquire(&member.path())
        {
            let name = member.file_name().to_string_lossy().into_owned();
            return Err(FolderError::MemberRunning { name, lock });
        }
    }
    Ok(())
}

/// Whether there is anything but a lock.
fn has_files(path: &Path) -> io::Result<bool> {
    for entry in std::fs::read_dir(path)? {
        if entry?.file_name() != LOCK {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Delete what is in the folder; the mark last, so that a run that is cut short can be repeated.
fn empty(path: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name() == LOCK || entry.file_name() == MARK {
            continue;
        }
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    std::fs::remove_file(path.join(MARK))
}
