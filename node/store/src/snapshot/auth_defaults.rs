//! What etcd writes into the bucket `auth` of a store that never had users.
//!
//! Our tables hold only what differs, so that a store which grew from nothing and one which came
//! from a genuine snapshot have equal state hashes.

use bytes::Bytes;

use super::buckets::SmallBuckets;

const BUCKET: &str = "auth";
/// Authentication is off, and its revision is the first.
const ROWS: [(&str, &[u8]); 2] =
    [("authEnabled", &[0]), ("authRevision", &[0, 0, 0, 0, 0, 0, 0, 1])];

/// Put the rows that are absent.
pub(super) fn put_absent(small: &mut SmallBuckets) {
    for (key, value) in ROWS {
        if small.get(BUCKET, key).is_none() {
            let put = small.put(BUCKET, key.into(), Bytes::from_static(value));
            put.expect("the bucket is one of etcd's");
        }
    }
}

/// Whether a row says no more than its absence does.
pub(super) fn is_default(bucket: &str, key: &[u8], value: &[u8]) -> bool {
    bucket == BUCKET
        && ROWS.iter().any(|(name, default)| key == name.as_bytes() && value == *default)
}
