//! What a member tells the cluster of itself, and a leader of the cluster.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message as _;
use quorate_api::Error;
use quorate_api::etcdserverpb::{InternalRaftRequest, RequestHeader};
use quorate_api::membershippb::{
    Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest,
};
use quorate_api::request::RequestKind;
use quorate_api::version::Version;
use quorate_replica::{Priority, Proposal};

use super::{Member, Shared};
use crate::metrics;

/// Between two attempts to tell the member's name.
const PUBLISH_RETRY: Duration = Duration::from_millis(500);

/// Between two looks of a leader at the members' versions; etcd's.
const VERSIONS_LOOK: Duration = Duration::from_secs(5);

/// While the cluster has no version, the leader looks more often.
const FIRST_VERSION_LOOK: Duration = Duration::from_millis(100);

impl Member {
    /// Tell the cluster name and client URLs, until it knows them.
    pub async fn publish(&self) {
        let shared = &self.0;
        loop {
            if shared.publish_attributes().await.is_ok() {
                shared.is_published.send_replace(true);
                return;
            }
            if shared.ending.reason().is_some() {
                return;
            }
            tokio::time::sleep(PUBLISH_RETRY).await;
        }
    }

    /// While this member leads, keep the cluster's version: the lowest of all members'.
    pub async fn keep_cluster_version(&self) {
        let mut leadership = self.leadership();
        loop {
            let known = self.readable_store().await.cluster().version.clone();
            if let Some(version) = &known {
                metrics::cluster_version(version);
            }
            if self.is_leader()
                && let Some(version) = self.decided_version(known.as_deref()).await
            {
                match self.0.set_cluster_version(&version).await {
                    Ok(()) => tracing::info!(version, "the cluster's version is set"),
                    Err(error) => tracing::warn!(%error, "the cluster's version is not set"),
                }
            }
            let wait = if known.is_some() { VERSIONS_LOOK } else { FIRST_VERSION_LOOK };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = leadership.changed() => {}
            }
        }
    }

    /// The version that the cluster should have and has not.
    async fn decided_version(&self, known: Option<&str>) -> Option<String> {
        let own = Version::ETCD;
        let mut versions: BTreeMap<u64, Version> = BTreeMap::from([(self.ids().member, own)]);
        for member in &self.known_members().members {
            if member.id == self.ids().member {
                continue;
            }
            let answer = self.0.peers.version(member).await;
            let version = answer.ok().and_then(|version| Version::parse(&version));
            match (version, known) {
                (Some(version), _) => {
                    versions.insert(member.id, version);
                }
                // etcd begins with the lowest version until all members were asked.
                (None, None) => return Some(Version::MIN_CLUSTER.to_string()),
                (None, Some(_)) => return None,
            }
        }
        let lowest = versions.into_values().min().unwrap_or(own).without_patch();
        match known.and_then(Version::parse) {
            Some(known) if known >= lowest => None,
            Some(_) | None => Some(lowest.to_string()),
        }
    }
}

impl Shared {
    async fn publish_attributes(&self) -> Result<(), Error> {
        let attributes = Attributes {
            name: self.config.name.clone(),
            client_urls: self.config.advertise_client_urls.to_strings(),
        };
        let body = InternalRaftRequest {
            cluster_member_attr_set: Some(ClusterMemberAttrSetRequest {
                member_id: self.ids.member,
                member_attributes: Some(attributes),
            }),
            ..InternalRaftRequest::default()
        };
        self.propose_counted(RequestKind::ClusterMemberAttrSet, body).await
    }

    async fn set_cluster_version(&self, version: &str) -> Result<(), Error> {
        let body = InternalRaftRequest {
            cluster_version_set: Some(ClusterVersionSetRequest { ver: version.to_owned() }),
            ..InternalRaftRequest::default()
        };
        self.propose_counted(RequestKind::ClusterVersionSet, body).await
    }

    async fn propose_counted(
        &self,
        kind: RequestKind,
        body: InternalRaftRequest,
    ) -> Result<(), Error> {
        let began = Instant::now();
        let result = self.propose_own(body).await;
        metrics::request_answered(kind, result.as_ref().map(drop).map_err(drop), began.elapsed());
        result
    }

    /// Put a request of the cluster itself into the log.
    pub(super) async fn propose_own(&self, body: InternalRaftRequest) -> Result<(), Error> {
        let request = self.waiters.next_id();
        let header = RequestHeader { id: request.0, ..RequestHeader::default() };
        let body = InternalRaftRequest { header: Some(header), ..body };
        let data = Bytes::from(body.encode_to_vec());
        let proposal = Proposal { request, data, growth_bytes: 0, priority: Priority::High };
        self.propose(proposal).await.map(drop)
    }
}
