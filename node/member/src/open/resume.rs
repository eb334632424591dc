//! A whole store: the log goes on behind it, or begins anew behind its checkpoint.

use quorate_disk::Disk;
use quorate_raft::{Entry, HardState, Index, NodeId, Term};
use quorate_replica::{Boot, Checkpoint, Repair, VoteMemory, wire};
use quorate_store::store::Store;
use quorate_wal::{self as wal, Log, Outcome};

use super::peers::has_peers;
use super::{
    Finding, OpenError, Opened, Opening, Settings, decode_entries, hard_state_for_log, repair_of,
};
use crate::applier;
use crate::{JobRunner, LogWriter};

/// The store is whole: the log goes on behind it.
pub(super) fn resume(
    settings: &Settings,
    log_disk: &mut dyn Disk,
    mut log: Log,
    recovered: wal::Recovered,
    (store, jobs): (Store, quorate_store::jobs::Jobs),
    mut findings: Vec<Finding>,
) -> Result<Opening, OpenError> {
    let entries = decode_entries(&recovered.entries)?;
    let has_peers = has_peers(settings, &store, &recovered, &entries);
    let mut repair = None;
    let boot_number = settings.boot;
    let wait = match &recovered.outcome {
        Outcome::Clean => log.resume(log_disk, boot_number),
        Outcome::TornTail { file, offset, .. } => {
            findings.push(Finding::TornTail { file: file.clone(), offset: *offset });
            log.cut_tail(log_disk, boot_number)
        }
        Outcome::Damaged(damage) | Outcome::MissingSegment { damage, .. } => {
            let (from, to) = (damage.first_bad_index, damage.possibly_acknowledged_up_to);
            let (file, offset) = (damage.file.clone(), damage.offset);
            if !has_peers {
                return Err(OpenError::DamagedAlone { file, offset, index: from });
            }
            findings.push(Finding::DamagedLog { file, offset, from, to });
            let to = to.max(from).max(1);
            repair = Some(repair_of(damage, to, recovered.hard_state));
            log.resume_repairing(log_disk, boot_number, to)
        }
    };
    if repair.is_none()
        && let Some(to) = recovered.repairing_until
    {
        findings.push(Finding::Repairing { to });
        let term = recovered.hard_state.term;
        let vote = VoteMemory::UncertainFrom(term);
        repair = Some(Repair { last_index: to, last_term: term, vote });
    }
    let mut boot = boot_of(&store, &recovered, entries, repair);
    let mut wait = wait;
    if begin_at_checkpoint(&mut boot) {
        wait = log.append(log_disk, mark_batch(&boot));
    }
    let opened = Opened {
        cluster: recovered.identity.cluster_id,
        member: recovered.identity.member_id,
        writer: LogWriter::new(log),
        jobs: JobRunner::new(jobs),
        store,
        boot,
        findings,
    };
    Ok(Opening { opened, wait })
}

fn boot_of(
    store: &Store,
    recovered: &wal::Recovered,
    entries: Vec<Entry>,
    repair: Option<Repair>,
) -> Boot {
    let log_start = match (&recovered.mark, entries.first()) {
        (Some(mark), Some(first)) if mark.index + 1 == first.index.0 => (mark.index, mark.term),
        (_, Some(first)) => {
            // Entries before this one were given back. Their last one's term is not known here;
            // the entry's own is the highest that it can be, and nobody is asked for it below
            // the store's applied index.
            (first.index.0 - 1, if first.index.0 == 1 { 0 } else { first.term.0 })
        }
        (Some(mark), None) => (mark.index, mark.term),
        (None, None) => (0, 0),
    };
    Boot {
        checkpoint: Checkpoint {
            index: store.applied_index(),
            term: store.applied_term(),
            conf_state: applier::conf_state(store),
        },
        log_start,
        entries,
        hard_state: HardState {
            term: Term(recovered.hard_state.term),
            vote: NodeId(recovered.hard_state.vote),
            commit: Index(recovered.hard_state.commit),
        },
        facts: applier::facts(store),
        repair,
    }
}

/// Where the log is not what led to the checkpoint, it begins anew behind it: a snapshot was
/// installed and the log did not hear of it, or damage brought back entries that others had
/// replaced. Whether that is so.
fn begin_at_checkpoint(boot: &mut Boot) -> bool {
    let Checkpoint { index, term, .. } = boot.checkpoint;
    let (start, _) = boot.log_start;
    let known = match index.checked_sub(start + 1) {
        // The store ends where the log begins or before: nothing contradicts it.
        None => return false,
        Some(at) => usize::try_from(at).ok().and_then(|at| boot.entries.get(at)),
    };
    if known.is_some_and(|entry| entry.term.0 == term) {
        return false;
    }
    boot.entries.clear();
    boot.log_start = (index, term);
    if boot.hard_state.term.0 < term {
        boot.hard_state.term = Term(term);
        boot.hard_state.vote = NodeId::NONE;
    }
    boot.hard_state.commit = Index(index);
    true
}

/// What tells the log that it begins behind the checkpoint.
fn mark_batch(boot: &Boot) -> wal::Batch {
    wal::Batch {
        hard_state: Some(hard_state_for_log(boot.hard_state)),
        mark: Some(wal::Mark {
            index: boot.checkpoint.index,
            term: boot.checkpoint.term,
            conf_state: wire::encode_conf_state(&boot.checkpoint.conf_state),
        }),
        entries: Vec::new(),
    }
}
