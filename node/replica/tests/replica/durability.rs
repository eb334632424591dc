//! What must be durable first.

use bytes::Bytes;
use quorate_raft::{
    ConfState, Index, Message, MessageKind, NodeId, Snapshot, SnapshotMetadata, Term,
};
use quorate_replica::{BatchId, Event, Facts};

use crate::cluster::{BASE, Cluster, put, read, voter};

#[test]
fn a_lone_member_applies_and_answers_nothing_before_its_own_sync() {
    let mut cluster = Cluster::led(1);
    cluster.member(1).take_effects();
    cluster.on(1, put(900));
    assert_eq!(cluster.member(1).take_effects(), ["persist 3 [3]"]);
    cluster.on(1, Event::Tick);
    assert_eq!(cluster.member(1).take_effects(), [""; 0], "nothing before the sync");
    cluster.persist(1);
    assert_eq!(cluster.member(1).take_effects(), ["apply [3]"]);
}

#[test]
fn a_leader_sends_at_once_and_a_follower_acknowledges_after_its_batch() {
    let mut cluster = Cluster::led(3);
    for id in 1..=3 {
        cluster.member(id).take_effects();
    }
    cluster.on(1, put(900));
    let sent = cluster.member(1).take_effects();
    assert!(sent.contains(&"send MsgApp to 2 now".to_owned()), "{sent:?}");
    while cluster.deliver() {}
    let follower = cluster.member(2).take_effects();
    let batch = cluster.member(2).batches.back().unwrap().batch.0;
    assert_eq!(
        follower,
        [format!("persist {batch} [3]"), format!("send MsgAppResp to 1 after {batch}")]
    );
    assert!(cluster.network.is_empty(), "no acknowledgement has left");
    cluster.persist(2);
    assert_eq!(cluster.network.front().map(|message| message.kind), Some(MessageKind::MsgAppResp));
}

#[test]
fn a_vote_waits_for_its_batch() {
    let mut cluster = Cluster::of(3);
    cluster.stalled.insert(2);
    cluster.cut.insert(3);
    cluster.tick(1, 30);
    let effects = cluster.member(2).take_effects();
    assert!(
        effects.iter().any(|effect| effect.starts_with("send MsgVoteResp to 1 after ")),
        "{effects:?}"
    );
    assert_ne!(cluster.leader_of(1), Some(1));
    cluster.stalled.clear();
    cluster.settle();
    assert_eq!(cluster.leader_of(1), Some(1));
}

#[test]
fn a_commit_alone_is_not_written() {
    let mut cluster = Cluster::led(3);
    cluster.ask(1, put(900));
    cluster.member(2).take_effects();
    let before = cluster.member(2).durable;
    cluster.tick_all(3);
    let follower = cluster.member(2);
    assert_eq!(follower.durable, before);
    let effects = follower.take_effects();
    assert!(effects.iter().all(|effect| !effect.starts_with("persist")), "{effects:?}");
    assert_eq!(follower.last_applied.0, 3, "and yet it knows the commit");
}

/// A snapshot message of a leader in term 5.
fn snapshot(index: u64) -> Event {
    let metadata = SnapshotMetadata {
        conf_state: ConfState::new((1..=3).map(NodeId).collect(), Vec::new()),
        index: Index(index),
        term: Term(5),
    };
    Event::Message(Box::new(Message {
        kind: MessageKind::MsgSnap,
        from: NodeId(1),
        to: NodeId(2),
        term: Term(5),
        snapshot: Some(Snapshot { metadata, data: Bytes::new() }),
        ..Message::default()
    }))
}

fn append(after: u64) -> Event {
    let entry = quorate_raft::Entry {
        term: Term(5),
        index: Index(after + 1),
        ..quorate_raft::Entry::default()
    };
    Event::Message(Box::new(Message {
        kind: MessageKind::MsgApp,
        from: NodeId(1),
        to: NodeId(2),
        term: Term(5),
        log_term: Term(5),
        index: Index(after),
        entries: vec![entry],
        commit: Index(after),
        ..Message::default()
    }))
}

fn facts() -> Facts {
    Facts { members: (1..=3).map(voter).collect(), ..Facts::default() }
}

#[test]
fn a_snapshot_is_acknowledged_after_its_installation_and_its_mark() {
    let mut cluster = Cluster::of(3);
    cluster.on(2, snapshot(50));
    let held = cluster.member(2).take_effects();
    assert!(held.contains(&"install 50".to_owned()), "{held:?}");
    assert!(held.iter().all(|effect| !effect.starts_with("persist")), "{held:?}");
    assert!(held.iter().any(|effect| effect.starts_with("send MsgAppResp to 1 after")), "{held:?}");

    // What comes behind it is held behind it.
    cluster.on(2, append(50));
    let held = cluster.member(2).take_effects();
    assert!(held.iter().all(|effect| !effect.starts_with("persist")), "{held:?}");
    assert!(cluster.network.is_empty());

    // Installed: now the log hears of it, in the order of the batches.
    cluster.on(2, Event::SnapshotInstalled { index: 50, facts: facts() });
    let freed = cluster.member(2).take_effects();
    assert_eq!(freed, ["persist 1 mark 50 []", "persist 2 [51]"]);
    assert!(cluster.network.is_empty(), "no acknowledgement before the mark is durable");
    cluster.persist(2);
    assert!(cluster.network.iter().any(|message| message.index == Index(50)));
    assert_eq!(cluster.member(2).replica.status().applied, 50);
}

#[test]
fn a_newer_snapshot_keeps_the_batches_of_the_older_one_waiting() {
    let mut cluster = Cluster::of(3);
    cluster.on(2, snapshot(50));
    cluster.on(2, snapshot(80));
    cluster.member(2).take_effects();
    cluster.on(2, Event::SnapshotInstalled { index: 50, facts: facts() });
    assert_eq!(cluster.member(2).take_effects(), [""; 0]);
    cluster.on(2, Event::SnapshotInstalled { index: 80, facts: facts() });
    assert_eq!(cluster.member(2).take_effects(), ["persist 1 mark 50 []", "persist 2 mark 80 []"]);
}

#[test]
fn a_read_goes_on_when_a_snapshot_brings_what_it_waits_for() {
    let mut cluster = Cluster::led(3);
    cluster.idle.insert(2);
    cluster.ask(1, put(900));
    cluster.ask(2, read(901));
    assert_eq!(cluster.answers(2), [""; 0]);
    cluster.hear(2, Event::SnapshotInstalled { index: 3, facts: facts() });
    cluster.collect(2);
    assert_eq!(cluster.answers(2), ["901 read"]);
}

#[test]
fn what_is_durable_already_is_not_waited_for() {
    let mut cluster = Cluster::led(3);
    cluster.ask(1, put(900));
    cluster.member(2).take_effects();
    // A probe below what it has: the answer tells of nothing new.
    let probe = Message {
        kind: MessageKind::MsgApp,
        from: NodeId(1),
        to: NodeId(2),
        term: Term(2),
        log_term: Term(1),
        index: Index(BASE),
        ..Message::default()
    };
    cluster.on(2, Event::Message(Box::new(probe)));
    assert_eq!(cluster.member(2).take_effects(), ["send MsgAppResp to 1 now"]);
    assert_eq!(cluster.member(2).batches.back().map(|batch| batch.batch), None::<BatchId>);
}
