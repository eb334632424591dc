//! The service KV.

use std::time::Instant;

use bytes::Bytes;
use prost::Message as _;
use quorate_api::Error;
use quorate_api::etcdserverpb as pb;
use quorate_api::limits::RESPONSE_BYTES_MAX;
use quorate_api::request::RequestKind;
use quorate_member::route::Request as Routed;
use quorate_store::apply::check;
use quorate_store::entry::Reply;
use quorate_store::mvcc::range::{self, RangeCursor, RangeOutcome};
use quorate_store::mvcc::stream::{RangeStream, StreamRefusal};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::admission::is_learner;
use super::encoded::{RangeResponse, RangeStreamResponse};
use super::etcdserverpb::kv_server;
use super::measured::{InPieces, PIECE_BYTES, Room};
use super::status;
use super::streams::{Answers, driven, send};
use crate::member::Member;
use crate::memory::{Budget, COUNTED_BYTES_MIN, Held};
use crate::metrics;
use crate::pace;

/// Ranges of more than one step that a thread reads at one time: the others wait, so that small
/// calls do not stand behind a step of each.
const LARGE_RANGES: usize = 2;

/// Messages of a range, made when the client has room for them.
type RangeMessages = Answers<RangeStreamResponse>;

/// Copies of an answer's bytes that are there at one time, at most: as they are stored, and on the
/// wire. A large one is written as it is sent.
const COPIES: u64 = 2;

/// Messages of a streamed range that are there at one time: sent, and made ahead.
const STREAMED_MESSAGES: u64 = 2;

pub(super) struct Kv {
    member: Member,
    request_bytes_max: u64,
    budget: Budget,
    large: Semaphore,
}

impl Kv {
    /// For the calls of one thread.
    pub(super) fn new(member: Member, request_bytes_max: u64, budget: Budget) -> Self {
        Self { member, request_bytes_max, budget, large: Semaphore::new(LARGE_RANGES) }
    }

    /// The member's part of a header around the reply's revision.
    fn fill(&self, header: &mut Option<pb::ResponseHeader>) {
        *header = Some(match header.as_ref().map_or(0, |header| header.revision) {
            0 => self.member.header(),
            revision => self.member.header_at(revision),
        });
    }

    /// The answer, and the room that it takes.
    async fn range_in_steps(
        &self,
        request: pb::RangeRequest,
    ) -> Result<(RangeOutcome, Held), Status> {
        check::check_range(&request).map_err(status::of)?;
        if !request.serializable {
            self.member.confirm().await.map_err(status::of)?;
        }
        let mut held = self.budget.hold();
        if !range::is_stepped(&request) {
            let store = self.member.readable_store().await;
            let at_once = range::estimated_bytes(store.mvcc(), &request);
            drop(store);
            grow_to(&mut held, at_once)?;
        }
        let mut cursor = RangeCursor::new(request);
        let mut turn = None;
        loop {
            let (step, worked) = {
                let store = self.member.readable_store().await;
                let began = Instant::now();
                (cursor.step(store.mvcc()), began.elapsed())
            };
            if let Some(outcome) = step.map_err(|error| status::of_read(&self.member, error))? {
                let bytes: usize = outcome.kvs.iter().map(Bytes::len).sum();
                let more = COPIES * bytes as u64;
                grow_to(&mut held, more)?;
                if held.bytes() > 0 {
                    held.set(more);
                }
                return Ok((outcome, held));
            }
            grow_to(&mut held, COPIES * cursor.gathered_bytes())?;
            // Other work of the thread goes on between two steps.
            pace::charge(worked);
            if turn.is_none() {
                turn = self.large.acquire().await.ok();
            } else {
                tokio::task::yield_now().await;
            }
            pace::turn().await;
        }
    }

    /// Room for what a transaction reads, as far as it can be told before.
    async fn room_for_txn(&self, request: &pb::TxnRequest) -> Result<Held, Status> {
        let mut held = self.budget.hold();
        if reads_ranges(request) {
            let bytes = {
                let store = self.member.readable_store().await;
                ranges_of(request)
                    .map(|range| range::estimated_bytes(store.mvcc(), range))
                    .fold(0_u64, u64::saturating_add)
            };
            grow_to(&mut held, bytes.saturating_mul(COPIES))?;
        }
        Ok(held)
    }
}

/// Hold room for so many bytes at least, if they are worth counting.
fn grow_to(held: &mut Held, bytes: u64) -> Result<(), Status> {
    if bytes < COUNTED_BYTES_MIN || bytes <= held.bytes() {
        return Ok(());
    }
    let more = bytes - held.bytes();
    held.grow(more).map_err(|full| Status::resource_exhausted(full.to_string()))
}

/// Let an answer hold its room until it is sent.
fn with_room<T>(answer: T, held: Held) -> Response<T> {
    let mut response = Response::new(answer);
    if held.bytes() > 0 {
        response.extensions_mut().insert(Room::new(held));
    }
    response
}

/// Let a large answer be written as it is sent. One that is too large stays as it is, and is refused.
fn in_pieces(mut response: Response<RangeResponse>) -> Response<RangeResponse> {
    let length = response.get_ref().encoded_len();
    if length > PIECE_BYTES && length <= RESPONSE_BYTES_MAX as usize {
        let answer = std::mem::take(response.get_mut());
        let pieces = tokio_stream::iter(answer.into_pieces().map(Ok));
        response.extensions_mut().insert(InPieces::new(Box::pin(pieces)));
    }
    response
}

/// The ranges of a transaction's own branches; nested ones are left to their size limits.
fn ranges_of(request: &pb::TxnRequest) -> impl Iterator<Item = &pb::RangeRequest> {
    let operations = request.success.iter().chain(&request.failure);
    operations.filter_map(|operation| match &operation.request {
        Some(pb::request_op::Request::RequestRange(range)) => Some(range),
        Some(_) | None => None,
    })
}

/// Whether more than single keys are read.
fn reads_ranges(request: &pb::TxnRequest) -> bool {
    ranges_of(request).any(|range| !range.range_end.is_empty())
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
        let result = outcome.as_ref().map(drop).map_err(drop);
        metrics::range_served(began.elapsed(), result);
        metrics::request_answered(RequestKind::Range, result, began.elapsed());
        let (outcome, held) = outcome?;
        let answer = RangeResponse::new(self.member.header_at(0), outcome);
        Ok(in_pieces(with_room(answer, held)))
    }

    async fn range_stream(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<RangeMessages>, Status> {
        let request = request.into_inner();
        let serializable = request.serializable;
        let mut held = self.budget.hold();
        let all = range::estimated_bytes(self.member.readable_store().await.mvcc(), &request);
        grow_to(&mut held, all.min(STREAMED_MESSAGES * self.request_bytes_max))?;
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
        let messages = driven(1, move |messages| async move {
            loop {
                let chunk = stream.next(member.readable_store().await.mvcc());
                let chunk = chunk.map_err(|error| status::of_read(&member, error))?;
                let is_last = chunk.last.is_some();
                send(&messages, RangeStreamResponse::new(member.header_at(0), chunk)).await?;
                if is_last {
                    return Ok(());
                }
            }
        });
        Ok(with_room(messages, held))
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
        let request = request.into_inner();
        metrics::txn_asked();
        let mut held = self.room_for_txn(&request).await?;
        let reply = self.member.request(Routed::Txn(request)).await;
        let Reply::Txn(mut response) = reply.map_err(status::of)? else { return Err(mismatch()) };
        self.fill(&mut response.header);
        if held.bytes() > 0 {
            held.set(response.encoded_len() as u64);
        }
        Ok(with_room(response, held))
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
