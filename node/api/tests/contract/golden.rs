//! Messages encode to the bytes that etcd encodes them to, and decode back.

use std::fmt::Debug;

use bytes::Bytes;
use prost::Message;
use quorate_api::etcdserverpb::compare::TargetUnion;
use quorate_api::etcdserverpb::request_op::Request;
use quorate_api::etcdserverpb::{self, *};
use quorate_api::{authpb, leasepb, membershippb, mvccpb, raftpb, snappb, walpb};

use crate::vector;

#[track_caller]
fn assert_golden<M: Message + Default + PartialEq + Debug>(name: &str, message: &M) {
    let golden = vector(name);
    assert_eq!(hex(&message.encode_to_vec()), hex(&golden), "{name} encodes differently");
    assert_eq!(
        &M::decode(golden.as_slice()).expect("etcd wrote it"),
        message,
        "{name} decodes differently"
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn put() -> PutRequest {
    PutRequest {
        key: bytes("foo"),
        value: bytes("bar"),
        lease: 7,
        prev_kv: true,
        ..Default::default()
    }
}

fn header(id: u64) -> Option<RequestHeader> {
    Some(RequestHeader { id, ..Default::default() })
}

#[test]
fn replicated_requests() {
    let internal = InternalRaftRequest::default;
    assert_golden(
        "internal_put",
        &InternalRaftRequest { header: header(0x1122334455667788), put: Some(put()), ..internal() },
    );
    let by_root = RequestHeader { id: 300, username: "root".into(), auth_revision: 5 };
    assert_golden(
        "internal_put_user",
        &InternalRaftRequest { header: Some(by_root), put: Some(put()), ..internal() },
    );
    let empty = Some(PutRequest::default());
    assert_golden(
        "internal_put_empty",
        &InternalRaftRequest { header: header(300), put: empty, ..internal() },
    );
    assert_golden(
        "internal_auth_enable",
        &InternalRaftRequest {
            header: header(1),
            auth_enable: Some(AuthEnableRequest {}),
            ..internal()
        },
    );
    let version = membershippb::ClusterVersionSetRequest { ver: "3.7.0".into() };
    assert_golden(
        "internal_version",
        &InternalRaftRequest {
            header: header(1),
            cluster_version_set: Some(version),
            ..internal()
        },
    );
}

#[test]
fn transactions() {
    let compare = |result: compare::CompareResult, target: compare::CompareTarget| Compare {
        result: result.into(),
        target: target.into(),
        ..Default::default()
    };
    let by_revision = Compare {
        key: bytes("k"),
        target_union: Some(TargetUnion::ModRevision(0)),
        ..compare(compare::CompareResult::Equal, compare::CompareTarget::Mod)
    };
    let by_value = Compare {
        key: bytes("a"),
        range_end: bytes("b"),
        target_union: Some(TargetUnion::Value(bytes("v"))),
        ..compare(compare::CompareResult::NotEqual, compare::CompareTarget::Value)
    };
    let range = RangeRequest {
        key: bytes("k"),
        limit: 1,
        revision: -1,
        sort_order: range_request::SortOrder::Descend.into(),
        sort_target: range_request::SortTarget::Mod.into(),
        ..Default::default()
    };
    let op = |request| RequestOp { request: Some(request) };
    let txn = TxnRequest {
        compare: vec![by_revision, by_value],
        success: vec![op(Request::RequestPut(put()))],
        failure: vec![
            op(Request::RequestRange(range)),
            op(Request::RequestTxn(TxnRequest::default())),
        ],
    };
    let request = InternalRaftRequest { header: header(2), txn: Some(txn), ..Default::default() };
    let golden = vector("internal_txn");
    assert_eq!(InternalRaftRequest::decode(golden.as_slice()).unwrap(), request);
    // etcd writes `range_end` before the value of the same compare, field 64 before field 7.
    let ours = hex(&request.encode_to_vec());
    assert_eq!(ours.replace("3a017682040162", "820401623a0176"), hex(&golden));
}

fn key_value() -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: bytes("foo"),
        create_revision: 2,
        mod_revision: 300,
        version: 4,
        value: bytes("bar"),
        lease: -9,
    }
}

#[test]
fn keys_and_events() {
    assert_golden("key_value", &key_value());
    let put = mvccpb::Event {
        r#type: mvccpb::event::EventType::Put.into(),
        kv: Some(key_value()),
        prev_kv: Some(key_value()),
    };
    let deleted = mvccpb::KeyValue { key: bytes("foo"), mod_revision: 301, ..Default::default() };
    let delete = mvccpb::Event {
        r#type: mvccpb::event::EventType::Delete.into(),
        kv: Some(deleted),
        prev_kv: None,
    };
    assert_golden(
        "watch_response",
        &WatchResponse {
            header: Some(ResponseHeader {
                cluster_id: 1 << 63,
                member_id: 2,
                revision: 300,
                raft_term: 4,
            }),
            watch_id: -1,
            created: true,
            canceled: true,
            compact_revision: 9,
            cancel_reason: "x".into(),
            fragment: true,
            events: vec![put, delete],
        },
    );
    let create = WatchCreateRequest {
        key: bytes("k"),
        start_revision: 3,
        filters: vec![
            watch_create_request::FilterType::Noput.into(),
            watch_create_request::FilterType::Nodelete.into(),
        ],
        watch_id: 8,
        fragment: true,
        ..Default::default()
    };
    assert_golden(
        "watch_request",
        &WatchRequest { request_union: Some(watch_request::RequestUnion::CreateRequest(create)) },
    );
}

#[test]
fn status() {
    assert_golden(
        "status_response",
        &StatusResponse {
            header: None,
            version: "3.7.1".into(),
            db_size: 1,
            leader: 2,
            raft_index: 3,
            raft_term: 4,
            raft_applied_index: 5,
            errors: vec!["e".into()],
            db_size_in_use: 6,
            is_learner: true,
            storage_version: "3.7.0".into(),
            db_size_quota: 7,
            downgrade_info: Some(DowngradeInfo { enabled: true, target_version: "3.6.0".into() }),
        },
    );
}

/// An entry with all fields present.
pub(crate) fn entry(term: u64, index: u64, data: Option<Bytes>) -> raftpb::Entry {
    let kind = raftpb::EntryType::EntryNormal.into();
    raftpb::Entry { r#type: Some(kind), term: Some(term), index: Some(index), data }
}

/// The append message of the vectors.
pub(crate) fn append() -> raftpb::Message {
    raftpb::Message {
        r#type: Some(raftpb::MessageType::MsgApp.into()),
        to: Some(2),
        from: Some(1),
        term: Some(5),
        log_term: Some(4),
        index: Some(10),
        entries: vec![entry(5, 11, Some(bytes("x"))), entry(5, 12, None)],
        commit: Some(9),
        ..Default::default()
    }
}

/// The snapshot message of the vectors.
pub(crate) fn snapshot() -> raftpb::Message {
    let metadata = raftpb::SnapshotMetadata {
        conf_state: Some(raftpb::ConfState {
            voters: vec![1, 2],
            auto_leave: Some(false),
            ..Default::default()
        }),
        index: Some(10),
        term: Some(5),
    };
    raftpb::Message {
        r#type: Some(raftpb::MessageType::MsgSnap.into()),
        to: Some(2),
        from: Some(1),
        term: Some(5),
        vote: Some(0),
        reject: Some(false),
        reject_hint: Some(0),
        context: Some(bytes("ctx")),
        snapshot: Some(raftpb::Snapshot { data: Some(bytes("d")), metadata: Some(metadata) }),
        ..Default::default()
    }
}

#[test]
fn raft() {
    assert_golden("entry", &entry(2, 3, Some(bytes("data"))));
    assert_golden("entry_zeroes", &entry(0, 0, None));
    let change = raftpb::EntryType::EntryConfChangeV2.into();
    assert_golden(
        "entry_empty_data",
        &raftpb::Entry { r#type: Some(change), ..entry(1, 1, Some(Bytes::new())) },
    );
    assert_golden(
        "hard_state",
        &raftpb::HardState { term: Some(1), vote: Some(0), commit: Some(300) },
    );
    assert_golden(
        "conf_state",
        &raftpb::ConfState {
            voters: vec![1, 300, 1 << 63],
            learners: vec![4],
            voters_outgoing: vec![5],
            learners_next: vec![6],
            auto_leave: Some(false),
        },
    );
    assert_golden("message_append", &append());
    assert_golden("message_snapshot", &snapshot());
    assert_golden(
        "conf_change",
        &raftpb::ConfChange {
            id: Some(7),
            r#type: Some(raftpb::ConfChangeType::ConfChangeAddLearnerNode.into()),
            node_id: Some(9),
            context: Some(bytes("{}")),
        },
    );
    let change = raftpb::ConfChangeSingle {
        r#type: Some(raftpb::ConfChangeType::ConfChangeAddNode.into()),
        node_id: Some(1),
    };
    assert_golden(
        "conf_change_v2",
        &raftpb::ConfChangeV2 {
            transition: Some(raftpb::ConfChangeTransition::JointExplicit.into()),
            changes: vec![change],
            context: Some(bytes("c")),
        },
    );
}

#[test]
fn files_and_tables() {
    assert_golden("metadata", &etcdserverpb::Metadata { node_id: Some(1), cluster_id: Some(0) });
    assert_golden(
        "wal_record",
        &walpb::Record { r#type: Some(2), crc: Some(0xdeadbeef), data: Some(bytes("r")) },
    );
    assert_golden("snap_file", &snappb::Snapshot { crc: Some(0xdeadbeef), data: Some(bytes("s")) });
    assert_golden("lease", &leasepb::Lease { id: 1, ttl: 60, remaining_ttl: 30 });
    assert_golden(
        "user",
        &authpb::User {
            name: bytes("u"),
            password: bytes("p"),
            roles: vec!["r".into()],
            options: Some(authpb::UserAddOptions { no_password: true }),
        },
    );
    let permission = authpb::Permission {
        perm_type: authpb::permission::Type::Readwrite.into(),
        key: bytes("a"),
        range_end: bytes("\0"),
    };
    assert_golden("role", &authpb::Role { name: bytes("r"), key_permission: vec![permission] });
}
