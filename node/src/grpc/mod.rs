//! The services of etcd v3 over gRPC.
//!
//! ```text
//!   http::Request ─► admission ─► service by path ─► handler ─► Member
//!                    metadata,    generated stubs    maps       decides
//!                    learner
//! ```
//! Handlers check what only they can know and map messages and errors; they never decide. What
//! is stored is sent as it is stored ([`encoded`]).
//!
//! Users and roles, locks and elections, and downgrades are answered with Unimplemented.

mod admission;
mod cluster;
pub(crate) mod encoded;
mod health;
mod kv;
mod lease;
mod maintenance;
mod measured;
mod messages;
mod snapshot;
mod status;
mod streams;
mod watch;
mod watch_body;

/// Wraps one generated file.
macro_rules! generated {
    ($module:ident, $file:literal) => {
#[allow(missing_docs, reason = "generated; the .proto files carry the comments")]
        #[allow(unreachable_pub, clippy::all, reason = "generated")]
        #[rustfmt::skip]
        mod $module {
            include!(concat!("../gen/", $file, ".rs"));
        }
    };
}

generated!(etcdserverpb, "etcdserverpb");
generated!(healthpb, "grpc.health.v1");

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use quorate_api::limits::RESPONSE_BYTES_MAX;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service;

use crate::member::Member;
use crate::memory::Budget;
use crate::metrics::{self, CallKind};
use crate::stopping::Stopping;
use admission::Admission;
pub(crate) use admission::is_learner;
use etcdserverpb::cluster_server::ClusterServer;
use etcdserverpb::kv_server::KvServer;
use etcdserverpb::lease_server::LeaseServer;
use etcdserverpb::maintenance_server::MaintenanceServer;
use etcdserverpb::watch_server::WatchServer;
use healthpb::health_server::HealthServer;
pub(crate) use measured::Measured;
use measured::Received;
pub(crate) use snapshot::storage_version;

/// What the services need to know of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct GrpcOptions {
    /// The largest message of a client, in bytes.
    pub(crate) message_bytes_max: usize,
    /// The largest request, in bytes; what a message of a streamed range should have.
    pub(crate) request_bytes_max: u64,
    /// How often an idle watch that wants it hears how far it is.
    pub(crate) watch_progress_interval: Duration,
    /// An election timeout.
    pub(crate) election_timeout: Duration,
    /// Bytes of live data above which writes are refused.
    pub(crate) quota_bytes: Option<u64>,
    /// A call that takes longer is written to the log.
    pub(crate) slow_call: Duration,
    /// Memory for answers.
    pub(crate) budget: Budget,
}

/// All services of one member.
#[derive(Clone)]
pub(crate) struct Grpc {
    admission: Admission,
    kv: KvServer<kv::Kv>,
    watch: WatchServer<watch::Watch>,
    /// The same, for its one method.
    watch_streams: Arc<watch::Watch>,
    message_bytes_max: usize,
    lease: LeaseServer<lease::Lease>,
    cluster: ClusterServer<cluster::Cluster>,
    maintenance: MaintenanceServer<maintenance::Maintenance>,
    health: HealthServer<health::Health>,
    slow_call: Duration,
}

impl Grpc {
    pub(crate) fn new(member: &Member, options: &GrpcOptions, stopping: &Stopping) -> Self {
        let (received, sent) = (options.message_bytes_max, RESPONSE_BYTES_MAX as usize);
        let leadership =
            watch::LeaderWatch { member: member.clone(), interval: options.election_timeout };
        let kv = kv::Kv::new(member.clone(), options.request_bytes_max, options.budget.clone());
        let watch = Arc::new(watch::Watch::new(
            member.clone(),
            options.watch_progress_interval,
            leadership.clone(),
            stopping.clone(),
        ));
        let lease = lease::Lease::new(member.clone(), leadership, stopping.clone());
        let maintenance = maintenance::Maintenance::new(member.clone(), options.quota_bytes);
        Self {
            admission: Admission::new(member.clone()),
            kv: KvServer::new(kv)
                .max_decoding_message_size(received)
                .max_encoding_message_size(sent),
            watch_streams: watch.clone(),
            message_bytes_max: received,
            watch: WatchServer::from_arc(watch)
                .max_decoding_message_size(received)
                .max_encoding_message_size(sent),
            lease: LeaseServer::new(lease)
                .max_decoding_message_size(received)
                .max_encoding_message_size(sent),
            cluster: ClusterServer::new(cluster::Cluster::new(member.clone()))
                .max_decoding_message_size(received)
                .max_encoding_message_size(sent),
            maintenance: MaintenanceServer::new(maintenance)
                .max_decoding_message_size(received)
                .max_encoding_message_size(sent),
            health: HealthServer::new(health::Health::new(stopping.clone())),
            slow_call: options.slow_call,
        }
    }

    /// Answer a call. Never fails: errors are statuses.
    pub(crate) async fn call(&self, request: Request<Incoming>) -> Response<Measured> {
        let mut call = metrics::Call::begin(request.uri().path());
        let began = Instant::now();
        let response = match self.admission.check(&request, call.kind()) {
            Err(status) => status.into_http(),
            Ok(deadline) => {
                let messages = call.received();
                let served = self.dispatch(request.map(|body| Received::new(body, messages)));
                match deadline {
                    None => served.await,
                    Some(limit) => match tokio::time::timeout(limit, served).await {
                        Ok(response) => response,
                        Err(_) => {
                            Status::deadline_exceeded("context deadline exceeded").into_http()
                        }
                    },
                }
            }
        };
        if call.kind() == Some(CallKind::Unary) {
            self.note_slow(&call, began.elapsed());
        }
        measured::measure(response, &mut call)
    }

    fn note_slow(&self, call: &metrics::Call, took: Duration) {
        if took > self.slow_call {
            tracing::warn!(
                method = call.name(),
                took = format!("{took:?}"),
                expected_duration = format!("{:?}", self.slow_call),
                "request took too long"
            );
        }
    }

    async fn dispatch(&self, request: Request<Received>) -> Response<Body> {
        if watch_body::is_for_us(&request) {
            return watch_body::serve(&self.watch_streams, request, self.message_bytes_max).await;
        }
        let service = request.uri().path().split('/').nth(1).unwrap_or_default();
        let served: Result<Response<Body>, Infallible> = match service {
            "etcdserverpb.KV" => self.kv.clone().call(request).await,
            "etcdserverpb.Watch" => self.watch.clone().call(request).await,
            "etcdserverpb.Lease" => self.lease.clone().call(request).await,
            "etcdserverpb.Cluster" => self.cluster.clone().call(request).await,
            "etcdserverpb.Maintenance" => self.maintenance.clone().call(request).await,
            "grpc.health.v1.Health" => self.health.clone().call(request).await,
            unknown => Ok(Status::unimplemented(format!("unknown service {unknown}")).into_http()),
        };
        match served {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}
