//! Between what clients say and etcd's messages.

use bytes::Bytes;
use quorate_api::etcdserverpb as pb;
use quorate_api::mvccpb;

use crate::history::{
    Body, Compare, Consistency, DeleteRange, Event, EventKind, KeyValue, Projection, Put, Range,
    RangeResult, Relation, Target, Txn, TxnOperation, WatchCreate, WatchMessage,
};

/// The request for a read.
#[must_use]
pub fn range_request(range: &Range) -> pb::RangeRequest {
    pb::RangeRequest {
        key: range.keys.key.clone(),
        range_end: range.keys.end.clone(),
        limit: range.limit,
        revision: range.revision,
        serializable: range.consistency == Consistency::Serializable,
        keys_only: range.projection == Projection::KeysOnly,
        count_only: range.projection == Projection::CountOnly,
        ..pb::RangeRequest::default()
    }
}

/// The request for a write.
#[must_use]
pub fn put_request(put: &Put) -> pb::PutRequest {
    pb::PutRequest {
        key: put.key.clone(),
        value: put.value.clone(),
        lease: put.lease,
        prev_kv: put.prev_kv,
        ignore_value: put.ignore_value,
        ignore_lease: put.ignore_lease,
    }
}

/// The request for a deletion.
#[must_use]
pub fn delete_request(delete: &DeleteRange) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest {
        key: delete.keys.key.clone(),
        range_end: delete.keys.end.clone(),
        prev_kv: delete.prev_kv,
    }
}

/// The request for a transaction.
#[must_use]
pub fn txn_request(txn: &Txn) -> pb::TxnRequest {
    let operations = |operations: &[TxnOperation]| operations.iter().map(operation).collect();
    pb::TxnRequest {
        compare: txn.compare.iter().map(compare).collect(),
        success: operations(&txn.success),
        failure: operations(&txn.failure),
    }
}

fn operation(operation: &TxnOperation) -> pb::RequestOp {
    use pb::request_op::Request as Op;
    let request = match operation {
        TxnOperation::Range(range) => Op::RequestRange(range_request(range)),
        TxnOperation::Put(put) => Op::RequestPut(put_request(put)),
        TxnOperation::DeleteRange(delete) => Op::RequestDeleteRange(delete_request(delete)),
        TxnOperation::Txn(txn) => Op::RequestTxn(txn_request(txn)),
    };
    pb::RequestOp { request: Some(request) }
}

fn compare(compare: &Compare) -> pb::Compare {
    use pb::compare::{CompareResult, CompareTarget, TargetUnion};
    let result = match compare.relation {
        Relation::Equal => CompareResult::Equal,
        Relation::Greater => CompareResult::Greater,
        Relation::Less => CompareResult::Less,
        Relation::NotEqual => CompareResult::NotEqual,
    };
    let (target, value) = match &compare.target {
        Target::Version(version) => (CompareTarget::Version, TargetUnion::Version(*version)),
        Target::Create(revision) => (CompareTarget::Create, TargetUnion::CreateRevision(*revision)),
        Target::Mod(revision) => (CompareTarget::Mod, TargetUnion::ModRevision(*revision)),
        Target::Value(value) => (CompareTarget::Value, TargetUnion::Value(value.clone())),
        Target::Lease(lease) => (CompareTarget::Lease, TargetUnion::Lease(*lease)),
    };
    pb::Compare {
        result: result.into(),
        target: target.into(),
        key: compare.keys.key.clone(),
        range_end: compare.keys.end.clone(),
        target_union: Some(value),
    }
}

/// What a read's answer says; none if it is malformed.
#[must_use]
pub fn range_body(response: pb::RangeResponse) -> Option<Body> {
    Some(Body::Range(RangeResult {
        kvs: response.kvs.into_iter().map(key_value).collect(),
        count: response.count,
        more: response.more,
    }))
}

/// What a deletion's answer says.
#[must_use]
pub fn delete_body(delete: pb::DeleteRangeResponse) -> Body {
    Body::DeleteRange {
        deleted: delete.deleted,
        prev_kvs: delete.prev_kvs.into_iter().map(key_value).collect(),
    }
}

/// What a transaction's answer says; none if it is malformed.
#[must_use]
pub fn txn_body(txn: pb::TxnResponse) -> Option<Body> {
    use pb::response_op::Response as Op;
    let results = txn.responses.into_iter().map(|op| match op.response? {
        Op::ResponseRange(range) => range_body(range),
        Op::ResponsePut(put) => Some(Body::Put { prev_kv: put.prev_kv.map(key_value) }),
        Op::ResponseDeleteRange(delete) => Some(delete_body(delete)),
        Op::ResponseTxn(txn) => txn_body(txn),
    });
    Some(Body::Txn { succeeded: txn.succeeded, results: results.collect::<Option<_>>()? })
}

/// A key as an answer shows it.
#[must_use]
pub fn key_value(kv: mvccpb::KeyValue) -> KeyValue {
    KeyValue {
        key: kv.key,
        value: kv.value,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        lease: kv.lease,
    }
}

/// The request for a watcher.
#[must_use]
pub fn watch_create(create: &WatchCreate) -> pb::WatchCreateRequest {
    use pb::watch_create_request::FilterType;
    let mut filters = Vec::new();
    if create.no_put {
        filters.push(FilterType::Noput.into());
    }
    if create.no_delete {
        filters.push(FilterType::Nodelete.into());
    }
    pb::WatchCreateRequest {
        key: create.keys.key.clone(),
        range_end: create.keys.end.clone(),
        start_revision: create.start_revision,
        progress_notify: create.progress_notify,
        filters,
        prev_kv: create.prev_kv,
        fragment: create.fragment,
        ..pb::WatchCreateRequest::default()
    }
}

/// What a response on a watch stream says to its client.
#[must_use]
pub fn watch_response(response: pb::WatchResponse) -> Vec<WatchMessage> {
    let revision = response.header.as_ref().map_or(0, |header| header.revision);
    let watch_id = response.watch_id;
    let mut messages = Vec::new();
    if response.created {
        if response.canceled && response.compact_revision == 0 {
            return vec![WatchMessage::CreateRefused { reason: response.cancel_reason }];
        }
        messages.push(WatchMessage::Created { watch_id, revision });
    }
    if !response.events.is_empty() {
        let events = response.events.into_iter().filter_map(event).collect();
        let fragment = response.fragment;
        messages.push(WatchMessage::Events { watch_id, revision, fragment, events });
    }
    if response.canceled {
        let compact_revision = response.compact_revision;
        messages.push(WatchMessage::Canceled { watch_id, compact_revision });
    }
    if messages.is_empty() {
        messages.push(WatchMessage::Progress { watch_id, revision });
    }
    messages
}

fn event(event: mvccpb::Event) -> Option<Event> {
    let is_delete = event.r#type() == mvccpb::event::EventType::Delete;
    let kv = event.kv?;
    let (key, mod_revision): (Bytes, i64) = (kv.key.clone(), kv.mod_revision);
    let kind = if is_delete { EventKind::Delete } else { EventKind::Put(key_value(kv)) };
    let prev_kv = event.prev_kv.map(key_value);
    Some(Event { key, mod_revision, kind, prev_kv })
}
