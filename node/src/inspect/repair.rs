//! `quorate log repair`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use quorate_disk::{Completion, DirectoryLock, Disk, LockError, RealDisk};
use quorate_wal::{Damage, Failure, Log, Options, Outcome, repair};

use super::folder::Folder;
use super::{InspectError, LOG_FOLDER, log_folder};
use crate::args::{self, Flag, Kind, Words};

/// The flags of `quorate log repair`.
static FLAGS: [Flag; 1] = [Flag {
    name: "force-truncate",
    default: "false",
    kind: Kind::Boolean,
    help: "Give up the damaged entries and all behind them. Acknowledged writes are lost.",
}];

/// Why a log is not repaired.
#[derive(Debug, thiserror::Error)]
pub(super) enum RepairError {
    /// It cannot be read.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The member runs.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The disk failed.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The disk did not take the repair.
    #[error("the disk has stopped before the repair was durable")]
    Unfinished,
}

/// Whether to do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consent {
    /// Only say what would be lost.
    Missing,
    /// The flag was given.
    Given,
}

/// What a repair came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Repaired {
    /// The log has no damage that a start does not deal with by itself.
    NotNeeded,
    /// It is damaged, and the flag was not given.
    Refused,
    /// The log ends at this index now.
    Truncated(u64),
}

/// Run `quorate log repair` with these arguments.
pub(super) fn repair_command(arguments: &[String]) -> ExitCode {
    let given = match args::parse(FLAGS.iter(), arguments, Words::BetweenFlags) {
        Ok(given) if given.is_help => {
            print!("{}", help());
            return ExitCode::SUCCESS;
        }
        Ok(given) => given,
        Err(error) => return args::usage_error(&error, "quorate log repair --help"),
    };
    let [directory] = given.words.as_slice() else {
        eprintln!("quorate log repair: give one DATA_DIR; see quorate log repair --help");
        return ExitCode::from(args::EXIT_USAGE);
    };
    let is_forced = given.values.get("force-truncate").and_then(|value| args::boolean(value));
    let consent = if is_forced == Some(true) { Consent::Given } else { Consent::Missing };
    match run(Path::new(directory), consent, &mut |line| println!("{line}")) {
        Ok(Repaired::Refused) => ExitCode::FAILURE,
        Ok(Repaired::NotNeeded | Repaired::Truncated(_)) => ExitCode::SUCCESS,
        Err(error) => args::failure(&error),
    }
}

/// Say what is lost, and truncate if that is wanted.
pub(super) fn run(
    directory: &Path,
    consent: Consent,
    say: &mut dyn FnMut(String),
) -> Result<Repaired, RepairError> {
    let folder = log_folder(directory)?;
    let _lock = DirectoryLock::acquire(&folder_to_lock(directory, &folder))?;
    let open = |files: &dyn quorate_disk::Files| {
        Log::open(files, Options::default()).map_err(InspectError::Open)
    };
    let (_, recovered) = open(&Folder(folder.clone()))?;
    let last = recovered.entries.last().map(|entry| entry.index);
    let last = last.or(recovered.mark.as_ref().map(|mark| mark.index)).unwrap_or(0);
    let damage = match &recovered.outcome {
        Outcome::Clean => {
            say("The log is whole: there is nothing to repair.".to_owned());
            return Ok(Repaired::NotNeeded);
        }
        Outcome::TornTail { .. } => {
            say("The log ends in a write that was cut off and never acknowledged. The member \
                 removes it when it starts: there is nothing to repair."
                .to_owned());
            return Ok(Repaired::NotNeeded);
        }
        Outcome::Damaged(damage) | Outcome::MissingSegment { damage, .. } => damage,
    };
    for line in loss(damage, last) {
        say(line);
    }
    if consent == Consent::Missing {
        say("Nothing was changed. To give these entries up, run again with --force-truncate. \
             A member of a cluster needs no such thing: it is repaired from its peers when it \
             starts. A lone one may be restored from a backup instead."
            .to_owned());
        return Ok(Repaired::Refused);
    }
    truncate(&folder, recovered.identity.boot.saturating_add(1))?;
    say(format!(
        "Done: the log ends at index {last}. The damaged files are beside it, as .damaged."
    ));
    Ok(Repaired::Truncated(last))
}

/// The folder whose lock a running member holds.
fn folder_to_lock(directory: &Path, folder: &Path) -> PathBuf {
    if folder == directory
        && folder.file_name().is_some_and(|name| name == LOG_FOLDER)
        && let Some(parent) = folder.canonicalize().ok().as_deref().and_then(Path::parent)
        && parent.join(crate::config::STORE_FOLDER).is_dir()
    {
        return parent.to_owned();
    }
    directory.to_owned()
}

fn loss(damage: &Damage, last: u64) -> Vec<String> {
    let Damage { first_bad_index: from, possibly_acknowledged_up_to: to, .. } = *damage;
    let mut lines = vec![
        format!("The log is damaged in {} at byte {}.", damage.file, damage.offset),
        format!("What is before it is intact, up to index {last}."),
    ];
    lines.push(if to > last {
        format!("Lost: the entries {} to {to}, which may have been acknowledged.", last + 1)
    } else {
        "Lost: no entry that is known, but perhaps some that were acknowledged.".to_owned()
    });
    if to > last {
        lines.push("What the store's last checkpoint holds of them stays.".to_owned());
    }
    if from <= last {
        lines.push(format!(
            "What is there from index {from} on may be versions that were replaced."
        ));
    }
    if damage.intact_batches_after > 0 {
        lines.push(format!(
            "{} intact batches with {} entries behind the damage are given up with it.",
            damage.intact_batches_after,
            damage.salvaged.len()
        ));
    }
    lines
}

fn truncate(folder: &Path, boot: u64) -> Result<(), RepairError> {
    let io_error = |source| InspectError::Io { path: folder.to_owned(), source };
    let mut disk = RealDisk::inline(folder, Arc::new(|_| ())).map_err(io_error)?;
    let (mut log, _) = Log::open(&*disk.files(), Options::default()).map_err(InspectError::Open)?;
    let batch = repair::force_truncate(&mut log, &mut disk, boot);
    finish(&mut log, &mut disk)?;
    log.close(&mut disk);
    finish(&mut log, &mut disk)?;
    if log.durable() >= batch { Ok(()) } else { Err(RepairError::Unfinished) }
}

/// Hear of everything that was submitted, and of what that leads to.
fn finish(log: &mut Log, disk: &mut RealDisk) -> Result<(), RepairError> {
    let mut completions: Vec<Completion> = Vec::new();
    loop {
        disk.poll(&mut completions);
        if completions.is_empty() {
            return Ok(());
        }
        for completion in completions.drain(..) {
            log.on_completion(disk, completion)?;
        }
    }
}

/// The help of `quorate log repair`.
fn help() -> String {
    let usage = "Usage: quorate log repair --force-truncate DATA_DIR\n\n  \
        For a lone member whose log is damaged: says what is lost, and lets the log end before the\n  \
        damage. Without the flag nothing is changed. The member must not be running.\n\nFlags:\n";
    format!("{usage}{}", args::flag_list(FLAGS.iter()))
}
