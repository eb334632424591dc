//! Leases as they are replicated: lifetimes, remaining time at the last checkpoint, attached keys.
//!
//! It knows no deadline: when a lease expires is the leader's decision, and arrives as a revoke.
//!
//! Invariant: a key is attached to at most one lease, and to one that exists.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;
use quorate_api::leasepb;

use crate::hash::hash_row;

/// The longest lifetime that is granted, in seconds.
pub const TTL_SECONDS_MAX: i64 = 9_000_000_000;

/// A lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// Its lifetime in seconds.
    pub ttl_seconds: i64,
    /// What it had left at the last checkpoint, in seconds; 0 if there is none.
    pub remaining_seconds: i64,
    keys: BTreeSet<Bytes>,
}

impl Lease {
    /// The attached keys, in order.
    #[must_use]
    pub fn keys(&self) -> &BTreeSet<Bytes> {
        &self.keys
    }
}

/// A change of the leases, for whoever keeps their time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseChange {
    /// There is a new lease.
    Granted {
        /// The lease.
        id: i64,
        /// Its lifetime in seconds.
        ttl_seconds: i64,
    },
    /// A lease is gone.
    Revoked {
        /// The lease.
        id: i64,
    },
    /// What a lease has left is stored.
    Checkpointed {
        /// The lease.
        id: i64,
        /// In seconds; 0 for the whole lifetime.
        remaining_seconds: i64,
    },
}

/// All leases.
#[derive(Clone, Debug, Default)]
pub struct Leases {
    leases: BTreeMap<i64, Lease>,
    by_key: BTreeMap<Bytes, i64>,
    hash: u64,
}

/// The lease's key in its table.
pub(crate) fn row_key(id: i64) -> [u8; 8] {
    id.to_be_bytes()
}

/// The lease's value in its table.
pub(crate) fn row_value(id: i64, lease: &Lease) -> Vec<u8> {
    let Lease { ttl_seconds, remaining_seconds, keys: _ } = lease;
    leasepb::Lease { id, ttl: *ttl_seconds, remaining_ttl: *remaining_seconds }.encode_to_vec()
}

fn hash(id: i64, lease: &Lease) -> u64 {
    hash_row("lease", &row_key(id), &row_value(id, lease))
}

impl Leases {
    /// The lease, if it exists.
    #[must_use]
    pub fn get(&self, id: i64) -> Option<&Lease> {
        self.leases.get(&id)
    }

    /// All leases by id.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &Lease)> {
        self.leases.iter().map(|(id, lease)| (*id, lease))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.leases.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// What the leases add to the state hash. Attached keys are in the keys' records already.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        self.hash
    }

    /// The lease that a key is attached to.
    #[must_use]
    pub fn of_key(&self, key: &[u8]) -> Option<i64> {
        self.by_key.get(key).copied()
    }

    /// Add a lease, or replace what is stored of one.
    pub(crate) fn insert(&mut self, id: i64, ttl_seconds: i64, remaining_seconds: i64) {
        let keys = self.leases.remove(&id).map_or_else(BTreeSet::new, |old| {
            self.hash = self.hash.wrapping_sub(hash(id, &old));
            old.keys
        });
        let lease = Lease { ttl_seconds, remaining_seconds, keys };
        self.hash = self.hash.wrapping_add(hash(id, &lease));
        self.leases.insert(id, lease);
    }

    /// Store what a lease has left; whether the lease exists.
    pub(crate) fn checkpoint(&mut self, id: i64, remaining_seconds: i64) -> bool {
        let Some(ttl_seconds) = self.get(id).map(|lease| lease.ttl_seconds) else { return false };
        self.insert(id, ttl_seconds, remaining_seconds);
        true
    }

    /// Remove a lease; its keys, in order.
    pub(crate) fn remove(&mut self, id: i64) -> Option<BTreeSet<Bytes>> {
        let lease = self.leases.remove(&id)?;
        self.hash = self.hash.wrapping_sub(hash(id, &lease));
        for key in &lease.keys {
            self.by_key.remove(key);
        }
        Some(lease.keys)
    }

    /// Attach a key to a lease, or to none for 0, and detach it from the one before. A lease that
    /// does not exist is none.
    pub(crate) fn attach(&mut self, key: &[u8], id: i64) {
        let before = self.of_key(key).unwrap_or(0);
        if before == id {
            return;
        }
        self.detach(key);
        if let Some(lease) = self.leases.get_mut(&id) {
            // A copy: the key is a slice of its request, value and all.
            let key = Bytes::copy_from_slice(key);
            lease.keys.insert(key.clone());
            self.by_key.insert(key, id);
        }
    }

    /// Detach a key from its lease, if it has one.
    pub(crate) fn detach(&mut self, key: &[u8]) {
        if let Some(id) = self.by_key.remove(key)
            && let Some(lease) = self.leases.get_mut(&id)
        {
            lease.keys.remove(key);
        }
    }

    /// All attached keys with their leases, by key.
    pub(crate) fn attachments(&self) -> impl Iterator<Item = (&Bytes, i64)> {
        self.by_key.iter().map(|(key, id)| (key, *id))
    }
}
