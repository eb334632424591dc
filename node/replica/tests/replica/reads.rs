//! Linearizable reads.

use std::collections::BTreeSet;

use quorate_raft::{Index, Message, MessageKind, NodeId};
use quorate_replica::Event;

use crate::cluster::{Cluster, put, read};

/// The contexts of the confirmations that a leader asks for now.
fn contexts(cluster: &Cluster) -> BTreeSet<Vec<u8>> {
    let asks = cluster.network.iter().filter(|message| !message.context.is_empty());
    asks.map(|message| message.context.to_vec()).collect()
}

#[test]
fn reads_that_wait_together_share_one_confirmation() {
    let mut cluster = Cluster::led(3);
    cluster.network.clear();
    for request in 1..=50 {
        cluster.hear(1, read(request));
    }
    cluster.collect(1);
    assert_eq!(contexts(&cluster).len(), 1);
    assert_eq!(cluster.answers(1), [""; 0]);
    cluster.settle();
    assert_eq!(cluster.answers(1).len(), 50);
    assert_eq!(cluster.member(1).replica.status().reads, 0);
}

#[test]
fn a_lone_member_confirms_itself() {
    let mut cluster = Cluster::led(1);
    cluster.ask(1, read(900));
    assert_eq!(cluster.answers(1), ["900 read"]);
}

#[test]
fn a_read_waits_until_the_store_has_what_was_committed() {
    let mut cluster = Cluster::led(3);
    cluster.idle.insert(2);
    cluster.ask(1, put(900));
    cluster.ask(2, read(901));
    assert_eq!(cluster.answers(2), [""; 0]);
    cluster.idle.clear();
    cluster.settle();
    assert_eq!(cluster.answers(2), ["901 read"]);
}

#[test]
fn a_retry_has_a_new_context_and_the_late_answer_of_the_old_one_does_nothing() {
    let mut cluster = Cluster::led(3);
    cluster.lost = vec![MessageKind::MsgReadIndex];
    cluster.ask(2, read(900));
    let first = Message {
        kind: MessageKind::MsgReadIndexResp,
        from: NodeId(1),
        to: NodeId(2),
        term: quorate_raft::Term(cluster.member(2).replica.standing().term),
        index: Index(2),
        ..Message::default()
    };
    let mut contexts = BTreeSet::new();
    for _ in 0..30 {
        cluster.now = cluster.now + 100;
        cluster.on(1, Event::Tick);
        cluster.settle();
        cluster.on(2, Event::Tick);
        let asked = cluster.network.iter().filter(|m| m.kind == MessageKind::MsgReadIndex);
        for message in asked {
            let data = &message.entries[0].data;
            assert!(contexts.insert(data.to_vec()), "a context is used twice");
        }
        cluster.settle();
    }
    assert!((5..=7).contains(&contexts.len()), "every 500 ms: {}", contexts.len());
    let (oldest, newest) = (contexts.first().unwrap().clone(), contexts.last().unwrap().clone());
    let answer = |data: Vec<u8>| {
        let entries = vec![quorate_raft::Entry::normal(data)];
        Event::Message(Box::new(Message { entries, ..first.clone() }))
    };
    cluster.on(2, answer(oldest));
    assert_eq!(cluster.answers(2), [""; 0]);
    cluster.on(2, answer(newest));
    assert_eq!(cluster.answers(2), ["900 read"]);
}

#[test]
fn the_error_says_what_a_read_waited_for() {
    // For a quorum.
    let mut cluster = Cluster::led(3);
    cluster.cut.insert(1);
    cluster.ask(1, read(900));
    cluster.tick(1, 69);
    assert_eq!(cluster.answers(1), [""; 0]);
    cluster.tick(1, 1);
    assert_eq!(cluster.answers(1), ["900 fails Timeout"]);

    // For the store.
    let mut cluster = Cluster::led(3);
    cluster.idle.insert(1);
    cluster.ask(1, put(900));
    cluster.ask(1, read(901));
    cluster.tick_all(70);
    assert!(cluster.answers(1).contains(&"901 fails TimeoutWaitAppliedIndex".to_owned()));
    cluster.idle.clear();
    cluster.settle();
    assert_eq!(cluster.answers(1), [""; 0], "answered once");
}

#[test]
fn a_read_that_was_asked_of_a_deposed_leader_is_asked_of_the_next() {
    let mut cluster = Cluster::led(3);
    cluster.cut.insert(1);
    cluster.ask(1, read(900));
    cluster.tick(1, 30);
    cluster.elect(2);
    assert_eq!(cluster.answers(1), [""; 0]);
    cluster.cut.clear();
    cluster.tick_all(8);
    assert_eq!(cluster.answers(1), ["900 read"]);
}
