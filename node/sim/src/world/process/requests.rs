//! Requests of clients: their ways into the member, and its answers.

use quorate_member::route::{self, Route};
use quorate_raft::NodeId;
use quorate_replica::{Event, MembershipChange, RequestId, Time};
use quorate_store::entry::Reply;
use quorate_store::mvcc::ReadError;

use super::{Output, Process};
use crate::client::Call;
use crate::history::{Body, ClientId, Outcome, Refusal, Request, Response};
use crate::world::convert;

/// Who waits for a request.
pub(super) enum Waiter {
    Client(ClientId, Call, Request),
    Admin,
}

impl Process {
    /// A client asks.
    pub(crate) fn ask(&mut self, now: Time, client: ClientId, call: Call, request: Request) {
        let id = self.ids.next_id();
        let wire = convert::request(&request);
        let route = match route::route(&wire, id, &self.limits) {
            Ok(route) => route,
            Err(error) => {
                let outcome = outcome_of(error, &request);
                return self.outputs.push(Output::Answer(client, call, outcome));
            }
        };
        self.waiting.insert(id, Waiter::Client(client, call, request));
        match route {
            Route::Propose(proposal) => self.hear(now, Event::Propose(proposal)),
            Route::Confirm => self.hear(now, Event::Read { request: id }),
            Route::Serve => self.serve(id),
            Route::RenewLease(lease) => self.hear(now, Event::RenewLease { request: id, lease }),
            Route::LeaseTimeLeft(lease) => {
                self.hear(now, Event::LeaseTimeLeft { request: id, lease });
            }
        }
    }

    /// Somebody wants another membership.
    pub(crate) fn change_membership(&mut self, now: Time, change: MembershipChange) {
        let request = self.ids.next_id();
        self.waiting.insert(request, Waiter::Admin);
        self.hear(now, Event::ChangeMembership { request, change });
    }

    /// Somebody wants another leader.
    pub(crate) fn transfer(&mut self, now: Time, to: NodeId) {
        let request = self.ids.next_id();
        self.hear(now, Event::TransferLeadership { request, to });
    }

    pub(super) fn serve(&mut self, id: RequestId) {
        if self.is_filling() {
            return self.held_reads.push(id);
        }
        let Some(Waiter::Client(_, _, request)) = self.waiting.get(&id) else { return };
        match route::serve(&self.store, &convert::request(request)) {
            Ok(reply) => self.reply(id, Ok(reply)),
            Err(ReadError::Refused(error)) => self.reply(id, Err(error)),
            Err(ReadError::Damage(damage)) => self.damaged(&damage),
        }
    }

    pub(super) fn answer_lease(&mut self, id: RequestId, ttl: i64, remaining: Option<i64>) {
        let Some(Waiter::Client(_, _, request)) = self.waiting.get(&id) else { return };
        let body = match (request, remaining) {
            (Request::LeaseTimeToLive { id, keys }, Some(remaining)) => Body::LeaseTimeToLive {
                id: *id,
                ttl: remaining,
                granted_ttl: ttl,
                keys: if *keys { route::lease_keys(&self.store, *id) } else { Vec::new() },
            },
            (Request::LeaseKeepAlive { id }, _) => Body::LeaseKeepAlive { id: *id, ttl },
            _ => return,
        };
        let revision = self.store.revision();
        self.answer(id, Outcome::Ok(Response { revision, body }));
    }

    pub(super) fn reply(&mut self, id: RequestId, reply: Result<Reply, quorate_api::Error>) {
        match reply {
            Err(error) => self.fail(id, error),
            Ok(reply) => match convert::reply(reply) {
                Some((revision, body)) => {
                    self.answer(id, Outcome::Ok(Response { revision, body }));
                }
                None => {
                    if let Some(Waiter::Admin) = self.waiting.remove(&id) {
                        self.outputs.push(Output::Membership(Ok(())));
                    }
                }
            },
        }
    }

    pub(super) fn fail(&mut self, id: RequestId, error: quorate_api::Error) {
        match self.waiting.get(&id) {
            None => {}
            Some(Waiter::Admin) => {
                self.waiting.remove(&id);
                self.outputs.push(Output::Membership(Err(error)));
            }
            Some(Waiter::Client(_, _, request)) => {
                let outcome = match (request, error) {
                    (Request::LeaseKeepAlive { id }, quorate_api::Error::LeaseNotFound) => {
                        let body = Body::LeaseKeepAlive { id: *id, ttl: 0 };
                        Outcome::Ok(Response { revision: self.store.revision(), body })
                    }
                    (Request::LeaseTimeToLive { id, .. }, quorate_api::Error::LeaseNotFound) => {
                        let body = Body::LeaseTimeToLive {
                            id: *id,
                            ttl: -1,
                            granted_ttl: 0,
                            keys: Vec::new(),
                        };
                        Outcome::Ok(Response { revision: self.store.revision(), body })
                    }
                    (request, error) => outcome_of(error, request),
                };
                self.answer(id, outcome);
            }
        }
    }

    pub(super) fn answer(&mut self, id: RequestId, outcome: Outcome) {
        if let Some(Waiter::Client(client, call, _)) = self.waiting.remove(&id) {
            self.outputs.push(Output::Answer(client, call, outcome));
        }
    }
}

/// What an error says to a client about its request.
fn outcome_of(error: quorate_api::Error, request: &Request) -> Outcome {
    use quorate_api::Error;
    let refusal = match error {
        Error::Compacted => Refusal::Compacted,
        Error::FutureRevision => Refusal::FutureRevision,
        Error::KeyNotFound => Refusal::KeyNotFound,
        Error::LeaseNotFound => Refusal::LeaseNotFound,
        Error::LeaseExists => Refusal::LeaseExists,
        Error::EmptyKey
        | Error::DuplicateKey
        | Error::ValueProvided
        | Error::LeaseProvided
        | Error::TooManyOps
        | Error::LeaseTtlTooLarge
        | Error::InvalidSortOption => Refusal::Invalid,
        Error::TooManyRequests | Error::NoSpace | Error::NoLeader | Error::NotLeader => {
            return Outcome::NotApplied;
        }
        _ if !request.may_write() && !is_lasting(request) => return Outcome::NotApplied,
        _ => return Outcome::Unknown,
    };
    Outcome::Refused(refusal)
}

/// Whether a request changes more than keys.
fn is_lasting(request: &Request) -> bool {
    match request {
        Request::Compact { .. }
        | Request::LeaseGrant { .. }
        | Request::LeaseRevoke { .. }
        | Request::LeaseKeepAlive { .. } => true,
        Request::Range(_)
        | Request::Put(_)
        | Request::DeleteRange(_)
        | Request::Txn(_)
        | Request::LeaseTimeToLive { .. } => false,
    }
}
