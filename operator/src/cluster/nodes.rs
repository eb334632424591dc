//! Nodes: whether they are there, and in which zone.
//!
//! An operator of one namespace may not read them. It takes them for ready, so that it never gives
//! up a pod for the sake of its node.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt as _;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::observed::NodeSeen;
use crate::kubernetes::{Error, ErrorKind, Objects};

/// How long a node counts as ready that was: many members share it. One that is not ready is read
/// again each time, because something is made of that.
const FRESH: Duration = Duration::from_secs(20);

const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// Reads nodes for all clusters.
#[derive(Debug)]
pub struct Nodes {
    may_read: bool,
    read: Mutex<HashMap<String, (Instant, NodeSeen)>>,
}

impl Nodes {
    /// Of an operator that may, or may not, read them.
    #[must_use]
    pub fn new(may_read: bool) -> Self {
        Self { may_read, read: Mutex::default() }
    }

    /// The nodes of these names.
    ///
    /// # Errors
    /// [`Error`], if one cannot be read.
    pub async fn read(
        &self,
        objects: &Objects,
        names: BTreeSet<String>,
    ) -> Result<BTreeMap<String, NodeSeen>, Error> {
        let nodes = names.into_iter().map(|name| async move {
            let node = self.node(objects, &name).await?;
            Ok::<_, Error>((name, node))
        });
        Ok(futures::future::try_join_all(nodes).await?.into_iter().collect())
    }

    async fn node(&self, objects: &Objects, name: &str) -> Result<NodeSeen, Error> {
        let taken_for_ready = || NodeSeen { name: name.to_owned(), zone: None, is_ready: true };
        if !self.may_read {
            return Ok(taken_for_ready());
        }
        if let Some(node) = self.remembered(name) {
            return Ok(node);
        }
        let node = match objects.get_global::<Node>(name).await {
            Ok(Some(node)) => seen(&node),
            Ok(None) => NodeSeen { name: name.to_owned(), zone: None, is_ready: false },
            Err(error) if error.kind() == ErrorKind::Forbidden => taken_for_ready(),
            Err(error) => return Err(error),
        };
        if node.is_ready {
            self.read.lock().insert(name.to_owned(), (Instant::now(), node.clone()));
        }
        Ok(node)
    }

    fn remembered(&self, name: &str) -> Option<NodeSeen> {
        let mut read = self.read.lock();
        read.retain(|_, (at, _)| at.elapsed() < FRESH);
        read.get(name).map(|(_, node)| node.clone())
    }
}

/// A node in one look.
fn seen(node: &Node) -> NodeSeen {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut ready = conditions.filter(|condition| condition.type_ == "Ready");
    NodeSeen {
        name: node.name_any(),
        zone: node.labels().get(ZONE_LABEL).cloned(),
        is_ready: ready.any(|condition| condition.status == "True"),
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
