//! Connections of clients.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tonic::body::Body;

use super::listen::Listener;
use super::pings::Pinged;
use crate::config::KeepAlive;
use crate::grpc::{Grpc, Measured};
use crate::http::{self as plain, Paths};
use crate::member::Member;
use crate::stopping::Stopping;

/// Bytes that all streams of a connection may have on their way. Bursts of small messages on one
/// stream (thousands of watches created at once) need room.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Bytes that one stream may have on its way: a request of the default limit fits.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
/// Bytes of a request's headers: tokens and trace contexts, no more.
const HEADER_BYTES_MAX: u32 = 64 << 10;
/// How long a client may take to send the headers of a plain request.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(300);
/// After an accept that failed, for example for want of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How connections are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connections {
    /// Streams of one connection.
    pub(super) streams_max: u32,
    pub(super) keep_alive: KeepAlive,
}

/// What a connection is served with.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) grpc: Grpc,
    pub(super) member: Member,
    pub(super) paths: Paths,
}

impl Service {
    async fn call(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Measured>, Infallible> {
        let content_type = request.headers().get(CONTENT_TYPE);
        let is_grpc = self.paths == Paths::All
            && content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
        if is_grpc {
            return Ok(self.grpc.call(request).await);
        }
        let (method, uri) = (request.method(), request.uri());
        let answer = plain::answer(&self.member, self.paths, method, uri).await;
        Ok(answer.map(|body| Measured::plain(Body::new(body))))
    }
}

/// Accept on all listeners of a thread until the member stops, then let calls end for `drain`.
pub(super) async fn run<F: Future<Output = JoinSet<()>>>(accepting: Vec<F>, drain: Duration) {
    let mut open = Vec::new();
    let mut accepting: Vec<_> = accepting.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        accepting.retain_mut(|accept| match accept.as_mut().poll(context) {
            std::task::Poll::Pending => true,
            std::task::Poll::Ready(connections) => {
                open.push(connections);
                false
            }
        });
        if accepting.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    let all_ended = async {
        for connections in &mut open {
            while connections.join_next().await.is_some() {}
        }
    };
    // What has not ended by then is cut off.
    let _ = tokio::time::timeout(drain, all_ended).await;
}

/// Accept connections until the member stops; those that are open then.
pub(super) async fn accept(
    listener: Listener,
    service: Service,
    options: Connections,
    stopping: Stopping,
) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    let accepted = match listener {
        Listener::Tcp(listener) => match TcpListener::from_std(listener) {
            Ok(listener) => {
                accept_tcp(listener, &mut connections, &service, options, &stopping).await
            }
            Err(error) => Err(error),
        },
        Listener::Unix(listener) => match UnixListener::from_std(listener) {
            Ok(listener) => {
                accept_unix(listener, &mut connections, &service, options, &stopping).await
            }
            Err(error) => Err(error),
        },
    };
    if let Err(error) = accepted {
        tracing::error!(%error, "a socket for clients cannot be used");
    }
    connections
}

async fn accept_tcp(
    listener: TcpListener,
    connections: &mut JoinSet<()>,
    service: &Service,
    options: Connections,
    stopping: &Stopping,
) -> io::Result<()> {
    loop {
        tokio::select! {
            () = stopping.clone().wait() => return Ok(()),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // A small answer must not wait for the one before to be acknowledged.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(serve(stream, service.clone(), options, stopping.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a client could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn accept_unix(
    listener: UnixListener,
    connections: &mut JoinSet<()>,
    service: &Service,
    options: Connections,
    stopping: &Stopping,
) -> io::Result<()> {
    loop {
        tokio::select! {
            () = stopping.clone().wait() => return Ok(()),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, service.clone(), options, stopping.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a client could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serve one connection to its end. When the member stops, the client is told to go elsewhere and
/// its calls end.
async fn serve<S>(stream: S, service: Service, options: Connections, stopping: Stopping)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let builder = builder(options);
    // Shared by the connection's requests: cloning all services for each would cost more than some
    // of the requests do.
    let service = Arc::new(service);
    let call = service_fn(move |request| service.clone().call(request));
    let stream = Pinged::new(stream, options.keep_alive.ping_interval_min);
    let connection = builder.serve_connection(TokioIo::new(stream), call);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.wait() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "a client's connection ended");
    }
}

fn builder(options: Connections) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS_TIMEOUT);
    let mut http2 = builder.http2();
    http2
        .timer(TokioTimer::new())
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .adaptive_window(false)
        .max_concurrent_streams(options.streams_max)
        .max_header_list_size(HEADER_BYTES_MAX)
        .keep_alive_interval(options.keep_alive.interval);
    if let Some(timeout) = options.keep_alive.timeout {
        http2.keep_alive_timeout(timeout);
    }
    builder
}
