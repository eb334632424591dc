//! Leases: never gone before their time, always after it, and gone for good.
//!
//! Clients know a lease by its grant, its renewals, and answers that need it. Each bounds when it
//! may end:
//!
//! ```text
//!   grant ttl 10    renewed              promised until: renewal asked + ttl − skew
//!   |---------------|=================|~~~~~~~~~~~~~~|
//!                                     earliest        latest: renewal answered + ttl, or the
//!                                                     last change of leader + ttl; + bound
//! ```
//! A new leader starts all leases anew, since it does not know when they were renewed; with
//! checkpoints it knows to within the checkpoint interval, and may not add more than that. On top
//! it gives a grace for clients to find it, so that more may be left than was granted.
//!
//! Ids must not be granted twice in a history: what happened to whom could not be told.

mod life;

use super::linearizable::{Linearization, Maker};
use super::{Rule, Violation};
use crate::history::{
    Body, History, KeyRange, Operation, Outcome, Refusal, Request, Time, Txn, TxnOperation,
};
use life::Lives;

/// What the leases of a run may rely on.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// How far a member's clock may run ahead over a lease's life.
    pub clock_skew: Time,
    /// How long after its time a lease may stay, under a stable leader.
    pub late_bound: Time,
    /// How long after its client gave up a request may still arrive.
    pub delivery_bound: Time,
    /// When one leader was in office with a quorum behind it, in order.
    pub stable: Vec<(Time, Time)>,
    /// What a new leader gives every lease on top, for clients to find it.
    pub leader_grace: Time,
    /// How often the leader writes down what leases have left; none if it does not.
    pub checkpoint_interval: Option<Time>,
    /// When the run ended, healed, and the leases that were still there.
    pub ending: Option<(Time, Vec<i64>)>,
}

/// Checks every lease.
///
/// # Errors
/// [`Rule::LeaseEarly`], [`Rule::LeaseLate`], [`Rule::LeaseTtl`], [`Rule::LeaseGone`].
pub fn check(
    history: &History,
    linearization: &Linearization,
    terms: &Terms,
) -> Result<(), Violation> {
    let lives = Lives::new(history, linearization, terms)?;
    let judge = Judge { linearization, terms, lives };
    for (revision, made) in linearization.made_from(0) {
        if let Maker::Expiry { lease } = made.maker {
            let what = format!("it took its keys at revision {revision}");
            judge.check_gone(lease, made.by, &what)?;
        }
    }
    for operation in history.operations() {
        judge.check_operation(operation)?;
    }
    judge.check_ending()
}

struct Judge<'a> {
    linearization: &'a Linearization,
    terms: &'a Terms,
    lives: Lives,
}

impl Judge<'_> {
    fn check_operation(&self, operation: &Operation) -> Result<(), Violation> {
        let Some(returned) = operation.returned else { return Ok(()) };
        let invoked = operation.invoked;
        match (&operation.request, &operation.outcome) {
            (Request::LeaseKeepAlive { id }, Outcome::Ok(response)) => match response.body {
                Body::LeaseKeepAlive { ttl: 0, .. } => self.check_absent(*id, operation, returned),
                Body::LeaseKeepAlive { ttl, .. } => {
                    self.check_alive(*id, operation, returned)?;
                    self.check_granted(*id, operation, returned, ttl)
                }
                _ => Ok(()),
            },
            (Request::LeaseTimeToLive { id, .. }, Outcome::Ok(response)) => match response.body {
                Body::LeaseTimeToLive { ttl, .. } if ttl < 0 => {
                    self.check_absent(*id, operation, returned)
                }
                Body::LeaseTimeToLive { ttl, granted_ttl, .. } => {
                    self.check_alive(*id, operation, returned)?;
                    self.check_granted(*id, operation, returned, granted_ttl)?;
                    self.check_left(*id, operation, returned, ttl)
                }
                _ => Ok(()),
            },
            (Request::LeaseRevoke { id }, Outcome::Ok(_)) => {
                self.check_alive(*id, operation, returned)
            }
            (Request::LeaseRevoke { id }, Outcome::Refused(Refusal::LeaseNotFound)) => {
                self.check_absent(*id, operation, returned)
            }
            (Request::LeaseGrant { id, .. }, Outcome::Refused(Refusal::LeaseExists)) => {
                self.check_alive(*id, operation, returned)
            }
            (Request::Put(_) | Request::Txn(_), Outcome::Ok(_)) => {
                for lease in leases_attached(operation) {
                    self.check_alive(lease, operation, returned)?;
                }
                Ok(())
            }
            (Request::Put(put), Outcome::Refused(Refusal::LeaseNotFound)) => match put.lease {
                0 => Err(self.untrue(operation, returned, "it names no lease")),
                lease => self.check_absent(lease, operation, returned),
            },
            (_, Outcome::Refused(Refusal::LeaseNotFound | Refusal::LeaseExists)) => {
                match &operation.request {
                    Request::Txn(_) => Ok(()),
                    _ => Err(self.untrue(operation, returned, &format!("asked at {invoked}"))),
                }
            }
            _ => Ok(()),
        }
    }

    fn untrue(&self, operation: &Operation, returned: Time, why: &str) -> Violation {
        let text = format!("refused for no reason, {why}: {operation}");
        Violation::at(Rule::Refusal, returned, text)
    }

    /// An answer that needs the lease: it was granted, and not surely gone before.
    fn check_alive(&self, id: i64, operation: &Operation, at: Time) -> Result<(), Violation> {
        let Some(life) = self.lives.get(id) else {
            let text = format!("lease {id} was never granted: {operation}");
            return Err(Violation::at(Rule::LeaseGone, at, text));
        };
        if life.granted_twice {
            return Ok(());
        }
        if life.granted.invoked > at {
            let text = format!("lease {id} was granted later: {operation}");
            return Err(Violation::at(Rule::LeaseGone, at, text));
        }
        if let Some((gone, why)) = &life.gone
            && *gone < operation.invoked
        {
            let text = format!("lease {id} was gone at {gone} ({why}): {operation}");
            return Err(Violation::at(Rule::LeaseGone, at, text));
        }
        let latest = life.latest_end(operation.invoked, self.terms);
        let stable =
            self.terms.stable.iter().any(|(from, to)| *from <= operation.invoked && at <= *to);
        if stable && latest.plus(self.terms.late_bound) < operation.invoked {
            let text = format!("lease {id} should have ended by {latest}: {operation}");
            return Err(Violation::at(Rule::LeaseLate, at, text));
        }
        Ok(())
    }

    /// An answer that says that there is no such lease, given between asking and `returned`.
    fn check_absent(
        &self,
        id: i64,
        operation: &Operation,
        returned: Time,
    ) -> Result<(), Violation> {
        let Some(life) = self.lives.get(id) else { return Ok(()) };
        if life.granted_twice || life.granted.returned.is_none_or(|at| at >= operation.invoked) {
            return Ok(());
        }
        self.check_gone(id, returned, &operation.to_string())?;
        // With the lease its keys are gone: at some revision of that time none was attached.
        let revision = self.linearization.revision();
        let made = |at: i64| self.linearization.made(at);
        let first = (1..=revision)
            .rev()
            .find(|at| made(*at).is_none_or(|made| made.by < operation.invoked))
            .unwrap_or(1);
        let free = (first..=revision)
            .take_while(|at| *at == first || made(*at).is_some_and(|made| made.after <= returned))
            .any(|at| {
                let all = KeyRange::all();
                self.linearization.model().range_at(&all, at).all(|kv| kv.lease != id)
            });
        if free {
            return Ok(());
        }
        let text = format!("lease {id} is gone without its keys: {operation}");
        Err(Violation::at(Rule::LeaseGone, returned, text))
    }

    /// The lease had ended at `by`.
    fn check_gone(&self, id: i64, by: Time, what: &str) -> Result<(), Violation> {
        let Some(life) = self.lives.get(id) else { return Ok(()) };
        if life.granted_twice || life.revoke_asked.is_some_and(|asked| asked < by) {
            return Ok(());
        }
        let promised = life.promised_to_the_end(by, self.terms.clock_skew);
        if promised.is_none_or(|promised| promised <= by) {
            return Ok(());
        }
        let until = promised.unwrap_or_default();
        let text = format!("lease {id} was promised until {until}: {what}");
        Err(Violation::at(Rule::LeaseEarly, by, text))
    }

    fn check_granted(
        &self,
        id: i64,
        operation: &Operation,
        at: Time,
        ttl: i64,
    ) -> Result<(), Violation> {
        let Some(life) = self.lives.get(id) else { return Ok(()) };
        if life.granted_twice || life.ttl.is_none_or(|granted| granted == ttl) {
            return Ok(());
        }
        let text = format!("lease {id} was granted {:?} s: {operation}", life.ttl);
        Err(Violation::at(Rule::LeaseTtl, at, text))
    }

    /// The seconds left follow from the renewals and the changes of leader.
    fn check_left(
        &self,
        id: i64,
        operation: &Operation,
        returned: Time,
        left: i64,
    ) -> Result<(), Violation> {
        let Some(life) = self.lives.get(id) else { return Ok(()) };
        if life.granted_twice {
            return Ok(());
        }
        let left = Time::from_secs(u64::try_from(left).unwrap_or(0));
        let latest = life.latest_end(returned, self.terms).plus(self.terms.clock_skew);
        if operation.invoked.plus(left) > latest {
            let text = format!("lease {id} ends by {latest}: {operation}");
            return Err(Violation::at(Rule::LeaseTtl, returned, text));
        }
        // The answer counts whole seconds, rounded down.
        let end = returned.plus(left).plus(Time::from_secs(1));
        let promised = life.promised_until(operation.invoked, self.terms.clock_skew);
        match promised.filter(|promised| end < *promised) {
            Some(promised) => {
                let text = format!("lease {id} was promised until {promised}: {operation}");
                Err(Violation::at(Rule::LeaseTtl, returned, text))
            }
            None => Ok(()),
        }
    }

    fn check_ending(&self) -> Result<(), Violation> {
        let Some((at, leases)) = &self.terms.ending else { return Ok(()) };
        if !self.terms.stable.iter().any(|(from, to)| from <= at && at <= to) {
            return Ok(());
        }
        for id in leases {
            let Some(life) = self.lives.get(*id) else {
                // A grant without answer, whose id the server chose.
                if self.lives.get(0).is_some() {
                    continue;
                }
                let text = format!("lease {id} was never granted, and is there");
                return Err(Violation::at(Rule::LeaseGone, *at, text));
            };
            if life.granted_twice {
                continue;
            }
            // It may have gone after it was asked for.
            if let Some((gone, why)) = life.gone.as_ref().filter(|(gone, _)| gone <= at) {
                let text = format!("lease {id} is there, but was gone at {gone}: {why}");
                return Err(Violation::at(Rule::LeaseGone, *at, text));
            }
            let latest = life.latest_end(*at, self.terms);
            if latest.plus(self.terms.late_bound) < *at {
                let text = format!("lease {id} is there, should have ended by {latest}");
                return Err(Violation::at(Rule::LeaseLate, *at, text));
            }
        }
        Ok(())
    }
}

/// The leases that an acknowledged write attached.
fn leases_attached(operation: &Operation) -> Vec<i64> {
    let mut leases = Vec::new();
    match (&operation.request, operation.response()) {
        (Request::Put(put), _) => leases.push(put.lease),
        (Request::Txn(txn), Some(response)) => txn_leases(txn, &response.body, &mut leases),
        _ => {}
    }
    leases.retain(|lease| *lease != 0);
    leases
}

fn txn_leases(txn: &Txn, body: &Body, leases: &mut Vec<i64>) {
    let Body::Txn { succeeded, results } = body else { return };
    let branch = if *succeeded { &txn.success } else { &txn.failure };
    for (operation, result) in branch.iter().zip(results) {
        match operation {
            TxnOperation::Put(put) => leases.push(put.lease),
            TxnOperation::Txn(txn) => txn_leases(txn, result, leases),
            TxnOperation::Range(_) | TxnOperation::DeleteRange(_) => {}
        }
    }
}
