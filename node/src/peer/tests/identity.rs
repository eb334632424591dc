//! Who is heard, and who is not.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use quorate_api::peer::IDENTITY_HEADER;

use super::answers::ask;
use super::*;
use crate::member::Ids;
use crate::peer::client::{self, Introduced};

/// `a` knows `b` at its third start; then `b` is gone. Where it was.
fn acquainted() -> (Node, String) {
    let a = Node::start(0xa);
    let b = Node::start_as(0xb, CLUSTER, "127.0.0.1:0", book(7, 3));
    let address = b.address();
    link(&[&a, &b]);
    until("both to be accepted", || {
        a.ear.accepted_by.lock().contains(&b.id) && b.ear.accepted_by.lock().contains(&a.id)
    });
    drop(b);
    until("the loss to be seen", || !a.is_linked(0xb));
    (a, address)
}

/// Whoever comes back so is refused as asker, and not heard as answerer.
fn is_refused(coming_back: Book, is_expected: impl Fn(&Doubt) -> bool) {
    let (a, address) = acquainted();
    let b = Node::start_as(0xb, CLUSTER, &address, coming_back);
    b.transport.set_peers(&[a.info()]);
    until("the refusal", || !b.ear.refused_by.lock().is_empty());
    let (by, why) = b.ear.refused_by.lock()[0].clone();
    assert_eq!(by, a.id);
    let doubts = a.ear.doubted.lock().clone();
    assert!(doubts.iter().all(|(of, doubt)| *of == b.id && is_expected(doubt)), "{doubts:?}");
    assert_eq!(doubts[0].1.to_string(), why);
    // Asked at its address, it is not heard either; and what is for it goes nowhere.
    let before = a.ear.doubted.lock().len();
    until("its answers to be doubted", || a.ear.doubted.lock().len() > before + 2);
    let heard = b.received();
    for number in 0..5 {
        a.transport.send(message(MessageKind::MsgVote, a.id, b.id, number));
        b.transport.send(message(MessageKind::MsgVoteResp, b.id, a.id, number));
    }
    until("the losses", || {
        a.ear.unreachable.load(Relaxed) > 0 && b.ear.unreachable.load(Relaxed) > 0
    });
    assert_eq!((a.received(), b.received()), (0, heard));
    assert!(!a.is_linked(b.id));
}

#[test]
fn another_directory_an_older_one_and_a_copy_are_refused() {
    is_refused(book(8, 1), |doubt| *doubt == Doubt::OtherDirectory);
    is_refused(book(7, 2), |doubt| *doubt == Doubt::OlderDirectory { claimed: 2, known: 3 });
    let mut copy = book(7, 2);
    copy.begin(33);
    copy.begin(44);
    is_refused(copy, |doubt| *doubt == Doubt::Copy { boot: 3 });
}

#[test]
fn who_is_started_anew_is_heard() {
    let (a, address) = acquainted();
    let b = Node::start_as(0xb, CLUSTER, &address, book(7, 4));
    link(&[&a, &b]);
    b.transport.send(message(MessageKind::MsgHeartbeat, b.id, a.id, 2));
    until("a message", || a.received() == 1);
    assert_eq!((a.ear.doubted.lock().len(), b.ear.refused_by.lock().len()), (0, 0));
    assert_eq!(a.ear.book.lock().peer(b.id).map(|peer| peer.boot), Some(4));
}

/// The answer to a request of a member that claims this.
fn introduce(to: &Node, from: u64, claim: &Claim) -> Introduced {
    let ids = Ids { cluster: CLUSTER, member: from };
    let headers = client::introduction(ids, &[], claim);
    ask(client::introduce(&Dialer::default(), &[to.url()], &headers, PATIENCE)).unwrap()
}

#[test]
fn a_second_process_is_put_off_while_the_first_is_connected() {
    let (a, b) = (Node::start(0xa), Node::start_as(0xb, CLUSTER, "127.0.0.1:0", book(7, 3)));
    link(&[&a, &b]);
    assert_eq!(introduce(&a, b.id, &book(7, 4).claim(None)), Introduced::Connected);
    // Nobody knows of it: the first one goes on, and another start of it is heard.
    b.transport.send(message(MessageKind::MsgHeartbeat, b.id, a.id, 2));
    until("a message", || a.received() == 1);
    let address = b.address();
    drop(b);
    until("the loss to be seen", || !a.is_linked(0xb));
    // Who introduces itself is not remembered: another peer may refuse it.
    let mut copy = book(7, 3);
    copy.begin(44);
    assert_eq!(introduce(&a, 0xb, &copy.claim(None)), Introduced::Heard);
    let b = Node::start_as(0xb, CLUSTER, &address, book(7, 4));
    link(&[&a, &b]);
    assert_eq!(introduce(&a, b.id, &book(7, 4).claim(None)), Introduced::Heard);
}

#[test]
fn what_cannot_be_written_down_is_not_heard_until_it_can() {
    let (a, b) = (Node::start(0xa), Node::start(0xb));
    a.ear.can_remember.store(false, Relaxed);
    let peers = [a.info(), b.info()];
    for node in [&a, &b] {
        node.transport.set_peers(&peers);
    }
    b.transport.send(message(MessageKind::MsgHeartbeat, b.id, a.id, 1));
    until("it to be lost", || b.ear.unreachable.load(Relaxed) > 0);
    assert_eq!((a.received(), a.is_linked(b.id)), (0, false));
    assert_eq!((a.ear.doubted.lock().len(), b.ear.refused_by.lock().len()), (0, 0));
    a.ear.can_remember.store(true, Relaxed);
    link(&[&a, &b]);
}

/// The answer to a probe with these headers.
fn probe(node: &Node, headers: &str) -> String {
    let mut socket = TcpStream::connect(node.address()).unwrap();
    let head = "GET /raft/probing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    socket.write_all(format!("{head}{headers}\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn members_of_etcd_are_heard_until_one_of_ours_was_there() {
    let a = Node::start(0xa);
    a.transport.set_peers(&[PeerInfo { id: 0xb, urls: vec!["http://127.0.0.1:1".to_owned()] }]);
    // One that says not even who it is, …
    assert!(probe(&a, "").starts_with("HTTP/1.1 200"));
    // … one that says that, and one that says more.
    assert!(probe(&a, "X-Server-From: b\r\n").starts_with("HTTP/1.1 200"));
    let claim = format!("X-Server-From: b\r\n{IDENTITY_HEADER}: {}\r\n", book(7, 3).claim(None));
    assert!(probe(&a, &claim).starts_with("HTTP/1.1 200"));
    let silent = probe(&a, "X-Server-From: b\r\n");
    assert!(silent.starts_with("HTTP/1.1 409"), "{silent}");
    assert!(silent.contains("another program"), "{silent}");
    let nonsense = format!("X-Server-From: b\r\n{IDENTITY_HEADER}: what\r\n");
    assert!(probe(&a, &nonsense).starts_with("HTTP/1.1 409"));
    assert!(probe(&a, &claim).starts_with("HTTP/1.1 200"));
    // Who is no member is not remembered.
    let stranger = claim.replace("From: b", "From: c");
    assert!(probe(&a, &stranger).starts_with("HTTP/1.1 200"));
    assert!(probe(&a, "X-Server-From: c\r\n").starts_with("HTTP/1.1 200"));
}
