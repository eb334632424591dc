//! Somebody who connects to a member with a certificate, and is answered or not.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, RootCertStore, SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::authority::Identity;

/// How long an answer may take on a machine that does other things, too.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What a member is asked, and on which of its listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    ClientGrpc,
    ClientHttp,
    Metrics,
    Peer,
}

pub(super) const DOORS: [Door; 4] = [Door::ClientGrpc, Door::ClientHttp, Door::Metrics, Door::Peer];

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The member has answered with this status.
    Answered(u16),
    /// It has refused the connection with this alert, or with this error.
    Refused(String),
}

/// Shows a certificate whoever asks for it, and with whatever key.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Who connects.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) roots: Arc<RootCertStore>,
    pub(super) versions: &'static [&'static SupportedProtocolVersion],
    /// Nothing for all of them.
    pub(super) suites: Vec<SupportedCipherSuite>,
    pub(super) shown: Option<Arc<CertifiedKey>>,
}

pub(super) static ONLY_1_2: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
pub(super) static ONLY_1_3: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// The roots of a file.
pub(super) fn roots(pem: &str) -> Arc<RootCertStore> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        store.add(certificate.expect("a certificate")).expect("a root");
    }
    Arc::new(store)
}

/// A certificate with its key, or with another's.
pub(super) fn certified(identity: &Identity) -> Arc<CertifiedKey> {
    let chain = CertificateDer::pem_slice_iter(identity.chain.as_bytes());
    let chain = chain.map(|certificate| certificate.expect("a certificate")).collect();
    certified_der(chain, &identity.key)
}

pub(super) fn certified_der(chain: Vec<CertificateDer<'static>>, key: &str) -> Arc<CertifiedKey> {
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let key = rustls::crypto::ring::sign::any_supported_type(&key).expect("a key");
    Arc::new(CertifiedKey::new(chain, key))
}

impl Caller {
    /// Trusts these roots, and shows this certificate.
    pub(super) fn new(roots: &Arc<RootCertStore>, identity: Option<&Identity>) -> Self {
        Self {
            roots: roots.clone(),
            versions: rustls::ALL_VERSIONS,
            suites: Vec::new(),
            shown: identity.map(certified),
        }
    }

    fn config(&self, protocols: &[&[u8]]) -> Arc<ClientConfig> {
        let mut provider = rustls::crypto::ring::default_provider();
        if !self.suites.is_empty() {
            provider.cipher_suites.clone_from(&self.suites);
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(self.versions)
            .expect("versions that the suites have")
            .with_root_certificates(self.roots.clone());
        let mut config = match &self.shown {
            Some(shown) => builder.with_client_cert_resolver(Arc::new(Shown(shown.clone()))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }

    /// The connection, if it comes to be.
    pub(super) async fn connect(
        &self,
        address: SocketAddr,
        protocols: &[&[u8]],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let name = ServerName::from(address.ip());
        TlsConnector::from(self.config(protocols)).connect(name, socket).await
    }

    /// Connects and asks; never waits for long.
    pub(super) async fn ask(&self, door: Door, address: SocketAddr) -> Outcome {
        let asked = async {
            match door {
                Door::ClientGrpc => self.ask_grpc(address).await,
                Door::ClientHttp | Door::Peer => self.ask_http(address, "/version").await,
                Door::Metrics => self.ask_http(address, "/health").await,
            }
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(status)) => Outcome::Answered(status),
            Ok(Err(error)) => Outcome::Refused(reason(&*error)),
            Err(_) => Outcome::Refused("no answer in time".to_owned()),
        }
    }

    async fn ask_http(&self, address: SocketAddr, path: &str) -> Result<u16, Box<dyn Error>> {
        let mut stream = self.connect(address, &[b"http/1.1"]).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer).await;
        let status = answer.get(9..12).and_then(|status| std::str::from_utf8(status).ok());
        match status.and_then(|status| status.parse().ok()) {
            Some(status) => Ok(status),
            None => {
                read?;
                Err("it closes the connection".into())
            }
        }
    }

    /// A range over one key, which is not there.
    async fn ask_grpc(&self, address: SocketAddr) -> Result<u16, Box<dyn Error>> {
        let stream = self.connect(address, &[b"h2"]).await?;
        Ok(range(stream, address).await?)
    }
}

/// A range over a connection that stands.
pub(super) async fn range(
    stream: TlsStream<TcpStream>,
    address: SocketAddr,
) -> Result<u16, hyper::Error> {
    let io = TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
    let driver = tokio::spawn(connection);
    let asked = range_again(&mut sender, address).await;
    drop(sender);
    match asked {
        Ok(status) => Ok(status),
        // The reason is what the connection ended with.
        Err(error) => match driver.await {
            Ok(Err(why)) => Err(why),
            Ok(Ok(())) | Err(_) => Err(error),
        },
    }
}

pub(super) type Sender = hyper::client::conn::http2::SendRequest<Full<bytes::Bytes>>;

/// One range of many; the answer's status, if the call went well.
pub(super) async fn range_again(
    sender: &mut Sender,
    address: SocketAddr,
) -> Result<u16, hyper::Error> {
    // One uncompressed message of three bytes: key "a".
    let message = bytes::Bytes::from_static(&[0, 0, 0, 0, 3, 0x0a, 1, b'a']);
    let request = Request::post(format!("https://{address}/etcdserverpb.KV/Range"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(message))
        .expect("a request");
    let answer = sender.send_request(request).await?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await?;
    let grpc = body.trailers().and_then(|trailers| trailers.get("grpc-status"));
    let is_ok = grpc.is_some_and(|grpc| grpc.as_bytes() == b"0") && !body.to_bytes().is_empty();
    Ok(if is_ok { status } else { 599 })
}

/// The alert in an error, or the error.
pub(super) fn reason(error: &(dyn Error + 'static)) -> String {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::AlertReceived(alert)) = error.downcast_ref::<rustls::Error>() {
            return format!("{alert:?}");
        }
        // An error of the system hides what it holds from its source.
        if let Some(inner) =
            error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref)
            && let Some(rustls::Error::AlertReceived(alert)) = inner.downcast_ref()
        {
            return format!("{alert:?}");
        }
        next = error.source();
    }
    format!("{error:?}")
}
