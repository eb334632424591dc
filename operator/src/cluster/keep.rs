//! What there is beside the members: Services, budgets, what applications connect with, what pods
//! are told about their member.
//!
//! It is kept at every look that may change anything, and needs no step: it takes nothing away from
//! anybody. An object that belongs to somebody else is left alone, and said so.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::build::{self, Blueprint, CLUSTER_STATE, Shared};
use super::certificates::{Certificates, certificate_kind};
use super::live::Live;
use super::memory::Memory;
use super::names::{LEARNER, MEMBER_LABEL, ROLE_LABEL, VOTER};
use super::observed::{Bootstrap, Membership, Number, Observed};
use crate::kubernetes::{Deletion, Error, ErrorKind, Manager, Objects, Precondition};

/// What is kept, and with what.
pub(super) struct Keeper<'a> {
    pub(super) objects: &'a Objects,
    pub(super) blueprint: &'a Blueprint<'a>,
    pub(super) live: &'a Live,
    pub(super) observed: &'a Observed,
    pub(super) certificates: &'a Certificates,
    /// Where applications find the members.
    pub(super) endpoints: &'a [String],
    /// Voting members that there are.
    pub(super) voters: usize,
    /// The version of the specification.
    pub(super) generation: Option<i64>,
}

impl Keeper<'_> {
    /// Has everything be as it should be; gives what cannot be.
    ///
    /// # Errors
    /// [`Error`], if the API server has no answer.
    pub(super) async fn keep(&self, memory: &mut Memory) -> Result<Vec<Error>, Error> {
        let mut refused = Vec::new();
        let Shared {
            service_account,
            members_service,
            client_service,
            network_policy,
            disruption_budget,
            monitoring,
        } = build::shared(self.blueprint, self.voters);
        note(&mut refused, self.shared(memory, &service_account).await)?;
        note(&mut refused, self.shared(memory, &members_service).await)?;
        note(&mut refused, self.shared(memory, &client_service).await)?;
        note(&mut refused, self.shared(memory, &network_policy).await)?;
        match disruption_budget {
            Some(budget) => note(&mut refused, self.shared(memory, &budget).await)?,
            None => note(&mut refused, self.drop_budget(memory).await)?,
        }
        note(&mut refused, self.connection(memory).await)?;
        note(&mut refused, self.monitoring(memory, &monitoring).await)?;
        self.tell_pods().await?;
        note(&mut refused, self.sweep_secrets().await)?;
        Ok(refused)
    }

    /// An object that there is once, unless it is as it was written.
    async fn shared<K>(&self, memory: &mut Memory, object: &K) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + Serialize,
    {
        let name = format!("{}/{}", K::kind(&()), object.name_any());
        let found = self.live.shared.get(&name);
        let version = found.and_then(|metadata| metadata.resource_version.as_deref());
        if memory.is_written(&name, object, version) {
            return Ok(());
        }
        let written = self.objects.apply(Manager::Objects, object).await?;
        memory.wrote(&name, object, written.resource_version());
        Ok(())
    }

    async fn drop_budget(&self, memory: &mut Memory) -> Result<(), Error> {
        let budget = self.blueprint.names.budget();
        let name = format!("PodDisruptionBudget/{budget}");
        let Some(metadata) = self.live.shared.get(&name) else { return Ok(()) };
        let which = Precondition {
            uid: metadata.uid.clone().unwrap_or_default(),
            version: metadata.resource_version.clone(),
        };
        memory.unwrote(&name);
        let namespace = &self.blueprint.names.namespace;
        // A change of its status meanwhile is no reason to keep it: the next look deletes it.
        let deleted = self
            .objects
            .delete::<PodDisruptionBudget>(namespace, &budget, &which, Deletion::Graceful)
            .await;
        deleted.or_else(|error| match error.kind() {
            ErrorKind::Conflict => Ok(()),
            _ => Err(error),
        })
    }

    /// What an application needs to connect, as soon as there is anything to connect to.
    async fn connection(&self, memory: &mut Memory) -> Result<(), Error> {
        if self.endpoints.is_empty() {
            return Ok(());
        }
        let files = self.certificates.client.as_ref();
        let secret = build::connection(self.blueprint, self.endpoints, files);
        let name = secret.name_any();
        let found = self.live.secrets.get(&name);
        let version = found.and_then(ResourceExt::resource_version);
        if memory.is_written(&name, &secret, version.as_deref()) {
            return Ok(());
        }
        let written = self.objects.apply(Manager::Connection, &secret).await?;
        memory.wrote(&name, &secret, written.resource_version());
        Ok(())
    }

    /// Objects of Prometheus' operator, where that is.
    async fn monitoring(&self, memory: &mut Memory, wanted: &[DynamicObject]) -> Result<(), Error> {
        for kind in ["ServiceMonitor", "PrometheusRule"] {
            let resource =
                ApiResource::from_gvk(&GroupVersionKind::gvk("monitoring.coreos.com", "v1", kind));
            let is_of_kind = |object: &&DynamicObject| {
                object.types.as_ref().is_some_and(|types| types.kind == kind)
            };
            let done = match wanted.iter().find(is_of_kind) {
                Some(object) => self.monitor(memory, &resource, object).await,
                None => self.stop_monitoring(memory, &resource).await,
            };
            match done {
                Err(error) if error.kind() == ErrorKind::Missing => {}
                done => done?,
            }
        }
        memory.swept = self.generation;
        Ok(())
    }

    async fn monitor(
        &self,
        memory: &mut Memory,
        kind: &ApiResource,
        object: &DynamicObject,
    ) -> Result<(), Error> {
        let name = format!("{}/{}", kind.kind, object.name_any());
        if memory.is_recent(&name, object) {
            return Ok(());
        }
        self.objects.apply_dynamic(Manager::Objects, kind, object).await?;
        memory.wrote(&name, object, None);
        Ok(())
    }

    /// One that was asked for once is deleted, looked for once for each specification.
    async fn stop_monitoring(&self, memory: &Memory, kind: &ApiResource) -> Result<(), Error> {
        if memory.swept == self.generation {
            return Ok(());
        }
        let (namespace, name) = (&self.blueprint.names.namespace, &self.blueprint.names.cluster);
        let found = self.objects.find_dynamic(kind, namespace, name).await?;
        let uid = self.blueprint.uid;
        let Some(found) =
            found.filter(|found| crate::kubernetes::controller_uid(&found.metadata) == Some(uid))
        else {
            return Ok(());
        };
        let which = Precondition { uid: found.uid().unwrap_or_default(), version: None };
        self.objects.delete_dynamic(kind, namespace, name, &which).await
    }

    /// Pods learn whether their member votes, and that an empty volume begins no cluster any more.
    async fn tell_pods(&self) -> Result<(), Error> {
        for (number, pod) in &self.live.pods {
            let mut patch = json!({});
            if let Some(role) = self.role(*number)
                && pod.labels().get(ROLE_LABEL).map(String::as_str) != role
            {
                patch["metadata"]["labels"][ROLE_LABEL] = role.map_or(Value::Null, Value::from);
            }
            if self.is_outdated_seed(*number, pod) {
                patch["metadata"]["annotations"][CLUSTER_STATE] = Value::from("existing");
            }
            if patch == json!({}) {
                continue;
            }
            let which = Precondition { uid: pod.uid().unwrap_or_default(), version: None };
            let (namespace, name) = (&self.blueprint.names.namespace, pod.name_any());
            let told =
                self.objects.merge::<Pod>(Manager::Roles, namespace, &name, &which, patch).await;
            match told {
                // It has gone meanwhile.
                Err(error) if matches!(error.kind(), ErrorKind::Missing | ErrorKind::Conflict) => {}
                told => drop(told?),
            }
        }
        Ok(())
    }

    /// What a member's pod is to say of its role, if that is known.
    fn role(&self, number: Number) -> Option<Option<&'static str>> {
        let Membership::Known(known) = &self.observed.membership else { return None };
        let member = known.members.iter().find(|member| member.number == Some(number));
        Some(member.map(|member| if member.is_learner { LEARNER } else { VOTER }))
    }

    fn is_outdated_seed(&self, number: Number, pod: &Pod) -> bool {
        let set = self.observed.members.get(&number).and_then(|seen| seen.set.as_ref());
        let is_closed = set.is_some_and(|set| set.bootstrap == Bootstrap::Existing);
        is_closed && pod.annotations().get(CLUSTER_STATE).is_some_and(|state| state == "new")
    }

    /// Certificates of members that are gone go, too.
    async fn sweep_secrets(&self) -> Result<(), Error> {
        let Membership::Known(known) = &self.observed.membership else { return Ok(()) };
        let names = &self.blueprint.names;
        let operation = self.observed.record.operation.as_ref();
        let busy = operation.and_then(|operation| names.number(operation.member.as_deref()?));
        let kept: BTreeSet<Number> = known
            .members
            .iter()
            .filter_map(|member| member.number)
            .chain(self.live.numbers())
            .chain(busy)
            .collect();
        let is_swept = |secret: &&Secret| {
            let member = secret.labels().get(MEMBER_LABEL);
            let number = member.and_then(|member| names.number(member));
            let owner = crate::kubernetes::controller_uid(&secret.metadata);
            number.is_some_and(|number| !kept.contains(&number))
                && owner == Some(self.blueprint.uid)
        };
        for secret in self.live.secrets.values().filter(is_swept) {
            delete_secret(self.objects, secret).await?;
        }
        Ok(())
    }
}

/// Deletes the certificates of a member.
pub(super) async fn delete_certificates(
    objects: &Objects,
    blueprint: &Blueprint<'_>,
    live: &Live,
    number: Number,
) -> Result<(), Error> {
    let names = &blueprint.names;
    let kind = certificate_kind();
    let of_cert_manager = [names.server_tls_secret(number), names.peer_tls_secret(number)];
    if blueprint.spec.tls.provider == quorate_operator_api::TlsProvider::CertManager {
        for name in &of_cert_manager {
            if let Some(found) = objects.find_dynamic(&kind, &names.namespace, name).await? {
                let which = Precondition { uid: found.uid().unwrap_or_default(), version: None };
                objects.delete_dynamic(&kind, &names.namespace, name, &which).await?;
            }
        }
    }
    let all = of_cert_manager.into_iter().chain([names.member_tls_secret(number)]);
    for secret in all.filter_map(|name| live.secrets.get(&name)) {
        delete_secret(objects, secret).await?;
    }
    Ok(())
}

async fn delete_secret(objects: &Objects, secret: &Secret) -> Result<(), Error> {
    let namespace = secret.namespace().unwrap_or_default();
    let which =
        Precondition { uid: secret.uid().unwrap_or_default(), version: secret.resource_version() };
    objects.delete::<Secret>(&namespace, &secret.name_any(), &which, Deletion::Graceful).await
}

/// What cannot be had is noted; what has no answer ends the look.
fn note(refused: &mut Vec<Error>, done: Result<(), Error>) -> Result<(), Error> {
    match done {
        Ok(()) => Ok(()),
        Err(error) => match error.kind() {
            ErrorKind::NotOurs | ErrorKind::Invalid | ErrorKind::Forbidden => {
                refused.push(error);
                Ok(())
            }
            ErrorKind::Missing
            | ErrorKind::Exists
            | ErrorKind::Conflict
            | ErrorKind::Busy
            | ErrorKind::Away => Err(error),
        },
    }
}
