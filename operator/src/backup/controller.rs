//! Looks at backups whenever something has happened to them, and at clusters whenever one is due.
//!
//! Everything is read anew for each look. What is under way stands in the status, which is written
//! before anything is done, on the version that was looked at: an operator that has been overtaken
//! by another one writes nothing more.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::jiff::SignedDuration;
use kube::api::{Api, LogParams};
use kube::core::ObjectMeta;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Resource as _, ResourceExt as _};
use quorate_operator_api::{BackupPhase, BackupStatus, QuorateBackup, QuorateCluster};
use serde_json::json;

use super::cause::{Cause, Failure};
use super::place::{self, Need};
use super::plan::{self, Act, Errand, FINALIZER, Note, Plan, PodSeen, Seen, VERIFY};
use super::pods;
use super::task::Progress;
use super::upkeep::{self, Look};
use crate::kubernetes::{Deletion, Error, ErrorKind, Manager, Precondition, Severity};
use crate::operator::{Key, Operator};

/// At how many backups it looks at a time.
const LOOKS_MAX: u16 = 8;
/// The pause after a look that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// The longest time between two looks at a cluster with a schedule: clocks may be set.
const UPKEEP_MAX: SignedDuration = SignedDuration::from_mins(1);
/// How long a pod may take to say how far it is.
const LOG_TIMEOUT: Duration = Duration::from_secs(3);
/// Lines of a pod's output that are looked through for that.
const LOG_LINES: i64 = 5;

/// Looks at all backups, and at all clusters for theirs, until it is dropped.
pub async fn run(operator: Arc<Operator>) {
    futures::join!(run_backups(Arc::clone(&operator)), run_upkeep(operator));
}

async fn run_backups(operator: Arc<Operator>) {
    let of_backups = watcher::Config::default().labels(pods::BACKUP_LABEL);
    Controller::new(api::<QuorateBackup>(&operator), watcher::Config::default())
        .owns(api::<Pod>(&operator), of_backups)
        .with_config(Config::default().concurrency(LOOKS_MAX))
        .run(reconcile_backup, |_, error, _| after(error), operator)
        .for_each(|_| futures::future::ready(()))
        .await;
}

async fn run_upkeep(operator: Arc<Operator>) {
    let of_cluster = |backup: QuorateBackup| {
        let namespace = backup.metadata.namespace.clone().unwrap_or_default();
        [ObjectRef::new(&backup.spec.cluster.0).within(&namespace)]
    };
    Controller::new(api::<QuorateCluster>(&operator), watcher::Config::default())
        .watches(api::<QuorateBackup>(&operator), watcher::Config::default(), of_cluster)
        .with_config(Config::default().concurrency(LOOKS_MAX))
        .run(reconcile_cluster, |_, error, _| after(error), operator)
        .for_each(|_| futures::future::ready(()))
        .await;
}

fn api<K>(operator: &Operator) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    let client = operator.objects.client().clone();
    match &operator.settings.namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    }
}

fn after(error: &Error) -> Action {
    match error.kind() {
        // Somebody was faster: it is looked at again.
        ErrorKind::Conflict | ErrorKind::Exists => Action::requeue(Duration::from_secs(1)),
        _ => {
            tracing::warn!(%error, "a look at backups failed");
            Action::requeue(AFTER_FAILURE)
        }
    }
}

fn key(metadata: &ObjectMeta) -> Key {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    Key::new(&text(&metadata.namespace), &text(&metadata.name))
}

fn action(again: Option<SignedDuration>) -> Action {
    let again =
        again.map(|again| again.clamp(SignedDuration::from_millis(200), SignedDuration::MAX));
    match again.and_then(|again| Duration::try_from(again).ok()) {
        Some(again) => Action::requeue(again),
        None => Action::await_change(),
    }
}

async fn reconcile_backup(
    backup: Arc<QuorateBackup>,
    operator: Arc<Operator>,
) -> Result<Action, Error> {
    look_at_backup(&operator, &key(&backup.metadata)).await.map(action)
}

async fn reconcile_cluster(
    cluster: Arc<QuorateCluster>,
    operator: Arc<Operator>,
) -> Result<Action, Error> {
    keep_up(&operator, &key(&cluster.metadata)).await.map(action)
}

/// One look at a backup, with what follows; when to look again.
///
/// # Errors
/// [`Error`] of the API server's.
pub async fn look_at_backup(
    operator: &Operator,
    key: &Key,
) -> Result<Option<SignedDuration>, Error> {
    let objects = &operator.objects;
    let found = objects.get::<QuorateBackup>(&key.namespace, &key.name).await?;
    let Some(backup) = found.filter(|_| operator.leadership.holds()) else { return Ok(None) };
    let name = &backup.spec.cluster.0;
    let cluster = objects.get::<QuorateCluster>(&key.namespace, name).await?;
    let selector = format!("{}={}", pods::BACKUP_LABEL, backup.uid().unwrap_or_default());
    let all = objects.list::<Pod>(&key.namespace, &selector).await?;
    let wanted = plan::errand(&backup).map(|errand| pods::name(&backup, errand));
    let (ours, others): (Vec<&Pod>, Vec<&Pod>) =
        all.iter().partition(|pod| Some(pod.name_any()) == wanted);
    let pod = match ours.first() {
        // One that is on its way out has no more to say, and its name is not free yet.
        Some(pod) if pod.metadata.deletion_timestamp.is_some() => {
            return Ok(Some(SignedDuration::from_secs(1)));
        }
        Some(pod) => pods::seen(pod, progress(operator, pod).await),
        None => PodSeen::Absent,
    };
    let phase = backup.status.as_ref().map(|status| status.phase).unwrap_or_default();
    let may_begin = phase == BackupPhase::Pending || wanted.is_some();
    let missing = match pod {
        PodSeen::Absent if may_begin => missing(operator, &backup, cluster.as_ref()).await?,
        PodSeen::Absent | PodSeen::Waiting { .. } | PodSeen::Running(_) | PodSeen::Ended(_) => None,
    };
    let seen = Seen {
        backup: &backup,
        cluster: cluster.as_ref(),
        missing,
        pod,
        is_crowded: !others.is_empty(),
        now: operator.clock.wall(),
    };
    let Plan { status, act, note, again } = plan::plan(&seen);
    let backup = write_status(operator, &backup, status).await?;
    if let Some(note) = note {
        tell(operator, &backup, &note).await;
    }
    match act {
        Act::Rest => {}
        Act::Hold => hold(operator, &backup).await?,
        Act::Release => release(operator, &backup).await?,
        Act::Begin(errand) => begin(operator, &backup, cluster.as_ref(), errand).await?,
        Act::Clear => {
            for pod in &all {
                let which = Precondition { uid: pod.uid().unwrap_or_default(), version: None };
                let (namespace, how) = (&key.namespace, Deletion::Graceful);
                objects.delete::<Pod>(namespace, &pod.name_any(), &which, how).await?;
            }
        }
    }
    Ok(again)
}

/// How far a pod is, as it says itself. That it cannot be heard is no failure.
async fn progress(operator: &Operator, pod: &Pod) -> Option<u64> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if phase != Some("Running") {
        return None;
    }
    let namespace = pod.namespace().unwrap_or_default();
    let api = Api::<Pod>::namespaced(operator.objects.client().clone(), &namespace);
    let params = LogParams {
        container: Some(pods::CONTAINER.to_owned()),
        tail_lines: Some(LOG_LINES),
        ..LogParams::default()
    };
    let output = tokio::time::timeout(LOG_TIMEOUT, api.logs(&pod.name_any(), &params)).await;
    Progress::parse(&output.ok()?.ok()?).map(|progress| progress.bytes)
}

/// What a pod would wait for in vain.
async fn missing(
    operator: &Operator,
    backup: &QuorateBackup,
    cluster: Option<&QuorateCluster>,
) -> Result<Option<Failure>, Error> {
    let namespace = backup.namespace().unwrap_or_default();
    let Some(destination) = plan::destination(backup, cluster) else { return Ok(None) };
    let mut needs = place::needs(destination);
    let phase = backup.status.as_ref().map(|status| status.phase).unwrap_or_default();
    let asks_members = matches!(phase, BackupPhase::Pending | BackupPhase::Running);
    if let Some(name) = cluster.filter(|_| asks_members).and_then(pods::client_secret) {
        needs.push(Need::Secret { name, keys: Vec::new() });
    }
    for need in needs {
        let failure = match need {
            Need::Secret { name, keys } => {
                let secret = operator.objects.find::<Secret>(&namespace, &name).await?;
                of_secret(secret.as_ref(), &name, &keys)
            }
            Need::Claim { name } => {
                let claim =
                    operator.objects.find::<PersistentVolumeClaim>(&namespace, &name).await?;
                let text = format!("there is no PersistentVolumeClaim {name}");
                claim.is_none().then(|| Failure::new(Cause::NoSuchBucket, text))
            }
        };
        if failure.is_some() {
            return Ok(failure);
        }
    }
    Ok(None)
}

fn of_secret(secret: Option<&Secret>, name: &str, keys: &[String]) -> Option<Failure> {
    let Some(secret) = secret else {
        return Some(Failure::new(Cause::Misconfigured, format!("there is no Secret {name}")));
    };
    let has = |key: &&String| secret.data.as_ref().is_some_and(|data| data.contains_key(*key));
    let lacking = keys.iter().find(|key| !has(key))?;
    Some(Failure::new(Cause::Misconfigured, format!("the Secret {name} has no key {lacking}")))
}

/// Writes a status that has changed; the resource as it is then.
async fn write_status(
    operator: &Operator,
    backup: &QuorateBackup,
    status: BackupStatus,
) -> Result<QuorateBackup, Error> {
    if backup.status.as_ref().unwrap_or(&BackupStatus::default()) == &status {
        return Ok(backup.clone());
    }
    operator.objects.apply_status(&backup.metadata, &status).await
}

fn which(metadata: &ObjectMeta) -> Precondition {
    Precondition {
        uid: metadata.uid.clone().unwrap_or_default(),
        version: metadata.resource_version.clone(),
    }
}

async fn hold(operator: &Operator, backup: &QuorateBackup) -> Result<(), Error> {
    let mut finalizers = backup.finalizers().to_vec();
    finalizers.push(FINALIZER.to_owned());
    finalizers_are(operator, backup, &finalizers).await
}

async fn release(operator: &Operator, backup: &QuorateBackup) -> Result<(), Error> {
    let others: Vec<String> =
        backup.finalizers().iter().filter(|name| *name != FINALIZER).cloned().collect();
    finalizers_are(operator, backup, &others).await
}

async fn finalizers_are(
    operator: &Operator,
    backup: &QuorateBackup,
    finalizers: &[String],
) -> Result<(), Error> {
    let Key { namespace, name } = key(&backup.metadata);
    let patch = json!({ "metadata": { "finalizers": finalizers } });
    let which = which(&backup.metadata);
    let objects = &operator.objects;
    let done =
        objects.merge::<QuorateBackup>(Manager::Backups, &namespace, &name, &which, patch).await;
    match done {
        Err(error) if error.kind() != ErrorKind::Missing => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

async fn begin(
    operator: &Operator,
    backup: &QuorateBackup,
    cluster: Option<&QuorateCluster>,
    errand: Errand,
) -> Result<(), Error> {
    let pod = match pods::build(backup, cluster, &operator.settings.defaults, errand) {
        Ok(pod) => pod,
        Err(failure) => {
            tracing::warn!(backup = %key(&backup.metadata), %failure, "no pod can be made");
            return Ok(());
        }
    };
    match operator.objects.create(Manager::Backups, &pod).await {
        Ok(_) => Ok(()),
        // Made before, by who did not get as far as to see it.
        Err(error) if error.kind() == ErrorKind::Exists => Ok(()),
        // Nothing is made any more in a namespace that is being deleted, and it must not wait for
        // files that then stay where they are.
        Err(error)
            if error.kind() == ErrorKind::Forbidden
                && error.to_string().contains("being terminated")
                && backup.metadata.deletion_timestamp.is_some() =>
        {
            release(operator, backup).await
        }
        Err(error) => Err(error),
    }
}

async fn tell(operator: &Operator, backup: &QuorateBackup, note: &Note) {
    let Note { severity, reason, text } = note;
    let about = backup.object_ref(&());
    operator.events.tell(&about, *severity, reason, "BackUp", text).await;
}

/// Sees to what is due for a cluster's backups; when to look again.
///
/// # Errors
/// [`Error`] of the API server's.
pub async fn keep_up(operator: &Operator, key: &Key) -> Result<Option<SignedDuration>, Error> {
    let objects = &operator.objects;
    let found = objects.get::<QuorateCluster>(&key.namespace, &key.name).await?;
    let Some(cluster) = found.filter(|_| operator.leadership.holds()) else { return Ok(None) };
    if cluster.spec.backup.is_none() {
        return Ok(None);
    }
    let backups = backups_of(operator, key).await?;
    let now = operator.clock.wall();
    let upkeep = upkeep::upkeep(&cluster, &backups, now);
    if let Some(backup) = &upkeep.create {
        create(operator, &cluster, backup).await?;
    }
    for (name, uid) in &upkeep.delete {
        let which = Precondition { uid: uid.clone(), version: None };
        let (namespace, how) = (&key.namespace, Deletion::Graceful);
        objects.delete::<QuorateBackup>(namespace, name, &which, how).await?;
        let about = cluster.object_ref(&());
        let text = format!("{name} is not kept any longer: spec.backup.retention");
        tell_cluster(operator, &about, "BackupOutdated", &text).await;
    }
    if let Some((name, uid, asked)) = &upkeep.verify {
        let which = Precondition { uid: uid.clone(), version: None };
        let patch = json!({ "metadata": { "annotations": { VERIFY: asked.to_string() } } });
        let (manager, namespace) = (Manager::Backups, &key.namespace);
        match objects.merge::<QuorateBackup>(manager, namespace, name, &which, patch).await {
            // It has gone meanwhile; another one of its name was not meant.
            Err(error) if matches!(error.kind(), ErrorKind::Missing | ErrorKind::Conflict) => {}
            asked => drop(asked?),
        }
    }
    let until = upkeep.next.map(|next| next.duration_since(now));
    Ok(until.map(|until| until.min(UPKEEP_MAX)))
}

async fn tell_cluster(operator: &Operator, about: &ObjectReference, reason: &str, text: &str) {
    operator.events.tell(about, Severity::Normal, reason, "BackUp", text).await;
}

async fn create(
    operator: &Operator,
    cluster: &QuorateCluster,
    backup: &QuorateBackup,
) -> Result<(), Error> {
    match operator.objects.create(Manager::Backups, backup).await {
        Ok(made) => {
            let text = format!("{} is made", made.name_any());
            tell_cluster(operator, &cluster.object_ref(&()), "BackupAsked", &text).await;
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::Exists => Ok(()),
        Err(error) => Err(error),
    }
}

/// All backups of a cluster.
///
/// # Errors
/// [`Error`] of the API server's.
pub async fn backups_of(operator: &Operator, key: &Key) -> Result<Vec<QuorateBackup>, Error> {
    let all = match operator.objects.list::<QuorateBackup>(&key.namespace, "").await {
        // Their kind may not be defined.
        Err(error) if error.kind() == ErrorKind::Missing => Vec::new(),
        all => all?,
    };
    Ok(all.into_iter().filter(|backup| backup.spec.cluster.0 == key.name).collect())
}

/// What a look at a cluster says of its backups.
///
/// # Errors
/// [`Error`] of the API server's.
pub async fn look(operator: &Operator, cluster: &QuorateCluster) -> Result<Look, Error> {
    let backups = backups_of(operator, &key(&cluster.metadata)).await?;
    Ok(upkeep::look(cluster, &backups, operator.clock.wall()))
}

/// Asks for the backup before another version.
///
/// # Errors
/// [`Error`] of the API server's.
pub async fn before_upgrade(operator: &Operator, cluster: &QuorateCluster) -> Result<(), Error> {
    match upkeep::of_upgrade(cluster) {
        Some(backup) => create(operator, cluster, &backup).await,
        None => Ok(()),
    }
}
