//! Who may speak to members, and what members may ask of Kubernetes.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Blueprint;
use crate::cluster::names::{CLIENT_PORT, METRICS_PORT, PEER_PORT};

/// Members have nothing to ask of Kubernetes: no token reaches their pods.
pub(super) fn service_account(blueprint: &Blueprint<'_>) -> ServiceAccount {
    ServiceAccount {
        metadata: blueprint.metadata(blueprint.names.service_account()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// Clients and Prometheus come from everywhere, peers from the cluster's own pods. A cluster that
/// takes over members from elsewhere is spoken to by those, whose addresses nobody knows.
pub(super) fn policy(blueprint: &Blueprint<'_>) -> NetworkPolicy {
    let members = LabelSelector {
        match_labels: Some(blueprint.names.members_selector()),
        ..LabelSelector::default()
    };
    let takes_over = blueprint.spec.bootstrap.as_ref().is_some_and(|begin| begin.join.is_some());
    let peers = (!takes_over).then(|| {
        vec![NetworkPolicyPeer {
            pod_selector: Some(members.clone()),
            ..NetworkPolicyPeer::default()
        }]
    });
    NetworkPolicy {
        metadata: blueprint.metadata(blueprint.names.network_policy()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(members),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![
                NetworkPolicyIngressRule { from: peers, ports: Some(vec![port(PEER_PORT)]) },
                NetworkPolicyIngressRule {
                    from: None,
                    ports: Some(vec![port(CLIENT_PORT), port(METRICS_PORT)]),
                },
            ]),
            egress: None,
        }),
    }
}

fn port(port: i32) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(port)),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    }
}
