//! A member that is asked by its URL, as pods of the operator do.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use quorate_client::{Client, Options};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::cause::{Cause, Failure};

/// How long a connection may take. Names of pods may not be known yet.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client of one member.
///
/// # Errors
/// [`Failure`] if the endpoint is none, or the certificates are not there.
pub(super) fn client(
    endpoint: &str,
    files: &Path,
    call_timeout: Duration,
) -> Result<Client, Failure> {
    let tls = match endpoint.starts_with("https://") {
        false => None,
        true => Some(tls(files)?),
    };
    let options = Options { connect_timeout: CONNECT_TIMEOUT, call_timeout, ..Options::default() };
    Client::connect_with(&[endpoint], options, &Connector { tls })
        .map_err(|error| Failure::of_member(endpoint, &error))
}

/// How TLS is spoken with the files of a Secret: who is asked is always looked at, and who asks is
/// shown where there is a certificate for it.
fn tls(folder: &Path) -> Result<TlsConnector, Failure> {
    let file = |name: &str| {
        let path = folder.join(name);
        let read = std::fs::read(&path);
        read.map_err(|error| misconfigured(format!("{}: {error}", path.display())))
    };
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(&file("ca.crt")?) {
        roots.add(authority.map_err(misconfigured)?).map_err(misconfigured)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(misconfigured)?
        .with_root_certificates(roots);
    let mut config = match folder.join("tls.crt").exists() {
        false => builder.with_no_client_auth(),
        true => {
            let chain: Result<Vec<_>, _> =
                CertificateDer::pem_slice_iter(&file("tls.crt")?).collect();
            let key = PrivateKeyDer::from_pem_slice(&file("tls.key")?).map_err(misconfigured)?;
            let chain = chain.map_err(misconfigured)?;
            builder.with_client_auth_cert(chain, key).map_err(misconfigured)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn misconfigured(error: impl std::fmt::Display) -> Failure {
    Failure::new(Cause::Misconfigured, error)
}

/// Makes connections, with TLS where there are certificates for it.
#[derive(Clone)]
struct Connector {
    tls: Option<TlsConnector>,
}

/// A connection, with or without TLS.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Duplex>>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, endpoint: Uri) -> Self::Future {
        let tls = self.tls.clone();
        Box::pin(async move {
            let host = endpoint.host().unwrap_or_default();
            // An IPv6 address stands in brackets in URLs alone.
            let host =
                host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            let stream = TcpStream::connect((host, endpoint.port_u16().unwrap_or(2379))).await?;
            stream.set_nodelay(true)?;
            let Some(tls) = tls else {
                return Ok(TokioIo::new(Box::new(stream) as Box<dyn Duplex>));
            };
            let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
            let stream = tls.connect(name, stream).await?;
            Ok(TokioIo::new(Box::new(stream) as Box<dyn Duplex>))
        })
    }
}
