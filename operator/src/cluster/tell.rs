//! What a person wants to know of a look: Events of the resource, and lines of the log.
//!
//! A step is told when it has been taken, a wait when it begins. What goes on as it was is not
//! told again.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource as _;
use quorate_operator_api::{ClusterStatus, ConditionType, QuorateCluster, Reason};

use super::apply::StepError;
use super::memory::Memory;
use super::names::Names;
use super::plan::{Plan, Step, Wait};
use super::status::sentence;
use super::validate::Desired;
use crate::kubernetes::Severity;
use crate::operator::Operator;

/// How often members may refuse a step before somebody should know: right after a change they take
/// no other for some seconds.
const USUAL_ATTEMPTS: i32 = 8;

/// Tells of one cluster.
pub(super) struct Teller<'a> {
    pub(super) operator: &'a Operator,
    pub(super) cluster: &'a QuorateCluster,
    pub(super) names: &'a Names,
    pub(super) status: &'a ClusterStatus,
}

impl Teller<'_> {
    fn about(&self) -> ObjectReference {
        self.cluster.object_ref(&())
    }

    /// What `Progressing` says: reason and message.
    fn progressing(&self) -> (String, String) {
        let name = ConditionType::Progressing.as_str();
        let condition = self.status.conditions.iter().find(|condition| condition.type_ == name);
        condition.map_or_else(
            || (Reason::Unknown.as_str().to_owned(), String::new()),
            |condition| (condition.reason.clone(), condition.message.clone()),
        )
    }

    /// A step was taken, or could not be.
    pub(super) async fn tell_step(&self, plan: &Plan, step: &Step, taken: &Result<(), StepError>) {
        let Names { cluster, namespace } = self.names;
        let said = sentence(self.names, step);
        let (reason, _) = self.progressing();
        let kind = plan.operation.map_or("", |doing| doing.kind.as_str());
        let phase = plan.operation.map_or("", |doing| doing.phase.as_str());
        let attempts = self.status.operation.as_ref().map_or(0, |operation| operation.attempts);
        self.operator.metrics.stepped(name_of(step), taken.is_ok());
        let step = step.to_string();
        match taken {
            Ok(()) => {
                tracing::info!(namespace, cluster, step, kind, phase, attempts, "{said}");
                self.operator
                    .events
                    .tell(&self.about(), Severity::Normal, &reason, kind, &said)
                    .await;
            }
            // It has been done already, or is to be done otherwise now: the next look tells.
            Err(error) if error.is_outdated() => {
                tracing::debug!(namespace, cluster, step, kind, phase, %error, "not taken");
            }
            Err(error @ StepError::Member(_)) if attempts <= USUAL_ATTEMPTS => {
                tracing::info!(namespace, cluster, step, kind, phase, attempts, %error, "not yet");
            }
            Err(error) => {
                tracing::warn!(namespace, cluster, step, kind, phase, attempts, %error, "not taken");
                let note = format!("not yet: {said}: {error}");
                self.operator
                    .events
                    .tell(&self.about(), Severity::Warning, &reason, kind, &note)
                    .await;
            }
        }
    }

    /// Nothing is done, for a reason that was not told yet.
    pub(super) async fn tell_wait(&self, wait: &Wait, memory: &mut Memory) {
        let Names { cluster, namespace } = self.names;
        let (reason, message) = self.progressing();
        let now = format!("{reason}: {message}");
        if memory.told.as_ref() == Some(&now) {
            return;
        }
        let is_first = memory.told.replace(now).is_none();
        tracing::info!(namespace, cluster, reason, "{message}");
        let severity = match wait {
            // What goes on by itself was told when it began.
            wait if wait.is_progress() => return,
            Wait::Idle | Wait::Paused | Wait::Hibernating | Wait::RestartsElsewhere => {
                Severity::Normal
            }
            // It is told by field.
            Wait::Rejected => return,
            _ => Severity::Warning,
        };
        // An operator that begins anew has nothing new to say of a cluster that is well.
        let is_news = !(is_first && *wait == Wait::Idle && !self.has_just_changed());
        if is_news {
            self.operator.events.tell(&self.about(), severity, &reason, "Wait", &message).await;
        }
    }

    /// Whether the cluster came to rest in this look.
    fn has_just_changed(&self) -> bool {
        let before = self.cluster.status.as_ref();
        before.is_none_or(|before| before.operation.is_some())
    }

    /// What is refused of the specification, whenever that has changed.
    pub(super) async fn tell_refusals(&self, desired: &Desired, memory: &mut Memory) {
        let refused: Vec<String> = desired.refusals.iter().map(ToString::to_string).collect();
        let now = refused.join("; ");
        if memory.refused == now {
            return;
        }
        memory.refused = now;
        for note in &refused {
            self.warn(Reason::Rejected.as_str(), note).await;
        }
    }

    /// Something that a person should look at.
    pub(super) async fn warn(&self, reason: &str, note: &str) {
        let Names { cluster, namespace } = self.names;
        tracing::warn!(namespace, cluster, reason, "{note}");
        self.operator.events.tell(&self.about(), Severity::Warning, reason, "Look", note).await;
    }
}

/// The name of a kind of step, without what it is about.
fn name_of(step: &Step) -> &'static str {
    match step {
        Step::Seed { .. } => "Seed",
        Step::CloseSeed { .. } => "CloseSeed",
        Step::Latch { .. } => "Latch",
        Step::Add { .. } => "Add",
        Step::Start { .. } => "Start",
        Step::Promote { .. } => "Promote",
        Step::Transfer { .. } => "Transfer",
        Step::Remove { .. } => "Remove",
        Step::DeleteSet { .. } => "DeleteSet",
        Step::DeletePod { .. } => "DeletePod",
        Step::DeleteClaim { .. } => "DeleteClaim",
        Step::WriteTemplate { .. } => "WriteTemplate",
        Step::Restart { .. } => "Restart",
        Step::Stop { .. } => "Stop",
        Step::Wake { .. } => "Wake",
        Step::Grow { .. } => "Grow",
        Step::Compact { .. } => "Compact",
        Step::BackUp => "BackUp",
        Step::AdvanceCertificates => "AdvanceCertificates",
        Step::Inspect { .. } => "Inspect",
        Step::Recover { .. } => "Recover",
    }
}
