//! Batches and the messages that wait for them.

use quorate_raft::{Index, Message};
use quorate_replica::BatchId;
use sim_disk::{FaultKind, FaultyDisk};

use crate::directory::{bootstrap, open, put};

fn message(index: u64) -> Box<Message> {
    Box::new(Message { index: Index(index), ..Message::default() })
}

#[test]
fn a_message_waits_for_its_batch_and_for_no_later_one() {
    let disk = FaultyDisk::new(1);
    let mut running = open(&disk, &bootstrap(1), 1).unwrap();
    running.settle(&disk);
    let first = running.submit(2, &[put(1, "a", "1")]);
    assert!(running.opened.writer.send(message(1), Some(first)).is_none());
    let second = running.submit(2, &[put(2, "b", "2")]);
    assert!(running.opened.writer.send(message(2), Some(second)).is_none());
    assert!(running.opened.writer.send(message(3), None).is_some(), "waits for nothing");
    // One that the replica has not handed out yet.
    assert!(running.opened.writer.send(message(4), Some(BatchId(3))).is_none());

    let mut order = Vec::new();
    while disk.complete_next() {
        running.poll().unwrap();
        let freed = std::mem::take(&mut running.freed);
        if !freed.messages.is_empty() {
            assert!(freed.persisted.is_some(), "nothing leaves without its batch");
        }
        order.extend(freed.messages.iter().map(|message| message.index.0));
    }
    assert_eq!(order, [1, 2]);
    assert!(running.opened.writer.send(message(5), Some(second)).is_some(), "durable already");
    running.submit(2, &[put(3, "c", "3")]);
    running.settle(&disk);
    assert_eq!(running.freed.persisted, Some(BatchId(3)));
    assert_eq!(running.freed.messages.len(), 1);
}

#[test]
fn a_failed_sync_frees_nothing() {
    let disk = FaultyDisk::new(1);
    let mut running = open(&disk, &bootstrap(1), 1).unwrap();
    running.settle(&disk);
    let batch = running.submit(2, &[put(1, "a", "1")]);
    running.opened.writer.send(message(1), Some(batch));
    disk.inject(FaultKind::SyncError, "wal/0", 1);
    let mut failed = false;
    while !failed && disk.complete_next() {
        failed = running.poll().is_err();
    }
    assert!(failed);
    assert!(running.freed.messages.is_empty());
    assert_eq!(running.freed.persisted, None);
}
