//! Asking a peer something: leases, promotions, versions, members, hashes.
//!
//! Each function tries the peer's addresses in turn until one answers. It runs on the caller's
//! runtime and opens a connection of its own.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use prost::Message as _;
use quorate_api::Error;
use quorate_api::etcdserverpb::{
    HashKvResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse, ResponseHeader,
};
use quorate_api::identity::{format_id, parse_id};
use quorate_api::leasepb::{LeaseInternalRequest, LeaseInternalResponse};
use quorate_api::member_json::Member;
use quorate_api::peer::{
    CLUSTER_ID_HEADER, Claim, DOWNGRADE_ENABLED_PATH, HASH_KV_PATH, IDENTITY_PATH,
    LEASES_INTERNAL_PATH, LEASES_PATH, MEMBERS_PATH, PROBING_PATH, PROMOTE_PATH_PREFIX,
    PROTOBUF_CONTENT_TYPE, VERSION_PATH,
};
use quorate_api::urls::Url;
use serde_json::{Value, json};
use thiserror::Error as ThisError;
use tokio::time::{Instant, timeout_at};

use super::body::{self, BodyError};
use super::dial::{DialError, Dialer};
use super::identity::{self, Unheard};
use super::inbox::Versions;
use super::questions::{COMPACTED, FUTURE_REVISION, NOT_LEARNER, NOT_READY};
use super::serve::text;
use super::settings::SILENCE;
use super::transport::headers;
use crate::member::Ids;

/// The longest answer: the keys of a lease are in one.
const ANSWER_BYTES_MAX: usize = 100 << 20;

/// Why a peer gave no answer.
#[derive(Debug, ThisError)]
pub enum AskError {
    /// The peer answers with an error of etcd.
    #[error("{}", .0.message())]
    Refused(Error),
    /// The peer answers with something else.
    #[error("the peer answers {status}: {text}")]
    Answer {
        /// The status.
        status: StatusCode,
        /// The text.
        text: String,
    },
    /// The peer does not answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The peer has no usable address.
    #[error("the peer has no usable address")]
    NoAddress,
    /// The peer is not reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The answer breaks off.
    #[error("the answer breaks off: {0}")]
    Broken(String),
    /// The answer does not read as one.
    #[error("the answer cannot be read")]
    Malformed,
}

impl From<BodyError> for AskError {
    fn from(error: BodyError) -> Self {
        Self::Broken(error.to_string())
    }
}

/// What is asked.
struct Question {
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

/// An answer with any status.
struct Answer {
    status: StatusCode,
    cluster: Option<u64>,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim_end().to_owned()
    }

    /// The body, if all is well.
    fn ok(self) -> Result<Bytes, AskError> {
        match self.status {
            StatusCode::OK => Ok(self.body),
            StatusCode::REQUEST_TIMEOUT => Err(AskError::Timeout),
            status => Err(AskError::Answer { status, text: self.text() }),
        }
    }
}

impl Question {
    fn get(path: &str) -> Self {
        let (method, path) = (Method::GET, path.to_owned());
        Self { method, path, headers: Vec::new(), body: Bytes::new() }
    }

    fn post(path: String, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, path, headers: Vec::new(), body: body.into() }
    }

    fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    async fn ask(&self, dialer: &Dialer, url: &Url, deadline: Instant) -> Result<Answer, AskError> {
        let mut request = Request::builder().method(&self.method).uri(self.path.as_str());
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let body = body::full(self.body.clone());
        let request = request.body(body).map_err(|_| AskError::Malformed)?;
        let asked = async {
            let patience = deadline.saturating_duration_since(Instant::now());
            let mut connection = dialer.open(url, patience).await?;
            let answer = connection.send(request).await?;
            let status = answer.status();
            let cluster = text(answer.headers(), CLUSTER_ID_HEADER).and_then(parse_id);
            let headers = answer.headers().clone();
            let mut body = answer.into_body();
            let body = body::collect(&mut body, ANSWER_BYTES_MAX, SILENCE).await?;
            Ok(Answer { status, cluster, headers, body })
        };
        timeout_at(deadline, asked).await.map_err(|_| AskError::Timeout)?
    }

    /// Asks at one address after the other, until one gives any answer. What must not happen twice
    /// is asked at the next address only if the one before could not be connected to.
    async fn ask_any(
        &self,
        dialer: &Dialer,
        urls: &[String],
        patience: Duration,
    ) -> Result<Answer, AskError> {
        let deadline = Instant::now() + patience;
        let mut why = AskError::NoAddress;
        for url in urls.iter().filter_map(|url| Url::parse(url).ok()) {
            match self.ask(dialer, &url, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(error @ AskError::Dial(DialError::Connect { .. })) => why = error,
                Err(error) if self.method == Method::GET => why = error,
                Err(error) => return Err(error),
            }
        }
        Err(why)
    }
}

/// Keeps a lease alive at the leader: its time to live in seconds.
///
/// # Errors
/// [`Error::LeaseNotFound`] if there is none, or whatever kept the leader from answering.
pub async fn renew_lease(
    dialer: &Dialer,
    urls: &[String],
    lease: i64,
    patience: Duration,
) -> Result<i64, AskError> {
    let body = LeaseKeepAliveRequest { id: lease }.encode_to_vec();
    let answer = ask_lease(dialer, LEASES_PATH, body, urls, patience).await?;
    let answer = LeaseKeepAliveResponse::decode(answer).map_err(|_| AskError::Malformed)?;
    if answer.id != lease { Err(AskError::Malformed) } else { Ok(answer.ttl) }
}

/// Asks the leader what a lease has left.
///
/// # Errors
/// [`Error::LeaseNotFound`] if there is none, or whatever kept the leader from answering.
pub async fn lease_time_left(
    dialer: &Dialer,
    urls: &[String],
    lease: i64,
    keys: bool,
    patience: Duration,
) -> Result<LeaseTimeToLiveResponse, AskError> {
    let question = LeaseTimeToLiveRequest { id: lease, keys };
    let body = LeaseInternalRequest { lease_time_to_live_request: Some(question) };
    let answer =
        ask_lease(dialer, LEASES_INTERNAL_PATH, body.encode_to_vec(), urls, patience).await?;
    LeaseInternalResponse::decode(answer)
        .ok()
        .and_then(|answer| answer.lease_time_to_live_response)
        .filter(|answer| answer.id == lease)
        .ok_or(AskError::Malformed)
}

async fn ask_lease(
    dialer: &Dialer,
    path: &str,
    body: Vec<u8>,
    urls: &[String],
    patience: Duration,
) -> Result<Bytes, AskError> {
    let question = Question::post(path.to_owned(), body)
        .header("content-type", PROTOBUF_CONTENT_TYPE.to_owned());
    let answer = question.ask_any(dialer, urls, patience).await?;
    match answer.status {
        StatusCode::NOT_FOUND => Err(AskError::Refused(Error::LeaseNotFound)),
        _ => answer.ok(),
    }
}

/// Lets the leader promote a learner, on behalf of the holder of this token: the members then.
///
/// # Errors
/// [`Error::MemberNotFound`], [`Error::MemberNotLearner`], [`Error::LearnerNotReady`], or whatever
/// kept the leader from answering.
pub async fn promote(
    dialer: &Dialer,
    urls: &[String],
    member: u64,
    token: Option<&str>,
    patience: Duration,
) -> Result<Vec<Member>, AskError> {
    let mut question = Question::post(format!("{PROMOTE_PATH_PREFIX}{member}"), Bytes::new());
    if let Some(token) = token {
        question = question.header("authorization", token.to_owned());
    }
    let answer = question.ask_any(dialer, urls, patience).await?;
    let text = answer.text();
    match answer.status {
        StatusCode::NOT_FOUND => Err(AskError::Refused(Error::MemberNotFound)),
        StatusCode::PRECONDITION_FAILED if text.contains(NOT_READY) => {
            Err(AskError::Refused(Error::LearnerNotReady))
        }
        StatusCode::PRECONDITION_FAILED if text.contains(NOT_LEARNER) => {
            Err(AskError::Refused(Error::MemberNotLearner))
        }
        _ => serde_json::from_slice(&answer.ok()?).map_err(|_| AskError::Malformed),
    }
}

/// What a peer says to a member that introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Introduced {
    /// It takes it for the member that it knows, if it knows one.
    Heard,
    /// It does not, for this reason.
    Refused(String),
    /// It is still connected to the member as it was started before.
    Connected,
}

/// The headers with which a member introduces itself.
#[must_use]
pub fn introduction(ids: Ids, advertise: &[Url], claim: &Claim) -> Vec<(&'static str, String)> {
    headers(ids, advertise, claim).to_vec()
}

/// Whether a peer takes a member for the one that it knows.
///
/// # Errors
/// Whatever kept the peer from answering; members of etcd's do not know the question.
pub async fn introduce(
    dialer: &Dialer,
    urls: &[String],
    headers: &[(&'static str, String)],
    patience: Duration,
) -> Result<Introduced, AskError> {
    let mut question = Question::get(IDENTITY_PATH);
    question.headers = headers.to_vec();
    let answer = question.ask_any(dialer, urls, patience).await?;
    match answer.status {
        identity::REFUSED => Ok(Introduced::Refused(answer.text())),
        StatusCode::SERVICE_UNAVAILABLE if answer.text() == Unheard::Connected.to_string() => {
            Ok(Introduced::Connected)
        }
        _ => answer.ok().map(|_| Introduced::Heard),
    }
}

/// The cluster's id and its members, as a peer knows them.
///
/// # Errors
/// Whatever kept the peer from answering.
pub async fn fetch_members(
    dialer: &Dialer,
    urls: &[String],
    patience: Duration,
) -> Result<(u64, Vec<Member>), AskError> {
    let answer = Question::get(MEMBERS_PATH).ask_any(dialer, urls, patience).await?;
    let cluster = answer.cluster.ok_or(AskError::Malformed)?;
    let members = serde_json::from_slice(&answer.ok()?).map_err(|_| AskError::Malformed)?;
    Ok((cluster, members))
}

/// The versions of a peer.
///
/// # Errors
/// Whatever kept the peer from answering.
pub async fn fetch_version(
    dialer: &Dialer,
    urls: &[String],
    patience: Duration,
) -> Result<Versions, AskError> {
    let answer = Question::get(VERSION_PATH).ask_any(dialer, urls, patience).await?;
    Versions::from_json(&answer.ok()?).ok_or(AskError::Malformed)
}

/// Whether a downgrade is under way, as a peer knows it.
///
/// # Errors
/// Whatever kept the peer from answering.
pub async fn fetch_downgrade_enabled(
    dialer: &Dialer,
    urls: &[String],
    patience: Duration,
) -> Result<bool, AskError> {
    let answer = Question::get(DOWNGRADE_ENABLED_PATH).ask_any(dialer, urls, patience).await?;
    match answer.ok()?.as_ref() {
        b"true" => Ok(true),
        b"false" => Ok(false),
        _ => Err(AskError::Malformed),
    }
}

/// The hash of a peer's keys at a revision.
///
/// # Errors
/// [`Error::Compacted`], [`Error::FutureRevision`], [`Error::ClusterIdMismatch`], or whatever kept
/// the peer from answering.
pub async fn hash_kv(
    dialer: &Dialer,
    urls: &[String],
    cluster: u64,
    revision: i64,
    patience: Duration,
) -> Result<HashKvResponse, AskError> {
    let mut question = Question::get(HASH_KV_PATH)
        .header("content-type", "application/json".to_owned())
        .header(CLUSTER_ID_HEADER, format_id(cluster));
    question.body = json!({ "revision": revision }).to_string().into();
    let answer = question.ask_any(dialer, urls, patience).await?;
    let text = answer.text();
    match answer.status {
        StatusCode::BAD_REQUEST if text.contains(COMPACTED) => {
            Err(AskError::Refused(Error::Compacted))
        }
        StatusCode::BAD_REQUEST if text.contains(FUTURE_REVISION) => {
            Err(AskError::Refused(Error::FutureRevision))
        }
        StatusCode::PRECONDITION_FAILED => Err(AskError::Refused(Error::ClusterIdMismatch)),
        _ => read_hash_kv(&answer.ok()?).ok_or(AskError::Malformed),
    }
}

fn read_hash_kv(json: &[u8]) -> Option<HashKvResponse> {
    let value: Value = serde_json::from_slice(json).ok()?;
    let number = |value: &Value, name| value.get(name).map_or(Some(0), Value::as_i64);
    let revision = value.get("header").map_or(Some(0), |header| number(header, "revision"))?;
    Some(HashKvResponse {
        header: Some(ResponseHeader { revision, ..ResponseHeader::default() }),
        hash: u32::try_from(number(&value, "hash")?).ok()?,
        compact_revision: number(&value, "compact_revision")?,
        hash_revision: number(&value, "hash_revision")?,
    })
}

/// Whether a peer answers, and the headers of its answer.
pub(super) async fn probe(
    dialer: &Dialer,
    url: &Url,
    headers: Vec<(&'static str, String)>,
    patience: Duration,
) -> Result<HeaderMap, AskError> {
    let deadline = Instant::now() + patience;
    let mut question = Question::get(PROBING_PATH);
    question.headers = headers;
    let mut answer = question.ask(dialer, url, deadline).await?;
    let headers = std::mem::take(&mut answer.headers);
    answer.ok().map(|_| headers)
}
