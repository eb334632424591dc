//! What is known of each lease: when it began, was renewed, and was gone.

use super::{Maker, Rule, Terms, Violation};
use crate::check::linearizable::Linearization;
use crate::history::{Body, History, Operation, Outcome, Refusal, Request, Time};
use std::collections::BTreeMap;

/// A grant or renewal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Renewal {
    pub(super) invoked: Time,
    /// When it was acknowledged; none if nobody knows whether it happened.
    pub(super) returned: Option<Time>,
    /// When its client stopped waiting.
    pub(super) ended: Time,
}

/// A lease.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) granted: Renewal,
    /// The time to live granted, in seconds; none if the grant was not answered.
    pub(super) ttl: Option<i64>,
    pub(super) granted_twice: bool,
    /// When somebody first asked to end it.
    pub(super) revoke_asked: Option<Time>,
    /// When it was surely gone, and why.
    pub(super) gone: Option<(Time, String)>,
    /// The time to live asked for, in seconds.
    wanted: i64,
    renewals: Vec<Renewal>,
}

/// All leases of a history.
#[derive(Debug)]
pub(super) struct Lives {
    lives: BTreeMap<i64, Life>,
}

impl Lives {
    pub(super) fn new(
        history: &History,
        linearization: &Linearization,
        terms: &Terms,
    ) -> Result<Self, Violation> {
        let mut lives = BTreeMap::new();
        for operation in history.operations() {
            add_grant(&mut lives, operation)?;
        }
        for operation in history.operations() {
            add_operation(&mut lives, operation);
        }
        for (revision, made) in linearization.made_from(0) {
            if let Maker::Expiry { lease } = made.maker
                && let Some(life) = lives.get_mut(&lease)
            {
                life.gone_at(made.by, || format!("its keys went at revision {revision}"));
            }
        }
        debug_assert!(terms.stable.is_sorted(), "spans are in order");
        Ok(Self { lives })
    }

    pub(super) fn get(&self, id: i64) -> Option<&Life> {
        self.lives.get(&id)
    }
}

fn add_grant(lives: &mut BTreeMap<i64, Life>, operation: &Operation) -> Result<(), Violation> {
    let Request::LeaseGrant { id, ttl: wanted } = operation.request else { return Ok(()) };
    let (id, ttl) = match &operation.outcome {
        Outcome::Ok(response) => match response.body {
            Body::LeaseGrant { id, ttl } => (id, Some(ttl)),
            _ => return Ok(()),
        },
        Outcome::Unknown => (id, None),
        Outcome::Refused(_) | Outcome::NotApplied => return Ok(()),
    };
    let acknowledged = operation.answered().map(|(time, _)| time);
    if ttl.is_some_and(|ttl| ttl < wanted) {
        let time = operation.returned.unwrap_or(operation.invoked);
        let text = format!("granted less than wanted: {operation}");
        return Err(Violation::at(Rule::LeaseTtl, time, text));
    }
    if let Some(life) = lives.get_mut(&id) {
        life.granted_twice = true;
        return Ok(());
    }
    let ended = operation.returned.unwrap_or(Time::NEVER);
    let granted = Renewal { invoked: operation.invoked, returned: acknowledged, ended };
    let life = Life {
        granted,
        ttl,
        granted_twice: false,
        revoke_asked: None,
        gone: None,
        wanted,
        renewals: vec![granted],
    };
    lives.insert(id, life);
    Ok(())
}

fn add_operation(lives: &mut BTreeMap<i64, Life>, operation: &Operation) {
    let id = match &operation.request {
        Request::LeaseRevoke { id }
        | Request::LeaseKeepAlive { id }
        | Request::LeaseTimeToLive { id, .. } => *id,
        Request::Put(put) => put.lease,
        _ => return,
    };
    let Some(life) = lives.get_mut(&id) else { return };
    let invoked = operation.invoked;
    let returned = operation.returned.unwrap_or(Time::NEVER);
    match (&operation.request, &operation.outcome) {
        (Request::LeaseKeepAlive { .. }, Outcome::Unknown) => {
            life.renewals.push(Renewal { invoked, returned: None, ended: returned });
        }
        (Request::LeaseRevoke { .. }, Outcome::Unknown) => life.asked_at(invoked),
        (Request::LeaseRevoke { .. }, Outcome::Ok(_)) => {
            life.asked_at(invoked);
            life.gone_at(returned, || "it was revoked".into());
        }
        (_, Outcome::Ok(response)) => match response.body {
            Body::LeaseKeepAlive { ttl, .. } if ttl > 0 => {
                life.renewals.push(Renewal { invoked, returned: Some(returned), ended: returned });
            }
            Body::LeaseKeepAlive { .. } => life.missed(operation, returned),
            Body::LeaseTimeToLive { ttl, .. } if ttl < 0 => life.missed(operation, returned),
            _ => {}
        },
        (_, Outcome::Refused(Refusal::LeaseNotFound)) => life.missed(operation, returned),
        (_, Outcome::Refused(_) | Outcome::NotApplied | Outcome::Unknown) => {}
    }
}

impl Life {
    fn asked_at(&mut self, invoked: Time) {
        let asked = self.revoke_asked.get_or_insert(invoked);
        *asked = invoked.min(*asked);
    }

    fn gone_at(&mut self, time: Time, why: impl FnOnce() -> String) {
        if self.gone.as_ref().is_none_or(|(gone, _)| time < *gone) {
            self.gone = Some((time, why()));
        }
    }

    /// Somebody did not find the lease. If it was there before he asked, it is gone.
    fn missed(&mut self, operation: &Operation, returned: Time) {
        if self.granted.returned.is_some_and(|granted| granted < operation.invoked) {
            self.gone_at(returned, || format!("not found by #{}", operation.id.0));
        }
    }

    fn ttl_time(&self) -> Time {
        Time::from_secs(u64::try_from(self.ttl.unwrap_or(self.wanted)).unwrap_or(0))
    }

    /// Until when clients may rely on the lease, after what was acknowledged before `time`. None
    /// if nothing was.
    pub(super) fn promised_until(&self, time: Time, skew: Time) -> Option<Time> {
        self.promised(skew, |renewal| renewal.returned.is_some_and(|returned| returned < time))
    }

    /// Until when clients may rely on a lease that they find gone at `by`. What is gone stays
    /// gone, so that every acknowledged renewal asked for before then came before its end.
    pub(super) fn promised_to_the_end(&self, by: Time, skew: Time) -> Option<Time> {
        self.promised(skew, |renewal| renewal.returned.is_some() && renewal.invoked < by)
    }

    fn promised(&self, skew: Time, counts: impl Fn(&Renewal) -> bool) -> Option<Time> {
        let counted = self.renewals.iter().filter(|renewal| counts(renewal));
        counted.map(|renewal| renewal.invoked.plus(self.ttl_time()).minus(skew)).max()
    }

    /// The latest end of the lease that its renewals and the leaders up to `time` explain.
    pub(super) fn latest_end(&self, time: Time, terms: &Terms) -> Time {
        if self.ttl.is_none() {
            // Nobody knows what was granted: the server may have raised what was wanted.
            return Time::NEVER;
        }
        let surely = self.renewals.iter().filter_map(|renewal| renewal.returned);
        let surely = surely.filter(|returned| *returned <= time).max().unwrap_or(Time(0));
        // A renewal of which nobody knows may not have come: then leaders since the one before it
        // explain the end.
        let asked = self.renewals.iter().filter(|renewal| renewal.invoked <= time);
        let possible = asked.filter(|renewal| renewal.returned.is_none_or(|at| at >= surely));
        let ends = possible.map(|renewal| self.latest_end_after(renewal, time, terms));
        ends.max().unwrap_or_else(|| self.latest_end_after(&self.granted, time, terms))
    }

    /// The latest end if this renewal was the last one.
    fn latest_end_after(&self, renewal: &Renewal, time: Time, terms: &Terms) -> Time {
        let ttl = self.ttl_time();
        let arrives = renewal.ended.plus(terms.delivery_bound);
        let renewed = renewal.returned.unwrap_or(arrives).min(time);
        let mut end = renewed.plus(ttl);
        let mut before = renewed;
        for (from, to) in terms.stable.iter().filter(|(from, _)| *from <= time) {
            // It may have been done by another leader some time before its answer came.
            if *from > renewal.invoked {
                let left = match terms.checkpoint_interval {
                    None => ttl,
                    Some(interval) => end.minus(before).plus(interval).min(ttl),
                };
                end = end.max(from.plus(left).plus(terms.leader_grace));
            }
            before = (*to).max(before);
        }
        // Between leaders nobody counts a lease down.
        if before < time && terms.stable.iter().all(|(from, to)| *from > time || *to < time) {
            end = end.max(time.plus(ttl).plus(terms.leader_grace));
        }
        end
    }
}
