//! Requests of clients.

use std::time::{Duration, Instant};

use quorate_api::Error;
use quorate_api::etcdserverpb as pb;
use quorate_api::request::RequestKind;
use quorate_member::route::{self, Request, Route};
use quorate_raft::NodeId;
use quorate_replica::{Event, Proposal, RequestId};
use quorate_store::apply::check;
use quorate_store::entry::Reply;
use quorate_store::log::Damage;
use quorate_store::mvcc::ReadError;
use tokio::sync::oneshot;

use super::waiters::Answer;
use super::{Member, Shared};
use crate::metrics;

/// A confirmation that takes longer is counted as slow: etcd asks again then.
const SLOW_CONFIRMATION: Duration = Duration::from_millis(500);

impl Member {
    /// Carry out a request. The headers of replies have the revision alone, where they have one.
    ///
    /// # Errors
    /// The client's answer.
    pub async fn request(&self, request: Request) -> Result<Reply, Error> {
        let began = Instant::now();
        let counted = Counted::of(&request);
        let answer = self.answer(request).await;
        counted.note(&answer, began.elapsed());
        answer
    }

    async fn answer(&self, request: Request) -> Result<Reply, Error> {
        let shared = &self.0;
        let id = shared.waiters.next_id();
        match route::route(&request, id, &shared.limits)? {
            Route::Propose(proposal) => {
                let reply = shared.propose(proposal).await?;
                if let Request::Compact(pb::CompactionRequest { physical: true, revision }) =
                    request
                {
                    self.compacted(revision).await;
                }
                Ok(reply)
            }
            Route::Confirm => {
                self.confirm().await?;
                self.serve(&request).await
            }
            Route::Serve => self.serve(&request).await,
            // These have replies of their own: `renew_lease`, `lease_time_left`.
            Route::RenewLease(_) | Route::LeaseTimeLeft(_) => Err(Error::NotCapable),
        }
    }

    /// Wait until this member has applied all that was committed when this was called.
    ///
    /// # Errors
    /// There is no leader, or no answer in time.
    pub async fn confirm(&self) -> Result<(), Error> {
        let request = self.0.waiters.next_id();
        let began = Instant::now();
        let confirmed = match self.0.ask(request, Event::Read { request }).await {
            Ok(Answer::Ready) => Ok(()),
            Ok(_) => Err(Error::Timeout),
            Err(error) => Err(error),
        };
        if confirmed.is_err() {
            metrics::read_index_failed();
        } else if began.elapsed() > SLOW_CONFIRMATION {
            metrics::slow_read_index();
        }
        confirmed
    }

    /// Keep a lease alive, at the leader; its time to live in seconds.
    ///
    /// # Errors
    /// [`Error::LeaseNotFound`], or why nobody could be asked.
    pub async fn renew_lease(&self, lease: i64) -> Result<i64, Error> {
        match self.renew_lease_here(lease).await? {
            Here::Answer(ttl) => {
                metrics::lease_renewed();
                Ok(ttl)
            }
            Here::Leader(leader) => {
                let leader = self.member(leader)?;
                self.0.peers.renew_lease(&leader, lease).await
            }
        }
    }

    /// What a lease was granted and has left, in seconds.
    ///
    /// # Errors
    /// [`Error::LeaseNotFound`], or why nobody could be asked.
    pub async fn lease_time_left(&self, lease: i64) -> Result<(i64, i64), Error> {
        match self.lease_time_left_here(lease).await? {
            Here::Answer(times) => Ok(times),
            Here::Leader(leader) => {
                let leader = self.member(leader)?;
                self.0.peers.lease_time_left(&leader, lease).await
            }
        }
    }

    /// The same, if this member leads.
    ///
    /// # Errors
    /// As [`renew_lease`](Self::renew_lease).
    pub async fn renew_lease_here(&self, lease: i64) -> Result<Here<i64>, Error> {
        let request = self.0.waiters.next_id();
        match self.0.ask(request, Event::RenewLease { request, lease }).await? {
            Answer::Renewed(ttl) => Ok(Here::Answer(ttl)),
            Answer::AskLeader(leader) => Ok(Here::Leader(leader)),
            _ => Err(Error::Timeout),
        }
    }

    /// The same, if this member leads.
    ///
    /// # Errors
    /// As [`lease_time_left`](Self::lease_time_left).
    pub async fn lease_time_left_here(&self, lease: i64) -> Result<Here<(i64, i64)>, Error> {
        let request = self.0.waiters.next_id();
        match self.0.ask(request, Event::LeaseTimeLeft { request, lease }).await? {
            Answer::TimeLeft(granted, left) => Ok(Here::Answer((granted, left))),
            Answer::AskLeader(leader) => Ok(Here::Leader(leader)),
            _ => Err(Error::Timeout),
        }
    }

    /// Make another member the leader.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn transfer_leadership(&self, to: u64) -> Result<(), Error> {
        let request = self.0.waiters.next_id();
        let event = Event::TransferLeadership { request, to: NodeId(to) };
        match self.0.ask(request, event).await? {
            Answer::Transferred => Ok(()),
            _ => Err(Error::Timeout),
        }
    }

    async fn serve(&self, request: &Request) -> Result<Reply, Error> {
        let served = {
            let store = self.readable_store().await;
            route::serve(&store, request)
        };
        match served {
            Ok(reply) => Ok(reply),
            Err(ReadError::Refused(error)) => Err(error),
            Err(ReadError::Damage(damage)) => {
                self.found_damage(&damage);
                Err(Error::Corrupt)
            }
        }
    }

    /// A read of the store found damage. Whoever reads tells the member: with peers it ends, and
    /// has everything from them at its next start.
    pub fn found_damage(&self, damage: &Damage) {
        self.0.damaged(&damage.to_string());
    }

    /// Wait until what a compaction removes is gone.
    async fn compacted(&self, revision: i64) {
        let mut compacted = self.0.compacted.subscribe();
        self.0.background.wake();
        tokio::select! {
            _ = compacted.wait_for(|finished| *finished >= revision) => {}
            _ = self.ended() => {}
        }
    }
}

/// What a request is counted as.
#[derive(Clone, Copy)]
enum Counted {
    Kind(RequestKind),
    ReadingTxn,
    Not,
}

impl Counted {
    fn of(request: &Request) -> Self {
        match request {
            Request::Range(_) => Self::Kind(RequestKind::Range),
            Request::Put(_) => Self::Kind(RequestKind::Put),
            Request::DeleteRange(_) => Self::Kind(RequestKind::DeleteRange),
            Request::Txn(txn) if check::is_read_only(txn) => Self::ReadingTxn,
            Request::Txn(_) => Self::Kind(RequestKind::Txn),
            Request::Compact(_) => Self::Kind(RequestKind::Compaction),
            Request::LeaseGrant(_) => Self::Kind(RequestKind::LeaseGrant),
            Request::LeaseRevoke(_) => Self::Kind(RequestKind::LeaseRevoke),
            Request::Alarm(_) => Self::Kind(RequestKind::Alarm),
            Request::LeaseKeepAlive(_) | Request::LeaseTimeToLive(_) => Self::Not,
        }
    }

    fn note(self, answer: &Result<Reply, Error>, took: Duration) {
        let result = answer.as_ref().map(drop).map_err(drop);
        match self {
            Self::Kind(kind) => metrics::request_answered(kind, result, took),
            Self::ReadingTxn => metrics::reading_txn_answered(result, took),
            Self::Not => {}
        }
    }
}

/// An answer, or who has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Here<T> {
    /// This member leads, and says so.
    Answer(T),
    /// That one leads.
    Leader(u64),
}

impl Shared {
    /// Put a request into the log, and wait for its reply.
    pub(super) async fn propose(&self, proposal: Proposal) -> Result<Reply, Error> {
        let request = proposal.request;
        match self.ask(request, Event::Propose(proposal)).await {
            Ok(Answer::Reply(reply)) => reply,
            Ok(_) => Err(Error::Timeout),
            Err(error) => {
                // What the store refuses has been agreed on; this has not.
                metrics::proposal_failed();
                Err(error)
            }
        }
    }

    /// Submit an event, and wait for what its request comes to.
    pub(super) async fn ask(&self, request: RequestId, event: Event) -> Result<Answer, Error> {
        let answer = self.submit_asking(request, event)?;
        match answer.await {
            Ok(Answer::Failed(error)) => Err(error),
            Ok(answer) => Ok(answer),
            Err(_) => Err(Error::Stopped),
        }
    }

    fn submit_asking(
        &self,
        request: RequestId,
        event: Event,
    ) -> Result<oneshot::Receiver<Answer>, Error> {
        let answer = self.waiters.wait(request);
        if self.ending.reason().is_some() {
            // Looked at after the waiter is known: whoever ends the member answers it, or this.
            self.waiters.answer(request, Answer::Failed(Error::Stopped));
            return Err(Error::Stopped);
        }
        // Who is alone has nobody to wait for.
        if self.waiters.count() > 1 {
            self.submit_in_round(event)
        } else {
            self.submit(event)
        }
        Ok(answer)
    }
}
