//! `--force-new-cluster`: what is left of a cluster becomes its only member, before it is opened.

use std::sync::Arc;

use quorate_disk::{Disk as _, RealDisk};
use quorate_member::open::Settings;
use quorate_member::stopped::{self, Despite, Left};

use super::named;
use super::start::StartError;
use crate::config::Config;

/// Leave the cluster to the member of this directory, which is locked. Durable when it returns.
pub(super) fn force(
    config: &Config,
    settings: &Settings,
    log_disk: &RealDisk,
) -> Result<(), StartError> {
    let path = config.store_folder();
    // A disk of its own: descriptors are cached by name, and files go here that are opened again.
    let mut store_disk = RealDisk::inline(&path, Arc::new(|_| {}))
        .map_err(|source| StartError::Folder { path, source })?;
    let looked = stopped::look(settings, &*log_disk.files(), store_disk.files())?;
    let (identity, commit) = (looked.identity, looked.hard_state.commit);
    let urls = config.initial_advertise_peer_urls.to_strings();
    let left = looked
        .replay(Despite::Nothing)
        // This disk does everything when it is submitted: there is nothing to wait for.
        .and_then(|stopped| stopped.leave(&urls, &mut store_disk, &mut || false))
        .map_err(StartError::Alone)?;
    match left {
        None => tracing::warn!(
            "--force-new-cluster: this member is the only one already; remove the flag, or the \
             next start removes whoever is added until then"
        ),
        Some(Left { removed, index }) => tracing::warn!(
            member = named(identity.member_id),
            cluster = named(identity.cluster_id),
            removed = removed.iter().map(|id| named(*id)).collect::<Vec<_>>().join(","),
            index,
            known_committed = commit,
            "--force-new-cluster: this member is the only one of its cluster from now on; remove \
             the flag, or the next start removes whoever is added until then"
        ),
    }
    Ok(())
}
