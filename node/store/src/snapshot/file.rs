//! A snapshot that has arrived as a file: ours, or a genuine etcd's.

use std::io;

use bytes::Bytes;
use prost::Message;
use quorate_api::mvccpb::KeyValue;
use quorate_api::version::Version;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::buckets::{BUCKETS, KEY_BUCKET, META_BUCKET, SmallBuckets};
use super::meta::{Meta, MetaError};
use super::record_key;
use crate::bbolt::{Cursor, Item, ReadAt, ReadError, Reader};
use crate::log::Record;
use crate::revision::Revision;

/// Bytes of a SHA-256.
const DIGEST_BYTES: u64 = 32;
/// The file's length is a multiple of this, so a remainder of 32 is a digest (as in etcdutl).
const SECTOR_BYTES: u64 = 512;
/// What is read at once for the digest.
const DIGEST_CHUNK_BYTES: u64 = 1 << 20;

/// How a digest behind the file is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestRule {
    /// It must be there and right: backups.
    Required,
    /// It must be right if it is there: members among each other send none.
    IfPresent,
    /// It is skipped: the user says so.
    Skip,
}

/// Why a file is no snapshot that can be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// The disk failed.
    #[error("reading the snapshot at {offset}")]
    Io {
        /// Where.
        offset: u64,
        /// What the disk says.
        source: io::Error,
    },
    /// Neither a file's length nor that of a file with a digest: something is missing at its end.
    #[error("the snapshot is cut off: {length} bytes are no whole file")]
    Length {
        /// What is there.
        length: u64,
    },
    /// There is no digest behind the file.
    #[error(
        "the snapshot has no SHA-256 at its end: its end is missing, or it is a copy of a \
         database, for which --skip-hash-check is"
    )]
    DigestMissing,
    /// The digest is not that of the file.
    #[error("the snapshot is damaged: it does not fit the SHA-256 at its end")]
    Digest,
    /// A later etcd wrote it, and may have put in what is not known here.
    #[error("the snapshot has the storage version {found}, and versions up to {newest} are read")]
    Newer {
        /// The storage version that it names.
        found: String,
        /// The newest that is read.
        newest: Version,
    },
    /// The file is damaged, or no bbolt file.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A bucket is missing without which this is no etcd snapshot.
    #[error("the snapshot has no bucket {bucket:?}")]
    BucketMissing {
        /// Its name.
        bucket: &'static str,
    },
    /// A bucket lies in another, or a value beside the buckets; etcd makes neither.
    #[error("the snapshot's bucket {bucket:?} is not flat")]
    NotFlat {
        /// Its name.
        bucket: String,
    },
    /// The bucket `meta` cannot be read.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// A record's key is no revision.
    #[error("the snapshot's record key {key:02x?} is no revision")]
    RecordKey {
        /// The key.
        key: Bytes,
    },
    /// A record is not what etcd writes.
    #[error("the snapshot's record at revision {main}/{sub} {what}")]
    Record {
        /// Main revision.
        main: i64,
        /// Sub revision.
        sub: i64,
        /// What is wrong.
        what: &'static str,
    },
}

/// A verified file with its small buckets; [`SnapshotFile::records`] walks the rest.
pub struct SnapshotFile<S> {
    reader: Reader<S>,
    small: SmallBuckets,
    meta: Meta,
}

impl<S: ReadAt> SnapshotFile<S> {
    /// Open a file. Reads all of it if there is a digest to verify.
    ///
    /// # Errors
    /// A [`FileError`].
    pub fn open(source: S, digest: DigestRule) -> Result<Self, FileError> {
        Self::of(open_reader(source, digest)?)
    }

    /// The file of these pages.
    pub(super) fn of(reader: Reader<S>) -> Result<Self, FileError> {
        let small = read_small_buckets(&reader)?;
        let meta = Meta::from_buckets(&small)?;
        check_version(&meta)?;
        Ok(Self { reader, small, meta })
    }

    /// The contents of all buckets but the records'.
    #[must_use]
    pub fn small_buckets(&self) -> &SmallBuckets {
        &self.small
    }

    /// The state's place in the Raft log, and what compaction has reached.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The records, in order.
    ///
    /// # Errors
    /// A [`FileError`].
    pub fn records(&self) -> Result<Records<S>, FileError> {
        let bucket = self.reader.bucket(KEY_BUCKET)?;
        let bucket = bucket.ok_or(FileError::BucketMissing { bucket: KEY_BUCKET })?;
        let Meta { compact_scheduled, compact_finished, .. } = self.meta;
        Ok(Records {
            cursor: self.reader.keys(&bucket),
            pending: None,
            last: Revision::default(),
            // etcd begins at 1, and never goes back behind a compaction.
            revision: compact_scheduled.max(compact_finished).unwrap_or(1).max(1),
        })
    }
}

/// A walk over the records of a file.
pub struct Records<S> {
    cursor: Cursor<S>,
    /// The first record of the revision that comes next.
    pending: Option<Record>,
    last: Revision,
    revision: i64,
}

impl<S: ReadAt> Records<S> {
    /// All records of the next main revision, ascending; none at the end.
    ///
    /// # Errors
    /// A [`FileError`] names the page or record that is wrong.
    pub fn next_revision(&mut self) -> Result<Vec<Record>, FileError> {
        let mut records = Vec::new();
        if let Some(first) = self.pending.take() {
            records.push(first);
        }
        while let Some(record) = self.next_record()? {
            let first = records.first();
            if first.is_some_and(|first| first.revision.main != record.revision.main) {
                self.pending = Some(record);
                break;
            }
            records.push(record);
        }
        Ok(records)
    }

    /// The highest main revision so far; at the end of the walk, the store's current one.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The main revision of the last record so far; 0 if there was none.
    #[must_use]
    pub fn last(&self) -> i64 {
        self.last.main
    }

    fn next_record(&mut self) -> Result<Option<Record>, FileError> {
        let Some((key, item)) = self.cursor.next()? else { return Ok(None) };
        let Item::Value(body) = item else {
            return Err(FileError::NotFlat { bucket: KEY_BUCKET.into() });
        };
        let Some((revision, tombstone)) = record_key::decode(&key) else {
            return Err(FileError::RecordKey { key });
        };
        let wrong = |what| FileError::Record { main: revision.main, sub: revision.sub, what };
        if revision <= self.last {
            return Err(wrong("comes after another of the same revision, or has revision 0"));
        }
        self.last = revision;
        self.revision = self.revision.max(revision.main);
        verify_body(revision, tombstone, &body).map_err(wrong)?;
        Ok(Some(Record { revision, tombstone, body }))
    }
}

/// A body is what etcd writes. `etcdutl snapshot restore --bump-revision` writes an empty one.
fn verify_body(revision: Revision, tombstone: bool, body: &Bytes) -> Result<(), &'static str> {
    if body.is_empty() && !tombstone {
        return Ok(());
    }
    let KeyValue { key, create_revision, mod_revision, version, value, lease } =
        KeyValue::decode(body.clone()).map_err(|_| "is no KeyValue")?;
    if key.is_empty() {
        return Err("has an empty key");
    }
    if tombstone {
        let only_key = create_revision == 0
            && mod_revision == 0
            && version == 0
            && value.is_empty()
            && lease == 0;
        return if only_key { Ok(()) } else { Err("is a tombstone with more than a key") };
    }
    if mod_revision != revision.main {
        return Err("speaks of another revision");
    }
    if create_revision < 1 || create_revision > mod_revision || version < 1 {
        return Err("has an impossible create revision or version");
    }
    Ok(())
}

fn read_small_buckets<S: ReadAt>(reader: &Reader<S>) -> Result<SmallBuckets, FileError> {
    let mut small = SmallBuckets::new();
    let mut found = Vec::new();
    let mut buckets = reader.buckets();
    while let Some((name, item)) = buckets.next()? {
        let not_flat =
            || FileError::NotFlat { bucket: String::from_utf8_lossy(&name).into_owned() };
        let Item::Bucket(bucket) = item else { return Err(not_flat()) };
        // A bucket that etcd does not know is none of our business.
        let Some(known) = BUCKETS.into_iter().find(|known| name == known.as_bytes()) else {
            continue;
        };
        found.push(known);
        if known == KEY_BUCKET {
            continue;
        }
        let mut keys = reader.keys(&bucket);
        while let Some((key, item)) = keys.next()? {
            let Item::Value(value) = item else { return Err(not_flat()) };
            // Copied, so that a few bytes do not keep their page in memory.
            let (key, value) = (Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value));
            small.put(known, key, value).expect("the bucket is one of etcd's");
        }
    }
    for bucket in [KEY_BUCKET, META_BUCKET] {
        if !found.contains(&bucket) {
            return Err(FileError::BucketMissing { bucket });
        }
    }
    Ok(small)
}

/// A file's pages. What it is comes first, and what is missing; then whether it is whole.
pub(super) fn open_reader<S: ReadAt>(source: S, rule: DigestRule) -> Result<Reader<S>, FileError> {
    let length = source.length().map_err(|source| FileError::Io { offset: 0, source })?;
    let has_digest = length % SECTOR_BYTES == DIGEST_BYTES;
    let db_bytes = if has_digest { length - DIGEST_BYTES } else { length };
    let reader = Reader::open_prefix(source, db_bytes)?;
    match rule {
        _ if !has_digest && !length.is_multiple_of(SECTOR_BYTES) => {
            Err(FileError::Length { length })
        }
        DigestRule::Required if !has_digest => Err(FileError::DigestMissing),
        DigestRule::Required | DigestRule::IfPresent if has_digest => {
            verify_digest(reader.source(), db_bytes)?;
            Ok(reader)
        }
        DigestRule::Required | DigestRule::IfPresent | DigestRule::Skip => Ok(reader),
    }
}

/// Whether the first bytes fit the digest behind them.
fn verify_digest<S: ReadAt>(source: &S, db_bytes: u64) -> Result<(), FileError> {
    let read = |offset: u64, bytes: u64| {
        let read = source.read_at(offset, bytes as usize);
        read.map_err(|source| FileError::Io { offset, source })
    };
    let mut digest = Sha256::new();
    let mut offset = 0;
    while offset < db_bytes {
        let bytes = DIGEST_CHUNK_BYTES.min(db_bytes - offset);
        digest.update(read(offset, bytes)?);
        offset += bytes;
    }
    let expected = read(db_bytes, DIGEST_BYTES)?;
    if digest.finalize()[..] == expected[..] { Ok(()) } else { Err(FileError::Digest) }
}

/// A storage version that is not named is older than those that are.
fn check_version(meta: &Meta) -> Result<(), FileError> {
    let newest = Version::ETCD.without_patch();
    let Some(found) = &meta.storage_version else { return Ok(()) };
    match Version::parse(found) {
        Some(version) if version.without_patch() <= newest => Ok(()),
        _ => Err(FileError::Newer { found: found.clone(), newest }),
    }
}
