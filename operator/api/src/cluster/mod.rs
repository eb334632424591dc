//! A cluster as it should be.

mod backup;
mod bootstrap;
mod config;
mod pod;
mod status;
mod storage;
mod tls;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::LocalName;

pub use backup::{BackupPlan, Retention};
pub use bootstrap::{Bootstrap, CloneSource, JoinSource, RestoreSource};
pub use config::{AutoCompaction, CompactionMode, Config, OWNED_FLAGS};
pub use pod::{ClientService, Disruption, Monitoring, PodOverrides, PodTemplate, ServiceType};
pub use status::{
    BackupSummary, ClusterStatus, MemberHealth, MemberRole, MemberStatus, Operation, TlsStatus,
};
pub use storage::{AutoGrow, ClaimPolicy, ClaimRetention, Storage};
pub use tls::{IssuerRef, Tls, TlsProvider};

/// A cluster of Quorate members.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "quorate.io",
    version = "v1alpha1",
    kind = "QuorateCluster",
    plural = "quorateclusters",
    shortname = "qc",
    category = "quorate",
    namespaced,
    status = "ClusterStatus",
    derive = "PartialEq",
    doc = "A cluster of Quorate members.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Available",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Available')].status"
    ),
    printcolumn(name = "Members", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Leader", type_ = "string", json_path = ".status.leader"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Progressing')].reason"
    ),
    printcolumn(name = "Last Backup", type_ = "date", json_path = ".status.backup.lastSuccess"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 40").message(
        "the name of a cluster has 40 characters at most: members, Services and volumes are named after it"
    ),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message(
        "the name of a cluster begins with a letter and has no dots: Services are named after it"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "has(self.bootstrap) == has(oldSelf.bootstrap) && \
     (!has(self.bootstrap) || self.bootstrap == oldSelf.bootstrap)"
).message("bootstrap says how a cluster begins and cannot be changed: make another cluster"))]
#[x_kube(validation = Rule::new(
    "!has(self.auth) || !self.auth.enabled || !has(self.tls) || self.tls.provider != 'Disabled'"
).message("auth needs TLS: set tls.provider to something else than Disabled").field_path(".auth"))]
pub struct ClusterSpec {
    /// Voting members.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = 9))]
    #[x_kube(validation = Rule::new("self % 2 == 1").message(
        "replicas is odd: an even number of members bears no more failures than one less"
    ))]
    pub replicas: i32,
    /// The version of the product; left out, the one that the operator knew when it made the
    /// cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 32),
        regex(pattern = r"^[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}(-[a-z0-9.]+)?$")
    )]
    #[x_kube(validation = Rule::new(
        "self.split('.')[0] == oldSelf.split('.')[0] && \
         int(self.split('.')[1]) - int(oldSelf.split('.')[1]) in [0, 1]"
    ).message("a version is followed by one of the same or of the next minor: upgrade step by step"))]
    pub version: Option<String>,
    /// The image.
    #[serde(default)]
    pub image: Image,
    /// The members' volumes.
    #[serde(default)]
    pub storage: Storage,
    /// Certificates.
    #[serde(default)]
    pub tls: Tls,
    /// Users and permissions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Settings of the members.
    #[serde(default)]
    pub config: Config,
    /// How members get a new version, image or configuration.
    #[serde(default)]
    pub update: Update,
    /// What is done about members that fail.
    #[serde(default)]
    pub healing: Healing,
    /// Backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupPlan>,
    /// What a new cluster begins with; left out, with nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Bootstrap>,
    /// How many members may be taken away by others, such as when a node is drained.
    #[serde(default)]
    pub disruption: Disruption,
    /// The members' pods.
    #[serde(default)]
    pub pod: PodTemplate,
    /// The Service that clients use.
    #[serde(default)]
    pub service: ClientService,
    /// Objects for Prometheus.
    #[serde(default)]
    pub monitoring: Monitoring,
    /// Whether nothing is changed, only looked at.
    #[serde(default)]
    pub paused: bool,
    /// Whether the members are stopped, with their volumes kept.
    #[serde(default)]
    pub hibernate: bool,
}

fn default_replicas() -> i32 {
    3
}

impl Default for ClusterSpec {
    fn default() -> Self {
        crate::cluster::from_nothing()
    }
}

/// What serde makes of an empty object, so that there is one place for defaults.
pub(crate) fn from_nothing<T: serde::de::DeserializeOwned>() -> T {
    let nothing = serde_json::Value::Object(serde_json::Map::new());
    serde_json::from_value(nothing).expect("every field has a default")
}

/// The image of the members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.digest) || has(self.repository)").message(
    "a digest is one of a repository: set repository, too"
))]
pub struct Image {
    /// Its repository, without a tag; left out, the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[a-zA-Z0-9][-a-zA-Z0-9._:/]*$"))]
    pub repository: Option<String>,
    /// Its digest; left out, the version is its tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71), regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub digest: Option<String>,
    /// When it is pulled; left out, if it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<PullPolicy>,
    /// Secrets with the credentials of the registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub pull_secrets: Vec<LocalName>,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum PullPolicy {
    /// Whenever a pod starts.
    Always,
    /// If the node has none.
    IfNotPresent,
    /// Never.
    Never,
}

/// Users and permissions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.enabled || has(self.rootSecretRef)").message(
    "auth needs the password of root: name its Secret in rootSecretRef"
))]
pub struct Auth {
    /// Whether clients must say who they are.
    #[serde(default)]
    pub enabled: bool,
    /// A Secret with root's password under `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_secret_ref: Option<LocalName>,
}

/// How members get something new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Update {
    /// Who restarts them.
    #[serde(default, rename = "type")]
    pub kind: UpdateType,
    /// Whether a backup comes before another version.
    #[serde(default)]
    pub pre_upgrade_backup: PreUpgradeBackup,
}

impl Default for Update {
    fn default() -> Self {
        from_nothing()
    }
}

/// Who restarts members that are out of date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum UpdateType {
    /// The operator, followers first, one at a time.
    #[default]
    Rolling,
    /// Whoever deletes their pods.
    OnDelete,
}

/// Whether a backup comes before another version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum PreUpgradeBackup {
    /// If backups are configured.
    #[default]
    IfConfigured,
    /// Always: without one nothing is upgraded.
    Required,
    /// No.
    Never,
}

/// What is done about members that fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Healing {
    /// Whether members are replaced.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Seconds after which a member that does not come back is replaced.
    #[serde(default = "default_replace_after")]
    #[schemars(range(min = 10, max = 86_400))]
    pub replace_after_seconds: i32,
    /// What is done when a majority of members is lost for good.
    #[serde(default)]
    pub quorum_recovery: QuorumRecovery,
}

impl Default for Healing {
    fn default() -> Self {
        from_nothing()
    }
}

/// What is done when a majority of members is lost for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum QuorumRecovery {
    /// The cluster is rebuilt from the best survivor when a person asks for it.
    #[default]
    Manual,
    /// It is rebuilt without being asked.
    Automatic,
    /// It is never rebuilt.
    Disabled,
}

pub(crate) fn yes() -> bool {
    true
}

fn default_replace_after() -> i32 {
    300
}
