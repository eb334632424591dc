//! Certificates.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::from_nothing;
use crate::LocalName;

/// Certificates of members and clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.provider != 'CertManager' || has(self.issuerRef)").message(
    "cert-manager needs an issuer: set issuerRef"
).field_path(".provider"))]
#[x_kube(validation = Rule::new(
    "self.provider != 'Secret' || (has(self.serverSecret) && has(self.peerSecret))"
).message("certificates of your own are in Secrets: set serverSecret and peerSecret").field_path(".provider"))]
#[x_kube(validation = Rule::new(
    "(self.provider == 'Disabled') == (oldSelf.provider == 'Disabled')"
).message("TLS cannot be switched on or off while members run: make another cluster with bootstrap.clone"))]
#[x_kube(validation = Rule::new("self.renewBeforeDays < self.certValidityDays").message(
    "certificates are renewed before they end: renewBeforeDays is below certValidityDays"
))]
pub struct Tls {
    /// Who makes the certificates.
    #[serde(default)]
    pub provider: TlsProvider,
    /// cert-manager's issuer, for `CertManager`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
    /// A Secret with `tls.crt`, `tls.key` and `ca.crt` for clients to meet, for `Secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_secret: Option<LocalName>,
    /// A Secret with `tls.crt`, `tls.key` and `ca.crt` for members among each other, for `Secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_secret: Option<LocalName>,
    /// How long a certificate is valid, in days.
    #[serde(default = "default_validity")]
    #[schemars(range(min = 1, max = 3650))]
    pub cert_validity_days: i32,
    /// How long before its end it is renewed, in days.
    #[serde(default = "default_renewal")]
    #[schemars(range(min = 0, max = 1825))]
    pub renew_before_days: i32,
    /// Names and addresses that members' server certificates carry, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253)))]
    pub extra_sans: Vec<String>,
}

impl Default for Tls {
    fn default() -> Self {
        from_nothing()
    }
}

fn default_validity() -> i32 {
    90
}

fn default_renewal() -> i32 {
    30
}

/// Who makes the certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum TlsProvider {
    /// The operator: a CA of the cluster's own, renewed without a restart.
    #[default]
    Managed,
    /// cert-manager.
    CertManager,
    /// Somebody else, who puts them into Secrets.
    Secret,
    /// Nobody: plain HTTP.
    Disabled,
}

/// cert-manager's issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerRef {
    /// Its name.
    pub name: LocalName,
    /// `Issuer` or `ClusterIssuer`.
    #[serde(default = "default_issuer")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its API group.
    #[serde(default = "default_issuer_group")]
    #[schemars(length(min = 1, max = 253))]
    pub group: String,
}

fn default_issuer() -> String {
    "Issuer".to_owned()
}

fn default_issuer_group() -> String {
    "cert-manager.io".to_owned()
}
