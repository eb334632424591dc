//! The index against a naive map.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use proptest::prelude::*;

use super::{ExportedKey, Index, Version};
use crate::hash::BodySum;
use crate::mvcc::key_range::KeyRange;
use crate::revision::Revision;

type Model = BTreeMap<Vec<u8>, Vec<Version>>;

fn key(number: u16) -> Vec<u8> {
    match number % 3 {
        0 => format!("/registry/pods/ns-{}/web-{number:05}", number % 7).into_bytes(),
        1 => format!("/registry/leases/{number}").into_bytes(),
        _ => number.to_be_bytes().to_vec(),
    }
}

fn body(number: u32) -> BodySum {
    BodySum { crc: !number, length: number }
}

fn change(model: &mut Model, index: &mut Index, key: &[u8], main: i64, delete: bool) {
    let revision = Revision { main, sub: 0 };
    let before = model.get(key).and_then(|versions| versions.last().copied());
    let live = before.filter(|before| !before.is_tombstone());
    let version = if delete {
        if live.is_none() {
            return;
        }
        Version::tombstone(revision)
    } else {
        Version {
            revision,
            create_revision: live.map_or(main, |live| live.create_revision),
            version: live.map_or(0, |live| live.version) + 1,
            body: body(u32::try_from(main).unwrap()),
        }
    };
    assert_eq!(index.append(key, &version), before);
    model.entry(key.to_vec()).or_default().push(version);
}

fn at(versions: &[Version], revision: i64) -> Option<Version> {
    let newest = versions.iter().rev().find(|version| version.revision.main <= revision)?;
    (!newest.is_tombstone()).then_some(*newest)
}

fn compact(model: &mut Model, revision: i64) -> Vec<Revision> {
    let mut dropped = Vec::new();
    for versions in model.values_mut() {
        let newest = versions.iter().rev().find(|version| version.revision.main <= revision);
        let Some(newest) = newest.copied() else { continue };
        versions.retain(|version| {
            let keep = version.revision.main > revision
                || (version.revision == newest.revision
                    && (!newest.is_tombstone() || newest.revision.main == revision));
            if !keep {
                dropped.push(version.revision);
            }
            keep
        });
    }
    model.retain(|_, versions| !versions.is_empty());
    dropped
}

fn contents(index: &Index) -> Model {
    let mut seen = Model::new();
    index.visit(&KeyRange::all(), &mut |key, versions| {
        seen.insert(key.to_vec(), versions.iter().collect());
        ControlFlow::Continue(())
    });
    seen
}

fn compact_index(index: &mut Index, revision: i64) -> Vec<Revision> {
    let mut dropped = Vec::new();
    let mut from = Some(Vec::new().into_boxed_slice());
    while let Some(at) = from {
        from = index.compact_step(&at, revision, &mut dropped);
    }
    dropped
}

fn load(model: &Model) -> Index {
    Index::load(
        model
            .iter()
            .map(|(key, versions)| ExportedKey { key: key.clone(), versions: versions.clone() }),
    )
    .unwrap()
}

/// As etcd where a key is written and deleted again. Where it is deleted and written again, etcd
/// loses the key at such a compaction, and ends at the next read of it.
#[test]
fn of_changes_in_the_compacted_revision_the_last_of_a_key_stays() {
    let put = |sub, version| Version {
        revision: Revision { main: 2, sub },
        create_revision: 2,
        version,
        body: body(7),
    };
    let tombstone = |sub| Version::tombstone(Revision { main: 2, sub });
    for changes in [
        vec![put(0, 1), tombstone(1)],
        vec![tombstone(0), put(1, 1)],
        vec![tombstone(0), put(1, 1), tombstone(2)],
    ] {
        let mut index = Index::default();
        let before = Version { create_revision: 1, ..put(0, 1) };
        index.append(b"a", &Version { revision: Revision { main: 1, sub: 0 }, ..before });
        for change in &changes {
            index.append(b"a", change);
        }
        let dropped = compact_index(&mut index, 2);
        assert_eq!(dropped.len(), changes.len(), "{changes:?}");
        let left: Vec<Version> = changes.last().copied().into_iter().collect();
        assert_eq!(contents(&index), Model::from([(b"a".to_vec(), left)]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn answers_as_a_naive_map(
        changes in prop::collection::vec((0_u16..900, prop::bool::weighted(0.25)), 1..1500),
        compactions in prop::collection::vec(0.0_f64..1.0, 0..3),
        ranges in prop::collection::vec((0_u16..900, 0_u16..900, 0_u8..3, 0.0_f64..1.0), 1..30),
    ) {
        let (mut model, mut index) = (Model::new(), Index::default());
        for (main, (number, delete)) in (2_i64..).zip(&changes) {
            change(&mut model, &mut index, &key(*number), main, *delete);
        }
        let newest = 1 + i64::try_from(changes.len()).unwrap();
        let mut compacted = 0;
        for share in compactions {
            let revision = (share * newest as f64) as i64;
            compacted = compacted.max(revision);
            let mut expected = compact(&mut model, revision);
            let mut dropped = compact_index(&mut index, revision);
            expected.sort_unstable();
            dropped.sort_unstable();
            prop_assert_eq!(dropped, expected);
        }
        prop_assert_eq!(index.root.check(), model.len());
        prop_assert_eq!(&contents(&index), &model);
        for (from, to, kind, share) in ranges {
            let revision = compacted + (share * (newest - compacted) as f64) as i64;
            let (start, end) = (Bytes::from(key(from)), Bytes::from(key(to)));
            let range = match kind {
                0 => KeyRange::single(start),
                1 => KeyRange::new(start, Bytes::from_static(b"\0")),
                _ => KeyRange::new(start, end),
            };
            let expected: Vec<Version> = model
                .iter()
                .filter(|(key, _)| range.contains(key))
                .filter_map(|(_, versions)| at(versions, revision))
                .collect();
            prop_assert_eq!(index.count(&range, revision), expected.len() as u64);
            let mut seen = Vec::new();
            index.visit(&range, &mut |_, versions| {
                seen.extend(versions.at(revision));
                ControlFlow::Continue(())
            });
            prop_assert_eq!(seen, expected);
        }
        let loaded = load(&model);
        prop_assert_eq!(loaded.root.check(), model.len());
        prop_assert_eq!(contents(&loaded), model);
    }

    #[test]
    fn export_in_chunks_is_the_index_as_of_the_revision(
        changes in prop::collection::vec((0_u16..300, prop::bool::weighted(0.25)), 1..600),
        share in 0.0_f64..1.0,
        chunk in 1_usize..100,
    ) {
        let (mut model, mut index) = (Model::new(), Index::default());
        for (main, (number, delete)) in (2_i64..).zip(&changes) {
            change(&mut model, &mut index, &key(*number), main, *delete);
        }
        let revision = (share * changes.len() as f64) as i64 + 1;
        let mut exported = Vec::new();
        loop {
            let after = exported.last().map(|last: &ExportedKey| last.key.clone());
            let more = index.export(after.as_deref(), revision, chunk);
            let done = more.len() < chunk;
            exported.extend(more);
            if done {
                break;
            }
        }
        let expected: Vec<ExportedKey> = model
            .into_iter()
            .map(|(key, mut versions)| {
                versions.retain(|version| version.revision.main <= revision);
                ExportedKey { key, versions }
            })
            .filter(|key| !key.versions.is_empty())
            .collect();
        prop_assert_eq!(exported, expected);
    }
}

#[test]
fn a_load_out_of_order_is_refused() {
    let one = |key: &[u8]| ExportedKey {
        key: key.to_vec(),
        versions: vec![Version::tombstone(Revision { main: 2, sub: 0 })],
    };
    assert!(Index::load([one(b"a"), one(b"b")]).is_ok());
    assert!(Index::load([one(b"b"), one(b"b")]).is_err());
    assert!(Index::load([one(b"b"), one(b"a")]).is_err());
    assert!(Index::load([ExportedKey { key: b"a".to_vec(), versions: Vec::new() }]).is_err());
}

#[test]
fn a_key_with_one_version_costs_little() {
    let mut index = Index::default();
    // Keys of 56 bytes in an order that is not theirs.
    let keys = 100_000_u64;
    for number in 0..keys {
        let scattered = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let key = format!("/registry/pods/namespace-{:06}/pod-{scattered:020}", number % 100);
        let revision = Revision { main: i64::try_from(number).unwrap() + 2, sub: 0 };
        let version =
            Version { revision, create_revision: revision.main, version: 1, body: body(7) };
        index.append(key.as_bytes(), &version);
    }
    let per_key = index.memory_bytes() as f64 / keys as f64;
    assert!(per_key < 60.0 + 56.0, "{per_key} bytes a key");
    assert!(per_key < 85.0, "prefixes are shared: {per_key} bytes a key");
}
