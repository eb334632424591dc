//! Figures of files are those that etcdutl gives, and those of the store that they are made of.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use quorate_api::Error;

use super::super::*;
use super::drain;
use super::install::{Act, act, acts, conf_state, empty};
use crate::compaction;
use crate::store::Store;

fn file_of(store: &mut Store) -> Bytes {
    drain(capture(store, &conf_state(), Trailer::Sha256))
}

fn prune(store: &mut Store) {
    while !matches!(store.prune_step(), compaction::Progress::Idle) {}
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_file_has_its_stores_figures(history in vec(acts(), 0..80)) {
        let mut store = empty();
        for step in &history {
            act(&mut store, step);
        }
        prune(&mut store);
        let bytes = file_of(&mut store);
        let found = status(bytes.clone(), DigestRule::Required).unwrap();
        prop_assert_eq!(found.keys, store.mvcc().index().live());
        prop_assert_eq!(found.bytes, bytes.len() as u64 - 32);
        let file = SnapshotFile::open(bytes, DigestRule::Required).unwrap();
        prop_assert_eq!(hash_kv(&file, 0).unwrap(), store.hash_kv(0).unwrap());
        for revision in store.compact_revision().max(1)..=store.revision() {
            let (found, expected) = (hash_kv(&file, revision), store.hash_kv(revision));
            prop_assert_eq!(found.unwrap(), expected.unwrap());
        }
    }
}

fn puts(store: &mut Store, keys: std::ops::Range<u8>) {
    for key in keys {
        act(store, &Act::Put { key, bytes: 5, lease: 0 });
    }
}

#[test]
fn revisions_that_are_not_there_are_named() {
    let mut store = empty();
    puts(&mut store, 0..9);
    act(&mut store, &Act::Compact { back: 3 });
    let file = SnapshotFile::open(file_of(&mut store), DigestRule::Required).unwrap();
    for (revision, expected) in
        [(6, Some(Error::Compacted)), (7, None), (10, None), (11, Some(Error::FutureRevision))]
    {
        let refused = match hash_kv(&file, revision) {
            Ok(_) => None,
            Err(HashError::Revision { source, compacted: 7, current: 10, .. }) => Some(source),
            Err(error) => panic!("{revision}: {error}"),
        };
        assert_eq!(refused, expected, "{revision}");
    }
}

#[test]
fn a_deletion_at_the_compacted_revision_does_not_count() {
    let mut store = empty();
    puts(&mut store, 3..4);
    act(&mut store, &Act::Delete { from: 2, to: 4 });
    act(&mut store, &Act::Compact { back: 0 });
    prune(&mut store);
    let file = SnapshotFile::open(file_of(&mut store), DigestRule::Required).unwrap();
    assert_eq!(hash_kv(&file, 0).unwrap(), store.hash_kv(0).unwrap());
}

/// What a raised revision comes to, from a store's file.
fn bumped(store: &mut Store, revision_bump: i64) -> (i64, i64) {
    let file = SnapshotFile::open(file_of(store), DigestRule::Required).unwrap();
    let cluster = NewCluster {
        members: Vec::new(),
        applied_index: 1,
        applied_term: 1,
        conf_state: conf_state(),
        revision_bump,
    };
    let mut content = Verification::for_new_cluster(file, cluster).unwrap();
    while content.step().unwrap() == Progress::Again {}
    let mut filled = empty();
    let mut install = content.install(&mut filled).unwrap();
    while install.step(&mut filled).unwrap() == Progress::Again {}
    install.finish(&mut filled);
    *store = filled;
    (store.revision(), store.compact_revision())
}

#[test]
fn a_raised_revision_counts_from_the_last_record_as_in_etcdutl() {
    // Without a record it counts from 0, and no store is below 1.
    assert_eq!(bumped(&mut empty(), 1), (1, 1));
    assert_eq!(bumped(&mut empty(), 500), (500, 500));
    let mut store = empty();
    puts(&mut store, 0..9);
    assert_eq!(bumped(&mut store, 1000), (1010, 1010));
    // Again and again, it never comes to what was there before.
    assert_eq!(bumped(&mut store, 1), (1011, 1011));
    prune(&mut store);
    assert_eq!(bumped(&mut store, 1), (1012, 1012));
    assert_eq!(bumped(&mut store, 0), (1012, 1012));
    puts(&mut store, 0..1);
    assert_eq!(store.revision(), 1013);
}
