//! Whether a certificate is signed by who is trusted, for a use, now, and not revoked.
//!
//! ```text
//!   certificate ◄── signed by ── intermediates ◄── signed by ── a root of the CA file
//!       │                             │                              │
//!       └── valid now, for this use ──┴── a CA, path length, valid ──┴── the same
//!       └────── revoked by no list of its issuer, as far as there are lists
//! ```
//!
//! The library for signatures takes a root for a name with a key. Here a root is a certificate
//! like the others, as in Go: one that is over, is no CA, or allows a shorter path does not count.
//! And as in Go, a certificate that is in the CA file itself needs nobody's signature.

use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::{CertRevocationListError, CertificateError, Error};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// What a certificate is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// By who connects.
    Client,
    /// By who is connected to.
    Server,
}

/// The roots that are trusted.
#[derive(Debug)]
pub(super) struct Roots {
    anchors: Vec<TrustAnchor<'static>>,
    /// Of each anchor, what its certificate says beyond name and key.
    limits: Vec<Limits>,
}

#[derive(Debug)]
struct Limits {
    certificate: CertificateDer<'static>,
    not_before: i64,
    not_after: i64,
    may_sign: bool,
    intermediates_max: Option<usize>,
}

impl Roots {
    /// Of certificates; an error names the first that is none.
    pub(super) fn of(certificates: &[CertificateDer<'_>]) -> Result<Self, String> {
        let mut roots = Self { anchors: Vec::new(), limits: Vec::new() };
        for (number, certificate) in certificates.iter().enumerate() {
            let bad = |why: String| format!("certificate {} in it: {why}", number + 1);
            let anchor = webpki::anchor_from_trusted_cert(certificate)
                .map_err(|error| bad(error.to_string()))?;
            let (_, parsed) =
                X509Certificate::from_der(certificate).map_err(|error| bad(error.to_string()))?;
            roots.anchors.push(anchor.to_owned());
            roots.limits.push(Limits::of(certificate, &parsed).map_err(bad)?);
        }
        Ok(roots)
    }

    /// Their names, which are told to clients so that they know which certificate to show.
    pub(super) fn subjects(&self) -> Vec<rustls::DistinguishedName> {
        let subjects = self.anchors.iter().map(|anchor| anchor.subject.as_ref());
        subjects.map(rustls::DistinguishedName::in_sequence).collect()
    }

    /// Whether the root at the end of a path lets the path be.
    fn check(&self, path: &VerifiedPath<'_>, now: UnixTime) -> Result<(), webpki::Error> {
        let intermediates = path.intermediate_certificates().count();
        let now = seconds(now);
        // The same root may be there again, in a newer certificate.
        let mut why = webpki::Error::UnknownIssuer;
        for (anchor, limits) in self.anchors.iter().zip(&self.limits) {
            if anchor != path.anchor() {
                continue;
            }
            match limits.check(intermediates, now) {
                Ok(()) => return Ok(()),
                Err(error) => why = error,
            }
        }
        Err(why)
    }
}

impl Limits {
    fn of(whole: &CertificateDer<'_>, certificate: &X509Certificate<'_>) -> Result<Self, String> {
        let malformed = |error: x509_parser::error::X509Error| error.to_string();
        let constraints = certificate.basic_constraints().map_err(malformed)?;
        let usage = certificate.key_usage().map_err(malformed)?;
        // Certificates of the first version say nothing about it.
        let is_ca = constraints.as_ref().is_none_or(|constraints| constraints.value.ca)
            && (constraints.is_some() || certificate.version().0 < 2);
        let length = constraints.and_then(|constraints| constraints.value.path_len_constraint);
        Ok(Self {
            certificate: whole.clone().into_owned(),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            may_sign: is_ca && usage.is_none_or(|usage| usage.value.key_cert_sign()),
            intermediates_max: length.map(|length| usize::try_from(length).unwrap_or(usize::MAX)),
        })
    }

    fn check(&self, intermediates: usize, now: i64) -> Result<(), webpki::Error> {
        self.check_time(now)?;
        if !self.may_sign {
            return Err(webpki::Error::EndEntityUsedAsCa);
        }
        match self.intermediates_max {
            Some(max) if intermediates > max => Err(webpki::Error::PathLenConstraintViolated),
            _ => Ok(()),
        }
    }

    fn check_time(&self, now: i64) -> Result<(), webpki::Error> {
        let time = |seconds: i64| {
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(
                u64::try_from(seconds).unwrap_or_default(),
            ))
        };
        if now < self.not_before {
            let (time, not_before) = (time(now), time(self.not_before));
            return Err(webpki::Error::CertNotValidYet { time, not_before });
        }
        if now > self.not_after {
            let (time, not_after) = (time(now), time(self.not_after));
            return Err(webpki::Error::CertExpired { time, not_after });
        }
        Ok(())
    }
}

fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// Lists of what is revoked. A list that is over counts all the same, as in etcd: what it names
/// stays revoked, and what it does not name stays valid.
#[derive(Debug, Default)]
pub(super) struct Revoked(pub(super) Vec<CertRevocationList<'static>>);

/// Check a certificate that came with others.
pub(super) fn check(
    roots: &Roots,
    revoked: &Revoked,
    certificate: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    usage: Use,
    now: UnixTime,
) -> Result<(), Error> {
    if let Some(limits) = roots.limits.iter().find(|root| root.certificate == *certificate) {
        limits.check_time(seconds(now)).map_err(error)?;
        return check_alone(certificate, revoked, usage);
    }
    let end = EndEntityCert::try_from(certificate).map_err(error)?;
    let lists: Vec<&CertRevocationList<'_>> = revoked.0.iter().collect();
    let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
        options
            .with_depth(RevocationCheckDepth::Chain)
            .with_status_policy(UnknownStatusPolicy::Allow)
            .with_expiration_policy(ExpirationPolicy::Ignore)
            .build()
    });
    let usage = match usage {
        Use::Client => KeyUsage::client_auth(),
        Use::Server => KeyUsage::server_auth(),
    };
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let check_root = |path: &VerifiedPath<'_>| roots.check(path, now);
    let path = end.verify_for_usage(
        algorithms.all,
        &roots.anchors,
        intermediates,
        now,
        usage,
        revocation,
        Some(&check_root),
    );
    path.map(drop).map_err(error)
}

/// Check a certificate that is trusted itself: its use, and whether it is revoked.
fn check_alone(
    certificate: &CertificateDer<'_>,
    revoked: &Revoked,
    usage: Use,
) -> Result<(), Error> {
    let bad = || Error::from(CertificateError::BadEncoding);
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| bad())?;
    let uses = parsed.extended_key_usage().map_err(|_| bad())?;
    let is_for_it = uses.is_none_or(|uses| match usage {
        Use::Client => uses.value.client_auth,
        Use::Server => uses.value.server_auth,
    });
    if !is_for_it {
        return Err(CertificateError::InvalidPurpose.into());
    }
    let serial = parsed.raw_serial();
    // Nobody's signature counts here, so neither does that of a list.
    let is_revoked = revoked.0.iter().any(|list| !matches!(list.find_serial(serial), Ok(None)));
    if is_revoked { Err(CertificateError::Revoked.into()) } else { Ok(()) }
}

/// The errors that have an alert of their own keep it; who is refused is told why.
fn error(error: webpki::Error) -> Error {
    use webpki::Error as From;
    match error {
        From::BadDer | From::BadDerTime | From::TrailingData(_) => {
            CertificateError::BadEncoding.into()
        }
        From::CertNotValidYet { time, not_before } => {
            CertificateError::NotValidYetContext { time, not_before }.into()
        }
        From::CertExpired { time, not_after } => {
            CertificateError::ExpiredContext { time, not_after }.into()
        }
        From::CertRevoked => CertificateError::Revoked.into(),
        From::UnknownIssuer => CertificateError::UnknownIssuer.into(),
        From::InvalidSignatureForPublicKey => CertificateError::BadSignature.into(),
        From::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose.into(),
        From::IssuerNotCrlSigner => CertRevocationListError::IssuerInvalidForCrl.into(),
        From::InvalidCrlSignatureForPublicKey => CertRevocationListError::BadSignature.into(),
        other => {
            let other = rustls::OtherError(std::sync::Arc::new(other));
            CertificateError::Other(other).into()
        }
    }
}
