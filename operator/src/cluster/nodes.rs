//! Nodes: whether they are there, and in which zone.
//!
//! An operator of one namespace may not read them. Of a node that it cannot read it knows what the
//! pods on it show (`observe`), and no zone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt as _;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::observed::NodeSeen;
use crate::kubernetes::{Error, ErrorKind, Objects};
use crate::operator::Key;

/// How long a node counts as ready that was: many members share it. One that is not ready is read
/// again each time, because something is made of that.
const FRESH: Duration = Duration::from_secs(20);

const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// Reads nodes for all clusters.
#[derive(Debug)]
pub struct Nodes {
    may_read: bool,
    read: Mutex<HashMap<String, (Instant, NodeSeen)>>,
    /// The nodes that clusters have pods on.
    users: Mutex<HashMap<Key, BTreeSet<String>>>,
}

impl Nodes {
    /// Of an operator that may, or may not, read them.
    #[must_use]
    pub fn new(may_read: bool) -> Self {
        Self { may_read, read: Mutex::default(), users: Mutex::default() }
    }

    /// Whether the operator is to read them.
    pub(crate) fn may_be_read(&self) -> bool {
        self.may_read
    }

    /// The nodes of these names, on which a cluster has pods; those that cannot be read are left
    /// out.
    ///
    /// # Errors
    /// [`Error`], if one cannot be read.
    pub async fn read(
        &self,
        objects: &Objects,
        cluster: &Key,
        names: BTreeSet<String>,
    ) -> Result<BTreeMap<String, NodeSeen>, Error> {
        if !self.may_read {
            return Ok(BTreeMap::new());
        }
        self.users.lock().insert(cluster.clone(), names.clone());
        let nodes = names.into_iter().map(|name| async move {
            let node = self.node(objects, &name).await?;
            Ok::<_, Error>(node.map(|node| (name, node)))
        });
        Ok(futures::future::try_join_all(nodes).await?.into_iter().flatten().collect())
    }

    async fn node(&self, objects: &Objects, name: &str) -> Result<Option<NodeSeen>, Error> {
        if let Some(node) = self.remembered(name) {
            return Ok(Some(node));
        }
        let node = match objects.get_global::<Node>(name).await {
            Ok(Some(node)) => seen(&node),
            Ok(None) => NodeSeen { name: name.to_owned(), zone: None, is_ready: false },
            Err(error) if error.kind() == ErrorKind::Forbidden => return Ok(None),
            Err(error) => return Err(error),
        };
        if node.is_ready {
            self.read.lock().insert(name.to_owned(), (Instant::now(), node.clone()));
        }
        Ok(Some(node))
    }

    fn remembered(&self, name: &str) -> Option<NodeSeen> {
        let mut read = self.read.lock();
        read.retain(|_, (at, _)| at.elapsed() < FRESH);
        read.get(name).map(|(_, node)| node.clone())
    }

    /// A node has become ready, or ceased to be: it is read anew. The clusters with pods on it.
    pub(crate) fn changed(&self, name: &str) -> Vec<Key> {
        self.read.lock().remove(name);
        let users = self.users.lock();
        users.iter().filter(|(_, nodes)| nodes.contains(name)).map(|(key, _)| key.clone()).collect()
    }

    /// Forgets a cluster that is gone.
    pub(crate) fn forget(&self, cluster: &Key) {
        self.users.lock().remove(cluster);
    }
}

/// Whether a node says that it is ready.
pub(crate) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut ready = conditions.filter(|condition| condition.type_ == "Ready");
    ready.any(|condition| condition.status == "True")
}

/// A node in one look.
fn seen(node: &Node) -> NodeSeen {
    NodeSeen {
        name: node.name_any(),
        zone: node.labels().get(ZONE_LABEL).cloned(),
        is_ready: is_ready(node),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Node, NodeCondition, NodeStatus};

    use super::seen;

    #[test]
    fn a_node_that_says_nothing_is_not_ready() {
        for (status, is_ready) in [(Some("True"), true), (Some("Unknown"), false), (None, false)] {
            let conditions = status.map(|status| {
                vec![NodeCondition {
                    type_: "Ready".to_owned(),
                    status: status.to_owned(),
                    ..NodeCondition::default()
                }]
            });
            let node = Node {
                status: Some(NodeStatus { conditions, ..NodeStatus::default() }),
                ..Node::default()
            };
            assert_eq!(seen(&node).is_ready, is_ready, "{status:?}");
        }
    }
}
