//! Where backups are kept.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::LocalName;

/// A place for backups: exactly one of the kinds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "[has(self.s3), has(self.gcs), has(self.azure), has(self.pvc)].filter(x, x).size() == 1"
).message("a destination is exactly one of s3, gcs, azure and pvc"))]
pub struct Destination {
    /// An S3 bucket, or one of a server that speaks the same protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Destination>,
    /// A bucket of Google Cloud Storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gcs: Option<GcsDestination>,
    /// A container of Azure Blob Storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure: Option<AzureDestination>,
    /// A volume of the cluster's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pvc: Option<PvcDestination>,
}

/// A key of a Secret in the resource's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// The Secret.
    pub name: LocalName,
    /// The key in it.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// An S3 bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Destination {
    /// The bucket, which must exist.
    #[schemars(length(min = 3, max = 63))]
    pub bucket: String,
    /// What the names of all objects begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub prefix: Option<String>,
    /// The region; `us-east-1` if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub region: Option<String>,
    /// The server's URL, if it is not Amazon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = r"^https?://[^\s]+$"))]
    pub endpoint: Option<String>,
    /// A Secret with `accessKeyId` and `secretAccessKey`, and perhaps `sessionToken`. Left out, the
    /// identity of the pod counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<LocalName>,
    /// The certificates that the server's is signed by, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<SecretKey>,
    /// Whether the bucket stands in the path of URLs and not in the name of the host.
    #[serde(default)]
    pub path_style: bool,
}

/// A bucket of Google Cloud Storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GcsDestination {
    /// The bucket, which must exist.
    #[schemars(length(min = 3, max = 222))]
    pub bucket: String,
    /// What the names of all objects begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub prefix: Option<String>,
    /// The server's URL, if it is not Google's public one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = r"^https?://[^\s]+$"))]
    pub endpoint: Option<String>,
    /// The key of a service account, as JSON. Left out, the identity of the pod counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<SecretKey>,
    /// The certificates that the server's is signed by, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<SecretKey>,
}

/// A container of Azure Blob Storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureDestination {
    /// The storage account.
    #[schemars(length(min = 3, max = 24), regex(pattern = r"^[a-z0-9]+$"))]
    pub account: String,
    /// The container, which must exist.
    #[schemars(length(min = 3, max = 63))]
    pub container: String,
    /// What the names of all objects begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub prefix: Option<String>,
    /// The URL of the account's blobs, if it is not `https://<account>.blob.core.windows.net`. Where
    /// the account stands in the path of URLs, it is a part of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = r"^https?://[^\s]+$"))]
    pub endpoint: Option<String>,
    /// The account's access key. Left out, the identity of the pod counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key: Option<SecretKey>,
    /// The certificates that the server's is signed by, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<SecretKey>,
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PvcDestination {
    /// The PersistentVolumeClaim, which must exist.
    pub claim: LocalName,
    /// The folder in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[^/.][^.]*$"))]
    pub folder: Option<String>,
}
