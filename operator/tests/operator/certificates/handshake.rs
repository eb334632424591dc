//! Two ends that meet in memory, at a time of the test's own.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, RootCertStore, ServerConfig,
    ServerConnection, SideData,
};

/// What an end shows and trusts.
#[derive(Clone, Copy)]
pub(super) struct End<'a> {
    pub(super) ca: &'a [u8],
    pub(super) certificate: &'a [u8],
    pub(super) key: &'a [u8],
}

#[derive(Debug)]
struct At(UnixTime);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0)
    }
}

/// Connect; why they do not, if they do not.
pub(super) fn meet(
    client: End<'_>,
    server: End<'_>,
    host: &str,
    now: Timestamp,
) -> Result<(), String> {
    let seconds = u64::try_from(now.as_second()).expect("after 1970");
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let provider = Arc::new(ring::default_provider());
    let roots = |end: End<'_>| {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(end.ca) {
            roots.add(certificate.expect("PEM")).expect("a CA");
        }
        Arc::new(roots)
    };
    let chain = |end: End<'_>| {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(end.certificate).collect();
        (chain.expect("PEM"), PrivateKeyDer::from_pem_slice(end.key).expect("a key"))
    };
    let of_clients = WebPkiClientVerifier::builder_with_provider(roots(server), provider.clone());
    let (certificates, key) = chain(server);
    let server = ServerConfig::builder_with_details(provider.clone(), Arc::new(At(at)))
        .with_protocol_versions(&[&TLS13])
        .expect("TLS 1.3")
        .with_client_cert_verifier(of_clients.build().expect("roots"))
        .with_single_cert(certificates, key)
        .expect("a pair");
    let of_servers = WebPkiServerVerifier::builder_with_provider(roots(client), provider.clone());
    let (certificates, key) = chain(client);
    let client = ClientConfig::builder_with_details(provider, Arc::new(At(at)))
        .with_protocol_versions(&[&TLS13])
        .expect("TLS 1.3")
        .with_webpki_verifier(of_servers.build().expect("roots"))
        .with_client_auth_cert(certificates, key)
        .expect("a pair");
    let name = ServerName::try_from(host.to_owned()).expect("a name");
    let mut client = ClientConnection::new(Arc::new(client), name).expect("a connection");
    let mut server = ServerConnection::new(Arc::new(server)).expect("a connection");
    while client.wants_write() || server.wants_write() {
        carry(&mut client, &mut server).map_err(|error| format!("the server: {error}"))?;
        carry(&mut server, &mut client).map_err(|error| format!("the client: {error}"))?;
    }
    match client.is_handshaking() || server.is_handshaking() {
        true => Err("they wait for each other".to_owned()),
        false => Ok(()),
    }
}

fn carry<A: SideData, B: SideData>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
) -> Result<(), rustls::Error> {
    while from.wants_write() {
        let mut bytes = Vec::new();
        from.write_tls(&mut bytes).expect("a buffer");
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            to.read_tls(&mut rest).expect("a buffer");
            to.process_new_packets()?;
        }
    }
    Ok(())
}
