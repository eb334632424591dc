//! What a resource names is looked up.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use quorate_operator_api::{QuorateBackup, QuorateCluster};

use super::{Origin, origin};
use crate::backup::place::{self, Need};
use crate::cluster::validate::Refusal;
use crate::kubernetes::{Error, Objects};

/// What a cluster that has not begun is to be made of. What cannot be is refused.
///
/// # Errors
/// [`Error`], if it could not be looked up.
pub async fn find(
    objects: &Objects,
    cluster: &QuorateCluster,
) -> Result<Result<Option<Origin>, Refusal>, Error> {
    let Some(bootstrap) = &cluster.spec.bootstrap else { return Ok(Ok(None)) };
    let namespace = cluster.metadata.namespace.clone().unwrap_or_default();
    let named = bootstrap.restore.as_ref().and_then(|restore| restore.backup_name.as_ref());
    let backup = match named {
        Some(name) => objects.get::<QuorateBackup>(&namespace, &name.0).await?,
        None => None,
    };
    let named = bootstrap.clone.as_ref().and_then(|clone| clone.cluster.as_ref());
    let other = match named {
        Some(name) => objects.get::<QuorateCluster>(&namespace, &name.0).await?,
        None => None,
    };
    let found = match origin(cluster, backup.as_ref(), other.as_ref()) {
        Ok(Some(found)) => found,
        other => return Ok(other),
    };
    // A pod would wait for it without a word.
    for need in needs(&found) {
        let message = match need {
            Need::Secret { name, keys } => {
                let secret = objects.find::<Secret>(&namespace, &name).await?;
                lacking(secret.as_ref(), &name, &keys)
            }
            Need::Claim { name } => {
                let claim = objects.find::<PersistentVolumeClaim>(&namespace, &name).await?;
                claim.is_none().then(|| format!("there is no PersistentVolumeClaim {name}"))
            }
        };
        if let Some(message) = message {
            return Ok(Err(Refusal { field: field(&found), message }));
        }
    }
    Ok(Ok(Some(found)))
}

fn field(origin: &Origin) -> &'static str {
    match origin {
        Origin::Backup { .. } => "spec.bootstrap.restore",
        Origin::Cluster { .. } => "spec.bootstrap.clone",
        Origin::Survivor { .. } => "spec.healing.quorumRecovery",
    }
}

fn needs(origin: &Origin) -> Vec<Need> {
    match origin {
        Origin::Backup { place, .. } => place::needs(&place.destination),
        Origin::Cluster { secret, .. } => {
            let keys = vec!["ca.crt".to_owned()];
            secret
                .iter()
                .map(|name| Need::Secret { name: name.clone(), keys: keys.clone() })
                .collect()
        }
        Origin::Survivor { claim } => vec![Need::Claim { name: claim.clone() }],
    }
}

fn lacking(secret: Option<&Secret>, name: &str, keys: &[String]) -> Option<String> {
    let Some(secret) = secret else { return Some(format!("there is no Secret {name}")) };
    let has = |key: &&String| secret.data.as_ref().is_some_and(|data| data.contains_key(*key));
    let key = keys.iter().find(|key| !has(key))?;
    Some(format!("the Secret {name} has no key {key}"))
}
