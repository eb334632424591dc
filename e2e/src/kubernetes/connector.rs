//! Connections to members: plain, or with the certificates of a Secret, which are read anew for each
//! connection, as they change.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::Context as _;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;

/// Makes connections over TLS.
#[derive(Clone)]
pub(super) struct Connector {
    folder: PathBuf,
}

impl Connector {
    /// With `ca.crt`, `tls.crt` and `tls.key` of this folder, which are to be there.
    pub(super) fn of_folder(folder: &Path) -> anyhow::Result<Self> {
        let connector = Self { folder: folder.to_owned() };
        connector.tls()?;
        Ok(connector)
    }

    fn tls(&self) -> anyhow::Result<TlsConnector> {
        let folder = &self.folder;
        let mut roots = RootCertStore::empty();
        for authority in certificates(&folder.join("ca.crt"))? {
            roots.add(authority)?;
        }
        let key_file = folder.join("tls.key");
        let key = PrivateKeyDer::from_pem_file(&key_file)
            .with_context(|| format!("{} has no key", key_file.display()))?;
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates(&folder.join("tls.crt"))?, key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .with_context(|| format!("{} has no certificates", file.display()))
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, endpoint: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let tls = connector.tls().map_err(std::io::Error::other)?;
            let host = endpoint.host().unwrap_or_default().to_owned();
            let port = endpoint.port_u16().unwrap_or(2379);
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
            Ok(TokioIo::new(tls.connect(name, stream).await?))
        })
    }
}
