//! When leases end.
//!
//! The store holds which leases there are; how much time they have left is known to the leader
//! alone, and written to the log from time to time so that the next leader goes on from there
//! instead of from the whole time to live.
//!
//! ```text
//!   grant/renew                 checkpoint            checkpoint                deadline
//!      ├──── min(TTL/3, 5 min) + 1 s ──┼──────────────────────┼───── … ──────────────┤
//!                                  remaining=…             remaining=…            revoke
//! ```
//!
//! Renewing a lease that has a checkpoint first commits a checkpoint of zero: otherwise the next
//! leader would go on from the old one and end the lease early. A checkpoint that is on its way
//! counts as one that the lease has.

use std::collections::{BTreeMap, BTreeSet};

use crate::Time;
use crate::event::{LeaseChange, LeaseFact};

/// Longest time between checkpoints of a lease.
const CHECKPOINT_INTERVAL_MAX_MS: u64 = 300_000;
/// Added to a third of the time to live, which is when clients renew: a lease that is kept alive
/// in time needs no checkpoint.
const CHECKPOINT_SLACK_MS: u64 = 1_000;
/// Leases revoked at one time (etcd's `leaseRevokeRate` per second).
pub(crate) const REVOKES_IN_FLIGHT_MAX: usize = 1_000;
/// Leases in one checkpoint request (etcd's `maxLeaseCheckpointBatchSize`).
const CHECKPOINT_BATCH_MAX: usize = 1_000;
/// After this a revoke or checkpoint that was not applied is proposed anew.
const RETRY_MS: u64 = 3_000;

#[derive(Clone, Debug)]
struct Lease {
    ttl_seconds: i64,
    /// As in the log; zero for none.
    checkpoint_seconds: i64,
    /// The checkpoint that is in this leader's log and not yet applied. It says what was left
    /// before any renewal from now on. A zero that is applied meanwhile stood before it.
    checkpointing: Option<i64>,
    deadline: Time,
    next_checkpoint: Time,
    /// Until when its revoke is awaited.
    revoking: Option<Time>,
}

/// The deadlines of all leases, which run only on a leader.
#[derive(Debug, Default)]
pub(crate) struct LeaseClock {
    leases: BTreeMap<i64, Lease>,
    /// Empty when the clock stands.
    deadlines: BTreeSet<(Time, i64)>,
    checkpoints: BTreeSet<(Time, i64)>,
    /// When to revoke again what was to be revoked and is still there.
    retries: BTreeSet<(Time, i64)>,
    running: bool,
}

/// A renewal's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// There is no such lease.
    NotFound,
    /// Its time is over, and its keys are still there: until its revoke is applied nobody knows
    /// whether it will not live on under another leader.
    Ended,
    /// No deadline runs yet.
    NotCounted,
    /// It lives on for so many seconds.
    Renewed(i64),
    /// It will, for so many seconds, once a checkpoint of zero is applied.
    AfterCheckpoint(i64),
}

impl LeaseClock {
    /// Begin with the leases of a checkpoint or snapshot.
    pub(crate) fn reset(&mut self, facts: &[LeaseFact], now: Time) {
        let running = self.running;
        *self = Self::default();
        for fact in facts {
            self.leases.insert(
                fact.lease,
                Lease {
                    ttl_seconds: fact.ttl_seconds,
                    checkpoint_seconds: fact.remaining_seconds,
                    checkpointing: None,
                    deadline: now,
                    next_checkpoint: now,
                    revoking: None,
                },
            );
        }
        if running {
            self.start(now, 0);
        }
    }

    /// The member leads: every lease has what its checkpoint says, and `grace_ms` for clients to
    /// find the new leader.
    pub(crate) fn start(&mut self, now: Time, grace_ms: u64) {
        self.stop();
        self.running = true;
        let leases: Vec<i64> = self.leases.keys().copied().collect();
        for id in leases {
            self.arm(id, now, grace_ms);
        }
    }

    /// The member no longer leads.
    pub(crate) fn stop(&mut self) {
        self.running = false;
        self.deadlines.clear();
        self.retries.clear();
        self.checkpoints.clear();
        for lease in self.leases.values_mut() {
            lease.revoking = None;
            lease.checkpointing = None;
        }
    }

    /// Hear what the store applied.
    pub(crate) fn on_change(&mut self, change: LeaseChange, now: Time) {
        match change {
            LeaseChange::Granted { lease, ttl_seconds } => {
                self.forget(lease);
                let fresh = Lease {
                    ttl_seconds,
                    checkpoint_seconds: 0,
                    checkpointing: None,
                    deadline: now,
                    next_checkpoint: now,
                    revoking: None,
                };
                self.leases.insert(lease, fresh);
                if self.running {
                    self.arm(lease, now, 0);
                }
            }
            LeaseChange::Revoked { lease } => self.forget(lease),
            LeaseChange::Checkpointed { lease, remaining_seconds } => {
                if let Some(known) = self.leases.get_mut(&lease) {
                    known.checkpoint_seconds = remaining_seconds;
                    if known.checkpointing == Some(remaining_seconds) {
                        known.checkpointing = None;
                    }
                }
            }
        }
    }

    /// Renew a lease: leadership has just been confirmed.
    pub(crate) fn renew(&mut self, id: i64, now: Time) -> Renewal {
        let Some(lease) = self.leases.get(&id) else { return Renewal::NotFound };
        if !self.running {
            return Renewal::NotCounted;
        }
        if lease.revoking.is_some() || lease.deadline <= now {
            return Renewal::Ended;
        }
        let ttl = lease.ttl_seconds;
        if lease.checkpoint_seconds > 0 || lease.checkpointing.is_some() {
            return Renewal::AfterCheckpoint(ttl);
        }
        self.rearm(id, now, seconds_ms(ttl));
        Renewal::Renewed(ttl)
    }

    /// Whether deadlines are counted.
    pub(crate) fn is_running(&self) -> bool {
        self.running
    }

    /// Granted and remaining seconds of a lease; none remain to one whose revoke is awaited.
    /// `None` if it is gone.
    pub(crate) fn time_left(&self, id: i64, now: Time) -> Option<(i64, i64)> {
        let lease = self.leases.get(&id)?;
        if lease.revoking.is_some() {
            return Some((lease.ttl_seconds, 0));
        }
        let remaining = i64::try_from(lease.deadline.since(now) / 1_000).unwrap_or(i64::MAX);
        Some((lease.ttl_seconds, remaining))
    }

    /// Leases that have ended and whose revoke is not under way.
    pub(crate) fn take_expired(&mut self, now: Time) -> Vec<i64> {
        let mut expired = Vec::new();
        let is_due = |first: Option<&(Time, i64)>| first.is_some_and(|(at, _)| *at <= now);
        // First those that were asked before: they must not wait for room that they take up.
        while is_due(self.retries.first()) {
            expired.extend(self.retries.pop_first().map(|(_, id)| id));
        }
        while is_due(self.deadlines.first())
            && self.retries.len() + expired.len() < REVOKES_IN_FLIGHT_MAX
        {
            expired.extend(self.deadlines.pop_first().map(|(_, id)| id));
        }
        let retry = now + RETRY_MS;
        for &id in &expired {
            if let Some(lease) = self.leases.get_mut(&id) {
                lease.revoking = Some(retry);
                self.retries.insert((retry, id));
            }
        }
        expired
    }

    /// Whether the lease has ended in the time that is counted now, and its revoke is awaited.
    pub(crate) fn is_revoking(&self, id: i64) -> bool {
        self.leases.get(&id).is_some_and(|lease| lease.revoking.is_some())
    }

    /// For how many milliseconds the lease has ended that waits longest for its revoke.
    pub(crate) fn longest_ended_ms(&self, now: Time) -> u64 {
        if !self.running {
            return 0;
        }
        self.leases.values().map(|lease| now.since(lease.deadline)).max().unwrap_or(0)
    }

    /// Leases whose remaining seconds are to be written to the log now.
    pub(crate) fn take_checkpoints(&mut self, now: Time) -> Vec<(i64, i64)> {
        let mut due = Vec::new();
        while let Some(&(at, id)) = self.checkpoints.first() {
            if at > now || due.len() >= CHECKPOINT_BATCH_MAX {
                break;
            }
            self.checkpoints.pop_first();
            if let Some(lease) = self.leases.get_mut(&id) {
                let remaining = lease.deadline.since(now).div_ceil(1_000);
                if remaining == 0 || lease.revoking.is_some() {
                    continue;
                }
                if lease.checkpointing.is_none() {
                    let seconds = i64::try_from(remaining).unwrap_or(i64::MAX);
                    lease.checkpointing = Some(seconds);
                    due.push((id, seconds));
                }
                lease.next_checkpoint = now + checkpoint_interval_ms(lease.ttl_seconds);
                self.checkpoints.insert((lease.next_checkpoint, id));
            }
        }
        due
    }

    /// These checkpoints did not get into the log.
    pub(crate) fn drop_checkpoints(&mut self, lost: &[(i64, i64)]) {
        for (id, _) in lost {
            if let Some(lease) = self.leases.get_mut(id) {
                lease.checkpointing = None;
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.leases.len()
    }

    /// Set a lease's deadline from its checkpoint, or its whole time to live.
    fn arm(&mut self, id: i64, now: Time, grace_ms: u64) {
        let Some(lease) = self.leases.get(&id) else { return };
        let seconds = match lease.checkpoint_seconds {
            0 => lease.ttl_seconds,
            remaining => remaining,
        };
        self.rearm(id, now, seconds_ms(seconds).saturating_add(grace_ms));
    }

    fn rearm(&mut self, id: i64, now: Time, left_ms: u64) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        self.deadlines.remove(&(lease.deadline, id));
        self.checkpoints.remove(&(lease.next_checkpoint, id));
        lease.deadline = now + left_ms;
        lease.next_checkpoint = now + checkpoint_interval_ms(lease.ttl_seconds);
        self.deadlines.insert((lease.deadline, id));
        self.checkpoints.insert((lease.next_checkpoint, id));
    }

    fn forget(&mut self, id: i64) {
        let Some(lease) = self.leases.remove(&id) else { return };
        self.checkpoints.remove(&(lease.next_checkpoint, id));
        match lease.revoking {
            None => self.deadlines.remove(&(lease.deadline, id)),
            Some(retry) => self.retries.remove(&(retry, id)),
        };
    }
}

fn seconds_ms(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000)
}

fn checkpoint_interval_ms(ttl_seconds: i64) -> u64 {
    (seconds_ms(ttl_seconds) / 3)
        .saturating_add(CHECKPOINT_SLACK_MS)
        .min(CHECKPOINT_INTERVAL_MAX_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_waits_for_a_checkpoint_on_its_way() {
        let mut clock = LeaseClock::default();
        clock.on_change(LeaseChange::Granted { lease: 7, ttl_seconds: 9 }, Time(0));
        clock.start(Time(0), 0);
        assert_eq!(clock.take_checkpoints(Time(4_000)), [(7, 5)]);
        assert_eq!(clock.renew(7, Time(4_001)), Renewal::AfterCheckpoint(9));
        let checkpoint =
            |seconds| LeaseChange::Checkpointed { lease: 7, remaining_seconds: seconds };
        clock.on_change(checkpoint(5), Time(4_002));
        assert_eq!(clock.renew(7, Time(4_003)), Renewal::AfterCheckpoint(9));
        clock.on_change(checkpoint(0), Time(4_004));
        assert_eq!(clock.renew(7, Time(4_005)), Renewal::Renewed(9));
    }

    #[test]
    fn a_renewal_waits_for_a_checkpoint_behind_the_zero_of_another_renewal() {
        let mut clock = LeaseClock::default();
        let checkpoint =
            |seconds| LeaseChange::Checkpointed { lease: 7, remaining_seconds: seconds };
        clock.on_change(LeaseChange::Granted { lease: 7, ttl_seconds: 10 }, Time(0));
        clock.on_change(checkpoint(6), Time(0));
        clock.start(Time(0), 0);
        // Its zero is in the log, and not applied when the next checkpoint is due.
        assert_eq!(clock.renew(7, Time(4_000)), Renewal::AfterCheckpoint(10));
        assert_eq!(clock.take_checkpoints(Time(4_334)), [(7, 2)]);
        clock.on_change(checkpoint(0), Time(5_000));
        assert_eq!(clock.renew(7, Time(5_000)), Renewal::AfterCheckpoint(10));
        clock.on_change(checkpoint(2), Time(5_001));
        assert_eq!(clock.renew(7, Time(5_001)), Renewal::AfterCheckpoint(10));
        clock.on_change(checkpoint(0), Time(5_002));
        assert_eq!(clock.renew(7, Time(5_002)), Renewal::Renewed(10));
    }

    #[test]
    fn a_checkpoint_that_is_lost_keeps_no_renewal_waiting() {
        let mut clock = LeaseClock::default();
        clock.on_change(LeaseChange::Granted { lease: 7, ttl_seconds: 9 }, Time(0));
        clock.start(Time(0), 0);
        let due = clock.take_checkpoints(Time(4_000));
        assert_eq!(due, [(7, 5)]);
        clock.drop_checkpoints(&due);
        assert_eq!(clock.renew(7, Time(4_001)), Renewal::Renewed(9));
    }

    #[test]
    fn an_ended_lease_is_there_until_its_revoke_is_applied() {
        let mut clock = LeaseClock::default();
        clock.on_change(LeaseChange::Granted { lease: 7, ttl_seconds: 5 }, Time(0));
        assert_eq!(clock.renew(7, Time(1)), Renewal::NotCounted);
        clock.start(Time(0), 0);
        assert_eq!(clock.renew(7, Time(1_000)), Renewal::Renewed(5));
        assert_eq!(clock.time_left(7, Time(5_999)), Some((5, 0)));
        assert_eq!(clock.renew(7, Time(6_000)), Renewal::Ended);
        assert_eq!(clock.take_expired(Time(6_000)), [7]);
        assert_eq!(clock.renew(7, Time(6_001)), Renewal::Ended);
        assert_eq!(clock.time_left(7, Time(6_001)), Some((5, 0)));
        // The next leader gives it its time anew.
        clock.stop();
        clock.start(Time(6_100), 1_000);
        assert_eq!(clock.time_left(7, Time(6_100)), Some((5, 6)));
        clock.on_change(LeaseChange::Revoked { lease: 7 }, Time(6_200));
        assert_eq!(clock.renew(7, Time(6_200)), Renewal::NotFound);
        assert_eq!(clock.time_left(7, Time(6_200)), None);
    }
}
