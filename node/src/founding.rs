//! The folders in which a member is being made, and the sign that says so until it is whole.
//!
//! ```text
//!   empty ─► locked ─► sign, synced ─► store, log, synced ─► sign removed, synced
//!                          └── a start refuses from here on to here ──┘
//! ```
//! What is cut off on its way keeps the sign: no member starts from it, and whoever makes a member
//! there again removes what was left. A temporary folder that gets its name at the end would not
//! do: a data directory is often a volume of its own, which cannot be renamed.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_disk::{DirectoryLock, Disk as _, LockError, RealDisk};
use quorate_member::founding::{Founded, Founder, FoundingError};
use quorate_member::identity;
use quorate_store::bbolt::ReadAt;
use quorate_store::snapshot::Verification;

use crate::config::{Config, LOG_FOLDER, STORE_FOLDER};
use crate::member::BookDisk;

/// The sign's file.
const SIGN: &str = "unfinished";

/// The file of [`DirectoryLock`], which a folder that is taken for empty may have.
const LOCK: &str = "lock";

/// What people find in the sign.
const SIGN_TEXT: &str = "A member was being made here, and that was cut off. Make it again: what is \
                         here is removed then.\n";

/// Why a directory is not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SiteError {
    /// Somebody's data are there.
    #[error("{flag} {} is not empty: name another folder, or move this one away", path.display())]
    NotEmpty {
        /// The flag that names it.
        flag: &'static str,
        /// The folder.
        path: PathBuf,
    },
    /// Somebody is at work there.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A folder cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file of an earlier member.
    #[error(transparent)]
    Identity(#[from] identity::ReadError),
    /// The member.
    #[error(transparent)]
    Founding(#[from] FoundingError),
}

/// Whether a member was being made in a folder, and that was not finished.
pub(crate) fn is_unfinished(folder: &Path) -> bool {
    folder.join(SIGN).exists()
}

/// Whether there is a member that was made to its end.
pub(crate) fn is_founded(config: &Config) -> bool {
    config.log_folder().is_dir() && !folders(config).iter().any(|(_, folder)| is_unfinished(folder))
}

/// Refuses folders in which there is something.
///
/// # Errors
/// [`SiteError::NotEmpty`] names the folder and its flag.
pub(crate) fn check_empty(config: &Config) -> Result<(), SiteError> {
    for (flag, folder) in folders(config) {
        let names = names(folder)?;
        let is_remains = names.iter().any(|name| name == SIGN) && has_only_ours(folder)?;
        if !is_remains && names.iter().any(|name| name != LOCK) {
            return Err(SiteError::NotEmpty { flag, path: folder.to_owned() });
        }
    }
    Ok(())
}

/// Make a member of this content. It is durable, and whole, when this returns.
///
/// # Errors
/// A [`SiteError`]. What is there then is not taken for a member.
pub(crate) fn found<S: ReadAt>(
    config: &Config,
    founder: &Founder,
    content: Verification<S>,
) -> Result<Founded, SiteError> {
    let mut locks = Vec::new();
    for (_, folder) in folders(config) {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(failed(folder))?;
        locks.push(DirectoryLock::acquire(folder)?);
    }
    check_empty(config)?;
    for (_, folder) in folders(config) {
        clear(folder)?;
        put_sign(folder).map_err(failed(folder))?;
    }
    let disk = |path: PathBuf| {
        let failed = failed(&path);
        RealDisk::inline(path.clone(), Arc::new(|_| {})).map_err(failed)
    };
    let mut log_disk = disk(config.log_folder())?;
    let mut store_disk = disk(config.store_folder())?;
    // These disks do everything when it is submitted: there is nothing to wait for.
    let founded = founder.found(content, &mut log_disk, &mut store_disk, &mut || false)?;
    let book_disk = disk(config.data_dir.clone())?;
    let (_, file) = identity::read(&*book_disk.files())?;
    let written = BookDisk::new(book_disk, file).write(&founder.block());
    written.map_err(failed(&config.data_dir))?;
    for (_, folder) in folders(config) {
        sync(folder).map_err(failed(folder))?;
    }
    // The data directory's sign goes last: it alone is enough to be refused.
    for (_, folder) in folders(config).into_iter().rev() {
        fs::remove_file(folder.join(SIGN)).map_err(failed(folder))?;
        sync(folder).map_err(failed(folder))?;
    }
    Ok(founded)
}

/// The folders that are filled, with the flags that name them; the data directory first.
fn folders(config: &Config) -> Vec<(&'static str, &Path)> {
    let mut folders = vec![("--data-dir", config.data_dir.as_path())];
    folders.extend(config.wal_dir.as_deref().map(|folder| ("--wal-dir", folder)));
    folders
}

fn failed(path: &Path) -> impl Fn(io::Error) -> SiteError + use<> {
    let path = path.to_owned();
    move |source| SiteError::Io { path: path.clone(), source }
}

fn names(folder: &Path) -> Result<Vec<String>, SiteError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed(folder))?,
    };
    let name = |entry: io::Result<fs::DirEntry>| {
        Ok(entry.map_err(failed(folder))?.file_name().to_string_lossy().into_owned())
    };
    entries.map(name).collect()
}

/// Whether a folder with the sign has nothing that was not made there.
fn has_only_ours(folder: &Path) -> Result<bool, SiteError> {
    let is_ours = |name: &String| {
        [STORE_FOLDER, LOG_FOLDER].contains(&name.as_str()) || folder.join(name).is_file()
    };
    Ok(names(folder)?.iter().all(is_ours))
}

/// Remove what was left by a founding that was cut off; its sign stays.
fn clear(folder: &Path) -> Result<(), SiteError> {
    for name in names(folder)?.into_iter().filter(|name| name != LOCK && name != SIGN) {
        let path = folder.join(name);
        let removed =
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(failed(&path))?;
    }
    Ok(())
}

fn put_sign(folder: &Path) -> io::Result<()> {
    let mut sign = File::create(folder.join(SIGN))?;
    sign.write_all(SIGN_TEXT.as_bytes())?;
    sign.sync_all()?;
    sync(folder)?;
    // The folder's own name, if it is new.
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync(parent.unwrap_or(Path::new(".")))
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
