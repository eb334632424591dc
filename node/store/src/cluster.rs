//! What the cluster agreed on as a whole: its version, and a downgrade under way.

use serde::{Deserialize, Serialize};

/// A downgrade, as etcd stores it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Downgrade {
    /// The version to go back to; empty without a downgrade.
    #[serde(rename = "target-version")]
    pub target_version: String,
    /// Whether a downgrade is under way.
    pub enabled: bool,
}

/// What the cluster agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The cluster's version, such as `3.7.0`; `None` until the members agreed on one.
    pub version: Option<String>,
    /// A downgrade; `None` until one was asked for or cancelled.
    pub downgrade: Option<Downgrade>,
}
