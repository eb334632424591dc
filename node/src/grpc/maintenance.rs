//! The service Maintenance.

use std::time::Instant;

use prost::Message;
use quorate_api::Error;
use quorate_api::etcdserverpb as pb;
use quorate_api::limits::QUOTA_BYTES_DEFAULT;
use quorate_api::raftpb::ConfState;
use quorate_api::version::ETCD_VERSION;
use quorate_member::route::Request as Routed;
use quorate_store::entry::Reply;
use quorate_store::hash::hash_store;
use tonic::{Request, Response, Status};

use super::etcdserverpb::maintenance_server;
use super::measured::InPieces;
use super::snapshot;
use super::status;
use super::streams::Answers;
use crate::member::Member;
use crate::metrics;

pub(super) struct Maintenance {
    member: Member,
    quota_bytes: Option<u64>,
}

impl Maintenance {
    pub(super) fn new(member: Member, quota_bytes: Option<u64>) -> Self {
        Self { member, quota_bytes }
    }
}

/// An alarm as Go writes it: clients show it as it is.
fn describe(alarm: &pb::AlarmMember) -> String {
    let member = match alarm.member_id {
        0 => String::new(),
        id => format!("memberID:{id} "),
    };
    format!("{member}alarm:{} ", alarm.alarm().as_str_name())
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[tonic::async_trait]
impl maintenance_server::Maintenance for Maintenance {
    async fn alarm(
        &self,
        request: Request<pb::AlarmRequest>,
    ) -> Result<Response<pb::AlarmResponse>, Status> {
        let request = request.into_inner();
        let mut response = if request.action() == pb::alarm_request::AlarmAction::Get {
            let alarms = self.member.readable_store().await.alarms().get(request.alarm);
            pb::AlarmResponse { header: None, alarms }
        } else {
            let reply = self.member.request(Routed::Alarm(request)).await;
            let Reply::Alarm(response) = reply.map_err(status::of)? else {
                return Err(Status::internal("the reply is not the request's"));
            };
            response
        };
        response.header = Some(self.member.header());
        Ok(Response::new(response))
    }

    async fn status(
        &self,
        _: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        let state = self.member.status();
        let mut errors = Vec::new();
        if state.leader.is_none() {
            errors.push("etcdserver: no leader".to_owned());
        }
        let store = self.member.readable_store().await;
        errors.extend(store.alarms().get(0).iter().map(describe));
        let downgrade = store.cluster().downgrade.clone().unwrap_or_default();
        let header = self.member.header_at(store.revision());
        Ok(Response::new(pb::StatusResponse {
            header: Some(header),
            version: ETCD_VERSION.to_owned(),
            // Never less than what is in use: alerts compare them. Never 0: etcdctl divides by it.
            db_size: signed(store.total_bytes().max(store.live_bytes()).max(1)),
            leader: state.leader.map_or(0, |leader| leader.0),
            raft_index: state.commit,
            raft_term: state.term,
            raft_applied_index: store.applied_index(),
            errors,
            db_size_in_use: signed(store.live_bytes()),
            is_learner: state.is_learner,
            storage_version: snapshot::storage_version(&store),
            db_size_quota: signed(self.quota_bytes.unwrap_or(QUOTA_BYTES_DEFAULT)),
            downgrade_info: Some(pb::DowngradeInfo {
                enabled: downgrade.enabled,
                target_version: downgrade.target_version,
            }),
        }))
    }

    /// Space is given back in the background: there is nothing to wait for.
    async fn defragment(
        &self,
        _: Request<pb::DefragmentRequest>,
    ) -> Result<Response<pb::DefragmentResponse>, Status> {
        metrics::defragmented(|| {});
        Ok(Response::new(pb::DefragmentResponse { header: None }))
    }

    async fn hash(
        &self,
        _: Request<pb::HashRequest>,
    ) -> Result<Response<pb::HashResponse>, Status> {
        let began = Instant::now();
        let hash = {
            let store = self.member.readable_store().await;
            let conf_state = ConfState::decode(store.conf_state().clone());
            let conf_state = conf_state.map_err(|error| Status::internal(error.to_string()))?;
            hash_store(&store, &conf_state)
                .map_err(|damage| status::of_damage(&self.member, &damage))?
        };
        metrics::store_hashed(began.elapsed());
        let header = Some(self.member.header());
        Ok(Response::new(pb::HashResponse { header, hash }))
    }

    async fn hash_kv(
        &self,
        request: Request<pb::HashKvRequest>,
    ) -> Result<Response<pb::HashKvResponse>, Status> {
        let revision = request.into_inner().revision;
        let hash = self.member.hash_at(revision).await;
        let hash = hash.map_err(|error| status::of_read(&self.member, error))?;
        let header = self.member.header_at(hash.current_revision);
        Ok(Response::new(pb::HashKvResponse {
            header: Some(header),
            hash: hash.hash,
            compact_revision: hash.compact_revision,
            hash_revision: hash.revision,
        }))
    }

    type SnapshotStream = Answers<pb::SnapshotResponse>;

    async fn snapshot(
        &self,
        _: Request<pb::SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let pieces = snapshot::send_snapshot(&self.member).await?;
        let mut response: Response<Self::SnapshotStream> =
            Response::new(Box::pin(tokio_stream::empty()));
        response.extensions_mut().insert(InPieces::new(pieces));
        Ok(response)
    }

    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
        if self.member.leader() != Some(self.member.ids().member) {
            return Err(status::of(Error::NotLeader));
        }
        let target = request.into_inner().target_id;
        self.member.transfer_leadership(target).await.map_err(status::of)?;
        Ok(Response::new(pb::MoveLeaderResponse { header: None }))
    }

    async fn downgrade(
        &self,
        _: Request<pb::DowngradeRequest>,
    ) -> Result<Response<pb::DowngradeResponse>, Status> {
        Err(Status::unimplemented("downgrades are not served"))
    }
}
