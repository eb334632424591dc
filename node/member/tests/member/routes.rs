//! Which way requests go.

use quorate_api::Error;
use quorate_api::etcdserverpb as pb;
use quorate_member::route::{self, Request, RequestLimits, Route, route as route_of};
use quorate_replica::{Priority, Proposal, RequestId};
use sim_disk::FaultyDisk;

use crate::directory::{bootstrap, open, put};

const LIMITS: RequestLimits =
    RequestLimits { txn_ops_max: 2, request_bytes_max: 1_000, lease_ttl_seconds_min: 5 };

fn way(request: &Request) -> Result<Route, Error> {
    route_of(request, RequestId(0x8000_0000_0000_0007), &LIMITS)
}

fn proposed(request: &Request) -> (Proposal, pb::InternalRaftRequest) {
    let Ok(Route::Propose(proposal)) = way(request) else { panic!("not proposed: {request:?}") };
    let decoded = prost::Message::decode(proposal.data.clone()).unwrap();
    (proposal, decoded)
}

fn range(serializable: bool) -> pb::RangeRequest {
    pb::RangeRequest { key: "k".into(), serializable, ..pb::RangeRequest::default() }
}

fn put_request(value: usize) -> pb::PutRequest {
    pb::PutRequest { key: "k".into(), value: vec![0; value].into(), ..pb::PutRequest::default() }
}

fn reads(serializable: bool, count: usize) -> pb::TxnRequest {
    let read =
        pb::RequestOp { request: Some(pb::request_op::Request::RequestRange(range(serializable))) };
    pb::TxnRequest { success: vec![read; count], ..pb::TxnRequest::default() }
}

#[test]
fn reads_are_confirmed_unless_they_may_be_stale() {
    assert!(matches!(way(&Request::Range(range(false))), Ok(Route::Confirm)));
    assert!(matches!(way(&Request::Range(range(true))), Ok(Route::Serve)));
    assert!(matches!(way(&Request::Txn(reads(false, 1))), Ok(Route::Confirm)));
    assert!(matches!(way(&Request::Txn(reads(true, 1))), Ok(Route::Serve)));
    assert!(matches!(way(&Request::Range(pb::RangeRequest::default())), Err(Error::EmptyKey)));
}

#[test]
fn writes_are_proposed_under_their_name_with_what_they_may_cost() {
    let (proposal, decoded) = proposed(&Request::Put(put_request(10)));
    assert_eq!(decoded.header.unwrap().id, proposal.request.0);
    assert_eq!(decoded.put.unwrap(), put_request(10));
    assert!(proposal.growth_bytes > 10);
    assert_eq!(proposal.priority, Priority::Normal);

    let write =
        pb::RequestOp { request: Some(pb::request_op::Request::RequestPut(put_request(1))) };
    let txn = pb::TxnRequest { success: vec![write], ..pb::TxnRequest::default() };
    let (proposal, decoded) = proposed(&Request::Txn(txn));
    assert!(decoded.txn.is_some() && proposal.growth_bytes > 0);

    // What frees must work in a full store.
    let delete = pb::DeleteRangeRequest { key: "k".into(), ..Default::default() };
    let (proposal, decoded) = proposed(&Request::DeleteRange(delete));
    assert!(decoded.delete_range.is_some() && proposal.growth_bytes == 0);
    let (proposal, decoded) = proposed(&Request::Compact(pb::CompactionRequest::default()));
    assert!(decoded.compaction.is_some() && proposal.growth_bytes == 0);
    let (proposal, decoded) = proposed(&Request::LeaseRevoke(pb::LeaseRevokeRequest { id: 3 }));
    assert!(decoded.lease_revoke.is_some() && proposal.growth_bytes == 0);
    let (proposal, decoded) = proposed(&Request::Alarm(pb::AlarmRequest::default()));
    assert!(decoded.alarm.is_some() && proposal.growth_bytes == 0);
    assert_eq!(proposal.priority, Priority::High);
}

#[test]
fn requests_have_limits() {
    assert!(way(&Request::Put(put_request(900))).is_ok());
    let large = way(&Request::Put(put_request(1_000)));
    assert!(matches!(large, Err(Error::RequestTooLarge)));
    assert!(way(&Request::Txn(reads(false, 2))).is_ok());
    assert!(matches!(way(&Request::Txn(reads(false, 3))), Err(Error::TooManyOps)));
}

fn granted(id: i64, ttl: i64) -> pb::LeaseGrantRequest {
    let (proposal, decoded) = proposed(&Request::LeaseGrant(pb::LeaseGrantRequest { id, ttl }));
    assert!(proposal.growth_bytes > 0);
    decoded.lease_grant.unwrap()
}

#[test]
fn a_lease_gets_an_id_and_a_time_that_survives_an_election() {
    assert_eq!(granted(9, 60), pb::LeaseGrantRequest { id: 9, ttl: 60 });
    assert_eq!(granted(9, 1).ttl, 5);
    assert_eq!(granted(9, -1).ttl, 5);
    assert_eq!(granted(0, 60).id, 7, "of the request's name, and never negative");
    let long = pb::LeaseGrantRequest { id: 1, ttl: 9_000_000_001 };
    assert!(matches!(way(&Request::LeaseGrant(long)), Err(Error::LeaseTtlTooLarge)));
}

#[test]
fn the_time_of_leases_is_the_leader_s_to_tell() {
    let renew = Request::LeaseKeepAlive(pb::LeaseKeepAliveRequest { id: 4 });
    assert!(matches!(way(&renew), Ok(Route::RenewLease(4))));
    let ask = pb::LeaseTimeToLiveRequest { id: 4, ..Default::default() };
    assert!(matches!(way(&Request::LeaseTimeToLive(ask)), Ok(Route::LeaseTimeLeft(4))));
}

#[test]
fn reads_are_served_from_what_is_applied() {
    let disk = FaultyDisk::new(1);
    let mut running = open(&disk, &bootstrap(1), 1).unwrap();
    let mut entries = running.opened.boot.entries.clone();
    entries.push(quorate_raft::Entry {
        term: quorate_raft::Term(2),
        index: quorate_raft::Index(2),
        data: put(1, "k", "v"),
        ..quorate_raft::Entry::default()
    });
    running.apply(&entries);
    let reply = route::serve(&running.opened.store, &Request::Range(range(true)));
    assert!(matches!(reply, Ok(quorate_store::entry::Reply::Range(_))));
    let reply = route::serve(&running.opened.store, &Request::Txn(reads(true, 1)));
    assert!(matches!(reply, Ok(quorate_store::entry::Reply::Txn(_))));
    assert!(route::lease_keys(&running.opened.store, 4).is_empty());
}
