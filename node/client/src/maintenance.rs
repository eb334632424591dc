//! Alarms, status, hashes, snapshots, leadership, health and tokens.

use quorate_api::etcdserverpb::{
    AlarmRequest, AlarmResponse, AuthenticateRequest, DefragmentRequest, DefragmentResponse,
    DowngradeRequest, DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest, HashResponse,
    MoveLeaderRequest, MoveLeaderResponse, SnapshotRequest, SnapshotResponse, StatusRequest,
    StatusResponse,
};
use quorate_api::healthpb::HealthCheckRequest;
use quorate_api::healthpb::health_check_response::ServingStatus;
use tonic::transport::Channel;

use crate::client::{MESSAGE_BYTES_MAX, Repeat};
use crate::stubs::etcdserverpb::auth_client::AuthClient;
use crate::stubs::etcdserverpb::maintenance_client::MaintenanceClient;
use crate::stubs::healthpb::health_client::HealthClient;
use crate::{Client, Error, Responses};

fn maintenance(channel: Channel) -> MaintenanceClient<Channel> {
    MaintenanceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

impl Client {
    /// Lists, raises or clears alarms.
    pub async fn alarm(&self, request: AlarmRequest) -> Result<AlarmResponse, Error> {
        self.call(Repeat::Changes, request, |channel, request| async move {
            maintenance(channel).alarm(request).await
        })
        .await
    }

    /// Gives space back. Concerns the endpoint alone.
    pub async fn defragment(
        &self,
        request: DefragmentRequest,
    ) -> Result<DefragmentResponse, Error> {
        self.call(Repeat::Changes, request, |channel, request| async move {
            maintenance(channel).defragment(request).await
        })
        .await
    }

    /// The hash of the whole store. Concerns the endpoint alone.
    pub async fn hash(&self, request: HashRequest) -> Result<HashResponse, Error> {
        self.call(Repeat::Reads, request, |channel, request| async move {
            maintenance(channel).hash(request).await
        })
        .await
    }

    /// The hash of the keys at a revision. Concerns the endpoint alone.
    pub async fn hash_kv(&self, request: HashKvRequest) -> Result<HashKvResponse, Error> {
        self.call(Repeat::Reads, request, |channel, request| async move {
            maintenance(channel).hash_kv(request).await
        })
        .await
    }

    /// Moves the leadership; has to be asked of the leader.
    pub async fn move_leader(
        &self,
        request: MoveLeaderRequest,
    ) -> Result<MoveLeaderResponse, Error> {
        self.call(Repeat::Changes, request, |channel, request| async move {
            maintenance(channel).move_leader(request).await
        })
        .await
    }

    /// Checks, starts or cancels a downgrade.
    pub async fn downgrade(&self, request: DowngradeRequest) -> Result<DowngradeResponse, Error> {
        self.call(Repeat::Changes, request, |channel, request| async move {
            maintenance(channel).downgrade(request).await
        })
        .await
    }

    /// How the member does. Concerns the endpoint alone.
    pub async fn status(&self) -> Result<StatusResponse, Error> {
        self.call(Repeat::Reads, StatusRequest {}, |channel, request| async move {
            maintenance(channel).status(request).await
        })
        .await
    }

    /// A snapshot of the store: the database in pieces, and its SHA-256 as the last piece.
    pub async fn snapshot(&self) -> Result<Responses<SnapshotResponse>, Error> {
        let call = |channel, request| async move { maintenance(channel).snapshot(request).await };
        Ok(Responses(self.call_without_deadline(Repeat::Reads, SnapshotRequest {}, call).await?))
    }

    /// What the member says of its health as a whole.
    pub async fn health(&self) -> Result<ServingStatus, Error> {
        let request = HealthCheckRequest { service: String::new() };
        let response = self
            .call(Repeat::Reads, request, |channel, request| async move {
                HealthClient::new(channel).check(request).await
            })
            .await?;
        Ok(response.status())
    }

    /// A token for [`Options::token`](crate::Options::token).
    pub async fn authenticate(&self, name: &str, password: &str) -> Result<String, Error> {
        let request = AuthenticateRequest { name: name.to_owned(), password: password.to_owned() };
        let response = self
            .call(Repeat::Reads, request, |channel, request| async move {
                AuthClient::new(channel).authenticate(request).await
            })
            .await?;
        Ok(response.token)
    }
}
