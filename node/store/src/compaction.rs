//! How far compaction is: what is decided, and what is carried out.
//!
//! ```text
//!   applied:  scheduled ── visible at once: reads below it are refused
//!   job:      hash ─────── of all that is found; nothing is dropped before it is complete
//!             target ──── leaf by leaf, dropped records are released, unless a pin holds it
//!   done:     finished ── nothing at or below it that compaction does not keep
//! ```
//! Carrying out changes no answer but that of HashKV at the compacted revision, and that only as
//! etcd's does, so members may be at different points of it.
//!
//! One compaction at a time is hashed: one that is decided while another's hash is not complete
//! has none, as in etcd where the one before it was not finished.

use std::collections::BTreeMap;

use crate::hash::{CompactionHash, CompactionHasher, Remembered};

/// The compacted revision of a store that never was: etcd's value, which its clients see.
pub const NEVER: i64 = -1;

/// Holds back the carrying out of compactions, until given back.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a lost pin holds compaction back for ever"]
pub struct Pin {
    id: u64,
    revision: i64,
}

impl Pin {
    /// The main revision that was current when the pin was taken.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is nothing to drop.
    Idle,
    /// A pin holds it back, or a hash that is computed elsewhere.
    Held,
    /// There is more to do.
    More,
    /// The compaction to this revision is complete.
    Finished(i64),
}

/// Whether a compaction leaves a hash behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trace {
    /// If no other compaction is being hashed.
    Hash,
    /// Whatever else goes on.
    None,
}

/// The state of compaction.
#[derive(Clone, Debug)]
pub struct Compaction {
    scheduled: i64,
    finished: i64,
    running: Option<Running>,
    hashing: Hashing,
    remembered: Remembered,
    pins: BTreeMap<u64, i64>,
    next_pin: u64,
    /// Changes that were dropped since the process began.
    dropped: u64,
}

/// The hash of the newest compaction, before which nothing of that is carried out.
#[derive(Clone, Debug)]
enum Hashing {
    /// It has one or gets none.
    Idle,
    /// It is computed here.
    Here(Box<CompactionHasher>),
    /// It is computed elsewhere.
    Lent { revision: i64 },
}

#[derive(Clone, Debug)]
struct Running {
    target: i64,
    from: Box<[u8]>,
}

impl Default for Compaction {
    fn default() -> Self {
        Self::restore(NEVER, NEVER)
    }
}

impl Compaction {
    /// The state as it was stored.
    #[must_use]
    pub fn restore(scheduled: i64, finished: i64) -> Self {
        let scheduled = scheduled.max(finished);
        Self {
            scheduled,
            finished,
            running: None,
            hashing: Hashing::Idle,
            remembered: Remembered::default(),
            pins: BTreeMap::new(),
            next_pin: 0,
            dropped: 0,
        }
    }

    /// The newest compaction decided; what reads compare with. [`NEVER`] if there was none.
    #[must_use]
    pub fn scheduled(&self) -> i64 {
        self.scheduled
    }

    /// The newest compaction carried out in full. [`NEVER`] if there was none.
    #[must_use]
    pub fn finished(&self) -> i64 {
        self.finished
    }

    /// Decide a compaction.
    pub(crate) fn schedule(&mut self, revision: i64, trace: Trace) {
        assert!(revision > self.scheduled, "compactions go forward");
        if let (Trace::Hash, Hashing::Idle) = (trace, &self.hashing) {
            let hasher = CompactionHasher::new(self.scheduled, revision);
            self.hashing = Hashing::Here(Box::new(hasher));
        }
        self.scheduled = revision;
    }

    /// The hashes of the last compactions.
    #[must_use]
    pub fn remembered(&self) -> &Remembered {
        &self.remembered
    }

    pub(crate) fn set_remembered(&mut self, remembered: Remembered) {
        self.remembered = remembered;
    }

    pub(crate) fn lend_hasher(&mut self) -> Option<CompactionHasher> {
        let Hashing::Here(hasher) = &self.hashing else { return None };
        let lent = Hashing::Lent { revision: hasher.revision() };
        match std::mem::replace(&mut self.hashing, lent) {
            Hashing::Here(hasher) => Some(*hasher),
            Hashing::Idle | Hashing::Lent { .. } => None,
        }
    }

    /// Take a hasher back that is not done.
    pub(crate) fn give_hasher(&mut self, hasher: CompactionHasher) {
        self.hashing = Hashing::Here(Box::new(hasher));
    }

    /// Take the hash of what was lent.
    pub(crate) fn give_hash(&mut self, hash: CompactionHash) {
        if matches!(self.hashing, Hashing::Lent { revision } if revision == hash.revision) {
            self.hashing = Hashing::Idle;
            self.remembered.push(hash);
        }
    }

    /// What was lent is lost.
    pub(crate) fn give_hash_up(&mut self) {
        if matches!(self.hashing, Hashing::Lent { .. }) {
            self.hashing = Hashing::Idle;
        }
    }

    /// Whether a compaction waits for its hash, and nobody computes it.
    #[must_use]
    pub fn is_hash_due(&self) -> bool {
        matches!(self.hashing, Hashing::Here(_))
    }

    /// Hold the carrying out back.
    pub(crate) fn pin(&mut self, revision: i64) -> Pin {
        let id = self.next_pin;
        self.next_pin = id.wrapping_add(1);
        self.pins.insert(id, revision);
        Pin { id, revision }
    }

    /// Give a pin back.
    pub(crate) fn unpin(&mut self, pin: &Pin) {
        self.pins.remove(&pin.id);
    }

    /// How many hold it back.
    #[must_use]
    pub fn pin_count(&self) -> usize {
        self.pins.len()
    }

    /// The lowest pinned revision.
    #[must_use]
    pub fn lowest_pin(&self) -> Option<i64> {
        self.pins.values().min().copied()
    }

    /// Whether a step would do something now.
    #[must_use]
    pub fn is_due(&self) -> bool {
        match self.hashing {
            Hashing::Here(_) => true,
            Hashing::Lent { .. } => false,
            Hashing::Idle => self.pins.is_empty() && self.finished < self.scheduled,
        }
    }

    /// So many changes were dropped.
    pub(crate) fn note_dropped(&mut self, changes: usize) {
        self.dropped = self.dropped.saturating_add(changes as u64);
    }

    /// Changes that compaction dropped since the process began.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Revision and place of the next step.
    pub(crate) fn next(&mut self) -> Result<(i64, Box<[u8]>), Progress> {
        if self.finished >= self.scheduled {
            return Err(Progress::Idle);
        }
        if !self.pins.is_empty() || !matches!(self.hashing, Hashing::Idle) {
            return Err(Progress::Held);
        }
        let scheduled = self.scheduled;
        let start = || Running { target: scheduled, from: Box::default() };
        let running = self.running.get_or_insert_with(start);
        Ok((running.target, running.from.clone()))
    }

    /// A step is done; `from` is where the next one begins.
    pub(crate) fn advance(&mut self, from: Option<Box<[u8]>>) -> Progress {
        let running = self.running.as_mut().expect("a step had been begun");
        match from {
            Some(from) => {
                running.from = from;
                Progress::More
            }
            None => {
                self.finished = running.target;
                self.running = None;
                Progress::Finished(self.finished)
            }
        }
    }
}
