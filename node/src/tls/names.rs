//! Whose certificate it is: its common name, its host names and addresses.
//!
//! It reads certificates that a chain of signatures vouches for, and never decides alone.

use std::fmt;
use std::io;
use std::net::IpAddr;

use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::options::Allowed;

/// What a certificate says whose it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// The common name, the last one if there are several, as in Go.
    pub(super) common_name: Option<String>,
    /// Host names of which it is.
    pub(super) hosts: Vec<String>,
    /// Addresses of which it is.
    pub(super) addresses: Vec<IpAddr>,
}

impl Names {
    /// Of a certificate; `None` if it does not read as one.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (rest, parsed) = X509Certificate::from_der(certificate).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let mut names = Self::default();
        for name in parsed.subject().iter_common_name() {
            names.common_name = Some(name.as_str().ok()?.to_owned());
        }
        let alternatives = parsed.subject_alternative_name().ok()?;
        for name in alternatives.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::DNSName(host) => names.hosts.push((*host).to_owned()),
                GeneralName::IPAddress(bytes) => {
                    if let Ok(bytes) = <[u8; 4]>::try_from(*bytes) {
                        names.addresses.push(bytes.into());
                    } else if let Ok(bytes) = <[u8; 16]>::try_from(*bytes) {
                        names.addresses.push(IpAddr::from(bytes).to_canonical());
                    }
                }
                _ => {}
            }
        }
        Some(names)
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = self.addresses.iter().map(ToString::to_string);
        let all: Vec<String> = self.hosts.iter().cloned().chain(addresses).collect();
        f.write_str(&all.join(", "))
    }
}

impl Allowed {
    /// Whether a certificate, which is signed by who is trusted, is let in.
    pub(super) fn lets_in(&self, certificate: &CertificateDer<'_>) -> bool {
        match self {
            Self::Anybody => true,
            Self::CommonNames(allowed) => Names::of(certificate)
                .and_then(|names| names.common_name)
                .is_some_and(|name| allowed.contains(&name)),
            Self::HostNames(allowed) => {
                let Ok(parsed) = ParsedCertificate::try_from(certificate) else { return false };
                allowed.iter().any(|name| {
                    ServerName::try_from(name.as_str())
                        .is_ok_and(|name| verify_server_name(&parsed, &name).is_ok())
                })
            }
        }
    }
}

/// Asking for the names of addresses and the addresses of names.
pub(super) trait Directory {
    /// The names of an address.
    fn names(&self, address: IpAddr) -> io::Result<Vec<String>>;
    /// The addresses of a name.
    fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's, which may ask name servers and so takes its time.
pub(super) struct SystemDirectory;

impl Directory for SystemDirectory {
    fn names(&self, address: IpAddr) -> io::Result<Vec<String>> {
        Ok(vec![dns_lookup::lookup_addr(&address)?])
    }

    fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        use std::net::ToSocketAddrs as _;
        Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
    }
}

/// Whether a certificate is of the address that it comes from, as etcd asks of its peers: one
/// without names is of every address; one with addresses or host names has to have this address,
/// or a name that leads to it in either direction. Blocks while names are looked up.
pub(super) fn is_of_address(names: &Names, address: IpAddr, directory: &impl Directory) -> bool {
    let address = address.to_canonical();
    if names.hosts.is_empty() && names.addresses.is_empty() || names.addresses.contains(&address) {
        return true;
    }
    if names.hosts.is_empty() {
        return false;
    }
    let (wildcards, hosts): (Vec<&str>, Vec<&str>) =
        names.hosts.iter().map(String::as_str).partition(|name| name.starts_with("*."));
    let found = directory.names(address).unwrap_or_default();
    let is_named = found.iter().map(|name| name.trim_end_matches('.')).any(|name| {
        let ends = |wildcard: &&str| wildcard.get(1..).is_some_and(|end| has_end(name, end));
        hosts.iter().any(|host| host.eq_ignore_ascii_case(name)) || wildcards.iter().any(ends)
    });
    is_named
        || hosts.iter().any(|host| {
            let found = directory.addresses(host).unwrap_or_default();
            found.iter().any(|found| found.to_canonical() == address)
        })
}

/// Whether a name ends so, after at least one letter; capitals do not matter.
fn has_end(name: &str, end: &str) -> bool {
    let start = name.len().checked_sub(end.len());
    start.is_some_and(|at| {
        at > 0 && name.get(at..).is_some_and(|found| found.eq_ignore_ascii_case(end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Known;

    impl Directory for Known {
        fn names(&self, address: IpAddr) -> io::Result<Vec<String>> {
            match address.to_string().as_str() {
                "10.0.0.1" => Ok(vec!["M1.peers.example.".to_owned()]),
                _ => Err(io::ErrorKind::NotFound.into()),
            }
        }

        fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
            match name {
                "m2.example" => Ok(vec![[10, 0, 0, 2].into()]),
                _ => Err(io::ErrorKind::NotFound.into()),
            }
        }
    }

    #[test]
    fn an_address_is_found_as_etcd_finds_it() {
        for (hosts, addresses, address, expected) in [
            (&[][..], &[][..], "10.0.0.9", true),
            (&[], &["10.0.0.9"][..], "10.0.0.9", true),
            (&[], &["10.0.0.9"], "::ffff:10.0.0.9", true),
            (&[], &["10.0.0.9"], "10.0.0.8", false),
            (&["m1.peers.example"], &[], "10.0.0.1", true),
            (&["*.peers.example"], &[], "10.0.0.1", true),
            (&["*.example"], &[], "10.0.0.1", true),
            (&["*.1.peers.example"], &[], "10.0.0.1", false),
            (&["*.m1.peers.example"], &[], "10.0.0.1", false),
            (&["*.peers.example"], &[], "10.0.0.2", false),
            (&["m2.example"], &[], "10.0.0.2", true),
            (&["m2.example"], &["10.0.0.9"], "10.0.0.2", true),
            (&["m2.example"], &["10.0.0.9"], "10.0.0.3", false),
            (&["m3.example"], &[], "10.0.0.2", false),
        ] {
            let names = Names {
                common_name: None,
                hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
                addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            };
            let found = is_of_address(&names, address.parse().unwrap(), &Known);
            assert_eq!(found, expected, "{names:?} at {address}");
        }
    }
}
