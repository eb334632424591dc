//! The TLS of a command that asks a member something, and ends.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;

use super::chain::Revoked;
use super::files::{FileError, Watched};
use super::live::client;
use super::material;
use super::options::{Allowed, Pair};
use super::suites::{SuiteError, Suites};
use super::verifier::{ServerVerifier, Verifier};

/// The protocol that gRPC speaks, to be agreed on within the handshake.
const GRPC: &[u8] = b"h2";

/// Whom a command talks to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Members whose certificate one of these has signed.
    SignedBy(PathBuf),
    /// Anybody: what is said is hidden, not whom it is said to.
    Anybody,
}

/// What a command is given.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) trust: Trust,
    /// What it shows.
    pub(crate) certificate: Option<Pair>,
}

/// Why there is no TLS for a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallerError {
    #[error("--{flag}: {source}")]
    File { flag: &'static str, source: FileError },
    #[error(transparent)]
    Suites(#[from] SuiteError),
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

impl Caller {
    /// Read the files.
    pub(crate) fn load(&self) -> Result<Arc<ClientConfig>, CallerError> {
        let verifier = match &self.trust {
            Trust::Anybody => ServerVerifier::Anybody,
            Trust::SignedBy(path) => {
                let roots = Watched::open(vec![path.clone()], |contents| {
                    material::roots(contents.first().map_or(&[], Vec::as_slice))
                });
                let roots = roots.map_err(|source| CallerError::File { flag: "cacert", source })?;
                let (revoked, allowed) = (Arc::<Revoked>::default(), Allowed::Anybody);
                ServerVerifier::By(Verifier::new(roots.value().clone(), revoked, allowed))
            }
        };
        let certificate = match &self.certificate {
            None => None,
            Some(Pair { certificate, key }) => {
                let paths = vec![certificate.clone(), key.clone()];
                let read = Watched::open(paths, |contents| match contents {
                    [certificate, key] => material::identity(certificate, key),
                    _ => Err(material::MaterialError::NoKey),
                });
                let read = read.map_err(|source| CallerError::File { flag: "cert", source })?;
                Some(read.value().clone())
            }
        };
        let mut config = client(&Suites::read("", "", "")?, certificate, verifier)?;
        config.alpn_protocols = vec![GRPC.to_vec()];
        Ok(Arc::new(config))
    }
}
