//! Whose a member's certificates are.

use std::net::IpAddr;

use quorate_operator_api::Tls;

use crate::cluster::names::Names;

/// The domain that clusters have unless somebody has changed it.
const CLUSTER_DOMAIN: &str = "cluster.local";

/// Names and addresses of a member towards clients: its own, the Service's, its node's own, and
/// what the user adds.
pub(super) fn of_server(names: &Names, number: i64, tls: &Tls) -> Vec<String> {
    let mut all = of_peer(names, number);
    let service = names.client_service();
    let namespace = &names.namespace;
    all.push(format!("{service}.{namespace}.svc.{CLUSTER_DOMAIN}"));
    all.push(format!("{service}.{namespace}.svc"));
    all.push(format!("{service}.{namespace}"));
    all.push(service);
    all.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    for name in &tls.extra_sans {
        // An address has many spellings, and a certificate none of them.
        let name = name.parse::<IpAddr>().map_or_else(|_| name.clone(), |found| found.to_string());
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

/// Names of a member towards peers.
pub(super) fn of_peer(names: &Names, number: i64) -> Vec<String> {
    let host = names.host(number);
    vec![format!("{host}.{CLUSTER_DOMAIN}"), host]
}
