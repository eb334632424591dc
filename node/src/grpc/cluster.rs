//! The service Cluster.

use quorate_api::Error;
use quorate_api::etcdserverpb as pb;
use quorate_api::member_json;
use quorate_api::urls::Urls;
use tonic::{Request, Response, Status};

use super::etcdserverpb::cluster_server;
use super::status;
use crate::member::{Change, Member};

pub(super) struct Cluster {
    member: Member,
}

impl Cluster {
    pub(super) fn new(member: Member) -> Self {
        Self { member }
    }

    /// etcd's headers of this service have no revision.
    fn header(&self) -> Option<pb::ResponseHeader> {
        Some(self.member.header_at(0))
    }

    async fn change(&self, change: Change) -> Result<Vec<pb::Member>, Status> {
        let members = self.member.change_membership(change).await.map_err(status::of)?;
        Ok(members.iter().map(to_message).collect())
    }
}

fn to_message(member: &member_json::Member) -> pb::Member {
    pb::Member {
        id: member.id,
        name: member.name.clone(),
        peer_urls: member.peer_urls.clone().unwrap_or_default(),
        client_urls: member.client_urls.clone(),
        is_learner: member.is_learner,
    }
}

#[tonic::async_trait]
impl cluster_server::Cluster for Cluster {
    async fn member_add(
        &self,
        request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        let pb::MemberAddRequest { peer_urls, is_learner } = request.into_inner();
        let urls = Urls::new(&peer_urls).map_err(|_| status::of(Error::MemberBadUrls))?;
        let added = self.member.add_member(urls.to_strings(), is_learner).await;
        let (member, members) = added.map_err(status::of)?;
        let (header, member) = (self.header(), Some(to_message(&member)));
        let members = members.iter().map(to_message).collect();
        Ok(Response::new(pb::MemberAddResponse { header, member, members }))
    }

    async fn member_remove(
        &self,
        request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        let members = self.change(Change::Remove(request.into_inner().id)).await?;
        Ok(Response::new(pb::MemberRemoveResponse { header: self.header(), members }))
    }

    async fn member_update(
        &self,
        request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        let pb::MemberUpdateRequest { id, peer_urls } = request.into_inner();
        let change = Change::Update { member: id, peer_urls };
        let members = self.change(change).await?;
        Ok(Response::new(pb::MemberUpdateResponse { header: self.header(), members }))
    }

    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        if request.into_inner().linearizable {
            self.member.confirm().await.map_err(status::of)?;
        }
        let members = {
            let store = self.member.readable_store().await;
            store.members().iter().map(to_message).collect()
        };
        Ok(Response::new(pb::MemberListResponse { header: self.header(), members }))
    }

    async fn member_promote(
        &self,
        request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        let members = self.change(Change::Promote(request.into_inner().id)).await?;
        Ok(Response::new(pb::MemberPromoteResponse { header: self.header(), members }))
    }
}
