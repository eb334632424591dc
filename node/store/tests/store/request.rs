//! What is asked of a store, and what it says, whichever store it is.

use quorate_api::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse,
    LeaseGrantRequest, LeaseGrantResponse, LeaseRevokeRequest, LeaseRevokeResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, TxnRequest, TxnResponse,
};

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Request {
    Range(RangeRequest),
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
    Grant(LeaseGrantRequest),
    Revoke(LeaseRevokeRequest),
    /// HashKV at a revision.
    Hash(i64),
}

/// A reply. Headers have the revision only.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    Range(RangeResponse),
    Put(PutResponse),
    DeleteRange(DeleteRangeResponse),
    Txn(TxnResponse),
    Compact(CompactionResponse),
    Grant(LeaseGrantResponse),
    Revoke(LeaseRevokeResponse),
    Hash { hash: u32, revision: i64, compact_revision: i64 },
}

/// A reply, or the text of an error.
pub(crate) type Answer = Result<Reply, String>;
