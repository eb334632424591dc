//! How many voting members stay when others take some away.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Blueprint;

/// How many of so many voting members decide.
#[must_use]
pub fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

/// The budget of a cluster with so many voting members; `None` if there is to be none.
///
/// While the number changes, the larger one counts: a cluster on its way from three members to five
/// keeps three. A single member has no budget: it would keep its node from ever being drained.
/// Pods that do not serve may always be evicted, or a broken member would do the same.
#[must_use]
pub fn disruption_budget(blueprint: &Blueprint<'_>, voters: usize) -> Option<PodDisruptionBudget> {
    let target = usize::try_from(blueprint.spec.replicas).unwrap_or(1);
    let members = voters.max(target);
    if !blueprint.spec.disruption.enabled || members <= 1 || blueprint.spec.hibernate {
        return None;
    }
    // A cluster of two has no member to spare, and asks for both.
    let min_available = i32::try_from(quorum(members)).unwrap_or(i32::MAX);
    Some(PodDisruptionBudget {
        metadata: blueprint.metadata(blueprint.names.budget()),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(IntOrString::Int(min_available)),
            selector: Some(LabelSelector {
                match_labels: Some(blueprint.names.voters_selector()),
                ..LabelSelector::default()
            }),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    })
}
