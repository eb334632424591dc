//! `quorate snapshot`: backups, as etcdctl and etcdutl make, look at and restore them.
//!
//! ```text
//!   save     a running member ──► FILE.part ──► synced, its SHA-256 compared ──► FILE
//!   status   FILE ──► hash, revision, keys, bytes        as etcdutl snapshot status
//!   hashkv   FILE ──► hash of the history of keys        as etcdutl hashkv
//!   restore  FILE ──► read wholly, compared ──► a member of a new cluster, in an empty directory
//! ```
//! A file is etcd's, of 3.4 to 3.7, or ours, which is the same. None of these commands changes a
//! file that it reads, or touches a directory in which there is something.

mod connect;
pub(crate) mod print;
pub(crate) mod progress;
pub(crate) mod restore;
pub(crate) mod save;
pub(crate) mod source;
mod status;

use std::process::ExitCode;

use crate::args;

/// Run `quorate snapshot` with these arguments.
pub(crate) fn command(arguments: &[String]) -> ExitCode {
    let rest = arguments.get(1..).unwrap_or_default();
    match arguments.first().map(String::as_str) {
        Some("save") => save::command(rest),
        Some("status") => status::status_command(rest),
        Some("hashkv") => status::hash_command(rest),
        Some("restore") => restore::command(rest),
        None | Some("-h" | "-help" | "--help" | "help") => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Some(other) => {
            args::unknown_word("quorate snapshot", other, &["save", "status", "hashkv", "restore"])
        }
    }
}

const HELP: &str = "\
Usage: quorate snapshot COMMAND

  Makes backups, looks into them, and makes members of them. Files are those of etcdctl and
  etcdutl, in both directions.

Commands:
  save [--endpoints URL] FILE
      Have a snapshot of a running member.
  status [-w simple|table|json|fields] FILE
      Print hash, revision, number of keys and size of a snapshot.
  hashkv [--rev REVISION] [-w simple|table|json|fields] FILE
      Print the hash of the history of keys in a snapshot.
  restore --data-dir DIR [--name NAME --initial-cluster CLUSTER …] FILE
      Make a member of a new cluster of a snapshot.

  quorate snapshot COMMAND --help says more.
";

/// The one file that a command is given.
fn one_file<'words>(command: &str, words: &'words [String]) -> Result<&'words str, ExitCode> {
    let [file] = words else {
        eprintln!("{command}: give one FILE; see {command} --help");
        return Err(ExitCode::from(args::EXIT_USAGE));
    };
    Ok(file)
}
