//! The backups of one cluster together: which are due, which go, and what there is to say of them.
//!
//! ```text
//!   spec.backup, the backups, the time ─┬▶ Upkeep: one to make, some to delete, one to prove
//!                                       └▶ Look: the cluster's status, and the backup before an upgrade
//! ```
//! From values to values. What a schedule asks for follows from the time alone: its name is that of
//! the time at which it was due, so that nobody makes it twice.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use quorate_operator_api::{
    BackupPhase, BackupPlan, BackupSpec, BackupSummary, DeletionPolicy, LocalName, QuorateBackup,
    QuorateCluster, Reason, Retention,
};

use super::plan::{VERIFIED, VERIFY};
use super::schedule::Schedule;
use crate::cluster::names::{CLUSTER_LABEL, MANAGED_BY};
use crate::cluster::observed::BackupSeen;
use crate::cluster::status::Said;

/// The annotation of a backup that a schedule asked for: the time at which it was due.
pub const SCHEDULED_AT: &str = "quorate.io/scheduled-at";
/// The annotation of a backup that was made before an upgrade: the version that was to come.
pub const BEFORE_VERSION: &str = "quorate.io/before-version";

/// How long a backup may be under way before the cluster says that it is overdue.
const GRACE: SignedDuration = SignedDuration::from_mins(60);

/// What a cluster's status and its plan say of its backups.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// The backup before another version.
    pub seen: BackupSeen,
    /// All of them in one look.
    pub summary: Option<BackupSummary>,
    /// Whether the newest is not overdue.
    pub said: Option<Said>,
    /// Since when one is due that is not there.
    pub due: Option<Timestamp>,
}

/// What is to be done about a cluster's backups.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Upkeep {
    /// One that is due.
    pub create: Option<QuorateBackup>,
    /// Those that are not kept: name and uid.
    pub delete: Vec<(String, String)>,
    /// One that has to prove that it can be restored: name, uid, and what it was asked at.
    pub verify: Option<(String, String, Timestamp)>,
    /// When something will be due.
    pub next: Option<Timestamp>,
}

/// What to say of a cluster's backups, of which `backups` are all.
#[must_use]
pub fn look(cluster: &QuorateCluster, backups: &[QuorateBackup], now: Timestamp) -> Look {
    let newest = newest(backups);
    let last_proof = backups
        .iter()
        .filter_map(|backup| backup.status.as_ref())
        .filter(|status| status.verified == Some(true))
        .filter_map(|status| status.verified_at.as_ref().map(|time| time.0))
        .max();
    let summary = newest.and_then(|backup| backup.status.as_ref()).map(|status| BackupSummary {
        last_success: status.completed_at.clone(),
        revision: status.revision,
        verified_at: last_proof.map(Time),
    });
    let due = cluster.spec.backup.as_ref().and_then(|plan| overdue(cluster, plan, backups, now));
    Look {
        seen: before_upgrade(cluster, backups),
        summary,
        said: cluster.spec.backup.as_ref().map(|plan| say(plan, backups, due, now)),
        due,
    }
}

/// What is to be done about a cluster's backups, of which `backups` are all.
#[must_use]
pub fn upkeep(cluster: &QuorateCluster, backups: &[QuorateBackup], now: Timestamp) -> Upkeep {
    let Some(plan) = &cluster.spec.backup else { return Upkeep::default() };
    if cluster.metadata.deletion_timestamp.is_some() {
        return Upkeep::default();
    }
    let schedule = Schedule::of_backups(plan).ok().flatten();
    let drills = Schedule::of_drills(plan).ok().flatten();
    let next = [&schedule, &drills].into_iter().flatten().filter_map(|some| some.next(now)).min();
    Upkeep {
        create: schedule.and_then(|schedule| due_backup(cluster, &schedule, backups, now)),
        delete: outdated(&plan.retention, backups, now),
        verify: drills.and_then(|drills| due_proof(&drills, backups, now)),
        next,
    }
}

fn phase(backup: &QuorateBackup) -> BackupPhase {
    backup.status.as_ref().map(|status| status.phase).unwrap_or_default()
}

fn completed_at(backup: &QuorateBackup) -> Option<Timestamp> {
    let status = backup.status.as_ref()?;
    let is_there = phase(backup) == BackupPhase::Completed;
    status.completed_at.as_ref().filter(|_| is_there).map(|time| time.0)
}

/// Whether it was tried to be restored, and could not be.
fn is_condemned(backup: &QuorateBackup) -> bool {
    backup.status.as_ref().is_some_and(|status| status.verified == Some(false))
}

fn is_kept(backup: &QuorateBackup) -> bool {
    backup.metadata.deletion_timestamp.is_none()
}

fn annotation<'a>(backup: &'a QuorateBackup, name: &str) -> Option<&'a String> {
    backup.metadata.annotations.as_ref()?.get(name)
}

fn scheduled_at(backup: &QuorateBackup) -> Option<Timestamp> {
    annotation(backup, SCHEDULED_AT)?.parse().ok()
}

fn newest(backups: &[QuorateBackup]) -> Option<&QuorateBackup> {
    let there = backups.iter().filter(|backup| is_kept(backup) && completed_at(backup).is_some());
    there.max_by_key(|backup| (completed_at(backup), backup.metadata.name.clone()))
}

/// When the cluster began: nothing was due before, nor while it had nothing.
fn began(cluster: &QuorateCluster) -> Option<Timestamp> {
    let has_begun = cluster.status.as_ref().is_some_and(|status| status.cluster_id.is_some());
    cluster.metadata.creation_timestamp.as_ref().filter(|_| has_begun).map(|time| time.0)
}

/// The last time at which one was due since the cluster began.
fn last_due(cluster: &QuorateCluster, schedule: &Schedule, now: Timestamp) -> Option<Timestamp> {
    let began = began(cluster)?;
    schedule.last(now).filter(|due| *due > began)
}

/// One for the last time that it was due: those before are past. One at a time.
fn due_backup(
    cluster: &QuorateCluster,
    schedule: &Schedule,
    backups: &[QuorateBackup],
    now: Timestamp,
) -> Option<QuorateBackup> {
    let due = last_due(cluster, schedule, now)?;
    let ours = || backups.iter().filter(|backup| scheduled_at(backup).is_some());
    let is_made = ours().any(|backup| scheduled_at(backup) >= Some(due));
    let is_busy = ours().any(|backup| {
        is_kept(backup) && matches!(phase(backup), BackupPhase::Pending | BackupPhase::Running)
    });
    if is_made || is_busy || cluster.spec.hibernate {
        return None;
    }
    let name = cluster.metadata.name.clone().unwrap_or_default();
    let time = due.strftime("%Y%m%d%H%M");
    let made_for = (SCHEDULED_AT.to_owned(), due.to_string());
    Some(backup(cluster, format!("{name}-{time}"), made_for, DeletionPolicy::Delete))
}

/// A backup that the operator asks for.
fn backup(
    cluster: &QuorateCluster,
    name: String,
    made_for: (String, String),
    deletion_policy: DeletionPolicy,
) -> QuorateBackup {
    let of = cluster.metadata.name.clone().unwrap_or_default();
    let labels: BTreeMap<String, String> = [MANAGED_BY, (CLUSTER_LABEL, of.as_str())]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let spec = BackupSpec { cluster: LocalName(of.clone()), destination: None, deletion_policy };
    let metadata = ObjectMeta {
        name: Some(name),
        namespace: cluster.metadata.namespace.clone(),
        labels: Some(labels),
        annotations: Some([made_for].into()),
        ..ObjectMeta::default()
    };
    QuorateBackup { metadata, spec, status: None }
}

/// The backup before another version: it stays when the cluster goes. A wish that is changed asks
/// for another.
#[must_use]
pub fn of_upgrade(cluster: &QuorateCluster) -> Option<QuorateBackup> {
    let version = cluster.spec.version.as_ref()?;
    let name = upgrade_name(cluster)?;
    let made_for = (BEFORE_VERSION.to_owned(), version.clone());
    Some(backup(cluster, name, made_for, DeletionPolicy::Retain))
}

fn upgrade_name(cluster: &QuorateCluster) -> Option<String> {
    let version = cluster.spec.version.as_ref()?.replace('.', "-");
    let name = cluster.metadata.name.as_deref()?;
    let generation = cluster.metadata.generation.unwrap_or_default();
    Some(format!("{name}-before-{version}-{generation}"))
}

fn before_upgrade(cluster: &QuorateCluster, backups: &[QuorateBackup]) -> BackupSeen {
    if cluster.spec.backup.is_none() {
        return BackupSeen::NoPlace;
    }
    let name = upgrade_name(cluster);
    let made = backups.iter().find(|backup| is_kept(backup) && backup.metadata.name == name);
    match made.map(phase) {
        _ if name.is_none() => BackupSeen::Missing,
        None => BackupSeen::Missing,
        Some(BackupPhase::Pending | BackupPhase::Running) => BackupSeen::Running,
        Some(BackupPhase::Completed) if made.is_some_and(is_condemned) => BackupSeen::Failed,
        Some(BackupPhase::Completed) => BackupSeen::Made,
        Some(BackupPhase::Failed | BackupPhase::Deleting) => BackupSeen::Failed,
    }
}

/// Of those that a schedule asked for: what is neither among the newest nor young enough, and what
/// failed before a later one came to be. The newest stays, whatever its age. One that could not be
/// restored takes the place of none that may be: it goes in its time, and they are counted without.
fn outdated(
    retention: &Retention,
    backups: &[QuorateBackup],
    now: Timestamp,
) -> Vec<(String, String)> {
    let ours: Vec<&QuorateBackup> =
        backups.iter().filter(|backup| is_kept(backup) && scheduled_at(backup).is_some()).collect();
    let mut there: Vec<(Timestamp, &QuorateBackup)> =
        ours.iter().filter_map(|backup| Some((completed_at(backup)?, *backup))).collect();
    there.sort_by_key(|(time, backup)| (std::cmp::Reverse(*time), backup.metadata.name.clone()));
    let keep_last = usize::try_from(retention.keep_last).unwrap_or(1).max(1);
    let age_max = retention.max_age.as_deref().and_then(duration);
    let is_old = |time: Timestamp| age_max.is_some_and(|max| now.duration_since(time) > max);
    let last = there.first().map(|(time, _)| *time);
    let mut of_use = 0..;
    let placed = there.iter().enumerate().filter_map(|(among_all, (time, backup))| {
        let place = if is_condemned(backup) { among_all } else { of_use.next()? };
        Some((place, *time, *backup))
    });
    let beyond =
        placed.filter(|(place, time, _)| *place > 0 && (*place >= keep_last || is_old(*time)));
    let failed = ours
        .iter()
        .filter(|backup| phase(backup) == BackupPhase::Failed && scheduled_at(backup) < last);
    beyond
        .map(|(_, _, backup)| backup)
        .chain(failed.copied())
        .filter_map(|backup| Some((backup.metadata.name.clone()?, backup.metadata.uid.clone()?)))
        .collect()
}

/// A length of time such as `720h` or `1h30m`.
fn duration(text: &str) -> Option<SignedDuration> {
    let mut seconds: i64 = 0;
    let mut digits = String::new();
    for character in text.chars() {
        if character.is_ascii_digit() {
            digits.push(character);
            continue;
        }
        let of_one = match character {
            's' => 1,
            'm' => 60,
            'h' => 60 * 60,
            'd' => 24 * 60 * 60,
            _ => return None,
        };
        let number: i64 = std::mem::take(&mut digits).parse().ok()?;
        seconds = seconds.checked_add(number.checked_mul(of_one)?)?;
    }
    digits.is_empty().then(|| SignedDuration::from_secs(seconds))
}

/// The newest, if it was not asked since a proof was due.
fn due_proof(
    drills: &Schedule,
    backups: &[QuorateBackup],
    now: Timestamp,
) -> Option<(String, String, Timestamp)> {
    let due = drills.last(now)?;
    let newest = newest(backups)?;
    // One proof for each time that it is due, of whichever was the newest then.
    let proved = |backup: &QuorateBackup| {
        let asked = annotation(backup, VERIFY).and_then(|text| text.parse().ok());
        let tried = backup.status.as_ref().and_then(|status| status.verified_at.as_ref());
        asked.max(tried.map(|time| time.0))
    };
    let last = backups.iter().filter_map(proved).max();
    // What was due before there was anything is past.
    let first = backups.iter().filter_map(completed_at).min();
    if last.is_some_and(|last| last >= due) || first > Some(due) {
        return None;
    }
    Some((newest.metadata.name.clone()?, newest.metadata.uid.clone()?, now))
}

/// Since when one is due that is not there, though it had the time.
fn overdue(
    cluster: &QuorateCluster,
    plan: &BackupPlan,
    backups: &[QuorateBackup],
    now: Timestamp,
) -> Option<Timestamp> {
    if cluster.spec.hibernate {
        return None;
    }
    let schedule = Schedule::of_backups(plan).ok().flatten()?;
    let due = last_due(cluster, &schedule, now)?;
    let newest = newest(backups).and_then(completed_at);
    if newest.is_some_and(|newest| newest >= due) {
        return None;
    }
    // One that was due before and is not there either: that is since when.
    let before = |time: Timestamp| {
        let moment = time.checked_sub(SignedDuration::from_secs(1)).ok()?;
        schedule.last(moment).filter(|due| Some(*due) > began(cluster))
    };
    let mut first = due;
    for _ in 0..OVERDUE_MAX {
        match before(first).filter(|due| newest.is_none_or(|newest| newest < *due)) {
            Some(earlier) => first = earlier,
            None => break,
        }
    }
    Some(first)
}

/// How many times that were due are looked back at.
const OVERDUE_MAX: usize = 1000;

fn say(
    plan: &BackupPlan,
    backups: &[QuorateBackup],
    due: Option<Timestamp>,
    now: Timestamp,
) -> Said {
    let newest = newest(backups);
    let told = |is_so, reason, message: String| Said { is_so: Some(is_so), reason, message };
    let damaged = newest.filter(|backup| is_condemned(backup));
    if let Some(damaged) = damaged {
        let conditions = damaged.status.iter().flat_map(|status| &status.conditions);
        let why = conditions.into_iter().find(|condition| condition.type_ == VERIFIED);
        let why = why.map(|condition| condition.message.clone()).unwrap_or_default();
        let name = damaged.metadata.name.clone().unwrap_or_default();
        return told(false, Reason::BackupDamaged, format!("{name} cannot be restored: {why}"));
    }
    if let Some(due) = due.filter(|due| now.duration_since(*due) > GRACE) {
        let last = backups
            .iter()
            .filter(|backup| is_kept(backup))
            .max_by_key(|backup| backup.metadata.creation_timestamp.as_ref().map(|time| time.0));
        let conditions = last.and_then(|backup| backup.status.as_ref());
        let why = conditions.and_then(|status| status.conditions.last());
        let why = why.map(|condition| format!(": {}", condition.message)).unwrap_or_default();
        return told(false, Reason::BackupOverdue, format!("none is there since {due}{why}"));
    }
    match newest.and_then(|backup| backup.metadata.name.clone()) {
        Some(name) => told(true, Reason::AsDesired, format!("the newest is {name}")),
        None if plan.schedule.is_some() => {
            told(true, Reason::AsDesired, "the first is not due yet, or is being made".to_owned())
        }
        None => told(
            true,
            Reason::AsDesired,
            "there is a place for backups, and they are made when somebody asks".to_owned(),
        ),
    }
}
