//! All objects, and what became of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};

use super::fields::Managers;
use super::kinds::Kind;

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) kind: &'static Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// Something that happened to an object.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) revision: u64,
    pub(super) key: Key,
    /// As it was; none if it was not.
    pub(super) before: Option<Arc<Value>>,
    /// As it is; as it was last, if it is no more.
    pub(super) after: Arc<Value>,
    pub(super) is_deletion: bool,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    revision: u64,
    /// What happened up to here is forgotten.
    forgotten: u64,
    objects: BTreeMap<Key, Arc<Value>>,
    managers: BTreeMap<Key, Managers>,
    changes: VecDeque<Change>,
}

impl Store {
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    pub(super) fn managers(&self, key: &Key) -> Managers {
        self.managers.get(key).cloned().unwrap_or_default()
    }

    pub(super) fn set_managers(&mut self, key: &Key, managers: Managers) {
        self.managers.insert(key.clone(), managers);
    }

    /// The objects of a kind, in one namespace or in all.
    pub(super) fn of_kind<'a>(
        &'a self,
        kind: &'static Kind,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        self.objects.iter().filter(move |(key, _)| {
            key.kind == kind && (namespace.is_empty() || key.namespace == namespace)
        })
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.iter()
    }

    /// Writes an object, which gets a new resourceVersion.
    pub(super) fn put(&mut self, key: Key, mut object: Value) -> Arc<Value> {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        let after = Arc::new(object);
        let before = self.objects.insert(key.clone(), Arc::clone(&after));
        self.changes.push_back(Change {
            revision: self.revision,
            key,
            before,
            after: Arc::clone(&after),
            is_deletion: false,
        });
        after
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let before = self.objects.remove(key)?;
        self.managers.remove(key);
        self.revision += 1;
        let mut last = (*before).clone();
        last["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        let after = Arc::new(last);
        self.changes.push_back(Change {
            revision: self.revision,
            key: key.clone(),
            before: Some(before),
            after: Arc::clone(&after),
            is_deletion: true,
        });
        Some(after)
    }

    /// What happened behind one revision, up to another.
    pub(super) fn changes(&self, behind: u64, up_to: u64) -> impl Iterator<Item = &Change> {
        self.changes
            .iter()
            .filter(move |change| change.revision > behind && change.revision <= up_to)
    }

    /// The objects as they were, as far as that is not forgotten.
    pub(super) fn at(&self, revision: u64) -> BTreeMap<Key, Arc<Value>> {
        let mut objects = self.objects.clone();
        for change in self.changes.iter().rev().take_while(|change| change.revision > revision) {
            match &change.before {
                Some(before) => objects.insert(change.key.clone(), Arc::clone(before)),
                None => objects.remove(&change.key),
            };
        }
        objects
    }

    /// Forgets what happened up to a revision.
    pub(super) fn forget(&mut self, up_to: u64) {
        self.forgotten = self.forgotten.max(up_to.min(self.revision));
        while self.changes.front().is_some_and(|change| change.revision <= self.forgotten) {
            self.changes.pop_front();
        }
    }
}
