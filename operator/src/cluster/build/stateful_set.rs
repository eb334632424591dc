//! A member's StatefulSet.

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use quorate_operator_api::ClaimPolicy;

use super::{Blueprint, BuildError, pod, volumes};

/// The annotation of a StatefulSet with its member's first cluster, as `--initial-cluster` has it.
/// It is written once and read ever after.
pub const INITIAL_CLUSTER: &str = "quorate.io/initial-cluster";

/// A member that there is or will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub number: i64,
    /// How it comes to its cluster.
    pub beginning: Beginning,
    /// Whether it has no pod for now, as in hibernation.
    pub is_stopped: bool,
}

/// How a member with an empty directory comes to its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// It is the cluster's first member.
    Seed,
    /// It is the first member of a cluster that goes on under another id, with what a member of the
    /// one that lost its majority has. Once its id is known it is as any first member.
    Heir {
        /// The claim of the volume that it is made of.
        claim: String,
    },
    /// It was added to the members that there were.
    Joiner {
        /// They and itself: `name=url,name=url`.
        initial_cluster: String,
    },
}

impl Member {
    /// The first member of a cluster.
    #[must_use]
    pub fn seed(number: i64) -> Self {
        Self { number, beginning: Beginning::Seed, is_stopped: false }
    }

    /// The first member of a cluster that goes on under another id.
    #[must_use]
    pub fn heir(number: i64, claim: String) -> Self {
        Self { number, beginning: Beginning::Heir { claim }, is_stopped: false }
    }

    /// A member that was added; itself among `initial_cluster`.
    #[must_use]
    pub fn joiner(number: i64, initial_cluster: String) -> Self {
        Self { number, beginning: Beginning::Joiner { initial_cluster }, is_stopped: false }
    }

    /// The member of a StatefulSet that there is; `None` if it is none of this cluster's.
    #[must_use]
    pub fn of(blueprint: &Blueprint<'_>, set: &StatefulSet) -> Option<Self> {
        let number = blueprint.names.number(set.metadata.name.as_deref()?)?;
        let written = set.metadata.annotations.as_ref().and_then(|all| all.get(INITIAL_CLUSTER))?;
        let mut member = Self::seed(number);
        if *written != member.initial_cluster(blueprint) {
            member = Self::joiner(number, written.clone());
        }
        member.is_stopped = set.spec.as_ref().is_some_and(|spec| spec.replicas == Some(0));
        Some(member)
    }

    /// What `--initial-cluster` is.
    pub(super) fn initial_cluster(&self, blueprint: &Blueprint<'_>) -> String {
        match &self.beginning {
            Beginning::Seed | Beginning::Heir { .. } => {
                let names = &blueprint.names;
                let url = names.peer_url(self.number, blueprint.scheme);
                format!("{}={url}", names.member(self.number))
            }
            Beginning::Joiner { initial_cluster } => initial_cluster.clone(),
        }
    }
}

/// The StatefulSet of a member; `existing` is the one that there is already.
///
/// Its pod is deleted by the operator alone, in the operator's order. Its claims stay when it is
/// scaled to nothing, as for hibernation; when it is deleted, they stay or go as for a cluster that
/// is deleted: a member that is removed for another reason needs its claim deleted or kept first.
///
/// # Errors
/// [`BuildError::Overrides`].
pub fn stateful_set(
    blueprint: &Blueprint<'_>,
    member: &Member,
    existing: Option<&StatefulSet>,
) -> Result<StatefulSet, BuildError> {
    let names = &blueprint.names;
    let number = member.number;
    let mut metadata = blueprint.member_metadata(names.member(number), number);
    let initial_cluster = member.initial_cluster(blueprint);
    metadata.annotations = Some([(INITIAL_CLUSTER.to_owned(), initial_cluster)].into());
    let retention = |policy| match policy {
        ClaimPolicy::Retain => "Retain".to_owned(),
        ClaimPolicy::Delete => "Delete".to_owned(),
    };
    let when_deleted = blueprint.spec.storage.pvc_retention.when_deleted;
    Ok(StatefulSet {
        metadata,
        spec: Some(StatefulSetSpec {
            replicas: Some(i32::from(!member.is_stopped)),
            pod_management_policy: Some("Parallel".to_owned()),
            persistent_volume_claim_retention_policy: Some(
                StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: Some(retention(when_deleted)),
                    when_scaled: Some(retention(ClaimPolicy::Retain)),
                },
            ),
            revision_history_limit: Some(2),
            selector: LabelSelector {
                match_labels: Some(names.member_selector(number)),
                ..LabelSelector::default()
            },
            service_name: Some(names.members_service()),
            template: pod::template(blueprint, member)?,
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                rolling_update: None,
            }),
            volume_claim_templates: Some(vec![claim(blueprint, existing)]),
            ..StatefulSetSpec::default()
        }),
        status: None,
    })
}

/// The claim's template. Kubernetes lets nobody change one, so the first stays: a volume grows by
/// its claim.
fn claim(blueprint: &Blueprint<'_>, existing: Option<&StatefulSet>) -> PersistentVolumeClaim {
    let made = volumes::claim(blueprint);
    let first = existing
        .and_then(|set| set.spec.as_ref())
        .and_then(|spec| spec.volume_claim_templates.as_ref())
        .and_then(|claims| claims.iter().find(|claim| claim.metadata.name == made.metadata.name));
    let Some(PersistentVolumeClaim { metadata, spec: Some(spec), .. }) = first else {
        return made;
    };
    // Without what the API server has added.
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: metadata.name.clone(),
            labels: metadata.labels.clone(),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: spec.access_modes.clone(),
            resources: spec.resources.clone(),
            storage_class_name: spec.storage_class_name.clone(),
            volume_mode: spec.volume_mode.clone(),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}
