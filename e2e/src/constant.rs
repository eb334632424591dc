//! A server that answers every put with the same words: what gRPC alone costs on this machine.
//!
//! Shaped as the fastest server could be: one runtime per core, connections stay where they land,
//! messages are decoded and encoded, nothing is kept.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::Context as _;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use quorate_api::etcdserverpb::{PutRequest, PutResponse, ResponseHeader};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tonic::Status;
use tonic::body::Body;
use tonic::server::UnaryService;
use tonic_prost::ProstCodec;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// Windows as the real server has them.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
const STREAM_WINDOW_BYTES: u32 = 2 << 20;

/// Serve until the process is ended.
pub(crate) fn run(address: SocketAddr) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    let threads: Vec<_> = (0..cores)
        .map(|_| {
            let socket = listen(address)?;
            Ok(std::thread::spawn(move || serve(socket)))
        })
        .collect::<anyhow::Result<_>>()?;
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a thread of the constant server died"))??;
    }
    Ok(())
}

fn listen(address: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into()).with_context(|| format!("{address} cannot be listened at"))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn serve(socket: std::net::TcpListener) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(socket)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                builder
                    .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                    .initial_stream_window_size(STREAM_WINDOW_BYTES);
                // A client that goes away ends its connection; nobody needs to hear of it.
                let _ = builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            });
        }
    })
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let codec = ProstCodec::<PutResponse, PutRequest>::default();
    Ok(tonic::server::Grpc::new(codec).unary(Constant, request).await)
}

struct Constant;

impl UnaryService<PutRequest> for Constant {
    type Response = PutResponse;
    type Future = Ready;

    fn call(&mut self, _: tonic::Request<PutRequest>) -> Ready {
        Ready
    }
}

struct Ready;

impl Future for Ready {
    type Output = Result<tonic::Response<PutResponse>, Status>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let header = ResponseHeader {
            cluster_id: 0x1234_5678_9abc_def0,
            member_id: 0x0fed_cba9_8765_4321,
            revision: 1_000_000,
            raft_term: 2,
        };
        Poll::Ready(Ok(tonic::Response::new(PutResponse {
            header: Some(header),
            ..PutResponse::default()
        })))
    }
}
