//! What is wished for, as far as it can be had now.
//!
//! The API server has refused what is wrong in itself. What is left depends on the state of the
//! cluster, or on what this release can do. A refusal is told by a condition and takes back one
//! wish; everything else of the resource, healing above all, goes on. Only a cluster that has not
//! begun waits until nothing is refused.

use k8s_openapi::jiff::SignedDuration;
use quorate_operator_api::{
    BackupPlan, CLUSTER_NAME_MAX, ClaimPolicy, ClusterSpec, CompactionMode, PreUpgradeBackup,
    QuorateCluster, QuorumRecovery, UpdateType,
};

use super::observed::Record;
use crate::backup::schedule::{Schedule, ScheduleError};

/// The annotation by which a person asks for a cluster to be rebuilt from the best survivor. Its
/// value is the cluster's id, so that it cannot be asked for twice by accident.
pub const RECOVER_ANNOTATION: &str = "quorate.io/recover-quorum";

/// A wish that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The field.
    pub field: &'static str,
    /// Why, and what to do.
    pub message: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {}", self.field, self.message)
    }
}

/// A resource with what is refused of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    /// The specification without what is refused: manifests are built from this one.
    pub spec: ClusterSpec,
    /// What is refused.
    pub refusals: Vec<Refusal>,
}

/// What a plan is made for.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// Voting members.
    pub voters: usize,
    /// What a member's pod has to be made with.
    pub hash: String,
    /// The version, if one is asked for.
    pub version: Option<String>,
    /// Bytes of each volume.
    pub claim_bytes: u64,
    /// When a volume grows by itself.
    pub auto_grow: Option<AutoGrowth>,
    /// Whether the volume of a removed member goes with it.
    pub deletes_claims: bool,
    /// Whether nothing is to be changed.
    pub is_paused: bool,
    /// Whether the members are to be stopped.
    pub hibernates: bool,
    /// Whether members that fail are replaced.
    pub heals: bool,
    /// How long a member may fail.
    pub replace_after: SignedDuration,
    /// Whether a lost majority may be given up now, if the time has come.
    pub recovery: Recovery,
    /// Whether members are restarted with something new.
    pub restarts: bool,
    /// Whether a backup comes before another version.
    pub pre_upgrade_backup: PreUpgradeBackup,
    /// Whether history is forgotten to make room.
    pub compacts: bool,
    /// What is refused.
    pub refusals: Vec<Refusal>,
}

/// When a volume grows by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoGrowth {
    /// How full it is then, in percent.
    pub threshold_percent: u64,
    /// By how much, in percent of its size.
    pub increment_percent: u64,
    /// Up to which size.
    pub bytes_max: u64,
}

/// What may be done about a lost majority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing, ever.
    Never,
    /// Nothing, until a person asks.
    #[default]
    OnDemand,
    /// A person has asked for it.
    Asked,
    /// The cluster is rebuilt once the members had the time to come back.
    Automatic,
}

/// Compares what is wished for with what there is.
#[must_use]
pub fn validate(cluster: &QuorateCluster, record: &Record) -> Validated {
    let mut spec = cluster.spec.clone();
    let mut refusals = Vec::new();
    let mut refuse = |field, message: String| refusals.push(Refusal { field, message });

    let name = cluster.metadata.name.as_deref().unwrap_or_default();
    if name.is_empty() || name.len() > CLUSTER_NAME_MAX || name.contains('.') {
        refuse(
            "metadata.name",
            format!("it has {CLUSTER_NAME_MAX} characters at most and no dots: take another"),
        );
    }
    if !(1..=9).contains(&spec.replicas) || spec.replicas % 2 == 0 {
        refuse("spec.replicas", "it is an odd number from 1 to 9".to_owned());
        spec.replicas = voters_of(record);
    }
    if spec.auth.as_ref().is_some_and(|auth| auth.enabled) {
        refuse(
            "spec.auth",
            "this release has no users and permissions: leave it out, and let TLS tell clients \
             apart"
                .to_owned(),
        );
        spec.auth = None;
    }
    if spec.storage.size.bytes().is_none() {
        refuse("spec.storage.size", format!("{} is not a number of bytes", spec.storage.size));
        spec.storage.size = quorate_operator_api::Storage::default().size;
    }
    if let (Some(running), Some(wished)) = (&record.version, &spec.version)
        && let Err(message) = check_version_step(running, wished)
    {
        refuse("spec.version", message);
        spec.version = Some(running.clone());
    }
    let joins = spec.bootstrap.as_ref().is_some_and(|bootstrap| bootstrap.join.is_some());
    if record.cluster_id.is_none() && joins {
        let text = "this release cannot begin a cluster with it: copy the data with clone";
        refuse("spec.bootstrap.join", text.to_owned());
    }
    if let Some(backup) = &mut spec.backup {
        for refusal in schedules(backup) {
            refuse(refusal.field, refusal.message);
        }
    }
    Validated { spec, refusals }
}

/// Takes back what is no schedule, and says why.
fn schedules(backup: &mut BackupPlan) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let message = |error: ScheduleError| match &error {
        ScheduleError::Zone(_) => ("spec.backup.timeZone", error.to_string()),
        ScheduleError::Pattern { .. } => ("spec.backup.schedule", error.to_string()),
    };
    if let Err(error) = Schedule::of_backups(backup) {
        let (field, message) = message(error);
        refusals.push(Refusal { field, message });
        backup.schedule = None;
        backup.time_zone = None;
    }
    if let Err(error) = Schedule::of_drills(backup) {
        let field = "spec.backup.verifySchedule";
        refusals.push(Refusal { field, message: error.to_string() });
        backup.verify_schedule = None;
    }
    refusals
}

/// As many voters as there were, for a cluster whose wish makes no sense.
fn voters_of(record: &Record) -> i32 {
    use quorate_operator_api::MemberRole::{Leader, Voter};
    let voters = record.members.values().filter(|member| matches!(member.role, Voter | Leader));
    i32::try_from(voters.count()).unwrap_or(1).clamp(1, 9)
}

/// Whether members may go from one version to the other.
fn check_version_step(running: &str, wished: &str) -> Result<(), String> {
    let (Some(from), Some(to)) = (minor_of(running), minor_of(wished)) else { return Ok(()) };
    if from.0 != to.0 || to.1 > from.1 + 1 {
        return Err(format!(
            "members run {running}, and {wished} is more than one minor version later: go step by \
             step"
        ));
    }
    if to.1 < from.1 {
        return Err(format!(
            "members run {running}, and {wished} is an earlier minor version: make another cluster \
             of a backup"
        ));
    }
    Ok(())
}

fn minor_of(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

impl Desired {
    /// What is wished for, where members' pods are to be made with `hash`.
    #[must_use]
    pub fn of(cluster: &QuorateCluster, validated: &Validated, hash: &str) -> Self {
        let Validated { spec, refusals } = validated;
        let auto_grow = spec.storage.auto_grow.as_ref().and_then(|growth| {
            Some(AutoGrowth {
                threshold_percent: u64::try_from(growth.threshold_percent).ok()?,
                increment_percent: u64::try_from(growth.increment_percent).ok()?,
                bytes_max: growth.max_size.bytes()?,
            })
        });
        let id = cluster.status.as_ref().and_then(|status| status.cluster_id.as_ref());
        let annotations = cluster.metadata.annotations.as_ref();
        let asked = annotations.and_then(|annotations| annotations.get(RECOVER_ANNOTATION));
        let recovery = match spec.healing.quorum_recovery {
            QuorumRecovery::Disabled => Recovery::Never,
            QuorumRecovery::Automatic => Recovery::Automatic,
            QuorumRecovery::Manual if asked.is_some() && asked == id => Recovery::Asked,
            QuorumRecovery::Manual => Recovery::OnDemand,
        };
        Self {
            voters: usize::try_from(spec.replicas).unwrap_or(1).max(1),
            hash: hash.to_owned(),
            version: spec.version.clone(),
            claim_bytes: spec.storage.size.bytes().unwrap_or_default(),
            auto_grow,
            deletes_claims: spec.storage.pvc_retention.when_scaled == ClaimPolicy::Delete,
            is_paused: spec.paused,
            hibernates: spec.hibernate,
            heals: spec.healing.enabled,
            replace_after: SignedDuration::from_secs(spec.healing.replace_after_seconds.into()),
            recovery,
            restarts: spec.update.kind == UpdateType::Rolling,
            pre_upgrade_backup: spec.update.pre_upgrade_backup,
            compacts: spec.config.auto_compaction.mode != CompactionMode::Disabled,
            refusals: refusals.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check_version_step;

    #[test]
    fn versions_go_one_minor_step_at_a_time() {
        for (running, wished, is_taken) in [
            ("0.1.0", "0.1.0", true),
            ("0.1.3", "0.1.0", true),
            ("0.1.0", "0.2.5", true),
            ("0.1.0", "0.3.0", false),
            ("0.2.0", "0.1.9", false),
            ("0.9.0", "1.0.0", false),
            ("unknown", "0.3.0", true),
        ] {
            let found = check_version_step(running, wished);
            assert_eq!(found.is_ok(), is_taken, "{running} → {wished}: {found:?}");
        }
    }
}
