//! Versions of TLS and cipher suites, by the names that Go has for them.

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::cipher_suite as ring;
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

/// Suites of TLS 1.2 with Go's names, the preferred one first. All have forward secrecy and
/// authenticated encryption; Go's others are not here at all.
static OF_1_2: [(&str, &SupportedCipherSuite); 6] = [
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", &ring::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", &ring::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        &ring::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", &ring::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", &ring::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        &ring::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

/// Older names of two of them, which etcd takes too.
const OLDER_NAMES: [(&str, &str); 2] = [
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
];

/// Suites of TLS 1.3. They may be named, but as in Go all of them are on, whichever are named.
static OF_1_3: [(&str, &SupportedCipherSuite); 3] = [
    ("TLS_AES_128_GCM_SHA256", &ring::TLS13_AES_128_GCM_SHA256),
    ("TLS_AES_256_GCM_SHA384", &ring::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", &ring::TLS13_CHACHA20_POLY1305_SHA256),
];

/// Versions of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// Why versions or suites are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuiteError {
    /// Not a version of today.
    #[error("unexpected TLS version {0:?} (must be one of: TLS1.2, TLS1.3)")]
    Version(String),
    /// Nothing between the two.
    #[error("min version ({min}) is greater than max version ({max})")]
    Versions {
        /// The oldest.
        min: String,
        /// The newest.
        max: String,
    },
    /// A list that TLS 1.3 has no use for.
    #[error("cipher suites cannot be configured when only TLS1.3 is enabled")]
    Only13,
    /// Not a suite that there is.
    #[error("--cipher-suites: unexpected TLS cipher suite {name:?}; known are {}", known())]
    Unknown {
        /// The name.
        name: String,
    },
    /// Suites of TLS 1.3 alone, which is off.
    #[error(
        "--cipher-suites names suites of TLS1.3 only, and --tls-max-version is TLS1.2: no \
         connection could be made; name a suite of TLS1.2"
    )]
    None12,
}

fn known() -> String {
    let names: Vec<&str> = OF_1_2.iter().chain(&OF_1_3).map(|(name, _)| *name).collect();
    names.join(", ")
}

/// Versions and suites that are spoken.
#[derive(Clone, Debug, PartialEq)]
pub struct Suites {
    min: Version,
    max: Version,
    /// Of TLS 1.2, in order of preference.
    of_1_2: Vec<SupportedCipherSuite>,
}

impl Suites {
    /// Reads names joined by commas; without any, all suites are on.
    ///
    /// # Errors
    /// [`SuiteError`].
    pub fn read(names: &str, min: &str, max: &str) -> Result<Self, SuiteError> {
        let (oldest, newest) = (version(min)?, version(max)?);
        // Without a word, what is called safe today.
        let (oldest, newest) = (oldest.unwrap_or(Version::V1_2), newest.unwrap_or(Version::V1_3));
        if oldest > newest {
            return Err(SuiteError::Versions { min: min.to_owned(), max: max.to_owned() });
        }
        if names.is_empty() {
            let of_1_2 = OF_1_2.iter().map(|(_, suite)| **suite).collect();
            return Ok(Self { min: oldest, max: newest, of_1_2 });
        }
        if oldest == Version::V1_3 {
            return Err(SuiteError::Only13);
        }
        let mut of_1_2 = Vec::new();
        for name in names.split(',').map(str::trim) {
            let older = OLDER_NAMES.iter().find(|(older, _)| *older == name);
            let name = older.map_or(name, |(_, name)| name);
            if let Some((_, suite)) = OF_1_2.iter().find(|(known, _)| *known == name) {
                of_1_2.push(**suite);
            } else if !OF_1_3.iter().any(|(known, _)| *known == name) {
                return Err(SuiteError::Unknown { name: name.to_owned() });
            }
        }
        if of_1_2.is_empty() && newest == Version::V1_2 {
            return Err(SuiteError::None12);
        }
        Ok(Self { min: oldest, max: newest, of_1_2 })
    }

    /// The cryptography, with these suites alone.
    pub(super) fn provider(&self) -> CryptoProvider {
        let of_1_3 = OF_1_3.iter().map(|(_, suite)| **suite);
        CryptoProvider {
            cipher_suites: of_1_3.chain(self.of_1_2.iter().copied()).collect(),
            ..rustls::crypto::ring::default_provider()
        }
    }

    /// The versions; never empty.
    pub(super) fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let mut versions = Vec::new();
        if self.max == Version::V1_3 {
            versions.push(&rustls::version::TLS13);
        }
        if self.min == Version::V1_2 && !self.of_1_2.is_empty() {
            versions.push(&rustls::version::TLS12);
        }
        versions
    }
}

fn version(text: &str) -> Result<Option<Version>, SuiteError> {
    match text {
        "" => Ok(None),
        "TLS1.2" => Ok(Some(Version::V1_2)),
        "TLS1.3" => Ok(Some(Version::V1_3)),
        other => Err(SuiteError::Version(other.to_owned())),
    }
}
