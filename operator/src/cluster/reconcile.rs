//! One look at a cluster, and at most one step.
//!
//! ```text
//!   read ─▶ validate ─▶ certificates ─▶ visit ─▶ plan ─▶ status ─▶ keep ─▶ step
//!                                                          │
//!                              refused, if somebody has written it since ─▶ look again
//! ```
//!
//! The status is written before anything is done, on the version of the resource that was read. So
//! it is the gate: an operator that has slept through another's work is stopped there.
//!
//! Nothing is remembered that matters: who begins anew with the resource, the objects and the
//! members goes on from where the last one was.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::jiff::Timestamp;
use quorate_operator_api::{ClusterStatus, MemberRole, QuorateCluster};

use super::apply::{StepError, Work};
use super::build::{self, Blueprint, BuildError};
use super::certificates::{Certificates, CertificatesError, Maker};
use super::keep::Keeper;
use super::live::Live;
use super::memory::Memory;
use super::names::Names;
use super::observe;
use super::observed::{Alarm, Answer, Membership, Number, Observed, Record};
use super::plan::{Decision, Plan, plan, quorum};
use super::status::{Look, Parts, status};
use super::tell::Teller;
use super::validate::{Desired, Refusal, Validated, validate};
use super::view::views;
use crate::kubernetes::{self, ErrorKind};
use crate::members::{Contact, Visit};
use crate::metrics::Facts;
use crate::operator::{Key, Operator};
use crate::tls::Policy;
use crate::tls::managed::Shown;
use crate::{backup, recovery, restore};

/// How soon after a step the next look is.
const AFTER_STEP: Duration = Duration::from_millis(100);
/// How soon after a step that was taken again and again.
const AFTER_REPEATED_STEP_MAX: Duration = Duration::from_secs(15);
/// How often a step is taken in a row before it is taken more slowly.
const EAGER_ATTEMPTS: i32 = 3;

/// When to look again, if nothing happens before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// After this time.
    After(Duration),
    /// Never: the cluster is gone, or about to go.
    Gone,
}

/// A look that came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server gave no answer, or refused.
    #[error(transparent)]
    Kubernetes(#[from] kubernetes::Error),
    /// Nothing can be built of the resource.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The step was not taken.
    #[error("{step}: {error}")]
    Step {
        /// Which.
        step: String,
        /// Why.
        error: StepError,
    },
    /// Certificates cannot be made.
    #[error("certificates cannot be made: {0}")]
    Certificates(String),
    /// Another operator acts.
    #[error("another operator acts")]
    NotLeading,
}

impl Error {
    /// Whether it is enough to look again.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        match self {
            Self::Kubernetes(error) => {
                matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Exists)
            }
            Self::Step { error, .. } => error.is_outdated(),
            Self::Build(_) | Self::Certificates(_) | Self::NotLeading => false,
        }
    }
}

impl From<CertificatesError> for Error {
    fn from(error: CertificatesError) -> Self {
        match error {
            CertificatesError::Kubernetes(error) => Self::Kubernetes(error),
            CertificatesError::Issue(error) => Self::Certificates(error.to_string()),
            CertificatesError::Restless => Self::Certificates(error.to_string()),
        }
    }
}

/// Looks at a cluster, writes what there is to say, and takes at most one step.
///
/// # Errors
/// [`Error`]. Nothing is lost by it: the next look begins anew.
pub async fn reconcile(operator: &Operator, key: &Key) -> Result<Next, Error> {
    let found = operator.objects.get::<QuorateCluster>(&key.namespace, &key.name).await?;
    let Some(cluster) = found.filter(|cluster| cluster.metadata.deletion_timestamp.is_none())
    else {
        // What it owns goes with it, as its owner references say.
        operator.forget(key);
        return Ok(Next::Gone);
    };
    let mut memory = operator.take_memory(key);
    let result = look(operator, key, cluster, &mut memory).await;
    operator.keep_memory(key, memory);
    result
}

async fn look(
    operator: &Operator,
    key: &Key,
    mut cluster: QuorateCluster,
    memory: &mut Memory,
) -> Result<Next, Error> {
    let names = Names::new(&key.name, &key.namespace);
    let previous = cluster.status.clone().unwrap_or_default();
    let record = Record::of(&previous, &names);
    let live = Live::read(&operator.objects, &operator.nodes, &names, &cluster.metadata).await?;
    let wish = Wish::of(operator, &mut cluster, &record, &live).await?;
    let defaults = &operator.settings.defaults;
    let running = wish.running.as_deref();
    let blueprint = Blueprint::new(&cluster, defaults, running)?.with_origin(wish.origin.clone());
    let hash = match wish.is_held_back {
        true => observe::common_hash(&live).unwrap_or_else(|| build::hash(&blueprint)),
        false => build::hash(&blueprint),
    };
    let policy = Policy::of(&cluster);
    let ground = Ground {
        operator,
        cluster: &cluster,
        names: &names,
        previous: &previous,
        desired: &Desired::of(&cluster, &wish.validated, &hash),
        blueprint: &blueprint,
        maker: &Maker { operator, blueprint: &blueprint, policy: &policy },
    };
    let seen = ground.see(record, live, memory).await?;
    let plan = plan(ground.desired, &seen.observed, seen.now);
    let written = ground.write_status(key, &seen, &plan).await?;
    let teller = Teller { operator, cluster: &cluster, names: &names, status: &written };
    ground.keep(&seen, &teller, memory).await?;
    ground.go_on(seen, &plan, &teller, memory).await
}

/// What is wished for, as far as it can be had.
struct Wish {
    validated: Validated,
    /// The image that members run.
    running: Option<String>,
    /// What a cluster that has not begun is made of.
    origin: Option<restore::Origin>,
    /// Whether overrides were held back: members that run with earlier ones are left alone.
    is_held_back: bool,
}

impl Wish {
    /// The resource's, whose specification loses what is refused.
    async fn of(
        operator: &Operator,
        cluster: &mut QuorateCluster,
        record: &Record,
        live: &Live,
    ) -> Result<Self, Error> {
        let running = observe::running_image(live);
        let mut validated = validate(cluster, record);
        cluster.spec = validated.spec.clone();
        let origin = match record.cluster_id {
            Some(_) => None,
            None => restore::find(&operator.objects, cluster).await?.unwrap_or_else(|refusal| {
                validated.refusals.push(refusal);
                None
            }),
        };
        let is_held_back =
            hold_back_overrides(operator, cluster, &mut validated, running.as_deref())?;
        Ok(Self { validated, running, origin, is_held_back })
    }
}

/// What a look is about: a cluster, and what is wished for.
struct Ground<'a> {
    operator: &'a Operator,
    cluster: &'a QuorateCluster,
    names: &'a Names,
    previous: &'a ClusterStatus,
    desired: &'a Desired,
    blueprint: &'a Blueprint<'a>,
    maker: &'a Maker<'a>,
}

/// What a look has seen.
struct Seen {
    observed: Observed,
    live: Live,
    contact: Contact,
    certificates: Certificates,
    backups: backup::upkeep::Look,
    /// Whose certificates there are to be.
    members: BTreeSet<Number>,
    /// What each shows.
    shown: BTreeMap<Number, Shown>,
    now: Timestamp,
}

impl Ground<'_> {
    fn may_write(&self) -> bool {
        !self.desired.is_paused
    }

    /// Asks everybody, with certificates that are there or are made first.
    async fn see(
        &self,
        record: Record,
        mut live: Live,
        memory: &mut Memory,
    ) -> Result<Seen, Error> {
        let Self { operator, cluster, blueprint, maker, .. } = *self;
        let members = with_certificates(&live, &record);
        leading(operator)?;
        // What is written into another's Secret goes with that.
        let may_write = self.may_write() && !live.has_foreign_secrets;
        let certificates = maker.prepare(&mut live, &members, memory, may_write).await?;
        let contact = Contact {
            names: self.names.clone(),
            scheme: blueprint.scheme,
            files: certificates.operator.clone(),
            addresses: observe::addresses(&live),
        };
        let Asked { visits, membership, alarms } = ask(operator, &contact).await;
        let shown: BTreeMap<Number, Shown> =
            visits.iter().map(|(number, visit)| (*number, visit.shown)).collect();
        let certificates = maker.judge(certificates, &live, &members, &shown);
        let backups = backup::look(operator, cluster).await?;
        let patience = self.desired.replace_after.saturating_mul(2);
        let known = recovery::look(operator, blueprint, &record, &live, patience).await?;
        let now = operator.clock.steady();
        let observed = Observed {
            backup: backups.seen,
            remains: known.remains,
            unread: known.unread,
            record,
            membership,
            members: observe::members(&live, &visits, now),
            alarms,
            leftovers: live.leftovers.clone(),
            certificates: certificates.seen,
        };
        Ok(Seen { observed, live, contact, certificates, backups, members, shown, now })
    }

    /// Says how it is and what is done next, to metrics and in the status. Who is refused here has
    /// looked at what is no more.
    async fn write_status(
        &self,
        key: &Key,
        seen: &Seen,
        plan: &Plan,
    ) -> Result<ClusterStatus, Error> {
        let Seen { observed, certificates, backups, now, .. } = seen;
        let previous = self.previous;
        let parts = Parts {
            tls: certificates.tls.clone().or_else(|| previous.tls.clone()),
            certificates: certificates.said.clone(),
            backup: backups.summary.clone().or_else(|| previous.backup.clone()),
            backups: backups.said.clone(),
        };
        let look = Look {
            names: self.names,
            scheme: self.blueprint.scheme,
            generation: self.cluster.metadata.generation,
            previous,
            desired: self.desired,
            observed,
            plan,
            parts: &parts,
        };
        let written = status(look, *now);
        let facts = facts(self.desired, observed, &written, certificates, *now);
        self.operator.metrics.know(key, Facts { backup_due: backups.due, ..facts });
        leading(self.operator)?;
        if written != *previous {
            let objects = &self.operator.objects;
            objects.apply_status::<QuorateCluster>(&self.cluster.metadata, &written).await?;
        }
        Ok(written)
    }

    /// Has what stands beside the members be as it should be, and tells what cannot be.
    async fn keep(
        &self,
        seen: &Seen,
        teller: &Teller<'_>,
        memory: &mut Memory,
    ) -> Result<(), Error> {
        teller.tell_refusals(self.desired, memory).await;
        if let Some(reason) = &seen.certificates.lost_authority {
            teller.warn("CertificatesReady", &format!("the CA was made anew: {reason}")).await;
        }
        if !self.may_write() {
            return Ok(());
        }
        let keeper = Keeper {
            objects: &self.operator.objects,
            blueprint: self.blueprint,
            live: &seen.live,
            observed: &seen.observed,
            certificates: &seen.certificates,
            endpoints: &teller.status.endpoints,
            voters: usize::try_from(teller.status.replicas).unwrap_or_default(),
            generation: self.cluster.metadata.generation,
        };
        for refused in keeper.keep(memory).await? {
            teller.warn("Refused", &refused.to_string()).await;
        }
        Ok(())
    }

    /// Takes the step, or waits.
    async fn go_on(
        &self,
        seen: Seen,
        plan: &Plan,
        teller: &Teller<'_>,
        memory: &mut Memory,
    ) -> Result<Next, Error> {
        let Seen { observed, live, contact, certificates, members, shown, now, .. } = seen;
        let operator = self.operator;
        let step = match &plan.decision {
            Decision::Wait(wait) => {
                teller.tell_wait(wait, memory).await;
                let patience = Duration::try_from(wait.patience(now)).unwrap_or(AFTER_STEP);
                return Ok(Next::After(sooner(patience, certificates.look_again_at, operator)));
            }
            Decision::Step(step) => step,
        };
        memory.told = None;
        leading(operator)?;
        let mut work = Work {
            operator,
            cluster: self.cluster,
            blueprint: self.blueprint,
            maker: self.maker,
            desired: self.desired,
            observed: &observed,
            contact: &contact,
            certificates: &certificates,
            members: &members,
            shown: &shown,
            live,
        };
        let taken = work.take(step).await;
        teller.tell_step(plan, step, &taken).await;
        match taken {
            Ok(()) => Ok(Next::After(after_step(teller.status))),
            Err(error) => Err(Error::Step { step: step.to_string(), error }),
        }
    }
}

/// Overrides that make no pod are refused. Members that run with earlier ones are left alone.
fn hold_back_overrides(
    operator: &Operator,
    cluster: &mut QuorateCluster,
    validated: &mut Validated,
    running: Option<&str>,
) -> Result<bool, Error> {
    let blueprint = Blueprint::new(cluster, &operator.settings.defaults, running)?;
    // One that begins nothing, so that nothing else is looked at.
    let tried = build::stateful_set(&blueprint, &build::Member::joiner(0, String::new()), None);
    let Err(error) = tried else { return Ok(false) };
    validated.refusals.push(Refusal { field: "spec.pod.overrides", message: error.to_string() });
    validated.spec.pod.overrides = None;
    cluster.spec.pod.overrides = None;
    Ok(true)
}

/// The members whose certificates there are to be: those that there are, or were when last somebody
/// knew.
fn with_certificates(live: &Live, record: &Record) -> BTreeSet<Number> {
    let remembered = record.members.iter().filter(|(_, member)| {
        matches!(member.role, MemberRole::Voter | MemberRole::Leader | MemberRole::Learner)
    });
    let sets = live.sets.keys().copied();
    sets.chain(remembered.map(|(number, _)| *number)).collect()
}

fn leading(operator: &Operator) -> Result<(), Error> {
    if operator.leadership.holds() { Ok(()) } else { Err(Error::NotLeading) }
}

/// What members say.
struct Asked {
    visits: BTreeMap<Number, Visit>,
    membership: Membership,
    alarms: Option<Vec<Alarm>>,
}

/// Asks all members at once how they are, then one that has a leader who belongs to the cluster:
/// the leader, or else whoever follows one.
async fn ask(operator: &Operator, contact: &Contact) -> Asked {
    let members = &operator.members;
    let visits = contact
        .addresses
        .keys()
        .map(|&number| async move { (number, members.visit(contact, number).await) });
    let visits: BTreeMap<Number, Visit> = join_all(visits).await.into_iter().collect();
    let mut candidates: Vec<(bool, Number)> = visits
        .iter()
        .filter_map(|(number, visit)| match &visit.answer {
            Answer::Says(says) if says.leader != 0 => {
                Some((says.leader != says.member_id, *number))
            }
            Answer::Says(_) | Answer::Silent => None,
        })
        .collect();
    candidates.sort_unstable();
    for (_, number) in candidates {
        match members.list(contact, number).await {
            Ok(listed) => {
                let known = observe::membership(&contact.names, contact.scheme, &listed);
                let alarms = members.alarms(contact, number).await.ok();
                return Asked { visits, membership: Membership::Known(known), alarms };
            }
            Err(error) => {
                let names = &contact.names;
                tracing::debug!(
                    namespace = names.namespace,
                    cluster = names.cluster,
                    %error,
                    "a member does not say who belongs to the cluster"
                );
            }
        }
    }
    Asked { visits, membership: Membership::Unknown, alarms: None }
}

/// What metrics tell of a cluster.
fn facts(
    desired: &Desired,
    observed: &Observed,
    status: &ClusterStatus,
    certificates: &Certificates,
    now: Timestamp,
) -> Facts {
    let views = views(observed, now);
    let voters = views.iter().filter(|view| view.is_voter());
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let margin = match (&observed.membership, observed.record.cluster_id) {
        (_, None) => None,
        (Membership::Unknown, Some(_)) => Some(-1),
        (Membership::Known(_), Some(_)) => {
            let healthy = voters.clone().filter(|view| view.is_healthy()).count();
            Some(count(healthy) - count(quorum(voters.count())))
        }
    };
    let operation = status.operation.as_ref();
    let tls = certificates.tls.as_ref();
    let end = tls.and_then(|tls| {
        let ends = [tls.leaf_expires.as_ref(), tls.ca_expires.as_ref()];
        ends.into_iter().flatten().map(|time| time.0).min()
    });
    Facts {
        conditions: status
            .conditions
            .iter()
            .map(|condition| (condition.type_.clone(), condition.status == "True"))
            .collect(),
        members: status.members.iter().map(|member| (member.role, member.health)).collect(),
        desired: desired.voters,
        margin,
        operation: operation
            .and_then(|operation| Some((operation.kind.clone(), operation.started_at.as_ref()?.0))),
        certificates_end: end,
        backup_due: None,
    }
}

/// The patience that there is, or less if certificates are due before.
fn sooner(patience: Duration, at: Option<Timestamp>, operator: &Operator) -> Duration {
    let left = at.map(|at| at.duration_since(operator.clock.wall()));
    let left = left.and_then(|left| Duration::try_from(left).ok());
    left.map_or(patience, |left| patience.min(left.max(Duration::from_secs(1))))
}

/// A step that is taken again and again without an effect is taken more slowly.
fn after_step(status: &ClusterStatus) -> Duration {
    let attempts = status.operation.as_ref().map_or(0, |operation| operation.attempts);
    let too_many = u32::try_from((attempts - EAGER_ATTEMPTS).max(0)).unwrap_or_default();
    if too_many == 0 {
        return AFTER_STEP;
    }
    Duration::from_millis(500 << too_many.min(5)).min(AFTER_REPEATED_STEP_MAX)
}
