//! Types of the Quorate custom resources: what a user writes, and what the operator answers.
//!
//! | kind | writer | what it is |
//! |---|---|---|
//! | [`QuorateCluster`] (`qc`) | user | a cluster as it should be; its status tells how it is |
//! | [`QuorateBackup`] (`qbak`) | user, schedule | one backup of one cluster |
//!
//! Everything that can be refused is refused when it is written: by the schema's bounds and
//! patterns, or by rules in CEL that name the field and the remedy. What depends on the state of a
//! cluster is the operator's to refuse, by a condition.
//!
//! The manifests in `crds/` are generated from here. Defaults are told once, to serde; a type's
//! [`Default`] is what serde makes of an empty object, and the schema's default is the same value.
//!
//! Invariants: no field changes its meaning or type within a version; every list, map and string
//! that a rule looks at is bounded, or the API server could not bound the rule's cost.

#![expect(unreachable_pub, reason = "KubeSchema makes a copy of each type inside of a function")]
#![expect(clippy::duplicated_attributes, reason = "columns of one type are no duplicates")]

mod backup;
mod cluster;
mod conditions;
mod destination;
mod name;
mod quantity;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

pub use backup::{BackupPhase, BackupSpec, BackupStatus, DeletionPolicy, QuorateBackup};
pub use cluster::*;
pub use conditions::{ConditionType, Reason};
pub use destination::{
    AzureDestination, Destination, GcsDestination, PvcDestination, S3Destination, SecretKey,
};
pub use name::{CLUSTER_NAME_MAX, LocalName};
pub use quantity::Size;

/// The API group of all kinds.
pub const GROUP: &str = "quorate.io";

/// The one version.
pub const VERSION: &str = "v1alpha1";

/// The definitions of all kinds.
#[must_use]
pub fn definitions() -> Vec<CustomResourceDefinition> {
    vec![QuorateCluster::crd(), QuorateBackup::crd()]
}
