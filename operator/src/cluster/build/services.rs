//! The names and addresses of members.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use quorate_operator_api::ServiceType;

use super::Blueprint;
use crate::cluster::names::{CLIENT_PORT, METRICS_PORT, PEER_PORT};

/// The Service that gives each member a name, also before it is ready: members find each other by
/// it to become ready.
pub(super) fn members(blueprint: &Blueprint<'_>) -> Service {
    Service {
        metadata: blueprint.metadata(blueprint.names.members_service()),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(blueprint.names.members_selector()),
            ports: Some(vec![
                port("client", CLIENT_PORT),
                port("peer", PEER_PORT),
                port("metrics", METRICS_PORT),
            ]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// The Service that clients use: voting members that serve linearizable reads.
pub(super) fn client(blueprint: &Blueprint<'_>) -> Service {
    let given = &blueprint.spec.service;
    let mut metadata = blueprint.metadata(blueprint.names.client_service());
    // What is the operator's stays so, whatever the user's labels say.
    let mut labels = given.labels.clone();
    labels.extend(metadata.labels.take().unwrap_or_default());
    metadata.labels = Some(labels);
    if !given.annotations.is_empty() {
        metadata.annotations = Some(given.annotations.clone());
    }
    let kind = match given.kind {
        ServiceType::ClusterIp => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    };
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(kind.to_owned()),
            selector: Some(blueprint.names.voters_selector()),
            ports: Some(vec![port("client", CLIENT_PORT)]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn port(name: &str, port: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    }
}
