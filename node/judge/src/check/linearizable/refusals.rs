//! Reads at old revisions, compactions, and refusals: what depends on the order without being
//! ordered by a revision.

use super::bounds::Bounds;
use super::{Linearization, Rule, Violation};
use crate::history::{
    Body, History, Operation, Outcome, Refusal, Request, Time, Txn, TxnOperation,
};
use crate::model::Model;

pub(super) fn check(
    history: &History,
    linearization: &Linearization,
    bounds: &Bounds,
) -> Result<(), Violation> {
    let judge = Judge { linearization, bounds };
    for operation in history.operations() {
        let time = operation.returned.unwrap_or(Time::NEVER);
        match &operation.outcome {
            Outcome::Ok(_) => judge.check_answer(operation, time)?,
            Outcome::Refused(refusal) => judge.check_refusal(operation, time, *refusal)?,
            Outcome::NotApplied | Outcome::Unknown => {}
        }
    }
    Ok(())
}

struct Judge<'a> {
    linearization: &'a Linearization,
    bounds: &'a Bounds,
}

impl Judge<'_> {
    /// The highest revision compacted to and acknowledged before `time`.
    fn compacted_surely(&self, time: Time) -> i64 {
        let all = self.linearization.compactions().iter();
        all.filter(|compaction| compaction.acknowledged.is_some_and(|at| at < time))
            .map(|compaction| compaction.revision)
            .max()
            .unwrap_or(0)
    }

    fn check_answer(&self, operation: &Operation, time: Time) -> Result<(), Violation> {
        if operation.request.is_serializable() {
            return Ok(());
        }
        let compacted = self.compacted_surely(operation.invoked);
        let oldest = match (&operation.request, operation.response()) {
            (Request::Txn(txn), Some(response)) => oldest_revision_taken(txn, &response.body),
            (request, _) => oldest_revision_read(request),
        };
        if oldest.is_some_and(|oldest| oldest < compacted) {
            let text = format!("{compacted} had been compacted to before {operation}");
            return Err(Violation::at(Rule::Linearizable, time, text));
        }
        if let (Request::Compact { revision }, Some(response)) =
            (&operation.request, operation.response())
            && (*revision <= compacted || *revision > response.revision)
        {
            let text = format!("should have been refused ({compacted} compacted): {operation}");
            return Err(Violation::at(Rule::Linearizable, time, text));
        }
        Ok(())
    }

    fn check_refusal(
        &self,
        operation: &Operation,
        time: Time,
        refusal: Refusal,
    ) -> Result<(), Violation> {
        let oldest = oldest_revision_read(&operation.request);
        let is_true = match refusal {
            Refusal::Compacted => {
                let compacted = self.linearization.compacted_before(time);
                match &operation.request {
                    Request::Compact { revision } => *revision <= compacted,
                    _ => oldest.is_some_and(|oldest| oldest < compacted),
                }
            }
            Refusal::FutureRevision => {
                let newest = newest_revision_wanted(&operation.request);
                operation.request.is_serializable()
                    || newest > self.bounds.seen_before(operation.invoked)
            }
            Refusal::KeyNotFound => self.key_may_be_absent(operation, time),
            Refusal::Invalid => {
                matches!(operation.request, Request::Txn(_))
                    && Model::new().evaluate(&operation.request) == Err(Refusal::Invalid)
            }
            // Whether a lease was there is a question of times: the lease check's.
            Refusal::LeaseNotFound | Refusal::LeaseExists => true,
        };
        if is_true {
            return Ok(());
        }
        Err(Violation::at(Rule::Refusal, time, format!("for no reason: {operation}")))
    }

    fn key_may_be_absent(&self, operation: &Operation, time: Time) -> bool {
        let Request::Put(put) = &operation.request else {
            return matches!(operation.request, Request::Txn(_));
        };
        if !put.ignore_value && !put.ignore_lease {
            return false;
        }
        let first = self.bounds.seen_before(operation.invoked);
        let model = self.linearization.model();
        (first..=model.revision())
            .take_while(|revision| {
                *revision == first
                    || self.linearization.made(*revision).is_some_and(|made| made.after <= time)
            })
            .any(|revision| model.get_at(&put.key, revision).is_none())
    }
}

/// The oldest revision that a request wants to read at, if it names one.
fn oldest_revision_read(request: &Request) -> Option<i64> {
    let mut revisions = Vec::new();
    named_revisions(request, &mut revisions);
    revisions.into_iter().min()
}

/// The oldest revision that the branches taken read at, if they name one.
fn oldest_revision_taken(txn: &Txn, body: &Body) -> Option<i64> {
    let Body::Txn { succeeded, results } = body else { return None };
    let branch = if *succeeded { &txn.success } else { &txn.failure };
    branch
        .iter()
        .zip(results)
        .filter_map(|(operation, result)| match operation {
            TxnOperation::Range(range) => Some(range.revision).filter(|&at| at > 0),
            TxnOperation::Txn(txn) => oldest_revision_taken(txn, result),
            TxnOperation::Put(_) | TxnOperation::DeleteRange(_) => None,
        })
        .min()
}

fn newest_revision_wanted(request: &Request) -> i64 {
    let mut revisions = Vec::new();
    named_revisions(request, &mut revisions);
    if let Request::Compact { revision } = request {
        revisions.push(*revision);
    }
    revisions.into_iter().max().unwrap_or(0)
}

fn named_revisions(request: &Request, revisions: &mut Vec<i64>) {
    match request {
        Request::Range(range) => revisions.extend(Some(range.revision).filter(|&at| at > 0)),
        Request::Txn(txn) => txn_revisions(txn, revisions),
        Request::Put(_)
        | Request::DeleteRange(_)
        | Request::Compact { .. }
        | Request::LeaseGrant { .. }
        | Request::LeaseRevoke { .. }
        | Request::LeaseKeepAlive { .. }
        | Request::LeaseTimeToLive { .. } => {}
    }
}

fn txn_revisions(txn: &Txn, revisions: &mut Vec<i64>) {
    for operation in txn.success.iter().chain(&txn.failure) {
        match operation {
            TxnOperation::Range(range) => {
                revisions.extend(Some(range.revision).filter(|&at| at > 0));
            }
            TxnOperation::Txn(txn) => txn_revisions(txn, revisions),
            TxnOperation::Put(_) | TxnOperation::DeleteRange(_) => {}
        }
    }
}
