//! `quorate snapshot status` and `quorate snapshot hashkv`.

use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;

use quorate_store::hash::KvHash;
use quorate_store::snapshot::{self, DigestRule, FileError, HashError, SnapshotFile, Status};

use super::one_file;
use super::print::{self, Figure, Format, render};
use super::progress::Progress;
use super::source::{Source, SourceError};
use crate::args::{self, Flag, Kind, Words};

const STATUS: &str = "quorate snapshot status";
const HASH: &str = "quorate snapshot hashkv";

static REVISION: [Flag; 1] = [Flag {
    name: "rev",
    default: "0",
    kind: Kind::Signed,
    help: "The revision up to which the history is hashed; 0 for the last.",
}];

/// Why there is nothing to print.
#[derive(Debug, thiserror::Error)]
enum StatusError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Hash(#[from] HashError),
}

/// Run `quorate snapshot status` with these arguments.
pub(super) fn status_command(arguments: &[String]) -> ExitCode {
    let given = match args::parse(print::FLAGS.iter(), arguments, Words::BetweenFlags) {
        Ok(given) if given.is_help => {
            print!(
                "Usage: {STATUS} [flags] FILE\n\n  Prints hash, revision, total keys, total size \
                 and storage version of a snapshot, as etcdutl\n  snapshot status does. Its \
                 SHA-256 is compared, if it has one.\n\nFlags:\n{}",
                args::flag_list(print::FLAGS.iter())
            );
            return ExitCode::SUCCESS;
        }
        Ok(given) => given,
        Err(error) => return args::usage_error(&error, &format!("{STATUS} --help")),
    };
    let file = match one_file(STATUS, &given.words) {
        Ok(file) => file,
        Err(code) => return code,
    };
    show(status(Path::new(file)).map(|status| figures(&status)), Format::of(&given))
}

/// Run `quorate snapshot hashkv` with these arguments.
pub(super) fn hash_command(arguments: &[String]) -> ExitCode {
    let flags = REVISION.iter().chain(&print::FLAGS);
    let given = match args::parse(flags.clone(), arguments, Words::BetweenFlags) {
        Ok(given) if given.is_help => {
            print!(
                "Usage: {HASH} [flags] FILE\n\n  Prints the hash of the history of keys in a \
                 snapshot, as etcdutl hashkv does, and as\n  etcdctl endpoint hashkv does for a \
                 member that serves it.\n\nFlags:\n{}",
                args::flag_list(flags)
            );
            return ExitCode::SUCCESS;
        }
        Ok(given) => given,
        Err(error) => return args::usage_error(&error, &format!("{HASH} --help")),
    };
    let file = match one_file(HASH, &given.words) {
        Ok(file) => file,
        Err(code) => return code,
    };
    let revision = given.values.get("rev").and_then(|value| args::signed(value)).unwrap_or(0);
    show(hash(Path::new(file), revision).map(|hash| hash_figures(&hash)), Format::of(&given))
}

fn show(row: Result<Vec<Figure>, StatusError>, format: Format) -> ExitCode {
    match row {
        Ok(row) => {
            print!("{}", render(format, &[row]));
            ExitCode::SUCCESS
        }
        Err(error) => args::failure(&error),
    }
}

fn status(path: &Path) -> Result<Status, StatusError> {
    let source = open(path)?;
    Ok(snapshot::status(source, DigestRule::IfPresent)?)
}

fn hash(path: &Path, revision: i64) -> Result<KvHash, StatusError> {
    let source = open(path)?;
    let file = SnapshotFile::open(source, DigestRule::IfPresent)?;
    Ok(snapshot::hash_kv(&file, revision)?)
}

fn open(path: &Path) -> Result<Source, StatusError> {
    let progress = Rc::new(Progress::new());
    progress.begin("read", 0);
    Ok(Source::open(path, progress)?)
}

fn figures(status: &Status) -> Vec<Figure> {
    let Status { hash, revision, keys, bytes, storage_version } = status;
    let version = storage_version.clone().unwrap_or_default();
    let hexadecimal =
        Figure { text: format!("{hash:x}"), ..Figure::number("hash", "hash", "Hash", *hash) };
    let size = Figure {
        text: print::bytes(*bytes),
        ..Figure::number("total size", "totalSize", "Size", *bytes)
    };
    vec![
        hexadecimal,
        Figure::number("revision", "revision", "Revision", *revision),
        Figure::number("total keys", "totalKey", "Keys", *keys),
        size,
        Figure::word("version", "version", "Version", version),
    ]
}

fn hash_figures(hash: &KvHash) -> Vec<Figure> {
    let KvHash { hash, revision, compact_revision, current_revision: _ } = *hash;
    let compacted = "compact revision";
    vec![
        Figure::number("hash", "hash", "Hash", hash),
        Figure::number("hash revision", "hashRevision", "Hash revision", revision),
        Figure::number(compacted, "compactRevision", "Compact revision", compact_revision),
    ]
}
