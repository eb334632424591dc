//! Which changes of the membership are refused.

use quorate_raft::{ConfChange, EntryKind, NodeId};
use quorate_replica::{Event, MemberFact, MembershipChange, Presence, RequestId};

use crate::cluster::{Cluster, config, context, learner, put, voter};

fn ask(cluster: &mut Cluster, change: MembershipChange) -> Vec<String> {
    ask_of(cluster, 1, change)
}

fn ask_of(cluster: &mut Cluster, id: u64, change: MembershipChange) -> Vec<String> {
    cluster.answers(id);
    cluster.on(id, Event::ChangeMembership { request: RequestId(900), change });
    cluster.answers(id)
}

fn add_voter(member: u64) -> MembershipChange {
    MembershipChange::AddVoter { member: NodeId(member), context: context() }
}

fn add_learner(member: u64) -> MembershipChange {
    MembershipChange::AddLearner { member: NodeId(member), context: context() }
}

fn promote(member: u64) -> MembershipChange {
    MembershipChange::Promote { member: NodeId(member), context: context() }
}

fn remove(member: u64) -> MembershipChange {
    MembershipChange::Remove { member: NodeId(member) }
}

fn unstarted(member: u64) -> MemberFact {
    MemberFact { presence: Presence::Unstarted, ..voter(member) }
}

/// A cluster with these members that member 1 leads.
fn led(facts: &[MemberFact]) -> Cluster {
    let mut cluster = Cluster::with(facts, config);
    cluster.elect(1);
    cluster
}

fn disconnect(cluster: &mut Cluster, peer: u64) {
    cluster.on(1, Event::PeerDisconnected(NodeId(peer)));
}

const NONE: [&str; 0] = [];

fn changes_written(cluster: &mut Cluster, id: u64) -> usize {
    let written = &cluster.member(id).written;
    written.iter().filter(|entry| entry.kind == EntryKind::ConfChange).count()
}

#[test]
fn a_change_waits_until_the_leader_has_applied_the_one_before() {
    for asked in [1, 2] {
        let mut cluster = led(&[voter(1), voter(2), voter(3)]);
        cluster.idle.insert(1);
        assert_eq!(ask_of(&mut cluster, 2, add_learner(8)), NONE);
        cluster.settle();
        assert_eq!(changes_written(&mut cluster, 1), 1);
        for member in [8, 9] {
            assert_eq!(ask_of(&mut cluster, asked, remove(member)), NONE);
        }
        cluster.settle();
        assert_eq!(changes_written(&mut cluster, 1), 1, "asked of {asked}: not before its turn");
        cluster.idle.clear();
        cluster.settle();
        assert_eq!(changes_written(&mut cluster, 1), 3, "asked of {asked}: all, one by one");
    }
}

#[test]
fn a_change_that_waits_goes_to_the_next_leader() {
    let mut cluster = led(&[voter(1), voter(2), voter(3)]);
    cluster.idle.insert(1);
    ask_of(&mut cluster, 2, add_learner(8));
    cluster.settle();
    ask_of(&mut cluster, 2, remove(8));
    cluster.settle();
    cluster.elect(3);
    cluster.settle();
    assert_eq!(changes_written(&mut cluster, 3), 2);
}

#[test]
fn a_voter_is_added_when_enough_have_started() {
    assert_eq!(ask(&mut led(&[voter(1)]), add_voter(9)), NONE, "one may become two");
    assert_eq!(ask(&mut led(&[voter(1), voter(2)]), add_voter(9)), NONE);
    let facts = [voter(1), unstarted(2)];
    assert_eq!(ask(&mut led(&facts), add_voter(9)), ["900 fails MemberNotEnoughStarted"]);
}

#[test]
fn a_member_is_added_when_a_quorum_with_it_has_been_connected_for_long() {
    let mut cluster = led(&[voter(1), voter(2), voter(3)]);
    disconnect(&mut cluster, 3);
    assert_eq!(ask(&mut cluster, add_voter(9)), ["900 fails Unhealthy"]);
    cluster.on(1, Event::PeerConnected(NodeId(3)));
    cluster.now = cluster.now + 4_999;
    assert_eq!(ask(&mut cluster, add_voter(9)), ["900 fails Unhealthy"]);
    cluster.now = cluster.now + 1;
    assert_eq!(ask(&mut cluster, add_voter(9)), NONE);
}

#[test]
fn who_is_away_keeps_nobody_from_being_added_if_enough_are_there() {
    for (voters, away, answer) in [
        (4, 1, &[][..]),
        (5, 1, &[]),
        (5, 2, &["900 fails Unhealthy"]),
        (4, 2, &["900 fails Unhealthy"]),
        (2, 1, &["900 fails Unhealthy"]),
    ] {
        let facts: Vec<_> = (1..=voters).map(voter).collect();
        for add in [add_voter, add_learner] {
            let mut cluster = led(&facts);
            for peer in 2..2 + away {
                disconnect(&mut cluster, peer);
            }
            assert_eq!(ask(&mut cluster, add(9)), answer, "{away} of {voters} are away");
        }
    }
}

#[test]
fn learners_have_a_limit_and_are_added_to_healthy_clusters() {
    let mut cluster = led(&[voter(1), voter(2), voter(3)]);
    disconnect(&mut cluster, 3);
    assert_eq!(ask(&mut cluster, add_learner(9)), ["900 fails Unhealthy"]);
    let mut cluster = led(&[voter(1), voter(2), voter(3)]);
    assert_eq!(ask(&mut cluster, add_learner(9)), NONE);
    let mut cluster = led(&[voter(1), learner(2)]);
    assert_eq!(ask(&mut cluster, add_learner(9)), ["900 fails TooManyLearners"]);
}

#[test]
fn a_learner_that_has_the_log_is_promoted_by_the_leader() {
    let facts = [voter(1), learner(2)];
    let mut cluster = led(&facts);
    cluster.settle();
    assert_eq!(ask(&mut cluster, promote(3)), ["900 fails MemberNotFound"]);
    assert_eq!(ask(&mut cluster, promote(1)), ["900 fails MemberNotLearner"]);
    assert_eq!(ask_of(&mut cluster, 2, promote(2)), ["900 ask 1"]);
    assert_eq!(ask(&mut cluster, promote(2)), NONE);

    // Below nine tenths it is not.
    let mut cluster = led(&facts);
    cluster.cut.insert(2);
    for request in 1..=30 {
        cluster.ask(1, put(request));
    }
    assert_eq!(ask(&mut cluster, promote(2)), ["900 fails LearnerNotReady"]);

    let mut leaderless = Cluster::with(&[voter(1), voter(3), learner(2)], config);
    assert_eq!(ask(&mut leaderless, promote(2)), ["900 fails NoLeader"]);
    let facts = [voter(1), unstarted(3), unstarted(4), unstarted(5), learner(2)];
    let mut leaderless = Cluster::with(&facts, config);
    assert_eq!(ask(&mut leaderless, promote(2)), ["900 fails MemberNotEnoughStarted"]);
}

#[test]
fn a_voter_is_removed_when_a_quorum_of_the_rest_is_there() {
    assert_eq!(ask(&mut led(&[voter(1), voter(2), voter(3)]), remove(3)), NONE);
    assert_eq!(ask(&mut led(&[voter(1)]), remove(1)), ["900 fails MemberNotEnoughStarted"]);
    let facts = [voter(1), voter(2), unstarted(3)];
    assert_eq!(ask(&mut led(&facts), remove(3)), NONE, "who never started is no loss");
    assert_eq!(ask(&mut led(&facts), remove(2)), ["900 fails MemberNotEnoughStarted"]);

    let mut cluster = led(&[voter(1), voter(2), voter(3)]);
    disconnect(&mut cluster, 3);
    assert_eq!(ask(&mut cluster, remove(2)), ["900 fails Unhealthy"]);
    assert_eq!(ask(&mut cluster, remove(3)), NONE, "who is away takes nothing from the quorum");
    let mut cluster = led(&[voter(1), voter(2), learner(3)]);
    disconnect(&mut cluster, 2);
    assert_eq!(ask(&mut cluster, remove(3)), NONE, "a learner is no part of it");
}

#[test]
fn without_strictness_only_what_makes_no_sense_is_refused() {
    let facts = [voter(1), voter(2), voter(3)];
    let lax = |id| quorate_replica::Config { strict_reconfiguration: false, ..config(id) };
    for change in [add_voter(9), add_learner(9), remove(2)] {
        let mut cluster = Cluster::with(&facts, lax);
        cluster.elect(1);
        disconnect(&mut cluster, 3);
        assert_eq!(ask(&mut cluster, change), NONE);
    }
}

#[test]
fn an_accepted_change_is_an_entry_with_the_request_s_name() {
    let mut cluster = led(&[voter(1)]);
    ask(&mut cluster, add_learner(9));
    let entry = cluster.member(1).batches.back().unwrap().entries[0].clone();
    assert_eq!(entry.kind, EntryKind::ConfChange);
    let change = ConfChange::decode(&entry.data).unwrap();
    assert_eq!((change.id, change.node_id, change.context), (900, NodeId(9), context()));
    cluster.settle();
    let followers = cluster.member(1).replica.status().followers;
    assert_eq!(followers.len(), 2, "Raft knows it: {followers:?}");
}

#[test]
fn a_member_that_removes_itself_stops() {
    let mut cluster = led(&[voter(1), voter(2), voter(3)]);
    cluster.settle();
    ask(&mut cluster, remove(1));
    cluster.settle();
    cluster.tick(1, 2);
    let effects = cluster.member(1).take_effects();
    assert_eq!(effects.last().unwrap(), "halt Removed");
    cluster.elect(2);
}
