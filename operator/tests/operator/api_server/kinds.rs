//! The kinds that are served.

/// A kind of objects.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    /// Its group; empty for the oldest.
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    /// As in paths.
    pub(crate) plural: &'static str,
    pub(crate) name: &'static str,
    pub(crate) is_namespaced: bool,
    /// Whether its status is written apart.
    pub(crate) has_status: bool,
    /// Whether it has a scale.
    pub(crate) has_scale: bool,
    /// Whether somebody has to define it.
    pub(crate) is_custom: bool,
}

const PLAIN: Kind = Kind {
    group: "",
    version: "v1",
    plural: "",
    name: "",
    is_namespaced: true,
    has_status: false,
    has_scale: false,
    is_custom: false,
};
const WITH_STATUS: Kind = Kind { has_status: true, ..PLAIN };
const CUSTOM: Kind = Kind { is_custom: true, ..PLAIN };

pub(crate) static NAMESPACE: Kind =
    Kind { plural: "namespaces", name: "Namespace", is_namespaced: false, ..WITH_STATUS };
pub(crate) static NODE: Kind =
    Kind { plural: "nodes", name: "Node", is_namespaced: false, ..WITH_STATUS };
pub(crate) static POD: Kind = Kind { plural: "pods", name: "Pod", ..WITH_STATUS };
pub(crate) static CLAIM: Kind =
    Kind { plural: "persistentvolumeclaims", name: "PersistentVolumeClaim", ..WITH_STATUS };
pub(crate) static VOLUME: Kind = Kind {
    plural: "persistentvolumes",
    name: "PersistentVolume",
    is_namespaced: false,
    ..WITH_STATUS
};
pub(crate) static SERVICE: Kind = Kind { plural: "services", name: "Service", ..WITH_STATUS };
pub(crate) static SECRET: Kind = Kind { plural: "secrets", name: "Secret", ..PLAIN };
static CONFIG_MAP: Kind = Kind { plural: "configmaps", name: "ConfigMap", ..PLAIN };
static SERVICE_ACCOUNT: Kind = Kind { plural: "serviceaccounts", name: "ServiceAccount", ..PLAIN };
pub(crate) static STATEFUL_SET: Kind = Kind {
    group: "apps",
    plural: "statefulsets",
    name: "StatefulSet",
    has_scale: true,
    ..WITH_STATUS
};
pub(crate) static JOB: Kind = Kind { group: "batch", plural: "jobs", name: "Job", ..WITH_STATUS };
pub(crate) static BUDGET: Kind = Kind {
    group: "policy",
    plural: "poddisruptionbudgets",
    name: "PodDisruptionBudget",
    ..WITH_STATUS
};
pub(crate) static NETWORK_POLICY: Kind =
    Kind { group: "networking.k8s.io", plural: "networkpolicies", name: "NetworkPolicy", ..PLAIN };
pub(crate) static EVENT: Kind =
    Kind { group: "events.k8s.io", plural: "events", name: "Event", ..PLAIN };
pub(crate) static LEASE: Kind =
    Kind { group: "coordination.k8s.io", plural: "leases", name: "Lease", ..PLAIN };
pub(crate) static CLUSTER: Kind = Kind {
    group: "quorate.io",
    version: "v1alpha1",
    plural: "quorateclusters",
    name: "QuorateCluster",
    has_status: true,
    has_scale: true,
    ..CUSTOM
};
pub(crate) static BACKUP: Kind = Kind {
    group: "quorate.io",
    version: "v1alpha1",
    plural: "quoratebackups",
    name: "QuorateBackup",
    has_status: true,
    ..CUSTOM
};
static SERVICE_MONITOR: Kind = Kind {
    group: "monitoring.coreos.com",
    plural: "servicemonitors",
    name: "ServiceMonitor",
    ..CUSTOM
};
static PROMETHEUS_RULE: Kind = Kind {
    group: "monitoring.coreos.com",
    plural: "prometheusrules",
    name: "PrometheusRule",
    ..CUSTOM
};
pub(crate) static CERTIFICATE: Kind = Kind {
    group: "cert-manager.io",
    plural: "certificates",
    name: "Certificate",
    has_status: true,
    ..CUSTOM
};

pub(crate) static ALL: [&Kind; 20] = [
    &NAMESPACE,
    &NODE,
    &POD,
    &CLAIM,
    &VOLUME,
    &SERVICE,
    &SECRET,
    &CONFIG_MAP,
    &SERVICE_ACCOUNT,
    &STATEFUL_SET,
    &JOB,
    &BUDGET,
    &NETWORK_POLICY,
    &EVENT,
    &LEASE,
    &CLUSTER,
    &BACKUP,
    &SERVICE_MONITOR,
    &PROMETHEUS_RULE,
    &CERTIFICATE,
];

impl Kind {
    /// As objects name it.
    pub(crate) fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// As messages name it.
    pub(crate) fn resource(&self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }
}

/// The kind of an object.
pub(crate) fn of(api_version: &str, name: &str) -> Option<&'static Kind> {
    ALL.into_iter().find(|kind| kind.name == name && kind.api_version() == api_version)
}

/// The kind at a path.
pub(super) fn at(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    ALL.into_iter()
        .find(|kind| kind.group == group && kind.version == version && kind.plural == plural)
}
