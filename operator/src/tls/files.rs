//! What stands in Secrets.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

/// A private key, as PEM. It prints as what it is and not as what it says.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(pub Vec<u8>);

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Key")
    }
}

/// What a client needs, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// The CAs that members' certificates are signed by.
    pub ca: Vec<u8>,
    /// The client's certificate.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Key,
}

impl ClientFiles {
    /// By the names that they have in Secrets.
    #[must_use]
    pub fn files(&self) -> [(&'static str, &[u8]); 3] {
        [("ca.crt", &self.ca), ("tls.crt", &self.certificate), ("tls.key", &self.key.0)]
    }

    /// Those of a Secret; `None` if one is missing.
    #[must_use]
    pub fn of(secret: &Secret) -> Option<Self> {
        Some(Self {
            ca: file(secret, "ca.crt")?.to_vec(),
            certificate: file(secret, "tls.crt")?.to_vec(),
            key: Key(file(secret, "tls.key")?.to_vec()),
        })
    }
}

/// What a member needs, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberFiles {
    /// The CAs that others' certificates are signed by.
    pub ca: Vec<u8>,
    /// What it shows to clients.
    pub server: Vec<u8>,
    /// The key of that.
    pub server_key: Key,
    /// What it shows to peers, on both ends of connections.
    pub peer: Vec<u8>,
    /// The key of that.
    pub peer_key: Key,
}

impl MemberFiles {
    /// By the names that they have in Secrets.
    #[must_use]
    pub fn files(&self) -> [(&'static str, &[u8]); 5] {
        [
            ("ca.crt", &self.ca),
            ("server.crt", &self.server),
            ("server.key", &self.server_key.0),
            ("peer.crt", &self.peer),
            ("peer.key", &self.peer_key.0),
        ]
    }

    /// Those of a Secret; `None` if one is missing.
    #[must_use]
    pub fn of(secret: &Secret) -> Option<Self> {
        Some(Self {
            ca: file(secret, "ca.crt")?.to_vec(),
            server: file(secret, "server.crt")?.to_vec(),
            server_key: Key(file(secret, "server.key")?.to_vec()),
            peer: file(secret, "peer.crt")?.to_vec(),
            peer_key: Key(file(secret, "peer.key")?.to_vec()),
        })
    }
}

/// A file of a Secret.
pub(super) fn file<'a>(secret: &'a Secret, name: &str) -> Option<&'a [u8]> {
    let file = secret.data.as_ref()?.get(name)?;
    Some(file.0.as_slice())
}

/// Files as they stand in a Secret.
pub(super) fn data<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> BTreeMap<String, ByteString> {
    files.into_iter().map(|(name, file)| (name.to_owned(), ByteString(file.to_vec()))).collect()
}
