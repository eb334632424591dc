//! What a new cluster begins with.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{Destination, LocalName};

/// What a new cluster begins with: exactly one of the kinds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "[has(self.restore), has(self.clone), has(self.join)].filter(x, x).size() == 1"
).message("a cluster begins with exactly one of restore, clone and join"))]
pub struct Bootstrap {
    /// A backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreSource>,
    /// The data of a cluster that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone: Option<CloneSource>,
    /// The data and the members of a cluster that runs, which this one takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<JoinSource>,
}

/// A backup: one of this namespace, or a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.backupName) != has(self.source)").message(
    "a backup is named by exactly one of backupName and source"
))]
#[x_kube(validation = Rule::new("has(self.source) == has(self.object)").message(
    "a source is a destination with the name of an object in it: set source and object"
))]
pub struct RestoreSource {
    /// A QuorateBackup in this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_name: Option<LocalName>,
    /// Where a file is; a snapshot that etcd's tools made will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Destination>,
    /// The file's name there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub object: Option<String>,
}

/// A cluster to copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.cluster) != has(self.endpoints)").message(
    "a cluster to copy is named by exactly one of cluster and endpoints"
))]
pub struct CloneSource {
    /// A QuorateCluster in this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<LocalName>,
    /// The URLs of any cluster that speaks etcd's protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 9),
        inner(length(max = 512), regex(pattern = r"^https?://[^\s/]+$"))
    )]
    pub endpoints: Option<Vec<String>>,
    /// A Secret with `ca.crt`, and with `tls.crt` and `tls.key` if they want to know who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_ref: Option<LocalName>,
}

/// A cluster to take over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct JoinSource {
    /// The URLs of its members for clients.
    #[schemars(
        length(min = 1, max = 9),
        inner(length(max = 512), regex(pattern = r"^https?://[^\s/]+$"))
    )]
    pub endpoints: Vec<String>,
    /// A Secret with `ca.crt`, and with `tls.crt` and `tls.key` if they want to know who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_ref: Option<LocalName>,
}
