//! What everything is built from.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use quorate_operator_api::{ClusterSpec, GROUP, QuorateCluster, TlsProvider, VERSION};

use crate::cluster::names::{Names, Scheme};
use crate::restore::Origin;

/// What the operator knows beside the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// The members' image, with a tag or a digest, for clusters that name none.
    pub member_image: String,
    /// The operator's own image, which fetches backups.
    pub operator_image: String,
}

/// The annotation of a cluster with which a person has all members restarted: whenever its value
/// changes, one after the other.
pub const RESTART: &str = "quorate.io/restart";

/// Why nothing can be built of a resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// It was never stored.
    #[error("the cluster has no {0}")]
    NotStored(&'static str),
    /// The storage's size is no amount. The schema sees to it that it is one.
    #[error("storage.size is no amount: {0}")]
    Size(String),
    /// What the first member is to be made of is not known: an empty one in its place would be
    /// another cluster than was asked for.
    #[error("what the cluster is to be made of is not known")]
    NoOrigin,
    /// What `pod.overrides` makes of the pod is no pod.
    #[error("pod.overrides does not fit a pod: {0}")]
    Overrides(String),
}

/// A cluster's resource, looked at once and found complete.
#[derive(Clone, Debug)]
pub struct Blueprint<'a> {
    /// What is asked for.
    pub spec: &'a ClusterSpec,
    /// How its objects are named.
    pub names: Names,
    /// What the operator adds.
    pub defaults: &'a Defaults,
    /// The members' image.
    pub image: String,
    /// The resource's UID: the token by which two clusters of one name are told apart.
    pub uid: &'a str,
    /// Whether members speak TLS.
    pub scheme: Scheme,
    /// Bytes of each volume.
    pub volume_bytes: u64,
    /// Whether the cluster has begun: its id is written down, and no other must begin.
    pub has_begun: bool,
    /// What its annotation [`RESTART`] says.
    pub restart: Option<&'a str>,
    /// What its first member is made of; looked up for a cluster that has not begun.
    pub origin: Option<Origin>,
}

impl<'a> Blueprint<'a> {
    /// Of a resource, as the API server gave it. `running_image` is what its members run, if there
    /// are any: a cluster that names no version stays with it when the operator changes.
    ///
    /// # Errors
    /// [`BuildError`] for a resource that the API server did not give.
    pub fn new(
        cluster: &'a QuorateCluster,
        defaults: &'a Defaults,
        running_image: Option<&str>,
    ) -> Result<Self, BuildError> {
        let metadata = &cluster.metadata;
        let name = metadata.name.as_deref().ok_or(BuildError::NotStored("name"))?;
        let namespace = metadata.namespace.as_deref().ok_or(BuildError::NotStored("namespace"))?;
        let uid = metadata.uid.as_deref().ok_or(BuildError::NotStored("uid"))?;
        let spec = &cluster.spec;
        let size = &spec.storage.size;
        let scheme = match spec.tls.provider {
            TlsProvider::Disabled => Scheme::Http,
            TlsProvider::Managed | TlsProvider::CertManager | TlsProvider::Secret => Scheme::Https,
        };
        Ok(Self {
            spec,
            names: Names::new(name, namespace),
            defaults,
            image: super::image::of_member(spec, &defaults.member_image, running_image),
            uid,
            scheme,
            volume_bytes: size.bytes().ok_or_else(|| BuildError::Size(size.0.clone()))?,
            has_begun: cluster.status.as_ref().is_some_and(|status| status.cluster_id.is_some()),
            restart: metadata
                .annotations
                .as_ref()
                .and_then(|annotations| annotations.get(RESTART))
                .map(String::as_str),
            origin: None,
        })
    }

    /// The same one, with what its first member is made of.
    #[must_use]
    pub fn with_origin(self, origin: Option<Origin>) -> Self {
        Self { origin, ..self }
    }

    /// The reference by which an object goes when the cluster goes.
    #[must_use]
    pub fn owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: format!("{GROUP}/{VERSION}"),
            kind: "QuorateCluster".to_owned(),
            name: self.names.cluster.clone(),
            uid: self.uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }

    /// The metadata of an object of this name.
    #[must_use]
    pub fn metadata(&self, name: String) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.names.namespace.clone()),
            labels: Some(self.names.labels()),
            owner_references: Some(vec![self.owner()]),
            ..ObjectMeta::default()
        }
    }

    /// The metadata of an object of a member.
    #[must_use]
    pub fn member_metadata(&self, name: String, number: i64) -> ObjectMeta {
        ObjectMeta { labels: Some(self.names.member_labels(number)), ..self.metadata(name) }
    }
}
