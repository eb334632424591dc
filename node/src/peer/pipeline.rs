//! Posting messages one by one, while a peer has no stream from us.

use std::sync::Arc;

use http::{Request, StatusCode, header};
use prost::Message as _;
use quorate_api::identity::format_id;
use quorate_api::peer::{PIPELINE_PATH, PROTOBUF_CONTENT_TYPE};
use quorate_api::raftpb::Message;
use thiserror::Error;
use tokio::sync::{Mutex, mpsc};

use super::body::{self, BodyError};
use super::dial::{Connection, DialError};
use super::identity::{self, Unheard};
use super::remote::Remote;
use super::settings::{PIPELINE_WORKERS, POST_TIMEOUT, SILENCE};
use super::transport::Shared;

/// The longest answer to a post that is read.
const ANSWER_BYTES_MAX: usize = 4 << 10;

/// Why a post failed.
#[derive(Debug, Error)]
pub(super) enum PostError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("no answer in time")]
    NoAnswer,
    #[error("the peer answers {status}: {text}")]
    Answer { status: StatusCode, text: String },
    #[error("the peer has no usable address")]
    NoAddress,
    #[error(transparent)]
    Unheard(#[from] Unheard),
    #[error("who answers there is not the peer that it was")]
    Doubted,
    #[error("the snapshot cannot be read: {0}")]
    Source(String),
}

pub(super) fn start(shared: &Arc<Shared>, remote: &Arc<Remote>, posts: mpsc::Receiver<Message>) {
    let posts = Arc::new(Mutex::new(posts));
    for _ in 0..PIPELINE_WORKERS {
        let worker = work(shared.clone(), remote.clone(), posts.clone());
        remote.own(shared.runtime().spawn(worker).abort_handle());
    }
    let (inbox, lossy) = (shared.clone(), remote.clone());
    let reporter = shared.runtime().spawn(async move {
        loop {
            lossy.lost().await;
            inbox.inbox().unreachable(lossy.id);
        }
    });
    remote.own(reporter.abort_handle());
}

async fn work(
    shared: Arc<Shared>,
    remote: Arc<Remote>,
    posts: Arc<Mutex<mpsc::Receiver<Message>>>,
) {
    let mut connection = None;
    loop {
        // Held while nothing is to be done, so that one worker after the other waits.
        let Some(message) = posts.lock().await.recv().await else { return };
        let Some(url) = remote.url() else {
            remote.note_lost();
            continue;
        };
        let bytes = message.encode_to_vec();
        let length = bytes.len() as u64;
        let posted = async {
            if remote.is_doubted() {
                return Err(PostError::Doubted);
            }
            let mut connection = match connection.take() {
                Some(open) if Connection::is_reusable(&open, &url) => open,
                _ => shared.dial(&url).await?,
            };
            let request = request(&shared, PIPELINE_PATH, PROTOBUF_CONTENT_TYPE, body::full(bytes));
            let answer = tokio::time::timeout(POST_TIMEOUT, connection.send(request)).await;
            check(&shared, &remote, answer.map_err(|_| PostError::NoAnswer)??).await?;
            Ok::<_, PostError>(connection)
        };
        match posted.await {
            Ok(open) => {
                remote.sent.inc_by(length);
                connection = Some(open);
            }
            Err(error) => {
                remote.avoid(&url);
                remote.note_lost();
                let peer = format_id(remote.id);
                tracing::debug!(peer, %url, %error, "a message to a peer is lost");
            }
        }
    }
}

/// A post to a peer.
pub(super) fn request(
    shared: &Shared,
    path: &str,
    content_type: &str,
    body: body::Outgoing,
) -> Request<body::Outgoing> {
    let mut request = Request::post(path).header(header::CONTENT_TYPE, content_type);
    for (name, value) in shared.headers() {
        request = request.header(name, value);
    }
    request.body(body).expect("ids, versions and URLs are header values")
}

/// Whether a peer has taken a post.
pub(super) async fn check(
    shared: &Shared,
    remote: &Remote,
    answer: http::Response<hyper::body::Incoming>,
) -> Result<(), PostError> {
    let status = answer.status();
    let headers = answer.headers().clone();
    let text = body::collect(&mut answer.into_body(), ANSWER_BYTES_MAX, SILENCE).await?;
    let text = String::from_utf8_lossy(&text).trim_end().to_owned();
    match status {
        StatusCode::NO_CONTENT => Ok(identity::hear_answer(shared, remote, &headers).await?),
        identity::REFUSED => {
            shared.inbox().refused_by(remote.id, &text);
            Err(PostError::Answer { status, text })
        }
        StatusCode::FORBIDDEN if text.contains("removed member") => {
            shared.inbox().told_removed(remote.id);
            Err(PostError::Answer { status, text })
        }
        _ => Err(PostError::Answer { status, text }),
    }
}
