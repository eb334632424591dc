//! From the bytes of files to keys, roots and lists of what is revoked.
//!
//! Pure: the same bytes give the same result. A file that is cut off in a certificate, or holds
//! none, is an error, never less than what it should hold.

use std::sync::Arc;

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use webpki::{CertRevocationList, OwnedCertRevocationList};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::chain::{Revoked, Roots};

/// Why bytes are not what they should be. The file's name is added by who read it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MaterialError {
    #[error("{0}")]
    Pem(String),
    #[error("there is no certificate in it")]
    NoCertificate,
    #[error("there is no private key in it")]
    NoKey,
    #[error("the private key is of no use: {0}")]
    Key(String),
    #[error("the key is not the certificate's")]
    Mismatch,
    #[error("{0}")]
    Root(String),
    #[error("there is no revocation list in it")]
    NoList,
    #[error("revocation list {number} in it cannot be used: {why}")]
    List { number: usize, why: String },
}

fn pem(error: &PemError) -> MaterialError {
    MaterialError::Pem(match error {
        PemError::MissingSectionEnd { .. } => "the file is cut off: an END line is missing".into(),
        error => error.to_string(),
    })
}

fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let all = all.map_err(|error| pem(&error))?;
    if all.is_empty() { Err(MaterialError::NoCertificate) } else { Ok(all) }
}

/// A certificate with those between it and its root, and its key.
pub(super) fn identity(certificate: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, MaterialError> {
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        PemError::NoItemsFound => MaterialError::NoKey,
        error => pem(&error),
    })?;
    let provider = rustls::crypto::ring::default_provider();
    let key = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => MaterialError::Mismatch,
        error => MaterialError::Key(error.to_string()),
    })?;
    Ok(Arc::new(key))
}

/// Who is trusted to sign.
pub(super) fn roots(bytes: &[u8]) -> Result<Arc<Roots>, MaterialError> {
    Roots::of(&certificates(bytes)?).map(Arc::new).map_err(MaterialError::Root)
}

/// What is revoked: one list as etcd takes it (DER), or any number as PEM. Also says until when
/// the first of the lists that name a date for it is up to date, in seconds after 1970.
pub(super) fn revoked(bytes: &[u8]) -> Result<(Arc<Revoked>, Option<i64>), MaterialError> {
    let mut lists = Vec::new();
    // DER begins with the tag of a sequence, PEM with text.
    if bytes.first() == Some(&0x30) {
        lists.push(CertificateRevocationListDer::from(bytes.to_vec()));
    } else {
        for list in CertificateRevocationListDer::pem_slice_iter(bytes) {
            lists.push(list.map_err(|error| pem(&error))?);
        }
    }
    if lists.is_empty() {
        return Err(MaterialError::NoList);
    }
    let mut read = Revoked::default();
    let mut next_update = None;
    for (at, list) in lists.iter().enumerate() {
        let bad = |why: String| MaterialError::List { number: at + 1, why };
        let owned =
            OwnedCertRevocationList::from_der(list).map_err(|error| bad(error.to_string()))?;
        read.0.push(CertRevocationList::Owned(owned));
        let (_, parsed) =
            CertificateRevocationList::from_der(list).map_err(|error| bad(error.to_string()))?;
        if let Some(time) = parsed.next_update() {
            let time = time.timestamp();
            next_update = Some(next_update.map_or(time, |next: i64| next.min(time)));
        }
    }
    Ok((Arc::new(read), next_update))
}
