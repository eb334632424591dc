//! Who shows which certificate, and whom the two ends of a connection take.

use k8s_openapi::api::core::v1::Secret;
use quorate_operator::tls::{Certificate, ClientFiles, Fingerprint, MemberFiles};

/// How often a kubelet brings what is new of a Secret into a pod.
pub(super) const SYNC_SECONDS: u64 = 20;

/// The certificates of a process, as it has loaded them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    /// Which version of its Secret is loaded.
    version: Option<String>,
    /// What it shows to clients; none if it speaks without TLS.
    pub(crate) shown: Option<Fingerprint>,
    /// Who signed that.
    issuer: String,
    /// Whom it trusts.
    authorities: Vec<String>,
}

impl Trust {
    /// Loads what is in a volume: one Secret, or two, of the server and of the peer; if it is
    /// another.
    pub(super) fn load(&mut self, secrets: &[Secret]) {
        let versions = secrets.iter().map(|secret| secret.metadata.resource_version.clone());
        let version = versions.collect::<Option<Vec<String>>>().map(|all| all.join(" "));
        if self.version == version {
            return;
        }
        let files = match secrets {
            [one] => MemberFiles::of(one),
            [server, peer] => of_two(server, peer),
            _ => None,
        };
        let Some(files) = files else { return };
        let Ok(server) = Certificate::of_pem(&files.server) else { return };
        self.version = version;
        self.shown = Some(server.fingerprint);
        self.issuer = server.issuer;
        self.authorities = names_of(&files.ca);
    }

    /// Whether a client and it take each other.
    pub(crate) fn takes(&self, client: Option<&ClientFiles>) -> bool {
        let (Some(_), Some(client)) = (self.shown, client) else {
            return self.shown.is_none();
        };
        let Ok(leaf) = Certificate::of_pem(&client.certificate) else { return false };
        self.authorities.contains(&leaf.issuer) && names_of(&client.ca).contains(&self.issuer)
    }
}

fn of_two(server: &Secret, peer: &Secret) -> Option<MemberFiles> {
    let (server, peer) = (ClientFiles::of(server)?, ClientFiles::of(peer)?);
    Some(MemberFiles {
        ca: server.ca,
        server: server.certificate,
        server_key: server.key,
        peer: peer.certificate,
        peer_key: peer.key,
    })
}

fn names_of(bundle: &[u8]) -> Vec<String> {
    let all = Certificate::all_of_pem(bundle).unwrap_or_default();
    all.into_iter().map(|certificate| certificate.common_name).collect()
}
