//! Connections to peers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use quorate_api::urls::Url;
use thiserror::Error;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;

use super::body::Outgoing;
use super::socket::{self, Carrier, Socket};
use crate::tls::{self, Live};

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

/// Connects to peers, and knows whom to trust. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Dialer {
    tls: Option<Arc<Live>>,
}

impl Dialer {
    /// With these certificates, or for addresses without TLS alone.
    #[must_use]
    pub fn new(tls: Option<Arc<Live>>) -> Self {
        Self { tls }
    }

    /// The certificates.
    pub(super) fn tls(&self) -> Option<&Arc<Live>> {
        self.tls.as_ref()
    }

    /// Connects. Names are resolved anew, and all addresses of a name are tried.
    pub(super) async fn open(
        &self,
        url: &Url,
        patience: Duration,
    ) -> Result<Connection, DialError> {
        let failed = |source| DialError::Connect { url: url.to_string(), source };
        let socket = self.socket(url, patience).await.map_err(failed)?;
        let (sender, connection) = http1::handshake(TokioIo::new(socket))
            .await
            .map_err(|source| DialError::Http { url: url.to_string(), source })?;
        // It ends when the sender and the body of its answer are gone.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Connection { url: url.clone(), sender })
    }

    async fn socket(&self, url: &Url, patience: Duration) -> io::Result<Socket> {
        let too_long = || io::Error::new(io::ErrorKind::TimedOut, "no connection in time");
        if url.scheme().is_unix() {
            let stream = timeout(patience, UnixStream::connect(url.address()));
            let stream = stream.await.map_err(|_| too_long())??;
            return match url.scheme().is_tls() {
                true => self.secure(url, stream, patience).await,
                false => Ok(Socket::new(stream)),
            };
        }
        let addresses = timeout(patience, lookup_host(url.address()));
        let mut why = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses.await.map_err(|_| too_long())?? {
            match timeout(patience, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    socket::set_options(&stream)?;
                    return match url.scheme().is_tls() {
                        true => self.secure(url, stream, patience).await,
                        false => Ok(Socket::new(stream)),
                    };
                }
                Ok(Err(error)) => why = error,
                Err(_) => why = too_long(),
            }
        }
        Err(why)
    }

    async fn secure<S: Carrier + 'static>(
        &self,
        url: &Url,
        stream: S,
        patience: Duration,
    ) -> io::Result<Socket> {
        let connected = timeout(patience, tls::connect(self.tls(), url, stream)).await;
        let too_long = |_| io::Error::new(io::ErrorKind::TimedOut, "no handshake in time");
        Ok(Socket::new(connected.map_err(too_long)??))
    }
}

/// A connection to a peer, for one request at a time.
pub(super) struct Connection {
    url: Url,
    sender: SendRequest<Outgoing>,
}

impl Connection {
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
