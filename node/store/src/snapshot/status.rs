//! What etcdutl tells of a file without making a member of it: `snapshot status` and `hashkv`.
//!
//! Both walk the records and hold no value; but each key that lives, as etcdutl does.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use quorate_api::Error;
use quorate_api::mvccpb::KeyValue;
use thiserror::Error;

use super::buckets::KEY_BUCKET;
use super::file::{DigestRule, FileError, SnapshotFile, open_reader};
use super::meta::Meta;
use super::record_key;
use crate::bbolt::{Item, ReadAt};
use crate::hash::KvHash;
use crate::log::Record;
use crate::revision::Revision;

/// What `etcdutl snapshot status` says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// CRC-32C over the names and contents of all buckets, of those too that are not etcd's.
    pub hash: u32,
    /// The main revision of the last record; 0 if there is none.
    pub revision: i64,
    /// Keys that live at that revision. The record that `--bump-revision` leaves counts as one.
    pub keys: u64,
    /// Bytes of the database, without a digest.
    pub bytes: u64,
    /// The storage version; absent before 3.6.
    pub storage_version: Option<String>,
}

/// The status of a file, all of which is read.
///
/// # Errors
/// A [`FileError`] if it is not a whole file of etcd's. A digest is checked, which etcdutl does not.
pub fn status<S: ReadAt>(source: S, rule: DigestRule) -> Result<Status, FileError> {
    let reader = open_reader(source, rule)?;
    let (mut hash, mut revision) = (0, 0);
    let mut living = BTreeMap::new();
    let mut buckets = reader.buckets();
    while let Some((name, item)) = buckets.next()? {
        let not_flat =
            || FileError::NotFlat { bucket: String::from_utf8_lossy(&name).into_owned() };
        let Item::Bucket(bucket) = item else { return Err(not_flat()) };
        hash = crc32c::crc32c_append(hash, &name);
        let mut pairs = reader.keys(&bucket);
        while let Some((key, item)) = pairs.next()? {
            let Item::Value(value) = item else { return Err(not_flat()) };
            hash = crc32c::crc32c_append(crc32c::crc32c_append(hash, &key), &value);
            if name == KEY_BUCKET.as_bytes() {
                let (at, tombstone) = revision_of(&key)?;
                revision = at.main;
                note(&mut living, key_of(at, &value)?, at, tombstone);
            }
        }
    }
    let bytes = reader.size();
    let meta = Meta::from_buckets(SnapshotFile::of(reader)?.small_buckets())?;
    let storage_version = meta.storage_version;
    Ok(Status { hash, revision, keys: living.len() as u64, bytes, storage_version })
}

/// Why a file's history has no hash.
#[derive(Debug, Error)]
pub enum HashError {
    /// The file is not what it should be.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no such revision in it.
    #[error("revision {revision}: {source} (the file has {compacted} to {current})")]
    Revision {
        /// What was asked for.
        revision: i64,
        /// etcd's error.
        source: Error,
        /// The lowest that can be asked for.
        compacted: i64,
        /// The highest.
        current: i64,
    },
}

/// HashKV at a revision, 0 for the last, as a member answers that serves the file. All of it is
/// read twice.
///
/// # Errors
/// A [`HashError`].
pub fn hash_kv<S: ReadAt>(file: &SnapshotFile<S>, revision: i64) -> Result<KvHash, HashError> {
    let &Meta { compact_scheduled, compact_finished, .. } = file.meta();
    let compact_revision = compact_scheduled.max(compact_finished).unwrap_or(-1);
    let mut living = BTreeMap::new();
    let current_revision = walk(file, |record| {
        let at = record.revision;
        // Which is the last revision is only known at the end, so later ones are left out below.
        if revision <= 0 || at.main <= revision {
            note(&mut living, key_of(at, &record.body)?, at, record.tombstone);
        }
        Ok(())
    })?;
    let refused = |source| HashError::Revision {
        revision,
        source,
        compacted: compact_revision.max(1),
        current: current_revision,
    };
    if revision > 0 && revision < compact_revision {
        return Err(refused(Error::Compacted));
    }
    if revision > current_revision {
        return Err(refused(Error::FutureRevision));
    }
    let revision = if revision <= 0 { current_revision } else { revision };
    let kept: std::collections::BTreeSet<Revision> = living.into_values().collect();
    let mut hash = crc32c::crc32c(KEY_BUCKET.as_bytes());
    walk(file, |record| {
        let at = record.revision;
        let is_old = at.main <= compact_revision;
        let is_compacted = is_old && !kept.is_empty() && !kept.contains(&at);
        // Whether a deletion right there is kept differs between releases, so it never counts.
        let is_last_deletion = record.tombstone && at.main == compact_revision;
        if at.main > revision || is_compacted || is_last_deletion {
            return Ok(());
        }
        let key = record_key::encode(at, record.tombstone);
        hash = crc32c::crc32c_append(crc32c::crc32c_append(hash, &key), &record.body);
        Ok(())
    })?;
    Ok(KvHash { hash, revision, compact_revision, current_revision })
}

/// See every record; the store's revision. One that `--bump-revision` left is of the key that is
/// empty, as in a member of etcd's.
fn walk<S: ReadAt>(
    file: &SnapshotFile<S>,
    mut see: impl FnMut(&Record) -> Result<(), FileError>,
) -> Result<i64, FileError> {
    let mut records = file.records()?;
    loop {
        let revision = records.next_revision()?;
        if revision.is_empty() {
            return Ok(records.revision());
        }
        revision.iter().try_for_each(&mut see)?;
    }
}

fn note(living: &mut BTreeMap<Bytes, Revision>, key: Bytes, at: Revision, tombstone: bool) {
    if tombstone {
        living.remove(&key);
    } else {
        living.insert(key, at);
    }
}

fn revision_of(key: &Bytes) -> Result<(Revision, bool), FileError> {
    record_key::decode(key).ok_or_else(|| FileError::RecordKey { key: key.clone() })
}

/// The key that a record is about, copied, so that it does not keep its page in memory.
fn key_of(at: Revision, body: &Bytes) -> Result<Bytes, FileError> {
    let wrong = |_| FileError::Record { main: at.main, sub: at.sub, what: "is no KeyValue" };
    Ok(Bytes::copy_from_slice(&KeyValue::decode(body.clone()).map_err(wrong)?.key))
}
