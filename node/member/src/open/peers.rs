//! Whether there is somebody from whom a member can have what it lost.

use std::collections::BTreeSet;

use quorate_raft::{Entry, EntryKind, NodeId};
use quorate_replica::wire;
use quorate_store::store::Store;
use quorate_wal as wal;

use super::{Fresh, OpenError, Settings, decode_entries};
use crate::applier;

/// Whether others vote, from whom this member can have what it lost.
pub(super) fn has_peers(
    settings: &Settings,
    store: &Store,
    recovered: &wal::Recovered,
    entries: &[Entry],
) -> bool {
    let applied = store.applied_index();
    // A store that has applied nothing yet does not know the first members.
    let known = if applied > 0 {
        applier::conf_state(store).voters.into_iter().collect()
    } else {
        BTreeSet::new()
    };
    let behind = entries.iter().filter(|entry| entry.index.0 > applied);
    let voters = voters(known, behind);
    voters.iter().any(|voter| voter.0 != recovered.identity.member_id)
        || (applied == 0 && !settings.is_alone())
}

/// Whether others vote, as far as a log tells whose store is lost.
pub(super) fn has_peers_by_log(
    settings: &Settings,
    recovered: &wal::Recovered,
) -> Result<bool, OpenError> {
    let entries = decode_entries(&recovered.entries)?;
    let marked = recovered
        .mark
        .as_ref()
        .and_then(|mark| wire::decode_conf_state(mark.conf_state.clone()).ok())
        .map_or_else(BTreeSet::new, |state| state.voters.into_iter().collect());
    let voters = voters(marked, entries.iter());
    let others = voters.iter().any(|voter| voter.0 != recovered.identity.member_id);
    Ok(others || !settings.is_alone())
}

/// The voters after the log's changes.
fn voters<'a>(
    mut voters: BTreeSet<NodeId>,
    entries: impl Iterator<Item = &'a Entry>,
) -> BTreeSet<NodeId> {
    let changes = entries
        .filter(|entry| entry.kind == EntryKind::ConfChange)
        .filter_map(|entry| quorate_raft::ConfChange::decode(&entry.data).ok());
    for change in changes {
        match change.kind {
            quorate_raft::ConfChangeKind::AddNode => {
                voters.insert(change.node_id);
            }
            quorate_raft::ConfChangeKind::RemoveNode => {
                voters.remove(&change.node_id);
            }
            quorate_raft::ConfChangeKind::UpdateNode
            | quorate_raft::ConfChangeKind::AddLearnerNode => {}
        }
    }
    voters
}

impl Settings {
    /// Whether the member, by what it was started with, has nobody to ask.
    fn is_alone(&self) -> bool {
        match &self.fresh {
            Fresh::Bootstrap { members, .. } => members.len() <= 1,
            Fresh::Join { .. } => false,
        }
    }
}
