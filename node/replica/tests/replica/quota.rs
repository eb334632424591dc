//! A full store.

use quorate_api::etcdserverpb as pb;
use quorate_raft::NodeId;
use quorate_replica::{DiskRoom, Event, Proposal, RequestId};

use crate::cluster::{Cluster, put};

fn growing(request: u64, growth_bytes: u64) -> Event {
    let Event::Propose(proposal) = put(request) else { unreachable!() };
    Event::Propose(Proposal { growth_bytes, ..proposal })
}

fn alarm_requests(cluster: &mut Cluster, id: u64) -> Vec<(u64, i32)> {
    let applied = &cluster.member(id).applied;
    let alarms = applied.iter().filter_map(|request| request.alarm.as_ref());
    alarms.map(|alarm| (alarm.member_id, alarm.action)).collect()
}

const ACTIVATE: i32 = pb::alarm_request::AlarmAction::Activate as i32;
const DEACTIVATE: i32 = pb::alarm_request::AlarmAction::Deactivate as i32;

fn fill(cluster: &mut Cluster, id: u64, live_bytes: u64) {
    cluster.member(id).live_bytes = live_bytes;
    cluster.ask(id, put(1));
}

#[test]
fn growth_beyond_the_quota_is_refused_and_raises_the_alarm_once() {
    let mut cluster = Cluster::led(3);
    fill(&mut cluster, 2, 990);
    cluster.ask(2, growing(900, 10));
    cluster.ask(2, growing(901, 11));
    cluster.ask(2, growing(902, 11));
    assert_eq!(cluster.answers(2), ["901 fails NoSpace", "902 fails NoSpace"]);
    cluster.tick_all(5);
    cluster.ask(2, growing(903, 11));
    cluster.tick_all(5);
    assert_eq!(alarm_requests(&mut cluster, 1), [(2, ACTIVATE)]);
    // The alarm is everybody's.
    cluster.ask(3, growing(904, 1));
    assert_eq!(cluster.answers(3), ["904 fails NoSpace"]);
    // What must work in a full store works.
    cluster.ask(3, growing(905, 0));
    assert_eq!(cluster.answers(3), [""; 0]);
}

#[test]
fn a_member_withdraws_its_own_alarm_with_room_to_spare_and_no_other() {
    let mut cluster = Cluster::led(3);
    fill(&mut cluster, 2, 1_000);
    cluster.ask(2, growing(900, 1));
    cluster.tick_all(2);
    assert_eq!(alarm_requests(&mut cluster, 1), [(2, ACTIVATE)]);
    fill(&mut cluster, 2, 900);
    cluster.tick_all(5);
    assert_eq!(alarm_requests(&mut cluster, 1), [(2, ACTIVATE)], "not below nine tenths");
    fill(&mut cluster, 2, 899);
    cluster.tick_all(5);
    assert_eq!(alarm_requests(&mut cluster, 1), [(2, ACTIVATE), (2, DEACTIVATE)]);
    cluster.answers(2);
    cluster.ask(2, growing(901, 1));
    assert_eq!(cluster.answers(2), [""; 0]);
}

#[test]
fn room_that_compaction_makes_withdraws_the_alarm_though_nothing_is_applied() {
    let mut cluster = Cluster::led(3);
    fill(&mut cluster, 2, 1_000);
    cluster.ask(2, growing(900, 1));
    cluster.tick_all(2);
    assert_eq!(alarm_requests(&mut cluster, 1), [(2, ACTIVATE)]);
    cluster.member(2).live_bytes = 100;
    cluster.ask(2, Event::LiveBytes(100));
    cluster.tick_all(5);
    assert_eq!(alarm_requests(&mut cluster, 1), [(2, ACTIVATE), (2, DEACTIVATE)]);
}

#[test]
fn an_alarm_of_another_member_is_left_alone() {
    let mut cluster = Cluster::led(1);
    let alarm = pb::AlarmRequest { action: ACTIVATE, member_id: 9, alarm: 1 };
    let body = pb::InternalRaftRequest { alarm: Some(alarm), ..Default::default() };
    cluster.ask(1, Event::Propose(crate::cluster::proposal(900, body)));
    cluster.tick_all(20);
    assert_eq!(alarm_requests(&mut cluster, 1), [(9, ACTIVATE)]);
    cluster.ask(1, growing(901, 1));
    assert_eq!(cluster.answers(1), ["901 fails NoSpace"]);
    assert_eq!(cluster.member(1).alarm_facts()[0].member, NodeId(9));
    assert_ne!(RequestId(900), RequestId(901));
}

#[test]
fn the_alarm_of_a_full_disk_stays_until_the_disk_has_room() {
    let mut cluster = Cluster::led(3);
    cluster.ask(2, Event::DiskRoom(DiskRoom::None));
    cluster.ask(2, growing(900, 1));
    assert_eq!(cluster.answers(2), ["900 fails NoSpace"], "before anybody else knows");
    cluster.ask(2, growing(901, 0));
    assert_eq!(cluster.answers(2), [""; 0], "what makes room is taken");
    cluster.tick_all(20);
    assert_eq!(
        alarm_requests(&mut cluster, 1),
        [(2, ACTIVATE)],
        "it is neither taken back nor repeated"
    );
    cluster.ask(3, growing(902, 1));
    assert_eq!(cluster.answers(3), ["902 fails NoSpace"]);

    cluster.ask(2, Event::DiskRoom(DiskRoom::Ample));
    cluster.tick_all(5);
    assert_eq!(alarm_requests(&mut cluster, 1), [(2, ACTIVATE), (2, DEACTIVATE)]);
    cluster.answers(3);
    cluster.ask(3, growing(903, 1));
    assert_eq!(cluster.answers(3), [""; 0]);
}
