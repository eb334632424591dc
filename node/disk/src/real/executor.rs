//! Carries operations out, in their order.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::descriptors::Descriptors;
use super::{Measured, Observer, Timing};
use crate::{Completion, Operation, Path, Ticket};

/// Pieces that the kernel takes at once (`IOV_MAX`).
const PIECES_MAX: usize = 1024;

/// Operations that one sync may wait for, so that a steady stream of writes cannot hold back the
/// completion of the first.
const RUN_MAX: usize = 64;

static ZEROES: [u8; 128 << 10] = [0; 128 << 10];

pub(crate) struct Executor {
    descriptors: Arc<Descriptors>,
    observer: Observer,
    /// Files of which something was not written. What follows in the queue was submitted before
    /// anybody could know, and must not give them a name that vouches for them.
    unwritten: BTreeSet<Path>,
}

/// Writes that touch each other.
struct Run {
    offset: u64,
    end: u64,
    data: Vec<Bytes>,
    count: usize,
}

impl Executor {
    pub(crate) fn new(descriptors: Arc<Descriptors>, observer: Observer) -> Self {
        Self { descriptors, observer, unwritten: BTreeSet::new() }
    }

    /// Carry out the first operation, with those that can be done together with it.
    pub(crate) fn run_some(
        &mut self,
        queue: &mut VecDeque<(Ticket, Operation)>,
        done: &mut Vec<Completion>,
    ) {
        let path = match queue.front() {
            None => return,
            Some((_, Operation::Write { path, .. } | Operation::Sync { path })) => path.clone(),
            Some(_) => {
                if let Some((ticket, operation)) = queue.pop_front() {
                    let result = self.run_one(operation);
                    done.push(Completion { ticket, result });
                }
                return;
            }
        };
        let file = self.descriptors.get(&path);
        let mut tickets = Vec::new();
        let mut runs: Vec<Run> = Vec::new();
        while tickets.len() < RUN_MAX {
            match queue.front() {
                Some((_, Operation::Write { path: at, .. } | Operation::Sync { path: at }))
                    if *at == path => {}
                _ => break,
            }
            match queue.pop_front() {
                Some((ticket, Operation::Write { offset, data, .. })) => {
                    add(&mut runs, offset, data);
                    tickets.push((ticket, Some(runs.len() - 1)));
                }
                Some((ticket, _)) => tickets.push((ticket, None)),
                None => break,
            }
        }
        let file = match &file {
            Ok(file) => file,
            Err(error) => {
                let failed = tickets.into_iter().map(|(ticket, _)| ticket);
                done.extend(failed.map(|ticket| Completion { ticket, result: Err(copy(error)) }));
                return;
            }
        };
        let written: Vec<io::Result<()>> =
            runs.into_iter().map(|run| self.write(file, run)).collect();
        let needs_sync = tickets.iter().any(|(_, run)| run.is_none());
        let synced = if needs_sync { self.sync(file) } else { Ok(()) };
        if written.iter().chain([&synced]).any(is_failure) {
            self.unwritten.insert(path);
        }
        for (ticket, run) in tickets {
            let result = match run {
                Some(run) => written.get(run).unwrap_or(&synced),
                None => &synced,
            };
            let result = result.as_ref().copied().map_err(copy);
            done.push(Completion { ticket, result });
        }
    }

    fn run_one(&mut self, operation: Operation) -> io::Result<()> {
        let descriptors = self.descriptors.clone();
        let at = |path: &Path| descriptors.path(path);
        match operation {
            Operation::Create { path, size } => {
                let created = self.create(&path, size);
                if is_failure(&created) {
                    self.unwritten.insert(path);
                }
                created
            }
            Operation::Write { path, offset, data } => {
                let mut runs = Vec::new();
                add(&mut runs, offset, data);
                let file = self.descriptors.get(&path)?;
                runs.into_iter().try_for_each(|run| self.write(&file, run))
            }
            Operation::Sync { path } => self.sync(&*self.descriptors.get(&path)?),
            Operation::Truncate { path, size } => self.descriptors.get(&path)?.set_len(size),
            Operation::Rename { from, .. } if self.unwritten.contains(&from) => {
                Err(io::Error::other("an earlier operation on the file failed"))
            }
            Operation::Rename { from, to } => {
                self.descriptors.change(&[&from, &to], || std::fs::rename(at(&from), at(&to)))
            }
            Operation::Remove { path } => {
                self.unwritten.remove(&path);
                self.descriptors.change(&[&path], || match std::fs::remove_file(at(&path)) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                    result => result,
                })
            }
            Operation::CreateDirectory { path } => {
                DirBuilder::new().recursive(true).mode(0o700).create(at(&path))
            }
            Operation::SyncDirectory { path } => {
                let folder = File::open(at(&path))?;
                let start = Instant::now();
                folder.sync_all()?;
                self.measure(Timing::Sync, 0, start);
                Ok(())
            }
        }
    }

    fn create(&self, path: &str, size: u64) -> io::Result<()> {
        let start = Instant::now();
        self.descriptors.change(&[path], || {
            OpenOptions::new()
                .create_new(true)
                .write(true)
                .mode(0o600)
                .open(self.descriptors.path(path))
                .map(drop)
        })?;
        let file = self.descriptors.get(path)?;
        let mut written = 0;
        while written < size {
            let piece = (size - written).min(ZEROES.len() as u64);
            let slices = [IoSlice::new(ZEROES.get(..piece as usize).unwrap_or(&ZEROES))];
            written += write_some(&file, &slices, written)?;
        }
        self.measure(Timing::Create, size, start);
        Ok(())
    }

    fn write(&self, file: &File, run: Run) -> io::Result<()> {
        let start = Instant::now();
        let Run { mut offset, end, data, .. } = run;
        let bytes = end - offset;
        let mut slices: Vec<IoSlice<'_>> = data.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut rest = slices.as_mut_slice();
        while offset < end {
            let count = rest.len().min(PIECES_MAX);
            let written = write_some(file, rest.get(..count).unwrap_or(&[]), offset)?;
            offset += written;
            IoSlice::advance_slices(&mut rest, written as usize);
        }
        self.measure(Timing::Write, bytes, start);
        Ok(())
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let start = Instant::now();
        rustix::fs::fdatasync(file)?;
        self.measure(Timing::Sync, 0, start);
        Ok(())
    }

    fn measure(&self, timing: Timing, bytes: u64, start: Instant) {
        (self.observer)(Measured { timing, bytes, duration: start.elapsed() });
    }
}

/// Add a write to the last run if it goes on where that ends, else begin another.
fn add(runs: &mut Vec<Run>, offset: u64, mut data: Vec<Bytes>) {
    let length: u64 = data.iter().map(|piece| piece.len() as u64).sum();
    match runs.last_mut() {
        Some(run) if run.end == offset && run.count + data.len() <= PIECES_MAX => {
            run.end += length;
            run.count += data.len();
            run.data.append(&mut data);
        }
        _ => runs.push(Run { offset, end: offset + length, count: data.len(), data }),
    }
}

/// One call; how many bytes it took, at least one.
fn write_some(file: &File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<u64> {
    loop {
        match rustix::io::pwritev(file, slices, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => return Ok(written as u64),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Whether something was not written, and not only for want of room: then it is tried again.
fn is_failure(result: &io::Result<()>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::StorageFull)
}

fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}
