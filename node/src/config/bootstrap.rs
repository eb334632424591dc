//! Whether an empty directory may become the member that the configuration names.

use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs};

use quorate_api::urls::Urls;

use super::{ClusterState, Config, ConfigError};

impl Config {
    /// Check what only matters for an empty directory, by etcd's rules: the member is in its
    /// initial cluster, no URL belongs to two members, and a first member is reached where its
    /// peers believe it to be. May ask for the addresses of names, and so block.
    ///
    /// # Errors
    /// [`ConfigError`] for the first rule that does not hold.
    pub fn check_initial_cluster(&self) -> Result<(), ConfigError> {
        let members = self.initial_cluster.members();
        if members.is_empty() {
            return Err(ConfigError::NoCluster);
        }
        let Some(own) = members.get(&self.name) else {
            return Err(ConfigError::NotInCluster(self.name.clone()));
        };
        if self.initial_cluster_state == ClusterState::New {
            self.check_own_urls(own)?;
        }
        let mut seen = BTreeSet::new();
        for url in members.values().flat_map(Urls::as_slice) {
            if !seen.insert(url) {
                return Err(ConfigError::DuplicateUrl(self.initial_cluster.to_string()));
            }
        }
        Ok(())
    }

    fn check_own_urls(&self, own: &Urls) -> Result<(), ConfigError> {
        let advertised = &self.initial_advertise_peer_urls;
        if own == advertised || is_same_address(own, advertised) {
            return Ok(());
        }
        let missing_from = |all: &Urls, others: &Urls| -> Vec<String> {
            let missing = all.as_slice().iter().filter(|url| !others.as_slice().contains(url));
            missing.map(ToString::to_string).collect()
        };
        let named = |url: &String| format!("{}={url}", self.name);
        let missing = missing_from(own, advertised);
        if !missing.is_empty() {
            let missing = missing.iter().map(named).collect::<Vec<_>>().join(",");
            return Err(ConfigError::NotAdvertised { missing, advertised: advertised.to_string() });
        }
        let missing = missing_from(advertised, own).join(",");
        let cluster = own.to_strings().iter().map(named).collect::<Vec<_>>().join(",");
        Err(ConfigError::NotInitial { missing, cluster })
    }
}

/// Whether both, their names resolved, are the same addresses one by one.
fn is_same_address(left: &Urls, right: &Urls) -> bool {
    let addresses = |urls: &Urls| -> Option<Vec<BTreeSet<SocketAddr>>> {
        let mut all = Vec::new();
        for url in urls.as_slice() {
            let found: BTreeSet<SocketAddr> = url.address().to_socket_addrs().ok()?.collect();
            all.push(found);
        }
        all.sort();
        Some(all)
    };
    left.as_slice().len() == right.as_slice().len()
        && match (addresses(left), addresses(right)) {
            (Some(left), Some(right)) => left.iter().zip(&right).all(|(one, other)| {
                // A name may stand for an address of each family.
                one.intersection(other).next().is_some()
            }),
            _ => false,
        }
}
