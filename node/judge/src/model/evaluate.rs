//! What a request answers and changes, to the letter of etcd's apply.

use super::{Effect, Evaluated, Model};
use crate::history::{
    Body, Compare, DeleteRange, Event, EventKind, KeyRange, KeyValue, Projection, Put, Range,
    RangeResult, Refusal, Relation, Request, Response, Target, Txn, TxnOperation,
};
use bytes::Bytes;
use std::cmp::Ordering;
use std::collections::BTreeMap;

pub(super) fn evaluate(model: &Model, request: &Request) -> Result<Evaluated, Refusal> {
    let mut pending = Pending { model, changed: BTreeMap::new(), events: Vec::new() };
    let mut effect = Effect::None;
    let body = match request {
        Request::Range(range) => Body::Range(pending.range(range)?),
        Request::Put(put) => {
            pending.check_put(put)?;
            pending.put(put)
        }
        Request::DeleteRange(delete) => pending.delete_range(delete),
        Request::Txn(txn) => {
            check_duplicates(txn)?;
            let mut path = Vec::new();
            pending.find_path(txn, &mut path);
            pending.check(txn, &mut path.iter().copied())?;
            pending.txn(txn, &mut path.into_iter())?
        }
        Request::Compact { revision } => {
            if *revision <= model.compact_revision {
                return Err(Refusal::Compacted);
            }
            if *revision > model.revision {
                return Err(Refusal::FutureRevision);
            }
            effect = Effect::Compacted { revision: *revision };
            Body::Compact
        }
        Request::LeaseGrant { id, ttl } => {
            if model.leases.contains_key(id) {
                return Err(Refusal::LeaseExists);
            }
            effect = Effect::Granted { id: *id, ttl: *ttl };
            Body::LeaseGrant { id: *id, ttl: *ttl }
        }
        Request::LeaseRevoke { id } => {
            if !model.leases.contains_key(id) {
                return Err(Refusal::LeaseNotFound);
            }
            effect = Effect::Revoked { id: *id };
            pending.events = model.lease_deletions(*id);
            Body::LeaseRevoke
        }
        Request::LeaseKeepAlive { id } => {
            Body::LeaseKeepAlive { id: *id, ttl: model.leases.get(id).copied().unwrap_or(0) }
        }
        Request::LeaseTimeToLive { id, keys } => time_to_live(model, *id, *keys),
    };
    let events = pending.events;
    let revision = model.revision + i64::from(!events.is_empty());
    Ok(Evaluated { response: Response { revision, body }, events, effect })
}

fn time_to_live(model: &Model, id: i64, keys: bool) -> Body {
    let Some(&granted_ttl) = model.leases.get(&id) else {
        return Body::LeaseTimeToLive { id, ttl: -1, granted_ttl: 0, keys: Vec::new() };
    };
    let attached = model.keys_of_lease(id).map(|kv| kv.key.clone());
    let keys: Vec<Bytes> = if keys { attached.collect() } else { Vec::new() };
    Body::LeaseTimeToLive { id, ttl: granted_ttl, granted_ttl, keys }
}

/// A transaction under way: the model, and what the transaction has changed so far.
struct Pending<'a> {
    model: &'a Model,
    changed: BTreeMap<Bytes, Option<KeyValue>>,
    events: Vec<Event>,
}

impl Pending<'_> {
    fn get(&self, key: &[u8]) -> Option<&KeyValue> {
        match self.changed.get(key) {
            Some(changed) => changed.as_ref(),
            None => self.model.get_at(key, i64::MAX),
        }
    }

    /// The keys of a range as the transaction sees them now.
    fn current(&self, keys: &KeyRange) -> Vec<KeyValue> {
        if self.changed.is_empty() {
            return self.model.range_at(keys, i64::MAX).cloned().collect();
        }
        let mut found: BTreeMap<&Bytes, &KeyValue> =
            self.model.range_at(keys, i64::MAX).map(|kv| (&kv.key, kv)).collect();
        for (key, kv) in self.changed.iter().filter(|(key, _)| keys.contains(key)) {
            match kv {
                Some(kv) => found.insert(key, kv),
                None => found.remove(key),
            };
        }
        found.into_values().cloned().collect()
    }

    fn check_range(&self, range: &Range) -> Result<(), Refusal> {
        let revision = range.revision;
        if revision > self.model.revision {
            return Err(Refusal::FutureRevision);
        }
        if revision > 0 && revision < self.model.compact_revision {
            return Err(Refusal::Compacted);
        }
        Ok(())
    }

    fn range(&self, range: &Range) -> Result<RangeResult, Refusal> {
        self.check_range(range)?;
        let Range { keys, revision, limit, consistency: _, projection } = range;
        let mut kvs: Vec<KeyValue> = if *revision <= 0 {
            self.current(keys)
        } else {
            self.model.range_at(keys, *revision).cloned().collect()
        };
        let count = kvs.len() as i64;
        let wanted = usize::try_from(*limit).unwrap_or(0);
        let more = wanted > 0 && kvs.len() > wanted && *projection != Projection::CountOnly;
        if more {
            kvs.truncate(wanted);
        }
        match projection {
            Projection::Full => {}
            Projection::KeysOnly => {
                for kv in &mut kvs {
                    kv.value = Bytes::new();
                    kv.lease = 0;
                }
            }
            Projection::CountOnly => kvs.clear(),
        }
        Ok(RangeResult { kvs, count, more })
    }

    fn check_put(&self, put: &Put) -> Result<(), Refusal> {
        let known = !self.model.checks_leases || self.model.leases.contains_key(&put.lease);
        if put.lease != 0 && !known {
            return Err(Refusal::LeaseNotFound);
        }
        if (put.ignore_value || put.ignore_lease) && self.get(&put.key).is_none() {
            return Err(Refusal::KeyNotFound);
        }
        Ok(())
    }

    /// A key that its own transaction deleted before, which only a deletion without bound may,
    /// has an empty value and no lease to keep. etcd's members all crash there.
    fn put(&mut self, put: &Put) -> Body {
        let Put { key, value, lease, prev_kv, ignore_value, ignore_lease } = put;
        let old = self.get(key).cloned();
        let mod_revision = self.model.revision + 1;
        let kv = KeyValue {
            key: key.clone(),
            value: match &old {
                _ if !ignore_value => value.clone(),
                old => old.as_ref().map_or_else(Bytes::new, |old| old.value.clone()),
            },
            create_revision: old.as_ref().map_or(mod_revision, |old| old.create_revision),
            mod_revision,
            version: old.as_ref().map_or(1, |old| old.version + 1),
            lease: match &old {
                _ if !ignore_lease => *lease,
                old => old.as_ref().map_or(0, |old| old.lease),
            },
        };
        self.change(key.clone(), Some(kv));
        Body::Put { prev_kv: old.filter(|_| *prev_kv) }
    }

    fn delete_range(&mut self, delete: &DeleteRange) -> Body {
        let found = self.current(&delete.keys);
        for kv in &found {
            self.change(kv.key.clone(), None);
        }
        let deleted = found.len() as i64;
        Body::DeleteRange { deleted, prev_kvs: if delete.prev_kv { found } else { Vec::new() } }
    }

    /// Events show what stood before the revision, as etcd's watchers do, not before the change.
    fn change(&mut self, key: Bytes, kv: Option<KeyValue>) {
        let creates = kv.as_ref().is_some_and(|kv| kv.version == 1);
        let prev_kv = self.model.get_at(&key, i64::MAX).filter(|_| !creates).cloned();
        let mod_revision = self.model.revision + 1;
        let kind = kv.clone().map_or(EventKind::Delete, EventKind::Put);
        self.events.push(Event { key: key.clone(), mod_revision, kind, prev_kv });
        self.changed.insert(key, kv);
    }

    /// Which conditions hold, for each transaction that is going to run, outer ones first. Inner
    /// ones, too, are decided before anything is written.
    fn find_path(&self, txn: &Txn, path: &mut Vec<bool>) {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        path.push(succeeded);
        for operation in if succeeded { &txn.success } else { &txn.failure } {
            if let TxnOperation::Txn(txn) = operation {
                self.find_path(txn, path);
            }
        }
    }

    /// Whether everything on the path can run. It is decided before anything is written.
    fn check(&self, txn: &Txn, path: &mut impl Iterator<Item = bool>) -> Result<(), Refusal> {
        let succeeded = path.next().expect("the path holds every transaction that runs");
        for operation in if succeeded { &txn.success } else { &txn.failure } {
            match operation {
                TxnOperation::Range(range) => self.check_range(range)?,
                TxnOperation::Put(put) => self.check_put(put)?,
                TxnOperation::DeleteRange(_) => {}
                TxnOperation::Txn(txn) => self.check(txn, path)?,
            }
        }
        Ok(())
    }

    fn txn(&mut self, txn: &Txn, path: &mut impl Iterator<Item = bool>) -> Result<Body, Refusal> {
        let succeeded = path.next().expect("the path holds every transaction that runs");
        let branch = if succeeded { &txn.success } else { &txn.failure };
        let mut results = Vec::with_capacity(branch.len());
        for operation in branch {
            results.push(match operation {
                TxnOperation::Range(range) => Body::Range(self.range(range)?),
                TxnOperation::Put(put) => self.put(put),
                TxnOperation::DeleteRange(delete) => self.delete_range(delete),
                TxnOperation::Txn(txn) => self.txn(txn, path)?,
            });
        }
        Ok(Body::Txn { succeeded, results })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let found = self.current(&compare.keys);
        if found.is_empty() {
            // An absent key compares as zero, but has no value to compare.
            return match &compare.target {
                Target::Value(_) => false,
                Target::Version(given)
                | Target::Create(given)
                | Target::Mod(given)
                | Target::Lease(given) => relates(0.cmp(given), compare.relation),
            };
        }
        found.iter().all(|kv| {
            let ordering = match &compare.target {
                Target::Version(given) => kv.version.cmp(given),
                Target::Create(given) => kv.create_revision.cmp(given),
                Target::Mod(given) => kv.mod_revision.cmp(given),
                Target::Value(given) => kv.value.cmp(given),
                Target::Lease(given) => kv.lease.cmp(given),
            };
            relates(ordering, compare.relation)
        })
    }
}

fn relates(ordering: Ordering, relation: Relation) -> bool {
    match relation {
        Relation::Equal => ordering.is_eq(),
        Relation::Greater => ordering.is_gt(),
        Relation::Less => ordering.is_lt(),
        Relation::NotEqual => ordering.is_ne(),
    }
}

/// No key is written twice in one run of a transaction: then and else exclude each other,
/// deletions may overlap deletions, and nothing else may.
fn check_duplicates(txn: &Txn) -> Result<(), Refusal> {
    for branch in [&txn.success, &txn.failure] {
        branch_writes(branch)?;
    }
    Ok(())
}

#[derive(Default)]
struct Writes<'a> {
    puts: Vec<&'a Bytes>,
    deletes: Vec<&'a KeyRange>,
}

fn branch_writes(branch: &[TxnOperation]) -> Result<Writes<'_>, Refusal> {
    let mut all = Writes::default();
    for operation in branch {
        match operation {
            TxnOperation::Range(_) => {}
            TxnOperation::Put(put) => {
                add_writes(&mut all, Writes { puts: vec![&put.key], deletes: Vec::new() })?;
            }
            // etcd takes an end without bound for a key below all others here, so that such a
            // deletion overlaps no write.
            TxnOperation::DeleteRange(delete) if delete.keys.end.as_ref() == b"\0" => {}
            TxnOperation::DeleteRange(delete) => {
                add_writes(&mut all, Writes { puts: Vec::new(), deletes: vec![&delete.keys] })?;
            }
            TxnOperation::Txn(txn) => {
                let then = branch_writes(&txn.success)?;
                let other = branch_writes(&txn.failure)?;
                let mut inner = Writes::default();
                inner.puts.extend(then.puts.into_iter().chain(other.puts));
                inner.deletes.extend(then.deletes.into_iter().chain(other.deletes));
                add_writes(&mut all, inner)?;
            }
        }
    }
    Ok(all)
}

fn add_writes<'a>(all: &mut Writes<'a>, new: Writes<'a>) -> Result<(), Refusal> {
    let twice = new
        .puts
        .iter()
        .any(|put| all.puts.contains(put) || all.deletes.iter().any(|keys| keys.contains(put)));
    let deleted = new.deletes.iter().any(|keys| all.puts.iter().any(|put| keys.contains(put)));
    if twice || deleted {
        return Err(Refusal::Invalid);
    }
    all.puts.extend(new.puts);
    all.deletes.extend(new.deletes);
    Ok(())
}
