//! The service Watch.
//!
//! ```text
//!   requests ──► hub.create, cancel, request_progress
//!                  │
//!   client has room ──► hub.poll ──► responses, encoded
//! ```
//! The stream is driven when the client's window has room: a client that does not read is a cursor
//! in the hub, and its requests wait with it.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use quorate_api::Error;
use quorate_api::etcdserverpb as pb;
use quorate_api::etcdserverpb::watch_request::RequestUnion;
use quorate_store::watch::{Backlog, PollLimits, Response as Polled};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tonic::{Request, Response, Status, Streaming};

use super::admission::wants_leader;
use super::encoded::WatchResponse;
use super::etcdserverpb::watch_server;
use super::status;
use super::streams::{Answers, Sender, driven, noted, send};
use crate::member::{Member, WatchStream};
use crate::metrics::{self, PendingEvents, WatchAnswer};
use crate::stopping::Stopping;

/// Progress intervals are longer by up to this part of them, so that streams do not all speak at
/// the same time.
const JITTER_PART: u32 = 10;

/// What is taken from the hub and encoded at a time.
const AT_ONCE: PollLimits = PollLimits { bytes: 256 << 10, responses: 64 };

/// Responses that wait for a client: their events are shared with all who wait for the same.
const AHEAD: usize = AT_ONCE.responses;

/// Election timeouts without a leader after which a stream that wants one ends.
const ELECTIONS_WITHOUT_LEADER: u32 = 3;

/// Looks for a leader once in an election timeout.
#[derive(Clone)]
pub(super) struct LeaderWatch {
    pub(super) member: Member,
    pub(super) interval: Duration,
}

impl LeaderWatch {
    /// Wait until the member had no leader for three election timeouts.
    pub(super) async fn lost(self) {
        let mut without = 0;
        loop {
            tokio::time::sleep(self.interval).await;
            without = if self.member.leader().is_none() { without + 1 } else { 0 };
            if without >= ELECTIONS_WITHOUT_LEADER {
                return;
            }
        }
    }
}

/// Ends a stream from outside: the error that it ends with.
type End = Pin<Box<dyn Future<Output = Error> + Send>>;

/// Wait for what ends a stream: the member stops, or, if the client cares, there is no leader.
pub(super) fn end_of(stopping: Stopping, leadership: Option<LeaderWatch>) -> End {
    Box::pin(async move {
        let Some(leadership) = leadership else {
            stopping.wait().await;
            return Error::Stopped;
        };
        tokio::select! {
            () = stopping.wait() => Error::Stopped,
            () = leadership.lost() => Error::NoLeader,
        }
    })
}

pub(super) struct Watch {
    member: Member,
    progress_interval: Duration,
    leadership: LeaderWatch,
    stopping: Stopping,
}

impl Watch {
    pub(super) fn new(
        member: Member,
        progress_interval: Duration,
        leadership: LeaderWatch,
        stopping: Stopping,
    ) -> Self {
        Self { member, progress_interval, leadership, stopping }
    }
}

#[tonic::async_trait]
impl watch_server::Watch for Watch {
    type WatchStream = Answers<WatchResponse>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let wants_leader = wants_leader(request.metadata().as_ref());
        let leadership = wants_leader.then(|| self.leadership.clone());
        let end = end_of(self.stopping.clone(), leadership);
        let progress = progress_ticks(self.progress_interval);
        let (member, requests) = (self.member.clone(), request.into_inner());
        let stream = member.open_watch();
        Ok(Response::new(driven(AHEAD, move |answers| {
            Box::pin(drive(Client { member, stream, answers }, requests, progress, end))
        })))
    }
}

/// When a stream's idle watches hear how far they are.
fn progress_ticks(interval: Duration) -> Interval {
    // Any spread will do, and the clock's fraction of a second is one.
    let spread = u64::try_from((interval / JITTER_PART).as_nanos()).unwrap_or(u64::MAX).max(1);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = u64::from(now.map_or(0, |now| now.subsec_nanos()));
    let period = interval + Duration::from_nanos(nanos.wrapping_mul(1_000_003) % spread);
    let mut ticks = tokio::time::interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// One client's stream.
struct Client {
    member: Member,
    stream: WatchStream,
    answers: Sender<WatchResponse>,
}

/// Carry requests to the hub and its responses to the client, until either ends.
async fn drive(
    client: Client,
    mut requests: Streaming<pb::WatchRequest>,
    mut progress: Interval,
    mut end: End,
) -> Result<(), Status> {
    // A client that asks nothing more may go on listening.
    let mut asks = true;
    loop {
        tokio::select! {
            biased;
            error = &mut end => return Err(status::of(error)),
            polled = client.stream.next(AT_ONCE) => {
                // Not a reply of the store: its disk is damaged, and the member says so.
                let polled = polled.map_err(|error| Status::data_loss(error.to_string()))?;
                client.give(polled.responses).await?;
            }
            request = requests.message(), if asks && client.stream.takes_requests() => {
                match noted(request, "watch")? {
                    None => asks = false,
                    Some(request) => client.take(request).await?,
                }
            }
            _ = progress.tick() => client.stream.tick_progress(),
        }
    }
}

fn about(response: &Polled) -> WatchAnswer {
    match response.events.len() {
        0 if response.created || response.canceled => WatchAnswer::Control,
        0 => WatchAnswer::Progress,
        events => WatchAnswer::Events(events),
    }
}

impl Client {
    async fn give(&self, responses: Vec<Polled>) -> Result<(), Status> {
        let header = self.member.header_at(0);
        let events = responses.iter().map(|response| response.events.len()).sum();
        let mut pending = PendingEvents::new(events);
        for response in responses {
            let began = std::time::Instant::now();
            let (about, events) = (about(&response), response.events.len());
            send(&self.answers, WatchResponse { header, response }).await?;
            metrics::watch_answered(about, began.elapsed());
            pending.taken(events);
        }
        Ok(())
    }

    async fn take(&self, request: pb::WatchRequest) -> Result<(), Status> {
        let taken = match request.request_union {
            None => Ok(()),
            Some(RequestUnion::CreateRequest(create)) => self.stream.create(&create).await,
            Some(RequestUnion::CancelRequest(cancel)) => self.stream.cancel(cancel.watch_id).await,
            Some(RequestUnion::ProgressRequest(pb::WatchProgressRequest {})) => {
                self.stream.request_progress();
                Ok(())
            }
        };
        // There was room a moment ago, and nobody else asks on this stream.
        taken.map_err(|backlog: Backlog| Status::resource_exhausted(backlog.to_string()))
    }
}
