//! etcd as plainly as it can be said: every revision's whole state is kept.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;
use quorate_api::etcdserverpb::compare::TargetUnion;
use quorate_api::etcdserverpb::request_op::Request as Op;
use quorate_api::etcdserverpb::response_op::Response;
use quorate_api::etcdserverpb::{
    CompactionResponse, Compare, DeleteRangeRequest, DeleteRangeResponse, LeaseGrantResponse,
    LeaseRevokeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse, RequestOp,
    ResponseHeader, ResponseOp, TxnRequest, TxnResponse,
};
use quorate_api::mvccpb::KeyValue;

use crate::request::{Answer, Reply, Request};

type State = BTreeMap<Bytes, KeyValue>;

const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
const FUTURE: &str = "etcdserver: mvcc: required revision is a future revision";
const NO_LEASE: &str = "etcdserver: requested lease not found";
const NO_KEY: &str = "etcdserver: key not found";

/// A change, as etcd's `key` bucket has it.
#[derive(Clone)]
struct Change {
    main: i64,
    sub: i64,
    tombstone: bool,
    kv: KeyValue,
}

/// The hash of what a compaction found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) hash: u32,
    pub(crate) revision: i64,
    pub(crate) compact_revision: i64,
}

#[derive(Clone)]
pub(crate) struct Model {
    /// By revision.
    states: Vec<State>,
    changes: Vec<Change>,
    compacted: i64,
    /// Of each compaction, what it found, the oldest first.
    found: Vec<Found>,
    /// How many of them were before the last restart.
    forgotten: usize,
    leases: BTreeSet<i64>,
    /// Changes of the request under way.
    pending: Vec<Change>,
    /// The state with them.
    now: State,
}

fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader { revision, ..ResponseHeader::default() })
}

fn in_range(key: &Bytes, start: &Bytes, end: &Bytes) -> bool {
    match end.as_ref() {
        [] => key == start,
        [0] => key >= start,
        _ => key >= start && key < end,
    }
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            states: vec![State::new(), State::new()],
            changes: Vec::new(),
            compacted: -1,
            found: Vec::new(),
            forgotten: 0,
            leases: BTreeSet::new(),
            pending: Vec::new(),
            now: State::new(),
        }
    }

    pub(crate) fn revision(&self) -> i64 {
        self.states.len() as i64 - 1
    }

    fn reading(&self) -> i64 {
        self.revision() + i64::from(!self.pending.is_empty())
    }

    fn commit(&mut self) {
        if !self.pending.is_empty() {
            self.states.push(self.now.clone());
            self.changes.append(&mut self.pending);
        }
    }

    pub(crate) fn answer(&mut self, request: &Request) -> Answer {
        let reply = match request {
            Request::Range(range) => Reply::Range(self.range(range)?),
            Request::Put(put) => {
                self.check_put(put)?;
                let response = self.put(put);
                self.commit();
                Reply::Put(response)
            }
            Request::DeleteRange(delete) => {
                let response = self.delete(delete);
                self.commit();
                Reply::DeleteRange(response)
            }
            Request::Txn(txn) => Reply::Txn(self.txn(txn)?),
            Request::Compact(compaction) => {
                if compaction.revision <= self.compacted {
                    return Err(COMPACTED.into());
                }
                if compaction.revision > self.revision() {
                    return Err(FUTURE.into());
                }
                self.compact(compaction.revision);
                Reply::Compact(CompactionResponse { header: header(self.revision()) })
            }
            Request::Grant(grant) => {
                if grant.id == 0 {
                    return Err(NO_LEASE.into());
                }
                if !self.leases.insert(grant.id) {
                    return Err("etcdserver: lease already exists".into());
                }
                Reply::Grant(LeaseGrantResponse {
                    header: header(self.revision()),
                    id: grant.id,
                    ttl: grant.ttl.max(2),
                    error: String::new(),
                })
            }
            Request::Revoke(revoke) => {
                if !self.leases.remove(&revoke.id) {
                    return Err(NO_LEASE.into());
                }
                let attached = |kv: &&KeyValue| kv.lease == revoke.id;
                let keys: Vec<Bytes> =
                    self.now.values().filter(attached).map(|kv| kv.key.clone()).collect();
                for key in keys {
                    self.delete_key(&key);
                }
                self.commit();
                Reply::Revoke(LeaseRevokeResponse { header: header(self.revision()) })
            }
            Request::Hash(revision) => self.hash(*revision)?,
        };
        Ok(reply)
    }

    fn range(&self, range: &RangeRequest) -> Result<RangeResponse, String> {
        if range.revision > self.reading() {
            return Err(FUTURE.into());
        }
        let revision = if range.revision <= 0 { self.reading() } else { range.revision };
        if revision < self.compacted {
            return Err(COMPACTED.into());
        }
        let state = self.states.get(revision as usize).unwrap_or(&self.now);
        let mut kvs: Vec<KeyValue> = state
            .values()
            .filter(|kv| in_range(&kv.key, &range.key, &range.range_end))
            .cloned()
            .collect();
        let count = kvs.len() as i64;
        let mut response =
            RangeResponse { header: header(self.reading()), count, ..RangeResponse::default() };
        if range.count_only {
            return Ok(response);
        }
        let limit = if range.limit > 0 { range.limit as usize } else { usize::MAX };
        let filtered = range.min_mod_revision != 0
            || range.max_mod_revision != 0
            || range.min_create_revision != 0
            || range.max_create_revision != 0;
        // Order: 0 none, 1 ascending, 2 descending. Target: 0 key, 1 version, 2 create, 3 mod,
        // 4 value.
        let in_order = range.sort_order == 0 || (range.sort_target == 0 && range.sort_order == 1);
        if in_order && !filtered {
            kvs.truncate(limit.saturating_add(1));
        }
        kvs.retain(|kv| {
            (range.max_mod_revision == 0 || kv.mod_revision <= range.max_mod_revision)
                && (range.min_mod_revision == 0 || kv.mod_revision >= range.min_mod_revision)
                && (range.max_create_revision == 0
                    || kv.create_revision <= range.max_create_revision)
                && (range.min_create_revision == 0
                    || kv.create_revision >= range.min_create_revision)
        });
        kvs.sort_by(|left, right| {
            let ordering = match range.sort_target {
                0 => left.key.cmp(&right.key),
                1 => left.version.cmp(&right.version),
                2 => left.create_revision.cmp(&right.create_revision),
                3 => left.mod_revision.cmp(&right.mod_revision),
                _ => left.value.cmp(&right.value),
            };
            if range.sort_order == 2 { ordering.reverse() } else { ordering }
        });
        response.more = kvs.len() > limit;
        kvs.truncate(limit);
        if range.keys_only {
            for kv in &mut kvs {
                kv.value = Bytes::new();
                if range.sort_target != 4 {
                    kv.lease = 0;
                }
            }
        }
        response.kvs = kvs;
        Ok(response)
    }

    fn check_put(&self, put: &PutRequest) -> Result<(), String> {
        if put.lease != 0 && !self.leases.contains(&put.lease) {
            return Err(NO_LEASE.into());
        }
        if (put.ignore_value || put.ignore_lease) && !self.now.contains_key(&put.key) {
            return Err(NO_KEY.into());
        }
        Ok(())
    }

    fn put(&mut self, put: &PutRequest) -> PutResponse {
        let main = self.revision() + 1;
        let before = self.now.get(&put.key).cloned();
        let old = before.clone().unwrap_or_default();
        let kv = KeyValue {
            key: put.key.clone(),
            value: if put.ignore_value { old.value } else { put.value.clone() },
            lease: if put.ignore_lease { old.lease } else { put.lease },
            create_revision: if before.is_some() { old.create_revision } else { main },
            mod_revision: main,
            version: old.version + 1,
        };
        let sub = self.pending.len() as i64;
        self.pending.push(Change { main, sub, tombstone: false, kv: kv.clone() });
        self.now.insert(put.key.clone(), kv);
        PutResponse { header: header(main), prev_kv: before.filter(|_| put.prev_kv) }
    }

    fn delete_key(&mut self, key: &Bytes) {
        self.now.remove(key);
        let kv = KeyValue { key: key.clone(), ..KeyValue::default() };
        let (main, sub) = (self.revision() + 1, self.pending.len() as i64);
        self.pending.push(Change { main, sub, tombstone: true, kv });
    }

    fn delete(&mut self, delete: &DeleteRangeRequest) -> DeleteRangeResponse {
        let gone: Vec<KeyValue> = self
            .now
            .values()
            .filter(|kv| in_range(&kv.key, &delete.key, &delete.range_end))
            .cloned()
            .collect();
        for kv in &gone {
            self.delete_key(&kv.key);
        }
        DeleteRangeResponse {
            header: header(self.reading()),
            deleted: gone.len() as i64,
            prev_kvs: if delete.prev_kv { gone } else { Vec::new() },
        }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let mut kvs: Vec<KeyValue> = self
            .now
            .values()
            .filter(|kv| in_range(&kv.key, &compare.key, &compare.range_end))
            .cloned()
            .collect();
        if kvs.is_empty() {
            if compare.target == 3 {
                return false;
            }
            kvs.push(KeyValue::default());
        }
        kvs.iter().all(|kv| {
            let number = |found: i64, wanted: i64| found.cmp(&wanted);
            let ordering = match (compare.target, compare.target_union.clone().unwrap()) {
                (0, TargetUnion::Version(wanted)) => number(kv.version, wanted),
                (1, TargetUnion::CreateRevision(wanted)) => number(kv.create_revision, wanted),
                (2, TargetUnion::ModRevision(wanted)) => number(kv.mod_revision, wanted),
                (3, TargetUnion::Value(wanted)) => kv.value.cmp(&wanted),
                (4, TargetUnion::Lease(wanted)) => number(kv.lease, wanted),
                other => panic!("the generator does not make {other:?}"),
            };
            match compare.result {
                0 => ordering.is_eq(),
                1 => ordering.is_gt(),
                2 => ordering.is_lt(),
                _ => ordering.is_ne(),
            }
        })
    }

    fn txn(&mut self, txn: &TxnRequest) -> Result<TxnResponse, String> {
        // Branches are chosen, and operations checked, before anything runs.
        let chosen = self.choose(txn);
        self.check(&chosen)?;
        let mut response = self.run(&chosen);
        self.commit();
        response.header = header(self.revision());
        Ok(response)
    }

    fn choose(&self, txn: &TxnRequest) -> Chosen {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let ops = if succeeded { &txn.success } else { &txn.failure };
        let nested = |op: &RequestOp| match &op.request {
            Some(Op::RequestTxn(txn)) => Some(self.choose(txn)),
            _ => None,
        };
        let ops = ops.iter().map(|op| (op.clone(), nested(op))).collect();
        Chosen { succeeded, ops }
    }

    fn check(&self, chosen: &Chosen) -> Result<(), String> {
        for (op, nested) in &chosen.ops {
            match op.request.as_ref().unwrap() {
                Op::RequestRange(range) if range.revision > self.revision() => {
                    return Err(FUTURE.into());
                }
                Op::RequestRange(range)
                    if range.revision != 0 && range.revision < self.compacted =>
                {
                    return Err(COMPACTED.into());
                }
                Op::RequestRange(_) | Op::RequestDeleteRange(_) => {}
                Op::RequestPut(put) => self.check_put(put)?,
                Op::RequestTxn(_) => self.check(nested.as_ref().unwrap())?,
            }
        }
        Ok(())
    }

    fn run(&mut self, chosen: &Chosen) -> TxnResponse {
        let mut responses = Vec::new();
        for (op, nested) in &chosen.ops {
            let response = match op.request.as_ref().unwrap() {
                Op::RequestRange(range) => Response::ResponseRange(self.range(range).unwrap()),
                Op::RequestPut(put) => Response::ResponsePut(self.put(put)),
                Op::RequestDeleteRange(delete) => {
                    Response::ResponseDeleteRange(self.delete(delete))
                }
                Op::RequestTxn(_) => Response::ResponseTxn(self.run(nested.as_ref().unwrap())),
            };
            responses.push(ResponseOp { response: Some(response) });
        }
        let header = Some(ResponseHeader::default());
        TxnResponse { header, succeeded: chosen.succeeded, responses }
    }

    /// Drop changes as etcd's key index does.
    fn compact(&mut self, revision: i64) {
        let kept = self.keep(revision, true);
        let hash = self.hash_with(revision, &kept);
        self.found.push(Found { hash, revision, compact_revision: self.compacted });
        self.compacted = revision;
        self.changes
            .retain(|change| change.main > revision || kept.contains(&(change.main, change.sub)));
    }

    /// The newest change of each key up to `revision`, unless it deletes; and one that deletes
    /// exactly there, if `tombstones`.
    fn keep(&self, revision: i64, tombstones: bool) -> BTreeSet<(i64, i64)> {
        let mut newest: BTreeMap<&Bytes, &Change> = BTreeMap::new();
        for change in self.changes.iter().filter(|change| change.main <= revision) {
            newest.insert(&change.kv.key, change);
        }
        newest
            .values()
            .filter(|change| !change.tombstone || (tombstones && change.main == revision))
            .map(|change| (change.main, change.sub))
            .collect()
    }

    /// A restart forgets what compactions found.
    pub(crate) fn restart(&mut self) {
        self.forgotten = self.found.len();
    }

    /// What the compaction to this revision found, remembered or not.
    pub(crate) fn found(&self, revision: i64) -> Option<Found> {
        self.found.iter().find(|found| found.revision == revision).copied()
    }

    fn remembered(&self) -> &[Found] {
        &self.found[self.found.len().saturating_sub(10).max(self.forgotten)..]
    }

    /// The revisions of the last compactions, and the compacted one, which a restart leaves.
    pub(crate) fn compactions(&self) -> Vec<i64> {
        let all = self.remembered().iter().map(|found| found.revision);
        all.chain([self.compacted]).filter(|revision| *revision > 0).collect()
    }

    fn hash(&self, revision: i64) -> Answer {
        let is_it = |found: &&Found| found.revision == revision;
        if let Some(Found { hash, compact_revision, .. }) =
            self.remembered().iter().find(is_it).copied()
        {
            return Ok(Reply::Hash { hash, revision, compact_revision });
        }
        if revision > 0 && revision < self.compacted {
            return Err(COMPACTED.into());
        }
        if revision > self.revision() {
            return Err(FUTURE.into());
        }
        let revision = if revision == 0 { self.revision() } else { revision };
        let hash = self.hash_with(revision, &self.keep(revision, false));
        Ok(Reply::Hash { hash, revision, compact_revision: self.compacted })
    }

    /// The hash of what is left up to `revision`, but for what is compacted and not in `keep`.
    fn hash_with(&self, revision: i64, keep: &BTreeSet<(i64, i64)>) -> u32 {
        let mut bytes = b"key".to_vec();
        for change in self.changes.iter().filter(|change| change.main <= revision) {
            let old = change.main <= self.compacted && !keep.is_empty();
            if (old && !keep.contains(&(change.main, change.sub)))
                || (change.main == self.compacted && change.tombstone)
            {
                continue;
            }
            bytes.extend(change.main.to_be_bytes());
            bytes.push(b'_');
            bytes.extend(change.sub.to_be_bytes());
            if change.tombstone {
                bytes.push(b't');
            }
            bytes.extend(change.kv.encode_to_vec());
        }
        crc32c::crc32c(&bytes)
    }
}

/// A transaction's chosen branch.
struct Chosen {
    succeeded: bool,
    ops: Vec<(RequestOp, Option<Chosen>)>,
}
