//! Which way a client's request goes.
//!
//! ```text
//!                      ┌─ Propose ──► log ──► apply ──► reply
//!   request ── route ──┼─ Confirm ──► a quorum confirms the leader ──► serve
//!                      ├─ Serve ────► serve what this member has applied
//!                      └─ RenewLease, LeaseTimeLeft ──► the leader's clock
//! ```
//!
//! What a request must be like is checked here, before it costs anybody anything.

use bytes::Bytes;
use quorate_api::Error;
use quorate_api::etcdserverpb as pb;
use quorate_api::request::{RequestKind, wrap_message};
use quorate_replica::{Priority, Proposal, RequestId};
use quorate_store::apply::check;
use quorate_store::entry::Reply;
use quorate_store::mvcc::ReadError;
use quorate_store::quota;
use quorate_store::store::Store;

/// A client's request, as the API has it.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each is the message of its call")]
pub enum Request {
    Range(pb::RangeRequest),
    Put(pb::PutRequest),
    DeleteRange(pb::DeleteRangeRequest),
    Txn(pb::TxnRequest),
    Compact(pb::CompactionRequest),
    LeaseGrant(pb::LeaseGrantRequest),
    LeaseRevoke(pb::LeaseRevokeRequest),
    LeaseKeepAlive(pb::LeaseKeepAliveRequest),
    LeaseTimeToLive(pb::LeaseTimeToLiveRequest),
    Alarm(pb::AlarmRequest),
}

/// Bounds of requests.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Operations of a transaction (`--max-txn-ops`).
    pub txn_ops_max: usize,
    /// Bytes of an entry (`--max-request-bytes`).
    pub request_bytes_max: usize,
    /// Shorter leases are made so long, in seconds.
    pub lease_ttl_seconds_min: i64,
}

/// Where a request goes.
#[derive(Clone, Debug)]
pub enum Route {
    /// Into the log; the reply comes when it is applied.
    Propose(Proposal),
    /// [`serve`] once the replica says that the store has all that is committed.
    Confirm,
    /// [`serve`] now.
    Serve,
    /// To the leader's lease clock.
    RenewLease(i64),
    /// To the leader's lease clock.
    LeaseTimeLeft(i64),
}

/// Check a request and say where it goes.
///
/// # Errors
/// The client's answer, if the request is not as it must be.
pub fn route(request: &Request, id: RequestId, limits: &RequestLimits) -> Result<Route, Error> {
    let propose = |data: Bytes, growth_bytes, priority| {
        if data.len() > limits.request_bytes_max {
            return Err(Error::RequestTooLarge);
        }
        Ok(Route::Propose(Proposal { request: id, data, growth_bytes, priority }))
    };
    let header = pb::RequestHeader { id: id.0, ..pb::RequestHeader::default() };
    match request {
        Request::Range(range) => {
            check::check_range(range)?;
            Ok(if range.serializable { Route::Serve } else { Route::Confirm })
        }
        Request::Put(put) => {
            check::check_put(put)?;
            let growth = quota::put_cost(put);
            propose(wrap_message(&header, RequestKind::Put, put), growth, Priority::Normal)
        }
        Request::DeleteRange(delete) => {
            check::check_delete_range(delete)?;
            propose(wrap_message(&header, RequestKind::DeleteRange, delete), 0, Priority::Normal)
        }
        Request::Txn(txn) => {
            check::check_txn(txn, limits.txn_ops_max)?;
            if check::is_read_only(txn) {
                return Ok(if check::is_serializable(txn) { Route::Serve } else { Route::Confirm });
            }
            let growth = quota::txn_cost(txn);
            propose(wrap_message(&header, RequestKind::Txn, txn), growth, Priority::Normal)
        }
        Request::Compact(compact) => {
            propose(wrap_message(&header, RequestKind::Compaction, compact), 0, Priority::Normal)
        }
        Request::LeaseGrant(grant) => {
            let grant = checked_grant(grant, id, limits)?;
            let growth = quota::LEASE_BYTES;
            propose(
                wrap_message(&header, RequestKind::LeaseGrant, &grant),
                growth,
                Priority::Normal,
            )
        }
        Request::LeaseRevoke(revoke) => {
            propose(wrap_message(&header, RequestKind::LeaseRevoke, revoke), 0, Priority::Normal)
        }
        Request::LeaseKeepAlive(renew) => Ok(Route::RenewLease(renew.id)),
        Request::LeaseTimeToLive(ask) => Ok(Route::LeaseTimeLeft(ask.id)),
        Request::Alarm(alarm) => {
            propose(wrap_message(&header, RequestKind::Alarm, alarm), 0, Priority::High)
        }
    }
}

/// The lease as it is written: with an id, and long enough to survive an election.
fn checked_grant(
    grant: &pb::LeaseGrantRequest,
    id: RequestId,
    limits: &RequestLimits,
) -> Result<pb::LeaseGrantRequest, Error> {
    if grant.ttl > quorate_store::lease::TTL_SECONDS_MAX {
        return Err(Error::LeaseTtlTooLarge);
    }
    let picked = (id.0 & i64::MAX.cast_unsigned()).cast_signed();
    let lease = if grant.id == 0 { picked } else { grant.id };
    Ok(pb::LeaseGrantRequest { ttl: grant.ttl.max(limits.lease_ttl_seconds_min), id: lease })
}

/// Answer a request that only reads from what the store has applied.
///
/// # Errors
/// The client's answer, or damage of this member's disk.
///
/// # Panics
/// If the request is not one that [`route`] sends here.
pub fn serve(store: &Store, request: &Request) -> Result<Reply, ReadError> {
    match request {
        Request::Range(range) => store.range(range).map(Reply::Range),
        Request::Txn(txn) => store.read_txn(txn).map(Reply::Txn),
        Request::Put(_)
        | Request::DeleteRange(_)
        | Request::Compact(_)
        | Request::LeaseGrant(_)
        | Request::LeaseRevoke(_)
        | Request::LeaseKeepAlive(_)
        | Request::LeaseTimeToLive(_)
        | Request::Alarm(_) => unreachable!("only reads are served from the store"),
    }
}

/// The keys that are attached to a lease, in order.
#[must_use]
pub fn lease_keys(store: &Store, lease: i64) -> Vec<Bytes> {
    store.leases().get(lease).map_or_else(Vec::new, |lease| lease.keys().iter().cloned().collect())
}
