//! From a socket that we connected to a connection whose other end is known.

use std::io;
use std::sync::Arc;

use quorate_api::urls::Url;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::live::Live;

/// Shakes hands with who is at this address. Takes as long as the other end wants.
pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    live: Option<&Arc<Live>>,
    url: &Url,
    socket: S,
) -> io::Result<TlsStream<S>> {
    let refused = |text: &str| io::Error::new(io::ErrorKind::PermissionDenied, text);
    let config = live.and_then(|live| live.now().client).ok_or_else(|| {
        refused("nobody is trusted to sign its certificate: --peer-trusted-ca-file is not set")
    })?;
    // A socket of this machine has no name to compare.
    let host = if url.scheme().is_unix() { "localhost" } else { url.host() };
    let host = host.split_once('%').map_or(host, |(address, _)| address).to_owned();
    let name = ServerName::try_from(host)
        .map_err(|_| refused("its host is no name that a certificate can have"))?;
    TlsConnector::from(config).connect(name, socket).await
}
