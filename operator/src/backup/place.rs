//! Where a backup's file is, and what a pod needs to get there.
//!
//! ```text
//!   <prefix>/<namespace>/<cluster>/<time>-<name>.db        the snapshot, as etcd's tools take it
//!   <prefix>/<namespace>/<cluster>/<time>-<name>.db.json   what is known of it
//! ```
//! The name follows from the resource: who tries again writes to the same one.

use k8s_openapi::api::core::v1::{
    KeyToPath, PersistentVolumeClaimVolumeSource, SecretVolumeSource, Volume, VolumeMount,
};
use k8s_openapi::jiff::Timestamp;
use quorate_operator_api::{Destination, SecretKey};

/// Where pods have the credentials of a destination.
pub const CREDENTIALS: &str = "/etc/quorate/credentials";
/// Where pods have the certificates that a destination's is signed by.
pub const AUTHORITY: &str = "/etc/quorate/authority";
/// Where pods have the volume that backups go to.
pub const VOLUME: &str = "/backups";
/// Where pods have the certificates that they show to members.
pub const CLIENT: &str = "/etc/quorate/client";

/// Files by these names, whatever the keys of their Secrets are.
pub const SERVICE_ACCOUNT: &str = "service-account.json";
/// As [`SERVICE_ACCOUNT`].
pub const ACCESS_KEY: &str = "access-key";
/// As [`SERVICE_ACCOUNT`].
pub const CA: &str = "ca.crt";

/// The keys of a Secret with credentials of S3: the first two are needed.
pub const S3_KEYS: [&str; 3] = ["accessKeyId", "secretAccessKey", "sessionToken"];

/// Keys of files are read by the pod's group and by nobody else.
const KEY_MODE: i32 = 0o440;

/// The name of a backup's file: of the resource's name and the time at which it was made.
#[must_use]
pub fn object(
    destination: &Destination,
    namespace: &str,
    cluster: &str,
    name: &str,
    created: Timestamp,
) -> String {
    let time = created.strftime("%Y%m%dT%H%M%SZ");
    let file = format!("{namespace}/{cluster}/{time}-{name}.db");
    match prefix(destination) {
        Some(prefix) => format!("{prefix}/{file}"),
        None => file,
    }
}

/// The name of what stands beside a file.
#[must_use]
pub fn beside(object: &str) -> String {
    format!("{object}.json")
}

/// What names of objects begin with: without slashes around it. The folder of a volume is not one:
/// it is where the store begins.
fn prefix(destination: &Destination) -> Option<&str> {
    let Destination { s3, gcs, azure, pvc: _ } = destination;
    let given = s3
        .as_ref()
        .and_then(|s3| s3.prefix.as_deref())
        .or_else(|| gcs.as_ref().and_then(|gcs| gcs.prefix.as_deref()))
        .or_else(|| azure.as_ref().and_then(|azure| azure.prefix.as_deref()));
    given.map(|prefix| prefix.trim_matches('/')).filter(|prefix| !prefix.is_empty())
}

/// A file as a URL.
#[must_use]
pub fn uri(destination: &Destination, object: &str) -> String {
    let Destination { s3, gcs, azure, pvc } = destination;
    if let Some(s3) = s3 {
        return format!("s3://{}/{object}", s3.bucket);
    }
    if let Some(gcs) = gcs {
        return format!("gs://{}/{object}", gcs.bucket);
    }
    if let Some(azure) = azure {
        return format!("azure://{}/{}/{object}", azure.account, azure.container);
    }
    match pvc {
        Some(pvc) => match &pvc.folder {
            Some(folder) => format!("pvc://{}/{folder}/{object}", pvc.claim.0),
            None => format!("pvc://{}/{object}", pvc.claim.0),
        },
        None => object.to_owned(),
    }
}

/// What must be there before a pod that mounts it can start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// A Secret with these keys.
    Secret {
        /// Its name.
        name: String,
        /// What must be in it.
        keys: Vec<String>,
    },
    /// A claim.
    Claim {
        /// Its name.
        name: String,
    },
}

/// What a destination's certificate is signed by, if it is not by somebody whom all know.
fn authority(destination: &Destination) -> Option<&SecretKey> {
    let Destination { s3, gcs, azure, pvc: _ } = destination;
    s3.as_ref()
        .and_then(|s3| s3.ca.as_ref())
        .or_else(|| gcs.as_ref().and_then(|gcs| gcs.ca.as_ref()))
        .or_else(|| azure.as_ref().and_then(|azure| azure.ca.as_ref()))
}

/// What a destination needs.
#[must_use]
pub fn needs(destination: &Destination) -> Vec<Need> {
    let Destination { s3, gcs, azure, pvc } = destination;
    let key = |secret: &SecretKey| Need::Secret {
        name: secret.name.0.clone(),
        keys: vec![secret.key.clone()],
    };
    let mut needs = Vec::new();
    if let Some(s3) = s3 {
        needs.extend(s3.credentials.as_ref().map(|name| Need::Secret {
            name: name.0.clone(),
            keys: S3_KEYS.iter().take(2).map(|key| (*key).to_owned()).collect(),
        }));
    }
    needs.extend(gcs.as_ref().and_then(|gcs| gcs.service_account.as_ref()).map(key));
    needs.extend(azure.as_ref().and_then(|azure| azure.access_key.as_ref()).map(key));
    needs.extend(authority(destination).map(key));
    needs.extend(pvc.as_ref().map(|pvc| Need::Claim { name: pvc.claim.0.clone() }));
    needs
}

/// The volumes of a pod that goes to a destination, and where its container has them.
#[must_use]
pub fn volumes(destination: &Destination) -> Vec<(Volume, VolumeMount)> {
    let Destination { s3, gcs, azure, pvc } = destination;
    let mut volumes = Vec::new();
    if let Some(credentials) = s3.as_ref().and_then(|s3| s3.credentials.as_ref()) {
        let secret = SecretVolumeSource {
            secret_name: Some(credentials.0.clone()),
            default_mode: Some(KEY_MODE),
            ..SecretVolumeSource::default()
        };
        volumes.push(of_secret("credentials", CREDENTIALS, secret));
    }
    if let Some(key) = gcs.as_ref().and_then(|gcs| gcs.service_account.as_ref()) {
        volumes.push(of_secret("credentials", CREDENTIALS, one_key(key, SERVICE_ACCOUNT)));
    }
    if let Some(key) = azure.as_ref().and_then(|azure| azure.access_key.as_ref()) {
        volumes.push(of_secret("credentials", CREDENTIALS, one_key(key, ACCESS_KEY)));
    }
    if let Some(ca) = authority(destination) {
        volumes.push(of_secret("authority", AUTHORITY, one_key(ca, CA)));
    }
    if let Some(pvc) = pvc {
        let name = "backups".to_owned();
        let claim =
            PersistentVolumeClaimVolumeSource { claim_name: pvc.claim.0.clone(), read_only: None };
        volumes.push((
            Volume {
                name: name.clone(),
                persistent_volume_claim: Some(claim),
                ..Volume::default()
            },
            VolumeMount { name, mount_path: VOLUME.to_owned(), ..VolumeMount::default() },
        ));
    }
    volumes
}

/// The Secret with which members are asked.
#[must_use]
pub fn client_volume(secret: &str) -> (Volume, VolumeMount) {
    let secret = SecretVolumeSource {
        secret_name: Some(secret.to_owned()),
        default_mode: Some(KEY_MODE),
        ..SecretVolumeSource::default()
    };
    of_secret("client", CLIENT, secret)
}

fn one_key(secret: &SecretKey, file: &str) -> SecretVolumeSource {
    SecretVolumeSource {
        secret_name: Some(secret.name.0.clone()),
        default_mode: Some(KEY_MODE),
        items: Some(vec![KeyToPath { key: secret.key.clone(), path: file.to_owned(), mode: None }]),
        ..SecretVolumeSource::default()
    }
}

fn of_secret(name: &str, path: &str, secret: SecretVolumeSource) -> (Volume, VolumeMount) {
    (
        Volume { name: name.to_owned(), secret: Some(secret), ..Volume::default() },
        VolumeMount {
            name: name.to_owned(),
            mount_path: path.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        },
    )
}

#[cfg(test)]
mod tests {
    use quorate_operator_api::Destination;
    use serde_json::json;

    use super::{object, uri};

    #[test]
    fn names_and_urls() {
        let created = "2026-03-01T03:00:07Z".parse().expect("a time");
        for (destination, expected_object, expected_uri) in [
            (
                json!({ "s3": { "bucket": "vault", "prefix": "/a/b/" } }),
                "a/b/ns/demo/20260301T030007Z-first.db",
                "s3://vault/a/b/ns/demo/20260301T030007Z-first.db",
            ),
            (
                json!({ "gcs": { "bucket": "vault" } }),
                "ns/demo/20260301T030007Z-first.db",
                "gs://vault/ns/demo/20260301T030007Z-first.db",
            ),
            (
                json!({ "azure": { "account": "acct", "container": "box", "prefix": "p" } }),
                "p/ns/demo/20260301T030007Z-first.db",
                "azure://acct/box/p/ns/demo/20260301T030007Z-first.db",
            ),
            (
                json!({ "pvc": { "claim": "backups", "folder": "x/y" } }),
                "ns/demo/20260301T030007Z-first.db",
                "pvc://backups/x/y/ns/demo/20260301T030007Z-first.db",
            ),
        ] {
            let destination: Destination =
                serde_json::from_value(destination).expect("a destination");
            let name = object(&destination, "ns", "demo", "first", created);
            assert_eq!(name, expected_object);
            assert_eq!(uri(&destination, &name), expected_uri);
        }
    }
}
