//! The peer port: who may ask, and who answers.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prost::Message as _;
use quorate_api::identity::{format_id, parse_id};
use quorate_api::peer::{
    CLUSTER_ID_HEADER, IDENTITY_PATH, PEER_URLS_HEADER, PIPELINE_PATH, PROBING_PATH,
    RAFT_TO_HEADER, Refusal, SERVER_FROM_HEADER, SERVER_VERSION_HEADER, SNAPSHOT_PATH,
    STREAM_APPEND_PATH_PREFIX, STREAM_MESSAGE_PATH_PREFIX, check_peer,
};
use quorate_api::raftpb::Message;
use quorate_api::urls::Url;
use quorate_api::version::ETCD_VERSION;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body::{self, Outgoing};
use super::identity::{self, Unheard};
use super::questions;
use super::reader::{NotAdmitted, admit};
use super::receive_snapshot;
use super::settings::{CONNECTIONS_MAX, PIPELINE_BODY_BYTES_MAX, SILENCE};
use super::socket::{self, Socket};
use super::stream_body::{Channel, StreamBody};
use super::transport::Shared;
use crate::metrics;
use crate::tls::{Acceptor, Arrived, Live};

/// The wait for a request's headers, and for the next request on a connection.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(30);

/// After an accept that failed: descriptors may come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An answer: whole, or a stream for as long as both sides live.
pub(super) type Reply = Response<Outgoing>;

/// Where peers connect to.
pub(super) struct Listener {
    socket: ListeningSocket,
    /// Who asks them who they are; `None` where nobody does.
    tls: Option<Arc<Acceptor>>,
}

enum ListeningSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Within a runtime. Names are resolved, once.
    pub(super) fn bind(url: &Url, tls: Option<&Arc<Live>>) -> io::Result<Self> {
        let tls = tls.filter(|_| url.scheme().is_tls());
        if url.scheme().is_tls() && tls.is_none() {
            let text = "there is no certificate to show (--peer-cert-file, --peer-key-file)";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        let socket = if url.scheme().is_unix() {
            // A socket that is left over from an earlier run is in the way.
            let _ = std::fs::remove_file(url.address());
            ListeningSocket::Unix(UnixListener::bind(url.address())?)
        } else {
            let addresses: Vec<SocketAddr> = url.address().to_socket_addrs()?.collect();
            let listener = std::net::TcpListener::bind(addresses.as_slice())?;
            listener.set_nonblocking(true)?;
            ListeningSocket::Tcp(TcpListener::from_std(listener)?)
        };
        Ok(Self { socket, tls: tls.map(Acceptor::new) })
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            ListeningSocket::Tcp(listener) => listener.local_addr().ok(),
            ListeningSocket::Unix(_) => None,
        }
    }
}

/// Accepts until the runtime ends.
pub(super) async fn accept(shared: Arc<Shared>, listener: Listener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // With TLS, a place is only for those who have shown who they are.
        let place = match listener.tls {
            Some(_) => None,
            None => places.clone().acquire_owned().await.ok(),
        };
        let reception =
            Reception { shared: shared.clone(), places: places.clone(), tls: listener.tls.clone() };
        let accepted = match &listener.socket {
            ListeningSocket::Tcp(listener) => {
                let accepted = listener.accept().await.and_then(|(stream, _)| {
                    socket::set_options(&stream)?;
                    Ok(stream)
                });
                accepted.map(|stream| tokio::spawn(reception.receive(stream, place)))
            }
            ListeningSocket::Unix(listener) => {
                let accepted = listener.accept().await;
                accepted.map(|(stream, _)| tokio::spawn(reception.receive(stream, place)))
            }
        };
        if let Err(error) = accepted {
            tracing::warn!(%error, "cannot accept a peer's connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

/// From a socket to a peer's connection.
struct Reception {
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
    tls: Option<Arc<Acceptor>>,
}

impl Reception {
    async fn receive<S: Arrived + 'static>(self, socket: S, place: Option<OwnedSemaphorePermit>) {
        let Some(tls) = self.tls else {
            Box::pin(connection(self.shared, Socket::new(socket))).await;
            drop(place);
            return;
        };
        let Some(stream) = tls.accept(socket).await else { return };
        let Ok(place) = self.places.try_acquire_owned() else {
            tracing::warn!("a peer's connection is refused: there are too many");
            return;
        };
        Box::pin(connection(self.shared, Socket::new(stream))).await;
        drop(place);
    }
}

async fn connection(shared: Arc<Shared>, socket: Socket) {
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .serve_connection(TokioIo::new(socket), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a peer's connection ended");
    }
}

async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Reply {
    let path = request.uri().path().to_owned();
    let mut reply = match path.as_str() {
        PIPELINE_PATH => match refused(shared, &request, &Method::POST).await {
            None => pipeline(shared, request).await,
            Some(reply) => reply,
        },
        SNAPSHOT_PATH => match refused(shared, &request, &Method::POST).await {
            None => snapshot(shared, request).await,
            Some(reply) => reply,
        },
        PROBING_PATH => match unheard(shared, request.headers()).await {
            None => questions::probing(),
            Some(reply) => reply,
        },
        IDENTITY_PATH => introduced(shared, &request),
        _ if path.starts_with("/raft/stream/") => {
            let mut reply = match refused(shared, &request, &Method::GET).await {
                None => stream(shared, &path, request.headers()),
                Some(reply) => reply,
            };
            set(&mut reply, SERVER_VERSION_HEADER, ETCD_VERSION);
            reply
        }
        _ => return questions::answer(shared, &path, request).await,
    };
    set(&mut reply, CLUSTER_ID_HEADER, &format_id(shared.settings.cluster));
    identity::sign(shared, &mut reply);
    reply
}

/// The answer to a member that introduces itself before it runs.
fn introduced(shared: &Arc<Shared>, request: &Request<Incoming>) -> Reply {
    if request.method() != Method::GET {
        return not_allowed(&Method::GET);
    }
    let headers = request.headers();
    let checked = check_peer(shared.settings.cluster, |name| text(headers, name));
    match (checked, text(headers, SERVER_FROM_HEADER).and_then(parse_id)) {
        (Err(refusal), _) => refuse(refusal),
        (Ok(()), None) => refuse(Refusal::InvalidFrom),
        (Ok(()), Some(from)) if shared.inbox().is_removed(from) => refuse(Refusal::Removed),
        (Ok(()), Some(from)) => match identity::meet(shared, from, headers) {
            Ok(()) => reply(StatusCode::OK, "text/plain; charset=utf-8", "heard\n"),
            Err(unheard) => unheard.reply(),
        },
    }
}

/// The answer to a peer's request that is not what it has to be.
async fn refused(
    shared: &Arc<Shared>,
    request: &Request<Incoming>,
    method: &Method,
) -> Option<Reply> {
    if request.method() != method {
        return Some(not_allowed(method));
    }
    let headers = request.headers();
    let Err(refusal) = check_peer(shared.settings.cluster, |name| text(headers, name)) else {
        return unheard(shared, headers).await;
    };
    let from = text(headers, SERVER_FROM_HEADER).unwrap_or_default();
    tracing::warn!(from, %refusal, "refused a peer's request");
    Some(refuse(refusal))
}

/// The answer to one that is not the member that it says it is. One that does not say so gets none.
async fn unheard(shared: &Arc<Shared>, headers: &HeaderMap) -> Option<Reply> {
    let from = text(headers, SERVER_FROM_HEADER).and_then(parse_id)?;
    if shared.inbox().is_removed(from) {
        // It hears of that otherwise.
        return None;
    }
    identity::hear(shared, from, headers).await.err().as_ref().map(Unheard::reply)
}

async fn pipeline(shared: &Arc<Shared>, request: Request<Incoming>) -> Reply {
    meet_sender(shared, request.headers());
    let mut body = request.into_body();
    let Ok(bytes) = body::collect(&mut body, PIPELINE_BODY_BYTES_MAX, SILENCE).await else {
        return error(StatusCode::BAD_REQUEST, "error reading raft message");
    };
    let length = bytes.len() as u64;
    let Ok(message) = Message::decode(bytes) else {
        return error(StatusCode::BAD_REQUEST, "error unmarshalling raft message");
    };
    if let Some(remote) = shared.remote(message.from()) {
        remote.received.inc_by(length);
    }
    match admit(shared, message, None) {
        Ok(message) => {
            shared.inbox().receive(message);
            no_content()
        }
        Err(refused @ (NotAdmitted::Removed | NotAdmitted::NotForUs)) => {
            json_error(StatusCode::FORBIDDEN, &refused.to_string())
        }
        Err(refused) => error(StatusCode::BAD_REQUEST, &refused.to_string()),
    }
}

async fn snapshot(shared: &Arc<Shared>, request: Request<Incoming>) -> Reply {
    meet_sender(shared, request.headers());
    let from = text(request.headers(), SERVER_FROM_HEADER).and_then(parse_id);
    match receive_snapshot::receive(shared, request.into_body()).await {
        Ok(()) => no_content(),
        Err(refused) => {
            metrics::snapshot_receive_failure(from.unwrap_or_default());
            tracing::warn!(error = %refused, "a snapshot is not taken");
            match refused.status() {
                status @ StatusCode::FORBIDDEN => json_error(status, &refused.to_string()),
                status => error(status, &refused.to_string()),
            }
        }
    }
}

/// A sender that is not known is answered where it says it is.
fn meet_sender(shared: &Arc<Shared>, headers: &HeaderMap) {
    let from = text(headers, SERVER_FROM_HEADER).and_then(parse_id);
    if let (Some(from), Some(urls)) = (from, text(headers, PEER_URLS_HEADER))
        && !urls.is_empty()
        && !shared.inbox().is_removed(from)
    {
        shared.meet_stranger(from, urls);
    }
}

fn stream(shared: &Arc<Shared>, path: &str, headers: &HeaderMap) -> Reply {
    let (channel, from) = if let Some(from) = path.strip_prefix(STREAM_APPEND_PATH_PREFIX) {
        (Channel::Append, from)
    } else if let Some(from) = path.strip_prefix(STREAM_MESSAGE_PATH_PREFIX) {
        (Channel::Message, from)
    } else {
        return error(StatusCode::NOT_FOUND, "invalid path");
    };
    let Some(from) = parse_id(from) else { return refuse(Refusal::InvalidFrom) };
    if shared.inbox().is_removed(from) {
        return refuse(Refusal::Removed);
    }
    let Some(remote) = shared.member(from) else {
        if let Some(urls) = text(headers, PEER_URLS_HEADER) {
            shared.meet_stranger(from, urls);
        }
        return refuse(Refusal::UnknownSender);
    };
    if text(headers, RAFT_TO_HEADER) != Some(format_id(shared.settings.member).as_str()) {
        return refuse(Refusal::ToMismatch);
    }
    tracing::info!(peer = format_id(from), ?channel, "a peer listens");
    Response::new(body::boxed(StreamBody::new(remote, channel)))
}

/// A header that is text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

pub(super) fn set(reply: &mut Reply, name: &'static str, value: &str) {
    if let (Ok(name), Ok(value)) = (name.parse::<header::HeaderName>(), value.parse()) {
        reply.headers_mut().insert(name, value);
    }
}

pub(super) fn reply(
    status: StatusCode,
    content_type: &str,
    body: impl Into<bytes::Bytes>,
) -> Reply {
    let mut reply = Response::new(body::full(body));
    *reply.status_mut() = status;
    set(&mut reply, "content-type", content_type);
    reply
}

/// An error as Go's servers write it.
pub(super) fn error(status: StatusCode, text: &str) -> Reply {
    let mut reply = reply(status, "text/plain; charset=utf-8", format!("{text}\n"));
    set(&mut reply, "x-content-type-options", "nosniff");
    reply
}

fn json_error(status: StatusCode, text: &str) -> Reply {
    let text = serde_json::Value::from(text);
    reply(status, "application/json", format!(r#"{{"message":{text}}}"#))
}

fn refuse(refusal: Refusal) -> Reply {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    error(status, &refusal.to_string())
}

pub(super) fn not_allowed(method: &Method) -> Reply {
    let mut reply = error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    set(&mut reply, "allow", method.as_str());
    reply
}

fn no_content() -> Reply {
    let mut reply = Response::new(body::empty());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
}
