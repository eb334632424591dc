//! A directory on a disk of the test's, and a member opened on it.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use quorate_api::etcdserverpb as pb;
use quorate_api::request::{RequestKind, wrap};
use quorate_disk::{Completion, Disk};
use quorate_member::identity::Book;
use quorate_member::open::{self, Fresh, OpenError, Opened, Settings};
use quorate_member::{Allowed, Freed, Progress, applier};
use quorate_raft::{Entry, HardState, Index, NodeId, Term};
use quorate_replica::{BatchId, LogBatch};
use quorate_store::jobs::JobOptions;
use quorate_store::log::LogOptions;
use quorate_store::members::Member;
use quorate_store::store::StoreOptions;
use quorate_wal as wal;
use sim_disk::{FaultyDisk, FaultyHandle};

pub(crate) const CLUSTER: u64 = 77;

/// Of every directory, unless a test says otherwise.
pub(crate) const INCARNATION: u64 = 5;

/// One of the first members of a cluster of so many.
pub(crate) fn bootstrap(count: u64) -> Fresh {
    let member = |id: u64| Member {
        id,
        peer_urls: Some(vec![format!("http://{id}")]),
        name: format!("m{id}"),
        ..Member::default()
    };
    Fresh::Bootstrap { cluster: CLUSTER, member: 1, members: (1..=count).map(member).collect() }
}

pub(crate) fn settings(fresh: &Fresh, boot: u64) -> Settings {
    Settings {
        fresh: fresh.clone(),
        own: Book::new(INCARNATION).own().clone(),
        boot,
        log: wal::Options { segment_bytes: 8 << 10, spares_max: 1 },
        store: StoreOptions {
            lease_ttl_seconds_min: 2,
            learners_max: 1,
            log: LogOptions {
                segment_bytes: 4 << 10,
                flush_bytes: 512,
                unflushed_bytes_max: 16 << 10,
                resident_bytes: 4 << 10,
            },
        },
        jobs: JobOptions {
            checkpoint_bytes: 64 << 10,
            checkpoint_entries: 8,
            held_bytes: 64 << 10,
        },
    }
}

/// A member with its disks.
pub(crate) struct Running {
    pub(crate) opened: Opened,
    pub(crate) log_disk: FaultyHandle,
    pub(crate) store_disk: FaultyHandle,
    next_batch: u64,
    pub(crate) last: u64,
    pub(crate) freed: Freed,
}

/// Open a directory; `each` sees the disk before every operation that opening does.
pub(crate) fn open_with(
    disk: &FaultyDisk,
    fresh: &Fresh,
    boot: u64,
    mut each: impl FnMut(&FaultyDisk),
) -> Result<Running, OpenError> {
    let mut log_disk = disk.handle("wal");
    let store_disk = disk.handle("store");
    let mut opening = open::open(&settings(fresh, boot), &mut log_disk, store_disk.files())?;
    loop {
        match opening.try_finish() {
            Ok(opened) => {
                let last =
                    opened.boot.entries.last().map_or(opened.boot.log_start.0, |e| e.index.0);
                let freed = Freed::default();
                let last = last.max(opened.boot.checkpoint.index);
                return Ok(Running { opened, log_disk, store_disk, next_batch: 0, last, freed });
            }
            Err(back) => opening = back,
        }
        each(disk);
        assert!(disk.complete_next(), "opening waits for nothing");
        let mut completions: Vec<Completion> = Vec::new();
        log_disk.poll(&mut completions);
        for completion in completions {
            opening.on_completion(&mut log_disk, completion).unwrap();
        }
    }
}

pub(crate) fn open(disk: &FaultyDisk, fresh: &Fresh, boot: u64) -> Result<Running, OpenError> {
    open_with(disk, fresh, boot, |_| {})
}

/// The bytes of a put of `value` under `key`.
pub(crate) fn put(id: u64, key: &str, value: &str) -> Bytes {
    let put = pb::PutRequest {
        key: key.as_bytes().to_vec().into(),
        value: value.as_bytes().to_vec().into(),
        ..pb::PutRequest::default()
    };
    let header = pb::RequestHeader { id, ..pb::RequestHeader::default() };
    wrap(&header, RequestKind::Put, &put.encode_to_vec())
}

impl Running {
    /// Submit a batch of entries of `term` behind the last one.
    pub(crate) fn submit(&mut self, term: u64, data: &[Bytes]) -> BatchId {
        self.next_batch += 1;
        let entries = (self.last + 1..).zip(data).map(|(index, data)| Entry {
            term: Term(term),
            index: Index(index),
            data: data.clone(),
            ..Entry::default()
        });
        let entries: Vec<Entry> = entries.collect();
        self.last += data.len() as u64;
        let state = HardState { term: Term(term), vote: NodeId(1), commit: Index(self.last) };
        let batch = BatchId(self.next_batch);
        let batch_of = LogBatch { batch, hard_state: Some(state), mark: None, entries };
        self.opened.writer.persist(&mut self.log_disk, batch_of);
        batch
    }

    /// Hear what the log's disk has done.
    pub(crate) fn poll(&mut self) -> Result<(), wal::Failure> {
        let mut completions = Vec::new();
        self.log_disk.poll(&mut completions);
        for completion in completions {
            let disk = &mut self.log_disk;
            self.opened.writer.on_completion(disk, completion, &mut self.freed)?;
        }
        Ok(())
    }

    /// Do all that the disk has been given.
    pub(crate) fn settle(&mut self, disk: &FaultyDisk) {
        while disk.complete_next() {
            self.poll().unwrap();
        }
    }

    /// Write so many puts, durably, a batch each.
    pub(crate) fn write(&mut self, disk: &FaultyDisk, count: u64) {
        for _ in 0..count {
            let index = self.last + 1;
            self.submit(2, &[put(index, &format!("k{index}"), &"v".repeat(60))]);
            self.settle(disk);
        }
    }

    /// Apply what the log holds up to `index`, of those entries that were opened and written.
    pub(crate) fn apply(&mut self, entries: &[Entry]) -> applier::Batch {
        applier::apply(&mut self.opened.store, entries, |_| true).unwrap()
    }

    /// Run jobs until none is due.
    pub(crate) fn work(&mut self, disk: &FaultyDisk) -> Vec<Progress> {
        let mut done = Vec::new();
        loop {
            let (store, jobs) = (&mut self.opened.store, &mut self.opened.jobs);
            match jobs.step(store, &mut self.store_disk, Allowed::All).unwrap() {
                Progress::Idle => return done,
                Progress::More => {}
                progress @ Progress::Done(_) => done.push(progress),
                Progress::Waiting => {
                    disk.complete_all();
                    self.hear_store();
                }
            }
        }
    }

    pub(crate) fn hear_store(&mut self) {
        let mut completions = Vec::new();
        self.store_disk.poll(&mut completions);
        completions.into_iter().for_each(|completion| self.opened.jobs.on_completion(completion));
    }
}

/// The entries of a directory, by index.
pub(crate) fn entries(running: &Running) -> BTreeMap<u64, Bytes> {
    running.opened.boot.entries.iter().map(|e| (e.index.0, e.data.clone())).collect()
}
