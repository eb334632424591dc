//! Who makes certificates if the operator does not: a stand-in for cert-manager, and people.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use serde_json::{Value, json};

use super::World;
use super::stateful_sets::text;
use crate::api_server::{Part, of_kind};

/// How long a certificate is valid that nobody asks for by its duration.
const HOURS: u64 = 2160;

/// A CA.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    /// One that is valid for as long as a world lasts.
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "the issuer");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// What stands in a Secret: a new certificate of this name, valid from now on.
    fn issue(&self, now: i64, common_name: &str, hosts: Vec<String>, hours: u64) -> Value {
        let mut params = CertificateParams::new(hosts).expect("names");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let since_epoch = Duration::from_secs(u64::try_from(now).expect("a time"));
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_epoch;
        params.not_after = params.not_before + Duration::from_secs(hours * 3600);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        json!({
            "ca.crt": self.certificate, "tls.crt": certificate, "tls.key": key.serialize_pem(),
        })
    }
}

impl World {
    /// Whoever has asked for a certificate gets it, and another one before it ends.
    pub(super) fn run_issuer(&mut self) {
        let Some(authority) = &self.issuer else { return };
        let now = self.clock.now().as_second();
        for certificate in self.server.list(&of_kind::CERTIFICATE, "") {
            let namespace = text(&certificate, "/metadata/namespace");
            let spec = &certificate["spec"];
            let name = text(spec, "/secretName");
            let hours = |field: &str| {
                text(spec, field).strip_suffix('h').and_then(|hours| hours.parse::<u64>().ok())
            };
            let valid = hours("/duration").unwrap_or(HOURS);
            let left = hours("/renewBefore").unwrap_or(valid / 3);
            let renew = i64::try_from((valid - left) * 3600).expect("a time");
            let found = self.server.get(&of_kind::SECRET, namespace, name);
            let issued = found.as_ref().map(|secret| text(secret, "/metadata/annotations/issued"));
            if issued.is_some_and(|at| now < at.parse::<i64>().unwrap_or_default() + renew) {
                continue;
            }
            let hosts = spec["dnsNames"].as_array().into_iter().flatten();
            let hosts = hosts.filter_map(Value::as_str).map(str::to_owned).collect();
            let data = authority.issue(now, text(spec, "/commonName"), hosts, valid);
            let labels = spec["secretTemplate"]["labels"].clone();
            self.write_tls(namespace, name, &data, &labels);
        }
    }

    /// A person makes a Secret with a certificate.
    pub(crate) fn make_tls(&self, namespace: &str, name: &str, authority: &Authority) {
        let now = self.clock.now().as_second();
        let data = authority.issue(now, name, vec!["*.demo-members.ns.svc".to_owned()], HOURS);
        self.write_tls(namespace, name, &data, &json!({}));
    }

    fn write_tls(&self, namespace: &str, name: &str, texts: &Value, labels: &Value) {
        use k8s_openapi::ByteString;

        let of = |key: &str| ByteString(text(texts, key).as_bytes().to_vec());
        let data = json!({
            "ca.crt": of("/ca.crt"), "tls.crt": of("/tls.crt"), "tls.key": of("/tls.key"),
        });
        let issued = json!({ "issued": self.clock.now().as_second().to_string() });
        let key = (namespace, name);
        let changed = self.server.change(&of_kind::SECRET, key, Part::Object, |secret| {
            secret["data"] = data.clone();
            secret["metadata"]["annotations"] = issued.clone();
        });
        if changed.is_err() {
            let secret = json!({
                "metadata": { "name": name, "labels": labels, "annotations": issued },
                "type": "kubernetes.io/tls", "data": data,
            });
            self.server.create(&of_kind::SECRET, namespace, secret).expect("a Secret");
        }
    }
}
