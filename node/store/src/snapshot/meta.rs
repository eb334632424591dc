//! The bucket `meta`: the state's place in the Raft log, and what compaction has reached.

use bytes::Bytes;
use quorate_api::raftpb::ConfState;
use thiserror::Error;

use super::buckets::{META_BUCKET, SmallBuckets};
use super::{conf_state, record_key};
use crate::revision::Revision;

const CONSISTENT_INDEX: &str = "consistent_index";
const TERM: &str = "term";
const CONF_STATE: &str = "confState";
const SCHEDULED: &str = "scheduledCompactRev";
const FINISHED: &str = "finishedCompactRev";
const STORAGE_VERSION: &str = "storageVersion";

/// A value of the bucket `meta` cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("bucket meta: the value of {key:?} {what}")]
pub struct MetaError {
    /// Which value.
    pub key: &'static str,
    /// What is wrong.
    pub what: &'static str,
}

/// The contents of the bucket `meta`. An absent number is 0, anything else `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The last applied entry's index.
    pub consistent_index: u64,
    /// Its term.
    pub term: u64,
    /// The Raft configuration; absent before 3.5.
    pub conf_state: Option<ConfState>,
    /// The main revision that compaction was last asked for, which may be 0.
    pub compact_scheduled: Option<i64>,
    /// The main revision that compaction has last finished.
    pub compact_finished: Option<i64>,
    /// The version of etcd's storage schema, `3.7.0`; absent before 3.6.
    pub storage_version: Option<String>,
}

impl Meta {
    /// Read the bucket. Keys that are not known are ignored.
    ///
    /// # Errors
    /// [`MetaError`] for a value of the wrong length or kind.
    pub fn from_buckets(buckets: &SmallBuckets) -> Result<Self, MetaError> {
        let conf_state = buckets.get(META_BUCKET, CONF_STATE);
        let conf_state = conf_state.map(|json| conf_state::decode(json)).transpose();
        let version = buckets.get(META_BUCKET, STORAGE_VERSION);
        let version = version.map(|text| String::from_utf8(text.to_vec())).transpose();
        Ok(Self {
            consistent_index: number(buckets, CONSISTENT_INDEX)?,
            term: number(buckets, TERM)?,
            conf_state: conf_state
                .map_err(|_| MetaError { key: CONF_STATE, what: "is no configuration" })?,
            compact_scheduled: revision(buckets, SCHEDULED)?,
            compact_finished: revision(buckets, FINISHED)?,
            storage_version: version
                .map_err(|_| MetaError { key: STORAGE_VERSION, what: "is not text" })?,
        })
    }

    /// Put the values into the bucket, as etcd does: an index or term of 0 and `None` are left out.
    pub fn put_into(&self, buckets: &mut SmallBuckets) {
        let Self {
            consistent_index,
            term,
            conf_state,
            compact_scheduled,
            compact_finished,
            storage_version,
        } = self;
        let number = |n: &u64| (*n > 0).then(|| Bytes::copy_from_slice(&n.to_be_bytes()));
        let revision = |main: &Option<i64>| {
            main.map(|main| record_key::encode(Revision { main, sub: 0 }, false))
        };
        let version = storage_version.as_ref().map(|text| Bytes::from(text.clone().into_bytes()));
        let values = [
            (CONSISTENT_INDEX, number(consistent_index)),
            (TERM, number(term)),
            (CONF_STATE, conf_state.as_ref().map(conf_state::encode)),
            (SCHEDULED, revision(compact_scheduled)),
            (FINISHED, revision(compact_finished)),
            (STORAGE_VERSION, version),
        ];
        for (key, value) in values {
            if let Some(value) = value {
                let put = buckets.put(META_BUCKET, Bytes::from_static(key.as_bytes()), value);
                put.expect("the bucket is one of etcd's");
            }
        }
    }
}

fn number(buckets: &SmallBuckets, key: &'static str) -> Result<u64, MetaError> {
    let Some(value) = buckets.get(META_BUCKET, key) else { return Ok(0) };
    let bytes = value[..].try_into().map_err(|_| MetaError { key, what: "has not eight bytes" })?;
    Ok(u64::from_be_bytes(bytes))
}

fn revision(buckets: &SmallBuckets, key: &'static str) -> Result<Option<i64>, MetaError> {
    let Some(value) = buckets.get(META_BUCKET, key) else { return Ok(None) };
    let (revision, _) =
        record_key::decode(value).ok_or(MetaError { key, what: "is no revision" })?;
    Ok(Some(revision.main))
}
