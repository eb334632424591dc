//! What a request must be like before it is proposed, by etcd's rules; none of it needs a store.

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate_api::Error;
use quorate_api::etcdserverpb::range_request::{SortOrder, SortTarget};
use quorate_api::etcdserverpb::request_op::Request;
use quorate_api::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};

use crate::mvcc::key_range::KeyRange;

/// Check a range.
///
/// # Errors
/// The reply that it gets.
pub fn check_range(request: &RangeRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if SortOrder::try_from(request.sort_order).is_err()
        || SortTarget::try_from(request.sort_target).is_err()
    {
        return Err(Error::InvalidSortOption);
    }
    Ok(())
}

/// Check a put.
///
/// # Errors
/// The reply that it gets.
pub fn check_put(request: &PutRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Error::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Error::LeaseProvided);
    }
    Ok(())
}

/// Check a deletion.
///
/// # Errors
/// The reply that it gets.
pub fn check_delete_range(request: &DeleteRangeRequest) -> Result<(), Error> {
    if request.key.is_empty() { Err(Error::EmptyKey) } else { Ok(()) }
}

/// Check a transaction. `ops_max` bounds compares and each branch; nested transactions share what
/// the ones around them leave of it.
///
/// # Errors
/// The reply that it gets.
pub fn check_txn(request: &TxnRequest, ops_max: usize) -> Result<(), Error> {
    check_ops(request, ops_max)?;
    // Then and else are apart: only one of them happens.
    changed_keys(&request.success)?;
    changed_keys(&request.failure)?;
    Ok(())
}

fn check_ops(request: &TxnRequest, ops_max: usize) -> Result<(), Error> {
    let TxnRequest { compare, success, failure } = request;
    let ops = compare.len().max(success.len()).max(failure.len());
    let rest = ops_max.checked_sub(ops).ok_or(Error::TooManyOps)?;
    if compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Error::EmptyKey);
    }
    for op in success.iter().chain(failure) {
        match &op.request {
            Some(Request::RequestRange(range)) => check_range(range)?,
            Some(Request::RequestPut(put)) => check_put(put)?,
            Some(Request::RequestDeleteRange(delete)) => check_delete_range(delete)?,
            Some(Request::RequestTxn(txn)) => check_ops(txn, rest)?,
            None => return Err(Error::KeyNotFound),
        }
    }
    Ok(())
}

/// The end of a range that has none. etcd reads it as the key of that byte in this check, so that
/// such a deletion overlaps no put: a client may delete everything and put keys in one go.
const OPEN_END: &[u8] = b"\0";

/// Keys that a list of operations puts, and ranges that it deletes.
#[derive(Default)]
struct ChangedKeys {
    puts: BTreeSet<Bytes>,
    deletes: Vec<KeyRange>,
}

impl ChangedKeys {
    fn deletes(&self, key: &[u8]) -> bool {
        self.deletes.iter().any(|range| range.contains(key))
    }

    fn put(&mut self, key: &Bytes) -> Result<(), Error> {
        if self.deletes(key) || !self.puts.insert(key.clone()) {
            return Err(Error::DuplicateKey);
        }
        Ok(())
    }
}

/// A key may be put once, and must not be deleted beside; deletions may overlap.
fn changed_keys(ops: &[RequestOp]) -> Result<ChangedKeys, Error> {
    let requests = || ops.iter().filter_map(|op| op.request.as_ref());
    let mut changed = ChangedKeys::default();
    for request in requests() {
        if let Request::RequestDeleteRange(delete) = request
            && delete.range_end.as_ref() != OPEN_END
        {
            changed.deletes.push(KeyRange::new(delete.key.clone(), delete.range_end.clone()));
        }
    }
    for request in requests() {
        let Request::RequestTxn(txn) = request else { continue };
        let then = changed_keys(&txn.success)?;
        let otherwise = changed_keys(&txn.failure)?;
        for key in &then.puts {
            changed.put(key)?;
        }
        for key in &otherwise.puts {
            // Only one of the branches happens, so both may put a key.
            if !then.puts.contains(key) {
                changed.put(key)?;
            } else if changed.deletes(key) {
                return Err(Error::DuplicateKey);
            }
        }
        changed.deletes.extend(then.deletes);
        changed.deletes.extend(otherwise.deletes);
    }
    for request in requests() {
        if let Request::RequestPut(put) = request {
            changed.put(&put.key)?;
        }
    }
    Ok(changed)
}

/// Whether a transaction only reads. One with a nested transaction counts as a write.
#[must_use]
pub fn is_read_only(request: &TxnRequest) -> bool {
    let is_range = |op: &RequestOp| matches!(op.request, Some(Request::RequestRange(_)));
    request.success.iter().chain(&request.failure).all(is_range)
}

/// Whether a transaction may be answered from this member's own state: all its operations are
/// serializable ranges.
#[must_use]
pub fn is_serializable(request: &TxnRequest) -> bool {
    let serializable = |op: &RequestOp| matches!(&op.request, Some(Request::RequestRange(range)) if range.serializable);
    request.success.iter().chain(&request.failure).all(serializable)
}
