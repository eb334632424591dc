//! Connections to one member: to the address of its pod, under the name that it is known by.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use crate::tls::{ClientFiles, Fingerprint};

/// A connection cannot be made with these files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operator's certificates cannot be used: {0}")]
pub(super) struct FilesError(String);

/// How TLS is spoken with the operator's files.
pub(super) fn tls(files: &ClientFiles) -> Result<TlsConnector, FilesError> {
    let failed = |error: &dyn std::fmt::Display| FilesError(error.to_string());
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(&files.ca) {
        let authority = authority.map_err(|error| failed(&error))?;
        roots.add(authority).map_err(|error| failed(&error))?;
    }
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&files.certificate).collect();
    let chain = chain.map_err(|error| failed(&error))?;
    let key = PrivateKeyDer::from_pem_slice(&files.key.0).map_err(|error| failed(&error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|error| failed(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // Each handshake is a whole one: a resumed one would not say what is shown now.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Makes connections to one pod, and remembers the certificate that was shown last.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) address: IpAddr,
    pub(super) tls: Option<TlsConnector>,
    pub(super) shown: Arc<Mutex<Option<Fingerprint>>>,
}

/// A connection, with or without TLS.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Duplex>>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, endpoint: Uri) -> Self::Future {
        let Self { address, tls, shown } = self.clone();
        Box::pin(async move {
            let port = endpoint.port_u16().unwrap_or(2379);
            let stream = TcpStream::connect(SocketAddr::new(address, port)).await?;
            stream.set_nodelay(true)?;
            let Some(tls) = tls else {
                return Ok(TokioIo::new(Box::new(stream) as Box<dyn Duplex>));
            };
            let host = endpoint.host().unwrap_or_default().to_owned();
            let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
            let stream = tls.connect(name, stream).await?;
            let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            *shown.lock() = certificate.map(|found| Fingerprint::of(found));
            Ok(TokioIo::new(Box::new(stream) as Box<dyn Duplex>))
        })
    }
}
