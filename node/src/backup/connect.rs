//! Connections to the member that a backup is made of.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower_service::Service;

/// Makes connections, with TLS where the endpoint says `https`.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) tls: Option<Arc<ClientConfig>>,
}

/// Both ways of bytes.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

type Connected = TokioIo<Box<dyn Stream>>;

impl Service<Uri> for Connector {
    type Response = Connected;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Connected>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, endpoint: Uri) -> Self::Future {
        let tls = self.tls.clone();
        Box::pin(async move {
            let stream: Box<dyn Stream> = match (endpoint.scheme_str(), tls) {
                (Some("https"), Some(tls)) => Box::new(secure(&endpoint, tls).await?),
                _ => Box::new(plain(&endpoint).await?),
            };
            Ok(TokioIo::new(stream))
        })
    }
}

async fn plain(endpoint: &Uri) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host(endpoint)?, endpoint.port_u16().unwrap_or(2379))).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn secure(
    endpoint: &Uri,
    tls: Arc<ClientConfig>,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let no_name = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
    let name = ServerName::try_from(host(endpoint)?.to_owned()).map_err(no_name)?;
    TlsConnector::from(tls).connect(name, plain(endpoint).await?).await
}

/// The host, an IPv6 address without its brackets.
fn host(endpoint: &Uri) -> io::Result<&str> {
    let none = || io::Error::new(io::ErrorKind::InvalidInput, "the endpoint has no host");
    let host = endpoint.host().ok_or_else(none)?;
    Ok(host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host))
}
