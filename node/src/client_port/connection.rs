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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tonic::body::Body;

use super::lingering::Lingering;
use super::listen::Listener;
use super::output::gather;
use super::pings::Pinged;
use crate::config::KeepAlive;
use crate::grpc::{Grpc, Measured};
use crate::http::{self as plain, Paths, Plain, Transport};
use crate::member::Connected;
use crate::pace;
use crate::stopping::Stopping;
use crate::tls::{Acceptor, Arrived};

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

/// How long a connection is given to begin before it can be told that the member stops.
const BEGINNING: Duration = Duration::from_millis(100);

/// Bytes of one stream that are handed to a connection before its client takes them.
const SEND_BYTES_MAX: usize = 128 << 10;

/// How connections are kept.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    /// Streams of one connection.
    pub(super) streams_max: u32,
    pub(super) keep_alive: KeepAlive,
    /// One for each connection that may be open: whoever comes then waits to be accepted.
    pub(super) room: Arc<Semaphore>,
}

/// Connections to addresses of health and metrics: they are answered when clients have all others.
const METRICS_CONNECTIONS_MAX: usize = 64;

impl Connections {
    /// The same for an address of health and metrics.
    pub(super) fn of_metrics(&self) -> Self {
        Self { room: Arc::new(Semaphore::new(METRICS_CONNECTIONS_MAX)), ..self.clone() }
    }

    /// Wait until another connection may be open.
    async fn room(&self) -> OwnedSemaphorePermit {
        self.room.clone().acquire_owned().await.expect("it is never closed")
    }
}

/// What an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Serves {
    /// gRPC and plain HTTP.
    Everything,
    /// gRPC alone.
    Grpc,
    /// Plain HTTP alone.
    Http,
    /// Plain HTTP of health and metrics alone.
    Metrics,
}

/// Where connections come in.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) listener: Listener,
    /// Who asks them who they are; `None` where nobody does.
    pub(super) tls: Option<Arc<Acceptor>>,
}

impl Door {
    /// What those who come in have.
    pub(super) fn transport(&self) -> Transport {
        if self.tls.is_some() { Transport::Encrypted } else { Transport::Plain }
    }
}

/// What a connection is served with.
#[derive(Clone)]
pub(super) struct Service {
    grpc: Grpc,
    plain: Plain,
    serves: Serves,
}

impl Service {
    pub(super) fn new(grpc: Grpc, plain: Plain, serves: Serves) -> Self {
        let paths = if serves == Serves::Metrics { Paths::Metrics } else { Paths::All };
        Self { grpc, plain: Plain { paths, ..plain }, serves }
    }

    async fn call(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Measured>, Infallible> {
        let content_type = request.headers().get(CONTENT_TYPE);
        let is_grpc =
            content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
        let answer = match self.serves {
            Serves::Everything | Serves::Grpc if is_grpc => {
                return Ok(self.grpc.call(request).await);
            }
            Serves::Grpc => plain::only_grpc(),
            Serves::Everything | Serves::Http | Serves::Metrics => {
                self.plain.answer(&request).await
            }
        };
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
    door: Door,
    service: Service,
    options: Connections,
    stopping: Stopping,
) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    let host = Host { tls: door.tls, service, options, stopping };
    let listening = match door.listener {
        Listener::Tcp(listener) => match TcpListener::from_std(listener) {
            Ok(listener) => {
                let accept = async || {
                    let (socket, _) = listener.accept().await?;
                    // A small answer must not wait for the one before to be acknowledged.
                    let _ = socket.set_nodelay(true);
                    Ok(socket)
                };
                host.receive_all(&mut connections, accept).await;
                Ok(())
            }
            Err(error) => Err(error),
        },
        Listener::Unix(listener) => match UnixListener::from_std(listener) {
            Ok(listener) => {
                let accept = async || Ok(listener.accept().await?.0);
                host.receive_all(&mut connections, accept).await;
                Ok(())
            }
            Err(error) => Err(error),
        },
    };
    if let Err(error) = listening {
        tracing::error!(%error, "a socket for clients cannot be used");
    }
    connections
}

/// What a future comes to, if it does so at once.
async fn now_or_never<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        let now = future.as_mut().poll(context);
        std::task::Poll::Ready(match now {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

/// Who receives the connections of one listener.
#[derive(Clone)]
struct Host {
    tls: Option<Arc<Acceptor>>,
    service: Service,
    options: Connections,
    stopping: Stopping,
}

impl Host {
    async fn receive_all<S: Arrived + 'static>(
        &self,
        connections: &mut JoinSet<()>,
        accept: impl AsyncFn() -> io::Result<S>,
    ) {
        loop {
            tokio::select! {
                () = self.stopping.clone().wait() => break,
                (room, accepted) = self.accepting(&accept) => match accepted {
                    Ok(socket) => {
                        connections.spawn(pace::begin_charged(self.clone().receive(socket, room)));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a client could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
        // Who has connected may have asked something already: it would be told that the connection
        // broke, and not know whether that was carried out.
        while let Ok(room) = self.options.room.clone().try_acquire_owned()
            && let Some(Ok(socket)) = now_or_never(accept()).await
        {
            connections.spawn(self.clone().receive(socket, room));
        }
    }

    /// What is accepted, once there is room for it. When there is none, those who have not shown
    /// who they are give way: they must not keep out who would.
    async fn accepting<S>(
        &self,
        accept: impl AsyncFn() -> io::Result<S>,
    ) -> (OwnedSemaphorePermit, io::Result<S>) {
        let room = match self.options.room.clone().try_acquire_owned() {
            Ok(room) => room,
            Err(_) => {
                if let Some(tls) = &self.tls {
                    tls.give_way();
                }
                self.options.room().await
            }
        };
        // Those who are there already go before many that come at once.
        pace::turn().await;
        (room, pace::all_charged(accept()).await)
    }

    /// Serves a connection in its room. What comes after the handshake is large, and stands apart:
    /// many never come so far.
    async fn receive<S: Arrived + 'static>(self, socket: S, room: OwnedSemaphorePermit) {
        match &self.tls {
            None => Box::pin(self.serve(socket)).await,
            Some(tls) => {
                let accepted = tokio::select! {
                    accepted = pace::all_charged(tls.accept(socket)) => accepted,
                    () = self.stopping.clone().wait() => None,
                };
                if let Some(stream) = accepted {
                    Box::pin(self.serve(stream)).await;
                }
            }
        }
        drop(room);
    }

    /// Serves one connection to its end. When the member stops, the client is told to go elsewhere
    /// and its calls end.
    async fn serve<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let _connected = Connected::here();
        let builder = builder(&self.options);
        // Shared by the connection's requests: cloning all services for each would cost more than
        // some of the requests do.
        let service = Arc::new(self.service);
        // In a box, as it is moved several times before it runs.
        let call = service_fn(move |request| Box::pin(service.clone().call(request)));
        let stream = Lingering::new(stream, self.stopping.clone());
        let (stream, output) =
            gather(Pinged::new(stream, self.options.keep_alive.ping_interval_min));
        let connection = builder.serve_connection(TokioIo::new(stream), call);
        tokio::pin!(connection);
        let has_begun = tokio::time::sleep(BEGINNING);
        let told = async {
            self.stopping.wait().await;
            // One of which it is not known yet what it speaks could only be cut off.
            has_begun.await;
        };
        let ended = tokio::select! {
            ended = output.drive(connection.as_mut()) => ended,
            () = told => {
                connection.as_mut().graceful_shutdown();
                output.drive(connection.as_mut()).await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error, "a client's connection ended");
        }
    }
}

fn builder(options: &Connections) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX as usize);
    let mut http2 = builder.http2();
    http2
        .timer(TokioTimer::new())
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .adaptive_window(false)
        .max_concurrent_streams(options.streams_max)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_send_buf_size(SEND_BYTES_MAX)
        .keep_alive_interval(options.keep_alive.interval);
    if let Some(timeout) = options.keep_alive.timeout {
        http2.keep_alive_timeout(timeout);
    }
    builder
}
