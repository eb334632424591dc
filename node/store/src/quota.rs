//! What requests cost, and whether they may make the store grow.
//!
//! Checked before a request is proposed, never when it is applied: a member's fill level must not
//! change what an entry does. Bytes that count are the live ones, which compaction could not free
//! now.

use quorate_api::etcdserverpb::request_op::Request;
use quorate_api::etcdserverpb::{PutRequest, RequestOp, TxnRequest};

/// What a key costs besides its bytes (etcd's estimate).
pub const KEY_OVERHEAD_BYTES: u64 = 256;

/// What a lease costs (etcd's estimate).
pub const LEASE_BYTES: u64 = 64;

/// The quota when none is configured.
pub const QUOTA_BYTES_DEFAULT: u64 = 2 << 30;

/// Bytes that a put may add.
#[must_use]
pub fn put_cost(put: &PutRequest) -> u64 {
    KEY_OVERHEAD_BYTES + put.key.len() as u64 + put.value.len() as u64
}

/// Bytes that a transaction may add: the dearer of its branches, nested ones included.
#[must_use]
pub fn txn_cost(txn: &TxnRequest) -> u64 {
    let branch = |ops: &[RequestOp]| ops.iter().map(op_cost).fold(0, u64::saturating_add);
    branch(&txn.success).max(branch(&txn.failure))
}

fn op_cost(op: &RequestOp) -> u64 {
    match &op.request {
        Some(Request::RequestPut(put)) => put_cost(put),
        Some(Request::RequestTxn(txn)) => txn_cost(txn),
        Some(Request::RequestRange(_) | Request::RequestDeleteRange(_)) | None => 0,
    }
}

/// How large the store may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// As large as the disk allows.
    Unlimited,
    /// Up to so many live bytes.
    Bytes(u64),
}

impl Default for Quota {
    fn default() -> Self {
        Self::Bytes(QUOTA_BYTES_DEFAULT)
    }
}

impl Quota {
    /// etcd's flag: 0 is the default, negative is unlimited.
    #[must_use]
    pub fn from_flag(bytes: i64) -> Self {
        match u64::try_from(bytes) {
            Err(_) => Self::Unlimited,
            Ok(0) => Self::default(),
            Ok(bytes) => Self::Bytes(bytes),
        }
    }

    /// Whether a request of this cost may be proposed now. What costs nothing always may.
    #[must_use]
    pub fn allows(&self, live_bytes: u64, cost: u64) -> bool {
        match self {
            Self::Unlimited => true,
            Self::Bytes(quota) => cost == 0 || live_bytes.saturating_add(cost) < *quota,
        }
    }
}
