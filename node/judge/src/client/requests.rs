//! What a client asks next.

use super::keys::{some_key, some_keys};
use super::{Client, Weights};
use crate::history::{Consistency, DeleteRange, Projection, Put, Range, Request};
use bytes::Bytes;

#[derive(Debug, Clone, Copy)]
enum Kind {
    Put,
    Range,
    DeleteRange,
    Txn,
    Compact,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseRevoke,
    LeaseTimeToLive,
}

/// The revision of a read or a compaction, against what the client has seen.
#[derive(Debug, Clone, Copy)]
enum When {
    Unnamed,
    Seen,
    Newest,
    Future,
    Compacted,
}

/// Whose lease a request names.
#[derive(Debug, Clone, Copy)]
enum Whose {
    Own,
    SeenOnAKey,
    Ended,
    Nobodys,
}

/// How far in the future a revision is that nobody reaches in a run.
const NEVER_REACHED: i64 = 1_000_000;

impl Client {
    pub(super) fn some_request(&mut self) -> Request {
        let Weights {
            put,
            range,
            delete_range,
            txn,
            compact,
            lease_grant,
            lease_keep_alive,
            lease_revoke,
            lease_time_to_live,
        } = self.options.weights;
        let kinds = [
            (put, Kind::Put),
            (range, Kind::Range),
            (delete_range, Kind::DeleteRange),
            (txn, Kind::Txn),
            (compact, Kind::Compact),
            (lease_grant, Kind::LeaseGrant),
            (lease_keep_alive, Kind::LeaseKeepAlive),
            (lease_revoke, Kind::LeaseRevoke),
            (lease_time_to_live, Kind::LeaseTimeToLive),
        ];
        match self.random.weighted(&kinds).copied().unwrap_or(Kind::Put) {
            Kind::Put => {
                let key = some_key(&mut self.random, self.options.keys);
                Request::Put(self.some_put(key))
            }
            Kind::Range => Request::Range(self.some_range()),
            Kind::DeleteRange => Request::DeleteRange(self.some_delete()),
            Kind::Txn => Request::Txn(self.some_txn()),
            Kind::Compact => Request::Compact { revision: self.revision_to_compact() },
            Kind::LeaseGrant => self.leases.grant(&mut self.random),
            Kind::LeaseKeepAlive => Request::LeaseKeepAlive { id: self.some_lease() },
            Kind::LeaseRevoke => Request::LeaseRevoke { id: self.some_lease() },
            Kind::LeaseTimeToLive => {
                let keys = self.random.chance(1, 2);
                Request::LeaseTimeToLive { id: self.some_lease(), keys }
            }
        }
    }

    /// A value that nobody else writes, and that tells who asked for it.
    pub(super) fn new_value(&mut self) -> Bytes {
        self.values += 1;
        Bytes::from(format!("c{}#{}.{}", self.id.0, self.calls_made, self.values))
    }

    pub(super) fn some_put(&mut self, key: Bytes) -> Put {
        let mut put = Put::new(key, self.new_value());
        put.prev_kv = self.random.chance(1, 3);
        if self.random.chance(1, 4) {
            put.lease = self.some_lease();
        }
        // What is to be kept must not be given.
        if self.random.chance(1, 12) {
            put.ignore_value = true;
            put.value = Bytes::new();
        }
        if self.random.chance(1, 12) {
            put.ignore_lease = true;
            put.lease = 0;
        }
        put
    }

    pub(super) fn some_range(&mut self) -> Range {
        let choices = [
            (12, When::Unnamed),
            (4, When::Seen),
            (2, When::Newest),
            (1, When::Future),
            (2, When::Compacted),
        ];
        let when = self.random.weighted(&choices).copied().unwrap_or(When::Unnamed);
        let projections =
            [(6, Projection::Full), (1, Projection::KeysOnly), (1, Projection::CountOnly)];
        let projection = self.random.weighted(&projections).copied().unwrap_or(Projection::Full);
        let consistency = self.some_consistency();
        let limited = self.random.chance(1, 5);
        Range {
            keys: some_keys(&mut self.random, self.options.keys),
            revision: self.revision_at(when),
            limit: if limited { self.random.range(1..5) as i64 } else { 0 },
            consistency,
            projection,
        }
    }

    pub(super) fn some_consistency(&mut self) -> Consistency {
        if self.random.chance(1, 3) { Consistency::Serializable } else { Consistency::Linearizable }
    }

    pub(super) fn some_delete(&mut self) -> DeleteRange {
        let keys = some_keys(&mut self.random, self.options.keys);
        DeleteRange { keys, prev_kv: self.random.chance(1, 2) }
    }

    fn revision_to_compact(&mut self) -> i64 {
        let choices = [(7, When::Seen), (1, When::Newest), (1, When::Future), (1, When::Compacted)];
        let when = self.random.weighted(&choices).copied().unwrap_or(When::Seen);
        self.revision_at(when)
    }

    fn revision_at(&mut self, when: When) -> i64 {
        let (random, knowledge) = (&mut self.random, &self.knowledge);
        match when {
            When::Unnamed => 0,
            When::Seen => knowledge.some_revision(random),
            When::Newest => knowledge.revision,
            When::Future if random.chance(1, 2) => knowledge.revision + NEVER_REACHED,
            When::Future => knowledge.revision + random.range(1..10) as i64,
            When::Compacted => 1 + random.below(knowledge.compacted.max(1) as u64) as i64,
        }
    }

    /// Some lease, mostly one that is there.
    pub(super) fn some_lease(&mut self) -> i64 {
        let choices =
            [(14, Whose::Own), (3, Whose::SeenOnAKey), (2, Whose::Ended), (1, Whose::Nobodys)];
        let random = &mut self.random;
        let lease = match random.weighted(&choices).copied().unwrap_or(Whose::Own) {
            Whose::Own => self.leases.some_own(random),
            Whose::SeenOnAKey => self.knowledge.some_lease(random),
            Whose::Ended => self.leases.some_ended(random),
            Whose::Nobodys => None,
        };
        lease.unwrap_or_else(|| self.leases.never_granted())
    }
}
