//! What was acknowledged is there when the cluster is healed.
//!
//! The check trusts no order that another check found: it takes each acknowledged write alone and
//! looks for its traces. [`check_linearized`] then compares the whole.

use super::linearizable::{Linearization, Witness};
use super::{Rule, Violation};
use crate::history::{
    Body, EventKind, History, KeyRange, KeyValue, Operation, Outcome, Request, Time, Txn,
    TxnOperation,
};
use bytes::Bytes;
use std::collections::BTreeMap;

/// A healed cluster, after all members agree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FinalState {
    /// Its revision.
    pub revision: i64,
    /// The keys that stand.
    pub kvs: Vec<KeyValue>,
    /// What each revision that is still in its log changed, in full.
    pub changes: Witness,
}

/// Looks for every acknowledged write.
///
/// # Errors
/// [`Rule::Durable`] for the first that left no trace.
pub fn check(history: &History, state: &FinalState) -> Result<(), Violation> {
    let search = Search::new(history, state);
    for operation in history.operations() {
        let Some((returned, response)) = operation.answered() else { continue };
        if response.revision > state.revision {
            let text = format!("the cluster is back at revision {}: {operation}", state.revision);
            return Err(Violation::at(Rule::Durable, returned, text));
        }
        let mut writes = Vec::new();
        collect_writes(&operation.request, &response.body, &mut writes);
        for write in writes {
            search.check_write(operation, returned, response.revision, write)?;
        }
    }
    Ok(())
}

/// Compares what stands with what the history says.
///
/// # Errors
/// [`Rule::Durable`] for the first key that differs; [`Rule::Undecided`] if the cluster is beyond
/// everything that the history shows, so that a last read is missing in it.
pub fn check_linearized(
    linearization: &Linearization,
    state: &FinalState,
) -> Result<(), Violation> {
    let revision = linearization.revision();
    if state.revision > revision {
        let text = format!("no client saw revision {}, only {revision}", state.revision);
        return Err(Violation::new(Rule::Undecided, text));
    }
    if state.revision < revision {
        let text = format!("clients saw revision {revision}, it ends at {}", state.revision);
        return Err(Violation::new(Rule::Durable, text));
    }
    let all = KeyRange::all();
    let mut wanted = linearization.model().range_at(&all, revision);
    let mut found = state.kvs.iter();
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return Ok(()),
            (wanted, found) if wanted == found => {}
            (wanted, found) => {
                let text = format!("at revision {revision} {found:?} stands, not {wanted:?}");
                return Err(Violation::new(Rule::Durable, text));
            }
        }
    }
}

/// A part of a write, with what its answer says of it.
#[derive(Debug, Clone, Copy)]
enum Write<'a> {
    Put { key: &'a Bytes, value: Option<&'a Bytes> },
    Delete { keys: &'a KeyRange, deleted: i64 },
}

fn collect_writes<'a>(request: &'a Request, body: &Body, writes: &mut Vec<Write<'a>>) {
    match (request, body) {
        (Request::Put(put), Body::Put { .. }) => {
            let value = Some(&put.value).filter(|_| !put.ignore_value);
            writes.push(Write::Put { key: &put.key, value });
        }
        (Request::DeleteRange(delete), Body::DeleteRange { deleted, .. }) => {
            writes.push(Write::Delete { keys: &delete.keys, deleted: *deleted });
        }
        (Request::Txn(txn), body) => collect_txn(txn, body, writes),
        _ => {}
    }
}

fn collect_txn<'a>(txn: &'a Txn, body: &Body, writes: &mut Vec<Write<'a>>) {
    let Body::Txn { succeeded, results } = body else { return };
    let branch = if *succeeded { &txn.success } else { &txn.failure };
    for (operation, result) in branch.iter().zip(results) {
        match (operation, result) {
            (TxnOperation::Put(put), _) => {
                let value = Some(&put.value).filter(|_| !put.ignore_value);
                writes.push(Write::Put { key: &put.key, value });
            }
            (TxnOperation::DeleteRange(delete), Body::DeleteRange { deleted, .. }) => {
                writes.push(Write::Delete { keys: &delete.keys, deleted: *deleted });
            }
            (TxnOperation::Txn(txn), result) => collect_txn(txn, result, writes),
            (TxnOperation::Range(_) | TxnOperation::DeleteRange(_), _) => {}
        }
    }
}

struct Search<'a> {
    state: &'a FinalState,
    standing: BTreeMap<&'a Bytes, &'a KeyValue>,
    /// What may have deleted keys, and the revision if known. No range: any key.
    deletions: Vec<(Option<&'a KeyRange>, Option<i64>)>,
}

impl<'a> Search<'a> {
    fn new(history: &'a History, state: &'a FinalState) -> Self {
        let standing = state.kvs.iter().map(|kv| (&kv.key, kv)).collect();
        let mut deletions = Vec::new();
        for operation in history.operations() {
            let revision = match &operation.outcome {
                Outcome::Ok(response) => Some(response.revision),
                Outcome::Unknown => None,
                Outcome::Refused(_) | Outcome::NotApplied => continue,
            };
            may_delete(&operation.request, revision, &mut deletions);
        }
        Self { state, standing, deletions }
    }

    fn check_write(
        &self,
        operation: &Operation,
        returned: Time,
        revision: i64,
        write: Write<'_>,
    ) -> Result<(), Violation> {
        let changes = self.state.changes.get(&revision);
        let text = match write {
            Write::Delete { deleted: 0, .. } => return Ok(()),
            Write::Put { key, value } => {
                let in_log = changes.is_none_or(|events| {
                    events.iter().any(|event| match &event.kind {
                        EventKind::Put(kv) => {
                            event.key == *key && value.is_none_or(|value| kv.value == *value)
                        }
                        EventKind::Delete => false,
                    })
                });
                match self.standing.get(key) {
                    _ if !in_log => format!("revision {revision} holds {changes:?}"),
                    Some(kv) if kv.mod_revision < revision => format!("{kv:?} stands"),
                    Some(kv) if kv.mod_revision > revision => return Ok(()),
                    Some(kv) if value.is_some_and(|value| kv.value != *value) => {
                        format!("{kv:?} stands")
                    }
                    None if !self.may_be_deleted(key, revision) => "nothing stands".into(),
                    Some(_) | None => return Ok(()),
                }
            }
            Write::Delete { keys, deleted } => {
                let events = changes.into_iter().flatten();
                let gone = events
                    .filter(|event| event.kind == EventKind::Delete && keys.contains(&event.key));
                let survivor = self
                    .standing
                    .values()
                    .find(|kv| keys.contains(&kv.key) && kv.create_revision < revision);
                match survivor {
                    Some(kv) => format!("{kv:?} stands"),
                    // More may be gone by another deletion of the same transaction.
                    None if changes.is_some() && (gone.count() as i64) < deleted => {
                        format!("revision {revision} holds {changes:?}")
                    }
                    None => return Ok(()),
                }
            }
        };
        let text = format!("acknowledged and lost: {operation}; {text}");
        Err(Violation::at(Rule::Durable, returned, text))
    }

    fn may_be_deleted(&self, key: &[u8], after: i64) -> bool {
        self.deletions.iter().any(|(keys, revision)| {
            keys.is_none_or(|keys| keys.contains(key))
                && revision.is_none_or(|revision| revision > after)
        })
    }
}

fn may_delete<'a>(
    request: &'a Request,
    revision: Option<i64>,
    deletions: &mut Vec<(Option<&'a KeyRange>, Option<i64>)>,
) {
    match request {
        Request::DeleteRange(delete) => deletions.push((Some(&delete.keys), revision)),
        Request::Txn(txn) => txn_may_delete(txn, revision, deletions),
        // A lease takes keys at a revision that this check does not know.
        Request::LeaseGrant { .. } => deletions.push((None, None)),
        Request::Range(_)
        | Request::Put(_)
        | Request::Compact { .. }
        | Request::LeaseRevoke { .. }
        | Request::LeaseKeepAlive { .. }
        | Request::LeaseTimeToLive { .. } => {}
    }
}

fn txn_may_delete<'a>(
    txn: &'a Txn,
    revision: Option<i64>,
    deletions: &mut Vec<(Option<&'a KeyRange>, Option<i64>)>,
) {
    for operation in txn.success.iter().chain(&txn.failure) {
        match operation {
            TxnOperation::DeleteRange(delete) => deletions.push((Some(&delete.keys), revision)),
            TxnOperation::Txn(txn) => txn_may_delete(txn, revision, deletions),
            TxnOperation::Range(_) | TxnOperation::Put(_) => {}
        }
    }
}
