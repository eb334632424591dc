//! Connections to peers.

use std::io;
use std::time::Duration;

use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use quorate_api::urls::{Scheme, Url};
use thiserror::Error;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;

use super::body::Outgoing;
use super::socket::Socket;

/// Why a peer was not asked.
#[derive(Debug, Error)]
pub enum DialError {
    /// It cannot be connected to.
    #[error("cannot connect to {url}: {source}")]
    Connect {
        /// Where.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// The connection ended, or what came is not HTTP.
    #[error("cannot talk to {url}: {source}")]
    Http {
        /// With whom.
        url: String,
        /// Why.
        source: hyper::Error,
    },
}

/// A connection to a peer, for one request at a time.
pub(super) struct Connection {
    url: Url,
    sender: SendRequest<Outgoing>,
}

impl Connection {
    /// Connects. Names are resolved anew, and all addresses of a name are tried.
    pub(super) async fn open(url: &Url, patience: Duration) -> Result<Self, DialError> {
        let failed = |source| DialError::Connect { url: url.to_string(), source };
        let socket = socket(url, patience).await.map_err(failed)?;
        let (sender, connection) = http1::handshake(TokioIo::new(socket))
            .await
            .map_err(|source| DialError::Http { url: url.to_string(), source })?;
        // It ends when the sender and the body of its answer are gone.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self { url: url.clone(), sender })
    }

    /// Whether another request can go over it.
    pub(super) fn is_reusable(&self, url: &Url) -> bool {
        self.sender.is_ready() && self.url == *url
    }

    /// Sends a request; its address is added here.
    pub(super) async fn send(
        &mut self,
        mut request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, DialError> {
        let host = if self.url.scheme().is_unix() { "localhost" } else { self.url.address() };
        if let Ok(host) = host.parse() {
            request.headers_mut().insert(header::HOST, host);
        }
        self.sender
            .send_request(request)
            .await
            .map_err(|source| DialError::Http { url: self.url.to_string(), source })
    }
}

async fn socket(url: &Url, patience: Duration) -> io::Result<Socket> {
    let too_long = || io::Error::new(io::ErrorKind::TimedOut, "no connection in time");
    match url.scheme() {
        Scheme::Unix => {
            let stream = timeout(patience, UnixStream::connect(url.address()));
            Ok(Socket::unix(stream.await.map_err(|_| too_long())??))
        }
        Scheme::Http => {
            let addresses = timeout(patience, lookup_host(url.address()));
            let mut why = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for address in addresses.await.map_err(|_| too_long())?? {
                match timeout(patience, TcpStream::connect(address)).await {
                    Ok(Ok(stream)) => return Socket::tcp(stream),
                    Ok(Err(error)) => why = error,
                    Err(_) => why = too_long(),
                }
            }
            Err(why)
        }
        Scheme::Https | Scheme::Unixs => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "TLS is not supported"))
        }
    }
}
