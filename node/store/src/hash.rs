//! Hashes over what is stored: etcd's, to compare with genuine members, and the state hash.
//!
//! The state hash is a wrapping sum of one 64-bit hash for each logical record: each key's current
//! record, each lease, member, alarm …, and the two revisions. So apply keeps it up to date by
//! adding and subtracting, in whatever order members compact or restart, and it can be computed
//! anew from a snapshot. It finds divergence, not forgery.

use crate::revision::Revision;

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
