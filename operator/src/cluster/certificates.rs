//! The certificates of a cluster in one look, whoever makes them.
//!
//! ```text
//!   prepare ─▶ what the operator shows to members; Secrets that nobody can do without are written
//!   judge   ─▶ with what members show: what is due, what is waited for, what the status says
//!   ensure  ─▶ the Secret of a member that is about to be started
//! ```
//!
//! What can wait is left to a step of the plan. The CA's Secret is made once by whoever is first,
//! and changed on the version that was read alone: two operators never have two CAs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::core::{ApiResource, GroupVersionKind};
use quorate_operator_api::{LocalName, Reason, TlsProvider, TlsStatus};

use super::build::Blueprint;
use super::live::Live;
use super::memory::Memory;
use super::observed::{CertificatesSeen, Number};
use super::status::Said;
use crate::kubernetes::{Deletion, Error, ErrorKind, Manager, Precondition};
use crate::operator::Operator;
use crate::tls::managed::{self, Outcome, Shown};
use crate::tls::{
    Authority, Certificate, ClientFiles, IssueError, MemberFiles, Policy, Stage,
    cert_manager_certificates,
};

/// Rounds of writes in one look: the CA, what follows from it, and once more each.
const ROUNDS_MAX: usize = 4;

/// What a look finds out about certificates.
#[derive(Clone, Debug, Default)]
pub(super) struct Certificates {
    /// What the operator shows to members.
    pub(super) operator: Option<Arc<ClientFiles>>,
    /// What applications show.
    pub(super) client: Option<ClientFiles>,
    /// What a plan needs to know.
    pub(super) seen: CertificatesSeen,
    /// What the next stage writes.
    pub(super) due: Vec<Secret>,
    /// When they end.
    pub(super) tls: Option<TlsStatus>,
    /// Whether all is well.
    pub(super) said: Option<Said>,
    /// When to look again.
    pub(super) look_again_at: Option<Timestamp>,
    /// Why the CA was made anew, if it was.
    pub(super) lost_authority: Option<String>,
}

/// Certificates cannot be made or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertificatesError {
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error(transparent)]
    Kubernetes(#[from] Error),
    #[error("the CA changes again and again")]
    Restless,
}

/// Who makes a cluster's certificates, and what with.
pub(super) struct Maker<'a> {
    pub(super) operator: &'a Operator,
    pub(super) blueprint: &'a Blueprint<'a>,
    pub(super) policy: &'a Policy,
}

impl Maker<'_> {
    /// What the operator shows to members; what nobody can do without is written, if it may be.
    pub(super) async fn prepare(
        &self,
        live: &mut Live,
        members: &BTreeSet<Number>,
        memory: &mut Memory,
        may_write: bool,
    ) -> Result<Certificates, CertificatesError> {
        match self.blueprint.spec.tls.provider {
            TlsProvider::Disabled => Ok(Certificates::default()),
            TlsProvider::Managed => self.prepare_managed(live, members, may_write).await,
            TlsProvider::CertManager => {
                self.prepare_cert_manager(live, members, memory, may_write).await
            }
            TlsProvider::Secret => self.prepare_secrets(live).await,
        }
    }

    async fn prepare_managed(
        &self,
        live: &mut Live,
        members: &BTreeSet<Number>,
        may_write: bool,
    ) -> Result<Certificates, CertificatesError> {
        let mut lost_authority = None;
        let mut made = None;
        for _ in 0..ROUNDS_MAX {
            let now = self.operator.clock.wall();
            let outcome = match self.step(live, members, &BTreeMap::new(), now) {
                Ok(outcome) => outcome,
                // The status says so; members that have certificates go on.
                Err(error) => {
                    return Ok(Certificates {
                        said: Some(not_so(Reason::Rejected, error.to_string())),
                        ..self.stored(live)
                    });
                }
            };
            lost_authority = lost_authority.or_else(|| outcome.lost_authority.clone());
            made = outcome.operator.clone().map(Arc::new);
            let is_urgent = |secret: &Secret| self.is_urgent(live, &outcome, secret, now);
            let urgent: Vec<Secret> =
                outcome.writes.iter().filter(|secret| is_urgent(secret)).cloned().collect();
            if urgent.is_empty() || !may_write {
                break;
            }
            for secret in urgent {
                self.write(live, secret).await?;
            }
        }
        let stored = self.stored(live);
        let operator = stored.operator.clone().or(made);
        Ok(Certificates { operator, lost_authority, ..stored })
    }

    /// What stands in the Secrets of the operator and of applications.
    fn stored(&self, live: &Live) -> Certificates {
        let names = &self.blueprint.names;
        let files = |name: &str| live.secrets.get(name).and_then(ClientFiles::of);
        Certificates {
            operator: files(&names.operator_tls_secret()).map(Arc::new),
            client: files(&names.client_tls_secret()),
            ..Certificates::default()
        }
    }

    /// What is to be written now, where members show these certificates.
    fn step(
        &self,
        live: &Live,
        members: &BTreeSet<Number>,
        shown: &BTreeMap<Number, Shown>,
        now: Timestamp,
    ) -> Result<Outcome, IssueError> {
        let names = &self.blueprint.names;
        let secret = |name: String| live.secrets.get(&name);
        let members: Vec<managed::Member<'_>> = members
            .iter()
            .map(|&number| managed::Member {
                number,
                secret: secret(names.member_tls_secret(number)),
                shown: match (live.pods.contains_key(&number), shown.get(&number)) {
                    (false, _) => Shown::Nobody,
                    (true, Some(shown)) => *shown,
                    (true, None) => Shown::Unknown,
                },
            })
            .collect();
        let observed = managed::Observed {
            authority: secret(names.ca_secret()),
            members: &members,
            client: secret(names.client_tls_secret()),
            operator: secret(names.operator_tls_secret()),
        };
        managed::step(self.blueprint, self.policy, &observed, now)
    }

    /// Whether a Secret is to be written whatever else goes on: there is none, or what is in it
    /// ends soon.
    fn is_urgent(&self, live: &Live, outcome: &Outcome, secret: &Secret, now: Timestamp) -> bool {
        let name = secret.name_any();
        let Some(found) = live.secrets.get(&name) else { return true };
        if name == self.blueprint.names.ca_secret() {
            return outcome.lost_authority.is_some();
        }
        let soon = self.policy.renew_seconds / 3;
        first_end(found).is_none_or(|end| end.as_second() - now.as_second() < soon)
    }

    /// Writes a Secret, and takes it for what there is from now on.
    async fn write(&self, live: &mut Live, secret: Secret) -> Result<(), Error> {
        let objects = &self.operator.objects;
        let name = secret.name_any();
        let namespace = &self.blueprint.names.namespace;
        let is_authority = name == self.blueprint.names.ca_secret();
        let found = live.secrets.get(&name);
        let written = match found.filter(|_| is_authority) {
            Some(found) if Authority::of(found).is_ok() => {
                let (which, change) = (precondition(found), Authority::change(found, &secret));
                objects.merge(Manager::Certificates, namespace, &name, &which, change).await?
            }
            Some(damaged) => {
                let which = precondition(damaged);
                objects.delete::<Secret>(namespace, &name, &which, Deletion::Graceful).await?;
                objects.create(Manager::Certificates, &secret).await?
            }
            None if is_authority => objects.create(Manager::Certificates, &secret).await?,
            None => objects.apply(Manager::Certificates, &secret).await?,
        };
        live.secrets.insert(name, written);
        Ok(())
    }

    /// What members show makes the difference: what is due, and who is waited for.
    pub(super) fn judge(
        &self,
        certificates: Certificates,
        live: &Live,
        members: &BTreeSet<Number>,
        shown: &BTreeMap<Number, Shown>,
    ) -> Certificates {
        if self.blueprint.spec.tls.provider != TlsProvider::Managed {
            return certificates;
        }
        let now = self.operator.clock.wall();
        // That they cannot be made has been said.
        let Ok(outcome) = self.step(live, members, shown, now) else { return certificates };
        let leaf_expires =
            outcome.leaves_end.or_else(|| live.secrets.values().filter_map(first_end).min());
        let seen = if !outcome.writes.is_empty() {
            CertificatesSeen::Due
        } else if !outcome.waiting_for.is_empty() {
            CertificatesSeen::Spreading
        } else {
            CertificatesSeen::Fine
        };
        let soon = now.as_second() + self.policy.renew_seconds / 3;
        let is_ending = |end: Timestamp| end.as_second() < soon;
        let said = match seen {
            _ if leaf_expires.is_some_and(is_ending) || is_ending(outcome.authority_ends) => {
                not_so(Reason::CertificatesExpiring, "a certificate ends soon, or has ended")
            }
            CertificatesSeen::Due => {
                not_so(Reason::RenewingCertificates, "certificates are about to be renewed")
            }
            CertificatesSeen::Spreading => {
                let names = &self.blueprint.names;
                let waiting = outcome.waiting_for.iter().map(|number| names.member(*number));
                let waiting = waiting.collect::<Vec<_>>().join(", ");
                not_so(
                    Reason::RenewingCertificates,
                    format!("certificates are yet to be read by {waiting}"),
                )
            }
            CertificatesSeen::Fine if outcome.stage == Stage::Trusting => not_so(
                Reason::RenewingCertificates,
                "the next CA is given time to be trusted everywhere",
            ),
            // That the previous CA is still trusted, for those who have not renewed, harms nobody.
            CertificatesSeen::Fine if outcome.stage == Stage::Retiring => Said {
                message: "all certificates are valid and trusted everywhere; for a time, so are \
                          those of the previous CA"
                    .to_owned(),
                ..is_so()
            },
            CertificatesSeen::Fine => is_so(),
        };
        Certificates {
            seen,
            due: outcome.writes,
            tls: Some(TlsStatus {
                ca_expires: Some(Time(outcome.authority_ends)),
                leaf_expires: leaf_expires.map(Time),
            }),
            said: Some(said),
            look_again_at: Some(outcome.look_again_at),
            ..certificates
        }
    }

    /// Writes what the next stage of the certificates is.
    pub(super) async fn advance(&self, live: &mut Live, due: &[Secret]) -> Result<(), Error> {
        for secret in due {
            self.write(live, secret.clone()).await?;
        }
        Ok(())
    }

    /// Sees to it that a member that is about to be started finds its certificates.
    pub(super) async fn ensure(
        &self,
        live: &mut Live,
        mut members: BTreeSet<Number>,
        shown: &BTreeMap<Number, Shown>,
        number: Number,
    ) -> Result<(), CertificatesError> {
        members.insert(number);
        match self.blueprint.spec.tls.provider {
            TlsProvider::Disabled | TlsProvider::Secret => return Ok(()),
            TlsProvider::CertManager => {
                let kind = certificate_kind();
                for certificate in cert_manager_certificates(self.blueprint, &[number]) {
                    let objects = &self.operator.objects;
                    objects.apply_dynamic(Manager::Certificates, &kind, &certificate).await?;
                }
                return Ok(());
            }
            TlsProvider::Managed => {}
        }
        let name = self.blueprint.names.member_tls_secret(number);
        for _ in 0..ROUNDS_MAX {
            let outcome = self.step(live, &members, shown, self.operator.clock.wall())?;
            let is_meant = |secret: &&Secret| {
                secret.name_any() == name || secret.name_any() == self.blueprint.names.ca_secret()
            };
            let writes: Vec<Secret> = outcome.writes.iter().filter(is_meant).cloned().collect();
            if writes.is_empty() {
                return Ok(());
            }
            self.advance(live, &writes).await?;
        }
        Err(CertificatesError::Restless)
    }

    async fn prepare_cert_manager(
        &self,
        live: &Live,
        members: &BTreeSet<Number>,
        memory: &mut Memory,
        may_write: bool,
    ) -> Result<Certificates, CertificatesError> {
        let numbers: Vec<Number> = members.iter().copied().collect();
        let wanted = cert_manager_certificates(self.blueprint, &numbers);
        let stored = self.stored(live);
        let kind = certificate_kind();
        for certificate in wanted.iter().filter(|_| may_write) {
            let name = format!("Certificate/{}", certificate.name_any());
            if memory.is_recent(&name, certificate) {
                continue;
            }
            let objects = &self.operator.objects;
            match objects.apply_dynamic(Manager::Certificates, &kind, certificate).await {
                Ok(_) => memory.wrote(&name, certificate, None),
                Err(error) if error.kind() == ErrorKind::Missing => {
                    let said = not_so(Reason::NotConfigured, "cert-manager is not there");
                    return Ok(Certificates { said: Some(said), ..stored });
                }
                Err(error) => return Err(error.into()),
            }
        }
        let missing: Vec<String> = wanted
            .iter()
            .map(ResourceExt::name_any)
            .filter(|name| !live.secrets.contains_key(name))
            .collect();
        let ends = wanted
            .iter()
            .filter_map(|certificate| live.secrets.get(&certificate.name_any()))
            .filter_map(first_end)
            .min();
        let said = if missing.is_empty() {
            self.ending(ends)
        } else {
            let missing = missing.join(", ");
            not_so(Reason::RenewingCertificates, format!("cert-manager has yet to make {missing}"))
        };
        Ok(Certificates { said: Some(said), tls: leaf(ends), ..stored })
    }

    async fn prepare_secrets(&self, live: &mut Live) -> Result<Certificates, CertificatesError> {
        let tls = &self.blueprint.spec.tls;
        let namespace = &self.blueprint.names.namespace;
        let mut ends = Vec::new();
        let mut missing = Vec::new();
        for LocalName(name) in [&tls.server_secret, &tls.peer_secret].into_iter().flatten() {
            let found = self.operator.objects.find::<Secret>(namespace, name).await?;
            match found.as_ref().and_then(first_end) {
                Some(end) => ends.push(end),
                None => missing.push(name.clone()),
            }
            if let Some(found) = found {
                live.secrets.insert(name.clone(), found);
            }
        }
        let server = tls.server_secret.as_ref().and_then(|name| live.secrets.get(&name.0));
        let said = if missing.is_empty() {
            self.ending(ends.iter().min().copied())
        } else {
            let missing = missing.join(", ");
            not_so(
                Reason::NotConfigured,
                format!("no tls.crt, tls.key and ca.crt can be read in {missing}"),
            )
        };
        Ok(Certificates {
            operator: server.and_then(ClientFiles::of).map(Arc::new),
            said: Some(said),
            tls: leaf(ends.into_iter().min()),
            ..Certificates::default()
        })
    }

    /// What is said of certificates that others make.
    fn ending(&self, end: Option<Timestamp>) -> Said {
        let soon = self.operator.clock.wall().as_second() + self.policy.renew_seconds / 3;
        match end.is_some_and(|end| end.as_second() < soon) {
            true => not_so(Reason::CertificatesExpiring, "a certificate ends soon, or has ended"),
            false => is_so(),
        }
    }
}

/// The kind of what cert-manager is asked for.
pub(super) fn certificate_kind() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("cert-manager.io", "v1", "Certificate"))
}

/// When the first of a Secret's certificates ends; `None` if there is none that can be read.
fn first_end(secret: &Secret) -> Option<Timestamp> {
    let end = |pem: &[u8]| Certificate::of_pem(pem).ok().map(|leaf| leaf.not_after);
    if let Some(files) = MemberFiles::of(secret) {
        return Some(end(&files.server)?.min(end(&files.peer)?));
    }
    end(&ClientFiles::of(secret)?.certificate)
}

fn precondition(secret: &Secret) -> Precondition {
    Precondition { uid: secret.uid().unwrap_or_default(), version: secret.resource_version() }
}

fn leaf(end: Option<Timestamp>) -> Option<TlsStatus> {
    Some(TlsStatus { ca_expires: None, leaf_expires: Some(Time(end?)) })
}

fn is_so() -> Said {
    Said {
        is_so: Some(true),
        reason: Reason::AsDesired,
        message: "all certificates are valid and trusted everywhere".to_owned(),
    }
}

fn not_so(reason: Reason, message: impl Into<String>) -> Said {
    Said { is_so: Some(false), reason, message: message.into() }
}
