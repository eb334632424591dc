//! What TLS is asked for, by etcd's flags and rules.

use std::path::PathBuf;

use super::suites::{SuiteError, Suites};

/// Who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Clients, and readers of metrics.
    Clients,
    /// Members, in both directions.
    Peers,
}

/// The flags of one side.
#[derive(Clone, Copy, Debug)]
pub struct Flags {
    /// The certificate shown to whoever connects.
    pub certificate: &'static str,
    /// Its key.
    pub key: &'static str,
    /// The certificate shown to whom we connect to.
    pub outgoing_certificate: &'static str,
    /// Its key.
    pub outgoing_key: &'static str,
    /// Who signs the certificates of the others.
    pub trusted_ca: &'static str,
    /// Whether a certificate is demanded.
    pub demand: &'static str,
    /// What is revoked.
    pub revoked: &'static str,
    /// The common names that are let in; only for peers.
    pub common_names: Option<&'static str>,
    /// The host names that are let in.
    pub host_names: &'static str,
    /// Whether a certificate is made.
    pub automatic: &'static str,
}

impl Side {
    /// Its flags.
    #[must_use]
    pub const fn flags(self) -> Flags {
        match self {
            Self::Clients => Flags {
                certificate: "cert-file",
                key: "key-file",
                outgoing_certificate: "client-cert-file",
                outgoing_key: "client-key-file",
                trusted_ca: "trusted-ca-file",
                demand: "client-cert-auth",
                revoked: "client-crl-file",
                common_names: None,
                host_names: "client-cert-allowed-hostname",
                automatic: "auto-tls",
            },
            Self::Peers => Flags {
                certificate: "peer-cert-file",
                key: "peer-key-file",
                outgoing_certificate: "peer-client-cert-file",
                outgoing_key: "peer-client-key-file",
                trusted_ca: "peer-trusted-ca-file",
                demand: "peer-client-cert-auth",
                revoked: "peer-crl-file",
                common_names: Some("peer-cert-allowed-cn"),
                host_names: "peer-cert-allowed-hostname",
                automatic: "peer-auto-tls",
            },
        }
    }

    /// Its word in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clients => "client",
            Self::Peers => "peer",
        }
    }
}

/// The values of one side's flags, as they were given; empty where they were not.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The certificate shown to whoever connects.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// The certificate shown to whom we connect to.
    pub outgoing_certificate: String,
    /// Its key.
    pub outgoing_key: String,
    /// Who signs the certificates of the others.
    pub trusted_ca: String,
    /// Whether a certificate is demanded.
    pub is_demanded: bool,
    /// What is revoked.
    pub revoked: String,
    /// The common names that are let in, joined by commas.
    pub common_names: String,
    /// The host names that are let in, joined by commas.
    pub host_names: String,
    /// Whether a certificate is made.
    pub is_automatic: bool,
    /// Years for which it is valid.
    pub years: u64,
    /// Whether the address that a certificate comes from need not be one of its own.
    pub skips_addresses: bool,
    /// Cipher suites, joined by commas.
    pub suites: String,
    /// The oldest version.
    pub version_min: String,
    /// The newest version.
    pub version_max: String,
}

/// A certificate's file and its key's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The certificate and those between it and its root.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// Which of the certificates that are signed by who is trusted are let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allowed {
    /// All of them.
    #[default]
    Anybody,
    /// Those with one of these common names.
    CommonNames(Vec<String>),
    /// Those that are valid for one of these host names or addresses.
    HostNames(Vec<String>),
}

/// The TLS of one side.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Who connects.
    pub side: Side,
    /// What is shown to whoever connects.
    pub certificate: Option<Pair>,
    /// What is shown to whom we connect to, if it is another.
    pub outgoing: Option<Pair>,
    /// Who signs the certificates of the others. With one, certificates are demanded.
    pub trusted_ca: Option<PathBuf>,
    /// What is revoked.
    pub revoked: Option<PathBuf>,
    /// Who is let in.
    pub allowed: Allowed,
    /// Whether a certificate has to be of the address that it comes from.
    pub checks_addresses: bool,
    /// Years for which a certificate is valid that is made at the start; `None` to make none.
    pub self_signed_years: Option<u64>,
    /// Versions and cipher suites.
    pub suites: Suites,
}

/// Why TLS as asked for is refused. The texts are etcd's where etcd refuses it too.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Half of a pair.
    #[error(
        "--{certificate_flag}, --{key_flag}: KeyFile and CertFile must both be present[key: \
         {key}, cert: {certificate}]"
    )]
    Pair {
        /// The certificate's flag.
        certificate_flag: &'static str,
        /// The key's flag.
        key_flag: &'static str,
        /// The certificate.
        certificate: String,
        /// The key.
        key: String,
    },
    /// Half of the other pair.
    #[error(
        "--{certificate_flag}, --{key_flag}: ClientKeyFile and ClientCertFile must both be \
         present or both absent: key: {key}, cert: {certificate}]"
    )]
    OutgoingPair {
        /// The certificate's flag.
        certificate_flag: &'static str,
        /// The key's flag.
        key_flag: &'static str,
        /// The certificate.
        certificate: String,
        /// The key.
        key: String,
    },
    /// Two lists of which one is meant.
    #[error(
        "--{}, --{}: AllowedCNs and AllowedHostnames are mutually exclusive \
         (cns={common_names:?}, hostnames={host_names:?})",
        Side::Peers.flags().common_names.unwrap_or_default(),
        Side::Peers.flags().host_names
    )]
    TwoLists {
        /// Common names.
        common_names: Vec<String>,
        /// Host names.
        host_names: Vec<String>,
    },
    /// A list with nothing between two commas.
    #[error("--{flag}={list}: a name in the list is empty; remove the comma")]
    EmptyName {
        /// The flag.
        flag: &'static str,
        /// Its value.
        list: String,
    },
    /// Something that no certificate can be valid for.
    #[error("--{flag}: {name:?} is neither a host name nor an IP address")]
    NotAName {
        /// The flag.
        flag: &'static str,
        /// The name.
        name: String,
    },
    /// A check without anybody whose signature counts.
    #[error(
        "--{flag} checks certificates, but nobody is trusted to sign them: give --{trusted_ca} too"
    )]
    NobodyTrusted {
        /// The flag.
        flag: &'static str,
        /// The flag that is missing.
        trusted_ca: &'static str,
    },
    /// A check that a made certificate cannot stand.
    #[error(
        "--{flag} cannot be had with --{automatic}: certificates that members make for themselves \
         are signed by nobody; give --{certificate} and --{key}, or leave --{flag} out"
    )]
    Automatic {
        /// The flag.
        flag: &'static str,
        /// The flag for a made certificate.
        automatic: &'static str,
        /// The flag for a certificate, …
        certificate: &'static str,
        /// … and for its key.
        key: &'static str,
    },
    /// A made certificate that is never valid.
    #[error("selfSignedCertValidity is invalid,it should be greater than 0")]
    NoYears,
    /// Versions or cipher suites.
    #[error(transparent)]
    Suites(#[from] SuiteError),
}

impl Options {
    /// The options of one side, whether anything there speaks TLS or not.
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn check(side: Side, asked: &Asked) -> Result<Self, OptionsError> {
        let flags = side.flags();
        let suites = Suites::read(&asked.suites, &asked.version_min, &asked.version_max)?;
        let certificate =
            pair(&asked.certificate, &asked.key).map_err(|()| OptionsError::Pair {
                certificate_flag: flags.certificate,
                key_flag: flags.key,
                certificate: asked.certificate.clone(),
                key: asked.key.clone(),
            })?;
        let outgoing = pair(&asked.outgoing_certificate, &asked.outgoing_key).map_err(|()| {
            OptionsError::OutgoingPair {
                certificate_flag: flags.outgoing_certificate,
                key_flag: flags.outgoing_key,
                certificate: asked.outgoing_certificate.clone(),
                key: asked.outgoing_key.clone(),
            }
        })?;
        let is_automatic = asked.is_automatic && certificate.is_none();
        if is_automatic && asked.years == 0 {
            return Err(OptionsError::NoYears);
        }
        Ok(Self {
            side,
            certificate,
            outgoing,
            trusted_ca: path(&asked.trusted_ca),
            revoked: path(&asked.revoked),
            allowed: allowed(flags, asked)?,
            checks_addresses: side == Side::Peers && !asked.skips_addresses,
            self_signed_years: is_automatic.then_some(asked.years),
            suites,
        })
    }

    /// Whether what the flags ask for can be had, once something of this side speaks TLS.
    ///
    /// # Errors
    /// The first check that could not be done, and so would be passed over.
    pub fn check_used(&self, is_demanded: bool) -> Result<(), OptionsError> {
        let flags = self.side.flags();
        let list = match self.allowed {
            Allowed::Anybody => None,
            Allowed::CommonNames(_) => flags.common_names,
            Allowed::HostNames(_) => Some(flags.host_names),
        };
        let checks = [
            is_demanded.then_some(flags.demand),
            self.revoked.is_some().then_some(flags.revoked),
            list,
        ];
        let check = checks.into_iter().flatten().next();
        if self.self_signed_years.is_some() {
            let trusted_ca = self.trusted_ca.is_some().then_some(flags.trusted_ca);
            return match check.or(trusted_ca) {
                None => Ok(()),
                Some(flag) => Err(OptionsError::Automatic {
                    flag,
                    automatic: flags.automatic,
                    certificate: flags.certificate,
                    key: flags.key,
                }),
            };
        }
        match check {
            Some(flag) if self.trusted_ca.is_none() => {
                Err(OptionsError::NobodyTrusted { flag, trusted_ca: flags.trusted_ca })
            }
            _ => Ok(()),
        }
    }

    /// Whether there is a certificate to show, or will be.
    #[must_use]
    pub fn has_certificate(&self) -> bool {
        self.certificate.is_some() || self.self_signed_years.is_some()
    }

    /// Whether there is nothing to load.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.has_certificate() && self.outgoing.is_none() && self.trusted_ca.is_none()
    }
}

fn path(text: &str) -> Option<PathBuf> {
    Some(text).filter(|text| !text.is_empty()).map(PathBuf::from)
}

/// Both files, or none.
fn pair(certificate: &str, key: &str) -> Result<Option<Pair>, ()> {
    match (path(certificate), path(key)) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(Pair { certificate, key })),
        (Some(_), None) | (None, Some(_)) => Err(()),
    }
}

fn allowed(flags: Flags, asked: &Asked) -> Result<Allowed, OptionsError> {
    let common_names = match flags.common_names {
        Some(flag) => list(flag, &asked.common_names)?,
        None => Vec::new(),
    };
    let host_names = list(flags.host_names, &asked.host_names)?;
    for name in &host_names {
        if rustls::pki_types::ServerName::try_from(name.as_str()).is_err() {
            let (flag, name) = (flags.host_names, name.clone());
            return Err(OptionsError::NotAName { flag, name });
        }
    }
    match (common_names.is_empty(), host_names.is_empty()) {
        (true, true) => Ok(Allowed::Anybody),
        (false, true) => Ok(Allowed::CommonNames(common_names)),
        (true, false) => Ok(Allowed::HostNames(host_names)),
        (false, false) => Err(OptionsError::TwoLists { common_names, host_names }),
    }
}

fn list(flag: &'static str, text: &str) -> Result<Vec<String>, OptionsError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = text.split(',').map(str::to_owned).collect();
    if names.iter().any(|name| name.trim().is_empty()) {
        return Err(OptionsError::EmptyName { flag, list: text.to_owned() });
    }
    Ok(names)
}
