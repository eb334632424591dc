//! The service Health of gRPC, for the server as a whole.

use quorate_api::healthpb::health_check_response::ServingStatus;
use quorate_api::healthpb::{HealthCheckRequest, HealthCheckResponse};
use tonic::{Request, Response, Status};

use super::healthpb::health_server;
use super::streams::{Answers, driven, send};
use crate::stopping::Stopping;

/// The status now, and once more when it changes.
type Statuses = Answers<HealthCheckResponse>;

pub(super) struct Health {
    stopping: Stopping,
}

impl Health {
    pub(super) fn new(stopping: Stopping) -> Self {
        Self { stopping }
    }

    fn now(&self) -> HealthCheckResponse {
        let status = if self.stopping.is_stopping() {
            ServingStatus::NotServing
        } else {
            ServingStatus::Serving
        };
        HealthCheckResponse { status: status.into() }
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    type WatchStream = Statuses;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !request.get_ref().service.is_empty() {
            return Err(Status::not_found("unknown service"));
        }
        Ok(Response::new(self.now()))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Statuses>, Status> {
        let mut first = self.now();
        if !request.get_ref().service.is_empty() {
            first = HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() };
        }
        let stopping = self.stopping.clone();
        let statuses = driven(1, move |statuses| async move {
            send(&statuses, first).await?;
            stopping.wait().await;
            let status = ServingStatus::NotServing.into();
            send(&statuses, HealthCheckResponse { status }).await
        });
        Ok(Response::new(statuses))
    }
}
