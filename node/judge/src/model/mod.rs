//! A naive etcd: maps and every version of every key. It is slow, obvious, and the judge of what
//! an answer may be.
//!
//! [`Model::evaluate`] says what a request would answer and change, [`Model::commit`] changes.
//! Time does not pass here: a lease ends when it is revoked, never by itself.
//!
//! Invariants: the revision grows by one with each commit that changes a key; versions of a key
//! are in the order of their revisions; nothing is forgotten at a compaction, reads below it are
//! only refused.

mod evaluate;

use crate::history::{Event, EventKind, KeyRange, KeyValue, Refusal, Request, Response};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The revision of an empty store.
pub const FIRST_REVISION: i64 = 1;

/// A key from a revision on: how it stands, or that it does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    revision: i64,
    kv: Option<KeyValue>,
}

/// What a request answers and changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluated {
    /// The answer.
    pub response: Response,
    /// The changes of keys, in order, each with what stood before.
    pub events: Vec<Event>,
    /// What else changes.
    pub effect: Effect,
}

/// What a request changes besides keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// What was before `revision` can no longer be read.
    Compacted {
        /// The oldest revision that stays readable.
        revision: i64,
    },
    /// A lease begins.
    Granted {
        /// The lease.
        id: i64,
        /// Its time to live in seconds.
        ttl: i64,
    },
    /// A lease ends.
    Revoked {
        /// The lease.
        id: i64,
    },
}

/// A sequential etcd. Cheap to clone: versions are shared until one side changes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    revision: i64,
    compact_revision: i64,
    versions: BTreeMap<Bytes, Arc<Vec<Version>>>,
    leases: BTreeMap<i64, i64>,
    /// Whether a put needs its lease to be there.
    checks_leases: bool,
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// An empty etcd.
    #[must_use]
    pub fn new() -> Self {
        Self {
            revision: FIRST_REVISION,
            compact_revision: 0,
            versions: BTreeMap::new(),
            leases: BTreeMap::new(),
            checks_leases: true,
        }
    }

    /// An empty etcd that takes any lease of a put to exist: for a check that judges leases by
    /// their times.
    #[must_use]
    pub fn without_lease_checks() -> Self {
        Self { checks_leases: false, ..Self::new() }
    }

    /// The revision of the last change.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The oldest revision that can be read; 0 if nothing was compacted.
    #[must_use]
    pub fn compact_revision(&self) -> i64 {
        self.compact_revision
    }

    /// A key as of a revision, whatever was compacted.
    #[must_use]
    pub fn get_at(&self, key: &[u8], revision: i64) -> Option<&KeyValue> {
        self.versions.get(key).and_then(|versions| at(versions, revision))
    }

    /// The keys of a range as of a revision, in order, whatever was compacted.
    pub fn range_at<'a>(
        &'a self,
        keys: &'a KeyRange,
        revision: i64,
    ) -> impl Iterator<Item = &'a KeyValue> + 'a {
        self.versions
            .range(keys.key.clone()..)
            .take_while(|(key, _)| keys.contains(key))
            .filter_map(move |(_, versions)| at(versions, revision))
    }

    /// The keys attached to a lease now, in order.
    pub fn keys_of_lease(&self, lease: i64) -> impl Iterator<Item = &KeyValue> {
        self.versions
            .values()
            .filter_map(|versions| at(versions, i64::MAX))
            .filter(move |kv| kv.lease == lease)
    }

    /// The leases and their times to live in seconds.
    #[must_use]
    pub fn leases(&self) -> &BTreeMap<i64, i64> {
        &self.leases
    }

    /// What `request` would answer and change now.
    ///
    /// # Errors
    /// As etcd's state machine refuses.
    pub fn evaluate(&self, request: &Request) -> Result<Evaluated, Refusal> {
        evaluate::evaluate(self, request)
    }

    /// The deletions by which a lease takes its keys with it.
    #[must_use]
    pub fn lease_deletions(&self, lease: i64) -> Vec<Event> {
        self.keys_of_lease(lease)
            .map(|kv| Event {
                key: kv.key.clone(),
                mod_revision: self.revision + 1,
                kind: EventKind::Delete,
                prev_kv: Some(kv.clone()),
            })
            .collect()
    }

    /// Makes a revision of `events`; without events, none.
    pub fn commit(&mut self, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        self.revision += 1;
        for event in events {
            let kv = match &event.kind {
                EventKind::Put(kv) => Some(kv.clone()),
                EventKind::Delete => None,
            };
            let versions = self.versions.entry(event.key.clone()).or_default();
            Arc::make_mut(versions).push(Version { revision: self.revision, kv });
        }
    }

    /// Does what [`Model::evaluate`] says.
    ///
    /// # Errors
    /// As etcd's state machine refuses; then nothing changes.
    pub fn apply(&mut self, request: &Request) -> Result<Evaluated, Refusal> {
        let evaluated = self.evaluate(request)?;
        self.commit(&evaluated.events);
        match evaluated.effect {
            Effect::None => {}
            Effect::Compacted { revision } => self.compact_revision = revision,
            Effect::Granted { id, ttl } => {
                self.leases.insert(id, ttl);
            }
            Effect::Revoked { id } => {
                self.leases.remove(&id);
            }
        }
        Ok(evaluated)
    }
}

fn at(versions: &[Version], revision: i64) -> Option<&KeyValue> {
    let after = versions.partition_point(|version| version.revision <= revision);
    versions.get(after.checked_sub(1)?)?.kv.as_ref()
}
