//! One data directory, on which nobody runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_disk::{DirectoryLock, LockError};
use quorate_member::open::OpenError;
use quorate_member::stopped::{self, Despite, Looked};
use quorate_store::store::Store;

use crate::args::Given;
use crate::config::{Config, ConfigError, LOG_FOLDER, STORE_FOLDER};
use crate::inspect::Folder;
use crate::{founding, member};

/// Why a directory is not looked at.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    #[error("{}: there is no such directory", .0.display())]
    Missing(PathBuf),
    #[error(
        "{}: this is a data directory of etcd's: use etcdutl, or a snapshot of it with \
         `quorate snapshot restore`", .0.display()
    )]
    Etcd(PathBuf),
    #[error(
        "{}: there is no log in it: if the member had --wal-dir, put that folder, or a link to \
         it, back as {LOG_FOLDER}", .0.display()
    )]
    NoLog(PathBuf),
    #[error("{}: holds a member that was not made to its end", .0.display())]
    Unfinished(PathBuf),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("{}: {source}", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: OpenError,
    },
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// What is left of a member.
pub(super) struct Survivor {
    pub(super) path: PathBuf,
    pub(super) looked: Looked,
    /// Held while it is read, if it has a lock.
    _lock: Option<DirectoryLock>,
}

impl Survivor {
    /// Look at a directory. Nothing in it is changed.
    pub(super) fn look(path: &Path) -> Result<Self, LookError> {
        let owned = || path.to_owned();
        if !path.is_dir() {
            return Err(LookError::Missing(owned()));
        }
        if path.join("member").is_dir() {
            return Err(LookError::Etcd(owned()));
        }
        if !path.join(LOG_FOLDER).is_dir() {
            return Err(LookError::NoLog(owned()));
        }
        let lock = DirectoryLock::acquire_existing(path)?;
        if founding::is_unfinished(path) {
            return Err(LookError::Unfinished(owned()));
        }
        let (config, _) = Config::read(&Given::default())?;
        let settings = member::settings_to_read(&config);
        let (log, store) = (Folder(path.join(LOG_FOLDER)), Folder(path.join(STORE_FOLDER)));
        let looked = stopped::look(&settings, &log, Arc::new(store))
            .map_err(|source| LookError::Open { path: owned(), source })?;
        Ok(Self { path: owned(), looked, _lock: lock })
    }

    /// What is wrong with it, if anything is.
    pub(super) fn damage(&self) -> Option<String> {
        let log = self.looked.log_damage.as_ref().map(ToString::to_string);
        let store = self.looked.store.as_ref().err().map(ToString::to_string);
        match (log, store) {
            (Some(log), Some(store)) => Some(format!("{log}; {store}")),
            (log, store) => log.or(store),
        }
    }

    /// All that it holds, in memory, up to what is damaged.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn into_store(self) -> Result<Store, String> {
        let stopped = self.looked.replay(Despite::LogDamage).map_err(|error| error.to_string())?;
        stopped.into_store().map_err(|error| error.to_string())
    }
}
