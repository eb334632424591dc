//! What the log in memory keeps, and what followers are given that are behind it.

use quorate_raft::{ConfState, Index, NodeId, SnapshotMetadata, Term};
use quorate_replica::{Config, Event, SnapshotOutcome};

use crate::cluster::{Cluster, config, put, voter};

fn write(cluster: &mut Cluster, count: u64) {
    for request in 1..=count {
        cluster.ask(1, put(request));
    }
}

/// Member 1 leads three, and member 3 is so far behind that it needs a snapshot.
fn with_laggard() -> Cluster {
    let mut cluster = Cluster::led(3);
    cluster.cut.insert(3);
    write(&mut cluster, 60);
    cluster.cut.clear();
    cluster.member(1).take_effects();
    cluster
}

fn pin(cluster: &mut Cluster) -> u64 {
    let (index, term) = cluster.member(1).last_applied;
    let conf_state = ConfState::new((1..=3).map(NodeId).collect(), Vec::new());
    let metadata = SnapshotMetadata { conf_state, index: Index(index), term: Term(term) };
    cluster.on(1, Event::SnapshotPinned(metadata));
    index
}

fn count(effects: &[String], wanted: &str) -> usize {
    effects.iter().filter(|effect| *effect == wanted).count()
}

#[test]
fn the_log_is_cut_after_enough_entries_and_keeps_some_for_those_who_lag() {
    let mut cluster = Cluster::led(1);
    write(&mut cluster, 24);
    assert_eq!(cluster.member(1).replica.status().first_index, 2);
    write(&mut cluster, 1);
    let status = cluster.member(1).replica.status();
    assert_eq!((status.applied, status.first_index), (27, 23));
}

#[test]
fn the_log_is_cut_earlier_when_it_takes_too_many_bytes() {
    let small = |id| Config { log_bytes_max: 500, ..config(id) };
    let mut cluster = Cluster::with(&[voter(1)], small);
    cluster.elect(1);
    write(&mut cluster, 15);
    let status = cluster.member(1).replica.status();
    assert!(status.log_bytes <= 500, "{status:?}");
    assert!(status.first_index > 2);
}

/// As after a start, when the first thing that is applied finds the log of a former life.
#[test]
fn the_log_is_cut_far_enough_at_once() {
    let small = |id| Config { log_bytes_max: 500, ..config(id) };
    let mut cluster = Cluster::with(&[voter(1)], small);
    cluster.elect(1);
    for request in 1..=60 {
        cluster.hear(1, put(request));
    }
    cluster.collect(1);
    cluster.settle();
    let status = cluster.member(1).replica.status();
    assert_eq!(status.applied, 62, "{status:?}");
    assert!(status.log_bytes <= 500, "{status:?}");
}

#[test]
fn the_log_on_disk_goes_as_far_as_the_store_says() {
    let mut cluster = Cluster::led(1);
    cluster.member(1).take_effects();
    cluster.on(1, Event::Checkpointed { index: 2 });
    assert_eq!(cluster.member(1).take_effects(), ["release log 2"]);
}

#[test]
fn a_follower_behind_the_log_gets_a_snapshot_and_then_entries() {
    let mut cluster = with_laggard();
    cluster.tick_all(3);
    assert_eq!(count(&cluster.member(1).take_effects(), "pin"), 1, "asked once");
    let index = pin(&mut cluster);
    // On offer: the log stays behind it whatever comes.
    for request in 100..=160 {
        cluster.on(1, put(request));
        cluster.persist(1);
        while cluster.network.front().is_some_and(|message| message.to.0 != 3) {
            cluster.deliver();
        }
    }
    cluster.tick_all(3);
    let effects = cluster.member(1).take_effects();
    assert_eq!(count(&effects, "snapshot to 3"), 1, "{effects:?}");
    assert_eq!(cluster.member(1).replica.status().first_index, index + 1);

    let metadata = cluster.member(3).installs.pop_front().unwrap();
    assert_eq!(metadata.index.0, index);
    let facts = quorate_replica::Facts {
        members: (1..=3).map(voter).collect(),
        ..quorate_replica::Facts::default()
    };
    cluster.on(3, Event::SnapshotInstalled { index, facts });
    cluster.on(1, Event::SnapshotSent { to: NodeId(3), outcome: SnapshotOutcome::Finished });
    cluster.settle();
    cluster.tick_all(3);
    let applied = cluster.member(1).replica.status().applied;
    assert_eq!(cluster.member(3).replica.status().applied, applied);

    // Nobody is sent to any more: the offer ends, and the log is cut again.
    cluster.tick_all(300);
    assert_eq!(count(&cluster.member(1).take_effects(), "unpin"), 1);
    cluster.ask(1, put(999));
    assert!(cluster.member(1).replica.status().first_index > index + 1);
}

#[test]
fn an_offer_that_nobody_takes_ends() {
    let mut cluster = with_laggard();
    cluster.tick_all(3);
    cluster.cut.insert(3);
    pin(&mut cluster);
    cluster.member(1).take_effects();
    cluster.tick_all(2);
    let outcome = SnapshotOutcome::Failed;
    cluster.on(1, Event::SnapshotSent { to: NodeId(3), outcome });
    cluster.on(1, Event::PeerDisconnected(NodeId(3)));
    cluster.tick_all(302);
    assert_eq!(count(&cluster.member(1).take_effects(), "unpin"), 1);
}

#[test]
fn an_offer_whose_receiver_never_finishes_ends_all_the_same() {
    let mut cluster = with_laggard();
    cluster.tick_all(3);
    pin(&mut cluster);
    cluster.tick_all(3);
    let effects = cluster.member(1).take_effects();
    assert_eq!(count(&effects, "snapshot to 3"), 1);
    cluster.tick_all(5_900);
    assert_eq!(count(&cluster.member(1).take_effects(), "unpin"), 0);
    cluster.tick_all(110);
    assert_eq!(count(&cluster.member(1).take_effects(), "unpin"), 1);
}
