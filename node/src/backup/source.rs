//! A backup's file, whose reading is counted.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use quorate_store::bbolt::ReadAt;

use super::progress::Progress;

/// Why a file is not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// It cannot be opened.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is a folder.
    #[error(
        "{} is a directory: name a snapshot's file; the database of a data directory of etcd's is \
         member/snap/db in it",
        .0.display()
    )]
    Directory(PathBuf),
}

/// A file to read, which is never changed.
pub(crate) struct Source {
    file: File,
    length: u64,
    progress: Rc<Progress>,
}

impl Source {
    pub(crate) fn open(path: &Path, progress: Rc<Progress>) -> Result<Self, SourceError> {
        let failed = |source| SourceError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(SourceError::Directory(path.to_owned()));
        }
        Ok(Self { file, length: metadata.len(), progress })
    }

    /// A file that is open already.
    pub(crate) fn of(file: File, progress: Rc<Progress>) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, length, progress })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.length
    }
}

impl ReadAt for Source {
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset)?;
        self.progress.add(length as u64);
        Ok(bytes.into())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.length)
    }
}
