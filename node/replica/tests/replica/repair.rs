//! A member whose log lost what it had acknowledged.

use quorate_raft::{Entry, Index, Message, MessageKind, NodeId, Term};
use quorate_replica::{Boot, Event, Repair, Time, VoteMemory};

use crate::cluster::{Cluster, Member, boot, config, put, voter};

fn three() -> Boot {
    boot(&[voter(1), voter(2), voter(3)])
}

fn repair(last_index: u64, last_term: u64) -> Repair {
    Repair { last_index, last_term, vote: VoteMemory::Certain }
}

/// Member 3 starts again with nothing behind the first entry.
fn restart_damaged(cluster: &mut Cluster, repair: Repair) {
    let term = cluster.member(3).replica.standing().term;
    let mut boot = Boot { repair: Some(repair), ..three() };
    boot.hard_state.term = Term(term);
    let member = Member::new(config(3), boot, cluster.now);
    cluster.members.insert(3, member);
    cluster.network.clear();
}

fn vote_request(last: (u64, u64), term: u64) -> Event {
    Event::Message(Box::new(Message {
        kind: MessageKind::MsgVote,
        from: NodeId(2),
        to: NodeId(3),
        term: Term(term),
        index: Index(last.0),
        log_term: Term(last.1),
        ..Message::default()
    }))
}

/// Whether member 3 grants the vote.
fn votes(cluster: &mut Cluster, last: (u64, u64), term: u64) -> Option<bool> {
    cluster.network.clear();
    cluster.on(3, vote_request(last, term));
    cluster.persist(3);
    let vote = cluster.network.iter().find(|message| message.kind == MessageKind::MsgVoteResp);
    vote.map(|vote| !vote.reject)
}

#[test]
fn it_votes_for_those_only_who_have_what_it_lost() {
    let mut cluster = Cluster::of(3);
    restart_damaged(&mut cluster, repair(10, 2));
    assert_eq!(votes(&mut cluster, (9, 2), 5), Some(false));
    assert_eq!(votes(&mut cluster, (50, 1), 6), Some(false));
    assert_eq!(votes(&mut cluster, (10, 2), 7), Some(true));
    restart_damaged(&mut cluster, repair(10, 2));
    assert_eq!(votes(&mut cluster, (3, 3), 8), Some(true));
}

#[test]
fn it_votes_for_nobody_if_it_may_have_forgotten_a_vote() {
    let mut cluster = Cluster::of(3);
    let forgetful = Repair { vote: VoteMemory::UncertainFrom(4), ..repair(10, 2) };
    restart_damaged(&mut cluster, forgetful);
    assert_ne!(votes(&mut cluster, (90, 4), 5), Some(true));
}

#[test]
fn it_does_not_campaign() {
    let mut cluster = Cluster::of(3);
    restart_damaged(&mut cluster, repair(10, 2));
    cluster.tick(3, 60);
    assert_eq!(cluster.member(3).replica.standing().term, 1);
    assert!(cluster.member(3).take_effects().iter().all(|effect| !effect.contains("Vote")));
}

#[test]
fn the_leader_forgets_what_the_member_acknowledged_and_sends_it_again() {
    let mut cluster = Cluster::led(3);
    for request in 1..=5 {
        cluster.ask(1, put(request));
    }
    let last = cluster.member(1).replica.status().last_index;
    let term = cluster.member(1).replica.standing().term;
    restart_damaged(&mut cluster, repair(last, term));
    assert!(cluster.member(3).replica.status().is_repairing);
    cluster.stalled.insert(3);
    cluster.tick_all(5);
    let member = cluster.member(3);
    assert_eq!(member.replica.status().last_index, last, "it has everything again");
    assert!(member.replica.status().is_repairing, "but not durably");
    assert!(!member.take_effects().contains(&"repaired".to_owned()));
    cluster.stalled.clear();
    cluster.settle();
    assert!(cluster.member(3).take_effects().contains(&"repaired".to_owned()));
    assert!(!cluster.member(3).replica.status().is_repairing);
    cluster.tick_all(3);
    assert_eq!(cluster.member(3).replica.status().applied, last);
}

#[test]
fn repair_ends_while_writes_go_on() {
    let mut cluster = Cluster::led(3);
    for request in 1..=5 {
        cluster.ask(1, put(request));
    }
    let last = cluster.member(1).replica.status().last_index;
    let term = cluster.member(1).replica.standing().term;
    restart_damaged(&mut cluster, repair(last + 10, term));
    for request in 90..93 {
        cluster.ask(1, put(request));
    }
    assert!(cluster.member(3).replica.status().is_repairing);
    // The disk is never without a batch: one ends when the next is there already.
    cluster.stalled.insert(3);
    cluster.ask(1, put(99));
    for request in 100..=140 {
        cluster.ask(1, put(request));
        let batch = cluster.member(3).batches.pop_front().unwrap().batch;
        assert!(!cluster.member(3).batches.is_empty());
        cluster.on(3, Event::Persisted(batch));
    }
    assert!(!cluster.member(3).replica.status().is_repairing);
}

/// Says that member 3 lost what is behind `hint`.
fn lost_log(term: u64, hint: u64) -> Event {
    Event::Message(Box::new(Message {
        kind: MessageKind::MsgAppResp,
        from: NodeId(3),
        to: NodeId(1),
        term: Term(term),
        index: Index(hint + 1),
        reject: true,
        reject_hint: Index(hint),
        log_term: Term(1),
        context: b"quorate/lost-log".as_slice().into(),
        ..Message::default()
    }))
}

fn matched(cluster: &mut Cluster) -> u64 {
    let followers = cluster.member(1).replica.status().followers;
    followers.iter().find(|follower| follower.member == NodeId(3)).unwrap().matched
}

#[test]
fn a_leader_forgets_only_if_it_counts_on_more() {
    let mut cluster = Cluster::led(3);
    for request in 1..=5 {
        cluster.ask(1, put(request));
    }
    let term = cluster.member(1).replica.standing().term;
    let last = matched(&mut cluster);
    assert_eq!(last, 7);
    cluster.on(1, lost_log(term, last));
    assert_eq!(matched(&mut cluster), last, "it counts on no more than that");
    cluster.on(1, lost_log(term - 1, 1));
    assert_eq!(matched(&mut cluster), last, "a message of an earlier term");
    cluster.on(1, lost_log(term, 1));
    assert!(matched(&mut cluster) < last);
}

#[test]
fn a_member_that_has_everything_is_repaired_at_once() {
    let entries =
        (2..=4).map(|index| Entry { index: Index(index), term: Term(1), ..Entry::default() });
    let boot = Boot { repair: Some(repair(4, 1)), entries: entries.collect(), ..three() };
    let member = Member::new(config(3), boot, Time(0));
    assert!(!member.replica.status().is_repairing);
}
