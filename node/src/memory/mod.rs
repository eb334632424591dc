//! Memory for answers that clients have not taken yet.
//!
//! ```text
//!   range ── hold, grow ──► budget ◄── given back when the answer is sent, or its call ends
//!                             │ full: from those who do not read, what they hold is taken
//!                             ▼ still full: "too much", and nothing is built
//! ```
//! A client that asks for everything and does not read, or a thousand of them, cost the budget and
//! no more. Small answers have a part of it that large ones cannot take, so that a cluster goes on
//! while somebody lists it in a loop.
//!
//! It knows no requests. It is shared by the threads that serve clients.

mod machine;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// What is taken to be there if nobody says.
const LIMIT_DEFAULT: u64 = 2 << 30;
/// The part of the memory that answers may take together.
const SHARE: u64 = 4;
/// The part that they may take in any case: the rest may be the allocator's, which gives it again.
const SHARE_MIN: u64 = 16;
/// Of all memory, eighths that may be in use before answers get less.
const USED_EIGHTHS: u64 = 7;
/// The part of the budget that is for small answers alone.
const SMALL_SHARE: u64 = 4;
/// What a small answer is: a page of a list, but not the list.
const SMALL_BYTES: u64 = 256 << 10;
/// Answers below this are not counted: what surrounds a call costs as much.
pub(crate) const COUNTED_BYTES_MIN: u64 = 16 << 10;
/// How old what is known of the process's memory may be.
const LOOK: Duration = Duration::from_millis(100);
/// Whoever takes nothing for so long may lose the answer, if others need the room.
const STALLED: Duration = Duration::from_secs(5);

/// There is no room for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "etcdserver: the answers under way take all the memory there is for them; ask for less at a \
     time (a limit, or a stream of the range), or later"
)]
pub(crate) struct Full;

/// What can lose its bytes while nobody takes them.
pub(crate) trait Holder: Send + Sync {
    /// When bytes were last taken.
    fn last_taken(&self) -> Instant;
    /// Let go of them.
    fn give_up(&self);
}

/// The budget. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: u64,
    held: AtomicU64,
    known: Mutex<Known>,
    holders: Mutex<Holders>,
}

/// What is known of the process.
#[derive(Debug)]
struct Known {
    resident: u64,
    looked: Option<Instant>,
}

#[derive(Default)]
struct Holders {
    next: u64,
    all: HashMap<u64, Weak<dyn Holder>>,
}

impl std::fmt::Debug for Holders {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Holders").field("count", &self.all.len()).finish_non_exhaustive()
    }
}

/// Room that is held until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    shared: Arc<Shared>,
    bytes: u64,
}

/// A holder that is known until this is dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    shared: Arc<Shared>,
    number: u64,
}

impl Budget {
    /// A part of `limit` bytes, or of what the process may have.
    pub(crate) fn new(limit: Option<u64>) -> Self {
        let limit = limit.or_else(machine::limit_bytes).unwrap_or(LIMIT_DEFAULT);
        Self(Arc::new(Shared {
            limit,
            held: AtomicU64::new(0),
            known: Mutex::new(Known { resident: 0, looked: None }),
            holders: Mutex::default(),
        }))
    }

    /// Bytes that the process may have, as far as is known.
    pub(crate) fn limit_bytes(&self) -> u64 {
        self.0.limit
    }

    /// Bytes that are held.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.0.held.load(Relaxed)
    }

    /// Hold nothing yet.
    pub(crate) fn hold(&self) -> Held {
        Held { shared: self.0.clone(), bytes: 0 }
    }

    /// Note who can lose bytes.
    pub(crate) fn register(&self, holder: Weak<dyn Holder>) -> Registered {
        let mut holders = self.0.holders.lock();
        holders.next += 1;
        let number = holders.next;
        holders.all.insert(number, holder);
        Registered { shared: self.0.clone(), number }
    }
}

impl Held {
    /// Hold `more` bytes, too.
    ///
    /// # Errors
    /// [`Full`], and then no more is held than before.
    pub(crate) fn grow(&mut self, more: u64) -> Result<(), Full> {
        let is_small = self.bytes.saturating_add(more) <= SMALL_BYTES;
        if !self.shared.try_take(more, is_small) {
            self.shared.take_from_stalled();
            if !self.shared.try_take(more, is_small) {
                crate::metrics::answer_refused();
                return Err(Full);
            }
        }
        self.bytes += more;
        Ok(())
    }

    /// Hold exactly so many bytes, whether or not there is room: they are there already.
    pub(crate) fn set(&mut self, bytes: u64) {
        self.shared.held.fetch_add(bytes, Relaxed);
        self.shared.held.fetch_sub(self.bytes, Relaxed);
        self.bytes = bytes;
    }

    /// What is held.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The budget it is part of.
    pub(crate) fn budget(&self) -> Budget {
        Budget(self.shared.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.held.fetch_sub(self.bytes, Relaxed);
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shared.holders.lock().all.remove(&self.number);
    }
}

impl Shared {
    fn try_take(&self, more: u64, is_small: bool) -> bool {
        let all = self.allowed();
        let allowed = if is_small { all } else { all - all / SMALL_SHARE };
        let taken = self.held.fetch_update(Relaxed, Relaxed, |held| {
            held.checked_add(more).filter(|held| *held <= allowed)
        });
        taken.is_ok()
    }

    /// What may be held now: less, when other things take the memory.
    fn allowed(&self) -> u64 {
        let (share, least) = (self.limit / SHARE, self.limit / SHARE_MIN);
        let others = self.resident().saturating_sub(self.held.load(Relaxed));
        let free = (self.limit / 8 * USED_EIGHTHS).saturating_sub(others);
        free.clamp(least, share)
    }

    fn resident(&self) -> u64 {
        let mut known = self.known.lock();
        if known.looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
            known.resident = machine::resident_bytes();
            known.looked = Some(Instant::now());
        }
        known.resident
    }

    /// Whoever does not read has waited long enough.
    fn take_from_stalled(&self) {
        let holders: Vec<Arc<dyn Holder>> =
            self.holders.lock().all.values().filter_map(Weak::upgrade).collect();
        // Their ends take the lock again.
        for holder in holders.iter().filter(|holder| holder.last_taken().elapsed() >= STALLED) {
            holder.give_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A budget of 64 MiB: a quarter of what there is.
    fn budget() -> Budget {
        Budget::new(Some(256 << 20))
    }

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_is_held_is_bounded_and_given_back() {
        let budget = budget();
        let mut first = budget.hold();
        first.grow(40 * MIB).expect("room");
        let mut second = budget.hold();
        assert_eq!(second.grow(20 * MIB), Err(Full), "a quarter is for small ones");
        assert_eq!((second.bytes(), budget.held_bytes()), (0, 40 * MIB));
        second.grow(8 * MIB).expect("room");
        let mut small = budget.hold();
        small.grow(SMALL_BYTES).expect("room for a small one");
        drop(first);
        second.grow(20 * MIB).expect("room again");
        second.set(MIB);
        drop((second, small));
        assert_eq!(budget.held_bytes(), 0);
    }

    struct Slow {
        held: Mutex<Option<Held>>,
        last: Instant,
    }

    impl Holder for Slow {
        fn last_taken(&self) -> Instant {
            self.last
        }

        fn give_up(&self) {
            *self.held.lock() = None;
        }
    }

    #[test]
    fn whoever_does_not_read_loses_what_others_need() {
        let budget = budget();
        let holder = |last: Instant| {
            let mut held = budget.hold();
            held.grow(20 * MIB).expect("room");
            let slow = Arc::new(Slow { held: Mutex::new(Some(held)), last });
            let weak: Weak<dyn Holder> = Arc::downgrade(&(slow.clone() as Arc<dyn Holder>));
            (slow, budget.register(weak))
        };
        let long_ago = Instant::now().checked_sub(2 * STALLED).expect("the machine is older");
        let (stalled, _first) = holder(long_ago);
        let (reads, second) = holder(Instant::now());
        let mut other = budget.hold();
        other.grow(20 * MIB).expect("room that the stalled one had");
        assert!(stalled.held.lock().is_none());
        assert!(reads.held.lock().is_some());
        drop(second);
        assert_eq!(budget.0.holders.lock().all.len(), 1);
    }
}
