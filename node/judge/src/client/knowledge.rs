//! What a client has seen: revisions, keys as they stood last, and leases. It may be out of date.

use crate::history::{Body, Event, EventKind, KeyValue, Put, Request, Response, Txn, TxnOperation};
use crate::random::Random;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// Revisions remembered: enough to reach back behind compactions.
const REVISIONS_MAX: usize = 40;
/// Leases of others remembered.
const LEASES_MAX: usize = 12;

#[derive(Debug, Clone)]
pub(super) struct Knowledge {
    /// The highest revision seen.
    pub(super) revision: i64,
    /// The highest revision known to be compacted to.
    pub(super) compacted: i64,
    revisions: VecDeque<i64>,
    keys: BTreeMap<Bytes, KeyValue>,
    leases: VecDeque<i64>,
}

impl Knowledge {
    pub(super) fn new() -> Self {
        Self {
            revision: 1,
            compacted: 0,
            revisions: VecDeque::new(),
            keys: BTreeMap::new(),
            leases: VecDeque::new(),
        }
    }

    /// Some revision seen lately; 1 before any was.
    pub(super) fn some_revision(&self, random: &mut Random) -> i64 {
        match self.revisions.len() {
            0 => 1,
            count => self.revisions.get(random.index(count)).copied().unwrap_or(1),
        }
    }

    pub(super) fn key(&self, key: &[u8]) -> Option<&KeyValue> {
        self.keys.get(key)
    }

    /// Some lease that a key was attached to, or that may have been granted.
    pub(super) fn some_lease(&self, random: &mut Random) -> Option<i64> {
        match self.leases.len() {
            0 => None,
            count => self.leases.get(random.index(count)).copied(),
        }
    }

    pub(super) fn learn_revision(&mut self, revision: i64) {
        self.revision = self.revision.max(revision);
        if revision > 0 && self.revisions.back() != Some(&revision) {
            self.revisions.push_back(revision);
            if self.revisions.len() > REVISIONS_MAX {
                self.revisions.pop_front();
            }
        }
    }

    pub(super) fn learn_compaction(&mut self, revision: i64) {
        self.compacted = self.compacted.max(revision);
    }

    pub(super) fn learn_lease(&mut self, lease: i64) {
        if lease != 0 && !self.leases.contains(&lease) {
            self.leases.push_back(lease);
            if self.leases.len() > LEASES_MAX {
                self.leases.pop_front();
            }
        }
    }

    pub(super) fn learn_event(&mut self, event: &Event) {
        self.learn_revision(event.mod_revision);
        match &event.kind {
            EventKind::Put(kv) => self.learn_kv(kv),
            EventKind::Delete => self.forget(&event.key, event.mod_revision),
        }
    }

    pub(super) fn learn_answer(&mut self, request: &Request, response: &Response) {
        self.learn_revision(response.revision);
        response.body.visit_kvs(&mut |kv| self.learn_kv(kv));
        match (request, &response.body) {
            (Request::Put(put), _) => self.learn_put(put, response.revision),
            (Request::DeleteRange(delete), _) => {
                let kept = |key: &Bytes| !delete.keys.contains(key);
                self.keys.retain(|key, _| kept(key));
            }
            (Request::Txn(txn), body) => self.learn_txn(txn, body, response.revision),
            (Request::Compact { revision }, _) => self.learn_compaction(*revision),
            (
                Request::Range(_)
                | Request::LeaseGrant { .. }
                | Request::LeaseRevoke { .. }
                | Request::LeaseKeepAlive { .. }
                | Request::LeaseTimeToLive { .. },
                _,
            ) => {}
        }
    }

    fn learn_txn(&mut self, txn: &Txn, body: &Body, revision: i64) {
        let Body::Txn { succeeded, results } = body else { return };
        let branch = if *succeeded { &txn.success } else { &txn.failure };
        for (operation, result) in branch.iter().zip(results) {
            match operation {
                TxnOperation::Range(_) => {}
                TxnOperation::Put(put) => self.learn_put(put, revision),
                TxnOperation::DeleteRange(delete) => {
                    self.keys.retain(|key, _| !delete.keys.contains(key));
                }
                TxnOperation::Txn(txn) => self.learn_txn(txn, result, revision),
            }
        }
    }

    /// The client's own write, whose answer does not show the key: the rest is a guess.
    fn learn_put(&mut self, put: &Put, revision: i64) {
        let old = self.keys.get(&put.key);
        let kv = KeyValue {
            key: put.key.clone(),
            value: put.value.clone(),
            create_revision: old.map_or(revision, |old| old.create_revision),
            mod_revision: revision,
            version: old.map_or(1, |old| old.version.saturating_add(1)),
            lease: put.lease,
        };
        self.learn_kv(&kv);
    }

    fn learn_kv(&mut self, kv: &KeyValue) {
        self.learn_lease(kv.lease);
        // An answer without values says less of a revision than one with them.
        let is_news = self.keys.get(&kv.key).is_none_or(|known| {
            let is_same = known.mod_revision == kv.mod_revision && !kv.value.is_empty();
            known.mod_revision < kv.mod_revision || is_same
        });
        if is_news {
            self.keys.insert(kv.key.clone(), kv.clone());
        }
    }

    fn forget(&mut self, key: &Bytes, revision: i64) {
        if self.keys.get(key).is_some_and(|known| known.mod_revision < revision) {
            self.keys.remove(key);
        }
    }
}
