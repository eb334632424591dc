//! The certificates of one side as they are now, for each handshake anew.
//!
//! Whoever begins a handshake asks for them, and then their files are looked at: what was replaced
//! counts from the next handshake on, in both directions, without anybody having to be told. Each
//! handshake sees one whole set. Connections that stand are not touched, and none is resumed: so
//! what a handshake found out is never older than the connection.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use rustls::client::Resumption;
use rustls::server::{NoClientAuth, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig};

use super::chain::{Revoked, Roots};
use super::files::{FileError, Watched};
use super::material;
use super::options::{Options, Pair, Side};
use super::suites::Suites;
use super::verifier::{ServerVerifier, Verifier};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file of it.
    #[error("--{flag}: {source}")]
    File {
        /// The flag that names it.
        flag: &'static str,
        /// What is wrong.
        source: FileError,
    },
    /// The versions and suites do not go together.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// What one handshake works with.
#[derive(Clone)]
pub(super) struct Set {
    /// For whom connects; `None` without a certificate to show.
    pub(super) server: Option<Arc<ServerConfig>>,
    /// For whom we connect to; `None` if nobody is trusted.
    pub(super) client: Option<Arc<ClientConfig>>,
}

/// The certificates of one side. Cheap to share, for ever up to date.
pub struct Live {
    options: Options,
    state: Mutex<State>,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("options", &self.options).finish_non_exhaustive()
    }
}

type Lists = (Arc<Revoked>, Option<i64>);

struct State {
    certificate: Option<Watched<Arc<CertifiedKey>>>,
    outgoing: Option<Watched<Arc<CertifiedKey>>>,
    roots: Option<Watched<Arc<Roots>>>,
    revoked: Option<Watched<Lists>>,
    set: Set,
}

impl Live {
    /// Read all files.
    ///
    /// # Errors
    /// [`LoadError`] names the flag, the file and what is wrong with it.
    pub fn load(options: Options) -> Result<Arc<Self>, LoadError> {
        let flags = options.side.flags();
        let certificate = identity(options.certificate.as_ref(), flags.certificate)?;
        let outgoing = identity(options.outgoing.as_ref(), flags.outgoing_certificate)?;
        let roots = open(options.trusted_ca.as_ref(), flags.trusted_ca, |contents| {
            material::roots(contents.first().map_or(&[], Vec::as_slice))
        })?;
        let revoked = open(options.revoked.as_ref(), flags.revoked, |contents| {
            material::revoked(contents.first().map_or(&[], Vec::as_slice))
        })?;
        let set = Set { server: None, client: None };
        let mut state = State { certificate, outgoing, roots, revoked, set };
        state.set = state.build(&options)?;
        state.warn_of_old_lists(flags.revoked);
        Ok(Arc::new(Self { options, state: Mutex::new(state) }))
    }

    /// What was asked for.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What is in the files now. Looks at them, and reads those that were replaced.
    pub(super) fn now(&self) -> Set {
        let mut state = self.state.lock();
        if state.refresh(SystemTime::now()) {
            match state.build(&self.options) {
                Ok(set) => state.set = set,
                Err(error) => tracing::error!(%error, "certificates cannot be replaced"),
            }
            state.warn_of_old_lists(self.options.side.flags().revoked);
        }
        state.set.clone()
    }
}

fn open<T>(
    path: Option<&PathBuf>,
    flag: &'static str,
    parse: fn(&[Vec<u8>]) -> Result<T, material::MaterialError>,
) -> Result<Option<Watched<T>>, LoadError> {
    let watched = path.map(|path| Watched::open(vec![path.clone()], parse)).transpose();
    watched.map_err(|source| LoadError::File { flag, source })
}

fn identity(
    pair: Option<&Pair>,
    flag: &'static str,
) -> Result<Option<Watched<Arc<CertifiedKey>>>, LoadError> {
    let open = |pair: &Pair| {
        let paths = vec![pair.certificate.clone(), pair.key.clone()];
        Watched::open(paths, |contents| match contents {
            [certificate, key] => material::identity(certificate, key),
            _ => Err(material::MaterialError::NoKey),
        })
    };
    pair.map(open).transpose().map_err(|source| LoadError::File { flag, source })
}

impl State {
    /// Whether something is new. All of it is looked at.
    fn refresh(&mut self, now: SystemTime) -> bool {
        fn look<T>(watched: &mut Option<Watched<T>>, now: SystemTime) -> bool {
            watched.as_mut().is_some_and(|watched| watched.refresh(now))
        }
        let news = [
            look(&mut self.certificate, now),
            look(&mut self.outgoing, now),
            look(&mut self.roots, now),
            look(&mut self.revoked, now),
        ];
        news.contains(&true)
    }

    fn build(&self, options: &Options) -> Result<Set, rustls::Error> {
        let revoked = self.revoked.as_ref().map(|lists| lists.value().0.clone());
        let verifier = self.roots.as_ref().map(|roots| {
            let revoked = revoked.unwrap_or_default();
            Verifier::new(roots.value().clone(), revoked, options.allowed.clone())
        });
        let certificate = self.certificate.as_ref().map(|watched| watched.value().clone());
        let outgoing = self.outgoing.as_ref().map(|watched| watched.value().clone());
        let outgoing = outgoing.or_else(|| certificate.clone());
        let server = match certificate {
            Some(certificate) => Some(server(options, certificate, verifier.clone())?),
            None => None,
        };
        let verifier = match verifier {
            Some(verifier) => Some(ServerVerifier::By(verifier)),
            None => options.self_signed_years.map(|_| ServerVerifier::Anybody),
        };
        let client = match verifier {
            Some(verifier) => Some(Arc::new(client(&options.suites, outgoing, verifier)?)),
            None => None,
        };
        Ok(Set { server, client })
    }

    /// A list that is over keeps its meaning; but somebody forgot to renew it.
    fn warn_of_old_lists(&self, flag: &'static str) {
        let Some((_, Some(next_update))) = self.revoked.as_ref().map(Watched::value) else {
            return;
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if i64::try_from(now.as_secs()).is_ok_and(|now| now > *next_update) {
            tracing::warn!(
                flag,
                "a list of revoked certificates is out of date; what it names stays refused"
            );
        }
    }
}

fn server(
    options: &Options,
    certificate: Arc<CertifiedKey>,
    verifier: Option<Arc<Verifier>>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(options.suites.provider()))
        .with_protocol_versions(&options.suites.versions())?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_client_cert_verifier(Arc::new(NoClientAuth)),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certificate)));
    config.alpn_protocols = match options.side {
        Side::Clients => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Side::Peers => vec![b"http/1.1".to_vec()],
    };
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

pub(super) fn client(
    suites: &Suites,
    certificate: Option<Arc<CertifiedKey>>,
    verifier: ServerVerifier,
) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(suites.provider()))
        .with_protocol_versions(&suites.versions())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match certificate {
        Some(certificate) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certificate)))
        }
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    Ok(config)
}
