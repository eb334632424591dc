//! A disk that fails: the simulated counterpart of the real one.
//!
//! [`FaultyDisk`] keeps in memory what programs see, what is durable, and the changes in between
//! in their order. Every choice comes from its seed, so that a run can be run again.
//!
//! ```text
//!   handle ── submit ──► queue ── complete_next ──► page cache ── sync ──► durable image
//!                          │        (the driver)         │                     │
//!                          └──────────── crash ──────────┴── a legal subset ──►┘
//! ```
//!
//! Invariants:
//! - Nothing happens on its own: an operation takes effect when the driver completes it.
//! - Operations of one handle take effect and complete in the order of their submission; those of
//!   two handles in any order that the driver chooses.
//! - After [`FaultyDisk::crash`], every synced byte and name is there, and of the others a subset
//!   that the policy allows. Operations still queued have happened up to a random one.
//! - Handles from before a crash are dead: they submit into the void.
//!
//! It never knows the time: latency is when the driver completes.

mod content;
mod crash;
mod fault;
mod handle;
mod random;
mod state;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use quorate_disk::{Completion, Operation, Ticket};

pub use crate::crash::CrashPolicy;
pub use crate::fault::FaultKind;
pub use crate::handle::{FaultyFiles, FaultyHandle};

use crate::fault::Faults;
use crate::random::Random;
use crate::state::State;

/// Bytes that reach the disk as one: a write can be torn between two of these.
pub const SECTOR: u64 = 512;

/// One of the owners of files on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandleId(pub u64);

/// The first operation in the queue of a handle, for a driver that chooses which one ends next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Whose it is.
    pub handle: HandleId,
    /// The owner's name for it.
    pub ticket: Ticket,
    /// What it does, with paths from the root of the disk.
    pub operation: Operation,
    /// Its place in the order of all submissions to this disk.
    pub order: u64,
    /// How many operations the handle has queued, this one with them.
    pub queued: usize,
}

/// Damage to what is at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corruption {
    /// Flip one bit (0 to 7) of the byte at `offset`.
    FlipBit {
        /// Bytes from the file's start.
        offset: u64,
        /// Which bit.
        bit: u8,
    },
    /// The sector reads as zeroes.
    ZeroSector {
        /// Number of the sector in the file.
        sector: u64,
    },
    /// Reads that touch the sector fail with EIO, until it is written.
    Unreadable {
        /// Number of the sector in the file.
        sector: u64,
    },
}

/// Everything on a disk at one moment: what is visible, what is durable, what is in between.
#[derive(Clone, Debug)]
pub struct Image(State);

#[derive(Debug)]
struct Queued {
    order: u64,
    ticket: Ticket,
    operation: Operation,
}

#[derive(Debug, Default)]
struct Queue {
    submitted: VecDeque<Queued>,
    completed: Vec<Completion>,
    /// Files of which something was not written: they are not renamed.
    unwritten: BTreeSet<String>,
}

impl Queue {
    fn may(&self, operation: &Operation) -> bool {
        !matches!(operation, Operation::Rename { from, .. } if self.unwritten.contains(&**from))
    }

    fn note(&mut self, operation: &Operation, result: &io::Result<()>) {
        match (operation, result) {
            (Operation::Remove { path }, _) => {
                self.unwritten.remove(&**path);
            }
            (
                Operation::Create { path, .. }
                | Operation::Write { path, .. }
                | Operation::Sync { path },
                Err(failure),
            ) if failure.kind() != io::ErrorKind::StorageFull => {
                self.unwritten.insert(path.to_string());
            }
            _ => {}
        }
    }
}

#[derive(Debug)]
struct Inner {
    state: State,
    queues: BTreeMap<HandleId, Queue>,
    next_handle: u64,
    order: u64,
    random: Random,
    faults: Faults,
}

/// The disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct FaultyDisk(Arc<Mutex<Inner>>);

impl FaultyDisk {
    /// An empty disk whose choices come from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::from_image(&Image(State::default()), seed)
    }

    /// A disk with this content, whose choices come from `seed`.
    #[must_use]
    pub fn from_image(image: &Image, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            state: image.0.clone(),
            queues: BTreeMap::new(),
            next_handle: 0,
            order: 0,
            random: Random::new(seed),
            faults: Faults::default(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A new owner of the files below `folder` (empty for the root), which is made durably.
    #[must_use]
    pub fn handle(&self, folder: &str) -> FaultyHandle {
        let mut inner = self.lock();
        inner.next_handle += 1;
        let id = HandleId(inner.next_handle);
        inner.queues.insert(id, Queue::default());
        inner.state.make_root(folder);
        FaultyHandle::new(self.clone(), id, folder)
    }

    /// The files below `folder`, to read.
    #[must_use]
    pub fn files(&self, folder: &str) -> Arc<FaultyFiles> {
        Arc::new(FaultyFiles::new(self.clone(), folder))
    }

    /// The first operation of each handle that has one queued, the oldest first.
    #[must_use]
    pub fn pending(&self) -> Vec<Pending> {
        let inner = self.lock();
        let mut pending: Vec<Pending> = inner
            .queues
            .iter()
            .filter_map(|(&handle, queue)| {
                queue.submitted.front().map(|first| Pending {
                    handle,
                    ticket: first.ticket,
                    operation: first.operation.clone(),
                    order: first.order,
                    queued: queue.submitted.len(),
                })
            })
            .collect();
        pending.sort_by_key(|pending| pending.order);
        pending
    }

    /// Carry out the oldest queued operation. False if there is none.
    pub fn complete_next(&self) -> bool {
        let mut inner = self.lock();
        let oldest = inner
            .queues
            .iter()
            .filter_map(|(&id, queue)| queue.submitted.front().map(|first| (first.order, id)))
            .min();
        match oldest {
            Some((_, id)) => inner.complete(id, None),
            None => false,
        }
    }

    /// Carry out everything that is queued, in the order of submission; how many that were.
    pub fn complete_all(&self) -> u64 {
        let mut count = 0;
        while self.complete_next() {
            count += 1;
        }
        count
    }

    /// Carry out the first queued operation of this handle, meeting `fault` if there is one and
    /// it fits the operation. False if nothing is queued.
    pub fn complete(&self, handle: HandleId, fault: Option<FaultKind>) -> bool {
        self.lock().complete(handle, fault)
    }

    /// The `nth` operation from now (1 for the next) that could meet this fault, on a path that
    /// begins with `prefix`, meets it. Writes meet write errors, a full disk, misdirection and
    /// loss; creations write errors and a full disk; syncs of files and folders sync errors;
    /// reads read errors.
    pub fn inject(&self, kind: FaultKind, prefix: &str, nth: u64) {
        self.lock().faults.arm(kind, prefix, nth);
    }

    /// Forget the injected faults that were not met.
    pub fn heal(&self) {
        self.lock().faults.disarm();
    }

    /// How many bytes all files may have; `None` for no bound. What is there stays there.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().state.capacity = bytes;
    }

    /// Damage a file at rest, both as it is visible and as it is durable.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is no such file.
    pub fn corrupt(&self, path: &str, corruption: Corruption) -> io::Result<()> {
        let mut inner = self.lock();
        let file = inner.state.file_mut(path)?;
        let kind = match corruption {
            Corruption::FlipBit { offset, bit } => {
                for content in [&mut file.current, &mut file.durable] {
                    let mut byte = [0];
                    content.read(offset, &mut byte);
                    content.put(offset, &[byte[0] ^ (1 << (bit & 7))]);
                }
                FaultKind::FlippedBit
            }
            Corruption::ZeroSector { sector } => {
                file.current.clear_in_sector(sector, 0);
                file.durable.clear_in_sector(sector, 0);
                FaultKind::ZeroedSector
            }
            Corruption::Unreadable { sector } => {
                file.unreadable.insert(sector);
                return Ok(());
            }
        };
        inner.faults.count(kind);
        Ok(())
    }

    /// Lose power: queued operations have happened up to a random one, what was not synced is
    /// there as far as the policy says, and all handles are dead.
    pub fn crash(&self, policy: CrashPolicy) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let queues = std::mem::take(&mut inner.queues);
        let lost = crash_with_queues(&mut inner.state, &queues, policy, &mut inner.random);
        inner.faults.count(FaultKind::Crash);
        if lost {
            inner.faults.count(FaultKind::TornByCrash);
        }
    }

    /// What [`FaultyDisk::crash`] could leave now, drawn from `seed`; this disk goes on.
    #[must_use]
    pub fn crash_image(&self, policy: CrashPolicy, seed: u64) -> Image {
        let inner = self.lock();
        let mut state = inner.state.clone();
        crash_with_queues(&mut state, &inner.queues, policy, &mut Random::new(seed));
        Image(state)
    }

    /// Everything that is on the disk; queued operations are not.
    #[must_use]
    pub fn image(&self) -> Image {
        Image(self.lock().state.clone())
    }

    /// Put the content of an image on this disk. Handles are dead afterwards.
    pub fn restore(&self, image: &Image) {
        let mut inner = self.lock();
        inner.queues.clear();
        inner.state = image.0.clone();
    }

    /// All files, as they are visible, with their lengths in bytes.
    #[must_use]
    pub fn list(&self) -> Vec<(String, u64)> {
        let inner = self.lock();
        let length = |id| inner.state.files.get(id).map_or(0, |file| file.current.length);
        inner.state.current.files.iter().map(|(path, id)| (path.clone(), length(id))).collect()
    }

    /// How many faults of each kind were met.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<FaultKind, u64> {
        self.lock().faults.counts()
    }
}

impl Inner {
    fn complete(&mut self, id: HandleId, chosen: Option<FaultKind>) -> bool {
        let Some(queue) = self.queues.get_mut(&id) else { return false };
        let Some(Queued { ticket, operation, .. }) = queue.submitted.pop_front() else {
            return false;
        };
        let may = queue.may(&operation);
        let (kinds, path): (&[FaultKind], &str) = match &operation {
            Operation::Write { path, .. } => (
                &[
                    FaultKind::WriteError,
                    FaultKind::NoSpace,
                    FaultKind::MisdirectedWrite,
                    FaultKind::LostWrite,
                ],
                path,
            ),
            Operation::Create { path, .. } => (&[FaultKind::WriteError, FaultKind::NoSpace], path),
            Operation::Sync { path } | Operation::SyncDirectory { path } => {
                (&[FaultKind::SyncError], path)
            }
            Operation::Truncate { path, .. }
            | Operation::Remove { path }
            | Operation::CreateDirectory { path } => (&[], path),
            Operation::Rename { from, .. } => (&[], from),
        };
        let met = self.faults.meet(kinds, path);
        let fault = chosen.filter(|kind| kinds.contains(kind)).or(met);
        let result = match may {
            true => self.state.execute(&operation, fault, &mut self.random),
            false => Err(io::Error::other("an earlier operation on the file failed")),
        };
        match &result {
            Err(failure) if failure.kind() == io::ErrorKind::StorageFull => {
                self.faults.count(FaultKind::NoSpace);
            }
            _ => {
                if let Some(kind) = fault {
                    self.faults.count(kind);
                }
            }
        }
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.note(&operation, &result);
            queue.completed.push(Completion { ticket, result });
        }
        true
    }
}

/// How many writes and syncs of one file the operations end with.
fn trailing_run(operations: &[&Operation]) -> usize {
    let file = |operation: &Operation| match operation {
        Operation::Write { path, .. } | Operation::Sync { path } => Some(path.clone()),
        _ => None,
    };
    let last = operations.last().and_then(|operation| file(operation));
    let run = operations.iter().rev();
    run.take_while(|operation| last.is_some() && file(operation) == last).count()
}

/// Let queued operations of each handle happen up to a random one, then lose power.
fn crash_with_queues(
    state: &mut State,
    queues: &BTreeMap<HandleId, Queue>,
    policy: CrashPolicy,
    random: &mut Random,
) -> bool {
    for queue in queues.values() {
        let length = queue.submitted.len() as u64;
        let happened = match policy {
            CrashPolicy::LoseUnsynced => 0,
            CrashPolicy::KeepAll => length,
            CrashPolicy::Prefix | CrashPolicy::Torn | CrashPolicy::Any => random.below(length + 1),
        };
        let happened: Vec<&Operation> = queue
            .submitted
            .iter()
            .take(happened as usize)
            .map(|queued| &queued.operation)
            .collect();
        // A disk may do writes that touch each other's file first and sync them once.
        let run = happened.len() - trailing_run(&happened);
        let late = match policy {
            CrashPolicy::LoseUnsynced | CrashPolicy::KeepAll => happened.len(),
            CrashPolicy::Prefix | CrashPolicy::Torn | CrashPolicy::Any => {
                run + random.below((happened.len() - run) as u64 + 1) as usize
            }
        };
        for (at, operation) in happened.into_iter().enumerate() {
            if at >= late && matches!(operation, Operation::Sync { .. }) {
                continue;
            }
            if state.execute(operation, None, random).is_err() {
                break;
            }
        }
    }
    state.crash(policy, random)
}
