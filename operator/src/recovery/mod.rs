//! What is left of a cluster that lost its majority: looked at, and the best of it made a new one.
//!
//! ```text
//!   Inspect ─▶ for each volume a pod: quorate data status ── its last message ──▶ Remains ─▶ plan
//!   Recover ─▶ the first member of a new cluster, made of the best volume by `quorate recover`
//! ```
//! Volumes are mounted read-only, and only when nobody of the old cluster has a pod any more. Pods
//! that look are named after the cluster's id: what was seen of an earlier one is never taken for
//! this one's.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    Container, LocalObjectReference, Pod, PodSpec, ResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::SignedDuration;
use kube::ResourceExt as _;
use quorate_operator_api::MemberRole;
use serde::Deserialize;

use crate::cluster::build::{Blueprint, security_of_container, security_of_pod};
use crate::cluster::live::Live;
use crate::cluster::names::MEMBER_LABEL;
use crate::cluster::observed::{Number, Record, Remains, Remembered, format_id};
use crate::cluster::plan::{Kind, Phase};
use crate::kubernetes::{Deletion, Error, ErrorKind, Manager, Objects, Precondition};
use crate::operator::Operator;
use crate::restore;

/// What the component label of pods that look at volumes says.
const COMPONENT: &str = "inspection";
/// The label with the id of the cluster that is looked at.
const ID_LABEL: &str = "quorate.io/cluster-id";
/// Where Kubernetes looks for a container's last message.
const REPORT: &str = "/dev/termination-log";

/// The pod that looks at the volume of a stopped member.
#[must_use]
pub fn inspector(blueprint: &Blueprint<'_>, cluster_id: u64, number: Number) -> Pod {
    let names = &blueprint.names;
    let id = format_id(cluster_id);
    let mut labels = names.labels();
    labels.insert("app.kubernetes.io/component".to_owned(), COMPONENT.to_owned());
    labels.insert(MEMBER_LABEL.to_owned(), names.member(number));
    labels.insert(ID_LABEL.to_owned(), id.clone());
    let (volume, mount) = restore::survivor(&names.claim(number));
    let words = ["data", "status", "-w", "json", "--report", REPORT].map(str::to_owned);
    let quantities = [("cpu", "50m"), ("memory", "128Mi")];
    let quantities = quantities.map(|(key, value)| (key.to_owned(), Quantity(value.to_owned())));
    let container = Container {
        name: COMPONENT.to_owned(),
        image: Some(blueprint.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(words.into_iter().chain([restore::survivor_data()]).collect()),
        // All of a member's data are read, so it may take what the member may.
        resources: blueprint.spec.pod.resources.clone().or(Some(ResourceRequirements {
            requests: Some(quantities.into()),
            ..ResourceRequirements::default()
        })),
        security_context: Some(security_of_container()),
        termination_message_path: Some(REPORT.to_owned()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(vec![mount]),
        ..Container::default()
    };
    let secrets = blueprint.spec.image.pull_secrets.iter();
    let secrets: Vec<LocalObjectReference> =
        secrets.map(|secret| LocalObjectReference { name: secret.0.clone() }).collect();
    let tolerations = blueprint.spec.pod.tolerations.clone();
    Pod {
        metadata: ObjectMeta {
            labels: Some(labels),
            ..blueprint.metadata(format!("{}-inspect-{id}", names.member(number)))
        },
        spec: Some(PodSpec {
            automount_service_account_token: Some(false),
            containers: vec![container],
            enable_service_links: Some(false),
            image_pull_secrets: Some(secrets).filter(|secrets| !secrets.is_empty()),
            restart_policy: Some("Never".to_owned()),
            security_context: Some(security_of_pod()),
            service_account_name: Some(names.service_account()),
            tolerations: Some(tolerations).filter(|list| !list.is_empty()),
            volumes: Some(vec![volume]),
            ..PodSpec::default()
        }),
        status: None,
    }
}

/// What `quorate data status` says of a directory, as far as it matters here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    cluster: String,
    last_term: u64,
    last_index: u64,
    damage: String,
}

/// What pods have found, by member. A pod that was ended by somebody else has found nothing.
#[must_use]
pub fn remains(
    blueprint: &Blueprint<'_>,
    cluster_id: u64,
    pods: &[Pod],
) -> BTreeMap<Number, Remains> {
    let id = format_id(cluster_id);
    let of_this = |pod: &&Pod| pod.labels().get(ID_LABEL) == Some(&id);
    let found = pods.iter().filter(of_this).filter_map(|pod| {
        let number = blueprint.names.number(pod.labels().get(MEMBER_LABEL)?)?;
        Some((number, found(pod, &id)?))
    });
    found.collect()
}

fn found(pod: &Pod, cluster_id: &str) -> Option<Remains> {
    let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    let ended = status.state.as_ref()?.terminated.as_ref()?;
    let message = ended.message.clone().unwrap_or_default();
    let nothing = Remains { term: 0, index: 0, is_damaged: true };
    match (ended.exit_code, serde_json::from_str::<Told>(message.trim())) {
        (0, Ok(told)) => Some(Remains {
            term: told.last_term,
            index: told.last_index,
            is_damaged: !told.damage.is_empty() || told.cluster != cluster_id,
        }),
        // It says why not: there is no member's data, or none that can be read.
        (1, _) => Some(nothing),
        _ => None,
    }
}

/// Whether a cluster is being rebuilt.
pub(crate) fn is_under_way(record: &Record) -> bool {
    let operation = record.operation.as_ref();
    operation.is_some_and(|operation| Kind::parse(&operation.kind) == Some(Kind::Recover))
}

/// What is known of the volumes of a cluster that is being rebuilt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// What those hold that were looked at.
    pub(crate) remains: BTreeMap<Number, Remains>,
    /// Those at which a pod is looking.
    pub(crate) unread: BTreeSet<Number>,
}

/// What is known of the volumes of a cluster that is being rebuilt; nothing, of any other. Until one
/// of them is chosen, whoever was ended before it could tell is sent again.
///
/// # Errors
/// [`Error`] of the API server's.
pub(crate) async fn look(
    operator: &Operator,
    blueprint: &Blueprint<'_>,
    record: &Record,
    live: &Live,
    patience: SignedDuration,
) -> Result<Known, Error> {
    let doing = record.operation.as_ref().filter(|_| is_under_way(record));
    let (Some(doing), Some(cluster_id)) = (doing, record.cluster_id) else {
        return Ok(Known::default());
    };
    let objects = &operator.objects;
    if Phase::parse(&doing.phase) == Some(Phase::Inspecting) {
        inspect(objects, blueprint, cluster_id, &volumes(record, live)).await?;
    }
    let pods = inspectors(objects, blueprint).await?;
    let remains = remains(blueprint, cluster_id, &pods);
    let now = operator.clock.wall();
    let is_looking = |pod: &&Pod| {
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        // Who runs is waited for; who cannot begin, because the node is gone, for a time.
        phase == Some("Running")
            || pod.metadata.deletion_timestamp.is_some()
            || created.is_none_or(|created| now.duration_since(created) < patience)
    };
    let of_this = |pod: &&Pod| pod.labels().get(ID_LABEL) == Some(&format_id(cluster_id));
    let numbers = pods
        .iter()
        .filter(of_this)
        .filter(is_looking)
        .filter_map(|pod| blueprint.names.number(pod.labels().get(MEMBER_LABEL)?));
    let unread = numbers.filter(|number| !remains.contains_key(number)).collect();
    Ok(Known { remains, unread })
}

/// The volumes of those who voted, as far as they are still those.
fn volumes(record: &Record, live: &Live) -> Vec<Number> {
    let voted = record
        .members
        .iter()
        .filter(|(_, member)| matches!(member.role, MemberRole::Voter | MemberRole::Leader));
    let is_there = |(number, member): &(&Number, &Remembered)| {
        let claim = live.claims.get(*number);
        claim.is_some_and(|claim| member.volume.is_none() || claim.uid() == member.volume)
    };
    voted.filter(is_there).map(|(number, _)| *number).collect()
}

/// The pods that look at volumes of a cluster.
///
/// # Errors
/// [`Error`] of the API server's.
pub async fn inspectors(objects: &Objects, blueprint: &Blueprint<'_>) -> Result<Vec<Pod>, Error> {
    let names = &blueprint.names;
    let selector = format!(
        "{}={},app.kubernetes.io/component={COMPONENT}",
        crate::cluster::names::CLUSTER_LABEL,
        names.cluster
    );
    objects.list::<Pod>(&names.namespace, &selector).await
}

/// Has a pod look at each of these volumes that none has looked at, or is looking at.
///
/// # Errors
/// [`Error`] of the API server's.
pub async fn inspect(
    objects: &Objects,
    blueprint: &Blueprint<'_>,
    cluster_id: u64,
    numbers: &[Number],
) -> Result<(), Error> {
    let there = inspectors(objects, blueprint).await?;
    let id = format_id(cluster_id);
    let mut busy: BTreeSet<Number> = BTreeSet::new();
    for pod in &there {
        let number = pod.labels().get(MEMBER_LABEL).and_then(|name| blueprint.names.number(name));
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let is_of_this = pod.labels().get(ID_LABEL) == Some(&id);
        // What has failed without a word makes room for another.
        if is_of_this && (phase != Some("Failed") || found(pod, &id).is_some()) {
            busy.extend(number);
        } else {
            delete(objects, pod).await?;
        }
    }
    for number in numbers.iter().filter(|number| !busy.contains(number)) {
        match objects.create(Manager::Members, &inspector(blueprint, cluster_id, *number)).await {
            Err(error) if error.kind() != ErrorKind::Exists => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// Deletes the pods that looked at volumes.
///
/// # Errors
/// [`Error`] of the API server's.
pub async fn clear(objects: &Objects, blueprint: &Blueprint<'_>) -> Result<(), Error> {
    for pod in inspectors(objects, blueprint).await? {
        delete(objects, &pod).await?;
    }
    Ok(())
}

async fn delete(objects: &Objects, pod: &Pod) -> Result<(), Error> {
    let which = Precondition { uid: pod.uid().unwrap_or_default(), version: None };
    let namespace = pod.namespace().unwrap_or_default();
    objects.delete::<Pod>(&namespace, &pod.name_any(), &which, Deletion::Graceful).await
}
