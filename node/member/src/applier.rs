//! The store's side of a member: committed entries in, answers and what replicas must hear out.

use quorate_api::Error;
use quorate_api::request::RequestKind;
use quorate_raft::{ConfState, Entry, EntryKind, NodeId};
use quorate_replica::{
    AlarmFact, AlarmKind, Applied, ConfChangeVerdict, Facts, LeaseChange, LeaseFact, MemberFact,
    Presence, RequestId, Role,
};
use quorate_store::entry::{self, Answer, Fatal, Reply, Touched};
use quorate_store::log::Record;
use quorate_store::store::Store;

/// What a run of entries did.
#[derive(Debug, Default)]
pub struct Batch {
    /// For the replica: an [`Event::Applied`](quorate_replica::Event::Applied).
    pub applied: Applied,
    /// For the clients of this member that wait.
    pub replies: Vec<(RequestId, Result<Reply, Error>)>,
    /// For the watches: publish these before the replica hears that they are applied, so that a
    /// read never shows what a progress notification denies.
    pub records: Vec<Record>,
    /// A compaction was decided: there is something to prune.
    pub compacted: bool,
    /// Members are other than before, or what is known of one.
    pub members: Touched,
}

/// Apply entries in their order. `waits` says whether a local client waits for a request.
///
/// # Errors
/// The store cannot go on.
pub fn apply(
    store: &mut Store,
    entries: &[Entry],
    waits: impl Fn(RequestId) -> bool,
) -> Result<Batch, Fatal> {
    apply_each(store, entries, waits, |_, _| {})
}

/// As [`apply`], and say after each request what it was and whether it succeeded.
///
/// # Errors
/// The store cannot go on.
pub fn apply_each(
    store: &mut Store,
    entries: &[Entry],
    waits: impl Fn(RequestId) -> bool,
    mut applied_one: impl FnMut(RequestKind, Result<(), &Error>),
) -> Result<Batch, Fatal> {
    let mut batch = Batch::default();
    let mut alarms = Touched::No;
    for entry in entries {
        let entry = entry_for_store(entry);
        // Decoding for the id alone would cost more than it saves: an answer is left out only
        // where nobody can wait, as when a log is replayed.
        let applied = store.apply_as(&entry, Answer::Wanted)?;
        let changes = applied.changes;
        if let Some(kind) = applied.kind {
            applied_one(kind, applied.reply.as_ref().map(drop));
        }
        if let Some(id) = applied.request_id.map(RequestId) {
            batch.applied.requests.push(id);
            if waits(id) {
                batch.replies.push((id, applied.reply));
            }
        }
        batch.records.extend(changes.records);
        batch.applied.leases.extend(changes.leases.into_iter().map(lease_change));
        batch.compacted |= changes.compaction.is_some();
        if changes.members == Touched::Yes {
            batch.members = Touched::Yes;
        }
        if changes.alarms == Touched::Yes {
            alarms = Touched::Yes;
        }
        if let Some(verdict) = changes.conf_change {
            batch.applied.conf_changes.push((entry.index, conf_change_verdict(&verdict)));
        }
    }
    batch.applied.index = store.applied_index();
    batch.applied.live_bytes = store.live_bytes();
    if batch.members == Touched::Yes {
        note_conf_state(store);
        batch.applied.members = Some(member_facts(store));
    }
    if alarms == Touched::Yes {
        batch.applied.alarms = Some(alarm_facts(store));
    }
    Ok(batch)
}

/// All that a replica must know of a store.
#[must_use]
pub fn facts(store: &Store) -> Facts {
    let leases = store
        .leases()
        .iter()
        .map(|(id, lease)| LeaseFact {
            lease: id,
            ttl_seconds: lease.ttl_seconds,
            remaining_seconds: lease.remaining_seconds,
        })
        .collect();
    Facts {
        leases,
        members: member_facts(store),
        alarms: alarm_facts(store),
        live_bytes: store.live_bytes(),
    }
}

/// Raft's configuration as of the store's applied index: changes are made one member at a time,
/// so that the members say it.
#[must_use]
pub fn conf_state(store: &Store) -> ConfState {
    let ids = |learners: bool| {
        let of_role = store.members().iter().filter(|member| member.is_learner == learners);
        of_role.map(|member| NodeId(member.id)).collect()
    };
    ConfState::new(ids(false), ids(true))
}

/// Let the store's checkpoints say the configuration.
pub fn note_conf_state(store: &mut Store) {
    let encoded = quorate_replica::wire::encode_conf_state(&conf_state(store));
    store.set_conf_state(encoded);
}

fn member_facts(store: &Store) -> Vec<MemberFact> {
    let fact = |member: &quorate_store::members::Member| MemberFact {
        member: NodeId(member.id),
        role: if member.is_learner { Role::Learner } else { Role::Voter },
        presence: if member.name.is_empty() { Presence::Unstarted } else { Presence::Started },
    };
    store.members().iter().map(fact).collect()
}

fn alarm_facts(store: &Store) -> Vec<AlarmFact> {
    let fact = |alarm: quorate_api::etcdserverpb::AlarmMember| {
        let kind = match alarm.alarm() {
            quorate_api::etcdserverpb::AlarmType::None => return None,
            quorate_api::etcdserverpb::AlarmType::Nospace => AlarmKind::NoSpace,
            quorate_api::etcdserverpb::AlarmType::Corrupt => AlarmKind::Corrupt,
        };
        Some(AlarmFact { member: NodeId(alarm.member_id), kind })
    };
    store.alarms().get(0).into_iter().filter_map(fact).collect()
}

fn lease_change(change: quorate_store::lease::LeaseChange) -> LeaseChange {
    use quorate_store::lease::LeaseChange as Stored;
    match change {
        Stored::Granted { id, ttl_seconds } => LeaseChange::Granted { lease: id, ttl_seconds },
        Stored::Revoked { id } => LeaseChange::Revoked { lease: id },
        Stored::Checkpointed { id, remaining_seconds } => {
            LeaseChange::Checkpointed { lease: id, remaining_seconds }
        }
    }
}

fn conf_change_verdict(verdict: &entry::ConfChangeVerdict) -> ConfChangeVerdict {
    match verdict {
        entry::ConfChangeVerdict::Accepted(_) => ConfChangeVerdict::Accepted,
        entry::ConfChangeVerdict::Rejected => ConfChangeVerdict::Rejected,
    }
}

fn entry_for_store(entry: &Entry) -> entry::Entry {
    let kind = match entry.kind {
        EntryKind::Normal => entry::EntryKind::Normal,
        EntryKind::ConfChange => entry::EntryKind::ConfChange,
        EntryKind::ConfChangeV2 => entry::EntryKind::ConfChangeV2,
    };
    entry::Entry { index: entry.index.0, term: entry.term.0, kind, data: entry.data.clone() }
}
