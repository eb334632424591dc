//! Entries in words: which request, about which key. Never values and passwords, which are
//! nobody's business, but their lengths.

use bytes::Bytes;
use prost::{DecodeError, Message};
use quorate_api::authpb::Permission;
use quorate_api::etcdserverpb as pb;
use quorate_api::member_json::ConfChangeContext;
use quorate_api::membershippb;
use quorate_api::request::{self, RequestKind};
use quorate_raft::{ConfChange, ConfChangeKind, ConfChangeV2, EntryKind};
use quorate_replica::wire;
use serde_json::{Value, json};

/// How deep transactions in transactions are shown; etcd's clients make none in the others.
const DEPTH_MAX: usize = 4;

/// A name and what there is to say of it, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Description {
    pub(super) name: &'static str,
    pub(super) fields: Vec<(&'static str, Value)>,
}

impl Description {
    fn new(name: &'static str) -> Self {
        Self { name, fields: Vec::new() }
    }

    fn with(mut self, field: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((field, value.into()));
        self
    }

    /// Leaves out what says nothing.
    fn with_some(self, field: &'static str, value: Value) -> Self {
        let says_nothing = match &value {
            Value::Null | Value::Bool(false) => true,
            Value::Number(number) => number.as_i64() == Some(0),
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Bool(true) | Value::Object(_) => false,
        };
        if says_nothing { self } else { self.with(field, value) }
    }

    /// As JSON, the name first by its key.
    pub(super) fn to_json(&self) -> Value {
        let mut object = serde_json::Map::new();
        object.insert("request".to_owned(), self.name.into());
        for (field, value) in &self.fields {
            object.insert((*field).to_owned(), value.clone());
        }
        object.into()
    }
}

/// The body of an entry of the log.
pub(super) fn describe_entry(body: &Bytes) -> Description {
    let unreadable = |what: &str| Description::new("unreadable").with("error", what);
    let entry = match wire::decode_entry(body.clone()) {
        Ok(entry) => entry,
        Err(error) => return unreadable(&error.to_string()),
    };
    let described = match entry.kind {
        EntryKind::Normal if entry.data.is_empty() => Ok(Description::new("empty")),
        EntryKind::Normal => describe_request(entry.data),
        EntryKind::ConfChange => ConfChange::decode(&entry.data)
            .map(|change| describe_change(&change))
            .map_err(|error| error.to_string()),
        EntryKind::ConfChangeV2 => ConfChangeV2::decode(&entry.data)
            .map(|change| describe_joint_change(&change))
            .map_err(|error| error.to_string()),
    };
    described.unwrap_or_else(|error| unreadable(&error))
}

/// The configuration of a mark.
pub(super) fn describe_configuration(body: &Bytes) -> Description {
    let state = match wire::decode_conf_state(body.clone()) {
        Ok(state) => state,
        Err(error) => return Description::new("unreadable").with("error", error.to_string()),
    };
    let ids = |ids: &[quorate_raft::NodeId]| -> Value { ids.iter().map(|id| hex(id.0)).collect() };
    Description::new("configuration")
        .with("voters", ids(&state.voters))
        .with_some("learners", ids(&state.learners))
        .with_some("outgoing_voters", ids(&state.voters_outgoing))
        .with_some("next_learners", ids(&state.learners_next))
}

fn describe_change(change: &ConfChange) -> Description {
    let mut description = Description::new("conf_change")
        .with("change", change_name(change.kind))
        .with("node", hex(change.node_id.0));
    if let Ok(context) = ConfChangeContext::from_json(&change.context)
        && let Ok(member) = serde_json::from_slice::<Value>(&change.context)
    {
        description = description.with_some("is_promotion", context.is_promote.into());
        description = description.with("member", member);
    } else {
        description = description.with_some("context_bytes", change.context.len().into());
    }
    description
}

fn describe_joint_change(change: &ConfChangeV2) -> Description {
    let single = |change: &quorate_raft::ConfChangeSingle| json!({ "change": change_name(change.kind), "node": hex(change.node_id.0) });
    let changes: Value = change.changes.iter().map(single).collect();
    Description::new("conf_change_v2").with("changes", changes)
}

fn change_name(kind: ConfChangeKind) -> &'static str {
    match kind {
        ConfChangeKind::AddNode => "add_node",
        ConfChangeKind::RemoveNode => "remove_node",
        ConfChangeKind::UpdateNode => "update_node",
        ConfChangeKind::AddLearnerNode => "add_learner_node",
    }
}

fn describe_request(data: Bytes) -> Result<Description, String> {
    let wrapped = request::split(data).map_err(|error| error.to_string())?;
    let Some((kind, body)) = wrapped.request else {
        return Ok(Description::new("unknown_request"));
    };
    let described = describe_kind(kind, body).map_err(|error| error.to_string())?;
    Ok(described
        .with("id", hex(wrapped.header.id))
        .with_some("user", wrapped.header.username.into()))
}

fn describe_kind(kind: RequestKind, body: Bytes) -> Result<Description, DecodeError> {
    Ok(match kind {
        RequestKind::Range => range(&pb::RangeRequest::decode(body)?),
        RequestKind::Put => put(&pb::PutRequest::decode(body)?),
        RequestKind::DeleteRange => delete_range(&pb::DeleteRangeRequest::decode(body)?),
        RequestKind::Txn => txn(&pb::TxnRequest::decode(body)?, 0),
        RequestKind::Compaction => {
            let request = pb::CompactionRequest::decode(body)?;
            Description::new("compaction")
                .with("revision", request.revision)
                .with_some("physical", request.physical.into())
        }
        RequestKind::LeaseGrant => {
            let request = pb::LeaseGrantRequest::decode(body)?;
            Description::new("lease_grant")
                .with("lease", lease(request.id))
                .with("ttl_seconds", request.ttl)
        }
        RequestKind::LeaseRevoke => {
            let request = pb::LeaseRevokeRequest::decode(body)?;
            Description::new("lease_revoke").with("lease", lease(request.id))
        }
        RequestKind::LeaseCheckpoint => {
            let request = pb::LeaseCheckpointRequest::decode(body)?;
            let checkpoint = |at: &pb::LeaseCheckpoint| json!({ "lease": lease(at.id), "remaining_seconds": at.remaining_ttl });
            let checkpoints: Value = request.checkpoints.iter().map(checkpoint).collect();
            Description::new("lease_checkpoint").with("checkpoints", checkpoints)
        }
        RequestKind::Alarm => {
            let request = pb::AlarmRequest::decode(body)?;
            Description::new("alarm")
                .with("action", request.action().as_str_name())
                .with("alarm", request.alarm().as_str_name())
                .with("member", hex(request.member_id))
        }
        RequestKind::ClusterVersionSet => {
            let request = membershippb::ClusterVersionSetRequest::decode(body)?;
            Description::new("cluster_version_set").with("version", request.ver)
        }
        RequestKind::ClusterMemberAttrSet => {
            let request = membershippb::ClusterMemberAttrSetRequest::decode(body)?;
            let attributes = request.member_attributes.unwrap_or_default();
            Description::new("cluster_member_attr_set")
                .with("member", hex(request.member_id))
                .with("name", attributes.name)
                .with("client_urls", attributes.client_urls)
        }
        RequestKind::DowngradeInfoSet => {
            let request = membershippb::DowngradeInfoSetRequest::decode(body)?;
            Description::new("downgrade_info_set")
                .with("enabled", request.enabled)
                .with("version", request.ver)
        }
        RequestKind::DowngradeVersionTest => Description::new("downgrade_version_test"),
        other => describe_auth(other, body)?,
    })
}

fn describe_auth(kind: RequestKind, body: Bytes) -> Result<Description, DecodeError> {
    Ok(match kind {
        RequestKind::AuthEnable => Description::new("auth_enable"),
        RequestKind::AuthDisable => Description::new("auth_disable"),
        RequestKind::AuthStatus => Description::new("auth_status"),
        RequestKind::Authenticate => Description::new("authenticate")
            .with("name", pb::InternalAuthenticateRequest::decode(body)?.name),
        RequestKind::AuthUserAdd => {
            Description::new("user_add").with("name", pb::AuthUserAddRequest::decode(body)?.name)
        }
        RequestKind::AuthUserDelete => Description::new("user_delete")
            .with("name", pb::AuthUserDeleteRequest::decode(body)?.name),
        RequestKind::AuthUserGet => {
            Description::new("user_get").with("name", pb::AuthUserGetRequest::decode(body)?.name)
        }
        RequestKind::AuthUserChangePassword => Description::new("user_change_password")
            .with("name", pb::AuthUserChangePasswordRequest::decode(body)?.name),
        RequestKind::AuthUserGrantRole => {
            let request = pb::AuthUserGrantRoleRequest::decode(body)?;
            Description::new("user_grant_role")
                .with("name", request.user)
                .with("role", request.role)
        }
        RequestKind::AuthUserRevokeRole => {
            let request = pb::AuthUserRevokeRoleRequest::decode(body)?;
            Description::new("user_revoke_role")
                .with("name", request.name)
                .with("role", request.role)
        }
        RequestKind::AuthUserList => Description::new("user_list"),
        RequestKind::AuthRoleList => Description::new("role_list"),
        RequestKind::AuthRoleAdd => {
            Description::new("role_add").with("role", pb::AuthRoleAddRequest::decode(body)?.name)
        }
        RequestKind::AuthRoleDelete => Description::new("role_delete")
            .with("role", pb::AuthRoleDeleteRequest::decode(body)?.role),
        RequestKind::AuthRoleGet => {
            Description::new("role_get").with("role", pb::AuthRoleGetRequest::decode(body)?.role)
        }
        RequestKind::AuthRoleGrantPermission => {
            let request = pb::AuthRoleGrantPermissionRequest::decode(body)?;
            let Permission { perm_type, key, range_end } = request.perm.unwrap_or_default();
            Description::new("role_grant_permission")
                .with("role", request.name)
                .with("permission", perm_type)
                .with("key", text(&key))
                .with_some("range_end", text(&range_end).into())
        }
        RequestKind::AuthRoleRevokePermission => {
            let request = pb::AuthRoleRevokePermissionRequest::decode(body)?;
            Description::new("role_revoke_permission")
                .with("role", request.role)
                .with("key", text(&request.key))
                .with_some("range_end", text(&request.range_end).into())
        }
        _ => Description::new("unknown_request"),
    })
}

fn range(request: &pb::RangeRequest) -> Description {
    Description::new("range")
        .with("key", text(&request.key))
        .with_some("range_end", text(&request.range_end).into())
        .with_some("limit", request.limit.into())
        .with_some("revision", request.revision.into())
}

fn put(request: &pb::PutRequest) -> Description {
    Description::new("put")
        .with("key", text(&request.key))
        .with("value_bytes", request.value.len())
        .with_some("lease", lease(request.lease).into())
        .with_some("ignore_value", request.ignore_value.into())
        .with_some("ignore_lease", request.ignore_lease.into())
}

fn delete_range(request: &pb::DeleteRangeRequest) -> Description {
    Description::new("delete_range")
        .with("key", text(&request.key))
        .with_some("range_end", text(&request.range_end).into())
}

fn txn(request: &pb::TxnRequest, depth: usize) -> Description {
    let compares: Value = request.compare.iter().map(compare).collect();
    let branch = |operations: &[pb::RequestOp]| -> Value {
        operations.iter().map(|operation| describe_operation(operation, depth)).collect()
    };
    Description::new("txn")
        .with_some("compare", compares)
        .with_some("success", branch(&request.success))
        .with_some("failure", branch(&request.failure))
}

fn compare(compare: &pb::Compare) -> Value {
    use pb::compare::TargetUnion;
    let to: Value = match &compare.target_union {
        Some(TargetUnion::Version(number))
        | Some(TargetUnion::CreateRevision(number))
        | Some(TargetUnion::ModRevision(number)) => (*number).into(),
        Some(TargetUnion::Lease(id)) => lease(*id).into(),
        Some(TargetUnion::Value(value)) => json!({ "value_bytes": value.len() }),
        None => Value::Null,
    };
    let mut object = json!({
        "target": compare.target().as_str_name(),
        "result": compare.result().as_str_name(),
        "key": text(&compare.key),
        "to": to,
    });
    if !compare.range_end.is_empty() {
        object["range_end"] = text(&compare.range_end).into();
    }
    object
}

fn describe_operation(operation: &pb::RequestOp, depth: usize) -> Value {
    use pb::request_op::Request;
    let description = match &operation.request {
        Some(Request::RequestRange(request)) => range(request),
        Some(Request::RequestPut(request)) => put(request),
        Some(Request::RequestDeleteRange(request)) => delete_range(request),
        Some(Request::RequestTxn(_)) if depth >= DEPTH_MAX => Description::new("txn"),
        Some(Request::RequestTxn(request)) => txn(request, depth + 1),
        None => Description::new("none"),
    };
    description.to_json()
}

/// Bytes as text, those that are not printable ASCII as escapes.
fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn hex(id: u64) -> String {
    format!("{id:x}")
}

/// A lease's id as `etcdctl` shows it; empty for none.
fn lease(id: i64) -> String {
    if id == 0 { String::new() } else { format!("{id:x}") }
}
