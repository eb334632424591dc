//! `/version`: what clients look at before they speak.

use http::Method;
use quorate_api::version::ETCD_VERSION;

use super::{Answer, only_get, with_type};
use crate::grpc;
use crate::member::Member;

pub(super) async fn answer(member: &Member, method: &Method) -> Answer {
    if method != Method::GET {
        return only_get();
    }
    let (cluster, storage) = {
        let store = member.readable_store().await;
        (store.cluster().version.clone(), grpc::storage_version(&store))
    };
    let cluster = cluster.unwrap_or_else(|| "not_decided".to_owned());
    let storage = if storage.is_empty() { "unknown".to_owned() } else { storage };
    let body = format!(
        r#"{{"etcdserver":"{ETCD_VERSION}","etcdcluster":"{cluster}","storage":"{storage}"}}"#
    );
    with_type("application/json", body)
}
