//! A member's pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction,
    LocalObjectReference, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    ResourceRequirements, SeccompProfile, SecurityContext,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use quorate_operator_api::{PullPolicy, TlsProvider};

use super::stateful_set::{Beginning, Member};
use super::{
    Blueprint, BuildError, TLS_MOUNT, affinity, flags, overrides, space, spec_hash, volumes,
};
use crate::cluster::names::{CLIENT_PORT, METRICS_PORT, PEER_PORT};
use crate::restore::{self, Making, Origin};
use crate::tls::PEER_COMMON_NAME;

/// Where a member's volume is.
pub const MOUNT: &str = "/var/lib/quorate";
/// The member's folder in it: a volume's own folder may hold `lost+found`.
pub const DATA_DIR: &str = "/var/lib/quorate/data";
/// Who runs in the pods: nobody in particular.
pub const UID: i64 = 65_532;

/// The annotation of pods from which a container learns, each time it starts, whether an empty
/// directory may become a new cluster: `new` or `existing`.
///
/// It is `new` for the first member of a cluster that has not begun. As soon as the cluster's id is
/// known, the operator says `existing`, in the template and on the pod that runs: a first member
/// whose volume is lost later must not begin a second cluster of the same id beside the others.
pub const CLUSTER_STATE: &str = "quorate.io/initial-cluster-state";

/// The container of the member.
pub(crate) const CONTAINER: &str = "quorate";

/// The flag that a restored member has to be made with, too.
const SEGMENT_BYTES: &str = "segment-bytes";

/// How long a member may take to stop: to hand over the leadership and to write a checkpoint.
const STOP_SECONDS: i64 = 60;

/// The template of a member's pod.
///
/// # Errors
/// [`BuildError::Overrides`].
pub(super) fn template(
    blueprint: &Blueprint<'_>,
    member: &Member,
) -> Result<PodTemplateSpec, BuildError> {
    let given = &blueprint.spec.pod;
    // What is the operator's stays so, whatever the user's labels and annotations say.
    let mut labels = given.labels.clone();
    labels.extend(blueprint.names.member_labels(member.number));
    let mut annotations = given.annotations.clone();
    annotations.insert(spec_hash::ANNOTATION.to_owned(), spec_hash::of(blueprint));
    let state = if begins(blueprint, member) { "new" } else { "existing" };
    annotations.insert(CLUSTER_STATE.to_owned(), state.to_owned());
    annotations.insert("kubectl.kubernetes.io/default-container".to_owned(), CONTAINER.to_owned());
    let mut spec = spec(blueprint, member)?;
    if let Some(patch) = &given.overrides {
        spec = overrides::merge(spec, patch)?;
    }
    let metadata = ObjectMeta {
        labels: Some(labels),
        annotations: Some(annotations),
        ..ObjectMeta::default()
    };
    Ok(PodTemplateSpec { metadata: Some(metadata), spec: Some(spec) })
}

/// Whether an empty volume of this member may become a cluster.
fn begins(blueprint: &Blueprint<'_>, member: &Member) -> bool {
    match member.beginning {
        Beginning::Seed => !blueprint.has_begun,
        Beginning::Heir { .. } => true,
        Beginning::Joiner { .. } => false,
    }
}

/// What an empty volume of this member is made a cluster of, if it may become one; `None` for
/// nothing.
fn origin(blueprint: &Blueprint<'_>, member: &Member) -> Result<Option<Origin>, BuildError> {
    if !begins(blueprint, member) {
        return Ok(None);
    }
    if let Beginning::Heir { claim } = &member.beginning {
        return Ok(Some(Origin::Survivor { claim: claim.clone() }));
    }
    let bootstrap = blueprint.spec.bootstrap.as_ref();
    let is_asked = bootstrap.is_some_and(|begin| begin.restore.is_some() || begin.clone.is_some());
    match &blueprint.origin {
        Some(origin) => Ok(Some(origin.clone())),
        None if is_asked => Err(BuildError::NoOrigin),
        None => Ok(None),
    }
}

/// What makes the member of its origin, if it has one.
fn making(blueprint: &Blueprint<'_>, member: &Member) -> Result<Option<Making>, BuildError> {
    let Some(origin) = origin(blueprint, member)? else { return Ok(None) };
    let segment = flags_of(blueprint)
        .into_iter()
        .filter(|(name, _)| name == SEGMENT_BYTES)
        .map(|(name, value)| format!("--{name}={value}"));
    let identity: Vec<String> = identity(blueprint, member).into_iter().chain(segment).collect();
    let container = container(blueprint, member);
    let data = volumes::data_mount();
    Ok(Some(restore::making(&origin, blueprint.defaults, &container, &data, &identity)))
}

fn spec(blueprint: &Blueprint<'_>, member: &Member) -> Result<PodSpec, BuildError> {
    let given = &blueprint.spec.pod;
    let secrets = &blueprint.spec.image.pull_secrets;
    let (first, more) = match making(blueprint, member)? {
        Some(Making { containers, volumes }) => (containers, volumes),
        None => (Vec::new(), Vec::new()),
    };
    let volumes = volumes::volumes(blueprint, member.number).into_iter().chain(more).collect();
    Ok(PodSpec {
        affinity: Some(affinity::affinity(blueprint)),
        automount_service_account_token: Some(false),
        containers: vec![container(blueprint, member)],
        // A Service named `etcd` would set variables that members read as their own.
        enable_service_links: Some(false),
        image_pull_secrets: not_empty(
            secrets.iter().map(|secret| LocalObjectReference { name: secret.0.clone() }).collect(),
        ),
        node_selector: Some(given.node_selector.clone()).filter(|labels| !labels.is_empty()),
        priority_class_name: given.priority_class_name.clone(),
        security_context: Some(security_of_pod()),
        service_account_name: Some(blueprint.names.service_account()),
        termination_grace_period_seconds: Some(STOP_SECONDS),
        tolerations: not_empty(given.tolerations.clone()),
        topology_spread_constraints: Some(affinity::spread(blueprint)),
        init_containers: not_empty(first),
        volumes: not_empty(volumes),
        ..PodSpec::default()
    })
}

fn not_empty<T>(items: Vec<T>) -> Option<Vec<T>> {
    Some(items).filter(|items| !items.is_empty())
}

fn container(blueprint: &Blueprint<'_>, member: &Member) -> Container {
    let port = |name: &str, number| ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    let state = EnvVar {
        name: "ETCD_INITIAL_CLUSTER_STATE".to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".to_owned()),
                field_path: format!("metadata.annotations['{CLUSTER_STATE}']"),
            }),
            ..EnvVarSource::default()
        }),
        value: None,
    };
    Container {
        name: CONTAINER.to_owned(),
        image: Some(blueprint.image.clone()),
        image_pull_policy: Some(pull_policy(blueprint).to_owned()),
        args: Some(arguments(blueprint, member)),
        env: Some(vec![state]),
        ports: Some(vec![
            port("client", CLIENT_PORT),
            port("peer", PEER_PORT),
            port("metrics", METRICS_PORT),
        ]),
        // Slow disks and long logs have ten minutes; what does not come then is tried again.
        startup_probe: Some(probe("/livez", 2, 2, 300)),
        // Only for a process that hangs: who does not reach its peers is left to try.
        liveness_probe: Some(probe("/livez", 10, 5, 6)),
        readiness_probe: Some(probe("/readyz", 2, 5, 3)),
        resources: Some(resources(blueprint)),
        security_context: Some(security_of_container()),
        // Why a member ended is told to whoever asks for its pod, and read by `observe`.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(volumes::mounts(blueprint)),
        ..Container::default()
    }
}

/// When images are pulled.
pub(super) fn pull_policy(blueprint: &Blueprint<'_>) -> &'static str {
    match blueprint.spec.image.pull_policy {
        Some(PullPolicy::Always) => "Always",
        Some(PullPolicy::IfNotPresent) | None => "IfNotPresent",
        Some(PullPolicy::Never) => "Never",
    }
}

fn probe(path: &str, period: i32, timeout: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("metrics".to_owned()),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(timeout),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

/// Without limits unless they are asked for: what a member needs grows with its keys, and one that
/// is killed for want of memory is a member less.
fn resources(blueprint: &Blueprint<'_>) -> ResourceRequirements {
    if let Some(resources) = &blueprint.spec.pod.resources {
        return resources.clone();
    }
    let requests = [("cpu", "100m"), ("memory", "256Mi")];
    ResourceRequirements {
        requests: Some(
            requests.map(|(key, value)| (key.to_owned(), Quantity(value.to_owned()))).into(),
        ),
        ..ResourceRequirements::default()
    }
}

/// Restricted, and the volume's files belong to the member's group.
pub(crate) fn security_of_pod() -> PodSecurityContext {
    PodSecurityContext {
        fs_group: Some(UID),
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        run_as_group: Some(UID),
        run_as_non_root: Some(true),
        run_as_user: Some(UID),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    }
}

/// Restricted, with nothing to write but its volumes.
pub(crate) fn security_of_container() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        read_only_root_filesystem: Some(true),
        ..SecurityContext::default()
    }
}

/// The member's arguments: who it is, where it listens, what it trusts, what the user wants.
fn arguments(blueprint: &Blueprint<'_>, member: &Member) -> Vec<String> {
    let names = &blueprint.names;
    let number = member.number;
    let scheme = blueprint.scheme;
    let mut arguments = identity(blueprint, member);
    let mut add = |name: &str, value: &str| arguments.push(format!("--{name}={value}"));
    add("listen-client-urls", &format!("{}://0.0.0.0:{CLIENT_PORT}", scheme.as_str()));
    add("advertise-client-urls", &names.client_url(number, scheme));
    add("listen-peer-urls", &format!("{}://0.0.0.0:{PEER_PORT}", scheme.as_str()));
    add("listen-metrics-urls", &format!("http://0.0.0.0:{METRICS_PORT}"));
    let tls = blueprint.spec.tls.provider;
    if tls != TlsProvider::Disabled {
        let peer_ca = match tls {
            TlsProvider::Managed | TlsProvider::Disabled => "ca.crt",
            TlsProvider::CertManager | TlsProvider::Secret => "peer-ca.crt",
        };
        let file = |name: &str| format!("{TLS_MOUNT}/{name}");
        add("cert-file", &file("server.crt"));
        add("key-file", &file("server.key"));
        add("client-cert-auth", "true");
        add("trusted-ca-file", &file("ca.crt"));
        add("peer-cert-file", &file("peer.crt"));
        add("peer-key-file", &file("peer.key"));
        add("peer-client-cert-auth", "true");
        add("peer-trusted-ca-file", &file(peer_ca));
    }
    arguments.extend(flags::arguments(&flags_of(blueprint)));
    arguments
}

/// What the user asks for, and where that leaves something open, what the operator thinks best.
fn flags_of(blueprint: &Blueprint<'_>) -> BTreeMap<String, String> {
    let mut flags = flags::of_spec(blueprint.spec, blueprint.volume_bytes);
    let mut add = |name: &str, value: String| {
        flags.entry(name.to_owned()).or_insert(value);
    };
    add(SEGMENT_BYTES, space::segment_bytes(blueprint.volume_bytes).to_string());
    // How long requests take: dashboards and alerts ask for it.
    add("metrics", "extensive".to_owned());
    let tls = blueprint.spec.tls.provider;
    if tls != TlsProvider::Disabled {
        // A pod's name leads to its new address only some time after it has one.
        add("peer-skip-client-san-verification", "true".to_owned());
    }
    if matches!(tls, TlsProvider::Managed | TlsProvider::CertManager) {
        // One CA signs for clients, too, and no client is a peer.
        add("peer-cert-allowed-cn", PEER_COMMON_NAME.to_owned());
    }
    flags
}

/// Who the member is, and which cluster an empty directory belongs to.
pub(super) fn identity(blueprint: &Blueprint<'_>, member: &Member) -> Vec<String> {
    let names = &blueprint.names;
    let peer_url = names.peer_url(member.number, blueprint.scheme);
    let initial_cluster = member.initial_cluster(blueprint);
    vec![
        format!("--name={}", names.member(member.number)),
        format!("--data-dir={DATA_DIR}"),
        format!("--initial-advertise-peer-urls={peer_url}"),
        format!("--initial-cluster={initial_cluster}"),
        format!("--initial-cluster-token={}", blueprint.uid),
    ]
}
