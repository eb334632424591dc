//! What to do next about a cluster: from values to a value.
//!
//! `plan(desired, observed, now)` gives one [`Step`], or a reason to [`Wait`]. After each step all
//! is looked at anew, so that a plan never spans two looks. The list of modules is the order in
//! which things are thought of:
//!
//! | module | what it sees to |
//! |---|---|
//! | `begin` | the first member, the cluster's id |
//! | `recover` | a lost majority that is given up |
//! | `sleep` | stopping and starting all members |
//! | `absent` | nobody can say who belongs to the cluster |
//! | `flight` | what was begun: members that were removed, learners, members without objects |
//! | `heal` | damaged and dead members, alarms |
//! | `scale` | too few members, too many |
//! | `update` | something new for members that run |
//! | `grow` | volumes |
//!
//! Invariants (the model test in `tests/operator/model` breaks when one does):
//! - There is never more than one learner that the operator added.
//! - No step makes a majority of the voters that answer into a minority. Who is about to go, or
//!   has just come, counts as one that does not answer.
//! - A number is never given twice, and an empty volume begins a cluster once at most.
//! - Nothing is removed, deleted or stopped but on the word of a quorum, given in this very look;
//!   except what was asked for: hibernation, and the recovery from a lost majority.

mod absent;
mod begin;
mod flight;
mod grow;
mod heal;
mod recover;
mod scale;
mod sleep;
mod step;
mod update;

use k8s_openapi::jiff::Timestamp;

pub(crate) use absent::is_lost;
pub use step::{Decision, Doing, Kind, Phase, Plan, Step, Wait};

use super::observed::{KnownMembership, Membership, Number, Observed};
use super::validate::Desired;
use super::view::{View, views};

/// What to do next.
#[must_use]
pub fn plan(desired: &Desired, observed: &Observed, now: Timestamp) -> Plan {
    let context = Context::new(desired, observed, now);
    if desired.is_paused {
        return context.wait(Wait::Paused);
    }
    if observed.record.cluster_id.is_none() {
        return begin::plan(&context);
    }
    if let Some(plan) = recover::plan(&context) {
        return plan;
    }
    if let Some(plan) = context.other_cluster() {
        return plan;
    }
    if let Some(plan) = begin::close_seeds(&context) {
        return plan;
    }
    if desired.hibernates {
        return sleep::stop(&context);
    }
    if let Some(plan) = sleep::wake(&context) {
        return plan;
    }
    if context.known.is_none() {
        return absent::plan(&context);
    }
    let phases = [
        flight::retire,
        flight::finish_learner,
        flight::start_missing,
        heal::fix_forward,
        heal::replace_dead,
        flight::wait_for_learner,
        heal::wait_for_all,
        heal::make_room,
        scale::up,
        scale::down,
        update::plan,
        advance_certificates,
        grow::plan,
    ];
    if let Some(plan) = phases.iter().find_map(|phase| phase(&context)) {
        return plan;
    }
    context.wait(context.rest())
}

/// Certificates go on when all members live to see it.
fn advance_certificates(context: &Context<'_>) -> Option<Plan> {
    use super::observed::CertificatesSeen;

    match context.observed.certificates {
        CertificatesSeen::Fine => None,
        CertificatesSeen::Due => {
            Some(context.step(Kind::Certificates, Phase::Running, None, Step::AdvanceCertificates))
        }
        CertificatesSeen::Spreading => Some(context.wait(Wait::CertificatesSpreading)),
    }
}

/// Everything that the parts of a plan look at.
struct Context<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    now: Timestamp,
    /// All members.
    members: Vec<View<'a>>,
    /// Who belongs to the cluster, if that is known.
    known: Option<&'a KnownMembership>,
}

impl<'a> Context<'a> {
    fn new(desired: &'a Desired, observed: &'a Observed, now: Timestamp) -> Self {
        let known = match &observed.membership {
            Membership::Known(known) => Some(known),
            Membership::Unknown => None,
        };
        Self { desired, observed, now, members: views(observed, now), known }
    }

    fn step(&self, kind: Kind, phase: Phase, member: Option<Number>, step: Step) -> Plan {
        Plan { decision: Decision::Step(step), operation: Some(Doing { kind, phase, member }) }
    }

    /// Waits, with what is under way as it is; at rest, nothing is.
    fn wait(&self, wait: Wait) -> Plan {
        let operation = match wait {
            Wait::Idle | Wait::Rejected | Wait::RestartsElsewhere | Wait::Hibernating => None,
            _ => self.doing(),
        };
        Plan { decision: Decision::Wait(wait), operation }
    }

    /// What there is to say when nothing is left to do.
    fn rest(&self) -> Wait {
        if self.has_alarm(super::observed::AlarmKind::NoSpace) {
            return Wait::NoSpace;
        }
        if !self.desired.restarts && self.members.iter().any(|view| update::is_old(self, view)) {
            return Wait::RestartsElsewhere;
        }
        match self.desired.refusals.is_empty() {
            true => Wait::Idle,
            false => Wait::Rejected,
        }
    }

    /// What is under way.
    fn doing(&self) -> Option<Doing> {
        let operation = self.observed.record.operation.as_ref()?;
        Some(Doing {
            kind: Kind::parse(&operation.kind)?,
            phase: Phase::parse(&operation.phase)?,
            member: operation.member.as_deref().and_then(number_of),
        })
    }

    /// How often this was tried.
    fn attempts(&self, kind: Kind, phase: Phase, member: Number) -> i32 {
        let doing = Doing { kind, phase, member: Some(member) };
        let operation = self.observed.record.operation.as_ref();
        operation.filter(|_| self.doing() == Some(doing)).map_or(0, |operation| operation.attempts)
    }

    fn is_doing(&self, kind: Kind, member: Number) -> bool {
        self.doing().is_some_and(|doing| doing.kind == kind && doing.member == Some(member))
    }

    fn has_alarm(&self, kind: super::observed::AlarmKind) -> bool {
        self.observed.alarms.iter().flatten().any(|alarm| alarm.kind == kind)
    }

    fn voters(&self) -> impl Iterator<Item = &View<'a>> {
        self.members.iter().filter(|view| view.is_voter())
    }

    fn own_voters(&self) -> impl Iterator<Item = &View<'a>> {
        self.voters().filter(|view| view.number.is_some())
    }

    fn learners(&self) -> impl Iterator<Item = &View<'a>> {
        self.members.iter().filter(|view| view.is_learner())
    }

    fn leader(&self) -> Option<&View<'a>> {
        self.voters().find(|view| view.leads)
    }

    /// Whether those that stay are a majority by themselves once this voter is gone.
    fn is_safe_without(&self, gone: &View<'_>) -> bool {
        let others = || self.voters().filter(|view| view.id() != gone.id());
        let healthy = others().filter(|view| view.is_healthy()).count();
        healthy >= quorum(others().count())
    }

    /// Whether those that vote are a majority by themselves once one more votes that may fail. A
    /// cluster of one has no other way to grow than to trust the second.
    fn is_safe_with_one_more(&self) -> bool {
        let voters = self.voters().count();
        let healthy = self.voters().filter(|view| view.is_healthy()).count();
        (voters == 1 && healthy == 1) || healthy >= quorum(voters + 1)
    }

    /// Members that say that they are of another cluster than the one that was begun.
    fn other_cluster(&self) -> Option<Plan> {
        let ours = self.observed.record.cluster_id?;
        let listed = self.known.map(|known| (None, known.cluster_id));
        let said =
            self.members.iter().filter_map(|view| Some((view.number, view.says()?.cluster_id)));
        let (number, found) =
            listed.into_iter().chain(said).find(|(_, found)| *found != ours && *found != 0)?;
        Some(self.wait(Wait::OtherCluster { number, found }))
    }
}

/// How many of so many voters are a majority.
#[must_use]
pub fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

/// The number at the end of a member's name.
fn number_of(name: &str) -> Option<Number> {
    name.rsplit('-').next()?.parse().ok()
}
