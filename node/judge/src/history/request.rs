//! What a client can ask, in etcd's words. Sort orders and revision filters are left out: they
//! arrange an answer, and the store's own tests cover them.

use bytes::Bytes;

/// A set of keys as etcd writes it: an empty end is one key, the end `"\0"` all from `key` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key.
    pub key: Bytes,
    /// The first key that is no longer in the range, or one of the two special ends.
    pub end: Bytes,
}

impl KeyRange {
    /// One key.
    #[must_use]
    pub fn single(key: impl Into<Bytes>) -> Self {
        Self { key: key.into(), end: Bytes::new() }
    }

    /// All keys.
    #[must_use]
    pub fn all() -> Self {
        Self { key: Bytes::from_static(b"\0"), end: Bytes::from_static(b"\0") }
    }

    /// The keys from `key` up to but not including `end`.
    #[must_use]
    pub fn between(key: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self { key: key.into(), end: end.into() }
    }

    /// Whether `key` is in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match self.end.as_ref() {
            b"" => key == self.key,
            b"\0" => key >= self.key.as_ref(),
            end => key >= self.key.as_ref() && key < end,
        }
    }
}

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// As fresh as everything acknowledged before the read was asked.
    Linearizable,
    /// Whatever the asked member has applied.
    Serializable,
}

/// What of the keys found comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// Everything.
    Full,
    /// All but values; etcd 3.7 omits the lease too.
    KeysOnly,
    /// Their number.
    CountOnly,
}

/// A read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The keys wanted.
    pub keys: KeyRange,
    /// The revision to read at; 0 is the current one.
    pub revision: i64,
    /// At most so many keys come back; 0 is all.
    pub limit: i64,
    /// How fresh the read must be.
    pub consistency: Consistency,
    /// What comes back.
    pub projection: Projection,
}

impl Range {
    /// A linearizable read of everything about `keys` now.
    #[must_use]
    pub fn current(keys: KeyRange) -> Self {
        let consistency = Consistency::Linearizable;
        Self { keys, revision: 0, limit: 0, consistency, projection: Projection::Full }
    }

    /// A serializable read of everything about `keys`.
    #[must_use]
    pub fn serializable(keys: KeyRange) -> Self {
        Self { consistency: Consistency::Serializable, ..Self::current(keys) }
    }
}

/// A write of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The lease to attach; 0 is none.
    pub lease: i64,
    /// Whether the answer carries the key as it stood.
    pub prev_kv: bool,
    /// Whether the key keeps its value.
    pub ignore_value: bool,
    /// Whether the key keeps its lease.
    pub ignore_lease: bool,
}

impl Put {
    /// A plain write without lease.
    #[must_use]
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            lease: 0,
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        }
    }
}

/// A deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteRange {
    /// The keys to delete.
    pub keys: KeyRange,
    /// Whether the answer carries the keys as they stood.
    pub prev_kv: bool,
}

/// How a compare relates what is stored (left) to what is given (right).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Left equals right.
    Equal,
    /// Left is greater than right.
    Greater,
    /// Left is less than right.
    Less,
    /// Left differs from right.
    NotEqual,
}

/// What of a key is compared, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// How often the key was written since its creation.
    Version(i64),
    /// The revision of its creation.
    Create(i64),
    /// The revision of its last write.
    Mod(i64),
    /// Its value.
    Value(Bytes),
    /// Its lease.
    Lease(i64),
}

/// A condition of a transaction; over a range it must hold for all keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    /// The keys compared.
    pub keys: KeyRange,
    /// How they must relate.
    pub relation: Relation,
    /// To what.
    pub target: Target,
}

/// A transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Txn {
    /// The conditions; all must hold.
    pub compare: Vec<Compare>,
    /// Done if they hold.
    pub success: Vec<TxnOperation>,
    /// Done if they do not.
    pub failure: Vec<TxnOperation>,
}

/// One step of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxnOperation {
    /// A read.
    Range(Range),
    /// A write.
    Put(Put),
    /// A deletion.
    DeleteRange(DeleteRange),
    /// A transaction inside.
    Txn(Txn),
}

/// What a client can ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Read keys.
    Range(Range),
    /// Write a key.
    Put(Put),
    /// Delete keys.
    DeleteRange(DeleteRange),
    /// Read and write on condition.
    Txn(Txn),
    /// Forget what was before `revision`.
    Compact {
        /// The oldest revision that stays readable.
        revision: i64,
    },
    /// Create a lease.
    LeaseGrant {
        /// The id wanted; 0 lets the server choose.
        id: i64,
        /// The time to live wanted, in seconds.
        ttl: i64,
    },
    /// End a lease and delete its keys.
    LeaseRevoke {
        /// The lease.
        id: i64,
    },
    /// Renew a lease.
    LeaseKeepAlive {
        /// The lease.
        id: i64,
    },
    /// Ask how long a lease has left.
    LeaseTimeToLive {
        /// The lease.
        id: i64,
        /// Whether the answer lists the attached keys.
        keys: bool,
    },
}

impl Request {
    /// Whether the request may be answered from what one member has applied.
    #[must_use]
    pub fn is_serializable(&self) -> bool {
        match self {
            Self::Range(range) => range.consistency == Consistency::Serializable,
            Self::Txn(txn) => txn.is_serializable(),
            Self::Put(_)
            | Self::DeleteRange(_)
            | Self::Compact { .. }
            | Self::LeaseGrant { .. }
            | Self::LeaseRevoke { .. }
            | Self::LeaseKeepAlive { .. }
            | Self::LeaseTimeToLive { .. } => false,
        }
    }

    /// Whether the request can make a revision.
    #[must_use]
    pub fn may_write(&self) -> bool {
        match self {
            Self::Put(_) | Self::DeleteRange(_) | Self::LeaseRevoke { .. } => true,
            Self::Txn(txn) => txn.may_write(),
            Self::Range(_)
            | Self::Compact { .. }
            | Self::LeaseGrant { .. }
            | Self::LeaseKeepAlive { .. }
            | Self::LeaseTimeToLive { .. } => false,
        }
    }
}

impl Txn {
    fn operations(&self) -> impl Iterator<Item = &TxnOperation> {
        self.success.iter().chain(&self.failure)
    }

    /// As etcd: without writes or transactions inside, and all of its ranges serializable.
    #[must_use]
    pub fn is_serializable(&self) -> bool {
        self.operations().all(|operation| match operation {
            TxnOperation::Range(range) => range.consistency == Consistency::Serializable,
            TxnOperation::Put(_) | TxnOperation::DeleteRange(_) | TxnOperation::Txn(_) => false,
        })
    }

    /// Whether some branch holds a write.
    #[must_use]
    pub fn may_write(&self) -> bool {
        self.operations().any(|operation| match operation {
            TxnOperation::Range(_) => false,
            TxnOperation::Put(_) | TxnOperation::DeleteRange(_) => true,
            TxnOperation::Txn(txn) => txn.may_write(),
        })
    }
}
