//! A member whose log lost what it had acknowledged.

use quorate_raft::{Entry, Index, Message, MessageKind, NodeId, Term};
use quorate_replica::{Boot, Event, Repair, Time};

use crate::cluster::{Cluster, Member, boot, config, put, voter};

fn three() -> Boot {
    boot(&[voter(1), voter(2), voter(3)])
}

fn repair(last_index: u64, last_term: u64) -> Repair {
    Repair { last_index, last_term }
}

/// Member 3 starts again with nothing behind the first entry.
fn restart_damaged(cluster: &mut Cluster, repair: Repair) {
    restart(cluster, 3, Some(repair));
    cluster.network.clear();
}

/// A member starts again with nothing behind the first entry, and what it writes down of that.
fn restart(cluster: &mut Cluster, id: u64, repair: Option<Repair>) {
    let term = cluster.member(id).replica.standing().term;
    let mut boot = Boot { repair, ..three() };
    boot.hard_state.term = Term(term);
    let member = Member::new(config(id), boot, cluster.now);
    cluster.members.insert(id, member);
    for peer in (1..=3).filter(|peer| *peer != id) {
        cluster.on(id, Event::PeerConnected(NodeId(peer)));
    }
}

/// Member 3 starts again without knowing where its log ended.
fn restart_without_end(cluster: &mut Cluster) -> u64 {
    let (repair, term) = Repair::of_lost_end(cluster.member(3).replica.standing().term);
    let mut boot = Boot { repair: Some(repair), ..three() };
    boot.hard_state.term = Term(term);
    let member = Member::new(config(3), boot, cluster.now);
    cluster.members.insert(3, member);
    cluster.network.clear();
    term
}

/// Whether every member has the same and takes part in everything.
fn are_whole(cluster: &mut Cluster) -> bool {
    let ends: Vec<(u64, bool)> = (1..=3)
        .map(|id| cluster.member(id).replica.status())
        .map(|status| (status.applied, status.is_repairing))
        .collect();
    ends.iter().all(|(applied, is_repairing)| *applied == ends[0].0 && !is_repairing)
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
fn one_that_lost_its_end_votes_for_those_only_who_were_led_without_it() {
    let mut cluster = Cluster::of(3);
    let term = restart_without_end(&mut cluster);
    assert_ne!(votes(&mut cluster, (90, 4), 5), Some(true), "of a term that it may have voted in");
    assert_eq!(votes(&mut cluster, (90, 4), term + 1), Some(false), "nor later");
    assert_eq!(votes(&mut cluster, (90, term), term + 2), Some(false));
    assert_eq!(votes(&mut cluster, (2, term + 1), term + 3), Some(true));
}

#[test]
fn a_leader_gives_way_to_one_that_is_elected_without_the_member_that_lost_its_end() {
    let mut cluster = Cluster::led(3);
    for request in 1..=5 {
        cluster.ask(1, put(request));
    }
    let before = cluster.member(1).replica.standing().term;
    let lost = restart_without_end(&mut cluster);
    assert!(lost > before);
    cluster.tick_all(60);
    assert!(are_whole(&mut cluster));
    let standing = cluster.member(3).replica.standing();
    assert!(standing.leader.is_some() && standing.term > lost, "{standing:?}");
}

#[test]
fn of_three_two_are_under_repair_and_the_third_leads_whoever_starts_again() {
    for again in [[1, 2], [2, 3], [3, 1]] {
        let mut cluster = Cluster::led(3);
        for request in 1..=5 {
            cluster.ask(1, put(request));
        }
        let last = cluster.member(1).replica.status().last_index;
        let repair = repair(last, cluster.member(1).replica.standing().term);
        for _ in 0..2 {
            // In the middle of it, and when the last entry has come but not the end of the repair.
            for id in again {
                restart(&mut cluster, id, Some(repair));
            }
            cluster.tick_all(1);
        }
        cluster.tick_all(60);
        assert!(are_whole(&mut cluster), "{again:?}");
        let leader = cluster.member(1).replica.standing().leader.unwrap();
        cluster.ask(leader.0, put(90));
        cluster.tick_all(3);
        assert!(cluster.member(2).replica.status().applied > last, "{again:?}");
    }
}

#[test]
fn an_end_that_is_lost_without_a_word_is_seen_by_what_the_leader_counts_on() {
    let mut cluster = Cluster::led(3);
    for request in 1..=5 {
        cluster.ask(1, put(request));
    }
    let before = cluster.member(1).replica.standing().term;
    restart(&mut cluster, 3, None);
    cluster.member(3).take_effects();
    cluster.stalled.insert(3);
    cluster.tick_all(2);
    let effects = cluster.member(3).take_effects();
    let begun = effects.iter().position(|effect| effect == "under repair").unwrap();
    let written = effects.iter().rposition(|effect| effect.starts_with("persist")).unwrap();
    assert!(begun < written, "{effects:?}");
    let batch = cluster.member(3).batches.back().unwrap().hard_state.unwrap();
    assert!(batch.term.0 > before + 1_000_000 && batch.vote == NodeId::NONE, "{batch:?}");
    cluster.stalled.clear();
    cluster.tick_all(60);
    assert!(are_whole(&mut cluster));
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
