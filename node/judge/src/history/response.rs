//! What comes back to a client.

use bytes::Bytes;

/// A key as it stands after a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// The revision that created it.
    pub create_revision: i64,
    /// The revision that wrote it last.
    pub mod_revision: i64,
    /// How often it was written since its creation.
    pub version: i64,
    /// Its lease; 0 is none.
    pub lease: i64,
}

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RangeResult {
    /// The keys, in order.
    pub kvs: Vec<KeyValue>,
    /// How many are in the range, whatever the limit.
    pub count: i64,
    /// Whether the limit cut some off.
    pub more: bool,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The revision in its header.
    pub revision: i64,
    /// What it says.
    pub body: Body,
}

/// What an answer says, by the kind of its request. Answers inside of a transaction have no
/// header here: theirs adds nothing to the outer one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A read.
    Range(RangeResult),
    /// A write.
    Put {
        /// The key as it stood, if asked for and there.
        prev_kv: Option<KeyValue>,
    },
    /// A deletion.
    DeleteRange {
        /// How many keys were deleted.
        deleted: i64,
        /// The keys as they stood, if asked for.
        prev_kvs: Vec<KeyValue>,
    },
    /// A transaction.
    Txn {
        /// Whether its conditions held.
        succeeded: bool,
        /// The answers of the branch taken.
        results: Vec<Body>,
    },
    /// A compaction.
    Compact,
    /// A new lease.
    LeaseGrant {
        /// Its id.
        id: i64,
        /// Its time to live in seconds.
        ttl: i64,
    },
    /// The end of a lease.
    LeaseRevoke,
    /// A renewal.
    LeaseKeepAlive {
        /// The lease.
        id: i64,
        /// Its time to live in seconds; 0 if there is no such lease.
        ttl: i64,
    },
    /// How long a lease has left.
    LeaseTimeToLive {
        /// The lease.
        id: i64,
        /// Whole seconds left, rounded down; −1 if there is no such lease.
        ttl: i64,
        /// What it was granted, in seconds.
        granted_ttl: i64,
        /// The attached keys in order, if asked for.
        keys: Vec<Bytes>,
    },
}

impl Body {
    /// Whether the answered request made a revision. None for the end of a lease, whose answer
    /// does not tell whether keys were attached.
    #[must_use]
    pub fn wrote(&self) -> Option<bool> {
        match self {
            Self::Put { .. } => Some(true),
            Self::DeleteRange { deleted, .. } => Some(*deleted > 0),
            Self::Txn { results, .. } => {
                Some(results.iter().any(|result| result.wrote() == Some(true)))
            }
            Self::LeaseRevoke => None,
            Self::Range(_)
            | Self::Compact
            | Self::LeaseGrant { .. }
            | Self::LeaseKeepAlive { .. }
            | Self::LeaseTimeToLive { .. } => Some(false),
        }
    }

    /// Hands every key that the answer shows in full, with value and lease, to `visit`.
    pub fn visit_kvs<'a>(&'a self, visit: &mut impl FnMut(&'a KeyValue)) {
        match self {
            Self::Range(RangeResult { kvs, .. }) => kvs.iter().for_each(visit),
            Self::Put { prev_kv } => prev_kv.iter().for_each(visit),
            Self::DeleteRange { prev_kvs, .. } => prev_kvs.iter().for_each(visit),
            Self::Txn { results, .. } => {
                for result in results {
                    result.visit_kvs(visit);
                }
            }
            Self::Compact
            | Self::LeaseGrant { .. }
            | Self::LeaseRevoke
            | Self::LeaseKeepAlive { .. }
            | Self::LeaseTimeToLive { .. } => {}
        }
    }
}

/// Why the state machine said no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The revision asked for is compacted.
    Compacted,
    /// The revision asked for is not there yet.
    FutureRevision,
    /// The key whose value or lease was to be kept does not exist.
    KeyNotFound,
    /// There is no such lease.
    LeaseNotFound,
    /// The lease wanted exists.
    LeaseExists,
    /// The request is malformed (a key written twice in one transaction, say).
    Invalid,
}
