//! A client's own leases: some are kept alive for a while, others are left to run out.

use crate::history::{Body, ClientId, Outcome, Refusal, Request, Time};
use crate::random::Random;
use std::collections::VecDeque;

/// Leases that a client minds at a time. The oldest is left to itself for a new one.
const OWN_MAX: usize = 6;
/// Leases remembered after their end, to ask for them again.
const ENDED_MAX: usize = 8;
/// Renewals after which a client loses interest, at most.
const RENEWALS_MAX: u64 = 20;
/// Seconds to live, least and one more than most: short, so that leases end within a run.
const TTL_SECONDS: std::ops::Range<u64> = 2..11;
/// Renewals in a lease's time, as etcd's own client does it.
const RENEWALS_PER_TTL: u64 = 3;

#[derive(Debug, Clone)]
struct Own {
    id: i64,
    interval: Time,
    renewals_left: u64,
    next_renewal: Time,
}

#[derive(Debug, Clone)]
pub(super) struct Leases {
    client: ClientId,
    granted: u32,
    unheard_of: u32,
    own: VecDeque<Own>,
    ended: VecDeque<i64>,
}

impl Leases {
    pub(super) fn new(client: ClientId) -> Self {
        Self { client, granted: 0, unheard_of: 0, own: VecDeque::new(), ended: VecDeque::new() }
    }

    /// A grant: of an id that is wanted by nobody else, or of one that the server chooses.
    pub(super) fn grant(&mut self, random: &mut Random) -> Request {
        let ttl = random.range(TTL_SECONDS) as i64;
        if random.chance(1, 3) {
            return Request::LeaseGrant { id: 0, ttl };
        }
        self.granted += 1;
        Request::LeaseGrant { id: self.id(self.granted), ttl }
    }

    /// An id that is never granted.
    pub(super) fn never_granted(&mut self) -> i64 {
        self.unheard_of += 1;
        self.id(u32::MAX - self.unheard_of)
    }

    fn id(&self, number: u32) -> i64 {
        // Client 0 must not take the small numbers that a server may choose.
        ((self.client.0 as i64).saturating_add(1) << 32) | i64::from(number)
    }

    pub(super) fn some_own(&self, random: &mut Random) -> Option<i64> {
        match self.own.len() {
            0 => None,
            count => self.own.get(random.index(count)).map(|own| own.id),
        }
    }

    pub(super) fn some_ended(&self, random: &mut Random) -> Option<i64> {
        match self.ended.len() {
            0 => None,
            count => self.ended.get(random.index(count)).copied(),
        }
    }

    /// A lease whose renewal is due.
    pub(super) fn due(&mut self, now: Time) -> Option<i64> {
        let is_due = |own: &&mut Own| own.renewals_left > 0 && own.next_renewal <= now;
        let own = self.own.iter_mut().find(is_due)?;
        own.renewals_left -= 1;
        own.next_renewal = now.plus(own.interval);
        Some(own.id)
    }

    /// When the next renewal is due.
    pub(super) fn next_due(&self) -> Option<Time> {
        let kept = self.own.iter().filter(|own| own.renewals_left > 0);
        kept.map(|own| own.next_renewal).min()
    }

    pub(super) fn on_outcome(
        &mut self,
        now: Time,
        request: &Request,
        outcome: &Outcome,
        random: &mut Random,
    ) {
        match (request, outcome) {
            (Request::LeaseGrant { .. }, Outcome::Ok(response)) => {
                if let Body::LeaseGrant { id, ttl } = response.body {
                    self.begin(now, id, ttl, random);
                }
            }
            (Request::LeaseRevoke { id }, Outcome::Ok(_))
            | (Request::LeaseRevoke { id }, Outcome::Refused(Refusal::LeaseNotFound)) => {
                self.end(*id);
            }
            (_, Outcome::Ok(response)) => match response.body {
                Body::LeaseKeepAlive { id, ttl: 0 } => self.end(id),
                Body::LeaseTimeToLive { id, ttl, .. } if ttl < 0 => self.end(id),
                _ => {}
            },
            (_, Outcome::Refused(_) | Outcome::NotApplied | Outcome::Unknown) => {}
        }
    }

    fn begin(&mut self, now: Time, id: i64, ttl: i64, random: &mut Random) {
        let ttl = Time::from_secs(u64::try_from(ttl).unwrap_or(0));
        let interval = Time(ttl.0 / RENEWALS_PER_TTL);
        let kept = random.chance(3, 5);
        let renewals_left = if kept { 1 + random.below(RENEWALS_MAX) } else { 0 };
        if self.own.len() >= OWN_MAX {
            self.own.pop_front();
        }
        self.own.push_back(Own { id, interval, renewals_left, next_renewal: now.plus(interval) });
    }

    fn end(&mut self, id: i64) {
        self.own.retain(|own| own.id != id);
        if !self.ended.contains(&id) {
            self.ended.push_back(id);
            if self.ended.len() > ENDED_MAX {
                self.ended.pop_front();
            }
        }
    }
}
