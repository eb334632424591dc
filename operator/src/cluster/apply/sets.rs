//! Steps of StatefulSets: one for each member.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use quorate_operator_api::ClaimPolicy;
use serde_json::json;

use super::{StepError, Work};
use crate::cluster::build::{Blueprint, CLUSTER_STATE, Member, stateful_set};
use crate::cluster::keep;
use crate::cluster::observed::{Bootstrap, Membership, Number};
use crate::kubernetes::{Deletion, ErrorKind, Manager, Precondition};

impl Work<'_> {
    /// The member that begins the cluster.
    pub(super) async fn seed(&mut self, number: Number) -> Result<(), StepError> {
        self.ensure_certificates(number).await?;
        self.write_set(&Member::seed(number), None).await
    }

    /// The pod first: if it is restarted before its template is written, it has the old one again,
    /// and is told again.
    pub(super) async fn close_seed(&self, number: Number) -> Result<(), StepError> {
        if let Some(pod) = self.live.pods.get(&number) {
            let patch = json!({ "metadata": { "annotations": { CLUSTER_STATE: "existing" } } });
            let which = Precondition { uid: pod.uid().unwrap_or_default(), version: None };
            let (namespace, name) = (&self.blueprint.names.namespace, pod.name_any());
            let objects = &self.operator.objects;
            match objects.merge::<Pod>(Manager::Roles, namespace, &name, &which, patch).await {
                Err(error) if error.kind() == ErrorKind::Missing => {}
                told => drop(told?),
            }
        }
        let begun = Blueprint { has_begun: true, ..self.blueprint.clone() };
        self.rewrite(&begun, number, |_| {}).await
    }

    /// A member that the cluster has. Its template never begins a cluster.
    pub(super) async fn start(&mut self, number: Number) -> Result<(), StepError> {
        self.ensure_certificates(number).await?;
        self.write_set(&Member::joiner(number, self.initial_cluster(number)), None).await
    }

    pub(super) async fn write_template(&self, number: Number) -> Result<(), StepError> {
        self.rewrite(self.blueprint, number, |_| {}).await
    }

    pub(super) async fn stop(&self, number: Number) -> Result<(), StepError> {
        self.rewrite(self.blueprint, number, |member| member.is_stopped = true).await
    }

    pub(super) async fn wake(&self, numbers: &[Number]) -> Result<(), StepError> {
        for number in numbers {
            self.rewrite(self.blueprint, *number, |member| member.is_stopped = false).await?;
        }
        Ok(())
    }

    /// Deletes a StatefulSet and the member's certificates. A claim that is to stay is first let go
    /// of by the StatefulSet, which would take it along.
    pub(super) async fn delete_set(
        &self,
        number: Number,
        uid: &str,
        version: &str,
    ) -> Result<(), StepError> {
        let names = &self.blueprint.names;
        let objects = &self.operator.objects;
        let keeps_claim = !self.desired.deletes_claims || self.observed.record.data_loss_possible;
        if keeps_claim && self.takes_claim_along(number, uid) {
            let mut spec = self.blueprint.spec.clone();
            spec.storage.pvc_retention.when_deleted = ClaimPolicy::Retain;
            let retaining = Blueprint { spec: &spec, ..self.blueprint.clone() };
            self.rewrite(&retaining, number, |_| {}).await?;
            return Err(StepError::NotYet("the StatefulSet has yet to let go of the volume"));
        }
        let which = Precondition { uid: uid.to_owned(), version: Some(version.to_owned()) };
        let set = names.member(number);
        objects.delete::<StatefulSet>(&names.namespace, &set, &which, Deletion::Graceful).await?;
        keep::delete_certificates(objects, self.blueprint, &self.live, number).await?;
        Ok(())
    }

    /// Whether a member's claim is owned by its StatefulSet.
    fn takes_claim_along(&self, number: Number, set_uid: &str) -> bool {
        let claim = self.live.claims.get(&number);
        claim.is_some_and(|claim| claim.owner_references().iter().any(|owner| owner.uid == set_uid))
    }

    pub(super) async fn ensure_certificates(&mut self, number: Number) -> Result<(), StepError> {
        let members = self.members.clone();
        Ok(self.maker.ensure(&mut self.live, members, self.shown, number).await?)
    }

    /// Writes the StatefulSet of a member that has one, as it is to be now.
    async fn rewrite(
        &self,
        blueprint: &Blueprint<'_>,
        number: Number,
        change: impl FnOnce(&mut Member),
    ) -> Result<(), StepError> {
        let existing = self.live.sets.get(&number);
        let existing = existing.ok_or(StepError::Changed("the StatefulSet is gone"))?;
        let initial_cluster = self.initial_cluster(number);
        let mut member = Member::of(blueprint, existing)
            .unwrap_or_else(|| Member::joiner(number, initial_cluster));
        change(&mut member);
        // A template that begins no cluster any more never does again.
        let seen = self.observed.members.get(&number).and_then(|seen| seen.set.as_ref());
        let is_closed = seen.is_some_and(|set| set.bootstrap == Bootstrap::Existing);
        let has_begun = blueprint.has_begun || is_closed;
        let blueprint = Blueprint { has_begun, ..blueprint.clone() };
        self.apply_set(stateful_set(&blueprint, &member, Some(existing))?, Some(existing)).await
    }

    pub(super) async fn write_set(
        &self,
        member: &Member,
        existing: Option<&StatefulSet>,
    ) -> Result<(), StepError> {
        self.apply_set(stateful_set(self.blueprint, member, existing)?, existing).await
    }

    async fn apply_set(
        &self,
        mut set: StatefulSet,
        existing: Option<&StatefulSet>,
    ) -> Result<(), StepError> {
        if let Some(existing) = existing {
            set.metadata.uid.clone_from(&existing.metadata.uid);
            set.metadata.resource_version.clone_from(&existing.metadata.resource_version);
        }
        self.operator.objects.apply(Manager::Members, &set).await?;
        Ok(())
    }

    /// The members as `--initial-cluster` has them: those of the cluster, this one among them.
    fn initial_cluster(&self, number: Number) -> String {
        let known: Vec<Number> = match &self.observed.membership {
            Membership::Known(known) => {
                known.members.iter().filter_map(|member| member.number).collect()
            }
            Membership::Unknown => self.observed.record.members.keys().copied().collect(),
        };
        let mut numbers: std::collections::BTreeSet<Number> = known.into_iter().collect();
        numbers.insert(number);
        let names = &self.blueprint.names;
        let urls = numbers.into_iter().map(|number| {
            format!("{}={}", names.member(number), names.peer_url(number, self.blueprint.scheme))
        });
        urls.collect::<Vec<_>>().join(",")
    }
}
