//! Questions of peers that are no Raft messages: members, leases, hashes, versions.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use prost::Message as _;
use quorate_api::Error;
use quorate_api::etcdserverpb::{HashKvResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use quorate_api::identity::format_id;
use quorate_api::leasepb::{LeaseInternalRequest, LeaseInternalResponse};
use quorate_api::limits::LEASE_BODY_BYTES_MAX;
use quorate_api::member_json::members_to_json;
use quorate_api::peer::{
    CLUSTER_ID_HEADER, DOWNGRADE_ENABLED_PATH, HASH_KV_PATH, LEASES_INTERNAL_PATH, LEASES_PATH,
    MEMBERS_PATH, PROMOTE_PATH_PREFIX, PROTOBUF_CONTENT_TYPE, Refusal, VERSION_PATH,
};
use serde_json::{Value, json};

use super::body::{self, BodyError};
use super::serve::{Reply, error, not_allowed, reply, set, text};
use super::settings::SILENCE;
use super::transport::Shared;

/// What etcd's members say among each other about a lease that there is not, …
pub(super) const LEASE_NOT_FOUND: &str = "lease not found";
/// … about one whose leader is another, …
const NOT_PRIMARY: &str = "not a primary lessor";
/// … about a member that there is not, …
const ID_NOT_FOUND: &str = "membership: ID not found";
/// … about the promotion of a voter, …
pub(super) const NOT_LEARNER: &str = "membership: can only promote a learner member";
/// … about one that comes too early, …
pub(super) const NOT_READY: &str =
    "etcdserver: can only promote a learner member which is in sync with leader";
/// … and about revisions.
pub(super) const COMPACTED: &str = "mvcc: required revision has been compacted";
/// A revision that is not there yet.
pub(super) const FUTURE_REVISION: &str = "mvcc: required revision is a future revision";

/// The longest JSON of a question.
const JSON_BYTES_MAX: usize = 4 << 10;

/// Says that the member lives.
pub(super) fn probing() -> Reply {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = rfc3339(since);
    reply(StatusCode::OK, "application/json", format!("{{\"OK\":true,\"Now\":\"{now}\"}}\n"))
}

/// The time so long after 1970, in UTC, as Go's JSON has it. Years are counted from March, so that
/// the odd day comes last.
fn rfc3339(since: Duration) -> String {
    const DAYS_OF_ERA: u64 = 146_097;
    const MARCH_0_TO_1970_DAYS: u64 = 719_468;
    let days = since.as_secs() / 86_400 + MARCH_0_TO_1970_DAYS;
    let (era, day) = (days / DAYS_OF_ERA, days % DAYS_OF_ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute) = (since.as_secs() / 3_600 % 24, since.as_secs() / 60 % 60);
    let (second, nanos) = (since.as_secs() % 60, since.subsec_nanos());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// Answers everything that is not under `/raft`.
pub(super) async fn answer(shared: &Arc<Shared>, path: &str, request: Request<Incoming>) -> Reply {
    let method = match path {
        LEASES_PATH | LEASES_INTERNAL_PATH => Method::POST,
        _ if path.starts_with(PROMOTE_PATH_PREFIX) => Method::POST,
        _ => Method::GET,
    };
    let answered = match path {
        MEMBERS_PATH
        | HASH_KV_PATH
        | LEASES_PATH
        | LEASES_INTERNAL_PATH
        | VERSION_PATH
        | DOWNGRADE_ENABLED_PATH => request.method() == method,
        _ if path.starts_with(PROMOTE_PATH_PREFIX) => request.method() == method,
        _ => return error(StatusCode::NOT_FOUND, "404 page not found"),
    };
    if !answered {
        return not_allowed(&method);
    }
    let mut reply = match path {
        MEMBERS_PATH => {
            let json = members_to_json(&shared.inbox().members());
            reply(StatusCode::OK, "application/json", json)
        }
        VERSION_PATH => {
            return match shared.inbox().versions().await {
                Ok(versions) => reply(StatusCode::OK, "application/json", versions.to_json()),
                Err(why) => error(StatusCode::INTERNAL_SERVER_ERROR, why.message()),
            };
        }
        DOWNGRADE_ENABLED_PATH => match shared.inbox().is_downgrade_enabled().await {
            Ok(is_enabled) => reply(StatusCode::OK, "text/plain", is_enabled.to_string()),
            Err(why) => {
                let why = format!("failed linearized read: {}", why.message());
                error(StatusCode::INTERNAL_SERVER_ERROR, &why)
            }
        },
        HASH_KV_PATH => hash_kv(shared, request).await,
        LEASES_PATH => return renew(shared, request).await,
        LEASES_INTERNAL_PATH => return time_left(shared, request).await,
        _ => promote(shared, path, request.headers()).await,
    };
    set(&mut reply, CLUSTER_ID_HEADER, &format_id(shared.settings.cluster));
    reply
}

async fn promote(shared: &Arc<Shared>, path: &str, headers: &HeaderMap) -> Reply {
    let id = path.strip_prefix(PROMOTE_PATH_PREFIX).unwrap_or_default();
    let Some(member) = decimal(id) else {
        let text = format!("member {id} not found in cluster");
        return error(StatusCode::NOT_FOUND, &text);
    };
    let token = text(headers, header::AUTHORIZATION.as_str()).map(str::to_owned);
    match shared.inbox().promote(member, token).await {
        Ok(members) => reply(StatusCode::OK, "application/json", members_to_json(&members)),
        Err(Error::MemberNotFound) => error(StatusCode::NOT_FOUND, ID_NOT_FOUND),
        Err(Error::MemberNotLearner) => error(StatusCode::PRECONDITION_FAILED, NOT_LEARNER),
        Err(Error::LearnerNotReady) => error(StatusCode::PRECONDITION_FAILED, NOT_READY),
        Err(Error::Timeout) => error(StatusCode::REQUEST_TIMEOUT, Error::Timeout.message()),
        Err(why) => error(StatusCode::INTERNAL_SERVER_ERROR, why.message()),
    }
}

fn decimal(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

async fn hash_kv(shared: &Arc<Shared>, request: Request<Incoming>) -> Reply {
    let cluster = format_id(shared.settings.cluster);
    if text(request.headers(), CLUSTER_ID_HEADER).is_some_and(|id| !id.is_empty() && id != cluster)
    {
        let text = Refusal::ClusterIdMismatch.to_string();
        return error(StatusCode::PRECONDITION_FAILED, &text);
    }
    let body = body::collect(&mut request.into_body(), JSON_BYTES_MAX, SILENCE).await;
    let Ok(body) = body else {
        return error(StatusCode::BAD_REQUEST, "error reading body");
    };
    let question: Result<Value, _> = serde_json::from_slice(&body);
    let revision = question
        .ok()
        .filter(Value::is_object)
        .and_then(|question| question.get("revision").map_or(Some(0), Value::as_i64));
    let Some(revision) = revision else {
        return error(StatusCode::BAD_REQUEST, "error unmarshalling request");
    };
    match shared.inbox().hash_kv(revision).await {
        Ok(answer) => reply(StatusCode::OK, "application/json", hash_kv_json(&answer)),
        Err(Error::Compacted) => error(StatusCode::BAD_REQUEST, COMPACTED),
        Err(Error::FutureRevision) => error(StatusCode::BAD_REQUEST, FUTURE_REVISION),
        Err(why) => error(StatusCode::BAD_REQUEST, why.message()),
    }
}

/// The JSON of etcd, which leaves zeroes out.
fn hash_kv_json(answer: &HashKvResponse) -> String {
    let mut fields = serde_json::Map::new();
    let revision = answer.header.as_ref().map_or(0, |header| header.revision);
    let header = if revision == 0 { json!({}) } else { json!({ "revision": revision }) };
    fields.insert("header".to_owned(), header);
    let numbers = [
        ("hash", i64::from(answer.hash)),
        ("compact_revision", answer.compact_revision),
        ("hash_revision", answer.hash_revision),
    ];
    for (name, number) in numbers.into_iter().filter(|(_, number)| *number != 0) {
        fields.insert(name.to_owned(), number.into());
    }
    Value::Object(fields).to_string()
}

/// Reads the body of a question about a lease.
async fn lease_question<M: prost::Message + Default>(body: &mut Incoming) -> Result<M, Reply> {
    let limit = usize::try_from(LEASE_BODY_BYTES_MAX).unwrap_or(usize::MAX);
    let bytes = body::collect(body, limit, SILENCE).await.map_err(|why| match why {
        BodyError::TooLong(_) => error(StatusCode::PAYLOAD_TOO_LARGE, "request body too large"),
        BodyError::Broken(_) | BodyError::Silent => {
            error(StatusCode::BAD_REQUEST, "error reading body")
        }
    })?;
    M::decode(bytes).map_err(|_| error(StatusCode::BAD_REQUEST, "error unmarshalling request"))
}

fn lease_error(why: &Error) -> Reply {
    match why {
        Error::LeaseNotFound => error(StatusCode::NOT_FOUND, LEASE_NOT_FOUND),
        Error::Timeout => error(
            StatusCode::REQUEST_TIMEOUT,
            "waiting for node to catch up its applied index has timed out",
        ),
        Error::NotLeader | Error::NoLeader | Error::LeaderChanged => {
            error(StatusCode::INTERNAL_SERVER_ERROR, NOT_PRIMARY)
        }
        why => error(StatusCode::INTERNAL_SERVER_ERROR, why.message()),
    }
}

async fn renew(shared: &Arc<Shared>, request: Request<Incoming>) -> Reply {
    let question: LeaseKeepAliveRequest = match lease_question(&mut request.into_body()).await {
        Ok(question) => question,
        Err(reply) => return reply,
    };
    match shared.inbox().renew_lease(question.id).await {
        Ok(ttl) => {
            let answer = LeaseKeepAliveResponse { header: None, id: question.id, ttl };
            reply(StatusCode::OK, PROTOBUF_CONTENT_TYPE, answer.encode_to_vec())
        }
        Err(why) => lease_error(&why),
    }
}

async fn time_left(shared: &Arc<Shared>, request: Request<Incoming>) -> Reply {
    let question: LeaseInternalRequest = match lease_question(&mut request.into_body()).await {
        Ok(question) => question,
        Err(reply) => return reply,
    };
    let question = question.lease_time_to_live_request.unwrap_or_default();
    match shared.inbox().lease_time_left(question.id, question.keys).await {
        Ok(answer) => {
            let answer = LeaseInternalResponse { lease_time_to_live_response: Some(answer) };
            reply(StatusCode::OK, PROTOBUF_CONTENT_TYPE, answer.encode_to_vec())
        }
        Err(why) => lease_error(&why),
    }
}
