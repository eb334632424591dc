//! The moment at which a snapshot is taken.

use quorate_api::raftpb::ConfState;

use super::auth_defaults;
use super::buckets::SmallBuckets;
use super::meta::Meta;
use super::stream::{SnapshotStream, Trailer};
use crate::compaction::NEVER;
use crate::store::Store;

/// The first minor version of etcd 3 whose files name the version of their schema.
const NAMED_SINCE_MINOR: u64 = 6;

/// Take a snapshot of the store as it is now. Copies the small tables and pins the log; the
/// stream then does without the store. `conf_state` is Raft's configuration at the store's applied
/// index.
#[must_use]
pub fn capture(store: &mut Store, conf_state: &ConfState, trailer: Trailer) -> SnapshotStream {
    let small = small_buckets(store, conf_state);
    SnapshotStream::new(small, store.mvcc_mut().log_mut().pin(), trailer)
}

/// What etcd's file would have besides the records, for who keeps it with a
/// [`Pin`](crate::log::Pin) of the same moment.
#[must_use]
pub fn small_buckets(store: &Store, conf_state: &ConfState) -> SmallBuckets {
    let mut small = SmallBuckets::new();
    for (bucket, rows) in store.tables().buckets() {
        for (key, value) in rows {
            small.put(bucket, key, value).expect("the tables are named as etcd's buckets");
        }
    }
    auth_defaults::put_absent(&mut small);
    let revisions = store.mvcc().revisions();
    let unless_never = |revision: i64| (revision != NEVER).then_some(revision);
    let meta = Meta {
        consistent_index: store.applied_index(),
        term: store.applied_term(),
        conf_state: Some(conf_state.clone()),
        compact_scheduled: unless_never(revisions.compact_scheduled),
        compact_finished: unless_never(revisions.compact_finished),
        storage_version: storage_version(store.cluster().version.as_deref()),
    };
    meta.put_into(&mut small);
    small
}

/// The schema's version follows the cluster's, as in etcd: a member of the cluster's version can
/// then read the file.
fn storage_version(cluster_version: Option<&str>) -> Option<String> {
    let mut numbers = cluster_version?.split('.').map(str::parse::<u64>);
    let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (major == 3 && minor >= NAMED_SINCE_MINOR).then(|| format!("{major}.{minor}.0"))
}
