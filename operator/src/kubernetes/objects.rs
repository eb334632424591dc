//! Objects: read, written, deleted.

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope as Namespaced;
use kube::api::{
    Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy,
};
use kube::core::{ApiResource, DynamicObject, ObjectMeta, PartialObjectMeta};
use kube::{Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Error, ErrorKind};

/// How long a call may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// For which concern something is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// Services, budgets and the like.
    Objects,
    /// Members' StatefulSets.
    Members,
    /// Certificates.
    Certificates,
    /// What an application needs to connect.
    Connection,
    /// The status of a resource.
    Status,
    /// What pods are told about their member.
    Roles,
    /// The size of volumes.
    Volumes,
    /// Backups.
    Backups,
}

impl Manager {
    /// The name of the field manager.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Objects => "quorate-operator/objects",
            Self::Members => "quorate-operator/members",
            Self::Certificates => "quorate-operator/certificates",
            Self::Connection => "quorate-operator/connection",
            Self::Status => "quorate-operator/status",
            Self::Roles => "quorate-operator/roles",
            Self::Volumes => "quorate-operator/volumes",
            Self::Backups => "quorate-operator/backups",
        }
    }
}

/// Which object is meant, of those that may have had its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Precondition {
    /// Its uid.
    pub uid: String,
    /// The version that was looked at, if it matters.
    pub version: Option<String>,
}

/// How something is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// In its own time; what it owns follows.
    Graceful,
    /// At once, without waiting for a node to say that its container has ended.
    Forced,
}

/// The objects of the API server.
#[derive(Clone)]
pub struct Objects {
    client: Client,
}

impl Objects {
    /// Those that a client reaches.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// An object, as it is now; `None` if there is none.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get<K>(&self, namespace: &str, name: &str) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = Namespaced> + Clone + Debug + DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        let call = || format!("get {} {namespace}/{name}", K::kind(&()));
        within(call, api.get_opt(name)).await
    }

    /// An object, found among those of its namespace; `None` if there is none. Who may list objects
    /// need not have the right to get one.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn find<K>(&self, namespace: &str, name: &str) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = Namespaced> + Clone + Debug + DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        find(&api, &K::kind(&()), namespace, name).await
    }

    /// An object that has no namespace.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get_global<K>(&self, name: &str) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let api = Api::<K>::all(self.client.clone());
        within(|| format!("get {} {name}", K::kind(&())), api.get_opt(name)).await
    }

    /// The metadata of objects with these labels that have no namespace.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn list_global_metadata<K>(&self, selector: &str) -> Result<Vec<ObjectMeta>, Error>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let api = Api::<K>::all(self.client.clone());
        let params = ListParams::default().labels(selector);
        let call = || format!("list {} with {selector}", K::kind(&()));
        let list = within(call, api.list_metadata(&params)).await?;
        Ok(list.items.into_iter().map(|PartialObjectMeta { metadata, .. }| metadata).collect())
    }

    /// Objects with these labels, as they are now.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn list<K>(&self, namespace: &str, selector: &str) -> Result<Vec<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = Namespaced> + Clone + Debug + DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        let params = ListParams::default().labels(selector);
        let call = || format!("list {} of {namespace} with {selector}", K::kind(&()));
        Ok(within(call, api.list(&params)).await?.items)
    }

    /// The metadata of objects with these labels.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn list_metadata<K>(
        &self,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<ObjectMeta>, Error>
    where
        K: Resource<DynamicType = (), Scope = Namespaced> + Clone + Debug + DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        let params = ListParams::default().labels(selector);
        let call = || format!("list {} of {namespace} with {selector}", K::kind(&()));
        let list = within(call, api.list_metadata(&params)).await?;
        Ok(list.items.into_iter().map(|PartialObjectMeta { metadata, .. }| metadata).collect())
    }

    /// Whether there is a kind, as far as the operator may see it.
    ///
    /// # Errors
    /// [`Error`], if it cannot be told.
    pub async fn is_defined<K>(&self, namespace: Option<&str>) -> Result<bool, Error>
    where
        K: Resource<DynamicType = (), Scope = Namespaced> + Clone + Debug + DeserializeOwned,
    {
        let api = match namespace {
            Some(namespace) => Api::<K>::namespaced(self.client.clone(), namespace),
            None => Api::<K>::all(self.client.clone()),
        };
        let params = ListParams::default().limit(1);
        let found = within(|| format!("list {}", K::kind(&())), api.list_metadata(&params)).await;
        match found {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Missing => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes an object that must not be there yet.
    ///
    /// # Errors
    /// [`Error`]; [`ErrorKind::Exists`] if it is there.
    pub async fn create<K>(&self, manager: Manager, object: &K) -> Result<K, Error>
    where
        K: Resource<DynamicType = (), Scope = Namespaced>
            + Clone
            + Debug
            + DeserializeOwned
            + Serialize,
    {
        let (namespace, name) = place(object.meta());
        let api = Api::<K>::namespaced(self.client.clone(), &namespace);
        let params = PostParams {
            field_manager: Some(manager.as_str().to_owned()),
            ..PostParams::default()
        };
        let call = || format!("create {} {namespace}/{name}", K::kind(&()));
        within(call, api.create(&params, object)).await
    }

    /// Has an object be so, as far as this concern goes. It is made if it is not there. If its
    /// metadata carry a uid or a resourceVersion, it must be that one. What others have said
    /// otherwise is overruled in an object of the same owner, and nowhere else.
    ///
    /// # Errors
    /// [`Error`]; [`ErrorKind::NotOurs`] if it belongs to somebody else.
    pub async fn apply<K>(&self, manager: Manager, object: &K) -> Result<K, Error>
    where
        K: Resource<DynamicType = (), Scope = Namespaced>
            + Clone
            + Debug
            + DeserializeOwned
            + Serialize,
    {
        let (namespace, name) = place(object.meta());
        let api = Api::<K>::namespaced(self.client.clone(), &namespace);
        apply(&api, &K::kind(&()), &namespace, &name, manager, object).await
    }

    /// As [`apply`](Self::apply), for an object of a kind that may not be defined.
    ///
    /// # Errors
    /// [`Error`]; [`ErrorKind::Missing`] if the kind is not defined.
    pub async fn apply_dynamic(
        &self,
        manager: Manager,
        kind: &ApiResource,
        object: &DynamicObject,
    ) -> Result<DynamicObject, Error> {
        let (namespace, name) = place(object.meta());
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), &namespace, kind);
        apply(&api, &kind.kind, &namespace, &name, manager, object).await
    }

    /// An object of a kind that may not be defined; `None` if there is none.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn find_dynamic(
        &self,
        kind: &ApiResource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<DynamicObject>, Error> {
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, kind);
        find(&api, &kind.kind, namespace, name).await
    }

    /// Deletes an object of a kind that may not be defined. One that is gone is no failure.
    ///
    /// # Errors
    /// [`Error`]; [`ErrorKind::Conflict`] if it is another one.
    pub async fn delete_dynamic(
        &self,
        kind: &ApiResource,
        namespace: &str,
        name: &str,
        which: &Precondition,
    ) -> Result<(), Error> {
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, kind);
        delete(&api, &kind.kind, namespace, name, which, Deletion::Graceful).await
    }

    /// Writes the status of a resource, if it is still the one, and of the version, that its metadata
    /// say.
    ///
    /// # Errors
    /// [`Error`]; [`ErrorKind::Conflict`] if it is not.
    pub async fn apply_status<K>(
        &self,
        metadata: &ObjectMeta,
        status: &(impl Serialize + Sync),
    ) -> Result<K, Error>
    where
        K: Resource<DynamicType = (), Scope = Namespaced> + Clone + Debug + DeserializeOwned,
    {
        let (namespace, name) = place(metadata);
        let api = Api::<K>::namespaced(self.client.clone(), &namespace);
        let params = PatchParams::apply(Manager::Status.as_str()).force();
        let object = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": metadata.uid,
                "resourceVersion": metadata.resource_version,
            },
            "status": status,
        });
        let call = || format!("write the status of {} {namespace}/{name}", K::kind(&()));
        within(call, api.patch_status(&name, &params, &Patch::Apply(&object))).await
    }

    /// Merges something into an object that must be the one that is meant.
    ///
    /// # Errors
    /// [`Error`]; [`ErrorKind::Missing`] if it is gone, [`ErrorKind::Conflict`] if it is another.
    pub async fn merge<K>(
        &self,
        manager: Manager,
        namespace: &str,
        name: &str,
        which: &Precondition,
        mut patch: Value,
    ) -> Result<K, Error>
    where
        K: Resource<DynamicType = (), Scope = Namespaced> + Clone + Debug + DeserializeOwned,
    {
        patch["metadata"]["uid"] = Value::from(which.uid.clone());
        if let Some(version) = &which.version {
            patch["metadata"]["resourceVersion"] = Value::from(version.clone());
        }
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        let params = PatchParams {
            field_manager: Some(manager.as_str().to_owned()),
            ..PatchParams::default()
        };
        let call = || format!("patch {} {namespace}/{name}", K::kind(&()));
        within(call, api.patch(name, &params, &Patch::Merge(&patch))).await
    }

    /// Deletes an object. One that is gone is no failure.
    ///
    /// # Errors
    /// [`Error`]; [`ErrorKind::Conflict`] if it is another one, or was changed since.
    pub async fn delete<K>(
        &self,
        namespace: &str,
        name: &str,
        which: &Precondition,
        how: Deletion,
    ) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = Namespaced> + Clone + Debug + DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        delete(&api, &K::kind(&()), namespace, name, which, how).await
    }
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Objects")
    }
}

/// The uid of the owner that says what an object is.
#[must_use]
pub fn controller_uid(metadata: &ObjectMeta) -> Option<&str> {
    let owners = metadata.owner_references.iter().flatten();
    let controller = owners.into_iter().find(|owner| owner.controller == Some(true));
    controller.map(|owner| owner.uid.as_str())
}

fn place(metadata: &ObjectMeta) -> (String, String) {
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

async fn apply<K>(
    api: &Api<K>,
    kind: &str,
    namespace: &str,
    name: &str,
    manager: Manager,
    object: &K,
) -> Result<K, Error>
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize,
{
    let call = || format!("apply {kind} {namespace}/{name}");
    let params = PatchParams::apply(manager.as_str());
    let patch = Patch::Apply(object);
    let refused = match within(call, api.patch(name, &params, &patch)).await {
        Err(error) if error.kind() == ErrorKind::Conflict => error,
        result => return result,
    };
    // Somebody else says otherwise, or it is not the one that was looked at, or not ours at all.
    let Some(found) = find(api, kind, namespace, name).await? else { return Err(refused) };
    if controller_uid(found.meta()) != controller_uid(object.meta()) {
        let reason = "there is one that belongs to somebody else";
        return Err(Error::new(call(), ErrorKind::NotOurs, reason));
    }
    let meant = object.meta();
    let is_another = |meant: Option<&String>, found: Option<String>| {
        meant.is_some_and(|meant| found.as_ref() != Some(meant))
    };
    if is_another(meant.uid.as_ref(), found.uid())
        || is_another(meant.resource_version.as_ref(), found.resource_version())
    {
        return Err(refused);
    }
    within(call, api.patch(name, &params.force(), &patch)).await
}

async fn find<K>(api: &Api<K>, kind: &str, namespace: &str, name: &str) -> Result<Option<K>, Error>
where
    K: Clone + Debug + DeserializeOwned,
{
    let params = ListParams::default().fields(&format!("metadata.name={name}"));
    let found = within(|| format!("find {kind} {namespace}/{name}"), api.list(&params)).await?;
    Ok(found.items.into_iter().next())
}

async fn delete<K>(
    api: &Api<K>,
    kind: &str,
    namespace: &str,
    name: &str,
    which: &Precondition,
    how: Deletion,
) -> Result<(), Error>
where
    K: Clone + Debug + DeserializeOwned,
{
    let mut params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: Some(Preconditions {
            uid: Some(which.uid.clone()),
            resource_version: which.version.clone(),
        }),
        ..DeleteParams::default()
    };
    if how == Deletion::Forced {
        params.grace_period_seconds = Some(0);
    }
    let call = || format!("delete {kind} {namespace}/{name}");
    match within(call, api.delete(name, &params)).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::Missing => Ok(()),
        Err(error) => Err(error),
    }
}

/// A call with its deadline and its name.
async fn within<T>(
    call: impl Fn() -> String,
    answer: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(CALL_TIMEOUT, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Error::of(call(), &error)),
        Err(_) => Err(Error::new(call(), ErrorKind::Away, "no answer in time")),
    }
}
