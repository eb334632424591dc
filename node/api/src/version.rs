//! The versions that a member states, and which peers it talks to.

use std::fmt;

/// The version of etcd whose contract is served. Reported wherever etcd reports its own.
pub const ETCD_VERSION: &str = "3.7.1";

/// The oldest cluster version that a member can join; sent to peers.
pub const MIN_CLUSTER_VERSION: &str = "3.0.0";

/// The cluster version of a cluster whose members all report [`ETCD_VERSION`].
pub const CLUSTER_VERSION: &str = "3.7.0";

/// What a peer that sends no version is taken for.
const VERSION_WITHOUT_HEADER: Version = Version { major: 2, minor: 0, patch: 0 };

/// `major.minor.patch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Breaks the contract.
    pub major: u64,
    /// Adds to the contract; the cluster version has this and a patch of zero.
    pub minor: u64,
    /// Repairs.
    pub patch: u64,
}

impl Version {
    /// [`ETCD_VERSION`].
    pub const ETCD: Self = Self { major: 3, minor: 7, patch: 1 };
    /// [`MIN_CLUSTER_VERSION`].
    pub const MIN_CLUSTER: Self = Self { major: 3, minor: 0, patch: 0 };

    /// Reads `major.minor.patch`; a `-pre-release` or `+build` suffix is allowed and ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let core = text.split(['-', '+']).next()?;
        let mut parts = core.split('.').map(number);
        let version = Self { major: parts.next()??, minor: parts.next()??, patch: parts.next()?? };
        parts.next().is_none().then_some(version)
    }

    /// The version without its patch, as cluster versions are.
    pub const fn without_patch(self) -> Self {
        Self { patch: 0, ..self }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A decimal number without sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Whether a peer that states these versions and this member can talk: neither may be older than
/// the oldest cluster that the other supports. Patches do not count. An absent header counts as
/// 2.0.0, which is too old; so does one that is no version.
pub fn is_peer_compatible(server: Option<&str>, min_cluster: Option<&str>) -> bool {
    let read = |text: Option<&str>| match text {
        Some(text) => Version::parse(text),
        None => Some(VERSION_WITHOUT_HEADER),
    };
    let (Some(server), Some(min_cluster)) = (read(server), read(min_cluster)) else {
        return false;
    };
    server.without_patch() >= Version::MIN_CLUSTER.without_patch()
        && min_cluster.without_patch() <= Version::ETCD.without_patch()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_agree() {
        assert_eq!(Version::ETCD.to_string(), ETCD_VERSION);
        assert_eq!(Version::MIN_CLUSTER.to_string(), MIN_CLUSTER_VERSION);
        assert_eq!(Version::ETCD.without_patch().to_string(), CLUSTER_VERSION);
    }

    #[test]
    fn reads_versions() {
        let version = |major, minor, patch| Some(Version { major, minor, patch });
        assert_eq!(Version::parse("3.7.1"), version(3, 7, 1));
        assert_eq!(Version::parse("3.8.0-alpha.0+git"), version(3, 8, 0));
        for bad in
            ["", "3", "3.7", "3.7.1.2", "3.x.1", "+3.7.1", "3..1", "99999999999999999999.0.0"]
        {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn peers_are_compatible_as_in_etcd() {
        assert!(is_peer_compatible(Some("3.5.0"), Some("3.0.0")));
        assert!(is_peer_compatible(Some("3.7.9"), Some("3.7.9")));
        assert!(is_peer_compatible(Some("4.0.0"), Some("3.7.0")));
        assert!(!is_peer_compatible(Some("3.8.0"), Some("3.8.0")));
        assert!(!is_peer_compatible(Some("2.3.0"), Some("2.0.0")));
        assert!(!is_peer_compatible(None, Some("3.0.0")));
        assert!(!is_peer_compatible(Some("x"), Some("3.0.0")));
    }
}
