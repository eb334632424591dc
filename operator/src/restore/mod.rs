//! Clusters that begin with data: with a backup, or with those of a cluster that runs.
//!
//! ```text
//!   spec.bootstrap ─▶ Origin ─▶ containers before the first member's, on its volume:
//!                                 fetch    the file, compared with its SHA-256
//!                                 restore  a member of a new cluster, with a raised revision
//! ```
//! Only the first member is made of a file; others join it as they join any cluster. Kubernetes may
//! run these containers again at every start of the pod: where there is a member they do nothing,
//! and where the cluster has begun they leave an empty volume empty.
//!
//! Revisions are raised by [`BUMP`] and what was before is compacted: a client that saw later
//! revisions than the backup has never sees them come again with another meaning.

mod find;

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{
    Container, EnvVar, EnvVarSource, ObjectFieldSelector, PersistentVolumeClaimVolumeSource,
    Volume, VolumeMount,
};
use quorate_operator_api::{
    BackupPhase, Bootstrap, CloneSource, QuorateBackup, QuorateCluster, RestoreSource,
};

use crate::backup::place;
use crate::backup::plan::{VERIFIED, VERIFY};
use crate::backup::pods;
use crate::backup::task::{Place, Source, Task};
use crate::backup::worker::STATE;
use crate::cluster::build::{CLUSTER_STATE, Defaults, MOUNT};
use crate::cluster::validate::Refusal;

pub use find::find;

/// By how much revisions are raised: more than a cluster hands out between two backups.
pub const BUMP: i64 = 1_000_000_000;

/// Where the file is until there is a member of it.
const FILE: &str = "/var/lib/quorate/restore/backup.db";
/// Where the volume of a survivor is.
const SURVIVOR: &str = "/survivor";

/// What a first member is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A backup's file.
    Backup {
        /// Where it is.
        place: Box<Place>,
        /// Its SHA-256, if that is known.
        sha256: Option<String>,
    },
    /// A snapshot of a cluster that runs.
    Cluster {
        /// The cluster.
        source: Source,
        /// The Secret with which it is asked.
        secret: Option<String>,
    },
    /// The volume of a member of a cluster that lost its majority.
    Survivor {
        /// The volume's claim.
        claim: String,
    },
}

/// What a new cluster is to be made of, as its resource says; `None` for nothing. `backup` and
/// `other` are what its resource names, if they are there.
///
/// # Errors
/// [`Refusal`] says what is not there, or not so.
pub fn origin(
    cluster: &QuorateCluster,
    backup: Option<&QuorateBackup>,
    other: Option<&QuorateCluster>,
) -> Result<Option<Origin>, Refusal> {
    let Some(Bootstrap { restore, clone, join: _ }) = &cluster.spec.bootstrap else {
        return Ok(None);
    };
    if let Some(restore) = restore {
        return of_backup(restore, backup).map(Some);
    }
    clone.as_ref().map(|clone| of_cluster(clone, other)).transpose()
}

fn of_backup(restore: &RestoreSource, backup: Option<&QuorateBackup>) -> Result<Origin, Refusal> {
    let refuse = |message: String| Refusal { field: "spec.bootstrap.restore", message };
    let RestoreSource { backup_name, source, object } = restore;
    if let (Some(source), Some(object)) = (source, object) {
        let place = Place { destination: source.clone(), object: object.clone() };
        return Ok(Origin::Backup { place: Box::new(place), sha256: None });
    }
    let name = backup_name.as_ref().map(|name| name.0.clone()).unwrap_or_default();
    let Some(backup) = backup else {
        return Err(refuse(format!("there is no QuorateBackup {name} in this namespace")));
    };
    let status = backup.status.clone().unwrap_or_default();
    let (BackupPhase::Completed, Some(destination), Some(object)) =
        (status.phase, status.destination, status.object)
    else {
        let phase = status.phase;
        return Err(refuse(format!("the QuorateBackup {name} is not there: it is {phase:?}")));
    };
    if status.verified == Some(false) {
        let tried = status.conditions.iter().find(|condition| condition.type_ == VERIFIED);
        let why = tried.map(|condition| condition.message.as_str()).unwrap_or_default();
        return Err(refuse(format!(
            "the QuorateBackup {name} could not be restored when that was tried: {why}; take \
             another, have it tried again ({VERIFY}), or name its file with source and object to \
             take it as it is"
        )));
    }
    let place = Box::new(Place { destination, object });
    Ok(Origin::Backup { place, sha256: status.sha256 })
}

fn of_cluster(clone: &CloneSource, other: Option<&QuorateCluster>) -> Result<Origin, Refusal> {
    let refuse = |message: String| Refusal { field: "spec.bootstrap.clone", message };
    let CloneSource { cluster, endpoints, client_secret_ref } = clone;
    if let Some(endpoints) = endpoints {
        let secret = client_secret_ref.as_ref().map(|secret| secret.0.clone());
        if secret.is_none() && endpoints.iter().any(|url| url.starts_with("https://")) {
            let text = "an endpoint with https needs clientSecretRef: a Secret with the ca.crt \
                        that its certificate is signed by";
            return Err(refuse(text.to_owned()));
        }
        let source = Source { endpoints: endpoints.clone(), cluster_id: None };
        return Ok(Origin::Cluster { source, secret });
    }
    let name = cluster.as_ref().map(|name| name.0.clone()).unwrap_or_default();
    let Some(other) = other else {
        return Err(refuse(format!("there is no QuorateCluster {name} in this namespace")));
    };
    let source = pods::source(other);
    if source.endpoints.is_empty() || source.cluster_id.is_none() {
        return Err(refuse(format!("the QuorateCluster {name} has not begun")));
    }
    Ok(Origin::Cluster { source, secret: pods::client_secret(other) })
}

/// What makes a first member.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Making {
    /// The containers before the member's.
    pub(crate) containers: Vec<Container>,
    /// The volumes that they need beside the member's.
    pub(crate) volumes: Vec<Volume>,
}

/// What makes a first member of something, where `member` is the container that is to run it, `data`
/// its volume, and `identity` its flags of who it is.
pub(crate) fn making(
    origin: &Origin,
    defaults: &Defaults,
    member: &Container,
    data: &VolumeMount,
    identity: &[String],
) -> Making {
    let (mounted, task) = match origin {
        Origin::Backup { place, sha256 } => {
            let into = PathBuf::from(FILE);
            let task = Task::Fetch { place: (**place).clone(), into, sha256: sha256.clone() };
            (place::volumes(&place.destination), Some(task))
        }
        Origin::Cluster { source, secret } => {
            let task = Task::Copy { source: source.clone(), into: PathBuf::from(FILE) };
            let secret = secret.as_deref().map(place::client_volume);
            (secret.into_iter().collect(), Some(task))
        }
        Origin::Survivor { claim } => (vec![survivor(claim)], None),
    };
    let (volumes, mounts): (Vec<Volume>, Vec<VolumeMount>) = mounted.into_iter().unzip();
    let with_data: Vec<VolumeMount> = mounts.iter().cloned().chain([data.clone()]).collect();
    let fetch = task.map(|task| {
        let mut fetch = pods::container(defaults, "fetch", &task, with_data.clone());
        fetch.env = Some(vec![state()]);
        fetch
    });
    let words: Vec<String> = match origin {
        Origin::Backup { .. } | Origin::Cluster { .. } => {
            ["snapshot", "restore", "--remove-file", FILE].map(str::to_owned).into()
        }
        Origin::Survivor { .. } => vec!["recover".to_owned(), survivor_data()],
    };
    let more = [
        "--unless-member".to_owned(),
        format!("--initial-cluster-state=$({STATE})"),
        format!("--bump-revision={BUMP}"),
        "--mark-compacted".to_owned(),
    ];
    let restore = Container {
        name: "restore".to_owned(),
        image: member.image.clone(),
        image_pull_policy: member.image_pull_policy.clone(),
        args: Some(words.into_iter().chain(identity.iter().cloned()).chain(more).collect()),
        env: Some(vec![state()]),
        resources: member.resources.clone(),
        security_context: member.security_context.clone(),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(match origin {
            Origin::Survivor { .. } => with_data,
            Origin::Backup { .. } | Origin::Cluster { .. } => vec![data.clone()],
        }),
        ..Container::default()
    };
    Making { containers: fetch.into_iter().chain([restore]).collect(), volumes }
}

/// What the pod says of whether its cluster has begun, when the container starts.
fn state() -> EnvVar {
    EnvVar {
        name: STATE.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".to_owned()),
                field_path: format!("metadata.annotations['{CLUSTER_STATE}']"),
            }),
            ..EnvVarSource::default()
        }),
        value: None,
    }
}

/// A survivor's volume, of which nothing is changed.
pub(crate) fn survivor(claim: &str) -> (Volume, VolumeMount) {
    let name = "survivor".to_owned();
    (
        Volume {
            name: name.clone(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim.to_owned(),
                read_only: None,
            }),
            ..Volume::default()
        },
        VolumeMount {
            name,
            mount_path: SURVIVOR.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        },
    )
}

/// The folder of a member in a survivor's volume.
pub(crate) fn survivor_data() -> String {
    let data = crate::cluster::build::DATA_DIR.trim_start_matches(MOUNT);
    format!("{SURVIVOR}{data}")
}
