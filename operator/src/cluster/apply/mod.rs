//! Taking one step.
//!
//! ```text
//!   Step ─┬─ of the membership ─▶ read again, compared, then asked: `membership`
//!         ├─ of a StatefulSet  ─▶ its certificates first, then itself: `sets`
//!         ├─ of pods, claims   ─▶ deleted or changed by uid: here
//!         └─ of others         ─▶ backups, recovery: `elsewhere`
//! ```
//!
//! Each step may be taken twice, cut off anywhere, or taken by an operator that does not know that
//! it is no longer the one: it names the uid, the version or the membership that it was planned for,
//! and is refused if that is no longer so.

mod elsewhere;
mod membership;
mod sets;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt as _;
use quorate_operator_api::QuorateCluster;
use serde_json::json;

use super::build::{Blueprint, BuildError};
use super::certificates::{Certificates, CertificatesError, Maker};
use super::live::Live;
use super::observed::{Number, Observed};
use super::plan::Step;
use super::validate::Desired;
use crate::kubernetes::{Deletion, Error, ErrorKind, Manager, Precondition};
use crate::members::{Contact, MemberError};
use crate::operator::Operator;
use crate::tls::managed::Shown;

/// A step that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The API server refused it, or gave no answer.
    #[error(transparent)]
    Kubernetes(#[from] Error),
    /// A member refused it, or gave no answer.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// Its objects cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Its certificates cannot be made.
    #[error("certificates cannot be made: {0}")]
    Certificates(String),
    /// Something is no longer as it was when the step was planned.
    #[error("{0}")]
    Changed(&'static str),
    /// Something else has to happen before, and has been begun.
    #[error("{0}")]
    NotYet(&'static str),
    /// Nobody can be asked.
    #[error("no member answers that could be asked")]
    NobodyToAsk,
}

impl StepError {
    /// Whether it is enough to look again.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        match self {
            Self::Kubernetes(error) => {
                matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Exists)
            }
            Self::Changed(_) => true,
            Self::Member(_)
            | Self::Build(_)
            | Self::Certificates(_)
            | Self::NotYet(_)
            | Self::NobodyToAsk => false,
        }
    }
}

impl From<CertificatesError> for StepError {
    fn from(error: CertificatesError) -> Self {
        match error {
            CertificatesError::Kubernetes(error) => Self::Kubernetes(error),
            CertificatesError::Issue(error) => Self::Certificates(error.to_string()),
            CertificatesError::Restless => Self::Certificates(error.to_string()),
        }
    }
}

/// What a step is taken with: the look that it was planned in.
pub(super) struct Work<'a> {
    pub(super) operator: &'a Operator,
    pub(super) cluster: &'a QuorateCluster,
    pub(super) blueprint: &'a Blueprint<'a>,
    pub(super) maker: &'a Maker<'a>,
    pub(super) desired: &'a Desired,
    pub(super) observed: &'a Observed,
    pub(super) contact: &'a Contact,
    pub(super) certificates: &'a Certificates,
    /// Whose certificates there are to be.
    pub(super) members: &'a BTreeSet<Number>,
    pub(super) shown: &'a BTreeMap<Number, Shown>,
    pub(super) live: Live,
}

impl Work<'_> {
    /// Takes a step.
    ///
    /// # Errors
    /// [`StepError`]; whatever it is, the next look finds out how far it came.
    pub(super) async fn take(&mut self, step: &Step) -> Result<(), StepError> {
        match step {
            Step::Seed { number } => self.seed(*number).await,
            Step::CloseSeed { number } => self.close_seed(*number).await,
            // It was written with the status.
            Step::Latch { cluster_id: _ } => self.latch().await,
            Step::Add { number } => self.add(*number).await,
            Step::Start { number } => self.start(*number).await,
            Step::Promote { number: _, id } => self.promote(*id).await,
            Step::Transfer { from, to: _, to_id } => self.transfer(*from, *to_id).await,
            Step::Remove { number, id } => self.remove(*number, *id).await,
            Step::DeleteSet { number, uid, version } => {
                self.delete_set(*number, uid, version).await
            }
            Step::DeletePod { number, uid, by_force } => {
                let how = if *by_force { Deletion::Forced } else { Deletion::Graceful };
                self.delete_pod(*number, uid, how).await
            }
            Step::DeleteClaim { number, uid } => self.delete_claim(*number, uid).await,
            Step::WriteTemplate { number } => self.write_template(*number).await,
            Step::Restart { number, uid } => {
                self.delete_pod(*number, uid, Deletion::Graceful).await
            }
            Step::Stop { number } => self.stop(*number).await,
            Step::Wake { numbers } => self.wake(numbers).await,
            Step::Grow { number, bytes } => self.grow(*number, *bytes).await,
            Step::Compact { revision } => self.compact(*revision).await,
            Step::AdvanceCertificates => {
                let due = &self.certificates.due;
                Ok(self.maker.advance(&mut self.live, due).await?)
            }
            Step::BackUp => self.back_up().await,
            Step::Inspect { numbers } => self.inspect(numbers).await,
            Step::Recover { survivor, number } => self.recover(*survivor, *number).await,
        }
    }

    async fn delete_pod(&self, number: Number, uid: &str, how: Deletion) -> Result<(), StepError> {
        let names = &self.blueprint.names;
        let which = Precondition { uid: uid.to_owned(), version: None };
        let objects = &self.operator.objects;
        Ok(objects.delete::<Pod>(&names.namespace, &names.pod(number), &which, how).await?)
    }

    async fn delete_claim(&self, number: Number, uid: &str) -> Result<(), StepError> {
        let names = &self.blueprint.names;
        let which = Precondition { uid: uid.to_owned(), version: None };
        let (namespace, name) = (&names.namespace, names.claim(number));
        let objects = &self.operator.objects;
        Ok(objects
            .delete::<PersistentVolumeClaim>(namespace, &name, &which, Deletion::Graceful)
            .await?)
    }

    /// Asks for a larger volume, of the claim that was looked at.
    async fn grow(&self, number: Number, bytes: u64) -> Result<(), StepError> {
        let claim = self.live.claims.get(&number);
        let claim = claim.ok_or(StepError::Changed("the volume claim is gone"))?;
        let which = Precondition {
            uid: claim.uid().unwrap_or_default(),
            version: claim.resource_version(),
        };
        let patch = json!({
            "spec": { "resources": { "requests": { "storage": quantity(bytes) } } }
        });
        let namespace = &self.blueprint.names.namespace;
        let name = claim.name_any();
        let objects = &self.operator.objects;
        objects
            .merge::<PersistentVolumeClaim>(Manager::Volumes, namespace, &name, &which, patch)
            .await?;
        Ok(())
    }
}

/// An amount of bytes as people read it, where it is a whole one.
fn quantity(bytes: u64) -> String {
    let units = [("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
    units
        .iter()
        .find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit))
        .map_or_else(|| bytes.to_string(), |(name, unit)| format!("{}{name}", bytes / unit))
}

#[cfg(test)]
mod tests;
