//! Settings of the members.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::from_nothing;
use crate::Size;

/// Flags of a member that are the operator's, or have a field of their own.
pub const OWNED_FLAGS: [&str; 31] = [
    "name",
    "data-dir",
    "wal-dir",
    "config-file",
    "listen-client-urls",
    "listen-client-http-urls",
    "listen-peer-urls",
    "listen-metrics-urls",
    "advertise-client-urls",
    "initial-advertise-peer-urls",
    "initial-cluster",
    "initial-cluster-state",
    "initial-cluster-token",
    "force-new-cluster",
    "discovery",
    "discovery-srv",
    "cert-file",
    "key-file",
    "client-cert-auth",
    "client-crl-file",
    "trusted-ca-file",
    "peer-cert-file",
    "peer-key-file",
    "peer-client-cert-auth",
    "peer-trusted-ca-file",
    "quota-backend-bytes",
    "auto-compaction-mode",
    "auto-compaction-retention",
    "snapshot-count",
    "heartbeat-interval",
    "election-timeout",
];

/// Settings of the members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.electionTimeoutMs >= 5 * self.heartbeatIntervalMs").message(
    "electionTimeoutMs is five times heartbeatIntervalMs at least: a late heartbeat would end a leader"
))]
#[x_kube(validation = Rule::new(
    "!has(self.extraArgs) || self.extraArgs.all(flag, !(flag in [\
        'name', 'data-dir', 'wal-dir', 'config-file', 'listen-client-urls', \
        'listen-client-http-urls', 'listen-peer-urls', 'listen-metrics-urls', \
        'advertise-client-urls', 'initial-advertise-peer-urls', 'initial-cluster', \
        'initial-cluster-state', 'initial-cluster-token', 'force-new-cluster', 'discovery', \
        'discovery-srv', 'cert-file', 'key-file', 'client-cert-auth', 'client-crl-file', \
        'trusted-ca-file', 'peer-cert-file', 'peer-key-file', 'peer-client-cert-auth', \
        'peer-trusted-ca-file', 'quota-backend-bytes', 'auto-compaction-mode', \
        'auto-compaction-retention', 'snapshot-count', 'heartbeat-interval', 'election-timeout']))"
).message(
    "extraArgs has a flag that the operator sets itself; use the field for it, if there is one"
).field_path(".extraArgs"))]
#[x_kube(validation = Rule::new(
    "!has(self.extraArgs) || self.extraArgs.all(flag, flag.matches('^[a-z][a-z0-9-]*$'))"
).message("extraArgs names flags without dashes in front: feature-gates, not --feature-gates").field_path(".extraArgs"))]
pub struct Config {
    /// How much a member stores before it takes no more; left out, as much as the volume has room
    /// for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_backend: Option<Size>,
    /// When history is forgotten.
    #[serde(default)]
    pub auto_compaction: AutoCompaction,
    /// Applied entries after which the log is cut; left out, the member's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub snapshot_count: Option<i64>,
    /// Milliseconds between a leader's heartbeats.
    #[serde(default = "default_heartbeat")]
    #[schemars(range(min = 10, max = 10_000))]
    pub heartbeat_interval_ms: i32,
    /// Milliseconds without a heartbeat after which another leader is elected.
    #[serde(default = "default_election")]
    #[schemars(range(min = 50, max = 50_000))]
    pub election_timeout_ms: i32,
    /// More flags of the members, by name, without dashes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub extra_args: BTreeMap<String, ExtraArg>,
}

impl Default for Config {
    fn default() -> Self {
        from_nothing()
    }
}

/// The value of a flag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct ExtraArg(#[schemars(length(max = 1024))] pub String);

/// When history is forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "self.mode != 'Periodic' || self.retention.matches('^([0-9]+(ms|s|m|h))+$')"
).message("a period is a duration such as 5m or 1h30m").field_path(".retention"))]
#[x_kube(validation = Rule::new(
    "self.mode != 'Revision' || self.retention.matches('^[1-9][0-9]*$')"
).message("revisions are a number such as 1000").field_path(".retention"))]
pub struct AutoCompaction {
    /// What is counted.
    #[serde(default)]
    pub mode: CompactionMode,
    /// How much history is kept: a duration, or a number of revisions.
    #[serde(default = "default_retention")]
    #[schemars(length(min = 1, max = 32))]
    pub retention: String,
}

impl Default for AutoCompaction {
    fn default() -> Self {
        from_nothing()
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum CompactionMode {
    /// Time.
    #[default]
    Periodic,
    /// Revisions.
    Revision,
    /// Nothing: clients compact, as kube-apiserver does.
    Disabled,
}

fn default_retention() -> String {
    "5m".to_owned()
}

fn default_heartbeat() -> i32 {
    100
}

fn default_election() -> i32 {
    1000
}
