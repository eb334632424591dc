//! Whether there is somebody from whom a member can have what it lost.

use std::collections::{BTreeMap, BTreeSet};

use quorate_raft::{ConfChange, ConfChangeKind, Entry, EntryKind, NodeId};
use quorate_replica::wire;
use quorate_store::members::Member;
use quorate_store::store::Store;
use quorate_wal as wal;

use super::{Fresh, OpenError, Opened, Settings, decode_entries};
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

impl Opened {
    /// Whether the store says that this member was removed for good.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        let members = self.store.members();
        members.is_removed(self.member) && members.get(self.member).is_none()
    }

    /// The members, as far as store and log tell: also those of changes that are not committed.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let known = self.store.members().iter();
        let mut members: BTreeMap<u64, Member> =
            known.map(|member| (member.id, member.clone())).collect();
        let applied = self.store.applied_index();
        let behind = self.boot.entries.iter().filter(|entry| entry.index.0 > applied);
        let changes = behind.filter(|entry| entry.kind == EntryKind::ConfChange);
        for change in changes.filter_map(|entry| ConfChange::decode(&entry.data).ok()) {
            // A promotion tells no URLs; of an update, the rest is left out.
            let context = Member::from_json(&change.context).ok();
            match (change.kind, context.filter(|member| member.peer_urls.is_some())) {
                (ConfChangeKind::RemoveNode, _) => {
                    members.remove(&change.node_id.0);
                }
                (_, Some(member)) => {
                    members.insert(member.id, member);
                }
                (_, None) => {}
            }
        }
        members.into_values().collect()
    }
}

/// The voters after the log's changes.
fn voters<'a>(
    mut voters: BTreeSet<NodeId>,
    entries: impl Iterator<Item = &'a Entry>,
) -> BTreeSet<NodeId> {
    let changes = entries
        .filter(|entry| entry.kind == EntryKind::ConfChange)
        .filter_map(|entry| ConfChange::decode(&entry.data).ok());
    for change in changes {
        match change.kind {
            ConfChangeKind::AddNode => {
                voters.insert(change.node_id);
            }
            ConfChangeKind::RemoveNode => {
                voters.remove(&change.node_id);
            }
            ConfChangeKind::UpdateNode | ConfChangeKind::AddLearnerNode => {}
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
