//! Requests and replies as etcd's JSON gateway writes them.

use bytes::Bytes;
use quorate_api::etcdserverpb::compare::TargetUnion;
use quorate_api::etcdserverpb::request_op::Request as Op;
use quorate_api::etcdserverpb::response_op::Response;
use quorate_api::etcdserverpb::{
    CompactionResponse, Compare, DeleteRangeRequest, DeleteRangeResponse, LeaseGrantResponse,
    LeaseRevokeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse, RequestOp,
    ResponseHeader, ResponseOp, TxnRequest, TxnResponse,
};
use quorate_api::mvccpb::KeyValue;
use serde_json::{Value, json};

use crate::request::{Reply, Request};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes(word);
        for at in 0..4 {
            let digit = ALPHABET[(word >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

fn from_base64(text: &str) -> Bytes {
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for digit in text.bytes().filter(|digit| *digit != b'=') {
        let digit = ALPHABET.iter().position(|known| *known == digit).unwrap();
        bits = bits << 6 | digit as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes.into()
}

/// Path and body.
pub(super) fn encode(request: &Request) -> (&'static str, Value) {
    match request {
        Request::Range(range) => ("/v3/kv/range", encode_range(range)),
        Request::Put(put) => ("/v3/kv/put", encode_put(put)),
        Request::DeleteRange(delete) => ("/v3/kv/deleterange", encode_delete(delete)),
        Request::Txn(txn) => ("/v3/kv/txn", encode_txn(txn)),
        Request::Compact(compaction) => (
            "/v3/kv/compaction",
            json!({"revision": compaction.revision, "physical": compaction.physical}),
        ),
        Request::Grant(grant) => ("/v3/lease/grant", json!({"ID": grant.id, "TTL": grant.ttl})),
        Request::Revoke(revoke) => ("/v3/lease/revoke", json!({"ID": revoke.id})),
        Request::Hash(revision) => ("/v3/maintenance/hashkv", json!({"revision": revision})),
    }
}

fn encode_range(range: &RangeRequest) -> Value {
    json!({
        "key": base64(&range.key), "range_end": base64(&range.range_end), "limit": range.limit,
        "revision": range.revision, "sort_order": range.sort_order,
        "sort_target": range.sort_target, "serializable": range.serializable,
        "keys_only": range.keys_only, "count_only": range.count_only,
        "min_mod_revision": range.min_mod_revision, "max_mod_revision": range.max_mod_revision,
        "min_create_revision": range.min_create_revision,
        "max_create_revision": range.max_create_revision,
    })
}

fn encode_put(put: &PutRequest) -> Value {
    json!({
        "key": base64(&put.key), "value": base64(&put.value), "lease": put.lease,
        "prev_kv": put.prev_kv, "ignore_value": put.ignore_value,
        "ignore_lease": put.ignore_lease,
    })
}

fn encode_delete(delete: &DeleteRangeRequest) -> Value {
    json!({
        "key": base64(&delete.key), "range_end": base64(&delete.range_end),
        "prev_kv": delete.prev_kv,
    })
}

fn encode_compare(compare: &Compare) -> Value {
    let (name, operand) = match compare.target_union.as_ref().unwrap() {
        TargetUnion::Version(operand) => ("version", json!(operand)),
        TargetUnion::CreateRevision(operand) => ("create_revision", json!(operand)),
        TargetUnion::ModRevision(operand) => ("mod_revision", json!(operand)),
        TargetUnion::Value(operand) => ("value", json!(base64(operand))),
        TargetUnion::Lease(operand) => ("lease", json!(operand)),
    };
    json!({
        "result": compare.result, "target": compare.target, "key": base64(&compare.key),
        "range_end": base64(&compare.range_end), name: operand,
    })
}

fn encode_op(op: &RequestOp) -> Value {
    match op.request.as_ref().unwrap() {
        Op::RequestRange(range) => json!({"request_range": encode_range(range)}),
        Op::RequestPut(put) => json!({"request_put": encode_put(put)}),
        Op::RequestDeleteRange(delete) => json!({"request_delete_range": encode_delete(delete)}),
        Op::RequestTxn(txn) => json!({"request_txn": encode_txn(txn)}),
    }
}

fn encode_txn(txn: &TxnRequest) -> Value {
    json!({
        "compare": txn.compare.iter().map(encode_compare).collect::<Vec<_>>(),
        "success": txn.success.iter().map(encode_op).collect::<Vec<_>>(),
        "failure": txn.failure.iter().map(encode_op).collect::<Vec<_>>(),
    })
}

/// A 64-bit number is a string; zero is left out.
fn number(value: &Value) -> i64 {
    match value {
        Value::Null => 0,
        Value::String(text) => text.parse().unwrap(),
        Value::Number(number) => number.as_i64().unwrap(),
        other => panic!("no number: {other}"),
    }
}

fn flag(value: &Value) -> bool {
    value.as_bool().unwrap_or(false)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn header(value: &Value) -> Option<ResponseHeader> {
    let revision = number(&value["header"]["revision"]);
    Some(ResponseHeader { revision, ..ResponseHeader::default() })
}

fn key_value(value: &Value) -> KeyValue {
    KeyValue {
        key: from_base64(value["key"].as_str().unwrap_or("")),
        create_revision: number(&value["create_revision"]),
        mod_revision: number(&value["mod_revision"]),
        version: number(&value["version"]),
        value: from_base64(value["value"].as_str().unwrap_or("")),
        lease: number(&value["lease"]),
    }
}

fn range(value: &Value) -> RangeResponse {
    RangeResponse {
        header: header(value),
        kvs: list(&value["kvs"]).iter().map(key_value).collect(),
        more: flag(&value["more"]),
        count: number(&value["count"]),
    }
}

fn put(value: &Value) -> PutResponse {
    let prev_kv = value.get("prev_kv").map(key_value);
    PutResponse { header: header(value), prev_kv }
}

fn delete(value: &Value) -> DeleteRangeResponse {
    DeleteRangeResponse {
        header: header(value),
        deleted: number(&value["deleted"]),
        prev_kvs: list(&value["prev_kvs"]).iter().map(key_value).collect(),
    }
}

fn txn(value: &Value) -> TxnResponse {
    let response = |value: &Value| {
        let response = if let Some(value) = value.get("response_range") {
            Response::ResponseRange(range(value))
        } else if let Some(value) = value.get("response_put") {
            Response::ResponsePut(put(value))
        } else if let Some(value) = value.get("response_delete_range") {
            Response::ResponseDeleteRange(delete(value))
        } else {
            Response::ResponseTxn(txn(&value["response_txn"]))
        };
        ResponseOp { response: Some(response) }
    };
    TxnResponse {
        header: header(value),
        succeeded: flag(&value["succeeded"]),
        responses: list(&value["responses"]).iter().map(response).collect(),
    }
}

/// The reply to a request.
pub(super) fn decode(request: &Request, value: &Value) -> Reply {
    match request {
        Request::Range(_) => Reply::Range(range(value)),
        Request::Put(_) => Reply::Put(put(value)),
        Request::DeleteRange(_) => Reply::DeleteRange(delete(value)),
        Request::Txn(_) => Reply::Txn(txn(value)),
        Request::Compact(_) => Reply::Compact(CompactionResponse { header: header(value) }),
        Request::Grant(_) => Reply::Grant(LeaseGrantResponse {
            header: header(value),
            id: number(&value["ID"]),
            ttl: number(&value["TTL"]),
            error: String::new(),
        }),
        Request::Revoke(_) => Reply::Revoke(LeaseRevokeResponse { header: header(value) }),
        Request::Hash(_) => Reply::Hash {
            hash: u32::try_from(number(&value["hash"])).unwrap(),
            revision: number(&value["hash_revision"]),
            compact_revision: number(&value["compact_revision"]),
        },
    }
}
