//! What is mounted into a member's pod.

use k8s_openapi::api::core::v1::{
    KeyToPath, PersistentVolumeClaim, PersistentVolumeClaimSpec, ProjectedVolumeSource,
    SecretProjection, SecretVolumeSource, Volume, VolumeMount, VolumeProjection,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use quorate_operator_api::TlsProvider;

use super::Blueprint;
use super::pod::MOUNT;

/// Where certificates and keys are.
pub const TLS_MOUNT: &str = "/etc/quorate/tls";

/// The volume of data, and the first part of its claim's name.
const DATA: &str = "data";
const TLS: &str = "tls";

/// Keys are read by the member's group and by nobody else.
const KEY_MODE: i32 = 0o440;

/// The claim that each member's volume is made of.
pub(super) fn claim(blueprint: &Blueprint<'_>) -> PersistentVolumeClaim {
    let storage = &blueprint.spec.storage;
    let size = Quantity(storage.size.0.clone());
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(DATA.to_owned()),
            labels: Some(blueprint.names.labels()),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), size)].into()),
                limits: None,
            }),
            storage_class_name: storage.storage_class_name.clone(),
            volume_mode: Some("Filesystem".to_owned()),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

/// What the member's container sees.
pub(super) fn mounts(blueprint: &Blueprint<'_>) -> Vec<VolumeMount> {
    let mut mounts = vec![data_mount()];
    if blueprint.spec.tls.provider != TlsProvider::Disabled {
        mounts.push(VolumeMount {
            name: TLS.to_owned(),
            mount_path: TLS_MOUNT.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        });
    }
    mounts
}

/// Where the data are.
pub(super) fn data_mount() -> VolumeMount {
    VolumeMount { name: DATA.to_owned(), mount_path: MOUNT.to_owned(), ..VolumeMount::default() }
}

/// The volumes of a member beside that of its data.
///
/// Its certificates are one volume, whose files Kubernetes exchanges all at once: who shows the new
/// certificate knows the new CAs, too.
pub(super) fn volumes(blueprint: &Blueprint<'_>, number: i64) -> Vec<Volume> {
    let tls = &blueprint.spec.tls;
    let names = &blueprint.names;
    let named = |name: &Option<quorate_operator_api::LocalName>| {
        name.as_ref().map(|name| name.0.clone()).unwrap_or_default()
    };
    match tls.provider {
        TlsProvider::Disabled => Vec::new(),
        TlsProvider::Managed => vec![Volume {
            name: TLS.to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(names.member_tls_secret(number)),
                default_mode: Some(KEY_MODE),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        }],
        TlsProvider::CertManager => {
            vec![of_two(names.server_tls_secret(number), names.peer_tls_secret(number))]
        }
        TlsProvider::Secret => vec![of_two(named(&tls.server_secret), named(&tls.peer_secret))],
    }
}

/// The same files from two Secrets of `tls.crt`, `tls.key` and `ca.crt`.
fn of_two(server: String, peer: String) -> Volume {
    let projection = |name: String, files: [(&str, &str); 3]| VolumeProjection {
        secret: Some(SecretProjection {
            name,
            items: Some(
                files
                    .map(|(key, path)| KeyToPath {
                        key: key.to_owned(),
                        path: path.to_owned(),
                        mode: None,
                    })
                    .into(),
            ),
            optional: None,
        }),
        ..VolumeProjection::default()
    };
    let server_files = [("ca.crt", "ca.crt"), ("tls.crt", "server.crt"), ("tls.key", "server.key")];
    let peer_files = [("ca.crt", "peer-ca.crt"), ("tls.crt", "peer.crt"), ("tls.key", "peer.key")];
    Volume {
        name: TLS.to_owned(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(KEY_MODE),
            sources: Some(vec![projection(server, server_files), projection(peer, peer_files)]),
        }),
        ..Volume::default()
    }
}
