//! Pods that do the work: as values.
//!
//! ```text
//!   save, remove   one container of the operator's image with a task
//!   verify         fetch ─▶ restore ─▶ member (goes on beside) ─▶ compare; on a volume of its own
//! ```
//! They are as restricted as members are, and have no token for Kubernetes. Each is owned by its
//! backup and goes with it; a drain may evict it, and it is tried again.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, ContainerState, EphemeralVolumeSource, LocalObjectReference,
    PersistentVolumeClaimSpec, PersistentVolumeClaimTemplate, Pod, PodSpec, ResourceRequirements,
    Volume, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use quorate_operator_api::{
    BackupStatus, ClusterSpec, GROUP, MemberRole, QuorateBackup, QuorateCluster, TlsProvider,
    VERSION,
};

use super::cause::{Cause, Failure};
use super::place;
use super::plan::{Errand, PodSeen};
use super::task::{About, Place, Report, Source, Task};
use crate::cluster::build::{Defaults, image, security_of_container, security_of_pod};
use crate::cluster::names::{CLUSTER_LABEL, MANAGED_BY, Names, Scheme};

/// The label of pods that say of which backup they are: its uid.
pub const BACKUP_LABEL: &str = "quorate.io/backup-uid";
/// The container of a task.
pub const CONTAINER: &str = "task";

/// How long a pod has to give up what it has sent.
const STOP_SECONDS: i64 = 30;
/// Characters of a backup's name that stand in its pods' names.
const NAME_CHARACTERS: usize = 40;
/// Characters of its uid that do.
const UID_CHARACTERS: usize = 8;
/// Where a member that is thrown away has its volume.
const SCRATCH: &str = "/scratch";
/// The smallest volume for it, and how often it has room for the backup: as a file, as a member's
/// data, and once more for what that writes meanwhile.
const SCRATCH_BYTES_MIN: u64 = 1 << 30;
const SCRATCH_TIMES: u64 = 3;
/// The size of its files, small enough for the smallest volume.
const SCRATCH_SEGMENT_BYTES: u64 = 8 << 20;

/// The name of an errand's pod.
#[must_use]
pub fn name(backup: &QuorateBackup, errand: Errand) -> String {
    let metadata = &backup.metadata;
    let part = |text: Option<&String>, count| -> String {
        text.map(String::as_str).unwrap_or_default().chars().take(count).collect()
    };
    let name = part(metadata.name.as_ref(), NAME_CHARACTERS).replace('.', "-");
    let uid = part(metadata.uid.as_ref(), UID_CHARACTERS);
    let of = format!("{}-{uid}", name.trim_end_matches('-'));
    match errand {
        Errand::Save(attempt) => format!("{of}-save-{attempt}"),
        Errand::Remove(attempt) => format!("{of}-remove-{attempt}"),
        Errand::Verify => format!("{of}-verify"),
    }
}

/// The pod of an errand.
///
/// # Errors
/// [`Failure`] if there is not enough to make one of.
pub fn build(
    backup: &QuorateBackup,
    cluster: Option<&QuorateCluster>,
    defaults: &Defaults,
    errand: Errand,
) -> Result<Pod, Failure> {
    let status = backup.status.clone().unwrap_or_default();
    let (Some(destination), Some(object)) = (status.destination.clone(), status.object.clone())
    else {
        return Err(Failure::new(Cause::Misconfigured, "its destination was not written down"));
    };
    let place = Place { destination, object };
    let spec = match (errand, cluster) {
        (Errand::Save(_), Some(cluster)) => save(cluster, defaults, place),
        (Errand::Verify, Some(cluster)) => verify(cluster, defaults, place, &status),
        (Errand::Remove(_), _) => one(cluster, defaults, &Task::Remove { place }, None),
        (Errand::Save(_) | Errand::Verify, None) => {
            return Err(Failure::new(Cause::MemberUnreachable, "its cluster is gone"));
        }
    };
    let component = match errand {
        Errand::Save(_) => "backup",
        Errand::Remove(_) => "backup-removal",
        Errand::Verify => "backup-verification",
    };
    Ok(Pod {
        metadata: metadata(backup, name(backup, errand), component),
        spec: Some(spec),
        status: None,
    })
}

fn metadata(backup: &QuorateBackup, name: String, component: &str) -> ObjectMeta {
    let of = &backup.metadata;
    let uid = of.uid.clone().unwrap_or_default();
    let labels: BTreeMap<String, String> = [
        ("app.kubernetes.io/name", "quorate"),
        ("app.kubernetes.io/component", component),
        MANAGED_BY,
        (CLUSTER_LABEL, backup.spec.cluster.0.as_str()),
        (BACKUP_LABEL, uid.as_str()),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    ObjectMeta {
        name: Some(name),
        namespace: of.namespace.clone(),
        labels: Some(labels),
        owner_references: Some(vec![OwnerReference {
            api_version: format!("{GROUP}/{VERSION}"),
            kind: "QuorateBackup".to_owned(),
            name: of.name.clone().unwrap_or_default(),
            uid,
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]),
        ..ObjectMeta::default()
    }
}

fn save(cluster: &QuorateCluster, defaults: &Defaults, place: Place) -> PodSpec {
    let names = names(cluster);
    let about = About {
        namespace: names.namespace.clone(),
        cluster: names.cluster.clone(),
        version: cluster.status.as_ref().and_then(|status| status.version.clone()),
    };
    let task = Task::Save { source: source(cluster), place, about };
    let client = client_secret(cluster).as_deref().map(place::client_volume);
    one(Some(cluster), defaults, &task, client)
}

/// Whom to ask for a snapshot: followers first, so that the leader has no more to do.
#[must_use]
pub fn source(cluster: &QuorateCluster) -> Source {
    let names = names(cluster);
    let scheme = match cluster.spec.tls.provider {
        TlsProvider::Disabled => Scheme::Http,
        TlsProvider::Managed | TlsProvider::CertManager | TlsProvider::Secret => Scheme::Https,
    };
    let status = cluster.status.clone().unwrap_or_default();
    let voters = |role| {
        let of_role = status.members.iter().filter(move |member| member.role == role);
        of_role.filter_map(|member| names.number(&member.name))
    };
    let numbers = voters(MemberRole::Voter).chain(voters(MemberRole::Leader));
    Source {
        endpoints: numbers.map(|number| names.client_url(number, scheme)).collect(),
        cluster_id: status.cluster_id.clone(),
    }
}

/// How a cluster's objects are named.
#[must_use]
pub fn names(cluster: &QuorateCluster) -> Names {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    Names::new(&text(&cluster.metadata.name), &text(&cluster.metadata.namespace))
}

/// The Secret with which a cluster's members are asked; `None` if they speak no TLS.
#[must_use]
pub fn client_secret(cluster: &QuorateCluster) -> Option<String> {
    match cluster.spec.tls.provider {
        TlsProvider::Disabled => None,
        TlsProvider::Managed | TlsProvider::CertManager => {
            Some(names(cluster).operator_tls_secret())
        }
        // As the operator itself does.
        TlsProvider::Secret => cluster.spec.tls.server_secret.as_ref().map(|name| name.0.clone()),
    }
}

/// A pod with one task.
fn one(
    cluster: Option<&QuorateCluster>,
    defaults: &Defaults,
    task: &Task,
    more: Option<(Volume, VolumeMount)>,
) -> PodSpec {
    let destination = match task {
        Task::Save { place, .. }
        | Task::Fetch { place, .. }
        | Task::Remove { place }
        | Task::Compare { place, .. } => Some(&place.destination),
        Task::Copy { .. } => None,
    };
    let mounted = destination.map(place::volumes).unwrap_or_default();
    let (volumes, mounts) = mounted.into_iter().chain(more).unzip();
    let container = container(defaults, CONTAINER, task, mounts);
    PodSpec { containers: vec![container], volumes: Some(volumes), ..base(cluster) }
}

/// What all pods are.
fn base(cluster: Option<&QuorateCluster>) -> PodSpec {
    let default = ClusterSpec::default();
    let spec = cluster.map_or(&default, |cluster| &cluster.spec);
    let secrets: Vec<LocalObjectReference> = spec
        .image
        .pull_secrets
        .iter()
        .map(|secret| LocalObjectReference { name: secret.0.clone() })
        .collect();
    PodSpec {
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: Some(secrets).filter(|secrets| !secrets.is_empty()),
        node_selector: Some(spec.pod.node_selector.clone()).filter(|labels| !labels.is_empty()),
        restart_policy: Some("Never".to_owned()),
        security_context: Some(security_of_pod()),
        // Where an identity of the pod gives access to a destination, it is the members'.
        service_account_name: cluster.map(|cluster| names(cluster).service_account()),
        termination_grace_period_seconds: Some(STOP_SECONDS),
        tolerations: Some(spec.pod.tolerations.clone()).filter(|list| !list.is_empty()),
        ..PodSpec::default()
    }
}

/// A container with a task.
pub(crate) fn container(
    defaults: &Defaults,
    name: &str,
    task: &Task,
    mounts: Vec<VolumeMount>,
) -> Container {
    let text = serde_json::to_string(task).expect("a task has no keys but strings");
    let quantities = |pairs: &[(&str, &str)]| -> BTreeMap<String, Quantity> {
        let pairs = pairs.iter();
        pairs.map(|(key, value)| ((*key).to_owned(), Quantity((*value).to_owned()))).collect()
    };
    Container {
        name: name.to_owned(),
        image: Some(defaults.operator_image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(vec!["task".to_owned(), text]),
        resources: Some(ResourceRequirements {
            requests: Some(quantities(&[("cpu", "50m"), ("memory", "64Mi")])),
            limits: Some(quantities(&[("memory", "512Mi")])),
            ..ResourceRequirements::default()
        }),
        security_context: Some(security_of_container()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(mounts).filter(|mounts| !mounts.is_empty()),
        ..Container::default()
    }
}

/// A member that is made of a backup, compared with what is known of that, and thrown away.
fn verify(
    cluster: &QuorateCluster,
    defaults: &Defaults,
    place: Place,
    status: &BackupStatus,
) -> PodSpec {
    let file = format!("{SCRATCH}/backup.db");
    let mounts: Vec<(Volume, VolumeMount)> = place::volumes(&place.destination);
    let (mut volumes, of_destination): (Vec<Volume>, Vec<VolumeMount>) = mounts.into_iter().unzip();
    let scratch = VolumeMount {
        name: "scratch".to_owned(),
        mount_path: SCRATCH.to_owned(),
        ..VolumeMount::default()
    };
    volumes.push(scratch_volume(cluster, status));
    let with_scratch: Vec<VolumeMount> =
        of_destination.iter().cloned().chain([scratch.clone()]).collect();
    let fetch = Task::Fetch {
        place: place.clone(),
        into: file.clone().into(),
        sha256: status.sha256.clone(),
    };
    let compare = Task::Compare { place, endpoint: "http://127.0.0.1:2379".to_owned() };
    let member_image = image::of_member(&cluster.spec, &defaults.member_image, None);
    let member = |name: &str, words: &[String], policy: Option<&str>| Container {
        name: name.to_owned(),
        image: Some(member_image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(words.to_vec()),
        resources: cluster.spec.pod.resources.clone(),
        restart_policy: policy.map(str::to_owned),
        security_context: Some(security_of_container()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(vec![scratch.clone()]),
        ..Container::default()
    };
    let identity = [
        "--name=verification".to_owned(),
        format!("--data-dir={SCRATCH}/data"),
        "--initial-cluster=verification=http://127.0.0.1:2380".to_owned(),
        "--initial-advertise-peer-urls=http://127.0.0.1:2380".to_owned(),
        format!("--segment-bytes={SCRATCH_SEGMENT_BYTES}"),
    ];
    let restore: Vec<String> = ["snapshot", "restore"]
        .map(str::to_owned)
        .into_iter()
        .chain(identity.clone())
        .chain(["--remove-file".to_owned(), file])
        .collect();
    let run: Vec<String> = identity
        .into_iter()
        .chain(
            [
                "--listen-client-urls=http://127.0.0.1:2379",
                "--advertise-client-urls=http://127.0.0.1:2379",
                "--listen-peer-urls=http://127.0.0.1:2380",
                // Nothing is forgotten meanwhile that is compared.
                "--auto-compaction-retention=0",
            ]
            .map(str::to_owned),
        )
        .collect();
    PodSpec {
        init_containers: Some(vec![
            container(defaults, "fetch", &fetch, with_scratch),
            member("restore", &restore, None),
            // It goes on beside the container that compares, and ends with it.
            member("member", &run, Some("Always")),
        ]),
        containers: vec![container(defaults, CONTAINER, &compare, of_destination)],
        volumes: Some(volumes),
        ..base(Some(cluster))
    }
}

/// A volume that is made with the pod and goes with it, of the class that members' volumes have.
fn scratch_volume(cluster: &QuorateCluster, status: &BackupStatus) -> Volume {
    let backup = status.size_bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default();
    let bytes = (SCRATCH_TIMES * backup + SCRATCH_BYTES_MIN).next_multiple_of(SCRATCH_BYTES_MIN);
    let claim = PersistentVolumeClaimSpec {
        access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
        resources: Some(VolumeResourceRequirements {
            requests: Some([("storage".to_owned(), Quantity(bytes.to_string()))].into()),
            limits: None,
        }),
        storage_class_name: cluster.spec.storage.storage_class_name.clone(),
        ..PersistentVolumeClaimSpec::default()
    };
    Volume {
        name: "scratch".to_owned(),
        ephemeral: Some(EphemeralVolumeSource {
            volume_claim_template: Some(PersistentVolumeClaimTemplate {
                metadata: None,
                spec: claim,
            }),
        }),
        ..Volume::default()
    }
}

/// A pod as it is. `progress` is what it has said of how far it is.
#[must_use]
pub fn seen(pod: &Pod, progress: Option<u64>) -> PodSeen {
    let status = pod.status.clone().unwrap_or_default();
    let phase = status.phase.as_deref().unwrap_or_default();
    let begun =
        || status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let message = |state: &ContainerState| {
        state.terminated.as_ref().and_then(|ended| ended.message.clone()).unwrap_or_default()
    };
    let task = status.container_statuses.iter().flatten().find(|found| found.name == CONTAINER);
    let ended =
        task.and_then(|task| task.state.as_ref()).filter(|state| state.terminated.is_some());
    if let Some(report) = ended.and_then(|state| Report::parse(&message(state))) {
        return PodSeen::Ended(report);
    }
    if phase == "Succeeded" || phase == "Failed" {
        let failed = begun().find_map(|found| {
            let state = found.state.as_ref()?;
            let code = state.terminated.as_ref().map(|ended| ended.exit_code)?;
            (code != 0).then(|| (found.name.clone(), message(state)))
        });
        return PodSeen::Ended(Report::Failed(why_failed(&status, failed)));
    }
    if phase == "Running" {
        return PodSeen::Running(progress);
    }
    let waiting = begun().find_map(|found| {
        let waiting = found.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.clone().filter(|reason| {
            !["PodInitializing", "ContainerCreating"].contains(&reason.as_str())
        })?;
        let message = waiting.message.clone().unwrap_or_default();
        Some(format!("{reason} {message}").trim().to_owned())
    });
    let unplaced = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    let trouble = waiting.or_else(|| unplaced.and_then(|condition| condition.message.clone()));
    // A container that runs before the others is work, too.
    let is_at_work =
        begun().any(|found| found.state.as_ref().is_some_and(|state| state.running.is_some()));
    if is_at_work {
        return PodSeen::Running(progress);
    }
    let since = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    PodSeen::Waiting { since, trouble }
}

/// Of a pod whose task says nothing itself.
fn why_failed(
    status: &k8s_openapi::api::core::v1::PodStatus,
    failed: Option<(String, String)>,
) -> Failure {
    let Some((container, message)) = failed else {
        let reason = status.reason.clone().or_else(|| status.message.clone());
        let reason = reason.unwrap_or_else(|| "the pod ended without a word".to_owned());
        return Failure::new(Cause::PodFailed, reason);
    };
    match Report::parse(&message) {
        Some(Report::Failed(failure)) => failure,
        Some(Report::Done | Report::Saved(_)) | None => {
            let cause =
                if container == "restore" { Cause::NotRestorable } else { Cause::PodFailed };
            let text = match message.trim() {
                "" => format!("container {container} ended without a word"),
                message => format!("container {container}: {message}"),
            };
            Failure::new(cause, text)
        }
    }
}
