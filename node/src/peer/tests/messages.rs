//! Messages on streams and by post.

use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::peer::outbox::{Outbox, Pushed};
use crate::peer::settings::{OUTBOX_BYTES_MAX, OUTBOX_MESSAGES_MAX};

#[test]
fn streams_keep_the_order_of_messages() {
    let (a, b) = (Node::start(0xa), Node::start(0xb));
    link(&[&a, &b]);
    let data = Bytes::from(vec![7; 10_000]);
    let mut expected = (Vec::new(), Vec::new());
    for number in 0..1_000 {
        let sent = append(a.id, b.id, number, data.clone());
        expected.0.push((*sent).clone());
        a.transport.send(sent);
        let sent = message(MessageKind::MsgHeartbeat, a.id, b.id, number);
        expected.1.push((*sent).clone());
        a.transport.send(sent);
    }
    until("all messages", || b.received() == 2_000);
    let received = std::mem::take(&mut *b.ear.messages.lock());
    let (appends, others): (Vec<_>, Vec<_>) =
        received.into_iter().partition(|message| message.kind == MessageKind::MsgApp);
    assert_eq!(appends, expected.0);
    assert_eq!(others, expected.1);
    assert_eq!(a.ear.unreachable.load(Relaxed), 0);
}

#[test]
fn a_peer_that_comes_back_is_found_again() {
    let a = Node::start(0xa);
    let b = Node::start(0xb);
    let address = b.address();
    link(&[&a, &b]);
    drop(b);
    until("the loss to be seen", || !a.is_linked(0xb));
    a.transport.send(message(MessageKind::MsgHeartbeat, a.id, 0xb, 1));
    until("the loss to be told", || a.ear.unreachable.load(Relaxed) > 0);
    let b = Node::start_at(0xb, CLUSTER, &address);
    link(&[&a, &b]);
    a.transport.send(message(MessageKind::MsgHeartbeat, a.id, b.id, 2));
    until("a message", || b.received() == 1);
    let links = a.ear.links.lock().clone();
    assert_eq!(links, [(0xb, true), (0xb, false), (0xb, true)]);
}

#[test]
fn a_peer_moves_to_another_address() {
    let (a, b) = (Node::start(0xa), Node::start(0xb));
    link(&[&a, &b]);
    drop(b);
    // A message for the old address would be lost, as it may be.
    until("the loss to be known", || !a.is_linked(0xb) && !a.transport.attached(0xb));
    let b = Node::start(0xb);
    b.transport.set_peers(&[a.info()]);
    let nowhere = "http://127.0.0.1:1".to_owned();
    a.transport.set_peers(&[PeerInfo { id: b.id, urls: vec![nowhere, b.url()] }]);
    until("the new address", || a.is_linked(b.id) && a.transport.attached(b.id));
    a.transport.send(message(MessageKind::MsgHeartbeat, a.id, b.id, 2));
    until("a message", || b.received() == 1);
}

#[test]
fn messages_are_posted_while_there_is_no_stream() {
    let (a, b) = (Node::start(0xa), Node::start(0xb));
    // The one knows the other, who does not know it and refuses its streams.
    a.transport.set_peers(&[b.info()]);
    for number in 0..20 {
        a.transport.send(append(a.id, b.id, number, Bytes::from_static(b"x")));
    }
    until("all posts", || b.received() == 20);
    assert!(!a.is_linked(b.id));
    assert!(b.ear.links.lock().is_empty());
}

#[test]
fn removed_members_are_told_and_refused() {
    let (a, b) = (Node::start(0xa), Node::start(0xb));
    link(&[&a, &b]);
    b.ear.removed.lock().insert(a.id);
    b.transport.set_peers(&[]);
    until("the word", || a.ear.told_removed.load(Relaxed) == b.id);
    a.ear.told_removed.store(0, Relaxed);
    a.transport.send(message(MessageKind::MsgVote, a.id, b.id, 1));
    until("the word to a post", || a.ear.told_removed.load(Relaxed) == b.id);
    assert_eq!(b.received(), 0);
    until("the end to be told", || !b.is_linked(a.id));
}

#[test]
fn what_was_sent_to_a_member_before_its_removal_arrives() {
    let (a, b) = (Node::start(0xa), Node::start(0xb));
    link(&[&a, &b]);
    let data = Bytes::from(vec![7; 10_000]);
    for number in 0..500 {
        a.transport.send(append(a.id, b.id, number, data.clone()));
        a.transport.send(message(MessageKind::MsgHeartbeat, a.id, b.id, number));
    }
    a.ear.removed.lock().insert(b.id);
    a.transport.set_peers(&[]);
    until("all that was sent", || b.received() == 1_000);
    until("the word", || b.ear.told_removed.load(Relaxed) == a.id);
    a.transport.send(message(MessageKind::MsgHeartbeat, a.id, b.id, 500));
    assert_eq!(b.received(), 1_000, "nothing follows");
}

#[test]
fn messages_for_others_and_from_others_are_refused() {
    let (a, b) = (Node::start(0xa), Node::start(0xb));
    link(&[&a, &b]);
    let forged = message(MessageKind::MsgHeartbeat, 0xd, b.id, 1);
    let snapshot = message(MessageKind::MsgSnap, a.id, b.id, 1);
    let local = message(MessageKind::MsgHup, a.id, b.id, 1);
    let storage = message(MessageKind::MsgProp, NodeId::APPEND_THREAD.0, b.id, 1);
    for refused in [forged, snapshot, local, storage] {
        a.transport.send(refused);
    }
    let forwarded = message(MessageKind::MsgProp, 0xd, b.id, 2);
    a.transport.send(forwarded.clone());
    until("the forwarded one", || b.received() > 0);
    assert_eq!(*b.ear.messages.lock(), [*forwarded]);
}

#[test]
fn other_clusters_are_refused() {
    let (a, b) = (Node::start(0xa), Node::start_at(0xb, CLUSTER + 1, "127.0.0.1:0"));
    a.transport.set_peers(&[b.info()]);
    b.transport.set_peers(&[a.info()]);
    a.transport.send(message(MessageKind::MsgHeartbeat, a.id, b.id, 1));
    until("the refusal", || a.ear.unreachable.load(Relaxed) > 0);
    assert_eq!(b.received(), 0);
    assert!(!a.is_linked(b.id) && !b.is_linked(a.id));
    assert_eq!(a.ear.told_removed.load(Relaxed), 0);
}

#[test]
fn full_queues_drop() {
    let queue = Outbox::default();
    let small = || quorate_api::raftpb::Message::default();
    assert!(matches!(queue.push(small()), Pushed::Returned(_)), "nobody listens");
    let (ticket, lost) = queue.attach();
    assert!(!lost);
    for _ in 0..OUTBOX_MESSAGES_MAX {
        assert!(matches!(queue.push(small()), Pushed::Taken));
    }
    assert!(matches!(queue.push(small()), Pushed::Dropped));
    let (next, lost) = queue.attach();
    assert!(lost, "what waited is gone with the stream");
    assert!(!queue.detach(ticket), "an old stream takes nothing with it");
    let large = || {
        let data = Some(Bytes::from(vec![0; OUTBOX_BYTES_MAX + 1]));
        let entry = quorate_api::raftpb::Entry { data, ..Default::default() };
        quorate_api::raftpb::Message { entries: vec![entry], ..Default::default() }
    };
    assert!(matches!(queue.push(large()), Pushed::Taken), "one always fits");
    assert!(matches!(queue.push(small()), Pushed::Dropped));
    assert!(queue.detach(next));
    assert!(matches!(queue.push(small()), Pushed::Returned(_)));
}
