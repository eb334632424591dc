//! What pods of the operator run: one task, to its end.
//!
//! `quorate-operator task [--root DIR] [--report FILE] [--patience SECONDS] TASK`
//!
//! It knows nothing of Kubernetes. What it needs are files of its pod; what it has to say goes into
//! the report, and how far it is onto standard output. It ends with 0 if the task is done.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use super::cause::{Cause, Failure};
use super::snapshot::{self, Snapshot};
use super::store::{self, Root};
use super::task::{KeyHash, Metadata, Place, Progress, Report, Task};
use super::transfer::{self, Remote};
use super::{endpoint, place};

/// Where Kubernetes looks for a container's last message.
const REPORT: &str = "/dev/termination-log";
/// How long requests to a destination are repeated.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a member that was made of a backup may take until it serves.
const SERVING: Duration = Duration::from_secs(900);
/// How long a member may take to hash all of its keys.
const HASH_TIMEOUT: Duration = Duration::from_secs(600);
/// Between two lines that say how far it is.
const PACE: Duration = Duration::from_secs(2);

/// The environment variable by which a member's pod says whether an empty volume may become a
/// cluster; where it may not, nothing is fetched for it.
pub const STATE: &str = "QUORATE_INITIAL_CLUSTER_STATE";

/// What a task is run with.
#[derive(Debug)]
struct Settings {
    root: PathBuf,
    report: PathBuf,
    patience: Duration,
    task: Task,
}

/// Run a task with these arguments, in a process of its own.
pub fn command(arguments: &[&str]) -> ExitCode {
    let settings = match Settings::read(arguments) {
        Ok(settings) => settings,
        Err(why) => {
            eprintln!("quorate-operator task: {why}");
            return ExitCode::from(2);
        }
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let report = match runtime {
        Ok(runtime) => runtime.block_on(until_told(&settings)),
        Err(error) => Report::Failed(Failure::new(Cause::PodFailed, error)),
    };
    let text = serde_json::to_string(&report).unwrap_or_default();
    if let Err(error) = std::fs::write(&settings.report, &text) {
        eprintln!("{}: {error}", settings.report.display());
    }
    println!("{text}");
    match report {
        Report::Saved(_) | Report::Done => ExitCode::SUCCESS,
        Report::Failed(_) => ExitCode::FAILURE,
    }
}

impl Settings {
    fn read(arguments: &[&str]) -> Result<Self, String> {
        let (mut root, mut report, mut patience) =
            (PathBuf::from("/"), PathBuf::from(REPORT), PATIENCE);
        let mut task = None;
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().copied().ok_or_else(|| format!("{word} needs a value"));
            match *word {
                "--root" => root = PathBuf::from(value()?),
                "--report" => report = PathBuf::from(value()?),
                "--patience" => {
                    let seconds = value()?;
                    let seconds =
                        seconds.parse().map_err(|_| format!("{seconds:?} is no number"))?;
                    patience = Duration::from_secs(seconds);
                }
                text if task.is_none() => {
                    let read = serde_json::from_str(text);
                    task = Some(read.map_err(|error| format!("{text:?} is no task: {error}"))?);
                }
                text => return Err(format!("{text:?} is one word too many")),
            }
        }
        let task = task.ok_or("give a task, as JSON")?;
        Ok(Self { root, report, patience, task })
    }
}

/// Run it, but end in good order when told to: what was sent and has no name yet is given up.
async fn until_told(settings: &Settings) -> Report {
    let interrupted = || Failure::new(Cause::Interrupted, "the pod was told to end");
    let told = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            // It ends without good order then.
            Err(_) => std::future::pending().await,
        }
    };
    let report = match &settings.task {
        Task::Save { .. } => run(settings, told).await,
        Task::Fetch { .. } | Task::Copy { .. } | Task::Remove { .. } | Task::Compare { .. } => {
            tokio::select! {
                report = run(settings, std::future::pending()) => report,
                () = told => Err(interrupted()),
            }
        }
    };
    report.unwrap_or_else(Report::Failed)
}

async fn run(settings: &Settings, told: impl Future<Output = ()>) -> Result<Report, Failure> {
    let Settings { root, report: _, patience, task } = settings;
    let root = Root(root);
    let files = root.path(place::CLIENT);
    let open = |place: &Place| -> Result<Remote, Failure> {
        let store = store::open(&place.destination, root, *patience)?;
        Ok(Remote { store, object: place.object.clone() })
    };
    let mut telling = Telling::default();
    match task {
        Task::Save { source, place, about } => {
            let remote = open(place)?;
            store::sweep(&place.destination, &place.object, root);
            let snapshot = Snapshot::open(source, &files).await?;
            let saved = transfer::save(snapshot, &remote, about, told, |bytes, total| {
                telling.tell(bytes, total);
            });
            Ok(Report::Saved(saved.await?))
        }
        Task::Fetch { .. } | Task::Copy { .. } if is_existing() => Ok(Report::Done),
        Task::Fetch { place, into, sha256 } => {
            let remote = open(place)?;
            let known = match sha256 {
                Some(sha256) => Some(sha256.clone()),
                // A file that others have made has nothing beside it.
                None => remote.metadata().await?.map(|metadata| metadata.sha256),
            };
            let into = root.path(&into.to_string_lossy());
            let fetched = transfer::fetch(&remote, &into, known.as_deref(), |bytes, total| {
                telling.tell(bytes, total);
            });
            fetched.await.map(|()| Report::Done)
        }
        Task::Copy { source, into } => {
            let into = root.path(&into.to_string_lossy());
            let snapshot = Snapshot::open(source, &files).await?;
            let copied = transfer::copy(snapshot, &into, |bytes, total| telling.tell(bytes, total));
            copied.await.map(|()| Report::Done)
        }
        Task::Remove { place } => open(place)?.remove().await.map(|()| Report::Done),
        Task::Compare { place, endpoint } => {
            let metadata = open(place)?.metadata().await?.ok_or_else(|| {
                let name = place::beside(&place.object);
                Failure::new(Cause::NoSuchObject, format!("{name} is not there"))
            })?;
            compare(&metadata, endpoint, &files).await.map(|()| Report::Done)
        }
    }
}

/// Whether the pod is one of a member that joins a cluster.
fn is_existing() -> bool {
    std::env::var(STATE).is_ok_and(|state| state == "existing")
}

/// Whether a member has what a backup was made of.
async fn compare(metadata: &Metadata, endpoint: &str, files: &Path) -> Result<(), Failure> {
    let Some(expected) = metadata.hash else {
        let text = "the member told no hash when the backup was made: there is nothing to compare";
        return Err(Failure::new(Cause::Misconfigured, text));
    };
    let client = endpoint::client(endpoint, files, HASH_TIMEOUT)?;
    let began = Instant::now();
    let status = loop {
        match client.status().await {
            Ok(status) if status.leader != 0 => break status,
            Ok(_) | Err(_) if began.elapsed() < SERVING => {
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            Ok(_) => {
                let text = "the member that was made of the backup does not serve";
                return Err(Failure::new(Cause::NotRestorable, text));
            }
            Err(error) => {
                let text = format!("the member that was made of the backup: {error}");
                return Err(Failure::new(Cause::NotRestorable, text));
            }
        }
    };
    let revision = status.header.map_or(0, |header| header.revision);
    // It may be further already: leases end there, too.
    if revision < metadata.revision {
        let text = format!("it has revision {revision} and not {}", metadata.revision);
        return Err(Failure::new(Cause::Differs, text));
    }
    let found = snapshot::of_member(&client, metadata.revision).await;
    let found = found.map_err(|error| Failure::of_member(endpoint, &error))?;
    judge(expected, found)
}

/// Hashes are those of one thing only if the same history was forgotten.
fn judge(expected: KeyHash, found: KeyHash) -> Result<(), Failure> {
    if expected.compact_revision != found.compact_revision {
        let text = format!(
            "history was compacted up to {} just when the backup was made, and it has it from {}: \
             the hashes are not comparable",
            expected.compact_revision, found.compact_revision
        );
        return Err(Failure::new(Cause::Misconfigured, text));
    }
    if expected.hash != found.hash {
        let text = format!("the hash of its keys is {:x} and not {:x}", found.hash, expected.hash);
        return Err(Failure::new(Cause::Differs, text));
    }
    Ok(())
}

/// Says how far it is, from time to time.
#[derive(Default)]
struct Telling {
    last: Option<Instant>,
}

impl Telling {
    fn tell(&mut self, bytes: u64, total: u64) {
        if self.last.is_some_and(|last| last.elapsed() < PACE) {
            return;
        }
        self.last = Some(Instant::now());
        if let Ok(line) = serde_json::to_string(&Progress { bytes, total }) {
            println!("{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cause, KeyHash, Settings, judge};

    #[test]
    fn arguments_are_read_or_refused() {
        let task = r#"{"task":"copy","source":{"endpoints":["http://a"]},"into":"/x"}"#;
        let read = Settings::read(&["--root", "/r", "--patience", "3", task]).expect("read");
        assert_eq!((read.root.to_str(), read.patience.as_secs()), (Some("/r"), 3));
        for (arguments, said) in [
            (&["--root"][..], "needs a value"),
            (&[], "give a task"),
            (&["{}"], "no task"),
            (&["--patience", "long", task], "no number"),
            (&[task, "more"], "too many"),
        ] {
            let error = Settings::read(arguments).expect_err("refused");
            assert!(error.contains(said), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn hashes_are_compared_where_they_can_be() {
        let hash = |hash, compact_revision| KeyHash { hash, revision: 9, compact_revision };
        assert_eq!(judge(hash(1, 3), hash(1, 3)), Ok(()));
        let cause = |expected, found| judge(expected, found).map_err(|failure| failure.cause);
        assert_eq!(cause(hash(1, 3), hash(2, 3)), Err(Cause::Differs));
        assert_eq!(cause(hash(1, 4), hash(2, 3)), Err(Cause::Misconfigured));
    }
}
