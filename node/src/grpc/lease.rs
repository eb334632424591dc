//! The service Lease.

use quorate_api::Error;
use quorate_api::etcdserverpb as pb;
use quorate_member::route::{Request as Routed, lease_keys};
use quorate_store::entry::Reply;
use tonic::{Request, Response, Status, Streaming};

use super::admission::wants_leader;
use super::etcdserverpb::lease_server;
use super::status;
use super::streams::{Answers, driven, noted, send};
use super::watch::{LeaderWatch, end_of};
use crate::member::Member;
use crate::stopping::Stopping;

/// What is left of a lease that does not exist.
const GONE: i64 = -1;

pub(super) struct Lease {
    member: Member,
    leadership: LeaderWatch,
    stopping: Stopping,
}

impl Lease {
    pub(super) fn new(member: Member, leadership: LeaderWatch, stopping: Stopping) -> Self {
        Self { member, leadership, stopping }
    }

    fn fill(&self, header: &mut Option<pb::ResponseHeader>) {
        *header = Some(match header.as_ref().map_or(0, |header| header.revision) {
            0 => self.member.header(),
            revision => self.member.header_at(revision),
        });
    }
}

/// Renew a lease. The header is of before: a revocation afterwards has a later revision.
async fn renew(member: &Member, lease: i64) -> Result<pb::LeaseKeepAliveResponse, Status> {
    let header = Some(member.header());
    let ttl = match member.renew_lease(lease).await {
        Ok(ttl) => ttl,
        Err(Error::LeaseNotFound) => 0,
        Err(error) => return Err(status::of(error)),
    };
    Ok(pb::LeaseKeepAliveResponse { header, id: lease, ttl })
}

#[tonic::async_trait]
impl lease_server::Lease for Lease {
    type LeaseKeepAliveStream = Answers<pb::LeaseKeepAliveResponse>;

    async fn lease_grant(
        &self,
        request: Request<pb::LeaseGrantRequest>,
    ) -> Result<Response<pb::LeaseGrantResponse>, Status> {
        let reply = self.member.request(Routed::LeaseGrant(request.into_inner())).await;
        let Reply::LeaseGrant(mut response) = reply.map_err(status::of)? else {
            return Err(Status::internal("the reply is not the request's"));
        };
        self.fill(&mut response.header);
        Ok(Response::new(response))
    }

    async fn lease_revoke(
        &self,
        request: Request<pb::LeaseRevokeRequest>,
    ) -> Result<Response<pb::LeaseRevokeResponse>, Status> {
        let reply = self.member.request(Routed::LeaseRevoke(request.into_inner())).await;
        let Reply::LeaseRevoke(mut response) = reply.map_err(status::of)? else {
            return Err(Status::internal("the reply is not the request's"));
        };
        self.fill(&mut response.header);
        Ok(Response::new(response))
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let wants_leader = wants_leader(request.metadata().as_ref());
        let leadership = wants_leader.then(|| self.leadership.clone());
        let mut end = end_of(self.stopping.clone(), leadership);
        let (member, mut requests) = (self.member.clone(), request.into_inner());
        // One at a time, in the order of requests, as in etcd.
        Ok(Response::new(driven(1, move |answers| async move {
            loop {
                tokio::select! {
                    error = &mut end => return Err(status::of(error)),
                    request = requests.message() => match noted(request, "lease-keepalive")? {
                        None => return Ok(()),
                        Some(request) => {
                            let answer = renew(&member, request.id).await?;
                            send(&answers, answer).await?;
                        }
                    }
                }
            }
        })))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<pb::LeaseTimeToLiveRequest>,
    ) -> Result<Response<pb::LeaseTimeToLiveResponse>, Status> {
        let pb::LeaseTimeToLiveRequest { id, keys } = request.into_inner();
        let (granted_ttl, ttl) = match self.member.lease_time_left(id).await {
            Ok((granted, left)) => (granted, left),
            Err(Error::LeaseNotFound) => (0, GONE),
            Err(error) => return Err(status::of(error)),
        };
        let keys = match keys {
            true if ttl != GONE => lease_keys(&*self.member.readable_store().await, id),
            true | false => Vec::new(),
        };
        let header = Some(self.member.header());
        Ok(Response::new(pb::LeaseTimeToLiveResponse { header, id, ttl, granted_ttl, keys }))
    }

    async fn lease_leases(
        &self,
        _: Request<pb::LeaseLeasesRequest>,
    ) -> Result<Response<pb::LeaseLeasesResponse>, Status> {
        let leases = {
            let store = self.member.readable_store().await;
            store.leases().iter().map(|(id, _)| pb::LeaseStatus { id }).collect()
        };
        let header = Some(self.member.header());
        Ok(Response::new(pb::LeaseLeasesResponse { header, leases }))
    }
}
