//! The service KV.

use std::time::Instant;

use quorate_api::Error;
use quorate_api::etcdserverpb as pb;
use quorate_member::route::Request as Routed;
use quorate_store::apply::check;
use quorate_store::entry::Reply;
use quorate_store::mvcc::range::{RangeCursor, RangeOutcome};
use quorate_store::mvcc::stream::{RangeStream, StreamRefusal};
use tonic::{Request, Response, Status};

use super::admission::is_learner;
use super::encoded::{RangeResponse, RangeStreamResponse};
use super::etcdserverpb::kv_server;
use super::status;
use super::streams::{Answers, driven, send};
use crate::member::Member;
use crate::metrics;

/// Steps of a range between which other work of the thread goes on.
const STEPS_PER_TURN: usize = 8;

/// Messages of a range, made when the client has room for them.
type RangeMessages = Answers<RangeStreamResponse>;

pub(super) struct Kv {
    member: Member,
    request_bytes_max: u64,
}

impl Kv {
    pub(super) fn new(member: Member, request_bytes_max: u64) -> Self {
        Self { member, request_bytes_max }
    }

    /// The member's part of a header around the reply's revision.
    fn fill(&self, header: &mut Option<pb::ResponseHeader>) {
        *header = Some(match header.as_ref().map_or(0, |header| header.revision) {
            0 => self.member.header(),
            revision => self.member.header_at(revision),
        });
    }

    async fn range_in_steps(&self, request: pb::RangeRequest) -> Result<RangeOutcome, Status> {
        check::check_range(&request).map_err(status::of)?;
        if !request.serializable {
            self.member.confirm().await.map_err(status::of)?;
        }
        let mut cursor = RangeCursor::new(request);
        loop {
            for _ in 0..STEPS_PER_TURN {
                let step = cursor.step(self.member.readable_store().await.mvcc());
                if let Some(outcome) = step.map_err(status::of_read)? {
                    return Ok(outcome);
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

/// A reply of another kind than its request's.
fn mismatch() -> Status {
    Status::internal("the reply is not the request's")
}

#[tonic::async_trait]
impl kv_server::Kv for Kv {
    type RangeStreamStream = RangeMessages;

    async fn range(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<RangeResponse>, Status> {
        let request = request.into_inner();
        if !request.serializable && is_learner(&self.member) {
            return Err(status::of(Error::NotSupportedForLearner));
        }
        let began = Instant::now();
        let outcome = self.range_in_steps(request).await;
        metrics::range_served(began.elapsed(), outcome.as_ref().map(drop).map_err(drop));
        Ok(Response::new(RangeResponse::new(self.member.header_at(0), outcome?)))
    }

    async fn range_stream(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<RangeMessages>, Status> {
        let request = request.into_inner();
        let serializable = request.serializable;
        let stream = RangeStream::new(request, self.request_bytes_max);
        let mut stream = stream.map_err(|refusal| match refusal {
            StreamRefusal::Request(error) => status::of(error),
            StreamRefusal::Sorted | StreamRefusal::Filtered => {
                Status::unimplemented(refusal.to_string())
            }
        })?;
        if !serializable {
            self.member.confirm().await.map_err(status::of)?;
        }
        let member = self.member.clone();
        Ok(Response::new(driven(1, move |messages| async move {
            loop {
                let chunk = stream.next(member.readable_store().await.mvcc());
                let chunk = chunk.map_err(status::of_read)?;
                let is_last = chunk.last.is_some();
                send(&messages, RangeStreamResponse::new(member.header_at(0), chunk)).await?;
                if is_last {
                    return Ok(());
                }
            }
        })))
    }

    async fn put(
        &self,
        request: Request<pb::PutRequest>,
    ) -> Result<Response<pb::PutResponse>, Status> {
        let reply = self.member.request(Routed::Put(request.into_inner())).await;
        let Reply::Put(mut response) = reply.map_err(status::of)? else { return Err(mismatch()) };
        self.fill(&mut response.header);
        Ok(Response::new(response))
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        let reply = self.member.request(Routed::DeleteRange(request.into_inner())).await;
        let Reply::DeleteRange(mut response) = reply.map_err(status::of)? else {
            return Err(mismatch());
        };
        self.fill(&mut response.header);
        Ok(Response::new(response))
    }

    async fn txn(
        &self,
        request: Request<pb::TxnRequest>,
    ) -> Result<Response<pb::TxnResponse>, Status> {
        let reply = self.member.request(Routed::Txn(request.into_inner())).await;
        let Reply::Txn(mut response) = reply.map_err(status::of)? else { return Err(mismatch()) };
        self.fill(&mut response.header);
        Ok(Response::new(response))
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        let reply = self.member.request(Routed::Compact(request.into_inner())).await;
        let Reply::Compaction(mut response) = reply.map_err(status::of)? else {
            return Err(mismatch());
        };
        self.fill(&mut response.header);
        Ok(Response::new(response))
    }
}
