//! What a cluster's status says: from what was seen and what is to be done.
//!
//! It is written before the step is taken, on the version of the resource that was looked at. So
//! it is the gate as well: whoever looked at an older one cannot take a step.
//!
//! Invariants: numbers only count up; the cluster's id changes by a recovery alone, and
//! `DataLossPossible` with it; a condition's time changes with its status alone; two looks at the
//! same state write the same status.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use quorate_operator_api::{
    BackupSummary, ClusterStatus, ConditionType, MemberHealth, MemberStatus, Operation, Reason,
    TlsStatus,
};

use super::names::{Names, Scheme};
use super::observed::{AlarmKind, Membership, Number, Observed, format_id};
use super::plan::{Decision, Kind, Phase, Plan, Step, Wait, is_lost};
use super::validate::Desired;
use super::view::{View, views};

/// What others say of parts that a plan does not see.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts {
    /// When certificates end.
    pub tls: Option<TlsStatus>,
    /// Whether all of them are as they should be.
    pub certificates: Option<Said>,
    /// The backups.
    pub backup: Option<BackupSummary>,
    /// Whether the newest is not overdue.
    pub backups: Option<Said>,
}

/// What is said in a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// True, false, or unknown.
    pub is_so: Option<bool>,
    /// In one word.
    pub reason: Reason,
    /// In words.
    pub message: String,
}

impl Said {
    fn new(is_so: bool, reason: Reason, message: impl Into<String>) -> Self {
        Self { is_so: Some(is_so), reason, message: message.into() }
    }
}

/// What a status is made of.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// How things are named.
    pub names: &'a Names,
    /// Whether members speak TLS.
    pub scheme: Scheme,
    /// The resource's generation.
    pub generation: Option<i64>,
    /// The status until now.
    pub previous: &'a ClusterStatus,
    /// What is wished for.
    pub desired: &'a Desired,
    /// What was seen.
    pub observed: &'a Observed,
    /// What is done next.
    pub plan: &'a Plan,
    /// What others say.
    pub parts: &'a Parts,
}

/// The status that goes with a look.
#[must_use]
pub fn status(look: Look<'_>, now: Timestamp) -> ClusterStatus {
    let mut begun = look.observed.clone();
    if let Decision::Step(Step::Latch { cluster_id }) = look.plan.decision {
        begun.record.cluster_id = Some(cluster_id);
    }
    let look = Look { observed: &begun, ..look };
    let Look { names, scheme, generation, previous, desired, observed, plan, parts } = look;
    let views = views(observed, now);
    let is_known = matches!(observed.membership, Membership::Known(_));
    let ready = views.iter().filter(|view| view.is_voter() && view.is_settled()).count();
    let voters = views.iter().filter(|view| view.is_voter()).count();
    let leader = views.iter().find(|view| view.leads && view.is_voter());
    let recovered = recovered(plan);
    let members: Vec<MemberStatus> = views
        .iter()
        .filter(|view| recovered.is_none_or(|(number, _)| view.number == Some(number)))
        .filter_map(|view| {
            let is_restarted = is_being_restarted(names, previous, view);
            let mut member = member(names, view, is_known, is_restarted)?;
            if view.number.is_some_and(|number| is_given_time(plan, number)) {
                member.since = Some(Time(now));
            }
            Some(member)
        })
        .collect();
    let version = common_version(&views).or_else(|| previous.version.clone());
    let replicas = match is_known {
        true => count(voters),
        false => previous.replicas,
    };
    let endpoints = match is_known {
        true => views
            .iter()
            .filter(|view| view.is_voter())
            .filter_map(|view| Some(names.client_url(view.number?, scheme)))
            .collect(),
        false => previous.endpoints.clone(),
    };
    let size = leader.and_then(View::says).map(|says| rough(says.db_size));
    let mut status = ClusterStatus {
        observed_generation: generation,
        replicas,
        ready_replicas: count(ready),
        summary: Some(format!("{ready}/{}", desired.voters)),
        selector: Some(selector(names)),
        members,
        cluster_id: previous.cluster_id.clone(),
        next_member: next_member(previous.next_member, plan),
        leader: leader.and_then(|view| view.number).map(|number| names.member(number)),
        version,
        db_size_bytes: size.or(previous.db_size_bytes),
        compacted_at: match plan.decision {
            Decision::Step(Step::Compact { .. }) => Some(Time(now)),
            Decision::Step(_) | Decision::Wait(_) => previous.compacted_at.clone(),
        },
        endpoints,
        tls: parts.tls.clone(),
        backup: parts.backup.clone(),
        operation: operation(names, previous.operation.as_ref(), plan, now),
        conditions: Vec::new(),
    };
    if let Decision::Step(Step::Latch { cluster_id }) = plan.decision {
        status.cluster_id = Some(format_id(cluster_id));
    }
    status.conditions = Conditions { look, views: &views, now }.all(previous);
    status
}

/// The member and the id of a cluster that was rebuilt just now.
fn recovered(plan: &Plan) -> Option<(Number, u64)> {
    match (&plan.decision, plan.operation) {
        (Decision::Step(Step::Latch { cluster_id }), Some(doing))
            if doing.kind == Kind::Recover =>
        {
            Some((doing.member?, *cluster_id))
        }
        _ => None,
    }
}

/// Whether a member is started, or started anew, just now: how long it was away before does not count.
fn is_given_time(plan: &Plan, member: Number) -> bool {
    match &plan.decision {
        Decision::Step(Step::Wake { numbers }) => numbers.contains(&member),
        Decision::Step(
            Step::Start { number } | Step::Seed { number } | Step::Restart { number, .. },
        ) => *number == member,
        Decision::Step(_) | Decision::Wait(_) => false,
    }
}

/// Numbers that a step takes are gone before it is taken.
fn next_member(previous: Number, plan: &Plan) -> Number {
    match &plan.decision {
        Decision::Step(
            Step::Seed { number } | Step::Add { number } | Step::Recover { number, .. },
        ) => previous.max(number + 1),
        Decision::Step(_) | Decision::Wait(_) => previous,
    }
}

fn operation(
    names: &Names,
    previous: Option<&Operation>,
    plan: &Plan,
    now: Timestamp,
) -> Option<Operation> {
    let doing = plan.operation?;
    let kind = doing.kind.as_str().to_owned();
    let phase = doing.phase.as_str().to_owned();
    let member = doing.member.map(|number| names.member(number));
    let same = previous.filter(|old| old.kind == kind && old.member == member);
    let is_step = matches!(plan.decision, Decision::Step(_));
    let started_at = match same {
        Some(old) => old.started_at.clone(),
        None => Some(Time(now)),
    };
    let tried = same.filter(|old| old.phase == phase).map_or(0, |old| old.attempts);
    let attempts = if is_step { tried.saturating_add(1) } else { tried };
    Some(Operation { kind, phase, member, started_at, attempts })
}

/// Whether a member is being restarted with something new, as far as was written down.
fn is_being_restarted(names: &Names, previous: &ClusterStatus, view: &View<'_>) -> bool {
    let operation = previous.operation.as_ref();
    operation.is_some_and(|operation| {
        Kind::parse(&operation.kind) == Some(Kind::Update)
            && Phase::parse(&operation.phase) == Some(Phase::Restarting)
            && operation.member == view.number.map(|number| names.member(number))
    })
}

/// A member, if it is one, is about to be, or has left something behind.
fn member(
    names: &Names,
    view: &View<'_>,
    is_known: bool,
    is_restarted: bool,
) -> Option<MemberStatus> {
    let number = view.number?;
    let has_objects = view.set().is_some() || view.pod().is_some();
    let role = view.role(is_known);
    let is_unknown = view.raft.is_none() && (is_known || view.remembered.is_none());
    if is_unknown && !has_objects {
        return None;
    }
    let claim = view.seen.and_then(|seen| seen.claim.as_ref());
    let volume = match claim {
        Some(claim) if view.is_healthy() => Some(claim.uid.clone()),
        Some(_) | None => view.remembered.and_then(|remembered| remembered.volume.clone()),
    };
    Some(MemberStatus {
        name: names.member(number),
        id: view.id().or_else(|| view.says().map(|says| says.member_id)).map(format_id),
        role,
        health: view.health,
        version: view.pod().and_then(|pod| pod.version.clone()),
        since: Some(Time(view.since)),
        volume,
        template: view.template(is_restarted),
    })
}

/// The version of all voters, if it is one.
fn common_version(views: &[View<'_>]) -> Option<String> {
    let mut versions = views
        .iter()
        .filter(|view| view.is_voter())
        .map(|view| view.pod().and_then(|pod| pod.version.clone()));
    let first = versions.next()??;
    versions.all(|version| version.as_ref() == Some(&first)).then_some(first)
}

fn selector(names: &Names) -> String {
    let labels = names.members_selector();
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// A size that does not change with every write: three significant binary digits, rounded up.
fn rough(bytes: u64) -> i64 {
    let step = (bytes / 8).checked_next_power_of_two().unwrap_or(1).max(1);
    i64::try_from(bytes.next_multiple_of(step)).unwrap_or(i64::MAX)
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

struct Conditions<'a> {
    look: Look<'a>,
    views: &'a [View<'a>],
    now: Timestamp,
}

impl Conditions<'_> {
    fn all(&self, previous: &ClusterStatus) -> Vec<Condition> {
        let said = |kind: ConditionType| match kind {
            ConditionType::Available => Some(self.available()),
            ConditionType::Progressing => Some(self.progressing()),
            ConditionType::Degraded => Some(self.degraded()),
            ConditionType::FullyReplicated => Some(self.fully_replicated()),
            ConditionType::UpToDate => Some(self.up_to_date()),
            ConditionType::BackupReady => {
                Some(self.look.parts.backups.clone().unwrap_or_else(|| {
                    Said::new(false, Reason::NotConfigured, "spec.backup is not set")
                }))
            }
            ConditionType::CertificatesReady => self.look.parts.certificates.clone(),
            ConditionType::StorageReady => Some(self.storage()),
            ConditionType::Paused => Some(self.paused()),
            ConditionType::DataLossPossible => self.data_loss(),
        };
        ConditionType::ALL
            .into_iter()
            .filter_map(|kind| Some(self.condition(kind, said(kind)?, previous)))
            .collect()
    }

    fn condition(&self, kind: ConditionType, said: Said, previous: &ClusterStatus) -> Condition {
        let status = match said.is_so {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let old = previous.conditions.iter().find(|old| old.type_ == kind.as_str());
        let since =
            old.filter(|old| old.status == status).map(|old| old.last_transition_time.clone());
        Condition {
            type_: kind.as_str().to_owned(),
            status: status.to_owned(),
            reason: said.reason.as_str().to_owned(),
            message: said.message,
            last_transition_time: since.unwrap_or(Time(self.now)),
            observed_generation: self.look.generation,
        }
    }

    fn is_known(&self) -> bool {
        matches!(self.look.observed.membership, Membership::Known(_))
    }

    fn wait(&self) -> Option<&Wait> {
        match &self.look.plan.decision {
            Decision::Wait(wait) => Some(wait),
            Decision::Step(_) => None,
        }
    }

    /// Why there is nothing to say of the members.
    fn silence(&self) -> Said {
        if self.look.desired.hibernates {
            return Said::new(false, Reason::Hibernating, Wait::Hibernating.to_string());
        }
        if self.look.observed.record.cluster_id.is_none() {
            return Said::new(false, Reason::Creating, "the cluster has not begun");
        }
        if is_lost(self.views) {
            return Said::new(false, Reason::QuorumLost, Wait::QuorumLost.to_string());
        }
        // The kubelets say that members serve: it is the operator who hears nothing.
        Said { is_so: None, reason: Reason::Unknown, message: Wait::Unknown.to_string() }
    }

    fn available(&self) -> Said {
        if let Some(wait @ Wait::OtherCluster { .. }) = self.wait() {
            return Said::new(false, wait.reason(), wait.to_string());
        }
        if !self.is_known() || self.look.observed.record.cluster_id.is_none() {
            return self.silence();
        }
        Said::new(true, Reason::AsDesired, "a read through a majority of the members succeeded")
    }

    fn progressing(&self) -> Said {
        match &self.look.plan.decision {
            Decision::Step(step) => Said::new(true, self.reason(), sentence(self.look.names, step)),
            Decision::Wait(wait @ (Wait::Rejected | Wait::Leftovers)) => {
                let refusals = self.look.desired.refusals.iter().map(ToString::to_string);
                let leftovers = self.look.observed.leftovers.join(", ");
                let message = match wait {
                    Wait::Leftovers => format!("{wait}: {leftovers}"),
                    _ => refusals.collect::<Vec<_>>().join("; "),
                };
                Said::new(false, wait.reason(), message)
            }
            Decision::Wait(wait) if wait.is_progress() => {
                Said::new(true, self.reason(), wait.to_string())
            }
            Decision::Wait(wait) => Said::new(false, wait.reason(), wait.to_string()),
        }
    }

    /// The one word for what is under way.
    fn reason(&self) -> Reason {
        let Some(doing) = self.look.plan.operation else {
            return self.wait().map_or(Reason::AsDesired, Wait::reason);
        };
        match doing.kind {
            Kind::Create => Reason::Creating,
            Kind::Add => Reason::ScalingUp,
            Kind::Remove => Reason::ScalingDown,
            Kind::Replace => Reason::Replacing,
            Kind::Update if doing.phase == Phase::BackingUp => Reason::BackupFirst,
            Kind::Update => Reason::Updating,
            Kind::Hibernate => Reason::Hibernating,
            Kind::Wake => Reason::Waking,
            Kind::Grow => Reason::GrowingVolumes,
            Kind::Compact => Reason::NoSpace,
            Kind::Certificates => Reason::RenewingCertificates,
            Kind::Recover => Reason::Recovering,
        }
    }

    fn degraded(&self) -> Said {
        if let Some(wait @ (Wait::OtherCluster { .. } | Wait::UpdateStuck(_))) = self.wait() {
            return Said::new(true, wait.reason(), wait.to_string());
        }
        if self.look.desired.hibernates || self.look.observed.record.cluster_id.is_none() {
            return Said::new(false, Reason::AsDesired, "nothing is known to be wrong");
        }
        if !self.is_known() {
            let Said { reason, message, .. } = self.silence();
            return Said::new(true, reason, message);
        }
        let ill: Vec<String> = self
            .views
            .iter()
            .filter(|view| view.is_voter() && view.number.is_some() && !view.is_healthy())
            .filter_map(|view| Some(self.complaint(view.number?, view)))
            .collect();
        if !ill.is_empty() {
            return Said::new(true, Reason::MemberDown, ill.join("; "));
        }
        if self.has_no_space() {
            return Said::new(true, Reason::NoSpace, Wait::NoSpace.to_string());
        }
        Said::new(false, Reason::AsDesired, "all members answer")
    }

    fn complaint(&self, number: Number, view: &View<'_>) -> String {
        let name = self.look.names.member(number);
        let what = match view.health {
            MemberHealth::Healthy => "answers",
            MemberHealth::Unknown => "could not be asked",
            MemberHealth::Starting => "has no pod that runs",
            MemberHealth::Unreachable => "does not answer",
            MemberHealth::Corrupt => "says that its data are damaged",
        };
        let trouble = view.pod().and_then(|pod| pod.trouble.as_ref());
        trouble
            .map_or_else(|| format!("{name} {what}"), |trouble| format!("{name} {what}: {trouble}"))
    }

    fn has_no_space(&self) -> bool {
        let mut alarms = self.look.observed.alarms.iter().flatten();
        alarms.any(|alarm| alarm.kind == AlarmKind::NoSpace)
    }

    fn fully_replicated(&self) -> Said {
        if !self.is_known() || self.look.observed.record.cluster_id.is_none() {
            return self.silence();
        }
        let wished = self.look.desired.voters;
        let voters = self.views.iter().filter(|view| view.is_voter());
        let healthy = voters.clone().filter(|view| view.is_healthy()).count();
        let voters = voters.count();
        let message =
            format!("{healthy} of {voters} voting members answer, {wished} are wished for");
        let reason = match (healthy == voters, voters == wished) {
            (true, true) => return Said::new(true, Reason::AsDesired, message),
            (false, _) => Reason::MemberDown,
            (true, false) if voters < wished => Reason::ScalingUp,
            (true, false) => Reason::ScalingDown,
        };
        Said::new(false, reason, message)
    }

    fn up_to_date(&self) -> Said {
        let hash = &self.look.desired.hash;
        let old: Vec<String> = self
            .views
            .iter()
            .filter(|view| view.pod().is_some_and(|pod| pod.hash != *hash))
            .filter_map(|view| Some(self.look.names.member(view.number?)))
            .collect();
        if old.is_empty() {
            return Said::new(true, Reason::AsDesired, "all members run what is wished for");
        }
        let message = format!("out of date: {}", old.join(", "));
        let reason = match self.wait() {
            Some(wait @ (Wait::UpdateStuck(_) | Wait::BackupFailed | Wait::BackupWithoutPlace)) => {
                wait.reason()
            }
            _ => Reason::Updating,
        };
        Said::new(false, reason, message)
    }

    fn storage(&self) -> Said {
        if self.has_no_space() {
            return Said::new(false, Reason::NoSpace, Wait::NoSpace.to_string());
        }
        let wished = self.look.desired.claim_bytes;
        let mut small = BTreeMap::new();
        for view in self.views.iter().filter(|view| view.raft.is_some()) {
            let claim = view.seen.and_then(|seen| seen.claim.as_ref());
            let (Some(number), Some(claim)) = (view.number, claim) else { continue };
            if !claim.is_bound {
                small.insert(number, "has no volume yet");
            } else if claim.capacity < wished.max(claim.requested) {
                small.insert(number, "has a volume that is being enlarged");
            }
        }
        if small.is_empty() {
            return Said::new(true, Reason::AsDesired, "all volumes have the size asked for");
        }
        let names = self.look.names;
        let said = small.iter().map(|(number, what)| format!("{} {what}", names.member(*number)));
        Said::new(false, Reason::GrowingVolumes, said.collect::<Vec<_>>().join("; "))
    }

    fn paused(&self) -> Said {
        match self.look.desired.is_paused {
            true => Said::new(true, Reason::Paused, Wait::Paused.to_string()),
            false => Said::new(false, Reason::AsDesired, "spec.paused is not set"),
        }
    }

    /// Stays as it is until a person removes it.
    fn data_loss(&self) -> Option<Said> {
        let is_so =
            recovered(self.look.plan).is_some() || self.look.observed.record.data_loss_possible;
        is_so.then(|| {
            Said::new(
                true,
                Reason::Recovering,
                "the cluster was rebuilt from the survivor of a lost majority: writes that were \
                 acknowledged may be missing",
            )
        })
    }
}

/// A step in words, for people.
#[must_use]
pub fn sentence(names: &Names, step: &Step) -> String {
    let member = |number: &Number| names.member(*number);
    match step {
        Step::Seed { number } => format!("{} is created, to begin the cluster", member(number)),
        Step::CloseSeed { number } => {
            format!("{} has begun the cluster, and an empty volume no longer can", member(number))
        }
        Step::Latch { cluster_id } => format!("the cluster is {}", format_id(*cluster_id)),
        Step::Add { number } => format!("{} is added as a learner", member(number)),
        Step::Start { number } => format!("{} is started", member(number)),
        Step::Promote { number, .. } => format!("{} begins to vote", member(number)),
        Step::Transfer { from, to, .. } => {
            format!("the leadership moves from {} to {}", member(from), member(to))
        }
        Step::Remove { number, .. } => format!("{} is removed from the cluster", member(number)),
        Step::DeleteSet { number, .. } => {
            format!("the StatefulSet of {} is deleted", member(number))
        }
        Step::DeletePod { number, by_force, .. } => match by_force {
            false => format!("the pod of {} is deleted", member(number)),
            true => format!("the pod of {} is given up: its node says nothing", member(number)),
        },
        Step::DeleteClaim { number, .. } => format!("the volume of {} is deleted", member(number)),
        Step::WriteTemplate { number } => format!("{} gets its new template", member(number)),
        Step::Restart { number, .. } => format!("{} is restarted with what is new", member(number)),
        Step::Stop { number } => format!("{} is stopped", member(number)),
        Step::Wake { numbers } => {
            let names: Vec<String> = numbers.iter().map(member).collect();
            format!("started again: {}", names.join(", "))
        }
        Step::Grow { number, bytes } => {
            format!("the volume of {} is to have {bytes} bytes", member(number))
        }
        Step::Compact { revision } => {
            format!("history up to revision {revision} is forgotten, to make room")
        }
        Step::BackUp => "a backup is made before the upgrade".to_owned(),
        Step::AdvanceCertificates => "certificates are renewed".to_owned(),
        Step::Inspect { numbers } => {
            let names: Vec<String> = numbers.iter().map(member).collect();
            format!("what is left is looked at: {}", names.join(", "))
        }
        Step::Recover { survivor, number } => {
            format!("{} is made of what {} has, as a new cluster", member(number), member(survivor))
        }
    }
}
