//! Deadlines of leases.

use quorate_raft::{MessageKind, NodeId};
use quorate_replica::{Event, RequestId};

use crate::cluster::{Cluster, grant, put, renew};

/// A cluster of three that member 1 leads, with a lease of `ttl` seconds.
fn with_lease(ttl: i64) -> Cluster {
    let mut cluster = Cluster::led(3);
    cluster.ask(1, grant(900, 5, ttl));
    cluster
}

fn time_left(request: u64, lease: i64) -> Event {
    Event::LeaseTimeLeft { request: RequestId(request), lease }
}

#[test]
fn a_lease_ends_when_its_time_is_over_and_not_before() {
    let mut cluster = with_lease(2);
    cluster.tick_all(19);
    assert_eq!(cluster.member(1).revoked(), [0_i64; 0]);
    cluster.tick_all(2);
    assert_eq!(cluster.member(1).revoked(), [5]);
    cluster.ask(1, renew(901, 5));
    assert_eq!(cluster.answers(1), ["901 fails LeaseNotFound"]);
}

#[test]
fn a_renewed_lease_lives_on() {
    let mut cluster = with_lease(2);
    for request in 1..=10 {
        cluster.tick_all(10);
        cluster.ask(1, renew(request, 5));
    }
    assert_eq!(cluster.answers(1).last().unwrap(), "10 renewed 2");
    assert_eq!(cluster.member(1).revoked(), [0_i64; 0]);
    assert_eq!(cluster.member(1).checkpoints(), [(0, 0); 0], "renewed in time, none is needed");
    cluster.ask(1, time_left(99, 5));
    assert_eq!(cluster.answers(1), ["99 left 2 of 2"]);
    cluster.tick_all(21);
    assert_eq!(cluster.member(1).revoked(), [5]);
}

#[test]
fn followers_send_questions_about_leases_to_the_leader() {
    let mut cluster = with_lease(2);
    cluster.ask(2, renew(901, 5));
    cluster.ask(2, time_left(902, 5));
    assert_eq!(cluster.answers(2), ["901 ask 1", "902 ask 1"]);
    let mut leaderless = Cluster::of(3);
    leaderless.ask(2, renew(901, 5));
    assert_eq!(leaderless.answers(2), ["901 fails NoLeader"]);
}

#[test]
fn a_renewal_waits_for_a_confirmation() {
    let mut cluster = with_lease(60);
    cluster.cut.insert(1);
    cluster.ask(1, renew(901, 5));
    assert_eq!(cluster.answers(1), [""; 0]);
    cluster.cut.clear();
    cluster.tick_all(6);
    assert_eq!(cluster.answers(1), ["901 renewed 60"]);
}

#[test]
fn what_is_left_goes_to_the_log_every_third_of_the_time_and_a_second() {
    let mut cluster = with_lease(60);
    cluster.tick_all(209);
    assert_eq!(cluster.member(1).checkpoints(), [(0, 0); 0]);
    cluster.tick_all(2);
    assert_eq!(cluster.member(1).checkpoints(), [(5, 39)]);
    cluster.tick_all(210);
    assert_eq!(cluster.member(1).checkpoints(), [(5, 39), (5, 18)]);
}

#[test]
fn the_renewal_of_a_checkpointed_lease_goes_through_the_log_first() {
    let mut cluster = with_lease(60);
    cluster.tick_all(212);
    assert_eq!(cluster.member(1).checkpoints(), [(5, 39)]);
    cluster.idle.insert(1);
    cluster.ask(1, renew(901, 5));
    assert_eq!(cluster.answers(1), [""; 0], "not before the checkpoint of zero is applied");
    cluster.idle.clear();
    cluster.settle();
    assert_eq!(cluster.answers(1), ["901 renewed 60"]);
    assert_eq!(cluster.member(1).checkpoints(), [(5, 39), (5, 0)]);
}

#[test]
fn a_new_leader_goes_on_from_the_checkpoint() {
    let mut cluster = with_lease(60);
    cluster.tick_all(212);
    cluster.cut.insert(1);
    cluster.elect(2);
    // An election timeout is added for clients to find the new leader.
    cluster.ask(2, time_left(901, 5));
    assert_eq!(cluster.answers(2), ["901 left 40 of 60"]);
    let mut ticks = 0;
    while cluster.member(2).revoked().is_empty() {
        cluster.tick(2, 1);
        cluster.tick(3, 1);
        ticks += 2;
        assert!(ticks < 500);
    }
    assert!((398..=404).contains(&ticks), "{ticks}");
}

#[test]
fn a_new_leader_counts_from_an_applied_entry_of_its_term() {
    let mut cluster = with_lease(2);
    cluster.cut.insert(1);
    cluster.idle.insert(2);
    cluster.elect(2);
    for _ in 0..60 {
        cluster.tick(2, 1);
        cluster.tick(3, 1);
    }
    assert_eq!(cluster.member(3).revoked(), [0_i64; 0], "no clock runs");
    cluster.idle.clear();
    cluster.settle();
    cluster.ask(2, time_left(901, 5));
    assert_eq!(cluster.answers(2), ["901 left 3 of 2"]);
}

#[test]
fn who_leads_no_more_and_cannot_apply_passes_renewals_on() {
    for is_checkpointed in [false, true] {
        let mut cluster = with_lease(60);
        if is_checkpointed {
            cluster.tick_all(212);
        }
        // The one waits for the store to come as far as what is confirmed, the other for its
        // checkpoint of zero.
        cluster.idle.insert(1);
        if !is_checkpointed {
            cluster.ask(1, put(900));
        }
        cluster.ask(1, renew(901, 5));
        cluster.ask(1, time_left(902, 5));
        let answered = cluster.answers(1);
        assert!(!answered.iter().any(|answer| answer.starts_with("901")), "{answered:?}");
        cluster.ask(1, Event::TransferLeadership { request: RequestId(909), to: NodeId(2) });
        assert_eq!(cluster.leader_of(1), Some(2));
        let answered = cluster.answers(1);
        assert!(answered.contains(&"901 ask 2".to_owned()), "{answered:?}");
        cluster.idle.clear();
        cluster.settle();
        assert!(cluster.answers(1).iter().all(|answer| !answer.starts_with("901")), "once");
        cluster.ask(2, time_left(903, 5));
        assert_eq!(cluster.answers(2).len(), 1);
    }
}

#[test]
fn a_leader_that_nobody_confirms_revokes_nothing() {
    let mut cluster = with_lease(2);
    cluster.lost = vec![MessageKind::MsgHeartbeatResp, MessageKind::MsgAppResp];
    cluster.tick(1, 25);
    assert_eq!(cluster.member(1).revokes_written(), 0);
    cluster.lost.clear();
    cluster.tick_all(60);
    let leader = cluster.leader_of(2).unwrap();
    assert_eq!(cluster.member(leader).revokes_written(), 1, "a confirmed one does");
}

/// The revoke that a leader decided must not reach the log of its successor, who may have renewed
/// the lease meanwhile.
#[test]
fn a_revoke_of_a_deposed_leader_is_not_forwarded_to_the_next() {
    let mut cluster = with_lease(2);
    cluster.tick_all(19);
    // The confirmation arrives and is the last thing that the leader hears.
    cluster.now = cluster.now + 300;
    cluster.on(1, Event::Tick);
    while cluster.network.front().is_some_and(|message| message.to.0 != 1) {
        cluster.deliver();
    }
    let mut answers: Vec<_> = cluster.network.drain(..).collect();
    answers.retain(|message| message.to.0 == 1);
    assert!(!answers.is_empty());
    for answer in answers {
        cluster.hear(1, Event::Message(Box::new(answer)));
    }
    cluster.collect(1);
    cluster.network.clear();
    cluster.cut.insert(1);
    cluster.elect(2);
    cluster.ask(2, renew(901, 5));
    assert_eq!(cluster.answers(2), ["901 renewed 2"]);
    cluster.cut.clear();
    cluster.tick(2, 5);
    assert_eq!(cluster.leader_of(1), Some(2));
    assert_eq!(cluster.member(2).revoked(), [0_i64; 0]);
}

/// An end that was counted in an earlier term says nothing after others have led.
#[test]
fn an_end_of_an_earlier_term_is_forgotten() {
    let mut cluster = with_lease(1);
    cluster.cut.insert(1);
    cluster.tick(1, 12);
    assert_eq!(cluster.member(1).replica.status().reads, 1, "the end waits for a confirmation");
    cluster.elect(2);
    cluster.ask(2, renew(901, 5));
    assert_eq!(cluster.answers(2), ["901 renewed 1"]);
    // Member 1 leads again, while it still remembers.
    cluster.cut = [2].into();
    cluster.elect(1);
    cluster.tick(1, 2);
    assert_eq!(cluster.member(1).revokes_written(), 0);
}

#[test]
fn a_lost_revoke_is_repeated() {
    let mut cluster = with_lease(2);
    cluster.tick_all(19);
    // Nobody confirms for longer than the leader waits.
    cluster.lost = vec![MessageKind::MsgHeartbeatResp];
    cluster.tick_all(8);
    assert_eq!(cluster.member(1).revoked(), [0_i64; 0]);
    cluster.lost.clear();
    cluster.tick_all(40);
    assert_eq!(cluster.member(1).revoked().first(), Some(&5));
}

/// More leases than are revoked at one time end together, and no revoke finds its way.
#[test]
fn lost_revokes_of_many_leases_are_all_repeated() {
    let mut cluster = Cluster::led(1);
    for lease in 1..=1_500 {
        cluster.hear(1, grant(lease, lease as i64, 2));
    }
    cluster.ask(1, grant(9_000, 9_000, 600));
    assert_eq!(cluster.member(1).replica.status().leases, 1_501);
    // The store stands still: confirmations wait for it, longer than the requests' time-out.
    cluster.stalled.insert(1);
    cluster.ask(1, crate::cluster::put(9_001));
    cluster.tick_all(100);
    assert_eq!(cluster.member(1).revoked(), [0_i64; 0]);
    cluster.stalled.clear();
    cluster.tick_all(100);
    let revoked: std::collections::BTreeSet<i64> =
        cluster.member(1).revoked().into_iter().collect();
    assert_eq!(revoked.len(), 1_500);
}
