//! `quorate snapshot restore`.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;

use quorate_api::identity::format_id;
use quorate_member::founding::{Founded, Founder};
use quorate_store::snapshot::{DigestRule, FileError, InstallError, SnapshotFile};

use super::one_file;
use super::progress::Progress;
use super::source::{Source, SourceError};
use crate::args::{self, Flag, Given, Kind, Words, table};
use crate::config::{ClusterState, Config, ConfigError};
use crate::founding::{self, SiteError};
use crate::member;

const RESTORE: &str = "quorate snapshot restore";

/// The flags that a member has, too.
const OF_MEMBER: [&str; 8] = [
    "initial-cluster-state",
    "data-dir",
    "wal-dir",
    "segment-bytes",
    "name",
    "initial-cluster",
    "initial-cluster-token",
    "initial-advertise-peer-urls",
];

/// Those of the file.
static FLAGS: [Flag; 3] = [
    Flag {
        name: "remove-file",
        default: "false",
        kind: Kind::Boolean,
        help: "Remove FILE when there is a member of it.",
    },
    Flag {
        name: "skip-hash-check",
        default: "false",
        kind: Kind::Boolean,
        help: "Do without the SHA-256 at the file's end, which the database of a data directory of \
               etcd's does not have.",
    },
    Flag {
        name: "initial-memory-map-size",
        default: "10737418240",
        kind: Kind::Unsigned,
        help: "Accepted for etcdutl's sake: no file is mapped into memory here.",
    },
];

/// Those of the revision.
static BUMP: [Flag; 2] = [
    Flag {
        name: "bump-revision",
        default: "0",
        kind: Kind::Unsigned,
        help: "Raise the revision by this, above what clients saw and what is not there any more. \
               Needs --mark-compacted.",
    },
    Flag {
        name: "mark-compacted",
        default: "false",
        kind: Kind::Boolean,
        help: "Compact up to the raised revision, so that all watches begin anew. Needs \
               --bump-revision.",
    },
];

/// For whoever makes the member whenever it is started, such as a container before the member's.
static REPEATED: [Flag; 1] = [Flag {
    name: "unless-member",
    default: "false",
    kind: Kind::Boolean,
    help: "Do nothing if there is a member in --data-dir already, or if \
           --initial-cluster-state=existing says that an empty directory is not to become a new \
           cluster.",
}];

/// The most by which the revision is raised: revisions stay far from the end of their numbers.
const BUMP_MAX: u64 = 1 << 60;

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
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
    #[error(
        "--initial-cluster-state=existing asks for a member of a cluster that runs, and what is made \
         here begins one; with --unless-member nothing is done then"
    )]
    Existing,
    #[error("{file}: cannot be removed: {source}")]
    Removal { file: String, source: io::Error },
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
    let bump = match bump(&given) {
        Ok(bump) => bump,
        Err(why) => {
            eprintln!("{RESTORE}: {why}");
            return ExitCode::from(args::EXIT_USAGE);
        }
    };
    match restore(&file, given, bump) {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => args::failure(&error),
    }
}

fn flags() -> impl Iterator<Item = &'static Flag> + Clone {
    flags_of_new_cluster().chain(&FLAGS)
}

/// The flags that say which member of which new cluster is made, and of what revision.
pub(crate) fn flags_of_new_cluster() -> impl Iterator<Item = &'static Flag> + Clone {
    table::flags().filter(|flag| OF_MEMBER.contains(&flag.name)).chain(&BUMP).chain(&REPEATED)
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

/// By how much the revision is raised.
///
/// # Errors
/// What is asked for wrongly.
pub(crate) fn bump(given: &Given) -> Result<i64, String> {
    let bump = given.values.get("bump-revision").and_then(|value| args::unsigned(value));
    let bump = bump.unwrap_or(0);
    if (bump > 0) != is_on(given, "mark-compacted") {
        return Err("--bump-revision and --mark-compacted are given together: a higher revision \
                    alone would leave watches in a past that is gone"
            .to_owned());
    }
    if bump > BUMP_MAX {
        return Err(format!("--bump-revision={bump} is too large: give at most {BUMP_MAX}"));
    }
    Ok(bump.cast_signed())
}

fn is_on(given: &Given, flag: &str) -> bool {
    given.values.get(flag).and_then(|value| args::boolean(value)).unwrap_or(false)
}

fn restore(file: &str, given: Given, bump: i64) -> Result<String, RestoreError> {
    let digest =
        if is_on(&given, "skip-hash-check") { DigestRule::Skip } else { DigestRule::Required };
    let removes = is_on(&given, "remove-file");
    let report = match Target::of(given)? {
        Aim::Nothing(why) => why,
        Aim::Member(target) => {
            let progress = Rc::new(Progress::new());
            let source = Source::open(Path::new(file), progress.clone())?;
            target.make(file, source, digest, bump, &progress)?
        }
    };
    if removes {
        remove(file)?;
    }
    Ok(report)
}

/// Gone already is as good.
fn remove(file: &str) -> Result<(), RestoreError> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => {
            removed.map_err(|source| RestoreError::Removal { file: file.to_owned(), source })
        }
    }
}

/// What is to be made.
pub(crate) enum Aim {
    /// A member.
    Member(Box<Target>),
    /// None, and why.
    Nothing(String),
}

/// A member that is to be made.
pub(crate) struct Target {
    pub(crate) config: Config,
    founder: Founder,
}

impl Target {
    /// The member, by the rules that hold for one that starts; there is nothing in its directory.
    ///
    /// # Errors
    /// What does not hold.
    pub(crate) fn of(mut given: Given) -> Result<Aim, RestoreError> {
        let is_repeated = is_on(&given, "unless-member");
        given.values.retain(|flag, _| OF_MEMBER.contains(flag));
        given.words.clear();
        let (config, _) = Config::read(&given)?;
        let is_existing = config.initial_cluster_state == ClusterState::Existing;
        if is_repeated && founding::is_founded(&config) {
            let folder = config.data_dir.display();
            return Ok(Aim::Nothing(format!("{folder} has a member: nothing is done\n")));
        }
        if is_repeated && is_existing {
            return Ok(Aim::Nothing(
                "The member is to join a cluster that runs: nothing is done\n".to_owned(),
            ));
        }
        if is_existing {
            return Err(RestoreError::Existing);
        }
        config.check_initial_cluster()?;
        founding::check_empty(&config)?;
        let founder = member::founder(&config);
        Ok(Aim::Member(Box::new(Self { config, founder })))
    }

    /// Make it of a file, all of which is read before anything is made; what to tell people.
    ///
    /// # Errors
    /// What is wrong with the file, or the directory.
    pub(crate) fn make(
        &self,
        file: &str,
        source: Source,
        digest: DigestRule,
        bump: i64,
        progress: &Progress,
    ) -> Result<String, RestoreError> {
        let bytes = source.bytes();
        progress.begin("compared with its SHA-256", bytes);
        let snapshot = SnapshotFile::open(source, digest)
            .map_err(|source| RestoreError::File { file: file.to_owned(), source })?;
        progress.begin("looked through", bytes);
        let content = self
            .founder
            .verify(snapshot, bump)
            .map_err(|source| RestoreError::Content { file: file.to_owned(), source })?;
        progress.begin("taken over", bytes);
        let founded = founding::found(&self.config, &self.founder, content)?;
        Ok(report(file, &self.config, &self.founder, &founded))
    }
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
