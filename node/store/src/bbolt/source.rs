//! Where a file's bytes come from.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use quorate_disk::{Files, Path};

/// Random access to the bytes of one file.
pub trait ReadAt {
    /// `length` bytes at `offset`.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the file is shorter, else what the disk says.
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes>;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// What the disk says.
    fn length(&self) -> io::Result<u64>;
}

impl ReadAt for Bytes {
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let range = usize::try_from(offset)
            .ok()
            .and_then(|start| Some(start..start.checked_add(length)?))
            .filter(|range| range.end <= self.len());
        range.map(|range| self.slice(range)).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// A file on the store's disk.
#[derive(Clone)]
pub struct FileSource {
    files: Arc<dyn Files>,
    path: Path,
}

impl FileSource {
    /// The file at `path`, which need not exist before the first read.
    #[must_use]
    pub fn new(files: Arc<dyn Files>, path: Path) -> Self {
        Self { files, path }
    }
}

impl ReadAt for FileSource {
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        self.files.read(&self.path, offset, length)
    }

    fn length(&self) -> io::Result<u64> {
        self.files.length(&self.path)
    }
}
