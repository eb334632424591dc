//! What an application needs to connect.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::Blueprint;
use crate::tls::ClientFiles;

/// The Secret with the members' URLs, and with the certificates that go with them.
///
/// Each member has a URL of its own in it: a connection to the one address of a Service would stay
/// with one member for its whole life.
#[must_use]
pub fn connection(
    blueprint: &Blueprint<'_>,
    endpoints: &[String],
    files: Option<&ClientFiles>,
) -> Secret {
    let mut data: BTreeMap<String, ByteString> = BTreeMap::new();
    data.insert("endpoints".to_owned(), ByteString(endpoints.join(",").into_bytes()));
    for (key, file) in files.into_iter().flat_map(ClientFiles::files) {
        data.insert(key.to_owned(), ByteString(file.to_vec()));
    }
    Secret {
        metadata: blueprint.metadata(blueprint.names.connection_secret()),
        type_: Some("Opaque".to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}
