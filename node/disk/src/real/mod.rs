//! The real disk: a folder of the file system.
//!
//! ```text
//!   RealDisk::threaded   submit ─► queue ─► thread: runs of one file, one sync ─► completed ─► poll
//!                                                                       └► waker
//!   RealDisk::with_worker   the same, but whoever submits says whether the thread is to do it
//!   RealDisk::inline     submit ─► at once, on the caller's thread ─► poll
//!   onto_thread          what was inline goes on with a thread, and its readers with it
//! ```
//!
//! The thread takes what is queued: writes and syncs of one file that follow each other become
//! one write where their bytes touch, and one sync. That sync is later than each one asked for,
//! so it covers at least as much.
//!
//! Invariants: one `RealDisk` for a folder at a time, as descriptors are cached by name; folders
//! have mode 0700, files 0600; dropping the disk waits until everything submitted has ended.

mod descriptors;
mod executor;
mod work;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use crate::{Completion, Disk, Files, Operation, Ticket};
use descriptors::Descriptors;
use executor::Executor;
use work::Work;
pub use work::Worker;

/// Called, from the disk's thread, when completions have arrived.
pub type Waker = Box<dyn Fn() + Send + Sync>;

/// Hears what operations took.
pub type Observer = Arc<dyn Fn(Measured) + Send + Sync>;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// Bytes given to the kernel.
    Write,
    /// The wait until data is durable.
    Sync,
    /// A file was made, with its zeroes.
    Create,
}

/// How long one call took, and how much it moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Of what kind it was.
    pub timing: Timing,
    /// Bytes written; 0 for a sync.
    pub bytes: u64,
    /// How long it took.
    pub duration: Duration,
}

/// A folder of the file system, to change.
pub struct RealDisk {
    files: Arc<RealFiles>,
    mode: Mode,
}

enum Mode {
    Inline {
        executor: Executor,
        completed: Vec<Completion>,
    },
    Threaded {
        work: Arc<Work>,
        wakes: Wakes,
        /// `None` only while it is dropped.
        thread: Option<JoinHandle<()>>,
    },
}

/// When the thread hears of what was submitted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wakes {
    AtOnce,
    /// When a [`Worker`] says so.
    WhenTold,
}

impl fmt::Debug for RealDisk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RealDisk").field("root", &self.files.descriptors.root()).finish()
    }
}

impl RealDisk {
    /// A disk that does everything when it is submitted, on the caller's thread: for when a
    /// change of threads costs more than waiting.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn inline(root: impl Into<PathBuf>, observer: Observer) -> io::Result<Self> {
        let files = RealFiles::open(root)?;
        let executor = Executor::new(files.descriptors.clone(), observer);
        Ok(Self { files, mode: Mode::Inline { executor, completed: Vec::new() } })
    }

    /// A disk with a thread of its own.
    ///
    /// # Errors
    /// If the folder cannot be made, or the thread not be started.
    pub fn threaded(
        root: impl Into<PathBuf>,
        thread_name: &str,
        observer: Observer,
        waker: Waker,
    ) -> io::Result<Self> {
        Ok(Self::start(root.into(), thread_name, observer, waker, Wakes::AtOnce)?.0)
    }

    /// This disk, with a thread of its own from now on. Who reads by [`Disk::files`] goes on doing so,
    /// and lets go of what is removed later.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn onto_thread(
        mut self,
        thread_name: &str,
        observer: Observer,
        waker: Waker,
    ) -> io::Result<Self> {
        let files = self.files.clone();
        let mut completed = Vec::new();
        self.poll(&mut completed);
        drop(self);
        Ok(Self::start_on(files, completed, thread_name, observer, waker, Wakes::AtOnce)?.0)
    }

    /// The same, but that whoever submits has to say who carries it out: see [`Worker`].
    ///
    /// # Errors
    /// As [`threaded`](Self::threaded).
    pub fn with_worker(
        root: impl Into<PathBuf>,
        thread_name: &str,
        observer: Observer,
        waker: Waker,
    ) -> io::Result<(Self, Worker)> {
        Self::start(root.into(), thread_name, observer, waker, Wakes::WhenTold)
    }

    fn start(
        root: PathBuf,
        thread_name: &str,
        observer: Observer,
        waker: Waker,
        wakes: Wakes,
    ) -> io::Result<(Self, Worker)> {
        let files = RealFiles::open(root)?;
        Self::start_on(files, Vec::new(), thread_name, observer, waker, wakes)
    }

    fn start_on(
        files: Arc<RealFiles>,
        completed: Vec<Completion>,
        thread_name: &str,
        observer: Observer,
        waker: Waker,
        wakes: Wakes,
    ) -> io::Result<(Self, Worker)> {
        let executor = Executor::new(files.descriptors.clone(), observer);
        let work = Arc::new(Work::new(executor, completed));
        let worker = Worker(work.clone());
        let run = {
            let work = work.clone();
            move || work.run(&*waker)
        };
        let thread = std::thread::Builder::new().name(thread_name.to_owned()).spawn(run)?;
        let mode = Mode::Threaded { work, wakes, thread: Some(thread) };
        Ok((Self { files, mode }, worker))
    }
}

impl Disk for RealDisk {
    fn submit(&mut self, ticket: Ticket, operation: Operation) {
        match &mut self.mode {
            Mode::Inline { executor, completed } => {
                let mut queue = VecDeque::from([(ticket, operation)]);
                executor.run_some(&mut queue, completed);
            }
            Mode::Threaded { work, wakes, .. } => {
                work.push(ticket, operation);
                if *wakes == Wakes::AtOnce {
                    work.wake();
                }
            }
        }
    }

    fn poll(&mut self, completions: &mut Vec<Completion>) {
        match &mut self.mode {
            Mode::Inline { completed, .. } => completions.append(completed),
            Mode::Threaded { work, .. } => work.take_completed(completions),
        }
    }

    fn files(&self) -> Arc<dyn Files> {
        self.files.clone()
    }
}

impl Drop for RealDisk {
    fn drop(&mut self) {
        if let Mode::Threaded { work, thread, .. } = &mut self.mode {
            work.end();
            if let Some(thread) = thread.take() {
                // Its panic has been reported where it happened.
                let _ = thread.join();
            }
        }
    }
}

/// A folder of the file system, to read.
#[derive(Debug)]
pub struct RealFiles {
    descriptors: Arc<Descriptors>,
}

impl RealFiles {
    fn open(root: impl Into<PathBuf>) -> io::Result<Arc<Self>> {
        let root = root.into();
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&root)?;
        Ok(Arc::new(Self { descriptors: Arc::new(Descriptors::new(root)) }))
    }
}

impl Files for RealFiles {
    fn read(&self, path: &str, offset: u64, length: usize) -> io::Result<Bytes> {
        let file = self.descriptors.get(path)?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes.into())
    }

    fn length(&self, path: &str) -> io::Result<u64> {
        Ok(self.descriptors.get(path)?.metadata()?.len())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(self.descriptors.path(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}
