//! `quorate snapshot restore`.

use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;

use quorate_api::identity::format_id;
use quorate_member::founding::{Founded, Founder};
use quorate_store::snapshot::{DigestRule, FileError, InstallError, SnapshotFile, Verification};

use super::one_file;
use super::progress::Progress;
use super::source::{Source, SourceError};
use crate::args::{self, Flag, Given, Kind, Words, table};
use crate::config::{Config, ConfigError};
use crate::founding::{self, SiteError};
use crate::member;

const RESTORE: &str = "quorate snapshot restore";

/// The flags that a member has, too.
const OF_MEMBER: [&str; 6] = [
    "data-dir",
    "wal-dir",
    "name",
    "initial-cluster",
    "initial-cluster-token",
    "initial-advertise-peer-urls",
];

/// The others.
static FLAGS: [Flag; 4] = [
    Flag {
        name: "skip-hash-check",
        default: "false",
        kind: Kind::Boolean,
        help: "Do without the SHA-256 at the file's end, which the database of a data directory of \
               etcd's does not have.",
    },
    Flag {
        name: "bump-revision",
        default: "0",
        kind: Kind::Unsigned,
        help: "Raise the revision by this, above what clients saw after the backup was made. \
               Needs --mark-compacted.",
    },
    Flag {
        name: "mark-compacted",
        default: "false",
        kind: Kind::Boolean,
        help: "Compact up to the raised revision, so that all watches begin anew. Needs \
               --bump-revision.",
    },
    Flag {
        name: "initial-memory-map-size",
        default: "10737418240",
        kind: Kind::Unsigned,
        help: "Accepted for etcdutl's sake: no file is mapped into memory here.",
    },
];

/// The most by which the revision is raised: revisions stay far from the end of their numbers.
const BUMP_MAX: u64 = 1 << 60;

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
enum RestoreError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("{file}: {source}")]
    File {
        file: String,
        #[source]
        source: FileError,
    },
    #[error("{file}: {source}")]
    Content {
        file: String,
        #[source]
        source: InstallError,
    },
    #[error(transparent)]
    Site(#[from] SiteError),
}

/// Run `quorate snapshot restore` with these arguments.
pub(super) fn command(arguments: &[String]) -> ExitCode {
    let given = match args::parse(flags(), arguments, Words::BetweenFlags) {
        Ok(given) if given.is_help => {
            print!("{}", help());
            return ExitCode::SUCCESS;
        }
        Ok(given) => given,
        Err(error) => return args::usage_error(&error, &format!("{RESTORE} --help")),
    };
    let file = match one_file(RESTORE, &given.words) {
        Ok(file) => file.to_owned(),
        Err(code) => return code,
    };
    let asked = match Asked::of(&given) {
        Ok(asked) => asked,
        Err(why) => {
            eprintln!("{RESTORE}: {why}");
            return ExitCode::from(args::EXIT_USAGE);
        }
    };
    match restore(&file, given, asked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => args::failure(&error),
    }
}

fn flags() -> impl Iterator<Item = &'static Flag> + Clone {
    table::flags().filter(|flag| OF_MEMBER.contains(&flag.name)).chain(&FLAGS)
}

fn help() -> String {
    let flags = args::flag_list(flags());
    format!(
        "Usage: {RESTORE} [flags] FILE\n\n  Makes a member of a new cluster of a snapshot of etcd 3.4 \
         to 3.7 or of Quorate. Each first\n  member of the cluster is made of the same file, with \
         its own --name and its own\n  --initial-advertise-peer-urls; then all are started as \
         usual. Keys with their history,\n  leases and alarms stay; members are the new ones.\n\n\
         Flags:\n{flags}"
    )
}

/// What is asked for besides the member.
#[derive(Clone, Copy)]
struct Asked {
    digest: DigestRule,
    revision_bump: i64,
}

impl Asked {
    fn of(given: &Given) -> Result<Self, String> {
        let boolean = |flag: &str| {
            given.values.get(flag).and_then(|value| args::boolean(value)).unwrap_or(false)
        };
        let bump = given.values.get("bump-revision").and_then(|value| args::unsigned(value));
        let bump = bump.unwrap_or(0);
        if (bump > 0) != boolean("mark-compacted") {
            return Err("--bump-revision and --mark-compacted are given together: a higher \
                        revision alone would leave watches in a past that is gone"
                .to_owned());
        }
        if bump > BUMP_MAX {
            return Err(format!("--bump-revision={bump} is too large: give at most {BUMP_MAX}"));
        }
        let digest =
            if boolean("skip-hash-check") { DigestRule::Skip } else { DigestRule::Required };
        Ok(Self { digest, revision_bump: bump.cast_signed() })
    }
}

fn restore(file: &str, given: Given, asked: Asked) -> Result<(), RestoreError> {
    let config = config(given)?;
    founding::check_empty(&config)?;
    let founder = member::founder(&config);
    let content = verify(file, &founder, asked)?;
    let founded = founding::found(&config, &founder, content)?;
    print!("{}", report(file, &config, &founder, &founded));
    Ok(())
}

/// The member, by the rules that hold for one that starts.
fn config(mut given: Given) -> Result<Config, ConfigError> {
    given.values.retain(|flag, _| OF_MEMBER.contains(flag));
    given.words.clear();
    let (config, _) = Config::read(&given)?;
    config.check_initial_cluster()?;
    Ok(config)
}

/// Read all of the file before anything is made of it.
fn verify(
    file: &str,
    founder: &Founder,
    asked: Asked,
) -> Result<Verification<Source>, RestoreError> {
    let progress = Rc::new(Progress::new());
    let source = Source::open(Path::new(file), progress.clone())?;
    let bytes = source.bytes();
    progress.begin("compared with its SHA-256", bytes);
    let snapshot = SnapshotFile::open(source, asked.digest)
        .map_err(|source| RestoreError::File { file: file.to_owned(), source })?;
    progress.begin("looked through", bytes);
    let content = founder
        .verify(snapshot, asked.revision_bump)
        .map_err(|source| RestoreError::Content { file: file.to_owned(), source })?;
    progress.begin("taken over", bytes);
    Ok(content)
}

fn report(file: &str, config: &Config, founder: &Founder, founded: &Founded) -> String {
    let Founded { revision, compact_revision, keys, leases, state_hash } = *founded;
    let compacted = match compact_revision {
        revision if revision > 0 => format!(", compacted up to {revision}"),
        _ => String::new(),
    };
    format!(
        "Restored {file} to {directory}\n\
         Revision {revision}{compacted}; keys {keys}, leases {leases}\n\
         Member {member} ({name}) of cluster {cluster}, whose first members are {members}\n\
         State hash {state_hash:016x}, the same on all of them\n",
        directory = config.data_dir.display(),
        name = config.name,
        member = format_id(founder.member),
        cluster = format_id(founder.cluster),
        members = founder.members.len(),
    )
}
