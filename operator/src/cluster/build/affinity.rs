//! Where members run, unless the user says so: apart from each other, where that can be had.

use k8s_openapi::api::core::v1::{
    Affinity, PodAffinityTerm, PodAntiAffinity, TopologySpreadConstraint, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::Blueprint;

const NODE: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// Members of one cluster on different nodes. Preferred and not required: a member that finds no
/// node of its own still is one more copy of the data.
pub(super) fn affinity(blueprint: &Blueprint<'_>) -> Affinity {
    if let Some(affinity) = &blueprint.spec.pod.affinity {
        return affinity.clone();
    }
    let term = PodAffinityTerm {
        label_selector: Some(members(blueprint)),
        topology_key: NODE.to_owned(),
        ..PodAffinityTerm::default()
    };
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![
                WeightedPodAffinityTerm { weight: 100, pod_affinity_term: term },
            ]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

/// Members of one cluster in different zones, as evenly as can be.
pub(super) fn spread(blueprint: &Blueprint<'_>) -> Vec<TopologySpreadConstraint> {
    let given = &blueprint.spec.pod.topology_spread_constraints;
    if !given.is_empty() {
        return given.clone();
    }
    vec![TopologySpreadConstraint {
        label_selector: Some(members(blueprint)),
        max_skew: 1,
        topology_key: ZONE.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        ..TopologySpreadConstraint::default()
    }]
}

fn members(blueprint: &Blueprint<'_>) -> LabelSelector {
    LabelSelector {
        match_labels: Some(blueprint.names.members_selector()),
        ..LabelSelector::default()
    }
}
