//! What is written is read again; what is damaged gets an error, never a panic nor a loop.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::format::{BRANCH, ELEMENT, HEADER, Meta, u16_at, u64_at};
use super::{Item, Layout, PAGE_SIZE, ReadAt, ReadError, Reader, Sizing, WriteError, Writer};

type Keys = BTreeMap<Vec<u8>, Vec<u8>>;
type Buckets = BTreeMap<String, Keys>;

fn sizes(buckets: &Buckets) -> Layout {
    let mut sizing = Sizing::new();
    for (name, keys) in buckets {
        sizing.begin_bucket(name);
        for (key, value) in keys {
            sizing.add(key.len(), value.len());
        }
    }
    sizing.finish()
}

/// The same from lengths that are known no better than the revision log's table knows them.
fn rounded_sizes(buckets: &Buckets) -> Layout {
    let mut sizing = Sizing::new();
    for (name, keys) in buckets {
        sizing.begin_bucket(name);
        for (key, value) in keys {
            sizing.add(key.len().next_multiple_of(2), value.len().next_multiple_of(8));
        }
    }
    sizing.finish()
}

fn write(buckets: &Buckets) -> Vec<u8> {
    let layout = sizes(buckets);
    assert_eq!(rounded_sizes(buckets), layout);
    let mut writer = Writer::new(layout);
    let mut file = Vec::new();
    for (name, keys) in buckets {
        writer.begin_bucket(name).unwrap();
        for (key, value) in keys {
            let held = key.len() + value.len();
            writer.put(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)).unwrap();
            // What one put closes: a page for each level, large if its keys or values are.
            assert!(writer.ready_bytes() <= 300_000 + held, "{}", writer.ready_bytes());
            file.extend_from_slice(&writer.take());
        }
    }
    file.extend_from_slice(&writer.finish().unwrap());
    assert_eq!(file.len() as u64, layout.file_bytes());
    file
}

fn read(source: impl ReadAt) -> Result<Buckets, ReadError> {
    let reader = Reader::open(source)?;
    let mut found = Buckets::new();
    let mut buckets = reader.buckets();
    while let Some((name, item)) = buckets.next()? {
        let mut keys = Keys::new();
        if let Item::Bucket(bucket) = item {
            let mut cursor = reader.keys(&bucket);
            while let Some((key, item)) = cursor.next()? {
                if let Item::Value(value) = item {
                    keys.insert(key.to_vec(), value.to_vec());
                }
            }
        }
        found.insert(String::from_utf8_lossy(&name).into_owned(), keys);
    }
    Ok(found)
}

fn bucket(keys: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Keys {
    keys.into_iter().collect()
}

fn numbered(count: u32, value_bytes: usize) -> Keys {
    bucket((0..count).map(|n| (n.to_be_bytes().to_vec(), vec![n as u8; value_bytes])))
}

/// A file of few pages that has each kind of page.
fn small_file() -> (Buckets, Vec<u8>) {
    let buckets = Buckets::from([
        ("empty".into(), Keys::new()),
        ("key".into(), numbered(60, 250)),
        ("large".into(), bucket([(b"k".to_vec(), vec![7; 9000])])),
        ("meta".into(), bucket([(b"a".to_vec(), vec![]), (b"b".to_vec(), b"x".to_vec())])),
    ]);
    let file = write(&buckets);
    (buckets, file)
}

/// The file with another meta structure in both meta pages.
fn with_meta(file: &[u8], change: impl Fn(&mut Meta)) -> Bytes {
    let mut file = file.to_vec();
    for page in 0..2 {
        let at = page * PAGE_SIZE + HEADER;
        let mut meta = Meta::decode(&file[at..]).unwrap();
        change(&mut meta);
        let mut bytes = bytes::BytesMut::new();
        meta.encode(&mut bytes);
        file[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    file.into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(
        buckets in btree_map("[a-z]{1,8}", btree_map(vec(any::<u8>(), 1..40), vec(any::<u8>(), 0..300), 0..120), 0..6),
        large in vec((vec(any::<u8>(), 1..12), 3000_usize..40_000), 0..4),
        long_keys in vec((1_usize..30_000, any::<u8>()), 0..8),
    ) {
        let mut buckets = buckets;
        let large = large.into_iter().map(|(key, bytes)| (key, vec![0xa5; bytes]));
        buckets.insert("large".into(), large.collect());
        let long = long_keys.into_iter().map(|(bytes, fill)| (vec![fill; bytes], vec![1]));
        buckets.insert("long".into(), long.collect());
        prop_assert_eq!(read(Bytes::from(write(&buckets))).unwrap(), buckets);
    }

    #[test]
    fn noise_ends(noise in vec((0_usize..100_000, any::<u8>()), 1..40)) {
        let (_, mut file) = small_file();
        for (at, byte) in noise {
            let at = 2 * PAGE_SIZE + at % (file.len() - 2 * PAGE_SIZE);
            file[at] = byte;
        }
        let _ = read(Bytes::from(file));
    }
}

#[test]
fn many_keys_make_several_levels_without_lone_children() {
    let buckets = Buckets::from([("key".into(), numbered(70_000, 20))]);
    let file = write(&buckets);
    let branches: Vec<u16> = file
        .chunks(PAGE_SIZE)
        .filter(|page| u16_at(page, 8) == Some(BRANCH))
        .map(|page| u16_at(page, 10).unwrap())
        .collect();
    assert!(branches.len() > 3, "{branches:?}");
    assert!(branches.iter().all(|children| *children >= 2), "{branches:?}");
    assert_eq!(read(Bytes::from(file)).unwrap(), buckets);
}

#[test]
fn every_count_around_a_level_is_right() {
    // Values that give each key a leaf, and keys of which few fill a branch.
    for count in (1..16).chain([50, 111, 222]) {
        let keys = bucket((0..count).map(|n: u32| {
            let mut key = n.to_be_bytes().to_vec();
            key.resize(1000, 0);
            (key, vec![0; 2500])
        }));
        let buckets = Buckets::from([("key".into(), keys)]);
        assert_eq!(read(Bytes::from(write(&buckets))).unwrap(), buckets, "{count}");
    }
}

#[test]
fn any_byte_may_flip() {
    let (buckets, file) = small_file();
    let (mut refused, mut equal) = (0, 0);
    for at in 0..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 0xff;
        match read(Bytes::from(damaged)) {
            Ok(found) if found == buckets => equal += 1,
            // bbolt has no checksum on data: another key or value is all that may differ.
            Ok(found) => assert!(found.len() <= buckets.len(), "byte {at}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 200 && equal > PAGE_SIZE, "{refused} {equal}");
}

#[test]
fn any_truncation_is_named() {
    let (_, file) = small_file();
    let whole = Bytes::from(file);
    for length in 0..whole.len() {
        match read(whole.slice(..length)) {
            Err(ReadError::NotBbolt) => assert!(length < HEADER + 64),
            Err(ReadError::Truncated { length: found, expected }) => {
                assert_eq!((found, expected), (length as u64, whole.len() as u64));
            }
            other => panic!("{length}: {other:?}"),
        }
    }
}

#[test]
fn either_meta_page_is_enough_and_the_newer_counts() {
    let (buckets, file) = small_file();
    for page in 0..2 {
        let mut damaged = file.clone();
        damaged[page * PAGE_SIZE + HEADER] ^= 1;
        assert_eq!(read(Bytes::from(damaged)).unwrap(), buckets);
    }
    let mut damaged = file.clone();
    damaged[HEADER] ^= 1;
    damaged[PAGE_SIZE + HEADER] ^= 1;
    assert!(matches!(read(Bytes::from(damaged)), Err(ReadError::NotBbolt)));

    // Meta page 1 becomes the newer one, and speaks of another root.
    let mut newer = file.clone();
    let at = PAGE_SIZE + HEADER;
    let mut meta = Meta::decode(&newer[at..]).unwrap();
    meta.transaction = 3;
    meta.root = 1;
    let mut bytes = bytes::BytesMut::new();
    meta.encode(&mut bytes);
    newer[at..at + bytes.len()].copy_from_slice(&bytes);
    assert!(matches!(read(Bytes::from(newer)), Err(ReadError::Meta { .. })));
}

#[test]
fn impossible_meta_pages_are_refused() {
    let (_, file) = small_file();
    let changes: [fn(&mut Meta); 5] = [
        |meta| meta.page_size = 0,
        |meta| meta.page_size = 4095,
        |meta| meta.page_size = 1 << 31,
        |meta| meta.root = meta.high_water,
        |meta| meta.high_water = u64::MAX,
    ];
    for change in changes {
        let refused = read(with_meta(&file, change));
        assert!(matches!(refused, Err(ReadError::Meta { .. })), "{refused:?}");
    }
}

#[test]
fn a_cycle_ends() {
    let buckets = Buckets::from([("key".into(), numbered(60, 250))]);
    let file = write(&buckets);
    let branch = file.chunks(PAGE_SIZE).position(|page| u16_at(page, 8) == Some(BRANCH)).unwrap();
    let child = |index: usize| branch * PAGE_SIZE + HEADER + index * ELEMENT + 8;
    for (index, to) in [(0, branch as u64), (1, branch as u64), (1, 2), (2, 2)] {
        let mut damaged = file.clone();
        damaged[child(index)..child(index) + 8].copy_from_slice(&to.to_le_bytes());
        let refused = read(Bytes::from(damaged));
        assert!(matches!(refused, Err(ReadError::Page { .. })), "{index} to {to}: {refused:?}");
    }
}

#[test]
fn pages_outside_of_the_file_are_refused() {
    let (_, file) = small_file();
    let branch = file.chunks(PAGE_SIZE).position(|page| u16_at(page, 8) == Some(BRANCH)).unwrap();
    let at = branch * PAGE_SIZE + HEADER + 8;
    for to in [0, 1, u64_at(&file, HEADER + 40).unwrap(), u64::MAX] {
        let mut damaged = file.clone();
        damaged[at..at + 8].copy_from_slice(&to.to_le_bytes());
        assert!(
            matches!(read(Bytes::from(damaged)), Err(ReadError::Page { page, .. }) if page == to)
        );
    }
}

#[test]
fn the_writer_refuses_disorder() {
    let layout = sizes(&Buckets::new());
    let key = Bytes::from_static(b"k");
    let mut writer = Writer::new(layout);
    assert_eq!(writer.put(key.clone(), Bytes::new()), Err(WriteError::NoBucket));
    writer.begin_bucket("b").unwrap();
    assert!(matches!(writer.put(Bytes::new(), Bytes::new()), Err(WriteError::Extent { .. })));
    let long = Bytes::from(vec![0; 32_769]);
    assert!(matches!(writer.put(long, Bytes::new()), Err(WriteError::Extent { .. })));
    writer.put(key.clone(), Bytes::new()).unwrap();
    assert!(matches!(writer.put(key, Bytes::new()), Err(WriteError::KeyOrder { .. })));
    assert!(matches!(writer.begin_bucket("b"), Err(WriteError::BucketOrder { .. })));
    assert!(matches!(writer.finish(), Err(WriteError::Layout { .. })));
}
