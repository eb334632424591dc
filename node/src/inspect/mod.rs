//! `quorate log`: what is in a member's log, also in a damaged one, and how to go on without it.
//!
//! ```text
//!   log inspect   folder, only read ──► records ──► text or JSON lines ──► what recovery makes of it
//!   log repair    folder, locked ─────► what will be lost ──► Log cut there, damage set aside
//! ```
//!
//! Inspecting makes and changes no file, so it works beside a running member; what that one is
//! just writing may look torn. Repairing takes the directory's lock, so it works only without.

mod describe;
mod folder;
mod print;
mod repair;

pub(crate) use folder::Folder;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use quorate_wal::OpenError;

use crate::args;

/// Run `quorate log` with these arguments.
pub(crate) fn command(arguments: &[String]) -> ExitCode {
    let rest = arguments.get(1..).unwrap_or_default();
    match arguments.first().map(String::as_str) {
        Some("inspect") => print::inspect_command(rest),
        Some("repair") => repair::repair_command(rest),
        None | Some("-h" | "-help" | "--help" | "help") => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Some(other) => {
            let known = ["inspect", "repair"];
            args::unknown_word("quorate log", other, &known)
        }
    }
}

/// The help of `quorate log`.
pub(crate) const HELP: &str = "\
Usage: quorate log COMMAND

  Looks into the write-ahead log of a member.

Commands:
  inspect [--format text|json] [--from INDEX] [--to INDEX] DATA_DIR
      Print the records of a log, also of a damaged one. Changes nothing.
  repair --force-truncate DATA_DIR
      Let the damaged log of a lone member end before the damage. Writes are lost.

  quorate log COMMAND --help says more.
";

/// The folder of the log in a data directory.
const LOG_FOLDER: &str = crate::config::LOG_FOLDER;

/// Why a log is not shown or repaired.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InspectError {
    /// There is no log.
    #[error("{}: {what}", path.display())]
    NoLog {
        /// Where one was looked for.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// The folder or the output does not answer.
    #[error("{}: {source}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The log cannot be read as a log.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// The folder that holds the log: of a data directory, or given itself.
fn log_folder(directory: &Path) -> Result<PathBuf, InspectError> {
    let no_log = |what| InspectError::NoLog { path: directory.to_owned(), what };
    if !directory.is_dir() {
        return Err(no_log("there is no such directory"));
    }
    let inner = directory.join(LOG_FOLDER);
    if inner.is_dir() {
        return Ok(inner);
    }
    if directory.join("member").join("wal").is_dir() {
        return Err(no_log("this is a data directory of etcd: its log is for etcdutl to read"));
    }
    let entries = std::fs::read_dir(directory)
        .map_err(|source| InspectError::Io { path: directory.to_owned(), source })?;
    let names = entries.flatten().map(|entry| entry.file_name());
    let is_log = |name: &std::ffi::OsString| {
        let name = name.to_string_lossy();
        name.ends_with(".log") || name.ends_with(".log.damaged")
    };
    if names.into_iter().any(|name| is_log(&name)) {
        Ok(directory.to_owned())
    } else {
        Err(no_log("this is neither a data directory nor a log's folder"))
    }
}

#[cfg(test)]
mod tests;
