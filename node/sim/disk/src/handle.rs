//! The two faces of the disk that programs see: to change, and to read.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use quorate_disk::{Completion, Disk, Files, Operation, Path, Ticket};

use crate::fault::FaultKind;
use crate::state::error;
use crate::{FaultyDisk, HandleId, Queued, SECTOR};

/// A folder of the disk, to change. Dead after a crash.
#[derive(Debug)]
pub struct FaultyHandle {
    disk: FaultyDisk,
    id: HandleId,
    files: Arc<FaultyFiles>,
}

impl FaultyHandle {
    pub(crate) fn new(disk: FaultyDisk, id: HandleId, folder: &str) -> Self {
        let files = Arc::new(FaultyFiles::new(disk.clone(), folder));
        Self { disk, id, files }
    }

    /// Its name in [`FaultyDisk::pending`].
    #[must_use]
    pub fn id(&self) -> HandleId {
        self.id
    }
}

impl Disk for FaultyHandle {
    fn submit(&mut self, ticket: Ticket, operation: Operation) {
        let operation = self.files.root(operation);
        let mut inner = self.disk.lock();
        inner.order += 1;
        let order = inner.order;
        if let Some(queue) = inner.queues.get_mut(&self.id) {
            queue.submitted.push_back(Queued { order, ticket, operation });
        }
    }

    fn poll(&mut self, completions: &mut Vec<Completion>) {
        if let Some(queue) = self.disk.lock().queues.get_mut(&self.id) {
            completions.append(&mut queue.completed);
        }
    }

    fn files(&self) -> Arc<dyn Files> {
        self.files.clone()
    }
}

/// A folder of the disk, to read. Stays valid after a crash.
#[derive(Debug)]
pub struct FaultyFiles {
    disk: FaultyDisk,
    prefix: String,
}

impl FaultyFiles {
    pub(crate) fn new(disk: FaultyDisk, folder: &str) -> Self {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        Self { disk, prefix }
    }

    fn whole(&self, path: &str) -> Path {
        format!("{}{path}", self.prefix).into()
    }

    fn whole_folder(&self, path: &str) -> Path {
        self.whole(path).trim_end_matches('/').into()
    }

    fn root(&self, operation: Operation) -> Operation {
        match operation {
            Operation::Create { path, size } => Operation::Create { path: self.whole(&path), size },
            Operation::Write { path, offset, data } => {
                Operation::Write { path: self.whole(&path), offset, data }
            }
            Operation::Sync { path } => Operation::Sync { path: self.whole(&path) },
            Operation::Truncate { path, size } => {
                Operation::Truncate { path: self.whole(&path), size }
            }
            Operation::Rename { from, to } => {
                Operation::Rename { from: self.whole(&from), to: self.whole(&to) }
            }
            Operation::Remove { path } => Operation::Remove { path: self.whole(&path) },
            Operation::CreateDirectory { path } => {
                Operation::CreateDirectory { path: self.whole_folder(&path) }
            }
            Operation::SyncDirectory { path } => {
                Operation::SyncDirectory { path: self.whole_folder(&path) }
            }
        }
    }
}

impl Files for FaultyFiles {
    fn read(&self, path: &str, offset: u64, length: usize) -> io::Result<Bytes> {
        let path = self.whole(path);
        let mut inner = self.disk.lock();
        if inner.faults.meet(&[FaultKind::ReadError], &path).is_some() {
            inner.faults.count(FaultKind::ReadError);
            return Err(error());
        }
        let file = inner.state.file(&path)?;
        let end = offset.checked_add(length as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
        if end > file.current.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if file.unreadable.range(offset / SECTOR..end.div_ceil(SECTOR)).next().is_some() {
            inner.faults.count(FaultKind::ReadError);
            return Err(error());
        }
        let mut bytes = vec![0; length];
        file.current.read(offset, &mut bytes);
        Ok(bytes.into())
    }

    fn length(&self, path: &str) -> io::Result<u64> {
        Ok(self.disk.lock().state.file(&self.whole(path))?.current.length)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let folder = self.whole_folder(folder);
        let inner = self.disk.lock();
        let names = inner.state.current.files.keys().filter_map(|path| {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            (parent == &*folder).then(|| name.to_owned())
        });
        Ok(names.collect())
    }
}
