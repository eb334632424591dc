//! The objects of one cluster, read anew for each look.
//!
//! They are found by their labels and told apart by their owner: what another cluster of the same
//! name has left is [`Live::leftovers`], and is never taken for a part of this one. If one kind
//! cannot be listed, there is no [`Live`]: nothing is concluded from half of the objects.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt as _};
use quorate_operator_api::QuorateCluster;

use super::homes;
use super::names::{CLUSTER_LABEL, Names};
use super::nodes::Nodes;
use super::observed::{NodeSeen, Number};
use crate::kubernetes::{Error, Objects, controller_uid};
use crate::operator::Key;

/// The objects of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// Members' StatefulSets.
    pub sets: BTreeMap<Number, StatefulSet>,
    /// Members' pods.
    pub pods: BTreeMap<Number, Pod>,
    /// Members' volume claims.
    pub claims: BTreeMap<Number, PersistentVolumeClaim>,
    /// Secrets, by name.
    pub secrets: BTreeMap<String, Secret>,
    /// The metadata of what there is once, by kind and name: `Service/demo-client`.
    pub shared: BTreeMap<String, ObjectMeta>,
    /// The nodes of the pods, by name, as far as the operator may read them.
    pub nodes: BTreeMap<String, NodeSeen>,
    /// Members whose volumes lie on nodes that are no longer there, so that their pods find no place.
    pub stranded: BTreeSet<Number>,
    /// What is in the way: objects of another cluster with names of this one.
    pub leftovers: Vec<String>,
    /// Whether Secrets are among them, which are about to go.
    pub has_foreign_secrets: bool,
}

/// What the API server lists, not yet told apart.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// StatefulSets.
    pub sets: Vec<StatefulSet>,
    /// Pods.
    pub pods: Vec<Pod>,
    /// Volume claims.
    pub claims: Vec<PersistentVolumeClaim>,
    /// Secrets.
    pub secrets: Vec<Secret>,
    /// The metadata of everything else, with its kind.
    pub shared: Vec<(String, ObjectMeta)>,
}

impl Live {
    /// Reads what there is of a cluster with this metadata.
    ///
    /// # Errors
    /// [`Error`], if anything could not be read.
    pub async fn read(
        objects: &Objects,
        nodes: &Nodes,
        names: &Names,
        cluster: &ObjectMeta,
    ) -> Result<Self, Error> {
        let namespace = &names.namespace;
        let selector = format!("{CLUSTER_LABEL}={}", names.cluster);
        let (sets, pods, claims, secrets, services, accounts, policies, budgets) = futures::try_join!(
            objects.list::<StatefulSet>(namespace, &selector),
            objects.list::<Pod>(namespace, &selector),
            objects.list::<PersistentVolumeClaim>(namespace, &selector),
            objects.list::<Secret>(namespace, &selector),
            objects.list_metadata::<Service>(namespace, &selector),
            objects.list_metadata::<ServiceAccount>(namespace, &selector),
            objects.list_metadata::<NetworkPolicy>(namespace, &selector),
            objects.list_metadata::<PodDisruptionBudget>(namespace, &selector),
        )?;
        let shared = of_kind::<Service>(services)
            .chain(of_kind::<ServiceAccount>(accounts))
            .chain(of_kind::<NetworkPolicy>(policies))
            .chain(of_kind::<PodDisruptionBudget>(budgets))
            .collect();
        let mut live = Self::sort(names, cluster, Lists { sets, pods, claims, secrets, shared });
        let wanted = live.pods.values().filter_map(node_of).map(str::to_owned).collect();
        let key = Key::new(namespace, &names.cluster);
        live.nodes = nodes.read(objects, &key, wanted).await?;
        if nodes.may_be_read() {
            live.stranded = homes::stranded(objects, &live).await?;
        }
        Ok(live)
    }

    /// Tells apart what is the cluster's own.
    #[must_use]
    pub fn sort(names: &Names, cluster: &ObjectMeta, lists: Lists) -> Self {
        let Lists { sets, pods, claims, secrets, shared } = lists;
        let mut live = Self::default();
        let is_owned = |metadata: &ObjectMeta| controller_uid(metadata) == cluster.uid.as_deref();
        let is_older = |metadata: &ObjectMeta| {
            let times = (&metadata.creation_timestamp, &cluster.creation_timestamp);
            matches!(times, (Some(object), Some(cluster)) if object.0 < cluster.0)
        };
        for set in sets {
            let Some(number) = names.number(&set.name_any()) else { continue };
            if is_owned(&set.metadata) {
                live.sets.insert(number, set);
            } else {
                live.leftovers.push(format!("StatefulSet {}", set.name_any()));
            }
        }
        for pod in pods {
            let Some(number) = number_of_pod(names, &pod.name_any()) else { continue };
            if is_older(&pod.metadata) {
                live.leftovers.push(format!("Pod {}", pod.name_any()));
            } else {
                live.pods.insert(number, pod);
            }
        }
        for claim in claims {
            let name = claim.name_any();
            let pod = name.strip_prefix("data-").unwrap_or_default();
            let Some(number) = number_of_pod(names, pod) else { continue };
            if is_older(&claim.metadata) {
                live.leftovers.push(format!("PersistentVolumeClaim {name}"));
            } else {
                live.claims.insert(number, claim);
            }
        }
        for secret in secrets {
            let name = secret.name_any();
            if is_of_another(&secret.metadata, cluster) {
                live.leftovers.push(format!("Secret {name}"));
                live.has_foreign_secrets = true;
            } else {
                live.secrets.insert(name, secret);
            }
        }
        live.shared = shared
            .into_iter()
            .filter(|(_, metadata)| is_owned(metadata))
            .map(|(kind, metadata)| {
                (format!("{kind}/{}", metadata.name.as_deref().unwrap_or_default()), metadata)
            })
            .collect();
        live.leftovers.sort();
        live
    }

    /// The numbers of which there is an object.
    pub fn numbers(&self) -> impl Iterator<Item = Number> + '_ {
        let numbers = self.sets.keys().chain(self.pods.keys()).chain(self.claims.keys());
        numbers.copied().collect::<BTreeSet<_>>().into_iter()
    }
}

/// Whether an object belongs to a resource that was deleted, of the same name as this one.
fn is_of_another(metadata: &ObjectMeta, cluster: &ObjectMeta) -> bool {
    metadata.owner_references.iter().flatten().any(|owner| {
        owner.controller == Some(true)
            && owner.kind == QuorateCluster::kind(&())
            && Some(&owner.uid) != cluster.uid.as_ref()
    })
}

/// The node that a pod is on.
pub(super) fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

fn number_of_pod(names: &Names, pod: &str) -> Option<Number> {
    names.number(pod.strip_suffix("-0")?)
}

fn of_kind<K: Resource<DynamicType = ()>>(
    list: Vec<ObjectMeta>,
) -> impl Iterator<Item = (String, ObjectMeta)> {
    list.into_iter().map(|metadata| (K::kind(&()).into_owned(), metadata))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
    use k8s_openapi::jiff::Timestamp;

    use k8s_openapi::api::core::v1::Secret;

    use super::{Lists, Live};
    use crate::cluster::names::Names;

    fn metadata(name: &str, owner: Option<&str>, created: i64) -> ObjectMeta {
        let owner = owner.map(|uid| OwnerReference {
            kind: "QuorateCluster".to_owned(),
            uid: uid.to_owned(),
            controller: Some(true),
            ..OwnerReference::default()
        });
        ObjectMeta {
            name: Some(name.to_owned()),
            owner_references: owner.map(|owner| vec![owner]),
            creation_timestamp: Timestamp::from_second(created).ok().map(Time),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn what_another_cluster_has_left_is_not_taken_for_ones_own() {
        let names = Names::new("demo", "ns");
        let mut cluster = metadata("demo", None, 100);
        cluster.uid = Some("mine".to_owned());
        let lists = Lists {
            sets: [("demo-0", "mine"), ("demo-1", "theirs"), ("demo-x", "mine")]
                .map(|(name, owner)| k8s_openapi::api::apps::v1::StatefulSet {
                    metadata: metadata(name, Some(owner), 100),
                    ..Default::default()
                })
                .into(),
            pods: [("demo-0-0", 100), ("demo-1-0", 99), ("client", 100)]
                .map(|(name, created)| k8s_openapi::api::core::v1::Pod {
                    metadata: metadata(name, None, created),
                    ..Default::default()
                })
                .into(),
            claims: [("data-demo-0-0", 100), ("data-demo-2-0", 50), ("other-demo-3-0", 100)]
                .map(|(name, created)| k8s_openapi::api::core::v1::PersistentVolumeClaim {
                    metadata: metadata(name, None, created),
                    ..Default::default()
                })
                .into(),
            secrets: [("demo-ca", Some("mine")), ("demo-0-tls", Some("theirs")), ("own", None)]
                .map(|(name, owner)| Secret {
                    metadata: metadata(name, owner, 100),
                    ..Secret::default()
                })
                .into(),
            shared: vec![
                ("Service".to_owned(), metadata("demo-client", Some("mine"), 100)),
                ("Service".to_owned(), metadata("demo-members", Some("theirs"), 100)),
            ],
        };
        let live = Live::sort(&names, &cluster, lists);
        assert_eq!(live.sets.keys().copied().collect::<Vec<_>>(), [0]);
        assert_eq!(live.pods.keys().copied().collect::<Vec<_>>(), [0]);
        assert_eq!(live.claims.keys().copied().collect::<Vec<_>>(), [0]);
        assert_eq!(live.shared.keys().collect::<Vec<_>>(), ["Service/demo-client"]);
        assert_eq!(live.secrets.keys().collect::<Vec<_>>(), ["demo-ca", "own"]);
        assert!(live.has_foreign_secrets);
        let leftovers = [
            "PersistentVolumeClaim data-demo-2-0",
            "Pod demo-1-0",
            "Secret demo-0-tls",
            "StatefulSet demo-1",
        ];
        assert_eq!(live.leftovers, leftovers);
    }
}
