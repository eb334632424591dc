//! The buckets of etcd's file, by name, and the contents of the small ones.

use std::collections::BTreeMap;

use bytes::Bytes;
use thiserror::Error;

/// The bucket of the records, the one that is not small.
pub const KEY_BUCKET: &str = "key";
/// The bucket of the applied index, the compaction and the like.
pub const META_BUCKET: &str = "meta";

/// All buckets that etcd creates, in their order in the file. They are there even when empty.
pub const BUCKETS: [&str; 10] = [
    "alarm",
    "auth",
    "authRoles",
    "authUsers",
    "cluster",
    KEY_BUCKET,
    "lease",
    "members",
    "members_removed",
    META_BUCKET,
];

/// A bucket that etcd does not have, or the one that is not small.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no small bucket of etcd is named {0:?}")]
pub struct UnknownBucket(pub String);

/// The contents of all buckets but [`KEY_BUCKET`], in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmallBuckets {
    buckets: BTreeMap<&'static str, BTreeMap<Bytes, Bytes>>,
}

impl Default for SmallBuckets {
    fn default() -> Self {
        let small = BUCKETS.into_iter().filter(|name| *name != KEY_BUCKET);
        Self { buckets: small.map(|name| (name, BTreeMap::new())).collect() }
    }
}

impl SmallBuckets {
    /// Every bucket, empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Put a key into a bucket.
    ///
    /// # Errors
    /// [`UnknownBucket`].
    pub fn put(&mut self, bucket: &str, key: Bytes, value: Bytes) -> Result<(), UnknownBucket> {
        let keys = self.buckets.get_mut(bucket).ok_or_else(|| UnknownBucket(bucket.into()))?;
        keys.insert(key, value);
        Ok(())
    }

    /// A bucket's keys and values, ascending; none if there is no such bucket.
    pub fn pairs(&self, bucket: &str) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.buckets.get(bucket).into_iter().flatten()
    }

    /// A key's value.
    #[must_use]
    pub fn get(&self, bucket: &str, key: &str) -> Option<&Bytes> {
        self.buckets.get(bucket)?.get(key.as_bytes())
    }
}
