//! Replaying by revision, with a search where nobody acknowledged a revision.

use super::bounds::{Bounds, operations_where};
use super::hints::Hints;
use super::{Made, Maker, Rule, TRIES_BASE, TRIES_PER_OPERATION, Violation};
use crate::history::{Event, History, Operation, OperationId, Outcome, Request};
use crate::model::{FIRST_REVISION, Model};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Finds who made each revision.
pub(super) fn search(
    history: &History,
    bounds: &Bounds,
    hints: &Hints,
) -> Result<(Model, Vec<Made>), Violation> {
    Search::new(history, bounds, hints)?.run()
}

struct Search<'a> {
    bounds: &'a Bounds,
    hints: &'a Hints,
    writers: BTreeMap<i64, &'a Operation>,
    observers: BTreeMap<i64, Vec<&'a Operation>>,
    /// Who looked back, later, at what a revision left.
    historians: BTreeMap<i64, Vec<&'a Operation>>,
    unknown: Vec<&'a Operation>,
    granted_twice: BTreeSet<i64>,
    /// The last revision of an acknowledged write that needed a lease.
    needed: BTreeMap<i64, i64>,
    tries: u64,
    tries_max: u64,
}

#[derive(Clone)]
struct State {
    model: Model,
    used: BTreeSet<OperationId>,
    /// Leases that are gone for good.
    dead: BTreeSet<i64>,
}

struct Choice {
    maker: Maker,
    events: Vec<Event>,
    ended_lease: Option<i64>,
}

struct ChoicePoint {
    revision: i64,
    state: State,
    left: Vec<Choice>,
}

impl<'a> Search<'a> {
    fn new(history: &'a History, bounds: &'a Bounds, hints: &'a Hints) -> Result<Self, Violation> {
        let mut writers = BTreeMap::new();
        let mut observers: BTreeMap<i64, Vec<&Operation>> = BTreeMap::new();
        let mut historians: BTreeMap<i64, Vec<&Operation>> = BTreeMap::new();
        let mut granted = BTreeSet::new();
        let mut granted_twice = BTreeSet::new();
        let mut needed: BTreeMap<i64, i64> = BTreeMap::new();
        for operation in history.operations() {
            if let Some(id) = granted_lease(operation)
                && !granted.insert(id)
            {
                granted_twice.insert(id);
            }
            let Some((returned, response)) = operation.answered() else { continue };
            if let Some(lease) = used_lease(&operation.request) {
                let last = needed.entry(lease).or_default();
                *last = response.revision.max(*last);
            }
            if let Request::Range(range) = &operation.request
                && (1..response.revision).contains(&range.revision)
            {
                historians.entry(range.revision).or_default().push(operation);
            }
            if response.body.wrote() != Some(true) {
                observers.entry(response.revision).or_default().push(operation);
            } else if let Some(other) = writers.insert(response.revision, operation) {
                return Err(Violation::at(
                    Rule::Linearizable,
                    returned,
                    format!("one revision of two writes: {other}; {operation}"),
                ));
            }
        }
        let unknown = operations_where(history, |operation| {
            operation.outcome == Outcome::Unknown && operation.request.may_write()
        });
        let operations = history.operations().len() as u64;
        let tries_max = TRIES_BASE + operations.saturating_mul(TRIES_PER_OPERATION);
        Ok(Self {
            bounds,
            hints,
            writers,
            observers,
            historians,
            unknown,
            granted_twice,
            needed,
            tries: 0,
            tries_max,
        })
    }

    fn run(mut self) -> Result<(Model, Vec<Made>), Violation> {
        let (used, dead) = (BTreeSet::new(), BTreeSet::new());
        let mut state = State { model: Model::without_lease_checks(), used, dead };
        let mut made: Vec<Made> = Vec::new();
        let mut points: Vec<ChoicePoint> = Vec::new();
        let mut deepest: Option<(i64, Violation)> = None;
        let mut revision = FIRST_REVISION;
        let mut step = self.observe(&mut state, revision);
        loop {
            if self.tries > self.tries_max {
                let seen = deepest.map_or_else(String::new, |(_, seen)| format!("; {seen}"));
                let text = format!("gave up after {} candidates at {revision}{seen}", self.tries);
                return Err(Violation::new(Rule::Undecided, text));
            }
            let choice = match step {
                Ok(()) if revision >= self.bounds.last() => return Ok((state.model, made)),
                Ok(()) => {
                    revision += 1;
                    self.choices(&state, revision).map(|mut left| {
                        let first = left.pop();
                        if !left.is_empty() {
                            points.push(ChoicePoint { revision, state: state.clone(), left });
                        }
                        first
                    })
                }
                Err(violation) => Err(violation),
            };
            let choice = match choice {
                Ok(Some(choice)) => choice,
                Ok(None) => unreachable!("there is a choice, or an error that says why not"),
                Err(violation) => {
                    if deepest.as_ref().is_none_or(|(deep, _)| revision > *deep) {
                        deepest = Some((revision, violation.clone()));
                    }
                    let Some(point) = points.last_mut() else {
                        return Err(deepest.map_or(violation, |(_, deepest)| deepest));
                    };
                    revision = point.revision;
                    state = point.state.clone();
                    let next = point.left.pop().expect("a point without choices is dropped");
                    if point.left.is_empty() {
                        points.pop();
                    }
                    next
                }
            };
            made.truncate(usize::try_from(revision - FIRST_REVISION - 1).unwrap_or(0));
            made.push(self.enter(&mut state, revision, choice));
            step = self.observe(&mut state, revision);
        }
    }

    /// Who may have made `revision`, the best guess last; at least one.
    fn choices(&mut self, state: &State, revision: i64) -> Result<Vec<Choice>, Violation> {
        if let Some(operation) = self.writers.get(&revision) {
            self.tries += 1;
            let choice = self.replay(state, operation)?;
            if self.hints.bind_writers() && !self.hints.allow(revision, &choice.events) {
                let text = format!("somebody saw another change: {}", self.hints.seen(revision));
                return Err(contradiction(Rule::Linearizable, operation, &text));
            }
            return Ok(vec![choice]);
        }
        let seen_by = self.bounds.seen_by(revision);
        let mut likely = Vec::new();
        let mut unlikely = Vec::new();
        let mut contradicted = Vec::new();
        for lease in attached_leases(&state.model) {
            self.tries += 1;
            let maker = Maker::Expiry { lease };
            let events = state.model.lease_deletions(lease);
            if self.hints.allow(revision, &events) {
                let choice = Choice { maker, events, ended_lease: Some(lease) };
                let is_needed = self.is_needed_after(lease, revision);
                if is_needed { contradicted.push(choice) } else { unlikely.push(choice) }
            }
        }
        let observers = self.observers.get(&revision).into_iter().flatten();
        let acknowledged =
            observers.filter(|operation| matches!(operation.request, Request::LeaseRevoke { .. }));
        for operation in self.unknown.iter().rev().chain(acknowledged) {
            let in_time = operation.invoked < seen_by
                && self.bounds.seen_before(operation.invoked) < revision;
            if !in_time || state.used.contains(&operation.id) {
                continue;
            }
            self.tries += 1;
            let (events, ended_lease) = match &operation.request {
                Request::LeaseRevoke { id } => (state.model.lease_deletions(*id), Some(*id)),
                request => match state.model.evaluate(request) {
                    Ok(evaluated) => (evaluated.events, None),
                    Err(_) => continue,
                },
            };
            if events.is_empty() || !self.hints.allow(revision, &events) {
                continue;
            }
            let elsewhere = self.hints.values_seen(&events);
            let choice = Choice { maker: Maker::Operation(operation.id), events, ended_lease };
            if ended_lease.is_some_and(|lease| self.is_needed_after(lease, revision)) {
                contradicted.push(choice);
            } else if elsewhere {
                unlikely.push(choice);
            } else {
                likely.push(choice);
            }
        }
        // What a later answer contradicts comes last: that shows only when the search has come to
        // that answer, after everything between was tried.
        let mut choices = contradicted;
        choices.append(&mut unlikely);
        choices.append(&mut likely);
        if choices.is_empty() {
            let text = format!("no request of this history can have made revision {revision}");
            return Err(Violation::at(Rule::Linearizable, seen_by, text));
        }
        Ok(choices)
    }

    /// Whether a lease was there after a revision, so that it was not ended by it.
    fn is_needed_after(&self, lease: i64, revision: i64) -> bool {
        !self.granted_twice.contains(&lease)
            && self.needed.get(&lease).is_some_and(|last| *last > revision)
    }

    /// An acknowledged write, which must answer as it did.
    fn replay(&self, state: &State, operation: &Operation) -> Result<Choice, Violation> {
        if let Some(lease) = used_lease(&operation.request)
            && state.dead.contains(&lease)
        {
            return Err(contradiction(Rule::LeaseGone, operation, "its lease was gone before"));
        }
        match state.model.evaluate(&operation.request) {
            Ok(evaluated) if Some(&evaluated.response) == operation.response() => Ok(Choice {
                maker: Maker::Operation(operation.id),
                events: evaluated.events,
                ended_lease: None,
            }),
            Ok(evaluated) => Err(contradiction(
                Rule::Linearizable,
                operation,
                &format!("should have answered {:?}", evaluated.response),
            )),
            Err(refusal) => Err(contradiction(
                Rule::Linearizable,
                operation,
                &format!("should have been refused: {refusal:?}"),
            )),
        }
    }

    fn enter(&self, state: &mut State, revision: i64, choice: Choice) -> Made {
        let Choice { maker, events, ended_lease } = choice;
        state.model.commit(&events);
        if let Maker::Operation(id) = maker {
            state.used.insert(id);
        }
        state.dead.extend(ended_lease.filter(|lease| !self.granted_twice.contains(lease)));
        Made {
            maker,
            events: Arc::new(events),
            after: self.bounds.not_before(revision),
            by: self.bounds.seen_by(revision),
        }
    }

    /// Compares the answers that changed nothing with the state at their revision, and those of
    /// later ones that looked back at it: else a wrong guess would show only then, after all that
    /// can be guessed between was tried.
    fn observe(&mut self, state: &mut State, revision: i64) -> Result<(), Violation> {
        for operation in self.historians.get(&revision).into_iter().flatten() {
            self.tries += 1;
            compare_body(&state.model, operation)?;
        }
        for operation in self.observers.get(&revision).into_iter().flatten() {
            self.tries += 1;
            match &operation.request {
                Request::LeaseRevoke { id } => {
                    if let Some(kv) = state.model.keys_of_lease(*id).next() {
                        let text = format!("left {kv:?} behind");
                        return Err(contradiction(Rule::LeaseGone, operation, &text));
                    }
                    if !self.granted_twice.contains(id) {
                        state.dead.insert(*id);
                    }
                }
                Request::Range(_) | Request::DeleteRange(_) | Request::Txn(_) => {
                    compare(&state.model, operation)?;
                }
                Request::Put(_)
                | Request::Compact { .. }
                | Request::LeaseGrant { .. }
                | Request::LeaseKeepAlive { .. }
                | Request::LeaseTimeToLive { .. } => {}
            }
        }
        Ok(())
    }
}

fn compare(model: &Model, operation: &Operation) -> Result<(), Violation> {
    let rule = if operation.request.is_serializable() {
        Rule::SerializablePrefix
    } else {
        Rule::Linearizable
    };
    match model.evaluate(&operation.request) {
        Ok(evaluated) if Some(&evaluated.response) == operation.response() => Ok(()),
        Ok(evaluated) => {
            let text = format!("should have answered {:?}", evaluated.response);
            Err(contradiction(rule, operation, &text))
        }
        Err(refusal) => {
            let text = format!("should have been refused: {refusal:?}");
            Err(contradiction(rule, operation, &text))
        }
    }
}

/// The same for what was asked of the present revision later, when the newest was another.
fn compare_body(model: &Model, operation: &Operation) -> Result<(), Violation> {
    match (model.evaluate(&operation.request), operation.response()) {
        (Ok(evaluated), Some(response)) if evaluated.response.body != response.body => {
            let text = format!("should have answered {:?}", evaluated.response.body);
            Err(contradiction(Rule::Linearizable, operation, &text))
        }
        // What is refused or not is compared when its own revision has come.
        _ => Ok(()),
    }
}

fn contradiction(rule: Rule, operation: &Operation, text: &str) -> Violation {
    let time = operation.returned.unwrap_or(operation.invoked);
    Violation::at(rule, time, format!("{operation}: {text}"))
}

fn attached_leases(model: &Model) -> BTreeSet<i64> {
    let all = crate::history::KeyRange::all();
    model.range_at(&all, i64::MAX).map(|kv| kv.lease).filter(|lease| *lease != 0).collect()
}

fn used_lease(request: &Request) -> Option<i64> {
    match request {
        Request::Put(put) if put.lease != 0 => Some(put.lease),
        Request::Put(_)
        | Request::Range(_)
        | Request::DeleteRange(_)
        | Request::Txn(_)
        | Request::Compact { .. }
        | Request::LeaseGrant { .. }
        | Request::LeaseRevoke { .. }
        | Request::LeaseKeepAlive { .. }
        | Request::LeaseTimeToLive { .. } => None,
    }
}

/// The lease that a request created, or may have.
fn granted_lease(operation: &Operation) -> Option<i64> {
    match (&operation.request, &operation.outcome) {
        (Request::LeaseGrant { .. }, Outcome::Ok(response)) => match response.body {
            crate::history::Body::LeaseGrant { id, .. } => Some(id),
            _ => None,
        },
        (Request::LeaseGrant { id, .. }, Outcome::Unknown) => Some(*id),
        _ => None,
    }
}
