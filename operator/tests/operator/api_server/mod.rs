//! A Kubernetes API server in memory, for the client that the operator has.
//!
//! ```text
//!   kube::Client ─▶ Connection ─▶ faults, rights ─▶ State ─▶ Store
//!                                                     ▲         │ revisions
//!   controllers, kubelets, people: Server ────────────┘         └─▶ watches
//! ```
//!
//! It speaks HTTP as the real one does, as far as an operator notices: lists and watches with
//! resourceVersions, bookmarks and 410, server-side apply with field managers, merge, strategic and
//! JSON patches, status and scale apart, preconditions, finalizers, generations, defaults and
//! schemas of our own resources with their rules, what StatefulSets, claims and Services let nobody
//! change, roles. What the cluster's own controllers do is in `kubernetes`.
//!
//! A [`Connection`] belongs to a [`Life`]: it ends behind a given write, with nothing answered.
//! Time is tokio's; with a paused clock a test of hours takes moments.

mod admission;
mod clock;
mod deletion;
mod discovery;
mod faults;
mod fields;
mod kinds;
mod life;
mod patch;
mod refusal;
mod request;
mod rights;
mod schema;
mod selector;
mod service;
mod shape;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod watches;

use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;

pub(crate) use clock::Clock;
pub(crate) use faults::{Call, EventFault, Fault, Faults};
pub(crate) use kinds::Kind;
pub(crate) use life::Life;
pub(crate) use refusal::Refusal;
pub(crate) use request::Part;
pub(crate) use rights::{Rights, Role, Rule};
pub(crate) use service::Connection;
pub(crate) use store::Key;
pub(crate) mod of_kind {
    //! The kinds by name.
    pub(crate) use super::kinds::{
        BACKUP, BUDGET, CERTIFICATE, CLAIM, CLUSTER, EVENT, NAMESPACE, NETWORK_POLICY, NODE, POD,
        SECRET, SERVICE, STATEFUL_SET, VOLUME,
    };
}

use request::Request;
use selector::Selector;
use state::{State, Writer};

/// The server, for everybody but the operator.
#[derive(Clone)]
pub(crate) struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    faults: Mutex<Faults>,
    calls: Mutex<Vec<Call>>,
    /// The newest revision, or that something else has changed.
    changed: watch::Sender<u64>,
}

impl Shared {
    /// Up to where readers see.
    fn visible(&self) -> u64 {
        let lag = self.faults.lock().lag;
        self.state.lock().store.revision().saturating_sub(lag)
    }

    /// What a list gives, and as of when.
    fn list(&self, request: &Request, selector: &Selector) -> (Vec<Value>, u64) {
        let visible = self.visible();
        let state = self.state.lock();
        let is_meant = |key: &Key, object: &Value| {
            key.kind == request.kind
                && (request.namespace.is_empty() || key.namespace == request.namespace)
                && (request.name.is_empty() || key.name == request.name)
                && selector.matches(object)
        };
        let store = &state.store;
        if visible >= store.revision() {
            let found = store.of_kind(request.kind, &request.namespace);
            let found = found.filter(|(key, object)| is_meant(key, object));
            return (found.map(|(_, object)| (**object).clone()).collect(), store.revision());
        }
        let visible = visible.max(store.forgotten());
        let all = store.at(visible);
        let found = all.iter().filter(|(key, object)| is_meant(key, object));
        (found.map(|(_, object)| (**object).clone()).collect(), visible)
    }

    /// One object as readers see it.
    fn read(&self, key: &Key) -> Result<Arc<Value>, Refusal> {
        let visible = self.visible();
        let state = self.state.lock();
        if visible >= state.store.revision() {
            return state.get(key);
        }
        let found = state.store.at(visible.max(state.store.forgotten())).remove(key);
        found.ok_or_else(|| Refusal::not_found(key.kind, &key.name))
    }

    fn tell(&self) {
        let revision = self.state.lock().store.revision();
        self.changed.send_replace(revision);
    }
}

/// An object without what is specified and how it is.
fn metadata_of(object: &Value) -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": object["metadata"],
    })
}

impl Server {
    /// Without objects, but for namespaces `default` and `ns`.
    pub(crate) fn new(clock: Clock) -> Self {
        let shared = Shared {
            state: Mutex::new(State::new(clock)),
            faults: Mutex::default(),
            calls: Mutex::default(),
            changed: watch::Sender::new(0),
        };
        let server = Self { shared: Arc::new(shared) };
        for name in ["default", "ns"] {
            server
                .create(&kinds::NAMESPACE, "", json!({ "metadata": { "name": name } }))
                .expect("a namespace");
        }
        server
    }

    /// A way to it that lasts as long as a process does.
    pub(crate) fn connect(&self, life: &Life, rights: Option<Rights>) -> Connection {
        Connection::new(Arc::clone(&self.shared), life.clone(), rights)
    }

    /// Changes what goes wrong.
    pub(crate) fn faults<T>(&self, change: impl FnOnce(&mut Faults) -> T) -> T {
        let result = change(&mut self.shared.faults.lock());
        self.shared.tell();
        result
    }

    /// The calls until now, which are forgotten.
    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut *self.shared.calls.lock())
    }

    /// From now on nobody has defined a kind, or somebody has.
    pub(crate) fn define(&self, kind: &'static Kind, is_defined: bool) {
        let mut state = self.shared.state.lock();
        match is_defined {
            true => state.absent.remove(kind),
            false => state.absent.insert(kind),
        };
    }

    /// The past is forgotten: who watches from there has to begin anew.
    pub(crate) fn forget(&self) {
        let mut state = self.shared.state.lock();
        let revision = state.store.revision();
        state.store.forget(revision);
    }

    pub(crate) fn revision(&self) -> u64 {
        self.shared.state.lock().store.revision()
    }

    pub(crate) fn create(
        &self,
        kind: &'static Kind,
        namespace: &str,
        object: Value,
    ) -> Result<Value, Refusal> {
        let writer = Writer { manager: "somebody", is_dry: false };
        let made = self.shared.state.lock().create(kind, namespace, object, writer);
        self.shared.tell();
        Ok((*made?).clone())
    }

    pub(crate) fn get(&self, kind: &'static Kind, namespace: &str, name: &str) -> Option<Value> {
        let key = Key { kind, namespace: namespace.to_owned(), name: name.to_owned() };
        self.shared.state.lock().store.get(&key).map(|object| (**object).clone())
    }

    /// An object as its type.
    pub(crate) fn read<K>(&self, namespace: &str, name: &str) -> Option<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned,
    {
        let kind = kinds::of(&K::api_version(&()), &K::kind(&())).expect("a kind that is served");
        let object = self.get(kind, namespace, name)?;
        Some(serde_json::from_value(object).expect("an object of its type"))
    }

    pub(crate) fn list(&self, kind: &'static Kind, namespace: &str) -> Vec<Value> {
        let state = self.shared.state.lock();
        state.store.of_kind(kind, namespace).map(|(_, object)| (**object).clone()).collect()
    }

    /// All objects of all kinds.
    pub(crate) fn all(&self) -> Vec<(Key, Arc<Value>)> {
        let state = self.shared.state.lock();
        state.store.all().map(|(key, object)| (key.clone(), Arc::clone(object))).collect()
    }

    /// Changes an object, or its status, if there is one.
    pub(crate) fn change(
        &self,
        kind: &'static Kind,
        (namespace, name): (&str, &str),
        part: Part,
        change: impl FnOnce(&mut Value),
    ) -> Result<(), Refusal> {
        let key = Key { kind, namespace: namespace.to_owned(), name: name.to_owned() };
        let writer = Writer { manager: "somebody", is_dry: false };
        let result = self.shared.state.lock().update(&key, part, writer, |old| {
            let mut new = old.clone();
            change(&mut new);
            Ok(new)
        });
        self.shared.tell();
        result.map(drop)
    }

    pub(crate) fn delete(
        &self,
        kind: &'static Kind,
        (namespace, name): (&str, &str),
        options: &Value,
    ) -> Result<(), Refusal> {
        let key = Key { kind, namespace: namespace.to_owned(), name: name.to_owned() };
        let result = self.shared.state.lock().delete(&key, options);
        self.shared.tell();
        result.map(drop)
    }
}
