//! Making certificates.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

use sha2::{Digest as _, Sha256};

use super::files::Key;

/// How much earlier than now a certificate begins, at most: clocks of nodes differ.
const BACKDATED_SECONDS_MAX: i64 = 60 * 60;

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// A name cannot stand in a certificate.
    #[error("a certificate for {names:?} cannot be made")]
    Certificate {
        /// Those that were asked for.
        names: Vec<String>,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// There is no key, or it is no key.
    #[error("a key cannot be made or read")]
    Key(#[source] rcgen::Error),
    /// A time that certificates cannot have.
    #[error("a certificate cannot be valid from {0} s on")]
    Time(i64),
}

/// A certificate and its key, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Issued {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Key,
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// To be shown to clients, and to members that ask as clients.
    Server,
    /// To be shown to members and by members.
    Peer,
    /// To be shown by clients.
    Client,
}

impl Use {
    fn purposes(self) -> Vec<ExtendedKeyUsagePurpose> {
        match self {
            // A member also asks itself and others as a client.
            Self::Server | Self::Peer => {
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
            }
            Self::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        }
    }
}

/// From when to when a certificate is valid: it begins a little before now, and ends after its life,
/// but not after `end`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Validity {
    pub(super) now: Timestamp,
    pub(super) seconds: i64,
    pub(super) end: Option<Timestamp>,
}

/// A CA that signs itself. Its name ends in what its key hashes to: no two have one name.
pub(super) fn authority(cluster: &str, validity: Validity) -> Result<Issued, IssueError> {
    let key = KeyPair::generate().map_err(IssueError::Key)?;
    let digest = Sha256::digest(key.public_key_raw());
    let suffix: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let mut params = params(&format!("{cluster} CA {suffix}"), &[], validity)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let certificate = params.self_signed(&key).map_err(|source| refused(&[], source))?;
    Ok(issued(&certificate, &key))
}

/// A certificate signed by a CA of this name and key.
pub(super) fn leaf(
    ca_name: &str,
    ca_key: &Key,
    common_name: &str,
    names: &[String],
    purpose: Use,
    validity: Validity,
) -> Result<Issued, IssueError> {
    let mut of_leaf = params(common_name, names, validity)?;
    of_leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    of_leaf.extended_key_usages = purpose.purposes();
    of_leaf.use_authority_key_identifier_extension = true;
    let mut of_ca = CertificateParams::default();
    of_ca.distinguished_name = distinguished(ca_name);
    let issuer = Issuer::from_params(&of_ca, key_pair(ca_key)?);
    let key = KeyPair::generate().map_err(IssueError::Key)?;
    let certificate = of_leaf.signed_by(&key, &issuer).map_err(|source| refused(names, source))?;
    Ok(issued(&certificate, &key))
}

/// A key, read.
pub(super) fn key_pair(key: &Key) -> Result<KeyPair, IssueError> {
    let text = str::from_utf8(&key.0).unwrap_or_default();
    KeyPair::from_pem(text).map_err(IssueError::Key)
}

fn issued(certificate: &rcgen::Certificate, key: &KeyPair) -> Issued {
    Issued {
        certificate: certificate.pem().into_bytes(),
        key: Key(key.serialize_pem().into_bytes()),
    }
}

fn params(
    common_name: &str,
    names: &[String],
    validity: Validity,
) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::new(names).map_err(|source| refused(names, source))?;
    params.distinguished_name = distinguished(common_name);
    let now = validity.now.as_second();
    let begin = now - BACKDATED_SECONDS_MAX.min(validity.seconds / 10);
    let end = validity.end.map_or(i64::MAX, Timestamp::as_second);
    let date = |seconds: i64| {
        let since_epoch = u64::try_from(seconds).map_err(|_| IssueError::Time(seconds))?;
        Ok(rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(since_epoch))
    };
    params.not_before = date(begin)?;
    params.not_after = date(now.saturating_add(validity.seconds).min(end))?;
    Ok(params)
}

fn refused(names: &[String], source: rcgen::Error) -> IssueError {
    IssueError::Certificate { names: names.to_vec(), source }
}

fn distinguished(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}
