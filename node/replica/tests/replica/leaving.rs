//! Another leader.

use quorate_raft::{MessageKind, NodeId};
use quorate_replica::{Event, RequestId};

use crate::cluster::{Cluster, config, learner, put, voter};

fn transfer(to: u64) -> Event {
    Event::TransferLeadership { request: RequestId(900), to: NodeId(to) }
}

const HAND_OVER: Event = Event::HandOver { request: RequestId(900) };

#[test]
fn leadership_goes_where_it_is_wanted() {
    let mut cluster = Cluster::led(3);
    cluster.ask(1, transfer(3));
    assert_eq!(cluster.leader_of(1), Some(3));
    assert_eq!(cluster.answers(1), ["900 transferred"]);
}

#[test]
fn a_transfer_needs_a_leader_and_a_voter() {
    let mut cluster = Cluster::with(&[voter(1), voter(2), learner(3)], config);
    cluster.elect(1);
    cluster.ask(2, transfer(1));
    assert_eq!(cluster.answers(2), ["900 fails NotLeader"]);
    cluster.ask(1, transfer(3));
    cluster.ask(1, transfer(9));
    cluster.ask(1, transfer(1));
    assert_eq!(
        cluster.answers(1),
        ["900 fails BadLeaderTransferee", "900 fails BadLeaderTransferee", "900 transferred"]
    );
}

#[test]
fn a_transfer_that_does_not_succeed_fails_after_an_election_timeout() {
    let mut cluster = Cluster::led(3);
    cluster.lost = vec![MessageKind::MsgTimeoutNow];
    cluster.ask(1, transfer(3));
    cluster.tick_all(9);
    assert_eq!(cluster.answers(1), [""; 0]);
    cluster.tick_all(1);
    assert_eq!(cluster.answers(1), ["900 fails Timeout"]);
    cluster.ask(1, put(901));
    cluster.tick_all(2);
    assert_eq!(cluster.member(2).applied.len(), 1, "and it goes on leading");
}

#[test]
fn who_stops_hands_over_to_the_longest_connected_voter() {
    let mut cluster = Cluster::led(3);
    cluster.on(1, Event::PeerDisconnected(NodeId(2)));
    cluster.on(1, Event::PeerConnected(NodeId(2)));
    cluster.ask(1, HAND_OVER);
    assert_eq!(cluster.leader_of(1), Some(3));
    assert_eq!(cluster.answers(1), ["900 transferred"]);
    // Those who do not lead, or lead nobody, have nothing to hand over.
    cluster.ask(2, HAND_OVER);
    assert_eq!(cluster.answers(2), ["900 transferred"]);
    let mut alone = Cluster::led(1);
    alone.ask(1, HAND_OVER);
    assert_eq!(alone.answers(1), ["900 transferred"]);
}

#[test]
fn a_leader_whose_disk_stands_still_gives_its_place_away() {
    let mut cluster = Cluster::led(3);
    cluster.stalled.insert(1);
    cluster.ask(1, put(901));
    cluster.tick_all(9);
    assert_eq!(cluster.leader_of(2), Some(1));
    cluster.tick_all(3);
    assert_eq!(cluster.leader_of(2), Some(2));
    // A fast one keeps it.
    let mut cluster = Cluster::led(3);
    cluster.ask(1, put(901));
    cluster.tick_all(40);
    assert_eq!(cluster.leader_of(2), Some(1));
}
