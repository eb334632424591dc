//! Members.

use quorate_api::etcdserverpb::{
    MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse,
    MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse,
    MemberUpdateRequest, MemberUpdateResponse,
};
use tonic::transport::Channel;

use crate::client::{MESSAGE_BYTES_MAX, Repeat};
use crate::stubs::etcdserverpb::cluster_client::ClusterClient;
use crate::{Client, Error};

fn cluster(channel: Channel) -> ClusterClient<Channel> {
    ClusterClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

impl Client {
    /// Adds a member, which then has to be started.
    pub async fn member_add(&self, request: MemberAddRequest) -> Result<MemberAddResponse, Error> {
        self.call(Repeat::Changes, request, |channel, request| async move {
            cluster(channel).member_add(request).await
        })
        .await
    }

    /// Removes a member, for good.
    pub async fn member_remove(
        &self,
        request: MemberRemoveRequest,
    ) -> Result<MemberRemoveResponse, Error> {
        self.call(Repeat::Changes, request, |channel, request| async move {
            cluster(channel).member_remove(request).await
        })
        .await
    }

    /// Replaces the peer URLs of a member.
    pub async fn member_update(
        &self,
        request: MemberUpdateRequest,
    ) -> Result<MemberUpdateResponse, Error> {
        self.call(Repeat::Changes, request, |channel, request| async move {
            cluster(channel).member_update(request).await
        })
        .await
    }

    /// The members.
    pub async fn member_list(
        &self,
        request: MemberListRequest,
    ) -> Result<MemberListResponse, Error> {
        self.call(Repeat::Reads, request, |channel, request| async move {
            cluster(channel).member_list(request).await
        })
        .await
    }

    /// Makes a learner a voter.
    pub async fn member_promote(
        &self,
        request: MemberPromoteRequest,
    ) -> Result<MemberPromoteResponse, Error> {
        self.call(Repeat::Changes, request, |channel, request| async move {
            cluster(channel).member_promote(request).await
        })
        .await
    }
}
