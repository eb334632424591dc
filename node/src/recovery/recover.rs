//! `quorate recover`.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use quorate_api::identity::format_id;
use quorate_member::applier;
use quorate_replica::wire;
use quorate_store::snapshot::{DigestRule, SnapshotStream, Step, StreamError, Trailer, capture};
use quorate_store::store::Store;

use super::choose::{Candidate, ChoiceError, Damaged, choose, losses};
use super::look::{LookError, Survivor};
use crate::args::{self, Flag, Given, Kind, Words};
use crate::backup::progress::Progress;
use crate::backup::restore::{self, Aim, RestoreError, Target};
use crate::backup::save::{Part, PartError};
use crate::backup::source::Source;

const RECOVER: &str = "quorate recover";

static FLAGS: [Flag; 2] = [
    Flag {
        name: "save",
        default: "",
        kind: Kind::Text,
        help: "Write a backup to this file instead of making a member: quorate snapshot restore \
               then makes members of it, wherever they are.",
    },
    Flag {
        name: "allow-damaged",
        default: "false",
        kind: Kind::Boolean,
        help: "Take a directory whose log is damaged if no whole one has as much. What the \
               damaged part held is lost.",
    },
];

/// Why nothing was recovered.
#[derive(Debug, thiserror::Error)]
enum RecoverError {
    #[error(transparent)]
    Look(#[from] LookError),
    #[error(transparent)]
    Choice(#[from] ChoiceError),
    #[error("{}: {why}", path.display())]
    Content { path: PathBuf, why: String },
    #[error("{}: {source}", path.display())]
    Stream { path: PathBuf, source: StreamError },
    #[error(transparent)]
    Part(#[from] PartError),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Restore(#[from] RestoreError),
}

/// Run `quorate recover` with these arguments.
pub(crate) fn recover_command(arguments: &[String]) -> ExitCode {
    let flags = FLAGS.iter().chain(restore::flags_of_new_cluster());
    let given = match args::parse(flags.clone(), arguments, Words::BetweenFlags) {
        Ok(given) if given.is_help => {
            print!("{}", help());
            return ExitCode::SUCCESS;
        }
        Ok(given) => given,
        Err(error) => return args::usage_error(&error, &format!("{RECOVER} --help")),
    };
    let usage = |why: &str| {
        eprintln!("{RECOVER}: {why}");
        ExitCode::from(args::EXIT_USAGE)
    };
    if given.words.is_empty() {
        return usage("give the data directories that are left, or copies; see --help");
    }
    let bump = match restore::bump(&given) {
        Ok(bump) => bump,
        Err(why) => return usage(&why),
    };
    if saves_to(&given).is_some() && given.values.keys().any(|flag| !OF_SAVING.contains(flag)) {
        return usage("--save makes no member: its flags are for quorate snapshot restore");
    }
    match recover(given, bump) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => args::failure(&error),
    }
}

/// The flags that go with `--save`.
const OF_SAVING: [&str; 2] = ["save", "allow-damaged"];

fn help() -> String {
    let flags = FLAGS.iter().chain(restore::flags_of_new_cluster());
    format!(
        "Usage: {RECOVER} [flags] DATA_DIR …\n\n  Makes a new cluster of what is left of one that \
         lost its majority for ever. Of the data\n  directories, or copies of them, it takes the \
         one that Raft would elect, with all that its log\n  holds, and makes a member of a new \
         cluster of it, or with --save a backup. Nothing in the\n  directories is changed; their \
         members must not run.\n\nFlags:\n{}",
        args::flag_list(flags)
    )
}

fn saves_to(given: &Given) -> Option<PathBuf> {
    given.values.get("save").filter(|file| !file.is_empty()).map(PathBuf::from)
}

fn recover(given: Given, bump: i64) -> Result<(), RecoverError> {
    let is_allowed = given.values.get("allow-damaged").and_then(|value| args::boolean(value));
    let damaged = if is_allowed == Some(true) { Damaged::Allowed } else { Damaged::Refused };
    let saves_to = saves_to(&given);
    let words = given.words.clone();
    // Where to, before the work begins.
    let target = match saves_to {
        Some(_) => None,
        None => match Target::of(given)? {
            Aim::Member(target) => Some(target),
            Aim::Nothing(why) => {
                print!("{why}");
                return Ok(());
            }
        },
    };
    let mut survivors = Vec::new();
    for path in &words {
        survivors.push(Survivor::look(Path::new(path))?);
    }
    let candidates: Vec<Candidate> = survivors.iter().map(candidate).collect();
    let chosen = choose(&candidates, damaged)?;
    for line in describe(&survivors, &candidates, chosen) {
        println!("{line}");
    }
    let best = survivors.swap_remove(chosen);
    let path = best.path.clone();
    let content = |why| RecoverError::Content { path: path.clone(), why };
    let mut store = best.into_store().map_err(content)?;
    let voters = store.members().iter().filter(|member| !member.is_learner);
    let voters: BTreeSet<u64> = voters.map(|member| member.id).collect();
    for line in losses(&candidates, chosen, &voters) {
        println!("{line}");
    }
    match (saves_to, target) {
        (Some(file), _) => {
            save(&path, &mut store, &file)?;
            println!("Saved a backup at {}", file.display());
        }
        (None, Some(target)) => print!("{}", make(&path, &mut store, &target, bump)?),
        (None, None) => unreachable!("without a file there is a target"),
    }
    Ok(())
}

fn candidate(survivor: &Survivor) -> Candidate {
    let looked = &survivor.looked;
    let (index, term) = looked.last;
    Candidate {
        cluster: looked.identity.cluster_id,
        member: looked.identity.member_id,
        last: (term, index),
        is_whole: survivor.damage().is_none(),
        has_store: looked.store.is_ok(),
    }
}

fn describe(survivors: &[Survivor], candidates: &[Candidate], chosen: usize) -> Vec<String> {
    let line = |(at, (survivor, candidate)): (usize, (&Survivor, &Candidate))| {
        let (term, index) = candidate.last;
        let damage = survivor.damage().map(|what| format!("; {what}")).unwrap_or_default();
        let taken = if at == chosen { "taken" } else { "not taken" };
        format!(
            "{}: member {} of cluster {}, last entry {index} of term {term}{damage}: {taken}",
            survivor.path.display(),
            format_id(candidate.member),
            format_id(candidate.cluster),
        )
    };
    survivors.iter().zip(candidates).enumerate().map(line).collect()
}

fn stream(store: &mut Store, trailer: Trailer) -> SnapshotStream {
    let conf_state = wire::conf_state_to_pb(&applier::conf_state(store));
    capture(store, &conf_state, trailer)
}

/// Give all of a stream to `take`.
fn drain(
    path: &Path,
    mut stream: SnapshotStream,
    mut take: impl FnMut(&[u8]) -> Result<(), RecoverError>,
) -> Result<(), RecoverError> {
    let progress = Progress::new();
    progress.begin("read", 0);
    loop {
        let failed = |source| RecoverError::Stream { path: path.to_owned(), source };
        match stream.step().map_err(failed)? {
            Step::Again => {}
            Step::Chunk(chunk) => {
                take(&chunk)?;
                progress.add(chunk.len() as u64);
            }
            Step::End => return Ok(()),
        }
    }
}

fn save(path: &Path, store: &mut Store, file: &Path) -> Result<(), RecoverError> {
    let mut part = Part::create(file)?;
    drain(path, stream(store, Trailer::Sha256), |bytes| Ok(part.write(bytes)?))?;
    assert!(part.is_whole(), "the stream ends with its digest");
    Ok(part.name(file)?)
}

/// Make the member, by way of a file without a name.
fn make(
    path: &Path,
    store: &mut Store,
    target: &Target,
    bump: i64,
) -> Result<String, RecoverError> {
    let folder = &target.config.data_dir;
    let failed = |source| RecoverError::Io { path: folder.clone(), source };
    let mut file = nameless(folder).map_err(failed)?;
    drain(path, stream(store, Trailer::None), |bytes| file.write_all(bytes).map_err(failed))?;
    let progress = Rc::new(Progress::new());
    let source = Source::of(file, progress.clone()).map_err(failed)?;
    let name = path.display().to_string();
    Ok(target.make(&name, source, DigestRule::IfPresent, bump, &progress)?)
}

/// A file in a folder that is gone when it is closed, however that comes about.
fn nameless(folder: &Path) -> io::Result<File> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let path = folder.join("recovering");
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}
