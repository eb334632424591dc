//! The CA of a cluster, as it stands in its Secret.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::annotations::{RETIRE_AT, ROTATE_CA, TRUSTED_SINCE};
use super::certificate::{Certificate, CertificateError};
use super::files::{Key, data, file};
use super::issue::{self, IssueError, Validity};
use super::policy::Policy;
use super::rotation::Stage;
use crate::cluster::build::Blueprint;

/// The Secret is not what the operator wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// A certificate is missing or cannot be read.
    #[error("{file}: {source}")]
    Certificate {
        /// Where.
        file: &'static str,
        /// Why.
        #[source]
        source: CertificateError,
    },
    /// There is no key, or it is that of something else.
    #[error("{0} is missing or belongs to another certificate")]
    Key(&'static str),
}

/// One CA, or several that nobody can sign with any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ca {
    /// As PEM.
    pub(super) pem: Vec<u8>,
    /// Read; at least one.
    pub(super) certificates: Vec<Certificate>,
    /// With which it signs; `None` if that is lost, or not needed any more.
    pub(super) key: Option<Key>,
}

impl Ca {
    /// A new one.
    pub(super) fn make(cluster: &str, policy: &Policy, now: Timestamp) -> Result<Self, IssueError> {
        let validity = Validity { now, seconds: policy.ca_seconds, end: None };
        let issued = issue::authority(cluster, validity)?;
        let certificates =
            Certificate::all_of_pem(&issued.certificate).expect("it was made by this program");
        Ok(Self { pem: issued.certificate, certificates, key: Some(issued.key) })
    }

    fn read(
        secret: &Secret,
        certificate: &'static str,
        key: Option<&'static str>,
    ) -> Result<Option<Self>, AuthorityError> {
        let Some(pem) = file(secret, certificate) else { return Ok(None) };
        let failed = |source| AuthorityError::Certificate { file: certificate, source };
        let certificates = Certificate::all_of_pem(pem).map_err(failed)?;
        let Some(first) = certificates.first() else {
            return Err(failed(CertificateError::Missing));
        };
        let key = match key.and_then(|name| Some((name, file(secret, name)?))) {
            None => None,
            Some((name, pem)) => {
                let key = Key(pem.to_vec());
                let pair = issue::key_pair(&key).map_err(|_| AuthorityError::Key(name))?;
                if pair.public_key_raw() != first.public_key {
                    return Err(AuthorityError::Key(name));
                }
                Some(key)
            }
        };
        Ok(Some(Self { pem: pem.to_vec(), certificates, key }))
    }

    /// CAs of which only the certificates are left.
    pub(super) fn without_key(pem: &[u8]) -> Option<Self> {
        let certificates = Certificate::all_of_pem(pem).ok().filter(|all| !all.is_empty())?;
        Some(Self { pem: pem.to_vec(), certificates, key: None })
    }

    /// Whether it has signed a certificate.
    pub(super) fn has_signed(&self, certificate: &Certificate) -> bool {
        self.certificates.iter().any(|ca| ca.common_name == certificate.issuer)
    }

    /// Until when it can be trusted.
    pub(super) fn not_after(&self) -> Timestamp {
        self.certificates.iter().map(|ca| ca.not_after).max().unwrap_or(Timestamp::MIN)
    }

    /// Whether nothing that it signed is valid any more.
    pub(super) fn has_ended(&self, now: Timestamp) -> bool {
        self.not_after() <= now
    }

    /// From when on another should follow, in seconds since 1970: after two thirds of its life,
    /// and early enough for whole certificates to be signed meanwhile.
    pub(super) fn renew_at(&self, policy: &Policy) -> i64 {
        let begin = self.certificates.iter().map(|ca| ca.not_before.as_second()).max();
        let begin = begin.unwrap_or_default();
        let end = self.not_after().as_second();
        let life = end.saturating_sub(begin);
        (begin + life / 3 * 2)
            .min(end.saturating_sub(2 * policy.leaf_seconds))
            .max(begin + life / 3)
    }
}

/// The CAs of a cluster: the one that signs, and at times one that will or one that did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    pub(super) current: Ca,
    pub(super) next: Option<Ca>,
    pub(super) previous: Option<Ca>,
    /// When the previous one may be forgotten, in seconds since 1970.
    pub(super) retire_at: Option<i64>,
    /// When the next one was first trusted, in seconds since 1970.
    pub(super) trusted_since: Option<i64>,
    /// The value with which a person asked for the last change.
    pub(super) rotation: Option<String>,
}

impl Authority {
    /// That of a Secret.
    ///
    /// # Errors
    /// [`AuthorityError`], if somebody else has changed it.
    pub fn of(secret: &Secret) -> Result<Self, AuthorityError> {
        let missing =
            AuthorityError::Certificate { file: "tls.crt", source: CertificateError::Missing };
        let current = Ca::read(secret, "tls.crt", Some("tls.key"))?.ok_or(missing)?;
        let next = Ca::read(secret, "next.crt", Some("next.key"))?;
        let previous = Ca::read(secret, "previous.crt", None)?;
        if let Some(Ca { key: None, .. }) = next {
            return Err(AuthorityError::Key("next.key"));
        }
        if current.key.is_none() && next.is_none() {
            return Err(AuthorityError::Key("tls.key"));
        }
        let annotation = |name: &str| {
            secret.metadata.annotations.as_ref().and_then(|annotations| annotations.get(name))
        };
        let seconds = |name: &str| annotation(name).and_then(|value| value.parse().ok());
        Ok(Self {
            current,
            next,
            previous,
            retire_at: seconds(RETIRE_AT),
            trusted_since: seconds(TRUSTED_SINCE),
            rotation: annotation(ROTATE_CA).cloned(),
        })
    }

    /// A CA where there was none.
    pub(super) fn begin(
        cluster: &str,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<Self, IssueError> {
        Ok(Self {
            current: Ca::make(cluster, policy, now)?,
            next: None,
            previous: None,
            retire_at: None,
            trusted_since: None,
            rotation: policy.rotation.clone(),
        })
    }

    /// As it stands in the Secret.
    #[must_use]
    pub fn secret(&self, blueprint: &Blueprint<'_>) -> Secret {
        let Self { current, next, previous, retire_at, trusted_since, rotation } = self;
        let bundle = self.bundle();
        let mut files = vec![("ca.crt", bundle.as_slice()), ("tls.crt", &current.pem)];
        files.extend(current.key.as_ref().map(|key| ("tls.key", key.0.as_slice())));
        if let Some(next) = next {
            files.push(("next.crt", &next.pem));
            files.extend(next.key.as_ref().map(|key| ("next.key", key.0.as_slice())));
        }
        files.extend(previous.as_ref().map(|previous| ("previous.crt", previous.pem.as_slice())));
        let mut metadata = blueprint.metadata(blueprint.names.ca_secret());
        let annotations = [
            (RETIRE_AT, retire_at.map(|seconds| seconds.to_string())),
            (TRUSTED_SINCE, trusted_since.map(|seconds| seconds.to_string())),
            (ROTATE_CA, rotation.clone()),
        ];
        metadata.annotations = Some(
            annotations
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                .collect(),
        );
        Secret {
            metadata,
            type_: Some("Opaque".to_owned()),
            data: Some(data(files)),
            ..Secret::default()
        }
    }

    /// The merge patch that makes the Secret of before into this one. What the next one does not have is
    /// named and taken out: applied, it would stay if it was there when the Secret was created.
    #[must_use]
    pub fn change(before: &Secret, after: &Secret) -> Value {
        let data = after.data.iter().flatten();
        let mut files: Map<_, _> = data.map(|(name, file)| (name.clone(), json!(file))).collect();
        for name in before.data.iter().flatten().map(|(name, _)| name) {
            files.entry(name).or_insert(Value::Null);
        }
        let annotations = after.metadata.annotations.as_ref();
        let annotation = |name| annotations.and_then(|annotations| annotations.get(name));
        let annotations: Map<_, _> = [RETIRE_AT, TRUSTED_SINCE, ROTATE_CA]
            .into_iter()
            .map(|name| (name.to_owned(), json!(annotation(name))))
            .collect();
        let metadata = json!({ "labels": after.metadata.labels, "annotations": annotations });
        json!({ "metadata": metadata, "data": files })
    }

    /// The CAs that everybody trusts. Their order tells one bundle from another, so it is always
    /// the same: the one that signs comes first.
    #[must_use]
    pub fn bundle(&self) -> Vec<u8> {
        let others = self.next.iter().chain(&self.previous);
        std::iter::once(&self.current).chain(others).flat_map(|ca| ca.pem.clone()).collect()
    }

    /// The CA that signs: the current one, or the next if the current one's key is lost.
    pub(super) fn signer(&self) -> &Ca {
        match &self.next {
            Some(next) if self.current.key.is_none() => next,
            Some(_) | None => &self.current,
        }
    }

    /// Whether the certificates that there are were signed with a key that is lost.
    pub(super) fn is_orphaned(&self) -> bool {
        self.current.key.is_none()
    }

    /// How far a change of CAs is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match (&self.next, &self.previous) {
            (Some(_), _) => Stage::Trusting,
            (None, Some(_)) => Stage::Retiring,
            (None, None) => Stage::Stable,
        }
    }
}
