//! A backup becomes members of a new cluster, whole or not at all.

use bytes::Bytes;
use prost::Message as _;
use quorate_api::etcdserverpb as pb;
use quorate_member::founding::{Founded, Founder, FoundingError};
use quorate_member::open::{Fresh, OpenError, Opened, StoreError};
use quorate_raft::{Index, NodeId};
use quorate_store::checkpoint;
use quorate_store::entry::{Entry, EntryKind};
use quorate_store::snapshot::{DigestRule, SnapshotFile, Step, Trailer, capture};
use quorate_store::store::Store;
use sim_disk::{CrashPolicy, FaultyDisk};

use crate::directory::{self, Running, bootstrap, settings};

/// Enough that the store writes more than one segment before it has all.
const KEYS: u64 = 400;

/// A backup of another cluster, with so many keys, a lease and an alarm.
fn backup() -> Bytes {
    let files = FaultyDisk::new(1).files("other");
    let mut store = Store::new(files, settings(&bootstrap(1), 1).store);
    let mut apply = |fill: &dyn Fn(&mut pb::InternalRaftRequest)| {
        let mut request = pb::InternalRaftRequest::default();
        fill(&mut request);
        let (index, data) = (store.applied_index() + 1, request.encode_to_vec().into());
        store.apply(&Entry { index, term: 7, kind: EntryKind::Normal, data }).unwrap();
    };
    apply(&|request| request.lease_grant = Some(pb::LeaseGrantRequest { id: 9, ttl: 600 }));
    for number in 0..KEYS {
        let key = Bytes::from(format!("key/{number:04}"));
        let (value, lease) = (vec![b'v'; 50].into(), i64::from(number % 10 == 0) * 9);
        apply(&|request| {
            let (key, value) = (key.clone(), Bytes::clone(&value));
            request.put = Some(pb::PutRequest { key, value, lease, ..pb::PutRequest::default() });
        });
    }
    apply(&|request| {
        request.alarm = Some(pb::AlarmRequest { action: 1, member_id: 5, alarm: 1 });
    });
    let mut stream = capture(&mut store, &Default::default(), Trailer::Sha256);
    let mut file = Vec::new();
    loop {
        match stream.step().unwrap() {
            Step::Again => {}
            Step::Chunk(chunk) => file.extend_from_slice(&chunk),
            Step::End => return file.into(),
        }
    }
}

/// One of so many first members.
fn founder(member: u64, count: u64) -> Founder {
    let Fresh::Bootstrap { cluster, members, .. } = bootstrap(count) else { unreachable!() };
    let settings = settings(&bootstrap(count), 5);
    let (log, store, jobs) = (settings.log, settings.store, settings.jobs);
    Founder { cluster, member, members, boot: 5, log, store, jobs }
}

/// Make the member on a disk; `each` sees the disk before every operation.
fn found_with(
    disk: &FaultyDisk,
    founder: &Founder,
    mut each: impl FnMut(&FaultyDisk),
) -> Result<Founded, FoundingError> {
    let file = SnapshotFile::open(backup(), DigestRule::Required).unwrap();
    let content = founder.verify(file, 0).unwrap();
    let (mut log_disk, mut store_disk) = (disk.handle("wal"), disk.handle("store"));
    founder.found(content, &mut log_disk, &mut store_disk, &mut || {
        each(disk);
        disk.complete_next()
    })
}

fn open(disk: &FaultyDisk, boot: u64) -> Result<Running, OpenError> {
    directory::open(disk, &bootstrap(3), boot)
}

#[test]
fn all_members_begin_equal_behind_the_entries_that_add_them() {
    let mut hashes = Vec::new();
    for member in 1..=3 {
        let disk = FaultyDisk::new(member);
        let founder = founder(member, 3);
        let founded = found_with(&disk, &founder, |_| {}).unwrap();
        disk.crash(CrashPolicy::LoseUnsynced);
        let running = open(&disk, 6).unwrap();
        let (opened, boot) = (&running.opened, &running.opened.boot);
        assert_eq!((opened.cluster, opened.member), (founder.cluster, member));
        assert_eq!((boot.checkpoint.index, boot.checkpoint.term), (3, 1));
        assert_eq!((boot.log_start, boot.hard_state.commit), ((3, 1), Index(3)));
        assert_eq!(boot.checkpoint.conf_state.voters, [1, 2, 3].map(NodeId));
        assert!(boot.entries.is_empty());
        let store = &opened.store;
        assert_eq!((store.revision(), founded.keys), (KEYS as i64 + 1, KEYS));
        assert_eq!(store.leases().get(9).unwrap().keys().len(), 40);
        assert_eq!(store.alarms().get(0).len(), 1);
        assert_eq!(store.members().iter().count(), 3);
        assert_eq!(store.state_hash(), founded.state_hash);
        hashes.push(founded.state_hash);
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:x?}");
}

#[test]
fn a_founding_that_is_cut_off_is_never_a_member() {
    for count in [1, 3] {
        let mut images = Vec::new();
        let whole = FaultyDisk::new(1);
        found_with(&whole, &founder(1, count), |disk| {
            for policy in CrashPolicy::EACH {
                images.push(disk.crash_image(policy, images.len() as u64));
            }
        })
        .unwrap();
        assert!(images.len() > 100, "{}", images.len());
        let (mut empty, mut refused, mut made) = (0, 0, 0);
        for image in &images {
            let disk = FaultyDisk::from_image(image, 1);
            match directory::open(&disk, &bootstrap(count), 6) {
                Ok(running) if running.opened.boot.checkpoint.index == count => {
                    assert_eq!(running.opened.store.revision(), KEYS as i64 + 1);
                    made += 1;
                }
                // It stands for the content that it lost, and has it from others or not at all.
                Ok(running) if running.opened.boot.repair.is_some() => refused += 1,
                // Nothing is there that counts: what this is to become is for others to know.
                Ok(running) => {
                    let Opened { boot, store, .. } = &running.opened;
                    assert_eq!((boot.checkpoint.index, store.revision()), (0, 1));
                    empty += 1;
                }
                Err(OpenError::Store(StoreError::Open(checkpoint::OpenError::Gap { .. }))) => {
                    assert_eq!(count, 1);
                    refused += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(empty > 0 && refused > 40, "{count}: {empty} {refused} {made}");
    }
}

#[test]
fn a_disk_that_fails_ends_it() {
    for (folder, nth) in [("wal", 2), ("store", 3), ("store", 6)] {
        let disk = FaultyDisk::new(1);
        disk.inject(sim_disk::FaultKind::WriteError, folder, nth);
        match found_with(&disk, &founder(1, 1), |_| {}) {
            Err(FoundingError::Log(_)) => assert_eq!(folder, "wal"),
            Err(FoundingError::Store(_)) => assert_eq!(folder, "store"),
            other => panic!("{folder} {nth}: {other:?}"),
        }
    }
}
