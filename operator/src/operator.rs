//! Everything that one operator works with.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use kube::Client;
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::cluster::build::Defaults;
use crate::cluster::memory::Memory;
use crate::cluster::nodes::Nodes;
use crate::election::Leadership;
use crate::health::Health;
use crate::kubernetes::{Events, Objects};
use crate::members::Members;
use crate::metrics::Metrics;

/// A resource's place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// Of a resource in a namespace.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

/// How an operator works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The only namespace whose clusters it operates; all, if there is none.
    pub namespace: Option<String>,
    /// What clusters are made of that say nothing else.
    pub defaults: Defaults,
    /// Which operator it is, of several.
    pub identity: String,
    /// At how many clusters it looks at a time.
    pub looks_max: usize,
}

/// An operator: what it asks, what it writes, and what it remembers.
pub struct Operator {
    /// The API server's objects.
    pub objects: Objects,
    /// Where it tells people something.
    pub events: Events,
    /// The members of clusters.
    pub members: Arc<dyn Members>,
    /// What it counts.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: Clock,
    /// How it works.
    pub settings: Settings,
    /// Whether it may act.
    pub leadership: Leadership,
    /// How it is.
    pub health: Arc<Health>,
    /// The nodes that pods are on.
    pub nodes: Nodes,
    memories: Mutex<HashMap<Key, Memory>>,
}

impl Operator {
    /// One that acts as soon as it is asked to look at a cluster.
    #[must_use]
    pub fn new(
        client: Client,
        members: Arc<dyn Members>,
        metrics: Arc<Metrics>,
        clock: Clock,
        settings: Settings,
    ) -> Self {
        Self {
            events: Events::new(client.clone(), &settings.identity, clock.clone()),
            objects: Objects::new(client),
            nodes: Nodes::new(settings.namespace.is_none()),
            members,
            metrics,
            clock,
            settings,
            leadership: Leadership::always(),
            health: Arc::default(),
            memories: Mutex::default(),
        }
    }

    /// The same one, which acts only as long as it leads.
    #[must_use]
    pub fn led_by(self, leadership: Leadership) -> Self {
        Self { leadership, ..self }
    }

    /// What is remembered of a cluster, for one look. Who forgets to give it back has forgotten it,
    /// and looks more closely the next time.
    pub(crate) fn take_memory(&self, cluster: &Key) -> Memory {
        self.memories.lock().remove(cluster).unwrap_or_default()
    }

    /// Remembers a cluster until the next look.
    pub(crate) fn keep_memory(&self, cluster: &Key, memory: Memory) {
        self.memories.lock().insert(cluster.clone(), memory);
    }

    /// Forgets a cluster that is gone.
    pub(crate) fn forget(&self, cluster: &Key) {
        self.memories.lock().remove(cluster);
        self.nodes.forget(cluster);
        self.metrics.forget(cluster);
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Operator").field("settings", &self.settings).finish_non_exhaustive()
    }
}
