//! `quorate log inspect`.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use quorate_wal::inspect::{Kind, Record, Verdict, records};
use quorate_wal::{Damage, HardStateCertainty, Log, Options, Outcome};
use serde_json::{Value, json};

use super::describe::{Description, describe_configuration, describe_entry};
use super::folder::Folder;
use super::{InspectError, log_folder};
use crate::args::{self, Flag, Given, Kind as FlagKind, Words};

/// The flags of `quorate log inspect`.
static FLAGS: [Flag; 3] = [
    Flag {
        name: "format",
        default: "text",
        kind: FlagKind::OneOf(&["text", "json"]),
        help: "How records are printed: text, or one JSON object a line.",
    },
    Flag {
        name: "from",
        default: "0",
        kind: FlagKind::Unsigned,
        help: "Print only entries from this index on.",
    },
    Flag {
        name: "to",
        default: "18446744073709551615",
        kind: FlagKind::Unsigned,
        help: "Print only entries up to this index.",
    },
];

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// What to print.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) format: Format,
    /// Only entries and marks between these indexes, both included; `None` for all records.
    pub(super) indexes: Option<(u64, u64)>,
    /// A data directory or a log's folder.
    pub(super) directory: PathBuf,
}

/// Run `quorate log inspect` with these arguments.
pub(super) fn inspect_command(arguments: &[String]) -> ExitCode {
    let given = match args::parse(FLAGS.iter(), arguments, Words::BetweenFlags) {
        Ok(given) if given.is_help => {
            print!("{}", help());
            return ExitCode::SUCCESS;
        }
        Ok(given) => given,
        Err(error) => return args::usage_error(&error, "quorate log inspect --help"),
    };
    let Some(request) = request(&given) else {
        eprintln!("quorate log inspect: give one DATA_DIR; see quorate log inspect --help");
        return ExitCode::from(args::EXIT_USAGE);
    };
    let mut out = BufWriter::new(io::stdout().lock());
    match print(&request, &mut out).and_then(|()| {
        out.flush().map_err(|source| InspectError::Io { path: request.directory.clone(), source })
    }) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads, `head` for one, has seen enough.
        Err(InspectError::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => args::failure(&error),
    }
}

fn request(given: &Given) -> Option<Request> {
    let [directory] = given.words.as_slice() else { return None };
    let format = match given.values.get("format").map(String::as_str) {
        Some("json") => Format::Json,
        _ => Format::Text,
    };
    let number = |name: &str| given.values.get(name).and_then(|value| args::unsigned(value));
    let indexes = match (number("from"), number("to")) {
        (None, None) => None,
        (from, to) => Some((from.unwrap_or(0), to.unwrap_or(u64::MAX))),
    };
    Some(Request { format, indexes, directory: directory.into() })
}

/// Print every record, and what recovery would make of them.
pub(super) fn print(request: &Request, out: &mut dyn Write) -> Result<(), InspectError> {
    let path = log_folder(&request.directory)?;
    let io_error = |source| InspectError::Io { path: path.clone(), source };
    let files = Folder(path.clone());
    let mut file = String::new();
    for records in records(&files).map_err(io_error)? {
        // A running member gives segments back meanwhile.
        let records = match records {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            records => records.map_err(io_error)?,
        };
        for record in records.iter().filter(|record| is_wanted(request, record)) {
            if request.format == Format::Text && file != record.file {
                file.clone_from(&record.file);
                writeln!(out, "{file}").map_err(io_error)?;
            }
            match request.format {
                Format::Text => writeln!(out, "{}", text_line(record)),
                Format::Json => writeln!(out, "{}", json_line(record)),
            }
            .map_err(io_error)?;
        }
    }
    let verdict = verdict(&path);
    match request.format {
        Format::Text => writeln!(out, "{}", text(&verdict)),
        Format::Json => {
            let mut object = verdict.to_json();
            object["kind"] = "recovery".into();
            if let Some(object) = object.as_object_mut() {
                let outcome = object.remove("request");
                object.insert("outcome".to_owned(), outcome.unwrap_or_default());
            }
            writeln!(out, "{object}")
        }
    }
    .map_err(io_error)
}

fn is_wanted(request: &Request, record: &Record) -> bool {
    let Some((from, to)) = request.indexes else { return true };
    matches!(record.kind, Kind::Entry | Kind::Mark) && (from..=to).contains(&record.index)
}

/// What a record is, without where it is.
fn describe(record: &Record) -> Description {
    let hex = |id: u64| -> Value { format!("{id:x}").into() };
    let of = |name, fields| Description { name, fields };
    match &record.kind {
        Kind::Segment { identity, previous } => of(
            "segment",
            vec![
                ("cluster", hex(identity.cluster_id)),
                ("member", hex(identity.member_id)),
                ("incarnation", identity.incarnation.into()),
                ("boot", identity.boot.into()),
                ("continues_segment", hex(previous.0)),
                ("continues_at", previous.1.into()),
            ],
        ),
        Kind::Batch { number, synced, hard_state } => of(
            "batch",
            vec![
                ("number", (*number).into()),
                ("synced", (*synced).into()),
                ("term", hard_state.term.into()),
                ("vote", hex(hard_state.vote)),
                ("commit", hard_state.commit.into()),
            ],
        ),
        Kind::Seal { number } => of("seal", vec![("number", (*number).into())]),
        Kind::Gap { length } => of("gap", vec![("bytes", (*length).into())]),
        Kind::Mark => describe_configuration(&record.body),
        Kind::Entry if record.verdict == Verdict::Intact => describe_entry(&record.body),
        Kind::Entry => of("unreadable", Vec::new()),
    }
}

fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Intact => "intact",
        Verdict::BadBody => "bad_body",
        Verdict::OneCopy => "one_copy",
        Verdict::Unreadable => "unreadable",
    }
}

fn text_line(record: &Record) -> String {
    let described = text(&describe(record));
    let bad = match record.verdict {
        Verdict::Intact => "",
        Verdict::BadBody => "  [DAMAGED BODY]",
        Verdict::OneCopy => "  [ONE COPY DAMAGED]",
        Verdict::Unreadable => "  [UNREADABLE]",
    };
    let (index, term) = (record.index, record.term);
    match record.kind {
        Kind::Entry => format!("{:>12}  entry {index} term {term}: {described}{bad}", ""),
        Kind::Mark => format!("{:>12}  mark {index} term {term}: {described}{bad}", ""),
        _ => format!("{:>12}  {described}{bad}", record.offset),
    }
}

/// `name field=value field=value`, values as JSON has them.
fn text(description: &Description) -> String {
    let mut line = description.name.to_owned();
    for (field, value) in &description.fields {
        line.push_str(&format!(" {field}={value}"));
    }
    line
}

fn json_line(record: &Record) -> Value {
    let kind = match record.kind {
        Kind::Segment { .. } => "segment",
        Kind::Batch { .. } => "batch",
        Kind::Seal { .. } => "seal",
        Kind::Gap { .. } => "gap",
        Kind::Mark => "mark",
        Kind::Entry => "entry",
    };
    let mut object = describe(record).to_json();
    object["kind"] = kind.into();
    object["file"] = record.file.clone().into();
    object["offset"] = record.offset.into();
    object["verdict"] = verdict_name(record.verdict).into();
    if matches!(record.kind, Kind::Entry | Kind::Mark) {
        object["index"] = record.index.into();
        object["term"] = record.term.into();
    } else if let Some(object) = object.as_object_mut() {
        object.remove("request");
    }
    object
}

/// What a start of the member would find.
fn verdict(folder: &Path) -> Description {
    let (recovered, outcome) = match Log::open(&Folder(folder.to_owned()), Options::default()) {
        Ok((_, recovered)) => {
            let outcome = recovered.outcome.clone();
            (recovered, outcome)
        }
        Err(error) => {
            let fields = vec![("error", error.to_string().into())];
            return Description { name: "not_recoverable", fields };
        }
    };
    let mut fields = vec![
        ("first_index", recovered.entries.first().map_or(Value::Null, |at| at.index.into())),
        ("last_index", recovered.entries.last().map_or(Value::Null, |at| at.index.into())),
        ("term", recovered.hard_state.term.into()),
        ("commit", recovered.hard_state.commit.into()),
    ];
    if let Some(until) = recovered.repairing_until {
        fields.push(("repairing_until", until.index.into()));
        fields.push(("repairing_until_term", until.term.into()));
    }
    let name = match outcome {
        Outcome::Clean => "clean",
        Outcome::TornTail { file, offset, written_up_to } => {
            fields.push(("file", file.into()));
            fields.push(("offset", offset.into()));
            fields.push(("written_up_to", written_up_to.into()));
            "torn_tail"
        }
        Outcome::Damaged(damage) => {
            fields.extend(damage_fields(&damage));
            "damaged"
        }
        Outcome::MissingSegment { sequence, damage } => {
            fields.push(("missing_segment", format!("{sequence:x}").into()));
            fields.extend(damage_fields(&damage));
            "missing_segment"
        }
    };
    Description { name, fields }
}

fn damage_fields(damage: &Damage) -> Vec<(&'static str, Value)> {
    let vote = match damage.hard_state {
        HardStateCertainty::Certain => json!("certain"),
        HardStateCertainty::AtLeastTerm(term) => json!({ "at_least_term": term }),
    };
    vec![
        ("file", damage.file.clone().into()),
        ("offset", damage.offset.into()),
        ("first_bad_index", damage.first_bad_index.into()),
        ("possibly_acknowledged_up_to", damage.possibly_acknowledged_up_to.into()),
        ("end_index", damage.end.index.into()),
        ("end_term", damage.end.term.into()),
        ("hard_state", vote),
        ("intact_batches_after", damage.intact_batches_after.into()),
        ("salvaged_entries", damage.salvaged.len().into()),
    ]
}

/// The help of `quorate log inspect`.
fn help() -> String {
    let usage = "Usage: quorate log inspect [flags] DATA_DIR\n\n  \
        Prints every record of the log in a data directory (or in a log's folder), then what a\n  \
        start of the member would make of it. Nothing is changed, and the member may be running.\n  \
        Values and passwords are not shown.\n\nFlags:\n";
    format!("{usage}{}", args::flag_list(FLAGS.iter()))
}
