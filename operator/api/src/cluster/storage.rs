//! The members' volumes.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::from_nothing;
use crate::Size;

/// The members' volumes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "has(self.storageClassName) == has(oldSelf.storageClassName) && \
     (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)"
).message("a volume's class cannot be changed: make another cluster with bootstrap.clone"))]
#[x_kube(validation = Rule::new(
    "!has(self.autoGrow) || quantity(self.autoGrow.maxSize).compareTo(quantity(self.size)) >= 0"
).message("autoGrow.maxSize is not below size").field_path(".autoGrow"))]
pub struct Storage {
    /// The size of each volume.
    #[serde(default = "default_size")]
    #[x_kube(validation = Rule::new(
        "quantity(self).compareTo(quantity(oldSelf)) >= 0"
    ).message("a volume cannot shrink: make another cluster with bootstrap.clone"))]
    #[x_kube(validation = Rule::new("quantity(self).compareTo(quantity('64Mi')) >= 0").message(
        "a member needs 64Mi at least"
    ))]
    pub size: Size,
    /// The class of the volumes; left out, the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
    /// When volumes are deleted.
    #[serde(default)]
    pub pvc_retention: ClaimRetention,
    /// Grow volumes before they are full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_grow: Option<AutoGrow>,
}

impl Default for Storage {
    fn default() -> Self {
        from_nothing()
    }
}

fn default_size() -> Size {
    Size("8Gi".to_owned())
}

/// When volumes are deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimRetention {
    /// Of a member that was removed.
    #[serde(default = "delete")]
    pub when_scaled: ClaimPolicy,
    /// Of a cluster that is deleted.
    #[serde(default = "retain")]
    pub when_deleted: ClaimPolicy,
}

impl Default for ClaimRetention {
    fn default() -> Self {
        from_nothing()
    }
}

/// What becomes of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ClaimPolicy {
    /// It stays.
    Retain,
    /// It goes.
    Delete,
}

fn delete() -> ClaimPolicy {
    ClaimPolicy::Delete
}

fn retain() -> ClaimPolicy {
    ClaimPolicy::Retain
}

/// Volumes that grow before they are full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AutoGrow {
    /// How full a volume is when it grows, in percent.
    #[serde(default = "default_threshold")]
    #[schemars(range(min = 50, max = 95))]
    pub threshold_percent: i32,
    /// By how much, in percent of its size.
    #[serde(default = "default_increment")]
    #[schemars(range(min = 5, max = 100))]
    pub increment_percent: i32,
    /// How large it becomes at most.
    pub max_size: Size,
}

fn default_threshold() -> i32 {
    80
}

fn default_increment() -> i32 {
    20
}
