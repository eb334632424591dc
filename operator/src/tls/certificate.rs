//! What a certificate says.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use k8s_openapi::jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// The SHA-256 of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Of a certificate in DER.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// A file has no certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// There is none.
    #[error("there is no certificate in PEM")]
    Missing,
    /// It does not read as one.
    #[error("the certificate cannot be read")]
    Unreadable,
}

/// A certificate, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// By which it is known.
    pub fingerprint: Fingerprint,
    /// From when on it is valid.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
    /// Whose it is.
    pub common_name: String,
    /// Who signed it.
    pub issuer: String,
    /// Host names and addresses.
    pub names: BTreeSet<String>,
    /// The public key, as it stands in the certificate.
    pub public_key: Vec<u8>,
}

impl Certificate {
    /// The first certificate of a file.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn of_pem(pem: &[u8]) -> Result<Self, CertificateError> {
        Self::all_of_pem(pem)?.into_iter().next().ok_or(CertificateError::Missing)
    }

    /// All certificates of a file.
    ///
    /// # Errors
    /// [`CertificateError::Unreadable`], if one of them does not read as one.
    pub fn all_of_pem(pem: &[u8]) -> Result<Vec<Self>, CertificateError> {
        CertificateDer::pem_slice_iter(pem)
            .map(|der| Self::of_der(&der.map_err(|_| CertificateError::Unreadable)?))
            .collect()
    }

    /// A certificate in DER.
    ///
    /// # Errors
    /// [`CertificateError::Unreadable`].
    pub fn of_der(der: &[u8]) -> Result<Self, CertificateError> {
        let unreadable = || CertificateError::Unreadable;
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| unreadable())?;
        if !rest.is_empty() {
            return Err(unreadable());
        }
        let time = |seconds: i64| Timestamp::from_second(seconds).map_err(|_| unreadable());
        let common_name = |name: &x509_parser::x509::X509Name<'_>| {
            let found = name.iter_common_name().last().and_then(|name| name.as_str().ok());
            found.unwrap_or_default().to_owned()
        };
        let alternatives = parsed.subject_alternative_name().map_err(|_| unreadable())?;
        let names = alternatives
            .iter()
            .flat_map(|extension| &extension.value.general_names)
            .filter_map(|name| match name {
                GeneralName::DNSName(host) => Some((*host).to_owned()),
                GeneralName::IPAddress(bytes) => address(bytes).map(|found| found.to_string()),
                _ => None,
            })
            .collect();
        Ok(Self {
            fingerprint: Fingerprint::of(der),
            not_before: time(parsed.validity().not_before.timestamp())?,
            not_after: time(parsed.validity().not_after.timestamp())?,
            common_name: common_name(parsed.subject()),
            issuer: common_name(parsed.issuer()),
            names,
            public_key: parsed.public_key().subject_public_key.data.to_vec(),
        })
    }

    /// Whether it is valid at a time.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// Seconds that it has left; negative if it has ended.
    #[must_use]
    pub fn seconds_left(&self, now: Timestamp) -> i64 {
        self.not_after.as_second() - now.as_second()
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(bytes.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}
