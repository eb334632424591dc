//! Open files by name, a bounded number of them.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many files stay open: well above what log and store use at a time, well below the usual
/// limit of 1024 for a process.
const OPEN_MAX: usize = 64;

/// Shared by the side that changes and the side that reads, so that a name that changes its file
/// never leads to the old one.
#[derive(Debug)]
pub(crate) struct Descriptors {
    root: PathBuf,
    /// The one used last at the end.
    open: Mutex<Vec<(String, Arc<File>)>>,
}

impl Descriptors {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, open: Mutex::new(Vec::new()) }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, Arc<File>)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file, which must exist, to read and write.
    pub(crate) fn get(&self, path: &str) -> io::Result<Arc<File>> {
        let mut open = self.lock();
        if let Some(at) = open.iter().position(|(name, _)| name == path) {
            let found = open.remove(at);
            let file = found.1.clone();
            open.push(found);
            return Ok(file);
        }
        let file = Arc::new(OpenOptions::new().read(true).write(true).open(self.path(path))?);
        if open.len() >= OPEN_MAX {
            open.remove(0);
        }
        open.push((path.to_owned(), file.clone()));
        Ok(file)
    }

    /// Change what these names lead to, with nobody opening them meanwhile.
    pub(crate) fn change(
        &self,
        names: &[&str],
        change: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut open = self.lock();
        open.retain(|(name, _)| !names.contains(&name.as_str()));
        change()
    }
}
