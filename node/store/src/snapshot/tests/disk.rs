//! Snapshots of what is on disk, and from files on disk.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use quorate_api::etcdserverpb::{InternalRaftRequest, PutRequest};
use quorate_api::raftpb::ConfState;
use quorate_disk::{Disk, Operation, Ticket};
use sim_disk::{Corruption, FaultKind, FaultyDisk, FaultyHandle};

use super::super::*;
use super::drain;
use crate::bbolt::{FileSource, ReadError};
use crate::checkpoint::{Exported, Identity, IndexChunk, Source, State};
use crate::entry::{Entry, EntryKind};
use crate::jobs::{self, JobKind, JobOptions, Jobs};
use crate::log::{LogOptions, RevisionLog};
use crate::store::{Store, StoreOptions};

const FOLDER: &str = "store";
const RECEIVED: &str = "received.snapshot";

/// Segments of which some thousand records need many, and next to nothing kept in memory.
fn options() -> StoreOptions {
    let log = LogOptions {
        segment_bytes: 64 << 10,
        flush_bytes: 8 << 10,
        unflushed_bytes_max: 64 << 10,
        resident_bytes: 1 << 10,
    };
    StoreOptions { log, ..StoreOptions::default() }
}

/// A store that is flushed, and no more.
struct Flushed<'s>(&'s mut Store);

impl Source for Flushed<'_> {
    fn log(&self) -> &RevisionLog {
        self.0.mvcc().log()
    }

    fn log_mut(&mut self) -> &mut RevisionLog {
        self.0.mvcc_mut().log_mut()
    }

    fn applied_index(&self) -> u64 {
        self.0.applied_index()
    }

    fn pin(&mut self) -> State {
        unreachable!("only flushes run")
    }

    fn unpin(&mut self) {
        unreachable!("only flushes run")
    }

    fn export(&self, _: Option<&[u8]>, _: i64, _: usize, _: &mut IndexChunk) -> Exported {
        unreachable!("only flushes run")
    }
}

/// Carry operations out; their results.
fn carry_out(
    disk: &FaultyDisk,
    handle: &mut FaultyHandle,
    operations: Vec<Operation>,
) -> Vec<io::Result<()>> {
    for (ticket, operation) in (0..).zip(operations) {
        handle.submit(Ticket(ticket), operation);
    }
    disk.complete_all();
    let mut completions = Vec::new();
    handle.poll(&mut completions);
    completions.into_iter().map(|completion| completion.result).collect()
}

fn flush(store: &mut Store, disk: &FaultyDisk, handle: &mut FaultyHandle) {
    let identity = Identity { cluster_id: 1, member_id: 1 };
    let mut jobs = Jobs::new(identity, JobOptions::default(), Vec::new(), 1);
    jobs.start(JobKind::Flush);
    let mut results = Vec::new();
    loop {
        results = match jobs.step(&mut Flushed(store), results).unwrap() {
            jobs::Step::Submit(operations) => carry_out(disk, handle, operations),
            jobs::Step::Again => Vec::new(),
            jobs::Step::Done(_) => return,
        };
    }
}

fn fill(store: &mut Store, flush: &mut dyn FnMut(&mut Store)) {
    for n in 0..3000_u32 {
        let bytes = if n % 500 == 0 { 60_000 } else { n as usize % 150 };
        let request = InternalRaftRequest {
            put: Some(PutRequest {
                key: format!("key-{}", n % 800).into(),
                value: vec![n as u8; bytes].into(),
                ..PutRequest::default()
            }),
            ..InternalRaftRequest::default()
        };
        let data = request.encode_to_vec().into();
        let index = store.applied_index() + 1;
        store.apply(&Entry { index, term: 1, kind: EntryKind::Normal, data }).unwrap();
        if store.mvcc().log().is_flush_due() {
            flush(store);
        }
    }
}

fn conf_state() -> ConfState {
    ConfState { voters: vec![1], auto_leave: Some(false), ..ConfState::default() }
}

/// A store whose records are in segments, with its disk.
fn store_on_disk() -> (Store, FaultyDisk, FaultyHandle) {
    let disk = FaultyDisk::new(5);
    let mut handle = disk.handle(FOLDER);
    let create = Operation::CreateDirectory { path: "".into() };
    assert!(carry_out(&disk, &mut handle, vec![create]).iter().all(Result::is_ok));
    let mut store = Store::new(handle.files(), options());
    fill(&mut store, &mut |store| flush(store, &disk, &mut handle));
    flush(&mut store, &disk, &mut handle);
    assert!(store.mvcc().log().file_bytes() > 4 * options().log.segment_bytes);
    (store, disk, handle)
}

fn write_file(disk: &FaultyDisk, handle: &mut FaultyHandle, file: &Bytes) {
    let path: Arc<str> = RECEIVED.into();
    let operations = vec![
        Operation::Create { path: path.clone(), size: 0 },
        Operation::Write { path: path.clone(), offset: 0, data: vec![file.clone()] },
        Operation::Sync { path },
    ];
    assert!(carry_out(disk, handle, operations).iter().all(Result::is_ok));
}

#[test]
fn a_snapshot_goes_from_disk_to_disk() {
    let (mut sender, _disk, _handle) = store_on_disk();
    let file = drain(capture(&mut sender, &conf_state(), Trailer::Sha256));

    let (mut receiver, disk, mut handle) = store_on_disk();
    write_file(&disk, &mut handle, &file);
    let source = FileSource::new(handle.files(), RECEIVED.into());
    let snapshot = SnapshotFile::open(source, DigestRule::Required).unwrap();
    let mut verification = Verification::new(snapshot).unwrap();
    while verification.step().unwrap() == Progress::Again {}
    let mut install = verification.install(&mut receiver).unwrap();
    let mut flushes = 0;
    while install.step(&mut receiver).unwrap() == Progress::Again {
        while receiver.mvcc().log().must_wait() {
            flush(&mut receiver, &disk, &mut handle);
            flushes += 1;
        }
    }
    install.finish(&mut receiver);
    flush(&mut receiver, &disk, &mut handle);

    assert!(flushes >= 2, "{flushes}: memory is bounded by flushes in between");
    assert_eq!(receiver.state_hash(), sender.state_hash());
    for revision in [2, 1000, sender.revision()] {
        let expected = sender.hash_kv(revision).unwrap().hash;
        assert_eq!(receiver.hash_kv(revision).unwrap().hash, expected);
    }
    let again = drain(capture(&mut receiver, &conf_state(), Trailer::Sha256));
    assert_eq!(again, file, "and on to the next");
}

#[test]
fn a_damaged_record_ends_the_stream() {
    for pass in ["sizing", "writing"] {
        let (mut store, disk, _handle) = store_on_disk();
        let segment = disk.list().into_iter().map(|(path, _)| path).nth(2).unwrap();
        let mut stream = capture(&mut store, &conf_state(), Trailer::None);
        while pass == "writing" && stream.stream_bytes().is_none() {
            stream.step().unwrap();
        }
        disk.corrupt(&segment, Corruption::FlipBit { offset: 5000, bit: 3 }).unwrap();
        let error = loop {
            match stream.step() {
                Ok(Step::End) => panic!("{pass}: damage passed unnoticed"),
                Ok(Step::Again | Step::Chunk(_)) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(error, StreamError::Damage(_)), "{pass}: {error}");
        assert_eq!(stream.step().unwrap(), Step::End);
    }
}

#[test]
fn a_disk_that_fails_while_a_snapshot_is_read_is_named() {
    let (mut sender, disk, mut handle) = store_on_disk();
    let file = drain(capture(&mut sender, &conf_state(), Trailer::Sha256));
    write_file(&disk, &mut handle, &file);
    let path = format!("{FOLDER}/{RECEIVED}");
    for sector in [0, 16, 200, file.len() as u64 / 512] {
        let disk = {
            let copy = FaultyDisk::new(9);
            copy.restore(&disk.image());
            copy
        };
        disk.corrupt(&path, Corruption::Unreadable { sector }).unwrap();
        let source = FileSource::new(disk.files(FOLDER), RECEIVED.into());
        let refused = SnapshotFile::open(source, DigestRule::Required).err();
        let is_named =
            matches!(refused, Some(FileError::Io { .. } | FileError::Read(ReadError::Io { .. })));
        assert!(is_named, "{sector}: {refused:?}");
    }
    disk.inject(FaultKind::ReadError, &path, 1);
    let source = FileSource::new(disk.files(FOLDER), RECEIVED.into());
    assert!(SnapshotFile::open(source, DigestRule::Skip).is_err());
}
