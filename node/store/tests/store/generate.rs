//! Random requests over few keys, so that they meet.

use bytes::Bytes;
use proptest::prelude::*;
use quorate_api::etcdserverpb::compare::TargetUnion;
use quorate_api::etcdserverpb::request_op::Request as Op;
use quorate_api::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest,
    PutRequest, RangeRequest, RequestOp, TxnRequest,
};

use crate::request::Request;

/// Revisions are drawn as distances from the newest one and made absolute by [`place`].
const ABSOLUTE: i64 = 1_000_000;

fn key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["a", "aa", "ab", "b", "ba", "c", "d", "dd", "e", "f"])
        .prop_map(|key| Bytes::from_static(key.as_bytes()))
}

fn range_end() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        3 => Just(Bytes::new()),
        1 => Just(Bytes::from_static(b"\0")),
        4 => prop::sample::select(vec!["a", "b", "bz", "c", "da", "f", "z"])
            .prop_map(|key| Bytes::from_static(key.as_bytes())),
    ]
}

fn lease() -> impl Strategy<Value = i64> {
    prop_oneof![4 => Just(0_i64), 2 => 1_i64..4]
}

fn value() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["", "1", "2", "3", "longer"])
        .prop_map(|value| Bytes::from_static(value.as_bytes()))
}

/// Mostly the current revision, sometimes one near it.
fn revision() -> impl Strategy<Value = i64> {
    prop_oneof![5 => Just(0_i64), 5 => (-12_i64..=1).prop_map(|back| ABSOLUTE + back)]
}

fn bound() -> impl Strategy<Value = i64> {
    prop_oneof![6 => Just(0_i64), 1 => 1_i64..40]
}

prop_compose! {
    fn range()(
        key in key(),
        range_end in range_end(),
        limit in prop_oneof![3 => Just(0_i64), 3 => 1_i64..6],
        revision in revision(),
        (sort_order, sort_target) in prop_oneof![2 => Just((0, 0)), 2 => (0..3_i32, 0..5_i32)],
        (keys_only, count_only) in
            (prop::bool::weighted(0.2), prop::bool::weighted(0.1)),
        filters in prop::array::uniform4(bound()),
    ) -> RangeRequest {
        let [min_mod_revision, max_mod_revision, min_create_revision, max_create_revision] = filters;
        RangeRequest {
            key, range_end, limit, revision, sort_order, sort_target, serializable: false, keys_only,
            count_only, min_mod_revision, max_mod_revision, min_create_revision,
            max_create_revision,
        }
    }
}

prop_compose! {
    fn put()(
        key in key(),
        value in value(),
        lease in lease(),
        prev_kv in any::<bool>(),
        ignore in prop_oneof![6 => Just((false, false)), 1 => any::<(bool, bool)>()],
    ) -> PutRequest {
        let (ignore_value, ignore_lease) = ignore;
        PutRequest {
            key,
            value: if ignore_value { Bytes::new() } else { value },
            lease: if ignore_lease { 0 } else { lease },
            prev_kv, ignore_value, ignore_lease,
        }
    }
}

fn delete() -> impl Strategy<Value = DeleteRangeRequest> {
    (key(), range_end(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| DeleteRangeRequest {
        key,
        range_end,
        prev_kv,
    })
}

prop_compose! {
    fn compare()(
        key in key(),
        range_end in range_end(),
        result in 0..4_i32,
        operand in prop_oneof![
            (0_i64..4).prop_map(TargetUnion::Version),
            (0_i64..40).prop_map(TargetUnion::CreateRevision),
            (0_i64..40).prop_map(TargetUnion::ModRevision),
            value().prop_map(TargetUnion::Value),
            (0_i64..4).prop_map(TargetUnion::Lease),
        ],
    ) -> Compare {
        let target = match operand {
            TargetUnion::Version(_) => 0,
            TargetUnion::CreateRevision(_) => 1,
            TargetUnion::ModRevision(_) => 2,
            TargetUnion::Value(_) => 3,
            TargetUnion::Lease(_) => 4,
        };
        Compare { result, target, key, range_end, target_union: Some(operand) }
    }
}

fn txn() -> impl Strategy<Value = TxnRequest> {
    let leaf = prop_oneof![
        2 => range().prop_map(Op::RequestRange),
        3 => put().prop_map(Op::RequestPut),
        1 => delete().prop_map(Op::RequestDeleteRange),
    ];
    let op = leaf.prop_recursive(2, 8, 3, |inner| branches(inner).prop_map(Op::RequestTxn));
    branches(op)
}

fn branches(op: impl Strategy<Value = Op> + Clone) -> impl Strategy<Value = TxnRequest> {
    let ops =
        prop::collection::vec(op.prop_map(|request| RequestOp { request: Some(request) }), 0..4);
    (prop::collection::vec(compare(), 0..3), ops.clone(), ops)
        .prop_map(|(compare, success, failure)| TxnRequest { compare, success, failure })
}

/// One request.
pub(crate) fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        6 => put().prop_map(Request::Put),
        5 => range().prop_map(Request::Range),
        2 => delete().prop_map(Request::DeleteRange),
        4 => txn().prop_map(Request::Txn),
        1 => (-12_i64..=1).prop_map(|back| {
            Request::Compact(CompactionRequest { revision: ABSOLUTE + back, physical: true })
        }),
        1 => (1_i64..4, 1_i64..100)
            .prop_map(|(id, ttl)| Request::Grant(LeaseGrantRequest { id, ttl: ttl + 1000 })),
        1 => (1_i64..4).prop_map(|id| Request::Revoke(LeaseRevokeRequest { id })),
        2 => revision().prop_map(Request::Hash),
    ]
}

fn place_revision(drawn: &mut i64, newest: i64) {
    if *drawn > ABSOLUTE / 2 {
        *drawn = (newest + *drawn - ABSOLUTE).max(1);
    }
}

fn place_txn(txn: &mut TxnRequest, newest: i64) {
    for op in txn.success.iter_mut().chain(&mut txn.failure) {
        match &mut op.request {
            Some(Op::RequestRange(range)) => place_revision(&mut range.revision, newest),
            Some(Op::RequestTxn(txn)) => place_txn(txn, newest),
            _ => {}
        }
    }
}

/// The request with its revisions near the newest one.
pub(crate) fn place(mut request: Request, newest: i64) -> Request {
    match &mut request {
        Request::Range(range) => place_revision(&mut range.revision, newest),
        Request::Txn(txn) => place_txn(txn, newest),
        Request::Compact(compaction) => place_revision(&mut compaction.revision, newest),
        Request::Hash(revision) => place_revision(revision, newest),
        Request::Put(_) | Request::DeleteRange(_) | Request::Grant(_) | Request::Revoke(_) => {}
    }
    request
}
