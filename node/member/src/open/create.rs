//! An empty directory becomes a new member: of a new cluster, or one that joins.

use std::sync::Arc;

use quorate_disk::{Disk, Files};
use quorate_raft::{Entry, EntryKind, HardState, Index, NodeId, Term};
use quorate_replica::{Boot, wire};
use quorate_store::members::Member;
use quorate_wal::{self as wal, Log};

use super::{Finding, Fresh, OpenError, Opened, Opening, Settings, hard_state_for_log, open_store};
use crate::applier;
use crate::{JobRunner, LogWriter};

pub(super) fn create(
    settings: &Settings,
    log_disk: &mut dyn Disk,
    store_files: Arc<dyn Files>,
) -> Result<Opening, OpenError> {
    let (cluster, member, members) = match &settings.fresh {
        Fresh::Bootstrap { cluster, member, members } => (*cluster, *member, members.as_slice()),
        Fresh::Join { cluster, member } => (*cluster, *member, &[][..]),
    };
    let identity = wal::Identity {
        cluster_id: cluster,
        member_id: member,
        incarnation: settings.own.incarnation,
        boot: settings.boot,
    };
    let (store, jobs, _) = open_store(settings, identity, store_files, 1)?;
    let entries = bootstrap_entries(members);
    let hard_state = HardState {
        term: Term(u64::from(!entries.is_empty())),
        vote: NodeId::NONE,
        commit: Index(entries.len() as u64),
    };
    // The log is there with the first members or not at all: without them a start that was cut off
    // could not be told from that of a member that joins, which waits for somebody to lead it.
    let (log, wait) = match entries.is_empty() {
        true => Log::create(log_disk, identity, settings.log),
        false => {
            let first = bootstrap_batch(&entries, hard_state);
            Log::create_with(log_disk, identity, settings.log, first)
        }
    };
    let boot = Boot { entries, hard_state, facts: applier::facts(&store), ..Boot::default() };
    let opened = Opened {
        cluster,
        member,
        incarnation: identity.incarnation,
        writer: LogWriter::new(log),
        jobs: JobRunner::new(jobs),
        store,
        boot,
        findings: vec![Finding::Fresh],
    };
    Ok(Opening { opened, wait })
}

/// The first entries of a new cluster's log, the same on all of its first members.
fn bootstrap_entries(members: &[Member]) -> Vec<Entry> {
    let mut members: Vec<&Member> = members.iter().collect();
    members.sort_by_key(|member| member.id);
    let entry = |(position, member): (usize, &&Member)| {
        let change = quorate_raft::ConfChange {
            id: 0,
            kind: quorate_raft::ConfChangeKind::AddNode,
            node_id: NodeId(member.id),
            context: member.to_json().into(),
        };
        let index = Index(position as u64 + 1);
        Entry { kind: EntryKind::ConfChange, term: Term(1), index, data: change.encode() }
    };
    members.iter().enumerate().map(entry).collect()
}

fn bootstrap_batch(entries: &[Entry], hard_state: HardState) -> wal::Batch {
    wal::Batch {
        hard_state: Some(hard_state_for_log(hard_state)),
        mark: None,
        entries: entries
            .iter()
            .map(|entry| wal::Entry {
                index: entry.index.0,
                term: entry.term.0,
                body: wire::encode_entry(entry),
            })
            .collect(),
    }
}
