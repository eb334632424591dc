//! Certificates that members make for themselves (`--auto-tls`, `--peer-auto-tls`).
//!
//! As in etcd they are made once, and are used again after a restart:
//! ```text
//!   data-dir/fixtures/client/{cert.pem,key.pem}
//!   data-dir/fixtures/peer/{cert.pem,key.pem}
//! ```

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use quorate_api::urls::Url;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};

use super::options::Pair;

/// The folder in the data directory.
pub(super) const FOLDER: &str = "fixtures";

/// A year, as etcd counts years.
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The most years: certificates have no dates beyond the year 9999, and nobody needs a century.
const YEARS_MAX: u64 = 100;

/// A key is its owner's alone.
const KEY_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Why no certificate was made.
#[derive(Debug, thiserror::Error)]
pub enum SelfSignedError {
    /// The folder or a file cannot be written.
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        /// What cannot be written.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// The certificate in a folder; makes it if there is none. It is valid for the hosts of these
/// URLs.
///
/// # Errors
/// [`SelfSignedError`].
pub(super) fn provide(folder: &Path, urls: &[Url], years: u64) -> Result<Pair, SelfSignedError> {
    let pair = Pair { certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
    if pair.certificate.exists() && pair.key.exists() {
        return Ok(pair);
    }
    let years = years.min(YEARS_MAX);
    let (certificate, key) = make(urls, years)?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| SelfSignedError::Write { path, source }
    };
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder).map_err(failed(folder))?;
    // The key first: a certificate without one would be in the way of the next start.
    write(&pair.key, &key, KEY_MODE).map_err(failed(&pair.key))?;
    write(&pair.certificate, &certificate, 0o644).map_err(failed(&pair.certificate))?;
    let path = folder.display().to_string();
    tracing::warn!(
        path,
        years,
        "made a certificate: what is said is hidden, and nobody is identified by it"
    );
    Ok(pair)
}

fn make(urls: &[Url], years: u64) -> Result<(String, String), SelfSignedError> {
    let mut hosts: Vec<String> = Vec::new();
    for url in urls.iter().filter(|url| !url.scheme().is_unix() && !url.host().is_empty()) {
        let host = url.host();
        let host = host.split_once('%').map_or(host, |(address, _)| address);
        if !hosts.iter().any(|known| known == host) {
            hosts.push(host.to_owned());
        }
    }
    let mut parameters = CertificateParams::new(hosts)?;
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "etcd");
    parameters.distinguished_name = name;
    let now = SystemTime::now();
    parameters.not_before = now.into();
    parameters.not_after = (now + YEAR * u32::try_from(years).unwrap_or(1)).into();
    parameters.key_usages =
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    // Peers show it in both directions.
    parameters.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    Ok((parameters.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// Whole or not at all.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(mode).open(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&part, path)
}
