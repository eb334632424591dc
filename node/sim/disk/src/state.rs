//! The disk's contents: what programs see, what is durable, and the changes in between.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use quorate_disk::Operation;

use crate::content::Content;
use crate::fault::FaultKind;
use crate::random::Random;
use crate::{SECTOR, crash};

pub(crate) type FileId = u64;

/// A change of a file that is not synced yet.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Write { offset: u64, data: Vec<u8> },
    Length { size: u64 },
}

/// A change of names that its folders' sync has not made durable yet.
#[derive(Clone, Debug)]
pub(crate) enum NameChange {
    Link { path: String, file: FileId },
    Unlink { path: String },
    Rename { from: String, to: String, file: FileId },
    MakeDirectory { path: String },
}

#[derive(Clone, Debug)]
pub(crate) struct PendingName {
    pub(crate) sequence: u64,
    /// Folders that are still to be synced.
    pub(crate) folders: BTreeSet<String>,
    pub(crate) change: NameChange,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    /// As a reader sees it.
    pub(crate) current: Content,
    /// As it is after a loss of power, if no pending change makes it.
    pub(crate) durable: Content,
    /// Ordered by sequence.
    pub(crate) pending: Vec<(u64, Change)>,
    /// Sectors whose reads fail.
    pub(crate) unreadable: BTreeSet<u64>,
}

/// Paths to files, and the folders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) files: BTreeMap<String, FileId>,
    pub(crate) directories: BTreeSet<String>,
}

impl Names {
    pub(crate) fn apply(&mut self, change: &NameChange) {
        match change {
            NameChange::Link { path, file } => {
                self.files.insert(path.clone(), *file);
            }
            NameChange::Unlink { path } => {
                self.files.remove(path);
            }
            NameChange::Rename { from, to, file } => {
                if self.files.get(from) == Some(file) {
                    self.files.remove(from);
                }
                self.files.insert(to.clone(), *file);
            }
            NameChange::MakeDirectory { path } => {
                self.directories.insert(path.clone());
            }
        }
    }
}

/// Everything that a loss of power could leave, and everything that it could not.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) files: BTreeMap<FileId, File>,
    pub(crate) current: Names,
    pub(crate) durable: Names,
    pub(crate) pending_names: Vec<PendingName>,
    pub(crate) sequence: u64,
    next_file: FileId,
    /// Bytes that fit; `None` for no bound.
    pub(crate) capacity: Option<u64>,
}

impl State {
    pub(crate) fn file(&self, path: &str) -> io::Result<&File> {
        self.current
            .files
            .get(path)
            .and_then(|id| self.files.get(id))
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(crate) fn file_mut(&mut self, path: &str) -> io::Result<&mut File> {
        self.current
            .files
            .get(path)
            .and_then(|id| self.files.get_mut(id))
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Make the folder and its parents, durably: for the roots of handles.
    pub(crate) fn make_root(&mut self, path: &str) {
        for folder in with_parents(path) {
            self.current.directories.insert(folder.clone());
            self.durable.directories.insert(folder);
        }
    }

    /// Carry out an operation whose paths are whole, meeting `fault` if there is one.
    pub(crate) fn execute(
        &mut self,
        operation: &Operation,
        fault: Option<FaultKind>,
        random: &mut Random,
    ) -> io::Result<()> {
        match operation {
            Operation::Create { path, size } => self.create(path, *size, fault),
            Operation::Write { path, offset, data } => {
                let data: Vec<u8> = data.iter().flat_map(|piece| piece.iter().copied()).collect();
                self.write(path, *offset, data, fault, random)
            }
            Operation::Sync { path } => self.sync(path, fault, random),
            Operation::Truncate { path, size } => {
                self.sequence += 1;
                let change = (self.sequence, Change::Length { size: *size });
                let file = self.file_mut(path)?;
                file.current.set_length(*size);
                file.pending.push(change);
                Ok(())
            }
            Operation::Rename { from, to } => {
                let file = *self.current.files.get(&**from).ok_or(io::ErrorKind::NotFound)?;
                let (from, to) = (from.to_string(), to.to_string());
                self.require_folder(&to)?;
                let folders = [parent(&from), parent(&to)].map(str::to_owned).into();
                self.rename(folders, NameChange::Rename { from, to, file });
                Ok(())
            }
            Operation::Remove { path } => {
                if self.current.files.contains_key(&**path) {
                    let folders = [parent(path).to_owned()].into();
                    self.rename(folders, NameChange::Unlink { path: path.to_string() });
                }
                Ok(())
            }
            Operation::CreateDirectory { path } => {
                for folder in with_parents(path) {
                    if !self.current.directories.contains(&folder) {
                        let folders = [parent(&folder).to_owned()].into();
                        self.rename(folders, NameChange::MakeDirectory { path: folder });
                    }
                }
                Ok(())
            }
            Operation::SyncDirectory { path } => self.sync_directory(path, fault),
        }
    }

    fn require_folder(&self, path: &str) -> io::Result<()> {
        let folder = parent(path);
        if folder.is_empty() || self.current.directories.contains(folder) {
            Ok(())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn require_space(&self, more: u64) -> io::Result<()> {
        let Some(capacity) = self.capacity else { return Ok(()) };
        let used: u64 = self
            .current
            .files
            .values()
            .filter_map(|id| self.files.get(id))
            .map(|file| file.current.length)
            .sum();
        if used + more > capacity { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn create(&mut self, path: &str, size: u64, fault: Option<FaultKind>) -> io::Result<()> {
        if self.current.files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.require_folder(path)?;
        self.fail_if(fault)?;
        self.require_space(size)?;
        self.next_file += 1;
        self.sequence += 1;
        let mut file = File::default();
        file.current.set_length(size);
        file.pending.push((self.sequence, Change::Length { size }));
        self.files.insert(self.next_file, file);
        let link = NameChange::Link { path: path.to_owned(), file: self.next_file };
        self.rename([parent(path).to_owned()].into(), link);
        Ok(())
    }

    #[expect(clippy::unused_self, reason = "reads as a step of the operation")]
    fn fail_if(&self, fault: Option<FaultKind>) -> io::Result<()> {
        match fault {
            Some(FaultKind::NoSpace) => Err(io::ErrorKind::StorageFull.into()),
            Some(FaultKind::WriteError) => Err(error()),
            _ => Ok(()),
        }
    }

    fn write(
        &mut self,
        path: &str,
        offset: u64,
        mut data: Vec<u8>,
        fault: Option<FaultKind>,
        random: &mut Random,
    ) -> io::Result<()> {
        let length = self.file(path)?.current.length;
        let growth = (offset + data.len() as u64).saturating_sub(length);
        if growth > 0 {
            self.require_space(growth)?;
        }
        let mut offset = offset;
        let mut result = Ok(());
        match fault {
            Some(FaultKind::WriteError) => {
                data.truncate(random.below(data.len() as u64 + 1) as usize);
                result = Err(error());
            }
            Some(FaultKind::NoSpace) => {
                data.truncate(random.below(data.len() as u64 + 1) as usize);
                result = Err(io::ErrorKind::StorageFull.into());
            }
            Some(FaultKind::LostWrite) => return Ok(()),
            Some(FaultKind::MisdirectedWrite) => {
                let distance = SECTOR * (1 + random.below(8));
                let room = length.saturating_sub(data.len() as u64);
                offset = if offset >= distance && random.chance_of_half() {
                    offset - distance
                } else {
                    (offset + distance).min(room)
                };
            }
            _ => {}
        }
        self.sequence += 1;
        let sequence = self.sequence;
        let file = self.file_mut(path)?;
        file.current.write(offset, &data);
        for (sector, _, _) in crate::content::pieces(offset, data.len()) {
            file.unreadable.remove(&sector);
        }
        file.pending.push((sequence, Change::Write { offset, data }));
        result
    }

    fn sync(
        &mut self,
        path: &str,
        fault: Option<FaultKind>,
        random: &mut Random,
    ) -> io::Result<()> {
        let file = self.file_mut(path)?;
        if fault == Some(FaultKind::SyncError) {
            crash::settle_file(file, &crash::Keep::AnySectors, random);
            return Err(error());
        }
        for (_, change) in std::mem::take(&mut file.pending) {
            match change {
                Change::Write { offset, data } => file.durable.write(offset, &data),
                Change::Length { size } => file.durable.set_length(size),
            }
        }
        Ok(())
    }

    fn sync_directory(&mut self, path: &str, fault: Option<FaultKind>) -> io::Result<()> {
        if !path.is_empty() && !self.current.directories.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if fault == Some(FaultKind::SyncError) {
            return Err(error());
        }
        let mut kept = Vec::new();
        for mut pending in std::mem::take(&mut self.pending_names) {
            pending.folders.remove(path);
            if pending.folders.is_empty() {
                self.durable.apply(&pending.change);
            } else {
                kept.push(pending);
            }
        }
        self.pending_names = kept;
        self.forget_unnamed();
        Ok(())
    }

    fn rename(&mut self, folders: BTreeSet<String>, change: NameChange) {
        self.current.apply(&change);
        self.sequence += 1;
        self.pending_names.push(PendingName { sequence: self.sequence, folders, change });
    }

    /// Drop files that no name leads to, now or after a crash.
    pub(crate) fn forget_unnamed(&mut self) {
        let mut named: BTreeSet<FileId> = self.current.files.values().copied().collect();
        named.extend(self.durable.files.values());
        for pending in &self.pending_names {
            match &pending.change {
                NameChange::Link { file, .. } | NameChange::Rename { file, .. } => {
                    named.insert(*file);
                }
                NameChange::Unlink { .. } | NameChange::MakeDirectory { .. } => {}
            }
        }
        self.files.retain(|id, _| named.contains(id));
    }
}

/// EIO.
pub(crate) fn error() -> io::Error {
    const EIO: i32 = 5;
    io::Error::from_raw_os_error(EIO)
}

pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The folder's parents, outermost first, and itself.
fn with_parents(path: &str) -> Vec<String> {
    let mut folders: Vec<String> =
        path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect();
    if !path.is_empty() {
        folders.push(path.to_owned());
    }
    folders
}
