//! What compactions find is hashed and remembered, whatever goes on meanwhile.

use proptest::prelude::*;
use quorate_api::etcdserverpb::{CompactionRequest, DeleteRangeRequest, PutRequest};
use quorate_api::raftpb::ConfState;
use quorate_api::request::RequestKind;
use quorate_store::compaction::Progress;
use quorate_store::hash::{CompactionHash, HasherStep};
use quorate_store::snapshot::{self, DigestRule, SnapshotFile, Trailer, Verification};
use quorate_store::store::Store;

use crate::determinism::entry;
use crate::generate;
use crate::model::{Found, Model};
use crate::model_test::is_refused_early;
use crate::ours::Ours;

fn remembered(store: &Store) -> Vec<CompactionHash> {
    store.mvcc().compaction().remembered().iter().collect()
}

fn revisions(store: &Store) -> Vec<i64> {
    remembered(store).iter().map(|hash| hash.revision).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn is_of_all_that_was_there_whatever_goes_on_meanwhile(
        requests in prop::collection::vec((generate::request(), 0_usize..4), 1..120),
    ) {
        let (mut ours, mut model) = (Ours::new(), Model::new());
        for (request, steps) in requests {
            let request = generate::place(request, model.revision());
            if is_refused_early(&request) {
                continue;
            }
            let _ = model.answer(&request);
            if let Some(entry) = entry(ours.store.applied_index() + 1, &request) {
                ours.store.apply(&entry).unwrap();
            }
            for _ in 0..steps {
                let _ = ours.store.prune_step();
            }
            for CompactionHash { hash, revision, compact_revision } in remembered(&ours.store) {
                let found = Found { hash, revision, compact_revision };
                prop_assert_eq!(model.found(revision), Some(found));
            }
        }
    }
}

fn put(ours: &mut Ours, key: &'static str) {
    let put = PutRequest { key: key.into(), value: "v".into(), ..PutRequest::default() };
    ours.request(RequestKind::Put, &put).reply.unwrap();
}

fn delete(ours: &mut Ours, key: &'static str) {
    let delete = DeleteRangeRequest { key: key.into(), ..DeleteRangeRequest::default() };
    ours.request(RequestKind::DeleteRange, &delete).reply.unwrap();
}

/// Decide a compaction; nothing is hashed yet.
fn compact(ours: &mut Ours, revision: i64) {
    let compaction = CompactionRequest { revision, physical: false };
    ours.request(RequestKind::Compaction, &compaction).reply.unwrap();
}

#[test]
fn ten_are_remembered_and_the_oldest_go_first() {
    let mut ours = Ours::new();
    for revision in 2..=14 {
        put(&mut ours, "a");
        compact(&mut ours, revision);
        ours.hash_compaction();
    }
    assert_eq!(revisions(&ours.store), (5..=14).collect::<Vec<_>>());
    for (revision, before) in (5..=14).zip(4..) {
        let hash = ours.store.hash_kv(revision).unwrap();
        assert_eq!((hash.revision, hash.compact_revision), (revision, before));
        assert_eq!(hash.current_revision, 14);
    }
    ours.store.hash_kv(4).unwrap_err();
}

#[test]
fn a_compaction_that_is_decided_while_another_is_hashed_has_none() {
    let mut ours = Ours::new();
    for _ in 0..9 {
        put(&mut ours, "a");
    }
    compact(&mut ours, 3);
    compact(&mut ours, 5);
    ours.hash_compaction();
    assert_eq!(revisions(&ours.store), [3]);
    // Neither is carried out: that does not matter.
    compact(&mut ours, 7);
    ours.hash_compaction();
    assert_eq!(revisions(&ours.store), [3, 7]);
    ours.prune();
    assert_eq!(ours.store.mvcc().compaction().finished(), 7);
    assert_eq!(ours.store.hash_kv(7).unwrap().compact_revision, 5);
}

#[test]
fn nothing_is_dropped_while_the_hash_is_computed_elsewhere() {
    let mut ours = Ours::new();
    for key in ["a", "b", "a", "c"] {
        put(&mut ours, key);
    }
    delete(&mut ours, "b");
    let before = ours.store.hash_kv(5).unwrap();
    compact(&mut ours, 5);
    let mut hasher = ours.store.mvcc_mut().lend_hasher().unwrap();
    assert!(ours.store.mvcc_mut().lend_hasher().is_none(), "it is lent once");
    assert!(!ours.store.mvcc().compaction().is_due());
    let hash = loop {
        assert_eq!(ours.store.prune_step(), Progress::Held);
        put(&mut ours, "d");
        match hasher.next() {
            HasherStep::Select => hasher.select(ours.store.mvcc()),
            HasherStep::Join => {
                if let Some(hash) = hasher.join() {
                    break hash;
                }
            }
        }
    };
    assert_eq!(hash.at(before.current_revision), before);
    assert_eq!(ours.store.hash_kv(5).unwrap().compact_revision, 5, "it is not given back yet");
    ours.store.mvcc_mut().give_hash(CompactionHash { revision: 4, ..hash });
    assert_eq!(ours.store.prune_step(), Progress::Held, "that was another's");
    ours.store.mvcc_mut().give_hash(hash);
    assert_eq!(ours.store.hash_kv(5).unwrap().compact_revision, -1);
    assert_eq!(ours.store.prune_step(), Progress::Finished(5));
    ours.store.mvcc_mut().give_hash(CompactionHash { revision: 5, hash: 0, ..hash });
    assert_eq!(remembered(&ours.store), [hash], "nobody waited for it");
    compact(&mut ours, 6);
    assert!(ours.store.mvcc_mut().lend_hasher().is_some());
    ours.store.mvcc_mut().give_hash_up();
    assert_eq!(ours.store.prune_step(), Progress::Finished(6));
    assert_eq!(remembered(&ours.store), [hash]);
}

#[test]
fn a_snapshot_leaves_what_is_remembered() {
    let (mut ours, mut sender) = (Ours::new(), Ours::new());
    for ours in [&mut ours, &mut sender] {
        for key in ["a", "b", "a"] {
            put(ours, key);
        }
        compact(ours, 3);
        ours.hash_compaction();
    }
    for revision in 5..=6 {
        put(&mut sender, "b");
        compact(&mut sender, revision);
        sender.hash_compaction();
    }
    let mut stream = snapshot::capture(&mut sender.store, &ConfState::default(), Trailer::Sha256);
    let mut file = Vec::new();
    loop {
        match stream.step().unwrap() {
            snapshot::Step::Again => {}
            snapshot::Step::Chunk(chunk) => file.extend_from_slice(&chunk),
            snapshot::Step::End => break,
        }
    }
    let file = SnapshotFile::open(bytes::Bytes::from(file), DigestRule::Required).unwrap();
    let mut verification = Verification::new(file).unwrap();
    while verification.step().unwrap() == snapshot::Progress::Again {}
    // A compaction that waits for its hash is given up.
    compact(&mut ours, 4);
    let mut install = verification.install(&mut ours.store).unwrap();
    while install.step(&mut ours.store).unwrap() == snapshot::Progress::Again {}
    install.finish(&mut ours.store);
    assert_eq!(ours.store.compact_revision(), 6);
    assert_eq!(revisions(&ours.store), [3]);
    assert_eq!(ours.store.hash_kv(3).unwrap().hash, sender.store.hash_kv(3).unwrap().hash);
    ours.prune();
    assert_eq!(revisions(&ours.store), [3], "it was decided elsewhere");
}

#[test]
fn a_replayed_compaction_has_none() {
    let mut ours = Ours::new();
    put(&mut ours, "a");
    put(&mut ours, "a");
    compact(&mut ours, 2);
    ours.hash_compaction();
    ours.replay(Ours::new().store);
    ours.hash_compaction();
    assert_eq!(revisions(&ours.store), [0; 0]);
    ours.prune();
    assert_eq!(ours.store.hash_kv(2).unwrap().compact_revision, 2);
    compact(&mut ours, 3);
    ours.hash_compaction();
    assert_eq!(revisions(&ours.store), [3]);
}

#[test]
fn a_request_for_a_hash_is_answered_from_memory_at_once() {
    let mut ours = Ours::new();
    put(&mut ours, "a");
    compact(&mut ours, 2);
    ours.hash_compaction();
    let hasher =
        |revision| quorate_store::hash::KvHasher::new(ours.store.mvcc(), revision).unwrap();
    assert!(hasher(2).is_remembered());
    assert!(!hasher(0).is_remembered());
}

#[test]
fn a_compaction_to_nothing_is_not_taken_for_the_current_revision() {
    let mut ours = Ours::new();
    compact(&mut ours, 0);
    ours.hash_compaction();
    assert_eq!(revisions(&ours.store), [0]);
    put(&mut ours, "a");
    let hash = ours.store.hash_kv(0).unwrap();
    assert_eq!((hash.revision, hash.compact_revision), (2, 0));
}
