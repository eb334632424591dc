//! Hashes over what is stored: etcd's, to compare with genuine members, and the state hash.
//!
//! ```text
//!   what HashKV asks for:       selection ──► bodies, read and checked   ──► CRC-32C
//!   what a compaction finds:    selection ──► checksums of bodies, joined ──► the same
//!                               └─ of changes, from the index      └─ from the index, too
//! ```
//! The state hash is a wrapping sum of one 64-bit hash for each logical record: each key's current
//! record, each lease, member, alarm …, and the two revisions. So apply keeps it up to date by
//! adding and subtracting, in whatever order members compact or restart, and it can be computed
//! anew from a snapshot. Of a record's body it takes what the index has, checksum and length. It
//! finds divergence, not forgery.

mod body;
mod compaction;
mod history;
mod joined;
mod remembered;
mod selection;

use std::ops::ControlFlow;

use quorate_api::raftpb::ConfState;

use crate::log::Damage;
use crate::mvcc::index::Version;
use crate::mvcc::key_range::KeyRange;
use crate::mvcc::{Mvcc, ReadError};
use crate::revision::Revision;
use crate::snapshot::{BUCKETS, KEY_BUCKET, META_BUCKET, record_key, small_buckets};
use crate::store::Store;

pub use body::BodySum;
pub use compaction::{CompactionHasher, HasherStep};
pub use history::KvHasher;
pub use remembered::{CompactionHash, Remembered};

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

/// What a key's current record adds to the state hash: nothing if it is a tombstone.
#[must_use]
pub fn hash_record(version: &Version) -> u64 {
    if version.is_tombstone() {
        return 0;
    }
    let Revision { main, sub } = version.revision;
    let seed = mix(main.cast_unsigned() ^ FOLD[1], FOLD[2]).wrapping_add(sub.cast_unsigned());
    let BodySum { crc, length } = version.body;
    hash_bytes(seed, &(u64::from(crc) << 32 | u64::from(length)).to_le_bytes())
}

/// What one row of a small table adds to the state hash.
#[must_use]
pub fn hash_row(table: &str, key: &[u8], value: &[u8]) -> u64 {
    hash_bytes(hash_bytes(hash_bytes(0, table.as_bytes()), key), value)
}

/// etcd's hash over no history.
fn empty() -> u32 {
    crc32c::crc32c(KEY_BUCKET.as_bytes())
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
        let key = record_key::of(version.revision, version.is_tombstone());
        crc = crc32c::crc32c_append(crc, key.as_ref());
        crc = crc32c::crc32c_append(crc, &mvcc.body(version.revision)?);
    }
    Ok(crc)
}
