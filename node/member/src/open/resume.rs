//! A whole store: the log goes on behind it, or begins anew behind its checkpoint.

use quorate_disk::Disk;
use quorate_raft::{Entry, HardState, Index, NodeId, Term};
use quorate_replica::{Boot, Checkpoint, Repair, wire};
use quorate_store::store::Store;
use quorate_wal::{self as wal, Log, Outcome};

use super::loss::Loss;
use super::peers::has_peers;
use super::{Finding, OpenError, Opened, Opening, Settings, decode_entries, hard_state_for_log};
use crate::applier;
use crate::{JobRunner, LogWriter};

/// The store is whole: the log goes on behind it.
pub(super) fn resume(
    settings: &Settings,
    log_disk: &mut dyn Disk,
    mut log: Log,
    mut recovered: wal::Recovered,
    (mut store, jobs): (Store, quorate_store::jobs::Jobs),
    mut findings: Vec<Finding>,
) -> Result<Opening, OpenError> {
    let entries = decode_entries(&recovered.entries)?;
    store.set_replayed_until(entries.last().map_or(0, |entry| entry.index.0));
    let has_peers = has_peers(settings, &store, &recovered, &entries);
    let mut loss = Loss::of_log(&recovered);
    let mut is_found_now = false;
    let boot_number = settings.boot;
    let mut wait = match &recovered.outcome {
        Outcome::Clean => log.resume(log_disk, boot_number),
        Outcome::TornTail { file, offset, .. } => {
            findings.push(Finding::TornTail { file: file.clone(), offset: *offset });
            log.cut_tail(log_disk, boot_number)
        }
        Outcome::Damaged(damage) | Outcome::MissingSegment { damage, .. } => {
            let (from, to) = (damage.first_bad_index, damage.possibly_acknowledged_up_to);
            let (file, offset) = (damage.file.clone(), damage.offset);
            let Some(loss) = loss.filter(|_| has_peers) else {
                return Err(OpenError::DamagedAlone { file, offset, index: from });
            };
            findings.push(Finding::DamagedLog { file, offset, from, to: to.max(from) });
            is_found_now = true;
            log.resume_repairing(log_disk, boot_number, loss.end(), loss.hard_state)
        }
    };
    if let Some(known) = loss.filter(|_| !is_found_now) {
        let to = known.repair.last_index;
        if has_peers || store.applied_index() < to {
            findings.push(Finding::Repairing { to });
            if known.hard_state != recovered.hard_state {
                wait = write_down(&mut log, log_disk, known);
            }
        } else {
            // It has everything, and those whom its votes could mislead are gone.
            loss = None;
            wait = log.finish_repair(log_disk);
        }
    }
    if let Some(loss) = loss {
        recovered.hard_state = loss.hard_state;
    }
    let repair = loss.map(|loss| loss.repair);
    let mut boot = boot_of(&store, &recovered, entries, repair);
    if begin_at_checkpoint(&mut boot) {
        wait = log.append(log_disk, mark_batch(&boot));
    }
    let mark = recovered.mark.as_ref().map(|mark| (mark.index, mark.term));
    begin_where_term_is_known(&mut boot, mark);
    let opened = Opened {
        cluster: recovered.identity.cluster_id,
        member: recovered.identity.member_id,
        incarnation: recovered.identity.incarnation,
        writer: LogWriter::new(log),
        jobs: JobRunner::new(jobs),
        store,
        boot,
        findings,
    };
    Ok(Opening { opened, wait })
}

/// What the log that is gone on with did not say itself.
fn write_down(log: &mut Log, disk: &mut dyn Disk, loss: Loss) -> wal::BatchId {
    log.begin_repair(loss.end());
    log.append(disk, wal::Batch { hard_state: Some(loss.hard_state), ..wal::Batch::default() })
}

pub(super) fn boot_of(
    store: &Store,
    recovered: &wal::Recovered,
    entries: Vec<Entry>,
    repair: Option<Repair>,
) -> Boot {
    let log_start = match (&recovered.mark, entries.first()) {
        (Some(mark), Some(first)) if mark.index + 1 == first.index.0 => (mark.index, mark.term),
        // Its term is settled below: what stood there was given back.
        (_, Some(first)) => (first.index.0 - 1, 0),
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
pub(super) fn begin_at_checkpoint(boot: &mut Boot) -> bool {
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

/// Peers are asked what they have where the log begins, so the term there must be the true one. The
/// log's mark says it, or the checkpoint. Otherwise the entries before were given back, and the
/// first that is left, which is applied, takes their place: to guess from it would be to ask for an
/// entry that nobody has, again and again.
fn begin_where_term_is_known(boot: &mut Boot, mark: Option<(u64, u64)>) {
    let (start, _) = boot.log_start;
    let Checkpoint { index, term, .. } = boot.checkpoint;
    if let Some((_, term)) = mark.filter(|(index, _)| *index == start) {
        boot.log_start.1 = term;
    } else if start == index {
        boot.log_start.1 = term;
    } else if (1..index).contains(&start) && !boot.entries.is_empty() {
        let first = boot.entries.remove(0);
        boot.log_start = (first.index.0, first.term.0);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A log that begins behind `start`, of which nothing else is known, with entries of `terms`,
    /// beside a checkpoint.
    fn boot(start: u64, terms: &[u64], checkpoint: (u64, u64)) -> Boot {
        let entry = |(index, term): (u64, &u64)| Entry {
            index: Index(index),
            term: Term(*term),
            ..Entry::default()
        };
        let (index, term) = checkpoint;
        Boot {
            checkpoint: Checkpoint { index, term, ..Checkpoint::default() },
            log_start: (start, 0),
            entries: (start + 1..).zip(terms).map(entry).collect(),
            ..Boot::default()
        }
    }

    #[test]
    fn the_term_where_the_log_begins_is_never_a_guess() {
        // Index 174 was of term 5; only the log's next entry, of term 6, is left to tell.
        let cases = [
            ("the beginning of all", boot(0, &[1, 1], (1, 1)), None, (0, 0), 2),
            ("the log's mark", boot(174, &[6, 6], (175, 6)), Some((174, 5)), (174, 5), 2),
            ("an older mark", boot(174, &[6, 6], (175, 6)), Some((100, 4)), (175, 6), 1),
            ("the checkpoint", boot(174, &[6, 6], (174, 5)), None, (174, 5), 2),
            ("the first that is left", boot(174, &[6, 6], (176, 6)), None, (175, 6), 1),
            ("nothing: there is a gap", boot(174, &[6, 6], (100, 4)), None, (174, 0), 2),
        ];
        for (name, mut boot, mark, log_start, entries) in cases {
            begin_where_term_is_known(&mut boot, mark);
            assert_eq!((boot.log_start, boot.entries.len()), (log_start, entries), "{name}");
        }
    }
}
