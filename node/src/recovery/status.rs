//! `quorate data status`.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use quorate_api::identity::format_id;

use super::look::{LookError, Survivor};
use crate::args::{self, Flag, Given, Kind, Words};
use crate::backup::print::{self, Figure, Format, render};

const STATUS: &str = "quorate data status";

static REPORT: [Flag; 1] = [Flag {
    name: "report",
    default: "",
    kind: Kind::Text,
    help: "Write it to this file instead of standard output.",
}];

const HELP: &str = "\
Usage: quorate data COMMAND

  Looks into data directories of members that do not run. Changes nothing.

Commands:
  status [-w simple|table|json|fields] DATA_DIR …
      Print whose each is, how far it is, and what is damaged.

  quorate data COMMAND --help says more.
";

/// Run `quorate data` with these arguments.
pub(crate) fn data_command(arguments: &[String]) -> ExitCode {
    match arguments.first().map(String::as_str) {
        Some("status") => status(arguments.get(1..).unwrap_or_default()),
        None | Some("-h" | "-help" | "--help" | "help") => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Some(other) => args::unknown_word("quorate data", other, &["status"]),
    }
}

fn status(arguments: &[String]) -> ExitCode {
    let flags = print::FLAGS.iter().chain(&REPORT);
    let given = match args::parse(flags.clone(), arguments, Words::BetweenFlags) {
        Ok(given) if given.is_help => {
            print!(
                "Usage: {STATUS} [flags] DATA_DIR …\n\n  Prints whose each directory is, term and \
                 index of its last entry, what it knows to be\n  committed, up to where its store \
                 has a checkpoint, the revision that all of it comes to, and\n  what is damaged. \
                 Directories of members that run are refused.\n\nFlags:\n{}",
                args::flag_list(flags)
            );
            return ExitCode::SUCCESS;
        }
        Ok(given) => given,
        Err(error) => return args::usage_error(&error, &format!("{STATUS} --help")),
    };
    if given.words.is_empty() {
        eprintln!("{STATUS}: give DATA_DIR, one or more; see {STATUS} --help");
        return ExitCode::from(args::EXIT_USAGE);
    }
    let rows: Result<Vec<_>, LookError> =
        given.words.iter().map(|path| Survivor::look(Path::new(path)).map(figures)).collect();
    match rows {
        Ok(rows) => tell(&given, &render(Format::of(&given), &rows)),
        Err(error) => args::failure(&error),
    }
}

/// Why what was found cannot be told.
#[derive(Debug, thiserror::Error)]
#[error("--report={file}: {source}")]
struct ReportError {
    file: String,
    source: io::Error,
}

fn tell(given: &Given, text: &str) -> ExitCode {
    let Some(file) = given.values.get("report").filter(|file| !file.is_empty()) else {
        print!("{text}");
        return ExitCode::SUCCESS;
    };
    match fs::write(file, text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(source) => args::failure(&ReportError { file: file.clone(), source }),
    }
}

fn figures(survivor: Survivor) -> Vec<Figure> {
    let looked = &survivor.looked;
    let (index, term) = looked.last;
    let applied = looked.store.as_ref().map_or(0, |store| store.applied_index());
    let damage = survivor.damage();
    let mut row = vec![
        Figure::word("directory", "directory", "Directory", survivor.path.to_string_lossy()),
        Figure::word("member", "member", "Member", format_id(looked.identity.member_id)),
        Figure::word("cluster", "cluster", "Cluster", format_id(looked.identity.cluster_id)),
        Figure::number("term", "lastTerm", "Last term", term),
        Figure::number("index", "lastIndex", "Last index", index),
        Figure::number("committed", "committed", "Committed", looked.hard_state.commit),
        Figure::number("checkpoint", "checkpoint", "Checkpoint", applied),
    ];
    let (revision, trouble) = match survivor.into_store() {
        Ok(store) => (store.revision(), None),
        Err(trouble) => (0, Some(trouble)),
    };
    row.push(Figure::number("revision", "revision", "Revision", revision));
    let damage = damage.or(trouble).unwrap_or_default();
    row.push(Figure::word("damage", "damage", "Damage", damage));
    row
}
