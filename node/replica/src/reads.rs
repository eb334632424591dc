//! Requests that need to know that this cluster's leader still leads.
//!
//! ```text
//!   waiting ──► attempt (unique context) ──► Raft asks a quorum ──► index ──► applied? ──► ready
//!      ▲              │ no answer within the retry interval
//!      └──────────────┘
//! ```
//!
//! All that waits joins one attempt. An attempt that is given up hands its requests back to the
//! queue: an answer that still comes names a context that nobody waits for, and does nothing.

use std::collections::{BTreeMap, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};

use crate::Time;
use crate::config::{IN_FLIGHT_MAX, READ_ATTEMPTS_MAX, READ_RETRY_MS};
use crate::request_id::RequestId;

/// What becomes of a request once leadership is confirmed and the store has applied enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A client's read.
    Read(RequestId),
    /// A lease lives on.
    RenewLease(RequestId, i64),
    /// Tell what a lease has left.
    LeaseTimeLeft(RequestId, i64),
    /// Leases have ended.
    RevokeLeases(Vec<i64>),
}

#[derive(Debug)]
struct Waiting {
    purpose: Purpose,
    deadline: Time,
}

#[derive(Debug)]
struct Attempt {
    started: Time,
    requests: Vec<Waiting>,
}

/// Everything that waits for a confirmation or for the store.
#[derive(Debug)]
pub(crate) struct Reads {
    boot: u64,
    next_context: u64,
    waiting: Vec<Waiting>,
    attempts: BTreeMap<u64, Attempt>,
    /// Confirmed at an index that may not be applied, lowest first.
    confirmed: BTreeMap<u64, Vec<Waiting>>,
    len: usize,
}

impl Reads {
    pub(crate) fn new(boot: u64) -> Self {
        Self {
            boot,
            next_context: 0,
            waiting: Vec::new(),
            attempts: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            len: 0,
        }
    }

    /// Whether there is room for one more.
    pub(crate) fn has_room(&self) -> bool {
        self.len < IN_FLIGHT_MAX
    }

    pub(crate) fn push(&mut self, purpose: Purpose, deadline: Time) {
        self.len += 1;
        self.waiting.push(Waiting { purpose, deadline });
    }

    /// The context to ask Raft with, if anything waits and another attempt may start.
    pub(crate) fn start_attempt(&mut self, now: Time) -> Option<Bytes> {
        if self.waiting.is_empty() || self.attempts.len() >= READ_ATTEMPTS_MAX {
            return None;
        }
        self.next_context += 1;
        let requests = std::mem::take(&mut self.waiting);
        self.attempts.insert(self.next_context, Attempt { started: now, requests });
        let mut context = BytesMut::with_capacity(16);
        context.put_u64(self.boot);
        context.put_u64(self.next_context);
        Some(context.freeze())
    }

    /// A quorum confirmed an attempt. Contexts that nobody waits for are ignored.
    pub(crate) fn on_confirmed(&mut self, context: &[u8], index: u64) {
        let Some((boot, number)) = context.split_first_chunk::<8>() else { return };
        let Ok(number) = <[u8; 8]>::try_from(number) else { return };
        if u64::from_be_bytes(*boot) != self.boot {
            return;
        }
        if let Some(attempt) = self.attempts.remove(&u64::from_be_bytes(number)) {
            self.confirmed.entry(index).or_default().extend(attempt.requests);
        }
    }

    /// What may go on now that everything up to `applied` is applied.
    pub(crate) fn take_ready(&mut self, applied: u64) -> Vec<Purpose> {
        let mut ready = Vec::new();
        while let Some(entry) = self.confirmed.first_entry() {
            if *entry.key() > applied {
                break;
            }
            ready.extend(entry.remove().into_iter().map(|waiting| waiting.purpose));
        }
        self.len -= ready.len();
        ready
    }

    /// Give up every attempt: the leader is another, or leads anew. Reads that are confirmed
    /// stay so; what concerns leases needs the word of the leader that carries it out.
    pub(crate) fn restart_attempts(&mut self) {
        for (_, attempt) in std::mem::take(&mut self.attempts) {
            self.waiting.extend(attempt.requests);
        }
        for requests in self.confirmed.values_mut() {
            let lease = |waiting: &mut Waiting| !matches!(waiting.purpose, Purpose::Read(_));
            self.waiting.extend(requests.extract_if(.., lease));
        }
    }

    /// Questions about leases that wait to be asked: whoever leads now answers them.
    pub(crate) fn take_lease_questions(&mut self) -> Vec<Purpose> {
        let asks = |waiting: &mut Waiting| {
            matches!(waiting.purpose, Purpose::RenewLease(..) | Purpose::LeaseTimeLeft(..))
        };
        let taken: Vec<Purpose> =
            self.waiting.extract_if(.., asks).map(|waiting| waiting.purpose).collect();
        self.len -= taken.len();
        taken
    }

    /// Give up attempts without an answer, and return what waited too long and whether the
    /// store was what it waited for.
    pub(crate) fn on_tick(&mut self, now: Time) -> Vec<(Purpose, Stage)> {
        let stale: Vec<u64> = self
            .attempts
            .iter()
            .filter(|(_, attempt)| now.since(attempt.started) >= READ_RETRY_MS)
            .map(|(&number, _)| number)
            .collect();
        for number in stale {
            if let Some(attempt) = self.attempts.remove(&number) {
                self.waiting.extend(attempt.requests);
            }
        }
        let mut expired = Vec::new();
        expire(&mut self.waiting, now, Stage::Confirmation, &mut expired);
        for attempt in self.attempts.values_mut() {
            expire(&mut attempt.requests, now, Stage::Confirmation, &mut expired);
        }
        for requests in self.confirmed.values_mut() {
            expire(requests, now, Stage::Apply, &mut expired);
        }
        self.len -= expired.len();
        expired
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

/// What a request waited for when its time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A quorum's word.
    Confirmation,
    /// The store.
    Apply,
}

fn expire(
    requests: &mut Vec<Waiting>,
    now: Time,
    stage: Stage,
    expired: &mut Vec<(Purpose, Stage)>,
) {
    if requests.iter().all(|waiting| waiting.deadline > now) {
        return;
    }
    let mut kept = VecDeque::with_capacity(requests.len());
    for waiting in requests.drain(..) {
        if waiting.deadline > now {
            kept.push_back(waiting);
        } else {
            expired.push((waiting.purpose, stage));
        }
    }
    requests.extend(kept);
}
