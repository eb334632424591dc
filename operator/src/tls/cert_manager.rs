//! cert-manager as CA: what it is asked for. It writes the Secrets and renews them.

use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use quorate_operator_api::{IssuerRef, Tls};
use serde_json::{Value, json};

use super::{PEER_COMMON_NAME, names};
use crate::cluster::build::Blueprint;

const GROUP: &str = "cert-manager.io";

/// The `Certificate`s of a cluster with these members; none, if it has no issuer.
#[must_use]
pub fn certificates(blueprint: &Blueprint<'_>, members: &[i64]) -> Vec<DynamicObject> {
    let tls = &blueprint.spec.tls;
    let Some(issuer) = &tls.issuer_ref else { return Vec::new() };
    let of_cluster = &blueprint.names;
    let mut all = Vec::new();
    for &number in members {
        let member = of_cluster.member(number);
        let both = ["server auth", "client auth"];
        let server = of_cluster.server_tls_secret(number);
        let hosts = names::of_server(of_cluster, number, tls);
        all.push(certificate(blueprint, issuer, &server, &member, &hosts, &both));
        let peer = of_cluster.peer_tls_secret(number);
        let hosts = names::of_peer(of_cluster, number);
        all.push(certificate(blueprint, issuer, &peer, PEER_COMMON_NAME, &hosts, &both));
    }
    let client = ["client auth"];
    let name = of_cluster.client_tls_secret();
    let common_name = format!("{}-client", of_cluster.cluster);
    all.push(certificate(blueprint, issuer, &name, &common_name, &[], &client));
    let name = of_cluster.operator_tls_secret();
    all.push(certificate(blueprint, issuer, &name, "quorate-operator", &[], &client));
    all
}

/// One `Certificate`, named as the Secret that is made of it.
fn certificate(
    blueprint: &Blueprint<'_>,
    issuer: &IssuerRef,
    name: &str,
    common_name: &str,
    hosts: &[String],
    usages: &[&str],
) -> DynamicObject {
    let is_address = |host: &&String| host.parse::<std::net::IpAddr>().is_ok();
    let addresses: Vec<&String> = hosts.iter().filter(is_address).collect();
    let names: Vec<&String> = hosts.iter().filter(|host| !is_address(host)).collect();
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, "v1", "Certificate"));
    let mut object = DynamicObject::new(name, &kind);
    object.metadata = blueprint.metadata(name.to_owned());
    let mut spec = json!({
        "secretName": name,
        "secretTemplate": { "labels": blueprint.names.labels() },
        "commonName": common_name,
        "usages": usages,
        "privateKey": { "algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always" },
        "issuerRef": { "name": issuer.name, "kind": issuer.kind, "group": issuer.group },
    });
    let Tls { cert_validity_days, renew_before_days, .. } = blueprint.spec.tls;
    let mut add = |field: &str, value: Value| spec[field] = value;
    add("duration", format!("{}h", cert_validity_days * 24).into());
    if renew_before_days > 0 {
        add("renewBefore", format!("{}h", renew_before_days * 24).into());
    }
    if !names.is_empty() {
        add("dnsNames", json!(names));
    }
    if !addresses.is_empty() {
        add("ipAddresses", json!(addresses));
    }
    object.data = json!({ "spec": spec });
    object
}
