//! What to do next about one backup: from values to a value.
//!
//! ```text
//!   Pending ── attempt written down ─▶ Running ─▶ Completed ── asked to prove it ─▶ verified
//!      ▲                                  │
//!      └──── failed, after a pause ───────┘ ── failed too often ─▶ Failed
//!   being deleted: Deleting ── the file is gone, or stays ─▶ no finalizer
//! ```
//! An attempt is counted before its pod is made, and the pod's name has its number: who begins anew
//! finds the pod, or makes it. The cluster's objects are never touched from here.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use quorate_operator_api::{
    BackupPhase, BackupStatus, ConditionType, DeletionPolicy, Destination, QuorateBackup,
    QuorateCluster,
};

use super::cause::{Cause, Failure};
use super::place;
use super::task::{Metadata, Report};
use crate::kubernetes::Severity;

/// Attempts at most: with their pauses, they take a bit more than an hour.
pub const ATTEMPTS_MAX: i32 = 12;
/// The pause after the first failure; it doubles.
const PAUSE_MIN: SignedDuration = SignedDuration::from_secs(10);
/// The longest pause.
const PAUSE_MAX: SignedDuration = SignedDuration::from_mins(10);
/// How long a pod may take to start before something is wrong with it.
const START_MAX: SignedDuration = SignedDuration::from_mins(10);
/// When to look again at what is under way.
const SOON: SignedDuration = SignedDuration::from_secs(5);
/// When to look again at what waits for somebody.
const LATER: SignedDuration = SignedDuration::from_secs(30);

/// The annotation of a backup that asks for it to be restored into a member that is thrown away, to
/// see that it can be. Its value is a time: asked for once after it.
pub const VERIFY: &str = "quorate.io/verify";
/// What keeps a resource until its file is gone, or is to stay.
pub const FINALIZER: &str = "quorate.io/backup-file";
/// The condition that says whether the backup is there.
pub const COMPLETE: &str = "Complete";
/// The condition that says whether it could be restored.
pub const VERIFIED: &str = "Verified";

/// For what a pod of the operator is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// The attempt of this number to make the backup.
    Save(i32),
    /// The attempt of this number to delete its file.
    Remove(i32),
    /// To restore it into a member that is thrown away.
    Verify,
}

/// A pod of the operator, as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum PodSeen {
    /// There is none.
    #[default]
    Absent,
    /// It does not run yet.
    Waiting {
        /// Since when.
        since: Option<Timestamp>,
        /// What keeps it from running, if something says so.
        trouble: Option<String>,
    },
    /// It runs, and has done so many bytes, if it has said.
    Running(Option<u64>),
    /// It has ended with this.
    Ended(Report),
}

/// Everything that a plan is made of.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The backup.
    pub backup: &'a QuorateBackup,
    /// Its cluster, if there is one.
    pub cluster: Option<&'a QuorateCluster>,
    /// What is missing that a pod would need.
    pub missing: Option<Failure>,
    /// The pod of the errand that is under way.
    pub pod: PodSeen,
    /// Whether there is another pod of the backup, which has to end first.
    pub is_crowded: bool,
    /// The time.
    pub now: Timestamp,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Rest,
    /// Keep the resource until its file is dealt with.
    Hold,
    /// Let the resource go.
    Release,
    /// Have a pod for this.
    Begin(Errand),
    /// Delete the pods of the backup.
    Clear,
}

/// Something that a person would want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether somebody should look.
    pub severity: Severity,
    /// In one word.
    pub reason: String,
    /// In words.
    pub text: String,
}

/// What a look comes to. The status is written before the act.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What the status says then.
    pub status: BackupStatus,
    /// What to do.
    pub act: Act,
    /// What to tell.
    pub note: Option<Note>,
    /// When to look again, if nothing happens before; `None` for not.
    pub again: Option<SignedDuration>,
}

/// The errand whose pod is to be looked for.
#[must_use]
pub fn errand(backup: &QuorateBackup) -> Option<Errand> {
    let status = backup.status.clone().unwrap_or_default();
    let attempts = status.attempts.unwrap_or_default();
    match status.phase {
        BackupPhase::Deleting => Some(Errand::Remove(attempts)),
        _ if backup.metadata.deletion_timestamp.is_some() => None,
        BackupPhase::Running => Some(Errand::Save(attempts)),
        BackupPhase::Completed if is_asked(backup, &status) => Some(Errand::Verify),
        BackupPhase::Pending | BackupPhase::Completed | BackupPhase::Failed => None,
    }
}

/// Where a backup goes: what was written down, or what is said now.
#[must_use]
pub fn destination<'a>(
    backup: &'a QuorateBackup,
    cluster: Option<&'a QuorateCluster>,
) -> Option<&'a Destination> {
    let written = backup.status.as_ref().and_then(|status| status.destination.as_ref());
    let of_cluster = || cluster?.spec.backup.as_ref().map(|backups| &backups.destination);
    written.or(backup.spec.destination.as_ref()).or_else(of_cluster)
}

/// What to do next.
#[must_use]
pub fn plan(seen: &Seen<'_>) -> Plan {
    let status = seen.backup.status.clone().unwrap_or_default();
    if seen.backup.metadata.deletion_timestamp.is_some() {
        return delete(seen, status);
    }
    match status.phase {
        BackupPhase::Pending => pending(seen, status),
        BackupPhase::Running => running(seen, status),
        BackupPhase::Completed => completed(seen, status),
        BackupPhase::Failed | BackupPhase::Deleting => rest(status),
    }
}

fn rest(status: BackupStatus) -> Plan {
    Plan { status, act: Act::Rest, note: None, again: None }
}

fn after(status: BackupStatus, act: Act, again: SignedDuration) -> Plan {
    Plan { status, act, note: None, again: Some(again) }
}

/// It waits for the cluster, for what a pod needs, or for the end of a pause.
fn pending(seen: &Seen<'_>, mut status: BackupStatus) -> Plan {
    if !is_held(seen.backup) {
        return after(status, Act::Hold, SignedDuration::ZERO);
    }
    let pause = status.retry_at.as_ref().map(|time| time.0.duration_since(seen.now));
    if let Some(pause) = pause.filter(|pause| pause.is_positive()) {
        let act = if seen.is_crowded { Act::Clear } else { Act::Rest };
        return after(status, act, pause);
    }
    if let Err((reason, text)) = ready(seen) {
        let note = say(seen, &mut status, COMPLETE, None, reason, &text)
            .then(|| note(Severity::Warning, "BackupWaits", &text));
        return Plan { note, ..after(status, Act::Rest, LATER) };
    }
    if seen.is_crowded {
        return after(status, Act::Clear, SOON);
    }
    let Some(destination) = destination(seen.backup, seen.cluster) else {
        return after(status, Act::Rest, LATER);
    };
    let attempt = status.attempts.unwrap_or_default().saturating_add(1);
    let metadata = &seen.backup.metadata;
    let created = metadata.creation_timestamp.as_ref().map_or(seen.now, |time| time.0);
    let object = place::object(
        destination,
        metadata.namespace.as_deref().unwrap_or_default(),
        &seen.backup.spec.cluster.0,
        metadata.name.as_deref().unwrap_or_default(),
        created,
    );
    let uri = place::uri(destination, &object);
    let text = format!("attempt {attempt}: to {uri}");
    say(seen, &mut status, COMPLETE, None, "Running", &text);
    status.destination = Some(destination.clone());
    status.phase = BackupPhase::Running;
    status.attempts = Some(attempt);
    status.retry_at = None;
    status.size_bytes = None;
    status.started_at = Some(Time(seen.now));
    status.uri = Some(uri);
    status.object = Some(object);
    let note = (attempt == 1).then(|| note(Severity::Normal, "BackupStarted", &text));
    Plan { note, ..after(status, Act::Begin(Errand::Save(attempt)), SOON) }
}

/// What keeps it from being begun.
fn ready(seen: &Seen<'_>) -> Result<(), (&'static str, String)> {
    let name = &seen.backup.spec.cluster.0;
    let Some(cluster) = seen.cluster else {
        return Err(("NoCluster", format!("there is no QuorateCluster {name} in this namespace")));
    };
    if destination(seen.backup, seen.cluster).is_none() {
        let text = format!("neither this resource nor spec.backup of {name} names a destination");
        return Err(("NoDestination", text));
    }
    if let Some(missing) = &seen.missing {
        return Err((missing.cause.as_str(), missing.message.clone()));
    }
    if !is_available(cluster) {
        return Err(("ClusterUnavailable", format!("{name} serves no reads now")));
    }
    Ok(())
}

/// Whether a cluster serves, as its status says.
#[must_use]
pub fn is_available(cluster: &QuorateCluster) -> bool {
    let conditions = cluster.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|condition| {
        condition.type_ == ConditionType::Available.as_str() && condition.status == "True"
    })
}

fn running(seen: &Seen<'_>, mut status: BackupStatus) -> Plan {
    let attempt = status.attempts.unwrap_or_default();
    match &seen.pod {
        PodSeen::Absent => match seen.cluster {
            Some(_) => after(status, Act::Begin(Errand::Save(attempt)), SOON),
            None => {
                let text = format!("{} is gone", seen.backup.spec.cluster.0);
                failed(seen, status, &Failure::new(Cause::MemberUnreachable, text))
            }
        },
        PodSeen::Waiting { since, trouble } => match overdue(seen, *since, trouble.as_deref()) {
            Some(failure) => failed(seen, status, &failure),
            None => after(status, Act::Rest, SOON),
        },
        PodSeen::Running(bytes) => {
            let bytes = bytes.and_then(|bytes| i64::try_from(bytes).ok());
            status.size_bytes = bytes.or(status.size_bytes);
            after(status, Act::Rest, SOON)
        }
        PodSeen::Ended(Report::Saved(metadata)) => saved(seen, status, metadata),
        PodSeen::Ended(Report::Failed(failure)) => failed(seen, status, failure),
        PodSeen::Ended(Report::Done) => {
            let text = "the pod ended without saying what it has saved";
            failed(seen, status, &Failure::new(Cause::PodFailed, text))
        }
    }
}

/// A pod that has had the time to start.
fn overdue(seen: &Seen<'_>, since: Option<Timestamp>, trouble: Option<&str>) -> Option<Failure> {
    let waited = since.map(|since| seen.now.duration_since(since))?;
    (waited >= START_MAX).then(|| {
        let trouble = trouble.unwrap_or("it is not said why");
        let minutes = START_MAX.as_mins();
        Failure::new(
            Cause::PodDoesNotRun,
            format!("the pod has not started for {minutes} minutes: {trouble}"),
        )
    })
}

fn saved(seen: &Seen<'_>, mut status: BackupStatus, metadata: &Metadata) -> Plan {
    status.phase = BackupPhase::Completed;
    status.size_bytes = i64::try_from(metadata.size_bytes).ok();
    status.sha256 = Some(metadata.sha256.clone());
    status.revision = Some(metadata.revision);
    status.cluster_id = Some(metadata.cluster_id.clone());
    status.version = metadata.about.version.clone();
    status.completed_at = Some(Time(seen.now));
    let uri = status.uri.clone().unwrap_or_default();
    let text =
        format!("{} bytes up to revision {} are at {uri}", metadata.size_bytes, metadata.revision);
    say(seen, &mut status, COMPLETE, Some(true), "Completed", &text);
    let note = Some(note(Severity::Normal, "BackupCompleted", &text));
    Plan { note, ..after(status, Act::Clear, SOON) }
}

fn failed(seen: &Seen<'_>, mut status: BackupStatus, failure: &Failure) -> Plan {
    let attempt = status.attempts.unwrap_or_default();
    let is_last = attempt >= ATTEMPTS_MAX;
    status.size_bytes = None;
    let (phase, reason, text) = if is_last {
        let text = format!("{}; it was tried {attempt} times and is given up", failure.message);
        (BackupPhase::Failed, "BackupFailed", text)
    } else {
        let pause = pause(attempt);
        status.retry_at = seen.now.checked_add(pause).ok().map(Time);
        let text = format!("{}; it is tried again in {} s", failure.message, pause.as_secs());
        (BackupPhase::Pending, "BackupAttemptFailed", text)
    };
    status.phase = phase;
    say(seen, &mut status, COMPLETE, Some(false), failure.cause.as_str(), &failure.message);
    let note = Some(note(Severity::Warning, reason, &format!("{}: {text}", failure.cause)));
    Plan { note, ..after(status, Act::Clear, SOON) }
}

/// The pause after so many failures.
fn pause(failures: i32) -> SignedDuration {
    let doubled = u32::try_from(failures.saturating_sub(1)).unwrap_or_default().min(10);
    PAUSE_MIN.saturating_mul(1 << doubled).min(PAUSE_MAX)
}

/// It is there, and may be asked to prove that it can be restored.
fn completed(seen: &Seen<'_>, mut status: BackupStatus) -> Plan {
    if !is_asked(seen.backup, &status) {
        let act =
            if seen.is_crowded || seen.pod != PodSeen::Absent { Act::Clear } else { Act::Rest };
        let again = (act == Act::Clear).then_some(SOON);
        return Plan { status, act, note: None, again };
    }
    let result = match &seen.pod {
        PodSeen::Absent if seen.is_crowded => return after(status, Act::Clear, SOON),
        PodSeen::Absent => match (&seen.missing, seen.cluster) {
            (Some(missing), _) => Err(missing.clone()),
            (None, None) => Err(Failure::new(Cause::Misconfigured, "its cluster is gone")),
            (None, Some(_)) => return after(status, Act::Begin(Errand::Verify), SOON),
        },
        PodSeen::Waiting { since, trouble } => match overdue(seen, *since, trouble.as_deref()) {
            Some(failure) => Err(failure),
            None => return after(status, Act::Rest, SOON),
        },
        PodSeen::Running(_) => return after(status, Act::Rest, SOON),
        PodSeen::Ended(Report::Failed(failure)) => Err(failure.clone()),
        PodSeen::Ended(Report::Done | Report::Saved(_)) => Ok(()),
    };
    status.verified_at = Some(Time(seen.now));
    let note = match result {
        Ok(()) => {
            status.verified = Some(true);
            let text = "a member that was made of it had the same data";
            say(seen, &mut status, VERIFIED, Some(true), "Restored", text);
            note(Severity::Normal, "BackupVerified", text)
        }
        // What could not be tried says nothing of the backup.
        Err(failure) => {
            let is_so = failure.cause.condemns().then_some(false);
            status.verified = is_so.or(status.verified);
            say(seen, &mut status, VERIFIED, is_so, failure.cause.as_str(), &failure.message);
            let text = format!("{}: {}", failure.cause, failure.message);
            note(Severity::Warning, "BackupNotVerified", &text)
        }
    };
    Plan { note: Some(note), ..after(status, Act::Clear, SOON) }
}

/// Whether somebody has asked for a proof since the last one.
fn is_asked(backup: &QuorateBackup, status: &BackupStatus) -> bool {
    let annotations = backup.metadata.annotations.as_ref();
    let asked = annotations.and_then(|all| all.get(VERIFY)).and_then(|text| text.parse().ok());
    let last = status.verified_at.as_ref().map(|time| time.0);
    asked.is_some_and(|asked: Timestamp| last.is_none_or(|last| last < asked))
}

fn is_held(backup: &QuorateBackup) -> bool {
    backup.metadata.finalizers.iter().flatten().any(|name| name == FINALIZER)
}

/// The resource goes when its file has gone, or is to stay.
fn delete(seen: &Seen<'_>, mut status: BackupStatus) -> Plan {
    if !is_held(seen.backup) {
        return rest(status);
    }
    let has_file = status.object.is_some() && status.destination.is_some();
    if seen.backup.spec.deletion_policy == DeletionPolicy::Retain || !has_file {
        return Plan { again: None, ..after(status, Act::Release, SOON) };
    }
    if status.phase != BackupPhase::Deleting {
        status.phase = BackupPhase::Deleting;
        status.attempts = Some(1);
        status.retry_at = None;
        return after(status, Act::Clear, SignedDuration::ZERO);
    }
    let left = status.retry_at.as_ref().map(|time| time.0.duration_since(seen.now));
    if let Some(left) = left.filter(|left| left.is_positive()) {
        return after(status, Act::Rest, left);
    }
    if seen.is_crowded {
        return after(status, Act::Clear, SOON);
    }
    let attempt = status.attempts.unwrap_or(1);
    let failure = match (&seen.pod, &seen.missing) {
        (PodSeen::Ended(Report::Done | Report::Saved(_)), _) => {
            let text = format!("{} is deleted", status.uri.clone().unwrap_or_default());
            let note = Some(note(Severity::Normal, "BackupDeleted", &text));
            return Plan { note, again: None, ..after(status, Act::Release, SOON) };
        }
        (PodSeen::Absent, None) => {
            return after(status, Act::Begin(Errand::Remove(attempt)), SOON);
        }
        (PodSeen::Absent, Some(missing)) => missing.clone(),
        (PodSeen::Running(_), _) => return after(status, Act::Rest, SOON),
        (PodSeen::Waiting { since, trouble }, _) => {
            match overdue(seen, *since, trouble.as_deref()) {
                Some(failure) => failure,
                None => return after(status, Act::Rest, SOON),
            }
        }
        (PodSeen::Ended(Report::Failed(failure)), _) => failure.clone(),
    };
    let pause = pause(attempt);
    status.attempts = Some(attempt.saturating_add(1));
    status.retry_at = seen.now.checked_add(pause).ok().map(Time);
    let text = format!(
        "its file cannot be deleted: {}; with deletionPolicy Retain it stays where it is",
        failure.message
    );
    say(seen, &mut status, COMPLETE, Some(false), failure.cause.as_str(), &text);
    let note = Some(note(Severity::Warning, "BackupNotDeleted", &text));
    Plan { note, ..after(status, Act::Clear, SOON) }
}

fn note(severity: Severity, reason: &str, text: &str) -> Note {
    Note { severity, reason: reason.to_owned(), text: text.to_owned() }
}

/// Says something in a condition; whether that is news.
fn say(
    seen: &Seen<'_>,
    status: &mut BackupStatus,
    kind: &str,
    is_so: Option<bool>,
    reason: &str,
    message: &str,
) -> bool {
    let so = match is_so {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let old = status.conditions.iter().find(|old| old.type_ == kind);
    let is_same =
        old.is_some_and(|old| old.status == so && old.reason == reason && old.message == message);
    if is_same {
        return false;
    }
    let since = old.filter(|old| old.status == so).map(|old| old.last_transition_time.clone());
    let condition = Condition {
        type_: kind.to_owned(),
        status: so.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: since.unwrap_or(Time(seen.now)),
        observed_generation: seen.backup.metadata.generation,
    };
    status.conditions.retain(|old| old.type_ != kind);
    status.conditions.push(condition);
    true
}
