//! Snapshots come back as they were; files that are not snapshots are named.

use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use quorate_api::mvccpb::KeyValue;
use quorate_api::raftpb::ConfState;

use super::super::*;
use super::{NoFiles, drain};
use crate::bbolt::{ReadError, Sizing, Writer};
use crate::log::{LogOptions, Record, RevisionLog};
use crate::revision::Revision;

fn put(main: i64, sub: i64, value_bytes: usize) -> Record {
    let kv = KeyValue {
        key: Bytes::from(format!("key-{main}-{sub}")),
        create_revision: main,
        mod_revision: main,
        version: 1,
        value: vec![b'v'; value_bytes].into(),
        lease: 0,
    };
    record(main, sub, false, kv.encode_to_vec())
}

fn tombstone(main: i64, sub: i64) -> Record {
    let kv = KeyValue { key: Bytes::from(format!("key-{main}-{sub}")), ..KeyValue::default() };
    record(main, sub, true, kv.encode_to_vec())
}

fn record(main: i64, sub: i64, tombstone: bool, body: Vec<u8>) -> Record {
    Record { revision: Revision { main, sub }, tombstone, body: body.into() }
}

fn log_of(records: &[Record]) -> RevisionLog {
    let mut log = RevisionLog::new(Arc::new(NoFiles), LogOptions::default());
    for revision in records.chunk_by(|a, b| a.revision.main == b.revision.main) {
        log.append(revision.to_vec());
    }
    log
}

fn small() -> SmallBuckets {
    let mut small = SmallBuckets::new();
    meta().put_into(&mut small);
    small.put("lease", Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 9]), "x".into()).unwrap();
    small.put("alarm", Bytes::from_static(&[8, 1]), Bytes::new()).unwrap();
    small
}

fn conf_state() -> ConfState {
    ConfState {
        voters: vec![1, 2],
        learners: vec![9],
        auto_leave: Some(false),
        ..ConfState::default()
    }
}

fn meta() -> Meta {
    Meta {
        consistent_index: 77,
        term: 3,
        conf_state: Some(conf_state()),
        compact_scheduled: Some(12),
        compact_finished: Some(11),
        storage_version: Some("3.7.0".into()),
    }
}

fn read(file: Bytes, digest: DigestRule) -> Result<(SmallBuckets, Vec<Record>, i64), FileError> {
    let snapshot = SnapshotFile::open(file, digest)?;
    let mut walk = snapshot.records()?;
    let mut records = Vec::new();
    loop {
        let revision = walk.next_revision()?;
        let Some(first) = revision.first() else { break };
        assert!(revision.iter().all(|r| r.revision.main == first.revision.main));
        records.extend(revision);
    }
    Ok((snapshot.small_buckets().clone(), records, walk.revision()))
}

prop_compose! {
    fn histories()(
        shape in vec((1_i64..4, vec((any::<bool>(), 0_usize..40), 1..4)), 0..900),
        large in vec((0_usize..900, 4000_usize..50_000), 0..3),
    ) -> Vec<Record> {
        let mut records = Vec::new();
        let mut main = 1;
        for (step, changes) in shape {
            main += step;
            for (sub, (deleted, bytes)) in (0..).zip(changes) {
                records.push(if deleted { tombstone(main, sub) } else { put(main, sub, bytes) });
            }
        }
        for (at, bytes) in large {
            if let Some(record) = records.get_mut(at) {
                let Revision { main, sub } = record.revision;
                *record = put(main, sub, bytes);
            }
        }
        records
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_snapshot_comes_back_as_it_was(records in histories()) {
        let highest = records.last().map_or(1, |record| record.revision.main).max(12);
        for trailer in [Trailer::None, Trailer::Sha256] {
            let file = drain(SnapshotStream::new(small(), log_of(&records).pin(), trailer));
            let (found_small, found, revision) = read(file, DigestRule::IfPresent).unwrap();
            prop_assert_eq!(&found, &records);
            prop_assert_eq!(found_small, small());
            prop_assert_eq!(revision, highest);
        }
    }
}

#[test]
fn what_the_log_does_meanwhile_is_not_seen() {
    let records: Vec<Record> = (2..3000).map(|main| put(main, 0, 10)).collect();
    let expected = drain(SnapshotStream::new(small(), log_of(&records).pin(), Trailer::Sha256));

    let mut log = log_of(&records);
    let mut stream = SnapshotStream::new(small(), log.pin(), Trailer::Sha256);
    let mut file = Vec::new();
    for turn in 0.. {
        log.append(vec![put(4000 + turn, 0, 100)]);
        log.release(Revision { main: 2 + turn, sub: 0 });
        log.release(Revision { main: 2999 - turn, sub: 0 });
        match stream.step().unwrap() {
            Step::Again => {}
            Step::Chunk(chunk) => file.extend_from_slice(&chunk),
            Step::End => break,
        }
    }
    assert!(log.read(Revision { main: 2, sub: 0 }).is_err(), "the log did change");
    assert_eq!(file, expected);
}

#[test]
fn chunks_are_bounded() {
    let records: Vec<Record> = (2..4000).map(|main| put(main, 0, 900)).collect();
    let mut stream = SnapshotStream::new(small(), log_of(&records).pin(), Trailer::None);
    let mut chunks = 0;
    loop {
        match stream.step().unwrap() {
            Step::Again => {}
            Step::Chunk(chunk) => {
                chunks += 1;
                assert!(chunk.len() < 512 << 10, "{}", chunk.len());
            }
            Step::End => break,
        }
    }
    assert!(chunks > 8, "{chunks}");
}

#[test]
fn meta_survives() {
    assert_eq!(Meta::from_buckets(&small()).unwrap(), meta());
    assert_eq!(Meta::from_buckets(&SmallBuckets::new()).unwrap(), Meta::default());
    let json = br#"{"voters":[1,2],"learners":[9],"auto_leave":false}"#;
    assert_eq!(small().get(META_BUCKET, "confState").unwrap()[..], json[..]);
    let mut zero = SmallBuckets::new();
    let compacted_at_0 = Meta { compact_scheduled: Some(0), ..Meta::default() };
    compacted_at_0.put_into(&mut zero);
    assert_eq!(Meta::from_buckets(&zero).unwrap(), compacted_at_0);
    for (key, value) in [
        ("consistent_index", "short"),
        ("term", "longer than eight"),
        ("confState", "{"),
        ("finishedCompactRev", "12345678901234567"),
        ("scheduledCompactRev", ""),
    ] {
        let mut wrong = small();
        wrong.put(META_BUCKET, key.into(), value.into()).unwrap();
        assert_eq!(Meta::from_buckets(&wrong).unwrap_err().key, key);
    }
}

#[test]
fn the_digest_is_verified() {
    let records: Vec<Record> = (2..60).map(|main| put(main, 0, 50)).collect();
    let file = drain(SnapshotStream::new(small(), log_of(&records).pin(), Trailer::Sha256));
    read(file.clone(), DigestRule::Required).unwrap();
    for at in (0..file.len()).step_by(61) {
        let mut damaged = file.to_vec();
        damaged[at] ^= 0x10;
        let damaged = Bytes::from(damaged);
        let refused = read(damaged.clone(), DigestRule::IfPresent);
        assert!(matches!(refused, Err(FileError::Digest)), "byte {at}: {refused:?}");
        let _ = read(damaged, DigestRule::Skip);
    }
    let without = file.slice(..file.len() - 32);
    assert!(matches!(read(without.clone(), DigestRule::Required), Err(FileError::DigestMissing)));
    read(without, DigestRule::IfPresent).unwrap();
    let near_the_end = file.len() - 31..file.len();
    for length in (0..file.len() - 33).step_by(37).chain(near_the_end) {
        assert!(read(file.slice(..length), DigestRule::IfPresent).is_err(), "{length}");
    }
}

#[test]
fn a_file_of_a_later_etcd_is_named() {
    for (version, is_read) in [
        (None, true),
        (Some("3.6.0"), true),
        (Some("3.7.0"), true),
        (Some("3.8.0"), false),
        (Some("4.0.0"), false),
        (Some("new"), false),
    ] {
        let mut small = SmallBuckets::new();
        let version = version.map(str::to_owned);
        Meta { storage_version: version.clone(), ..meta() }.put_into(&mut small);
        let file = drain(SnapshotStream::new(small, log_of(&[]).pin(), Trailer::Sha256));
        match read(file, DigestRule::Required) {
            Ok(_) => assert!(is_read, "{version:?}"),
            Err(FileError::Newer { found, .. }) => {
                assert!(!is_read && Some(found) == version, "{version:?}");
            }
            Err(error) => panic!("{version:?}: {error}"),
        }
    }
}

/// A file with one record, whatever it is.
fn file_with(key: Bytes, body: Bytes) -> Bytes {
    let mut sizing = Sizing::new();
    sizing.begin_bucket(KEY_BUCKET);
    sizing.add(key.len(), body.len());
    sizing.begin_bucket(META_BUCKET);
    let mut writer = Writer::new(sizing.finish());
    writer.begin_bucket(KEY_BUCKET).unwrap();
    writer.put(key, body).unwrap();
    writer.begin_bucket(META_BUCKET).unwrap();
    let mut file = writer.take().to_vec();
    file.extend_from_slice(&writer.finish().unwrap());
    file.into()
}

#[test]
fn records_that_etcd_does_not_write_are_named() {
    let key = |main, tombstone| record_key::encode(Revision { main, sub: 0 }, tombstone);
    let good = put(5, 0, 3).body;
    read(file_with(key(5, false), good.clone()), DigestRule::IfPresent).unwrap();
    read(file_with(key(5, true), tombstone(5, 0).body), DigestRule::IfPresent).unwrap();
    // What `etcdutl snapshot restore --bump-revision` writes.
    let (_, bumped, revision) =
        read(file_with(key(900, false), Bytes::new()), DigestRule::IfPresent).unwrap();
    assert_eq!((bumped.len(), revision), (1, 900));

    let with = |change: fn(&mut KeyValue)| {
        let mut kv = KeyValue::decode(good.clone()).unwrap();
        change(&mut kv);
        Bytes::from(kv.encode_to_vec())
    };
    for (key, body) in [
        (key(6, false), good.clone()),
        (key(5, true), good.clone()),
        (key(5, true), Bytes::new()),
        (key(5, false), Bytes::from_static(b"\xff\xff")),
        (key(5, false), with(|kv| kv.key = Bytes::new())),
        (key(5, false), with(|kv| kv.version = 0)),
        (key(5, false), with(|kv| kv.create_revision = 6)),
        (key(0, false), Bytes::new()),
    ] {
        let refused = read(file_with(key.clone(), body), DigestRule::IfPresent);
        assert!(matches!(refused, Err(FileError::Record { .. })), "{key:?}: {refused:?}");
    }
    let mut wrong_mark = key(5, true).to_vec();
    wrong_mark[17] = b'x';
    for key in [key(5, false).slice(..16), key(-5, false), wrong_mark.into()] {
        let refused = read(file_with(key.clone(), good.clone()), DigestRule::IfPresent);
        assert!(matches!(refused, Err(FileError::RecordKey { .. })), "{key:?}: {refused:?}");
    }
}

#[test]
fn a_file_of_something_else_is_named() {
    // Whatever its length, and whether or not it should have a digest.
    for length in [0, 31, 32, 544, 9216, 10_001] {
        for rule in [DigestRule::Required, DigestRule::IfPresent, DigestRule::Skip] {
            let refused = read(Bytes::from(vec![1; length]), rule);
            let is_named = matches!(refused, Err(FileError::Read(ReadError::NotBbolt)));
            assert!(is_named, "{length} {rule:?}: {refused:?}");
        }
    }

    let mut sizing = Sizing::new();
    sizing.begin_bucket("shop");
    let mut writer = Writer::new(sizing.finish());
    writer.begin_bucket("shop").unwrap();
    let mut file = writer.take().to_vec();
    file.extend_from_slice(&writer.finish().unwrap());
    let refused = read(file.into(), DigestRule::IfPresent);
    assert!(matches!(refused, Err(FileError::BucketMissing { bucket: "key" })), "{refused:?}");
    assert_eq!(
        SmallBuckets::new().put(KEY_BUCKET, Bytes::new(), Bytes::new()),
        Err(UnknownBucket(KEY_BUCKET.into()))
    );
}
