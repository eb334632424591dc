//! Leases.

use quorate_api::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::client::{MESSAGE_BYTES_MAX, Repeat};
use crate::stubs::etcdserverpb::lease_client::LeaseClient;
use crate::{Client, Error};

fn lease(channel: Channel) -> LeaseClient<Channel> {
    LeaseClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

impl Client {
    /// Grants a lease.
    pub async fn lease_grant(
        &self,
        request: LeaseGrantRequest,
    ) -> Result<LeaseGrantResponse, Error> {
        self.call(Repeat::Changes, request, |channel, request| async move {
            lease(channel).lease_grant(request).await
        })
        .await
    }

    /// Ends a lease and deletes its keys.
    pub async fn lease_revoke(
        &self,
        request: LeaseRevokeRequest,
    ) -> Result<LeaseRevokeResponse, Error> {
        self.call(Repeat::Changes, request, |channel, request| async move {
            lease(channel).lease_revoke(request).await
        })
        .await
    }

    /// What is left of a lease; a TTL of -1 if there is none.
    pub async fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
    ) -> Result<LeaseTimeToLiveResponse, Error> {
        self.call(Repeat::Reads, request, |channel, request| async move {
            lease(channel).lease_time_to_live(request).await
        })
        .await
    }

    /// The leases.
    pub async fn lease_leases(
        &self,
        request: LeaseLeasesRequest,
    ) -> Result<LeaseLeasesResponse, Error> {
        self.call(Repeat::Reads, request, |channel, request| async move {
            lease(channel).lease_leases(request).await
        })
        .await
    }

    /// Renews a lease once. A TTL of 0 says that there is no such lease.
    pub async fn lease_keep_alive(
        &self,
        request: LeaseKeepAliveRequest,
    ) -> Result<LeaseKeepAliveResponse, Error> {
        let call = |channel, request: Request<LeaseKeepAliveRequest>| async move {
            let (metadata, extensions, message) = request.into_parts();
            let request = Request::from_parts(metadata, extensions, tokio_stream::once(message));
            let mut responses = lease(channel).lease_keep_alive(request).await?.into_inner();
            let ended = || Status::unavailable("the stream ended without an answer");
            Ok(Response::new(responses.message().await?.ok_or_else(ended)?))
        };
        self.call(Repeat::Reads, request, call).await
    }
}
