//! What Prometheus is told of a cluster, in the kinds of its operator.

use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};

use super::Blueprint;
use crate::cluster::names::CLUSTER_LABEL;

const GROUP: &str = "monitoring.coreos.com";

/// The kind of a ServiceMonitor, and of a PrometheusRule.
fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, "v1", kind))
}

/// The objects that the specification asks for.
pub(super) fn objects(blueprint: &Blueprint<'_>) -> Vec<DynamicObject> {
    let wanted = &blueprint.spec.monitoring;
    let mut objects = Vec::new();
    if wanted.service_monitor {
        objects.push(object(blueprint, "ServiceMonitor", service_monitor(blueprint)));
    }
    if wanted.prometheus_rule {
        objects.push(object(blueprint, "PrometheusRule", rules(blueprint)));
    }
    objects
}

fn object(blueprint: &Blueprint<'_>, kind: &str, spec: Value) -> DynamicObject {
    let mut metadata = blueprint.metadata(blueprint.names.cluster.clone());
    let mut labels = blueprint.spec.monitoring.labels.clone();
    labels.extend(metadata.labels.take().unwrap_or_default());
    metadata.labels = Some(labels);
    let mut object = DynamicObject::new(&blueprint.names.cluster, &resource(kind));
    object.metadata = metadata;
    object.data = json!({ "spec": spec });
    object
}

/// Members are scraped one by one, at the Service that names them all. The job is that Service's
/// name.
fn service_monitor(blueprint: &Blueprint<'_>) -> Value {
    json!({
        "selector": { "matchLabels": { CLUSTER_LABEL: blueprint.names.cluster } },
        "namespaceSelector": { "matchNames": [blueprint.names.namespace] },
        "targetLabels": [CLUSTER_LABEL],
        "endpoints": [{ "port": "metrics", "path": "/metrics", "scheme": "http" }],
    })
}

/// An alert: its name, what it looks for, for how long, how bad it is, and what it says.
type Alert = (&'static str, &'static str, &'static str, &'static str, &'static str);

/// What is looked for in members. `JOB` stands for the labels of the cluster's members.
const ALERTS: [Alert; 10] = [
    (
        "QuorateMemberDown",
        "max by (namespace, job, pod) (up{JOB} == bool 0) > 0",
        "1m",
        "warning",
        "Member {{ $labels.pod }} does not answer.",
    ),
    (
        "QuorateMajorityDown",
        "sum by (namespace, job) (up{JOB}) < floor(count by (namespace, job) (up{JOB}) / 2) + 1",
        "30s",
        "critical",
        "Too few members answer to decide anything.",
    ),
    (
        "QuorateNoLeader",
        "max by (namespace, job) (etcd_server_has_leader{JOB}) == 0",
        "30s",
        "critical",
        "No member knows a leader.",
    ),
    (
        "QuorateLeaderChanges",
        "max by (namespace, job) (increase(etcd_server_leader_changes_seen_total{JOB}[15m])) >= 4",
        "5m",
        "warning",
        "The leader changes often: disks or the network are too slow.",
    ),
    (
        "QuorateProposalsFail",
        "sum by (namespace, job) (rate(etcd_server_proposals_failed_total{JOB}[15m])) > 5",
        "5m",
        "warning",
        "Writes fail.",
    ),
    (
        "QuorateSlowSync",
        "histogram_quantile(0.99, sum by (namespace, job, pod, le) \
         (rate(etcd_disk_wal_fsync_duration_seconds_bucket{JOB}[5m]))) > 0.5",
        "10m",
        "warning",
        "The disk of {{ $labels.pod }} takes {{ $value }}s for a sync.",
    ),
    (
        "QuorateQuotaLow",
        "max by (namespace, job) (etcd_mvcc_db_total_size_in_use_in_bytes{JOB} \
         / etcd_server_quota_backend_bytes{JOB}) > 0.9",
        "10m",
        "warning",
        "Live data take nine tenths of the quota: without room, writes are refused.",
    ),
    (
        "QuorateVolumeLow",
        "min by (namespace, persistentvolumeclaim) (\
         kubelet_volume_stats_available_bytes{CLAIM} / kubelet_volume_stats_capacity_bytes{CLAIM}) \
         < 0.1",
        "5m",
        "warning",
        "Volume {{ $labels.persistentvolumeclaim }} has less than a tenth left.",
    ),
    (
        "QuorateDamage",
        "sum by (namespace, job, pod) (increase(quorate_damages_total{JOB}[1h])) > 0",
        "0s",
        "critical",
        "Member {{ $labels.pod }} has found damaged data on its disk.",
    ),
    (
        "QuorateRepairing",
        "max by (namespace, job, pod) (quorate_repairing{JOB}) > 0",
        "15m",
        "warning",
        "Member {{ $labels.pod }} has not been repaired by its peers for a quarter of an hour.",
    ),
];

/// What is looked for in what the operator says of a cluster. `CLUSTER` stands for the labels of it.
const OPERATOR_ALERTS: [Alert; 4] = [
    (
        "QuorateNoMargin",
        "min by (namespace, cluster) (quorate_operator_quorum_margin{CLUSTER}) <= 0 \
         and on (namespace, cluster) quorate_operator_desired_members{CLUSTER} > 1",
        "10m",
        "critical",
        "One more member that fails ends the cluster's majority.",
    ),
    (
        "QuorateOperationStuck",
        "max by (namespace, cluster, operation) \
         (quorate_operator_operation_seconds{CLUSTER}) > 1800",
        "0s",
        "warning",
        "{{ $labels.operation }} has been under way for half an hour.",
    ),
    (
        "QuorateBackupOverdue",
        "max by (namespace, cluster) (quorate_operator_backup_overdue_seconds{CLUSTER}) > 3600",
        "0s",
        "warning",
        "The last backup that was due is not there.",
    ),
    (
        "QuorateCertificateExpiring",
        "min by (namespace, cluster) (quorate_operator_certificate_expiry_seconds{CLUSTER}) \
         < 86400",
        "0s",
        "critical",
        "A certificate ends within a day and was not renewed.",
    ),
];

fn rules(blueprint: &Blueprint<'_>) -> Value {
    let names = &blueprint.names;
    let Names { namespace, members, claims, cluster } = &Names {
        namespace: &names.namespace,
        members: &names.members_service(),
        claims: &format!("data-{}-[0-9]+-0", names.cluster),
        cluster: &names.cluster,
    };
    let job = format!(r#"namespace="{namespace}", job="{members}""#);
    let claim = format!(r#"namespace="{namespace}", persistentvolumeclaim=~"{claims}""#);
    let labels = format!(r#"namespace="{namespace}", cluster="{cluster}""#);
    let rule = |(name, expression, wait, severity, summary): &Alert| {
        let expression = expression
            .replace("{JOB}", &format!("{{{job}}}"))
            .replace("{CLAIM}", &format!("{{{claim}}}"))
            .replace("{CLUSTER}", &format!("{{{labels}}}"));
        json!({
            "alert": name,
            "expr": expression,
            "for": wait,
            "labels": { "severity": severity, "quorate_cluster": cluster },
            "annotations": { "summary": format!("{namespace}/{cluster}: {summary}") },
        })
    };
    let of_members: Vec<Value> = ALERTS.iter().map(rule).collect();
    let of_operator: Vec<Value> = OPERATOR_ALERTS.iter().map(rule).collect();
    json!({
        "groups": [
            { "name": format!("quorate-{namespace}-{cluster}"), "rules": of_members },
            { "name": format!("quorate-operator-{namespace}-{cluster}"), "rules": of_operator },
        ],
    })
}

/// What labels are compared with.
struct Names<'a> {
    namespace: &'a str,
    members: &'a str,
    claims: &'a str,
    cluster: &'a str,
}
