//! Snapshots there and back: ours to the genuine programs, theirs to us.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use quorate_api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, InternalRaftRequest, LeaseGrantRequest, PutRequest,
};
use quorate_api::membershippb::ClusterVersionSetRequest;
use quorate_api::raftpb::{ConfChange, ConfChangeType, ConfState};
use quorate_disk::Files;
use quorate_store::compaction;
use quorate_store::entry::{Entry, EntryKind};
use quorate_store::snapshot::{
    DigestRule, Progress, SnapshotFile, SnapshotStream, Step, Trailer, Verification, capture,
};
use quorate_store::store::{Store, StoreOptions};

use crate::programs::{self, Etcd, json, run};

/// A folder without files: nothing is flushed here.
struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &str, _: u64, _: usize) -> io::Result<Bytes> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn length(&self, _: &str) -> io::Result<u64> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn list(&self, _: &str) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
}

fn empty() -> Store {
    Store::new(Arc::new(NoFiles), StoreOptions::default())
}

fn apply(store: &mut Store, kind: EntryKind, data: Vec<u8>) {
    let entry = Entry { index: store.applied_index() + 1, term: 2, kind, data: data.into() };
    store.apply(&entry).unwrap().reply.unwrap();
}

fn request(store: &mut Store, fill: impl FnOnce(&mut InternalRaftRequest)) {
    let mut request = InternalRaftRequest::default();
    fill(&mut request);
    apply(store, EntryKind::Normal, request.encode_to_vec());
}

fn put(store: &mut Store, key: &str, bytes: usize, lease: i64) {
    let (key, value) = (key.to_owned().into(), vec![b'v'; bytes].into());
    request(store, |r| {
        r.put = Some(PutRequest { key, value, lease, ..PutRequest::default() });
    });
}

fn delete(store: &mut Store, key: &str, range_end: &str) {
    let (key, range_end) = (key.to_owned().into(), range_end.to_owned().into());
    request(store, |r| {
        r.delete_range = Some(DeleteRangeRequest { key, range_end, prev_kv: false });
    });
}

fn compact(store: &mut Store, revision: i64) {
    request(store, |r| {
        r.compaction = Some(CompactionRequest { revision, physical: false });
    });
}

fn prune(store: &mut Store) {
    while !matches!(store.prune_step(), compaction::Progress::Idle) {}
}

/// A store with everything in it that a snapshot has.
fn full_store() -> Store {
    let mut store = empty();
    let context =
        r#"{"id":77,"peerURLs":["http://127.0.0.1:2380"],"name":"default","clientURLs":[]}"#;
    let change = ConfChange {
        id: Some(1),
        r#type: Some(ConfChangeType::ConfChangeAddNode as i32),
        node_id: Some(77),
        context: Some(context.into()),
    };
    apply(&mut store, EntryKind::ConfChange, change.encode_to_vec());
    request(&mut store, |r| {
        r.cluster_version_set = Some(ClusterVersionSetRequest { ver: "3.7.0".into() });
    });
    request(&mut store, |r| r.lease_grant = Some(LeaseGrantRequest { id: 5, ttl: 6000 }));
    for n in 0..3000 {
        put(&mut store, &format!("registry/{:04}", n % 1700), n % 200, i64::from(n % 3 == 0) * 5);
    }
    for bytes in [4000, 5000, 70_000, 1_400_000] {
        put(&mut store, &format!("large/{bytes}"), bytes, 0);
    }
    delete(&mut store, "registry/0100", "registry/0200");
    let at = store.revision();
    compact(&mut store, at);
    prune(&mut store);
    delete(&mut store, "registry/0300", "registry/0310");
    put(&mut store, "registry/0305", 10, 0);
    store
}

fn drain(mut stream: SnapshotStream) -> Vec<u8> {
    let mut file = Vec::new();
    loop {
        match stream.step().unwrap() {
            Step::Again => {}
            Step::Chunk(chunk) => file.extend_from_slice(&chunk),
            Step::End => return file,
        }
    }
}

fn snapshot_of(store: &mut Store) -> Vec<u8> {
    let conf_state =
        ConfState { voters: vec![77], auto_leave: Some(false), ..ConfState::default() };
    drain(capture(store, &conf_state, Trailer::Sha256))
}

/// The store that a file makes, ours or a genuine one's.
fn installed(file: &Path, digest: DigestRule) -> Store {
    let file = Bytes::from(fs::read(file).unwrap());
    let mut verification = Verification::new(SnapshotFile::open(file, digest).unwrap()).unwrap();
    while verification.step().unwrap() == Progress::Again {}
    let mut store = empty();
    let mut install = verification.install(&mut store).unwrap();
    while install.step(&mut store).unwrap() == Progress::Again {}
    install.finish(&mut store);
    store
}

fn live_keys(store: &Store) -> u64 {
    store.mvcc().index().live()
}

#[test]
fn genuine_tools_accept_our_snapshot() {
    let Some(bin) = programs::folder("genuine_tools_accept_our_snapshot") else { return };
    let folder = programs::scratch("our-snapshot");
    let mut store = full_store();
    let path = folder.join("backup.db");
    fs::write(&path, snapshot_of(&mut store)).unwrap();

    let db = folder.join("plain.db");
    let file = fs::read(&path).unwrap();
    fs::write(&db, &file[..file.len() - 32]).unwrap();
    assert_eq!(run(Command::new(bin.join("bbolt")).arg("check").arg(&db)).trim(), "OK");
    let buckets = run(Command::new(bin.join("bbolt")).arg("buckets").arg(&db));
    assert_eq!(buckets.lines().collect::<Vec<_>>(), quorate_store::snapshot::BUCKETS);

    let status = Command::new(bin.join("etcdutl"))
        .args(["snapshot", "status", "-w", "json"])
        .arg(&path)
        .output()
        .unwrap();
    let status = json(std::str::from_utf8(&status.stdout).unwrap());
    assert_eq!(status["revision"], store.revision());
    assert_eq!(status["totalKey"], live_keys(&store));
    assert_eq!(status["version"], "3.7.0");
}

#[test]
fn a_genuine_member_serves_our_snapshot_and_we_serve_its() {
    let test = "a_genuine_member_serves_our_snapshot_and_we_serve_its";
    let Some(bin) = programs::folder(test) else { return };
    let folder = programs::scratch("there-and-back");
    let mut store = full_store();
    let path = folder.join("backup.db");
    fs::write(&path, snapshot_of(&mut store)).unwrap();
    let data = folder.join("data");
    let mut restore = Command::new(bin.join("etcdutl"));
    run(restore.args(["snapshot", "restore", "--data-dir"]).arg(&data).arg(&path));

    let etcd = Etcd::start(&bin, &data);
    // Neither remembers what the compaction found.
    let restored = installed(&path, DigestRule::Required);
    let (from, to) = (restored.compact_revision(), restored.revision());
    for revision in from..=to {
        let ours = restored.hash_kv(revision).unwrap().hash;
        assert_eq!(etcd.hash_kv(revision), ours, "HashKV at {revision}");
    }
    let keys = etcd.ctl(&["get", "", "--prefix", "--keys-only", "--limit=0"]);
    assert_eq!(keys.lines().filter(|line| !line.is_empty()).count() as u64, live_keys(&store));
    assert!(etcd.ctl(&["lease", "list"]).contains("0000000000000005"));

    // It goes on: a put in the middle of our pages, a deletion, a compaction.
    etcd.ctl(&["put", "registry/0001", "vvvvvv"]);
    etcd.ctl(&["del", "registry/05", "--prefix"]);
    put(&mut store, "registry/0001", 6, 0);
    delete(&mut store, "registry/05", "registry/06");
    let at = store.revision();
    etcd.ctl(&["compact", "--physical", &(at - 1).to_string()]);
    etcd.ctl(&["put", "registry/0002", "after"]);

    let theirs = folder.join("theirs.db");
    etcd.ctl(&["snapshot", "save", theirs.to_str().unwrap()]);
    let received = installed(&theirs, DigestRule::Required);
    assert_eq!((received.revision(), received.compact_revision()), (at + 1, at - 1));
    // At the compacted revision itself the member remembers what its compaction found, from the
    // one before it on, which it knows from the snapshot; and so do we.
    compact(&mut store, at - 1);
    prune(&mut store);
    let ours = store.hash_kv(at - 1).unwrap();
    assert!(ours.compact_revision < at - 1);
    assert_eq!(etcd.hash_kv(at - 1), ours.hash, "HashKV at the compacted revision");
    for revision in at..=at + 1 {
        let ours = received.hash_kv(revision).unwrap().hash;
        assert_eq!(etcd.hash_kv(revision), ours, "HashKV at {revision} of its snapshot");
    }
    assert_eq!(live_keys(&received), live_keys(&store));
    assert_eq!(received.leases().get(5).unwrap().keys().len(), {
        let lease = json(&etcd.ctl(&["lease", "timetolive", "5", "--keys", "-w", "json"]));
        lease["keys"].as_array().unwrap().len()
    });
}

#[test]
fn what_etcdutl_makes_of_our_snapshot_is_read() {
    let Some(bin) = programs::folder("what_etcdutl_makes_of_our_snapshot_is_read") else { return };
    let folder = programs::scratch("etcdutl");
    let mut store = full_store();
    let path = folder.join("backup.db");
    fs::write(&path, snapshot_of(&mut store)).unwrap();
    let data = folder.join("data");
    let mut restore = Command::new(bin.join("etcdutl"));
    restore.args(["snapshot", "restore", "--bump-revision", "1000", "--mark-compacted"]);
    run(restore.arg("--data-dir").arg(&data).arg(&path));

    // A raw database without digest, with free pages, inline buckets and two live meta pages.
    let received = installed(&data.join("member/snap/db"), DigestRule::IfPresent);
    assert_eq!(received.revision(), store.revision() + 1000);
    assert_eq!(received.compact_revision(), store.revision() + 1000);
    assert_eq!(live_keys(&received), live_keys(&store));
}
