//! Hashes over what is stored: etcd's, to compare with genuine members, and the state hash.
//!
//! The state hash is a wrapping sum of one 64-bit hash for each logical record: each key's current
//! record, each lease, member, alarm …, and the two revisions. So apply keeps it up to date by
//! adding and subtracting, in whatever order members compact or restart, and it can be computed
//! anew from a snapshot. It finds divergence, not forgery.

use std::ops::ControlFlow;

use bytes::Bytes;
use quorate_api::Error;
use quorate_api::raftpb::ConfState;

use crate::log::Damage;
use crate::mvcc::index::{Version, Versions};
use crate::mvcc::key_range::KeyRange;
use crate::mvcc::{Mvcc, ReadError};
use crate::revision::Revision;
use crate::snapshot::{BUCKETS, KEY_BUCKET, META_BUCKET, record_key, small_buckets};
use crate::store::Store;

/// Odd 64-bit constants without structure (digits of π).
const FOLD: [u64; 3] = [0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7345, 0xA409_3822_299F_31D1];

fn mix(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product as u64) ^ ((product >> 64) as u64)
}

fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

/// 64 bits of `bytes`, by folded multiplication; the same everywhere and in every release.
#[must_use]
pub fn hash_bytes(seed: u64, bytes: &[u8]) -> u64 {
    let mut state = mix(seed ^ FOLD[0], FOLD[1]);
    for chunk in bytes.chunks(16) {
        let (low, high) = chunk.split_at(chunk.len().min(8));
        let (low, high) = (word(low), word(high));
        state = mix(state ^ low, high ^ FOLD[2]).wrapping_add(low ^ high.rotate_left(29));
    }
    mix(state ^ FOLD[2], bytes.len() as u64 ^ FOLD[0])
}

/// What a key's current record adds to the state hash.
#[must_use]
pub fn hash_record(revision: Revision, body: &[u8]) -> u64 {
    let seed = mix(revision.main.cast_unsigned() ^ FOLD[1], FOLD[2])
        .wrapping_add(revision.sub.cast_unsigned());
    hash_bytes(seed, body)
}

/// What one row of a small table adds to the state hash.
#[must_use]
pub fn hash_row(table: &str, key: &[u8], value: &[u8]) -> u64 {
    hash_bytes(hash_bytes(hash_bytes(0, table.as_bytes()), key), value)
}

/// etcd's hash over the history of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvHash {
    /// CRC-32C over the records' keys and values.
    pub hash: u32,
    /// The revision up to which records are hashed.
    pub revision: i64,
    /// The compacted revision that it depends on; -1 if there was no compaction.
    pub compact_revision: i64,
    /// The store's revision.
    pub current_revision: i64,
}

/// HashKV in steps: first what is to be hashed is collected from the index, then it is read in
/// the order of revisions. While it runs, a pin must keep the records.
#[derive(Debug)]
pub struct KvHasher {
    revision: i64,
    compact_revision: i64,
    /// Where collecting goes on; `None` once it is done.
    rest: Option<KeyRange>,
    /// Of keys that exist at the hashed revision, the newest change up to it: what compaction
    /// there would keep. `true` in `old` if a change is one of these.
    kept: u64,
    /// Changes up to the compacted revision that it keeps.
    old: Vec<(Version, bool)>,
    /// Changes to hash in any case.
    wanted: Vec<Version>,
    hashed: usize,
    crc: u32,
}

/// Keys or records of one step.
const HASH_STEP: usize = 512;

impl KvHasher {
    /// Begin at a revision; 0 means the current one.
    ///
    /// # Errors
    /// [`Error::Compacted`] or [`Error::FutureRevision`].
    pub fn new(mvcc: &Mvcc, revision: i64) -> Result<Self, Error> {
        let compact_revision = mvcc.compact_revision();
        if revision > 0 && revision < compact_revision {
            return Err(Error::Compacted);
        }
        if revision > mvcc.current_revision() {
            return Err(Error::FutureRevision);
        }
        let revision = if revision == 0 { mvcc.current_revision() } else { revision };
        let rest = Some(KeyRange::all());
        let crc = crc32c::crc32c(b"key");
        let (old, wanted) = (Vec::new(), Vec::new());
        Ok(Self { revision, compact_revision, rest, kept: 0, old, wanted, hashed: 0, crc })
    }

    /// Do a step; the hash, once it is complete.
    ///
    /// # Errors
    /// [`Damage`] if the disk does not give back what was written.
    pub fn step(&mut self, mvcc: &Mvcc) -> Result<Option<KvHash>, Damage> {
        if let Some(rest) = self.rest.take() {
            self.rest = self.collect(mvcc, &rest);
            if self.rest.is_none() {
                self.choose();
            }
            return Ok(None);
        }
        let records = self.wanted.iter().skip(self.hashed).take(HASH_STEP);
        let mut done = 0;
        for version in records {
            let body = mvcc.body(version.revision)?;
            self.crc = crc32c::crc32c_append(self.crc, &record_key(version));
            self.crc = crc32c::crc32c_append(self.crc, &body);
            done += 1;
        }
        self.hashed += done;
        Ok((self.hashed == self.wanted.len()).then(|| KvHash {
            hash: self.crc,
            revision: self.revision,
            compact_revision: self.compact_revision,
            current_revision: mvcc.current_revision(),
        }))
    }

    fn collect(&mut self, mvcc: &Mvcc, range: &KeyRange) -> Option<KeyRange> {
        let mut seen = 0;
        let mut rest = None;
        mvcc.index().visit(range, &mut |key, versions| {
            self.see(versions);
            seen += 1;
            if seen < HASH_STEP {
                return ControlFlow::Continue(());
            }
            rest = Some(range.after(key));
            ControlFlow::Break(())
        });
        rest
    }

    fn see(&mut self, versions: &Versions) {
        let Some(newest) = versions.newest_until(self.revision) else { return };
        self.kept += u64::from(!newest.is_tombstone());
        // Nothing older than the newest change up to the compacted revision is left, whether or
        // not the compaction is carried out yet; and a tombstone there does not count.
        if let Some(base) = versions.at(self.compact_revision) {
            self.old.push((base, base == newest));
        }
        let later = versions.iter().filter(|version| {
            version.revision.main > self.compact_revision && version.revision.main <= self.revision
        });
        self.wanted.extend(later);
    }

    /// Of the old changes, hash those that compaction at the hashed revision would keep; if it
    /// would keep none, of whatever age, hash all.
    fn choose(&mut self) {
        let all = self.kept == 0;
        let old = std::mem::take(&mut self.old);
        let chosen = old.into_iter().filter(|(_, kept)| all || *kept);
        self.wanted.extend(chosen.map(|(version, _)| version));
        self.wanted.sort_unstable_by_key(|version| version.revision);
    }
}

/// The record's key in etcd's `key` bucket.
fn record_key(version: &Version) -> Bytes {
    record_key::encode(version.revision, version.is_tombstone())
}

/// HashKV at once.
///
/// # Errors
/// etcd's error for the revision, or damage.
pub fn hash_kv(mvcc: &Mvcc, revision: i64) -> Result<KvHash, ReadError> {
    let mut hasher = KvHasher::new(mvcc, revision)?;
    loop {
        if let Some(hash) = hasher.step(mvcc)? {
            return Ok(hash);
        }
    }
}

/// Rows of the bucket `meta` that differ between members, or change without any request.
const NOT_HASHED: [&[u8]; 3] = [b"consistent_index", b"term", b"storageVersion"];

/// etcd's Hash: CRC-32C over the names and contents of all buckets. It depends on how far
/// compaction is carried out, so that it serves tests rather than operation; at once, so that a
/// large store is locked for long.
///
/// # Errors
/// [`Damage`] if the disk does not give back what was written.
pub fn hash_store(store: &Store, conf_state: &ConfState) -> Result<u32, Damage> {
    let small = small_buckets(store, conf_state);
    let mut crc = 0;
    for bucket in BUCKETS {
        crc = crc32c::crc32c_append(crc, bucket.as_bytes());
        if bucket == KEY_BUCKET {
            crc = hash_records(store.mvcc(), crc)?;
            continue;
        }
        for (key, value) in small.pairs(bucket) {
            if bucket != META_BUCKET || !NOT_HASHED.contains(&key.as_ref()) {
                crc = crc32c::crc32c_append(crc, key);
                crc = crc32c::crc32c_append(crc, value);
            }
        }
    }
    Ok(crc)
}

/// Append all records that are there, in the order of their revisions.
fn hash_records(mvcc: &Mvcc, mut crc: u32) -> Result<u32, Damage> {
    let mut all = Vec::new();
    mvcc.index().visit(&KeyRange::all(), &mut |_, versions| {
        all.extend(versions.iter());
        ControlFlow::Continue(())
    });
    all.sort_unstable_by_key(|version| version.revision);
    for version in &all {
        crc = crc32c::crc32c_append(crc, &record_key(version));
        crc = crc32c::crc32c_append(crc, &mvcc.body(version.revision)?);
    }
    Ok(crc)
}
