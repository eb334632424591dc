//! Certificates of all kinds, good and bad.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, date_time_ymd,
};

/// Somebody who signs.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub(super) pem: String,
    pub(super) serial: u64,
    /// What stands between a certificate of its and the root.
    pub(super) chain: String,
    key: String,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// The certificate, and those between it and its root.
    pub(super) chain: String,
    pub(super) key: String,
    pub(super) serial: u64,
}

pub(super) type Change<'a> = &'a dyn Fn(&mut CertificateParams);

/// No change.
pub(super) fn as_is(_: &mut CertificateParams) {}

fn next_serial() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0x1000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn params(name: &str) -> (CertificateParams, u64) {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    let serial = next_serial();
    params.serial_number = Some(SerialNumber::from(serial));
    (params, serial)
}

fn authority_params(name: &str) -> (CertificateParams, u64) {
    let (mut params, serial) = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params, serial)
}

impl Authority {
    pub(super) fn root(name: &str, change: Change<'_>) -> Self {
        let (mut params, serial) = authority_params(name);
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let text = key.serialize_pem();
        let (issuer, chain) = (Issuer::new(params, key), String::new());
        Self { issuer, pem, serial, chain, key: text }
    }

    /// Another authority, signed by this one.
    pub(super) fn intermediate(&self, name: &str, change: Change<'_>) -> Self {
        let (mut params, serial) = authority_params(name);
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let pem = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        let chain = format!("{pem}{}", self.chain);
        let text = key.serialize_pem();
        Self { issuer: Issuer::new(params, key), pem, serial, chain, key: text }
    }

    /// A certificate of a client.
    pub(super) fn client(&self, name: &str, change: Change<'_>) -> Identity {
        self.issue(name, &|params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            change(params);
        })
    }

    /// A certificate of a member: for both directions, on this machine.
    pub(super) fn member(&self, name: &str, change: Change<'_>) -> Identity {
        self.issue(name, &|params| {
            params.extended_key_usages =
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            hosts(params, &["localhost", "127.0.0.1"]);
            change(params);
        })
    }

    pub(super) fn issue(&self, name: &str, change: Change<'_>) -> Identity {
        let key = KeyPair::generate().expect("a key");
        self.issue_to(name, &key, change)
    }

    pub(super) fn issue_to(&self, name: &str, key: &KeyPair, change: Change<'_>) -> Identity {
        let (mut params, serial) = params(name);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        change(&mut params);
        let certificate = params.signed_by(key, &self.issuer).expect("a certificate");
        let chain = format!("{}{}", certificate.pem(), self.chain);
        Identity { chain, key: key.serialize_pem(), serial }
    }

    /// The authority itself, as if it were a client.
    pub(super) fn as_identity(&self) -> Identity {
        let chain = if self.chain.is_empty() { self.pem.clone() } else { self.chain.clone() };
        Identity { chain, key: self.key.clone(), serial: self.serial }
    }

    /// The list of what it has revoked, up to date until this year.
    pub(super) fn revoke(&self, serials: &[u64], until: i32) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).expect("a list").pem().expect("text")
    }
}

impl Identity {
    /// With another key.
    pub(super) fn with_key_of(&self, other: &Self) -> Self {
        Self { key: other.key.clone(), ..self.clone() }
    }
}

/// The hosts that a certificate is for.
pub(super) fn hosts(params: &mut CertificateParams, hosts: &[&str]) {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    params.subject_alt_names = CertificateParams::new(hosts).expect("hosts").subject_alt_names;
}

/// A certificate that nobody has signed but itself.
pub(super) fn self_signed(name: &str, change: Change<'_>) -> Identity {
    let (mut params, serial) = params(name);
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    hosts(&mut params, &["localhost", "127.0.0.1"]);
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let chain = params.self_signed(&key).expect("a certificate").pem();
    Identity { chain, key: key.serialize_pem(), serial }
}
