//! What says that a cluster is to be looked at: its resource, every object that carries its label,
//! and the nodes that its pods are on. Only metadata are watched, but of nodes, whose metadata do not
//! say how they are.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::{Hash as _, Hasher as _};

use futures::stream::{BoxStream, SelectAll, StreamExt as _, select_all};
use k8s_openapi::NamespaceResourceScope as Namespaced;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    Node, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource, ResourceExt as _};
use quorate_operator_api::QuorateCluster;
use serde::de::DeserializeOwned;

use crate::cluster::names::CLUSTER_LABEL;
use crate::cluster::nodes::is_ready;
use crate::operator::{Key, Operator};

/// What a watch says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// This cluster is to be looked at.
    Look(Key),
    /// This node is no longer as it was.
    Node(String),
    /// There are no clusters: their kind is not defined any more.
    Undefined,
}

/// Whatever happens to clusters.
pub(super) fn signals(operator: &Operator) -> SelectAll<BoxStream<'static, Signal>> {
    let client = operator.objects.client();
    let namespace = operator.settings.namespace.as_deref();
    let mut all = select_all([
        clusters(api(client, namespace)),
        labelled::<StatefulSet>(api(client, namespace)),
        labelled::<Pod>(api(client, namespace)),
        labelled::<PersistentVolumeClaim>(api(client, namespace)),
        labelled::<Secret>(api(client, namespace)),
        labelled::<Service>(api(client, namespace)),
        labelled::<ServiceAccount>(api(client, namespace)),
        labelled::<NetworkPolicy>(api(client, namespace)),
        labelled::<PodDisruptionBudget>(api(client, namespace)),
    ]);
    // Who may not read them sees by the pods what has become of a node.
    if namespace.is_none() {
        all.push(nodes(Api::all(client.clone())));
    }
    all
}

/// Nodes that are no longer ready, or are again, or are gone.
fn nodes(api: Api<Node>) -> BoxStream<'static, Signal> {
    let mut known = KnownNodes::default();
    let events = watcher(api, watcher::Config::default()).default_backoff();
    let watched = events.take_while(|event| {
        let is_refused = matches!(event, Err(error) if code(error) == Some(403));
        if is_refused {
            tracing::warn!("nodes cannot be watched: the operator has no right to");
        }
        std::future::ready(!is_refused)
    });
    let signals = watched.flat_map(move |event| {
        let changed = match event {
            Ok(event) => known.hear(event),
            Err(error) => {
                tracing::warn!(%error, "nodes cannot be watched");
                Vec::new()
            }
        };
        futures::stream::iter(changed.into_iter().map(Signal::Node))
    });
    signals.boxed()
}

/// Whether nodes were ready when they were last heard of. What else happens to a node, such as that
/// it says every few minutes how it is, is nobody's concern.
#[derive(Debug, Default)]
struct KnownNodes {
    ready: HashMap<String, bool>,
    /// Those of a list that is being told.
    listed: HashSet<String>,
}

impl KnownNodes {
    /// The nodes that are no longer as they were.
    fn hear(&mut self, event: Event<Node>) -> Vec<String> {
        match event {
            Event::Init => {
                self.listed.clear();
                Vec::new()
            }
            Event::InitApply(node) => {
                self.listed.insert(node.name_any());
                self.is_as(&node).into_iter().collect()
            }
            Event::InitDone => {
                let gone = self.ready.keys().filter(|name| !self.listed.contains(*name));
                let gone: Vec<String> = gone.cloned().collect();
                self.ready.retain(|name, _| self.listed.contains(name));
                gone
            }
            Event::Apply(node) => self.is_as(&node).into_iter().collect(),
            Event::Delete(node) => {
                self.ready.remove(&node.name_any());
                vec![node.name_any()]
            }
        }
    }

    /// A node's name, if it is not as it was. Of one that is new, nothing else is expected than that
    /// it is ready.
    fn is_as(&mut self, node: &Node) -> Option<String> {
        let (name, is_ready) = (node.name_any(), is_ready(node));
        let was_ready = self.ready.insert(name.clone(), is_ready).unwrap_or(true);
        (was_ready != is_ready).then_some(name)
    }
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<PartialObjectMeta<K>>
where
    K: Resource<DynamicType = (), Scope = Namespaced>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Clusters whose specification, annotations or life have changed. Status is the operator's own.
fn clusters(api: Api<PartialObjectMeta<QuorateCluster>>) -> BoxStream<'static, Signal> {
    let mut seen: HashMap<Key, u64> = HashMap::new();
    let events = watcher(api, watcher::Config::default()).default_backoff();
    let signals = events.filter_map(move |event| {
        let signal = match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => {
                let metadata = &object.metadata;
                key(metadata, metadata.name.as_deref()).filter(|key| {
                    let wish = wish(metadata);
                    seen.insert(key.clone(), wish) != Some(wish)
                })
            }
            Ok(Event::Delete(object)) => {
                let key = key(&object.metadata, object.metadata.name.as_deref());
                key.inspect(|key| {
                    seen.remove(key);
                })
            }
            Ok(Event::Init | Event::InitDone) => None,
            Err(error) if is_undefined(&error) => {
                tracing::warn!("the resources of quorate.io are not defined any more");
                return std::future::ready(Some(Signal::Undefined));
            }
            Err(error) => {
                tracing::warn!(%error, "clusters cannot be watched");
                None
            }
        };
        std::future::ready(signal.map(Signal::Look))
    });
    signals.boxed()
}

/// Objects that carry the label of a cluster.
fn labelled<K>(api: Api<PartialObjectMeta<K>>) -> BoxStream<'static, Signal>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let events = watcher(api, watcher::Config::default().labels(CLUSTER_LABEL)).default_backoff();
    let signals = events.filter_map(|event| {
        let key = match event {
            Ok(Event::Apply(object) | Event::Delete(object) | Event::InitApply(object)) => {
                let labels = object.metadata.labels.as_ref();
                let cluster = labels.and_then(|labels| labels.get(CLUSTER_LABEL));
                key(&object.metadata, cluster.map(String::as_str))
            }
            Ok(Event::Init | Event::InitDone) => None,
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), %error, "objects cannot be watched");
                None
            }
        };
        std::future::ready(key.map(Signal::Look))
    });
    signals.boxed()
}

fn key(metadata: &ObjectMeta, cluster: Option<&str>) -> Option<Key> {
    Some(Key::new(metadata.namespace.as_deref()?, cluster?))
}

/// What of a resource is somebody's wish.
fn wish(metadata: &ObjectMeta) -> u64 {
    let ObjectMeta { uid, generation, annotations, deletion_timestamp, .. } = metadata;
    let mut hasher = DefaultHasher::new();
    (uid, generation, annotations, deletion_timestamp.is_some()).hash(&mut hasher);
    hasher.finish()
}

fn is_undefined(error: &watcher::Error) -> bool {
    code(error) == Some(404)
}

/// What the API server says of a watch that failed.
fn code(error: &watcher::Error) -> Option<u16> {
    let api_error = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error,
        watcher::Error::WatchError(status) => return Some(status.code),
        watcher::Error::NoResourceVersion => return None,
    };
    match api_error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Node;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::{KnownNodes, key, wish};
    use crate::operator::Key;

    #[test]
    fn a_cluster_s_own_status_is_no_reason_to_look() {
        let metadata = |version: &str, generation, note: &str| ObjectMeta {
            name: Some("demo".to_owned()),
            namespace: Some("ns".to_owned()),
            resource_version: Some(version.to_owned()),
            generation: Some(generation),
            annotations: Some([("note".to_owned(), note.to_owned())].into()),
            ..ObjectMeta::default()
        };
        let first = metadata("1", 1, "a");
        assert_eq!(key(&first, first.name.as_deref()), Some(Key::new("ns", "demo")));
        assert_eq!(wish(&first), wish(&metadata("2", 1, "a")));
        assert_ne!(wish(&first), wish(&metadata("2", 2, "a")));
        assert_ne!(wish(&first), wish(&metadata("2", 1, "b")));
    }

    #[test]
    fn a_node_is_told_of_when_it_is_ready_no_more_again_or_gone() {
        let node = |name: &str, status: &str| -> Node {
            serde_json::from_value(json!({
                "metadata": { "name": name },
                "status": { "conditions": [{ "type": "Ready", "status": status }] },
            }))
            .expect("a node")
        };
        let mut known = KnownNodes::default();
        for (event, told) in [
            (Event::Init, vec![]),
            (Event::InitApply(node("a", "True")), vec![]),
            (Event::InitApply(node("b", "Unknown")), vec!["b"]),
            (Event::InitDone, vec![]),
            (Event::Apply(node("a", "True")), vec![]),
            (Event::Apply(node("a", "False")), vec!["a"]),
            (Event::Apply(node("a", "Unknown")), vec![]),
            (Event::Apply(node("a", "True")), vec!["a"]),
            (Event::Delete(node("a", "True")), vec!["a"]),
            (Event::Apply(node("c", "True")), vec![]),
            // What was missed meanwhile.
            (Event::Init, vec![]),
            (Event::InitApply(node("b", "True")), vec!["b"]),
            (Event::InitDone, vec!["c"]),
        ] {
            assert_eq!(known.hear(event.clone()), told, "{event:?}");
        }
    }
}
