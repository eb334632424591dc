//! Which cluster is looked at next, and when.
//!
//! Invariants: a cluster that is being looked at is not started again before that look has ended; a
//! request that comes meanwhile is not lost; looks at one cluster begin at least [`GAP`] apart; one
//! that fails is tried again later and later.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::operator::Key;

/// Between two looks at one cluster.
const GAP: Duration = Duration::from_millis(100);
/// How soon a look is repeated that failed, at first and at last.
const FAILED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How often that is as soon as at first: members refuse changes for some seconds after each other.
const EAGER_FAILURES: u32 = 5;
/// The same for one that only found something changed.
const OUTDATED: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// The same after a look that failed: what has happened since may have mended it, or not.
const GAP_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// The same after many, and how many they are.
const GAP_AFTER_FAILURES: Duration = Duration::from_secs(5);
const FAILURES_MANY: u32 = 8;

/// How a look ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Look again after this time.
    Again(Duration),
    /// There is nothing to look at any more.
    Gone,
    /// Something had changed meanwhile.
    Outdated,
    /// It came to nothing.
    Failed,
}

/// The clusters that there are.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: HashMap<Key, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// When to look next.
    due: Instant,
    /// When the last look began.
    begun: Option<Instant>,
    is_running: bool,
    /// Whether something has happened since the look began.
    again: bool,
    /// Looks that failed, one behind the other.
    failures: u32,
    /// Looks that found something changed, one behind the other.
    outdated: u32,
}

impl Entry {
    /// Something has happened: the next look is as early as it may be.
    fn hurry(&mut self, now: Instant) {
        let gap = match self.failures {
            0 => GAP,
            failures if failures < FAILURES_MANY => GAP_AFTER_FAILURE,
            _ => GAP_AFTER_FAILURES,
        };
        let earliest = self.begun.map_or(now, |begun| now.max(begun + gap));
        self.due = self.due.min(earliest);
    }
}

impl Queue {
    /// Something has happened to a cluster.
    pub(super) fn request(&mut self, key: Key, now: Instant) {
        let entry = self.entries.entry(key).or_insert(Entry {
            due: now,
            begun: None,
            is_running: false,
            again: false,
            failures: 0,
            outdated: 0,
        });
        if entry.is_running {
            entry.again = true;
        } else {
            entry.hurry(now);
        }
    }

    /// When the next look is due, of clusters that are not being looked at.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting().map(|(_, entry)| entry.due).min()
    }

    /// Begins the look that has been due for longest.
    pub(super) fn start(&mut self, now: Instant) -> Option<Key> {
        let due = self.waiting().filter(|(_, entry)| entry.due <= now);
        let key = due.min_by_key(|(_, entry)| entry.due).map(|(key, _)| key.clone())?;
        let entry = self.entries.get_mut(&key)?;
        entry.is_running = true;
        entry.again = false;
        entry.begun = Some(now);
        Some(key)
    }

    /// A look has ended.
    pub(super) fn finish(&mut self, key: Key, outcome: Outcome, now: Instant) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.is_running = false;
        let wait = match outcome {
            Outcome::Gone if !entry.again => {
                self.entries.remove(&key);
                return;
            }
            Outcome::Gone => Duration::ZERO,
            Outcome::Again(time) => {
                entry.failures = 0;
                entry.outdated = 0;
                time
            }
            Outcome::Outdated => {
                entry.outdated = entry.outdated.saturating_add(1);
                growing(OUTDATED, entry.outdated)
            }
            Outcome::Failed => {
                entry.failures = entry.failures.saturating_add(1);
                growing(FAILED, entry.failures.saturating_sub(EAGER_FAILURES))
            }
        };
        entry.due = now + wait;
        if std::mem::take(&mut entry.again) {
            entry.hurry(now);
        }
    }

    fn waiting(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter().filter(|(_, entry)| !entry.is_running)
    }
}

/// A time that doubles.
fn growing((first, last): (Duration, Duration), times: u32) -> Duration {
    first.saturating_mul(1 << times.saturating_sub(1).min(16)).min(last)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{GAP, GAP_AFTER_FAILURES, Outcome, Queue};
    use crate::operator::Key;

    fn key(name: &str) -> Key {
        Key::new("ns", name)
    }

    #[test]
    fn a_cluster_is_looked_at_once_at_a_time_and_no_request_is_lost() {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.request(key("a"), now);
        assert_eq!(queue.start(now), Some(key("a")));
        assert_eq!((queue.start(now), queue.next_due()), (None, None));
        queue.request(key("a"), now);
        assert_eq!(queue.start(now + GAP), None, "it is being looked at");
        queue.finish(key("a"), Outcome::Again(Duration::from_secs(30)), now);
        assert_eq!(queue.start(now), None, "not so soon");
        assert_eq!(queue.start(now + GAP), Some(key("a")));
        queue.finish(key("a"), Outcome::Again(Duration::from_secs(30)), now + GAP);
        assert_eq!(queue.next_due(), Some(now + GAP + Duration::from_secs(30)));
    }

    #[test]
    fn what_fails_is_tried_less_and_less_often() {
        let mut queue = Queue::default();
        let mut now = Instant::now();
        queue.request(key("a"), now);
        let mut waits = Vec::new();
        for _ in 0..12 {
            assert_eq!(queue.start(now), Some(key("a")));
            queue.finish(key("a"), Outcome::Failed, now);
            let due = queue.next_due().expect("it is tried again");
            waits.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(waits, [1, 1, 1, 1, 1, 1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(queue.start(now), Some(key("a")));
        queue.request(key("a"), now);
        queue.finish(key("a"), Outcome::Failed, now);
        let heard = now + GAP_AFTER_FAILURES;
        assert_eq!(queue.next_due(), Some(heard), "a request is heard, with patience");
        now = heard;
        assert_eq!(queue.start(now), Some(key("a")));
        queue.finish(key("a"), Outcome::Again(Duration::from_secs(5)), now);
        queue.request(key("a"), now);
        assert_eq!(queue.next_due(), Some(now + GAP), "it works again");
    }

    #[test]
    fn the_one_that_waits_longest_comes_first_and_who_is_gone_is_forgotten() {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.request(key("late"), now + GAP);
        queue.request(key("early"), now);
        let later = now + GAP * 2;
        assert_eq!(queue.start(later), Some(key("early")));
        queue.finish(key("early"), Outcome::Gone, later);
        assert_eq!(queue.start(later), Some(key("late")));
        queue.request(key("late"), later);
        queue.finish(key("late"), Outcome::Gone, later);
        assert!(queue.next_due().is_some(), "it is there again");
    }
}
