//! A cluster as it is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A cluster as it is. It changes when something has happened, and not with the clock.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// The generation of the specification that the rest is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Voting members.
    #[serde(default)]
    pub replicas: i32,
    /// Voting members that answer linearizable reads.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Ready and wanted members, such as `3/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The labels of the members' pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The members.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub members: Vec<MemberStatus>,
    /// The cluster's id in hexadecimal digits, from the moment on at which it began.
    #[serde(default, rename = "clusterID", skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// The number of the next member. None is used twice.
    #[serde(default)]
    pub next_member: i64,
    /// The leader's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// The version that all members run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Bytes that the data take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub db_size_bytes: Option<i64>,
    /// When history was last forgotten to make room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compacted_at: Option<Time>,
    /// The members' URLs for clients.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// Certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsStatus>,
    /// Backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupSummary>,
    /// What is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// What is said of it in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A member as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Its name, which is its StatefulSet's.
    pub name: String,
    /// Its id in hexadecimal digits, once it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it is.
    #[serde(default)]
    pub role: MemberRole,
    /// How it is.
    #[serde(default)]
    pub health: MemberHealth,
    /// The version that it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Since when it has been healthy, or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// The uid of the volume claim on which it was last healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// The hash of the template with which it is healthy, or was until it came back with another
    /// one. A member that fell ill with the template that it had has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
}

/// What a member is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum MemberRole {
    /// It was never added, or nobody could be asked.
    #[default]
    Unknown,
    /// It follows and does not vote.
    Learner,
    /// It votes.
    Voter,
    /// It votes and leads.
    Leader,
    /// It is on its way out.
    Leaving,
}

/// How a member is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum MemberHealth {
    /// It could not be told.
    #[default]
    Unknown,
    /// It has no pod, or one that has not started.
    Starting,
    /// It answers.
    Healthy,
    /// It does not answer, or has no leader.
    Unreachable,
    /// It says that its data are damaged.
    Corrupt,
}

/// When certificates end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsStatus {
    /// The CA's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_expires: Option<Time>,
    /// The first of the members'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf_expires: Option<Time>,
}

/// The backups in one look.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupSummary {
    /// When the newest was complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Time>,
    /// The newest revision in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// When one was last restored with the same data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Time>,
}

/// What is under way. It is written down before anything is done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// What.
    #[serde(default)]
    pub kind: String,
    /// How far.
    #[serde(default)]
    pub phase: String,
    /// With which member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// How often it was tried.
    #[serde(default)]
    pub attempts: i32,
}
