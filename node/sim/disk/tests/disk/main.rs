//! The faulty disk itself: what it keeps, what it may lose, what goes wrong on demand.
#![allow(clippy::unwrap_used, reason = "the panic of a test is its report")]

use std::collections::BTreeSet;
use std::io;

use bytes::Bytes;
use quorate_disk::{Completion, Disk, Files, Operation, Ticket};
use sim_disk::{Corruption, CrashPolicy, FaultKind, FaultyDisk, FaultyHandle};

fn run(disk: &FaultyDisk, handle: &mut FaultyHandle, operation: Operation) -> io::Result<()> {
    handle.submit(Ticket(0), operation);
    disk.complete_all();
    let mut completions = Vec::new();
    handle.poll(&mut completions);
    completions.pop().unwrap().result
}

fn write(path: &str, offset: u64, byte: u8, length: usize) -> Operation {
    Operation::Write { path: path.into(), offset, data: vec![Bytes::from(vec![byte; length])] }
}

fn sync(path: &str) -> Operation {
    Operation::Sync { path: path.into() }
}

fn sync_root() -> Operation {
    Operation::SyncDirectory { path: "".into() }
}

fn create(path: &str, size: u64) -> Operation {
    Operation::Create { path: path.into(), size }
}

/// A disk with a synced file `a` of four sectors of ones.
fn with_file(seed: u64) -> (FaultyDisk, FaultyHandle) {
    let disk = FaultyDisk::new(seed);
    let mut handle = disk.handle("member");
    for operation in [create("a", 2048), write("a", 0, 1, 2048), sync("a"), sync_root()] {
        run(&disk, &mut handle, operation).unwrap();
    }
    (disk, handle)
}

#[test]
fn what_is_synced_survives_every_crash() {
    for policy in CrashPolicy::EACH {
        let (disk, _handle) = with_file(1);
        disk.crash(policy);
        assert_eq!(disk.files("member").read("a", 0, 2048).unwrap(), vec![1; 2048]);
    }
}

#[test]
fn a_torn_crash_leaves_any_subset_of_sectors() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let (disk, mut handle) = with_file(seed);
        run(&disk, &mut handle, write("a", 0, 2, 2048)).unwrap();
        disk.crash(CrashPolicy::Torn);
        let bytes = disk.files("member").read("a", 0, 2048).unwrap();
        for sector in bytes.chunks(512) {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "sectors are never mixed");
        }
        seen.insert([bytes[0], bytes[512], bytes[1024], bytes[1536]]);
    }
    assert_eq!(seen.len(), 16);
}

#[test]
fn a_prefix_crash_keeps_order() {
    let mut lengths = BTreeSet::new();
    for seed in 0..100 {
        let (disk, mut handle) = with_file(seed);
        run(&disk, &mut handle, write("a", 0, 2, 1024)).unwrap();
        run(&disk, &mut handle, write("a", 1024, 2, 1024)).unwrap();
        disk.crash(CrashPolicy::Prefix);
        let bytes = disk.files("member").read("a", 0, 2048).unwrap();
        let kept = bytes.iter().take_while(|byte| **byte == 2).count();
        assert!(bytes[kept..].iter().all(|byte| *byte == 1));
        lengths.insert(kept);
    }
    assert_eq!(lengths, [0, 512, 1024, 1536, 2048].into());
}

#[test]
fn a_queued_sync_before_a_write_of_another_file_holds() {
    let mut both = 0;
    for seed in 0..100 {
        let (disk, mut handle) = with_file(seed);
        run(&disk, &mut handle, create("b", 512)).unwrap();
        run(&disk, &mut handle, sync("b")).unwrap();
        run(&disk, &mut handle, sync_root()).unwrap();
        handle.submit(Ticket(1), write("a", 0, 2, 512));
        handle.submit(Ticket(2), sync("a"));
        handle.submit(Ticket(3), write("b", 0, 3, 512));
        disk.crash(CrashPolicy::Torn);
        let files = disk.files("member");
        let (a, b) = (files.read("a", 0, 1).unwrap()[0], files.read("b", 0, 1).unwrap()[0]);
        assert!(b == 0 || a == 2, "the later write without the earlier, synced");
        both += u32::from(b == 3);
    }
    assert!(both > 0);
    let mut later_alone = 0;
    for seed in 0..500 {
        let (disk, mut handle) = with_file(seed);
        handle.submit(Ticket(1), write("a", 0, 2, 512));
        handle.submit(Ticket(2), sync("a"));
        handle.submit(Ticket(3), write("a", 512, 3, 512));
        disk.crash(CrashPolicy::Torn);
        let bytes = disk.files("member").read("a", 0, 1024).unwrap();
        later_alone += u32::from(bytes[0] == 1 && bytes[512] == 3);
    }
    assert!(later_alone > 0, "one sync for both writes is legal");
}

#[test]
fn names_need_their_folders_sync() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..50 {
        let (disk, mut handle) = with_file(seed);
        let rename = Operation::Rename { from: "a".into(), to: "b".into() };
        run(&disk, &mut handle, rename).unwrap();
        run(&disk, &mut handle, create("c", 10)).unwrap();
        disk.crash(CrashPolicy::Torn);
        outcomes.insert(disk.files("member").list("").unwrap());
    }
    assert_eq!(outcomes.len(), 4);
    let (disk, mut handle) = with_file(1);
    run(&disk, &mut handle, Operation::Rename { from: "a".into(), to: "b".into() }).unwrap();
    run(&disk, &mut handle, sync_root()).unwrap();
    disk.crash(CrashPolicy::LoseUnsynced);
    assert_eq!(disk.files("member").list("").unwrap(), ["b"]);
}

#[test]
fn folders_are_lost_with_their_files() {
    let (disk, mut handle) = with_file(1);
    run(&disk, &mut handle, Operation::CreateDirectory { path: "x/y".into() }).unwrap();
    run(&disk, &mut handle, create("x/y/f", 10)).unwrap();
    run(&disk, &mut handle, sync("x/y/f")).unwrap();
    run(&disk, &mut handle, Operation::SyncDirectory { path: "x/y".into() }).unwrap();
    assert_eq!(disk.files("member").list("x/y").unwrap(), ["f"]);
    disk.crash(CrashPolicy::LoseUnsynced);
    assert!(disk.files("member").list("x/y").unwrap().is_empty());
    let mut handle = disk.handle("member");
    assert!(run(&disk, &mut handle, create("x/y/f", 10)).is_err());
}

#[test]
fn a_failed_sync_loses_pages_for_good() {
    let mut lost = 0;
    for seed in 0..50 {
        let (disk, mut handle) = with_file(seed);
        disk.inject(FaultKind::SyncError, "member/a", 1);
        run(&disk, &mut handle, write("a", 0, 2, 512)).unwrap();
        assert_eq!(run(&disk, &mut handle, sync("a")).unwrap_err().raw_os_error(), Some(5));
        run(&disk, &mut handle, sync("a")).unwrap();
        assert_eq!(disk.files("member").read("a", 0, 1).unwrap()[0], 2);
        disk.crash(CrashPolicy::KeepAll);
        lost += u32::from(disk.files("member").read("a", 0, 1).unwrap()[0] == 1);
        assert_eq!(disk.counts()[&FaultKind::SyncError], 1);
    }
    assert!((10..40).contains(&lost), "{lost}");
}

#[test]
fn a_full_disk_and_a_failed_write_say_so() {
    let (disk, mut handle) = with_file(1);
    disk.set_capacity(Some(2100));
    let full = run(&disk, &mut handle, create("b", 100)).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    let full = run(&disk, &mut handle, write("a", 2048, 1, 53)).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    run(&disk, &mut handle, write("a", 2048, 1, 52)).unwrap();
    disk.inject(FaultKind::WriteError, "member", 2);
    run(&disk, &mut handle, write("a", 0, 1, 1)).unwrap();
    run(&disk, &mut handle, write("a", 0, 1, 1)).unwrap_err();
    run(&disk, &mut handle, write("a", 0, 1, 1)).unwrap();
    let rename = Operation::Rename { from: "a".into(), to: "b".into() };
    run(&disk, &mut handle, rename).unwrap_err();
}

#[test]
fn damage_at_rest_is_read() {
    let (disk, mut handle) = with_file(1);
    let files = disk.files("member");
    disk.corrupt("member/a", Corruption::FlipBit { offset: 3, bit: 1 }).unwrap();
    disk.corrupt("member/a", Corruption::ZeroSector { sector: 1 }).unwrap();
    disk.corrupt("member/a", Corruption::Unreadable { sector: 2 }).unwrap();
    assert_eq!(&files.read("a", 0, 5).unwrap()[..], [1, 1, 1, 3, 1]);
    assert_eq!(&files.read("a", 511, 2).unwrap()[..], [1, 0]);
    assert!(files.read("a", 1023, 2).is_err());
    run(&disk, &mut handle, write("a", 1024, 9, 512)).unwrap();
    assert_eq!(&files.read("a", 1023, 2).unwrap()[..], [0, 9]);
    disk.inject(FaultKind::MisdirectedWrite, "", 1);
    run(&disk, &mut handle, write("a", 0, 7, 512)).unwrap();
    assert_ne!(files.read("a", 0, 512).unwrap(), vec![7; 512]);
}

#[test]
fn the_driver_chooses_between_handles() {
    let disk = FaultyDisk::new(1);
    let (mut one, mut two) = (disk.handle("1"), disk.handle("2"));
    one.submit(Ticket(1), create("f", 1));
    one.submit(Ticket(2), sync("f"));
    two.submit(Ticket(3), create("f", 1));
    let tickets: Vec<u64> = disk.pending().iter().map(|pending| pending.ticket.0).collect();
    assert_eq!(tickets, [1, 3]);
    assert!(disk.complete(two.id(), Some(FaultKind::NoSpace)));
    let mut completions: Vec<Completion> = Vec::new();
    one.poll(&mut completions);
    assert!(completions.is_empty());
    two.poll(&mut completions);
    assert_eq!(completions[0].result.as_ref().unwrap_err().kind(), io::ErrorKind::StorageFull);
    let image = disk.image();
    assert_eq!(disk.complete_all(), 2);
    assert_eq!(disk.list(), [("1/f".to_owned(), 1)]);
    disk.restore(&image);
    assert!(disk.list().is_empty());
    one.submit(Ticket(4), create("f", 1));
    assert!(!disk.complete_next(), "handles from before are dead");
}

#[test]
fn the_same_seed_gives_the_same_disk() {
    let run_once = |seed| {
        let (disk, mut handle) = with_file(seed);
        for byte in 2..9 {
            handle.submit(Ticket(0), write("a", u64::from(byte) * 100, byte, 700));
        }
        disk.crash(CrashPolicy::Any);
        disk.files("member").read("a", 0, 512).unwrap()
    };
    assert_eq!(run_once(4), run_once(4));
}
