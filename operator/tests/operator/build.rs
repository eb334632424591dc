//! What is built of a cluster.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use quorate_operator::cluster::build::{
    Blueprint, BuildError, CLUSTER_STATE, Defaults, Member, SPEC_HASH, Shared, connection,
    disruption_budget, quorum, shared, stateful_set,
};
use quorate_operator::cluster::names::ROLE_LABEL;
use quorate_operator::tls::{ClientFiles, Key};
use quorate_operator_api::{OWNED_FLAGS, QuorateCluster};
use serde::Serialize;
use serde_json::{Value, json};

use crate::golden::assert_golden;

pub(crate) fn defaults() -> Defaults {
    Defaults {
        member_image: "quorate:0.1.0".to_owned(),
        operator_image: "quorate-operator:0.1.0".to_owned(),
    }
}

/// A cluster as the API server gives it.
pub(crate) fn cluster(spec: &Value) -> QuorateCluster {
    let resource = json!({
        "apiVersion": "quorate.io/v1alpha1",
        "kind": "QuorateCluster",
        "metadata": {
            "name": "demo",
            "namespace": "ns",
            "uid": "6c1f0c0e-3a53-4b52-8d4b-3d4c2f0b7a11",
        },
        "spec": spec,
    });
    serde_json::from_value(resource).unwrap_or_else(|error| panic!("{spec}: {error}"))
}

fn begun(mut cluster: QuorateCluster) -> QuorateCluster {
    let status = json!({ "clusterID": "cdf818194e3a8c32" });
    cluster.status = Some(serde_json::from_value(status).expect("a status"));
    cluster
}

fn set_of(cluster: &QuorateCluster, member: &Member) -> StatefulSet {
    let defaults = defaults();
    let blueprint = Blueprint::new(cluster, &defaults, None).expect("complete");
    stateful_set(&blueprint, member, None).expect("built")
}

fn template(set: &StatefulSet) -> &PodTemplateSpec {
    &set.spec.as_ref().expect("a specification").template
}

fn pod(set: &StatefulSet) -> &PodSpec {
    template(set).spec.as_ref().expect("a pod")
}

fn annotation<'a>(set: &'a StatefulSet, name: &str) -> &'a str {
    let metadata = template(set).metadata.as_ref().expect("metadata");
    &metadata.annotations.as_ref().expect("annotations")[name]
}

fn arguments(set: &StatefulSet) -> &[String] {
    pod(set).containers[0].args.as_deref().expect("arguments")
}

fn yaml(documents: &[Value]) -> String {
    let text = |document| serde_yaml::to_string(document).expect("YAML");
    documents.iter().map(|document| format!("---\n{}\n", text(document).trim_end())).collect()
}

fn value(object: &impl Serialize) -> Value {
    serde_json::to_value(object).expect("JSON")
}

/// Everything of a cluster with these members.
fn manifests(cluster: &QuorateCluster, members: &[Member], voters: usize) -> String {
    let defaults = defaults();
    let blueprint = Blueprint::new(cluster, &defaults, None).expect("complete");
    let Shared {
        service_account,
        members_service,
        client_service,
        network_policy,
        disruption_budget,
        monitoring,
    } = shared(&blueprint, voters);
    let mut documents = vec![
        value(&service_account),
        value(&members_service),
        value(&client_service),
        value(&network_policy),
    ];
    documents.extend(disruption_budget.iter().map(value));
    documents.extend(monitoring.iter().map(value));
    let urls: Vec<String> = members
        .iter()
        .map(|member| blueprint.names.client_url(member.number, blueprint.scheme))
        .collect();
    let files = ClientFiles {
        ca: b"ca".to_vec(),
        certificate: b"certificate".to_vec(),
        key: Key(b"key".to_vec()),
    };
    let has_tls = urls[0].starts_with("https");
    documents.push(value(&connection(&blueprint, &urls, has_tls.then_some(&files))));
    documents.extend(
        members.iter().map(|member| value(&stateful_set(&blueprint, member, None).expect("built"))),
    );
    yaml(&documents)
}

/// The first cluster of a member that joins two others.
fn of_three(scheme: &str) -> String {
    [0, 1, 2].map(|n| format!("demo-{n}={scheme}://demo-{n}-0.demo-members.ns.svc:2380")).join(",")
}

#[test]
fn one_member_without_tls() {
    let cluster = cluster(&json!({ "replicas": 1, "tls": { "provider": "Disabled" } }));
    assert_golden("one_without_tls.yaml", &manifests(&cluster, &[Member::seed(0)], 1));
}

#[test]
fn three_members_with_certificates_of_the_operator() {
    let cluster = begun(cluster(&json!({})));
    let members = [Member::seed(0), Member::joiner(2, of_three("https"))];
    assert_golden("three_managed.yaml", &manifests(&cluster, &members, 3));
}

fn everything() -> Value {
    json!({
        "replicas": 5,
        "version": "0.2.0",
        "image": {
            "repository": "mirror.example/quorate",
            "pullPolicy": "Always",
            "pullSecrets": ["pull"],
        },
        "storage": {
            "size": "100Gi",
            "storageClassName": "fast",
            "pvcRetention": { "whenScaled": "Retain", "whenDeleted": "Delete" },
            "autoGrow": { "maxSize": "200Gi" },
        },
        "tls": { "provider": "Secret", "serverSecret": "servers", "peerSecret": "peers" },
        "config": {
            "autoCompaction": { "mode": "Revision", "retention": "1000" },
            "snapshotCount": 50_000,
            "heartbeatIntervalMs": 200,
            "electionTimeoutMs": 2000,
            "extraArgs": { "log-level": "debug", "max-request-bytes": "4194304" },
        },
        "pod": {
            "resources": { "requests": { "cpu": "2" }, "limits": { "memory": "8Gi" } },
            "affinity": { "nodeAffinity": {} },
            "nodeSelector": { "disk": "fast" },
            "tolerations": [{ "key": "dedicated", "operator": "Exists" }],
            "topologySpreadConstraints": [{
                "maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule",
            }],
            "priorityClassName": "high",
            "labels": { "team": "a", "quorate.io/cluster": "another" },
            "annotations": { "note": "b" },
            "overrides": {
                "dnsPolicy": "Default",
                "containers": [
                    { "name": "quorate", "env": [{ "name": "TZ", "value": "UTC" }] },
                    { "name": "beside", "image": "beside:1" },
                ],
            },
        },
        "service": {
            "type": "LoadBalancer",
            "labels": { "team": "a" },
            "annotations": { "internal": "true" },
        },
        "monitoring": {
            "serviceMonitor": true, "prometheusRule": true, "labels": { "release": "x" },
        },
    })
}

#[test]
fn a_member_with_everything_set() {
    let mut cluster = begun(cluster(&everything()));
    cluster.metadata.annotations =
        Some([("quorate.io/restart".to_owned(), "again".to_owned())].into());
    let members = [Member::joiner(12, of_three("https"))];
    assert_golden("everything.yaml", &manifests(&cluster, &members, 3));
}

#[test]
fn a_budget_keeps_a_majority_of_the_larger_number() {
    let defaults = defaults();
    for (voters, target, expected) in [
        (1, 1, None),
        (0, 1, None),
        (1, 3, Some(2)),
        (2, 3, Some(2)),
        (3, 3, Some(2)),
        (3, 1, Some(2)),
        (2, 1, Some(2)),
        (5, 3, Some(3)),
        (3, 5, Some(3)),
        (4, 5, Some(3)),
        (6, 5, Some(4)),
    ] {
        let cluster = cluster(&json!({ "replicas": target }));
        let blueprint = Blueprint::new(&cluster, &defaults, None).expect("complete");
        let found = disruption_budget(&blueprint, voters).map(|budget| {
            let spec = budget.spec.expect("a specification");
            assert_eq!(spec.unhealthy_pod_eviction_policy.as_deref(), Some("AlwaysAllow"));
            spec.min_available.expect("a number")
        });
        assert_eq!(found, expected.map(IntOrString::Int), "{voters} voters, {target} wanted");
    }
    assert_eq!([1, 2, 3, 4, 5].map(quorum), [1, 2, 2, 3, 3]);
    let without = cluster(&json!({ "disruption": { "enabled": false } }));
    let blueprint = Blueprint::new(&without, &defaults, None).expect("complete");
    assert!(disruption_budget(&blueprint, 3).is_none());
}

/// Only the first member of a cluster that has not begun may make one of an empty directory.
#[test]
fn a_cluster_begins_once() {
    let new = cluster(&json!({}));
    assert_eq!(annotation(&set_of(&new, &Member::seed(0)), CLUSTER_STATE), "new");
    let joiner = Member::joiner(1, of_three("https"));
    assert_eq!(annotation(&set_of(&new, &joiner), CLUSTER_STATE), "existing");
    let running = begun(new);
    assert_eq!(annotation(&set_of(&running, &Member::seed(0)), CLUSTER_STATE), "existing");
    // Not an argument, which a container that starts again would be given as it was.
    let set = set_of(&running, &Member::seed(0));
    assert!(!arguments(&set).iter().any(|text| text.contains("initial-cluster-state")));
}

#[test]
fn a_member_is_read_back_from_its_stateful_set() {
    let defaults = defaults();
    let cluster = cluster(&json!({}));
    let blueprint = Blueprint::new(&cluster, &defaults, None).expect("complete");
    let stopped = Member { is_stopped: true, ..Member::seed(3) };
    for member in [Member::seed(0), Member::joiner(7, of_three("https")), stopped] {
        let set = stateful_set(&blueprint, &member, None).expect("built");
        assert_eq!(Member::of(&blueprint, &set), Some(member));
    }
    let mut other = set_of(&cluster, &Member::seed(0));
    other.metadata.name = Some("other-0".to_owned());
    assert_eq!(Member::of(&blueprint, &other), None);
}

/// Kubernetes refuses another claim in a StatefulSet that there is.
#[test]
fn a_claim_stays_as_it_was_made() {
    let defaults = defaults();
    let before = cluster(&json!({ "storage": { "size": "1Gi" } }));
    let mut existing = set_of(&before, &Member::seed(0));
    let claims = existing.spec.as_mut().and_then(|spec| spec.volume_claim_templates.as_mut());
    let claim = claims.expect("claims").first_mut().expect("a claim");
    claim.metadata.creation_timestamp = None;
    claim.status = Some(serde_json::from_value(json!({ "phase": "Pending" })).expect("a status"));
    let after = cluster(&json!({ "storage": { "size": "2Gi" } }));
    let blueprint = Blueprint::new(&after, &defaults, None).expect("complete");
    let set = stateful_set(&blueprint, &Member::seed(0), Some(&existing)).expect("built");
    let size = |set: &StatefulSet| {
        value(set)["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]
            .clone()
    };
    assert_eq!(size(&set), "1Gi");
    assert_eq!(value(&set)["spec"]["volumeClaimTemplates"][0]["status"], Value::Null);
    assert_eq!(size(&set_of(&after, &Member::seed(0))), "2Gi");
}

#[test]
fn the_hash_changes_when_a_restart_is_needed_and_only_then() {
    let member = Member::seed(0);
    let hash = |spec: &Value| annotation(&set_of(&cluster(spec), &member), SPEC_HASH).to_owned();
    let plain = hash(&json!({}));
    for same in [
        json!({ "replicas": 5 }),
        json!({ "paused": true }),
        json!({ "pod": { "labels": { "a": "b" }, "annotations": { "c": "d" } } }),
        json!({ "service": { "type": "NodePort" } }),
        json!({ "monitoring": { "serviceMonitor": true } }),
        json!({ "tls": { "extraSans": ["a.example"], "certValidityDays": 60 } }),
        json!({ "storage": { "pvcRetention": { "whenDeleted": "Delete" } } }),
        json!({ "image": { "pullPolicy": "Always", "pullSecrets": ["a"] } }),
        json!({ "disruption": { "enabled": false } }),
    ] {
        assert_eq!(hash(&same), plain, "{same}");
    }
    let mut seen = vec![plain];
    for other in [
        json!({ "version": "0.2.0" }),
        json!({ "image": { "repository": "mirror/quorate" } }),
        json!({ "config": { "quotaBackend": "1Gi" } }),
        json!({ "config": { "quotaBackend": "2Gi" } }),
        json!({ "config": { "autoCompaction": { "mode": "Disabled" } } }),
        json!({ "config": { "extraArgs": { "log-level": "debug" } } }),
        json!({ "config": { "electionTimeoutMs": 2000 } }),
        json!({ "storage": { "size": "16Gi" } }),
        json!({ "storage": { "autoGrow": { "maxSize": "16Gi" } } }),
        json!({ "pod": { "resources": { "requests": { "cpu": "1" } } } }),
        json!({ "pod": { "nodeSelector": { "a": "b" } } }),
        json!({ "pod": { "priorityClassName": "high" } }),
        json!({ "pod": { "overrides": { "dnsPolicy": "Default" } } }),
        json!({ "tls": { "provider": "Secret", "serverSecret": "a", "peerSecret": "b" } }),
        json!({ "tls": { "provider": "Secret", "serverSecret": "a", "peerSecret": "c" } }),
    ] {
        let found = hash(&other);
        assert!(!seen.contains(&found), "{other}");
        seen.push(found);
    }
}

/// Another operator, whose defaults differ, restarts nobody.
#[test]
fn what_the_operator_adds_is_not_in_the_hash() {
    let member = Member::seed(0);
    let cluster = cluster(&json!({}));
    let newer = Defaults {
        member_image: "quorate:0.9.0".to_owned(),
        operator_image: "quorate-operator:0.9.0".to_owned(),
    };
    let blueprint = Blueprint::new(&cluster, &newer, Some("quorate:0.1.0")).expect("complete");
    let set = stateful_set(&blueprint, &member, None).expect("built");
    let before = set_of(&cluster, &member);
    assert_eq!(annotation(&set, SPEC_HASH), annotation(&before, SPEC_HASH));
    assert_eq!(pod(&set).containers[0].image.as_deref(), Some("quorate:0.1.0"));
    // And it is the same in each release.
    assert_eq!(annotation(&before, SPEC_HASH), "b8036c142b0911ab");
}

/// The *restricted* Pod Security Standard.
#[test]
fn pods_are_restricted() {
    for spec in [json!({}), json!({ "tls": { "provider": "Disabled" } })] {
        let set = set_of(&cluster(&spec), &Member::seed(0));
        let pod = pod(&set);
        let of_pod = pod.security_context.as_ref().expect("a context");
        assert_eq!(of_pod.run_as_non_root, Some(true));
        assert!(of_pod.run_as_user.is_some_and(|user| user > 0));
        let seccomp = of_pod.seccomp_profile.as_ref().expect("a profile");
        assert_eq!(seccomp.type_, "RuntimeDefault");
        assert_eq!(pod.automount_service_account_token, Some(false));
        assert!(pod.host_network.is_none() && pod.host_pid.is_none() && pod.host_ipc.is_none());
        let all = pod.init_containers.iter().flatten().chain(&pod.containers);
        for container in all {
            let context = container.security_context.as_ref().expect("a context");
            assert_eq!(context.allow_privilege_escalation, Some(false));
            assert_eq!(context.read_only_root_filesystem, Some(true));
            assert!(context.privileged.is_none());
            let capabilities = context.capabilities.as_ref().expect("capabilities");
            assert_eq!(capabilities.drop, Some(vec!["ALL".to_owned()]));
            assert!(capabilities.add.is_none());
            for port in container.ports.iter().flatten() {
                assert!(port.host_port.is_none());
            }
        }
        for volume in pod.volumes.iter().flatten() {
            assert!(volume.host_path.is_none());
        }
    }
}

/// Who votes is not the template's to say, and what the operator says is not the user's.
#[test]
fn labels_are_the_operators() {
    let spec = json!({ "pod": { "labels": {
        "quorate.io/member": "mine", "quorate.io/cluster": "mine", "a": "b",
    } } });
    let set = set_of(&cluster(&spec), &Member::seed(4));
    let metadata = template(&set).metadata.as_ref().expect("metadata");
    let labels = metadata.labels.as_ref().expect("labels");
    assert_eq!(labels["quorate.io/member"], "demo-4");
    assert_eq!(labels["quorate.io/cluster"], "demo");
    assert_eq!(labels["a"], "b");
    let selector = set.spec.as_ref().and_then(|spec| spec.selector.match_labels.as_ref());
    for (key, value) in selector.expect("a selector") {
        assert_eq!(&labels[key], value, "{key}");
    }
}

/// No flag is given twice, and those that the user may not give are the operator's.
#[test]
fn arguments_are_given_once() {
    for spec in [json!({}), everything()] {
        let set = set_of(&cluster(&spec), &Member::seed(0));
        let mut flags: Vec<&str> = arguments(&set)
            .iter()
            .map(|text| text.trim_start_matches("--").split('=').next().expect("a flag"))
            .collect();
        let all = flags.len();
        flags.sort_unstable();
        flags.dedup();
        assert_eq!(flags.len(), all, "{flags:?}");
        for flag in ["name", "data-dir", "cert-file", "initial-cluster-token"] {
            assert!(flags.contains(&flag) && OWNED_FLAGS.contains(&flag), "{flag}");
        }
    }
}

#[test]
fn overrides_that_are_no_pod_are_refused_by_name() {
    let spec = json!({ "pod": { "overrides": { "containers": "none" } } });
    let cluster = cluster(&spec);
    let defaults = defaults();
    let blueprint = Blueprint::new(&cluster, &defaults, None).expect("complete");
    let refused = stateful_set(&blueprint, &Member::seed(0), None).expect_err("no pod");
    assert!(matches!(&refused, BuildError::Overrides(_)), "{refused}");
}

#[test]
fn what_was_never_stored_is_refused() {
    let defaults = defaults();
    let mut cluster = cluster(&json!({}));
    cluster.metadata.uid = None;
    let refused = Blueprint::new(&cluster, &defaults, None).expect_err("no uid");
    assert_eq!(refused, BuildError::NotStored("uid"));
}

/// The role's label is put on pods, and pods are selected by it.
#[test]
fn clients_reach_voters_alone() {
    let defaults = defaults();
    let cluster = cluster(&json!({}));
    let blueprint = Blueprint::new(&cluster, &defaults, None).expect("complete");
    let Shared { client_service, members_service, .. } = shared(&blueprint, 3);
    let selector = |service: &k8s_openapi::api::core::v1::Service| {
        service.spec.as_ref().and_then(|spec| spec.selector.clone()).expect("a selector")
    };
    assert_eq!(selector(&client_service)[ROLE_LABEL], "voter");
    assert!(!selector(&members_service).contains_key(ROLE_LABEL));
    let set = set_of(&cluster, &Member::seed(0));
    let labels = template(&set).metadata.as_ref().and_then(|metadata| metadata.labels.as_ref());
    assert!(!labels.expect("labels").contains_key(ROLE_LABEL));
}
