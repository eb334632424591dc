//! Requests on their way into the log.

use prost::Message as _;
use quorate_api::etcdserverpb as pb;
use quorate_raft::MessageKind;
use quorate_replica::{Event, Priority, Proposal, RequestId};

use crate::cluster::{Cluster, proposal, put};

fn put_ids(cluster: &mut Cluster, id: u64) -> Vec<u64> {
    let applied = &cluster.member(id).applied;
    applied.iter().map(|request| request.header.as_ref().unwrap().id).collect()
}

#[test]
fn what_waits_together_travels_together() {
    let mut cluster = Cluster::led(1);
    cluster.member(1).take_effects();
    for request in 1..=3 {
        cluster.hear(1, put(request));
    }
    cluster.collect(1);
    assert_eq!(cluster.member(1).take_effects(), ["persist 3 [3, 4, 5]"]);
    assert_eq!(cluster.member(1).replica.load(), 3);
    cluster.settle();
    assert_eq!(put_ids(&mut cluster, 1), [1, 2, 3]);
    assert_eq!(cluster.member(1).replica.load(), 0);
}

#[test]
fn a_request_waits_for_a_leader() {
    let mut cluster = Cluster::of(3);
    cluster.ask(2, put(900));
    assert!(cluster.network.is_empty());
    cluster.elect(1);
    cluster.tick(1, 1);
    assert_eq!(put_ids(&mut cluster, 2), [900]);
}

#[test]
fn a_request_without_a_leader_fails_in_time_and_stays_away() {
    let mut cluster = Cluster::of(3);
    cluster.ask(2, put(900));
    cluster.lost = MessageKind::ALL.to_vec();
    cluster.tick(2, 69);
    assert_eq!(cluster.answers(2), [""; 0]);
    cluster.tick(2, 1);
    assert_eq!(cluster.answers(2), ["900 fails Timeout"]);
    cluster.lost.clear();
    cluster.elect(2);
    assert_eq!(put_ids(&mut cluster, 2), [0_u64; 0], "what failed while it waited is gone");
}

#[test]
fn what_raft_took_is_never_handed_to_it_again() {
    let mut cluster = Cluster::led(3);
    cluster.lost = vec![MessageKind::MsgProp];
    cluster.ask(2, put(900));
    cluster.lost.clear();
    cluster.tick_all(30);
    assert_eq!(put_ids(&mut cluster, 2), [0_u64; 0]);
    cluster.tick_all(40);
    assert_eq!(cluster.answers(2), ["900 fails Timeout"]);
    assert_eq!(put_ids(&mut cluster, 2), [0_u64; 0]);
}

#[test]
fn a_request_that_went_down_with_its_leader_is_not_waited_for_to_the_end() {
    let mut cluster = Cluster::led(3);
    cluster.cut.insert(1);
    for request in 900..903 {
        cluster.ask(2, put(request));
    }
    while !matches!(cluster.leader_of(2), Some(2 | 3)) {
        cluster.tick_all(1);
    }
    cluster.ask(2, put(903));
    assert_eq!(put_ids(&mut cluster, 2), [903]);
    cluster.tick_all(9);
    assert_eq!(cluster.answers(2), [""; 0], "they may still be on their way to the next leader");
    cluster.tick_all(1);
    let lost = (900..903).map(|request| format!("{request} fails TimeoutDueToLeaderFail"));
    assert_eq!(cluster.answers(2), lost.collect::<Vec<_>>());
    cluster.tick_all(80);
    assert_eq!(cluster.answers(2), [""; 0], "each is answered once");
}

#[test]
fn a_request_that_waits_for_the_store_is_not_lost_with_its_leader() {
    let mut cluster = Cluster::led(3);
    cluster.idle.insert(2);
    cluster.ask(2, put(900));
    cluster.elect(3);
    cluster.tick_all(30);
    cluster.idle.clear();
    cluster.settle();
    assert_eq!(put_ids(&mut cluster, 2), [900]);
    cluster.tick_all(80);
    assert_eq!(cluster.answers(2), [""; 0]);
}

#[test]
fn a_leader_lost_meanwhile_is_named_as_the_reason() {
    let mut cluster = Cluster::led(3);
    cluster.cut.insert(1);
    cluster.tick(1, 5);
    cluster.ask(1, put(900));
    // It steps down for want of a quorum, and hears of nobody.
    cluster.tick(1, 70);
    assert_eq!(cluster.answers(1), ["900 fails TimeoutDueToLeaderFail"]);
}

#[test]
fn a_leader_that_was_not_connected_is_named_as_the_reason() {
    let mut cluster = Cluster::led(3);
    cluster.tick_all(40);
    cluster.on(2, Event::PeerDisconnected(quorate_raft::NodeId(1)));
    cluster.lost = vec![MessageKind::MsgProp];
    cluster.ask(2, put(900));
    cluster.tick_all(70);
    assert_eq!(cluster.answers(2), ["900 fails TimeoutDueToConnectionLost"]);
}

#[test]
fn a_member_that_applies_too_slowly_refuses_clients_first() {
    let mut cluster = Cluster::led(1);
    cluster.idle.insert(1);
    for request in 1..=5_001 {
        cluster.hear(1, put(request));
    }
    cluster.collect(1);
    cluster.settle();
    cluster.answers(1);
    cluster.ask(1, put(6_000));
    assert_eq!(cluster.answers(1), ["6000 fails TooManyRequests"]);
    let Event::Propose(normal) = put(6_001) else { unreachable!() };
    cluster.ask(1, Event::Propose(Proposal { priority: Priority::High, ..normal }));
    assert_eq!(cluster.answers(1), [""; 0]);
    cluster.idle.clear();
    cluster.settle();
    cluster.ask(1, put(6_002));
    assert_eq!(cluster.answers(1), [""; 0]);
}

#[test]
fn requests_in_flight_have_a_limit() {
    let mut cluster = Cluster::of(3);
    for request in 0..100_000 {
        cluster.hear(1, put(request));
    }
    cluster.hear(1, put(100_000));
    cluster.collect(1);
    assert_eq!(cluster.answers(1), ["100000 fails TooManyRequests"]);
    assert_eq!(cluster.member(1).replica.load(), 100_000);
}

#[test]
fn a_large_request_goes_alone() {
    let mut cluster = Cluster::led(1);
    cluster.member(1).take_effects();
    for request in 1..=3 {
        let value = vec![0; 900_000];
        let put = pb::PutRequest { key: "k".into(), value: value.into(), ..Default::default() };
        let body = pb::InternalRaftRequest { put: Some(put), ..Default::default() };
        let large = proposal(request, body);
        assert!(pb::InternalRaftRequest::decode(large.data.clone()).is_ok());
        assert_eq!(large.request, RequestId(request));
        cluster.hear(1, Event::Propose(large));
    }
    cluster.collect(1);
    cluster.settle();
    assert_eq!(put_ids(&mut cluster, 1), [1, 2, 3], "in order, none lost");
}
