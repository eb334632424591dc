//! Snapshots.

use quorate_raft::{Snapshot, SnapshotMetadata};

use super::*;
use crate::peer::send_snapshot::{SnapshotSource, SourceError};

const CHUNK: usize = 300_000;

/// Chunks of which each has its own content, and perhaps an error at the end.
struct Source {
    chunks: u8,
    given: u8,
    breaks: bool,
}

impl SnapshotSource for Source {
    fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        if self.given == self.chunks {
            return if self.breaks { Err("the disk is gone".into()) } else { Ok(None) };
        }
        self.given += 1;
        Ok(Some(Bytes::from(vec![self.given; CHUNK])))
    }
}

fn source(chunks: u8, breaks: bool) -> Box<Source> {
    Box::new(Source { chunks, given: 0, breaks })
}

fn snapshot(from: u64, to: u64, index: u64) -> Box<Message> {
    let metadata =
        SnapshotMetadata { index: Index(index), term: Term(3), ..SnapshotMetadata::default() };
    let snapshot = Some(Snapshot { metadata, data: Bytes::new() });
    Box::new(Message { snapshot, ..*message(MessageKind::MsgSnap, from, to, 0) })
}

fn files(node: &Node) -> usize {
    std::fs::read_dir(&node.folder).unwrap().count()
}

#[test]
fn a_snapshot_of_many_mebibytes_arrives() {
    let (a, b) = (Node::start(0xa), Node::start(0xb));
    link(&[&a, &b]);
    let sent = snapshot(a.id, b.id, 100);
    a.transport.send_snapshot(sent.clone(), source(200, false));
    until("the outcome", || !a.ear.sent.lock().is_empty());
    assert_eq!(*a.ear.sent.lock(), [(b.id, SnapshotOutcome::Finished)]);
    let received = std::mem::take(&mut *b.ear.snapshots.lock());
    let [(message, file)] = received.as_slice() else { panic!("{received:?}") };
    assert_eq!(*message, *sent);
    let bytes = std::fs::read(file).unwrap();
    assert_eq!(bytes.len(), 200 * CHUNK);
    assert!(bytes.chunks(CHUNK).zip(1..).all(|(chunk, number)| chunk.iter().all(|b| *b == number)));
    assert_eq!(files(&b), 1);
    assert_eq!(b.received(), 0, "the message comes with its file, not alone");
}

#[test]
fn a_snapshot_that_breaks_off_leaves_nothing() {
    let (a, b) = (Node::start(0xa), Node::start(0xb));
    link(&[&a, &b]);
    for (chunks, index) in [(0, 1), (20, 2)] {
        a.transport.send_snapshot(snapshot(a.id, b.id, index), source(chunks, true));
    }
    until("the outcomes", || a.ear.sent.lock().len() == 2);
    let failed = (b.id, SnapshotOutcome::Failed);
    assert_eq!(*a.ear.sent.lock(), [failed, failed]);
    until("the part to be removed", || files(&b) == 0);
    assert!(b.ear.snapshots.lock().is_empty());
}

#[test]
fn snapshots_for_nobody_fail() {
    let (a, b) = (Node::start(0xa), Node::start(0xb));
    a.transport.send_snapshot(snapshot(a.id, b.id, 1), source(1, false));
    until("the outcome", || a.ear.sent.lock().len() == 1);
    // It is there, and has removed the sender.
    a.transport.set_peers(&[b.info()]);
    b.ear.removed.lock().insert(a.id);
    a.transport.send_snapshot(snapshot(a.id, b.id, 2), source(1, false));
    until("the second outcome", || a.ear.sent.lock().len() == 2);
    let failed = (b.id, SnapshotOutcome::Failed);
    assert_eq!(*a.ear.sent.lock(), [failed, failed]);
    until("the word", || a.ear.told_removed.load(Relaxed) == b.id);
    assert_eq!(files(&b), 0);
}

#[test]
fn a_snapshot_that_is_too_large_is_refused() {
    let (a, b) = (Node::start(0xa), Node::start(0xb));
    link(&[&a, &b]);
    // 0 chunks after the first ones would never end: the limit ends it.
    struct Endless;
    impl SnapshotSource for Endless {
        fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
            Ok(Some(Bytes::from_static(&[0; 1 << 20])))
        }
    }
    a.transport.send_snapshot(snapshot(a.id, b.id, 1), Box::new(Endless));
    until("the outcome", || a.ear.sent.lock().len() == 1);
    assert_eq!(*a.ear.sent.lock(), [(b.id, SnapshotOutcome::Failed)]);
    until("the part to be removed", || files(&b) == 0);
}

#[test]
fn what_an_earlier_run_left_is_removed() {
    let a = Node::start(0xa);
    let names = ["received-1-2.part", "received-1-2.snap", "received", "other.snap"];
    for name in names {
        std::fs::write(a.folder.join(name), b"x").unwrap();
    }
    crate::peer::send_snapshot::remove_leftovers(&a.folder);
    assert_eq!(files(&a), 2);
}
