//! The objects that a cluster is made of, as values.
//!
//! ```text
//!   QuorateCluster ─▶ Blueprint ─┬▶ Shared: Services, budget, NetworkPolicy, ServiceAccount, …
//!                                └▶ for each member: StatefulSet (one replica), volume claim
//! ```
//!
//! It never asks anything of Kubernetes, of members or of the clock: equal values in, equal objects
//! out. What Kubernetes lets nobody change is taken from the object that is there.
//!
//! Invariants:
//! - Every object is owned by the cluster, and carries its labels.
//! - A pod's [`SPEC_HASH`](spec_hash::ANNOTATION) depends on what the user asked for alone: another
//!   operator that builds pods in another way makes nobody restart.
//! - Pods meet the *restricted* Pod Security Standard, unless the user overrides that.

mod affinity;
mod blueprint;
mod budget;
mod flags;
pub mod image;
mod monitoring;
mod network;
mod overrides;
mod pod;
mod secrets;
mod services;
mod space;
mod spec_hash;
mod stateful_set;
mod volumes;

use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::DynamicObject;

pub use blueprint::{Blueprint, BuildError, Defaults, RESTART};
pub use budget::{disruption_budget, quorum};
pub(crate) use pod::CONTAINER;
pub use pod::{CLUSTER_STATE, DATA_DIR, MOUNT, UID};
pub(crate) use pod::{security_of_container, security_of_pod};
pub use secrets::connection;
pub use spec_hash::ANNOTATION as SPEC_HASH;
pub use stateful_set::{Beginning, INITIAL_CLUSTER, Member, stateful_set};
pub use volumes::TLS_MOUNT;

/// The objects that there are once, whichever members a cluster has.
#[derive(Clone, Debug, PartialEq)]
pub struct Shared {
    /// Whose pods the members are. It may do nothing.
    pub service_account: ServiceAccount,
    /// The names of all members, ready or not.
    pub members_service: Service,
    /// What clients connect to.
    pub client_service: Service,
    /// Who may speak to members as a peer.
    pub network_policy: NetworkPolicy,
    /// How many voting members stay when nodes are drained; `None` if there is to be no budget.
    pub disruption_budget: Option<PodDisruptionBudget>,
    /// Objects of Prometheus' operator, which must have defined their kinds.
    pub monitoring: Vec<DynamicObject>,
}

/// The hash of what a member has to be restarted for.
#[must_use]
pub fn hash(blueprint: &Blueprint<'_>) -> String {
    spec_hash::of(blueprint)
}

/// The objects that there are once, in a cluster with so many voting members.
#[must_use]
pub fn shared(blueprint: &Blueprint<'_>, voters: usize) -> Shared {
    Shared {
        service_account: network::service_account(blueprint),
        members_service: services::members(blueprint),
        client_service: services::client(blueprint),
        network_policy: network::policy(blueprint),
        disruption_budget: disruption_budget(blueprint, voters),
        monitoring: monitoring::objects(blueprint),
    }
}
