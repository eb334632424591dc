//! Between what clients of a run say and the routes of a member.

use judge::wire;
use quorate_api::etcdserverpb as pb;
use quorate_member::route;
use quorate_store::entry::Reply;

use crate::history::{Body, Request};

pub(crate) fn request(request: &Request) -> route::Request {
    match request {
        Request::Range(range) => route::Request::Range(wire::range_request(range)),
        Request::Put(put) => route::Request::Put(wire::put_request(put)),
        Request::DeleteRange(delete) => route::Request::DeleteRange(wire::delete_request(delete)),
        Request::Txn(txn) => route::Request::Txn(wire::txn_request(txn)),
        Request::Compact { revision } => route::Request::Compact(pb::CompactionRequest {
            revision: *revision,
            ..pb::CompactionRequest::default()
        }),
        Request::LeaseGrant { id, ttl } => {
            route::Request::LeaseGrant(pb::LeaseGrantRequest { ttl: *ttl, id: *id })
        }
        Request::LeaseRevoke { id } => {
            route::Request::LeaseRevoke(pb::LeaseRevokeRequest { id: *id })
        }
        Request::LeaseKeepAlive { id } => {
            route::Request::LeaseKeepAlive(pb::LeaseKeepAliveRequest { id: *id })
        }
        Request::LeaseTimeToLive { id, keys } => {
            route::Request::LeaseTimeToLive(pb::LeaseTimeToLiveRequest { id: *id, keys: *keys })
        }
    }
}

/// The header's revision, and what the reply says.
pub(crate) fn reply(reply: Reply) -> Option<(i64, Body)> {
    let revision = |header: Option<pb::ResponseHeader>| header.map_or(0, |it| it.revision);
    Some(match reply {
        Reply::Range(outcome) => {
            let revision = outcome.revision;
            (revision, wire::range_body(outcome.into_response().expect("the store's own records"))?)
        }
        Reply::Put(put) => {
            (revision(put.header), Body::Put { prev_kv: put.prev_kv.map(wire::key_value) })
        }
        Reply::DeleteRange(delete) => (revision(delete.header), wire::delete_body(delete)),
        Reply::Txn(txn) => (revision(txn.header), wire::txn_body(txn)?),
        Reply::Compaction(compaction) => (revision(compaction.header), Body::Compact),
        Reply::LeaseGrant(grant) => {
            (revision(grant.header), Body::LeaseGrant { id: grant.id, ttl: grant.ttl })
        }
        Reply::LeaseRevoke(revoke) => (revision(revoke.header), Body::LeaseRevoke),
        Reply::Empty | Reply::LeaseCheckpoint(_) | Reply::Alarm(_) | Reply::Members(_) => {
            return None;
        }
    })
}
