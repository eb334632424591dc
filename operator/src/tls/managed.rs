//! The operator as CA: what of the Secrets has to be written now.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use quorate_operator_api::Tls;

use super::annotations::WRITTEN_AT;
use super::authority::{Authority, Ca};
use super::certificate::{Certificate, Fingerprint};
use super::files::{ClientFiles, Key, MemberFiles, data};
use super::issue::{self, IssueError, Issued, Use, Validity};
use super::policy::Policy;
use super::rotation::{self, Progress, Stage};
use super::{PEER_COMMON_NAME, names};
use crate::cluster::build::Blueprint;

/// How soon to look again at members that have something to load.
const LOOK_AGAIN_SECONDS: i64 = 10;

/// The Secrets as they are, and what members show.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    /// That of the CA.
    pub authority: Option<&'a Secret>,
    /// Those of the members, also of ones that are about to be made.
    pub members: &'a [Member<'a>],
    /// That of applications.
    pub client: Option<&'a Secret>,
    /// That of the operator.
    pub operator: Option<&'a Secret>,
}

/// A member, and its certificates.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// Its number.
    pub number: i64,
    /// The Secret that is mounted into its pod.
    pub secret: Option<&'a Secret>,
    /// What it shows to clients.
    pub shown: Shown,
}

/// What a member shows to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It has no pod: the next one begins with what there is then.
    Nobody,
    /// It could not be asked.
    Unknown,
    /// This certificate.
    Certificate(Fingerprint),
}

/// What has to be written, and how it stands.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Secrets to write. If that of the CA is among them, it is the only one.
    pub writes: Vec<Secret>,
    /// How far a change of CAs is.
    pub stage: Stage,
    /// Members that have not loaded what their Secret says, or could not be asked.
    pub waiting_for: Vec<i64>,
    /// The operator's own certificate, to speak to members with.
    pub operator: Option<ClientFiles>,
    /// What applications have.
    pub client: Option<ClientFiles>,
    /// Until when the CA is valid.
    pub authority_ends: Timestamp,
    /// Until when all certificates are valid.
    pub leaves_end: Option<Timestamp>,
    /// When to look again, if nothing else happens before.
    pub look_again_at: Timestamp,
    /// Whether the CA's Secret was lost or broken, and why.
    pub lost_authority: Option<String>,
}

/// One step: what has to be written now.
///
/// # Errors
/// [`IssueError`], such as for a name in `tls.extraSans` that no certificate can have.
pub fn step(
    blueprint: &Blueprint<'_>,
    policy: &Policy,
    observed: &Observed<'_>,
    now: Timestamp,
) -> Result<Outcome, IssueError> {
    let cluster = &blueprint.names.cluster;
    let (authority, lost) = match observed.authority.map(Authority::of) {
        Some(Ok(authority)) => (authority, None),
        Some(Err(error)) => {
            let made = recovered(cluster, policy, observed, now)?;
            return Ok(of_authority(blueprint, &made, Some(error.to_string()), now));
        }
        None => {
            let made = recovered(cluster, policy, observed, now)?;
            let lost = made.is_orphaned().then(|| "it is gone".to_owned());
            return Ok(of_authority(blueprint, &made, lost, now));
        }
    };
    let work = Work { blueprint, policy, authority: &authority, bundle: authority.bundle(), now };
    let (mut outcome, progress) = work.leaves(observed)?;
    if let Some(change) = rotation::due(&authority, policy, progress, now) {
        let changed = rotation::changed(&authority, change, cluster, policy, now)?;
        return Ok(of_authority(blueprint, &changed, lost, now));
    }
    outcome.lost_authority = lost;
    Ok(outcome)
}

/// A CA in place of one that is lost. If members still have the lost one's certificate, what it
/// signed stays trusted until they have something new.
fn recovered(
    cluster: &str,
    policy: &Policy,
    observed: &Observed<'_>,
    now: Timestamp,
) -> Result<Authority, IssueError> {
    let mut authority = Authority::begin(cluster, policy, now)?;
    let of_members = observed.members.iter().filter_map(|member| member.secret);
    let bundles = of_members
        .filter_map(MemberFiles::of)
        .filter_map(|files| Ca::without_key(&files.ca).filter(|ca| !ca.has_ended(now)));
    // The newest one, as the longest trusted.
    if let Some(lost) = bundles.max_by_key(Ca::not_after) {
        authority.next = Some(std::mem::replace(&mut authority.current, lost));
        authority.trusted_since = Some(now.as_second());
    }
    Ok(authority)
}

/// The step that writes the CA's Secret, and nothing else.
fn of_authority(
    blueprint: &Blueprint<'_>,
    authority: &Authority,
    lost_authority: Option<String>,
    now: Timestamp,
) -> Outcome {
    Outcome {
        writes: vec![authority.secret(blueprint)],
        stage: authority.stage(),
        waiting_for: Vec::new(),
        operator: None,
        client: None,
        authority_ends: authority.current.not_after(),
        leaves_end: None,
        look_again_at: now,
        lost_authority,
    }
}

/// When a member's Secret was written; nobody knows, if somebody else has made it.
fn read_written_at(secret: &Secret) -> Option<i64> {
    secret.metadata.annotations.as_ref()?.get(WRITTEN_AT)?.parse().ok()
}

/// What the certificates are made with.
struct Work<'a> {
    blueprint: &'a Blueprint<'a>,
    policy: &'a Policy,
    authority: &'a Authority,
    bundle: Vec<u8>,
    now: Timestamp,
}

impl Work<'_> {
    /// The Secrets that follow from the CA's, and how far they are.
    fn leaves(&self, observed: &Observed<'_>) -> Result<(Outcome, Progress), IssueError> {
        let mut writes = Vec::new();
        let mut written_at = 0;
        let mut waiting_for = Vec::new();
        let mut ends = Vec::new();
        for member in observed.members {
            let found = member.secret.and_then(MemberFiles::of);
            written_at = written_at.max(member.secret.and_then(read_written_at).unwrap_or(0));
            let files = self.member(member.number, found.as_ref())?;
            let server = Certificate::of_pem(&files.server).ok();
            let peer = Certificate::of_pem(&files.peer).ok();
            ends.extend([&server, &peer].into_iter().flatten().map(|found| found.not_after));
            let has_loaded = match member.shown {
                Shown::Nobody => true,
                Shown::Unknown => false,
                Shown::Certificate(shown) => {
                    server.is_some_and(|server| server.fingerprint == shown)
                }
            };
            let is_new = found.as_ref() != Some(&files);
            if is_new {
                writes.push(self.member_secret(member.number, &files));
            }
            if !has_loaded || is_new && member.shown != Shown::Nobody {
                waiting_for.push(member.number);
            }
        }
        let names = &self.blueprint.names;
        let client_name = format!("{}-client", names.cluster);
        let mut client = |secret: Option<&Secret>, common_name: &str, name: String| {
            let found = secret.and_then(ClientFiles::of);
            written_at = written_at.max(secret.and_then(read_written_at).unwrap_or(0));
            let files = self.client(common_name, found.as_ref())?;
            ends.extend(Certificate::of_pem(&files.certificate).ok().map(|leaf| leaf.not_after));
            if found.as_ref() != Some(&files) {
                writes.push(self.client_secret(name, &files));
            }
            Ok::<_, IssueError>(files)
        };
        let for_clients = client(observed.client, &client_name, names.client_tls_secret())?;
        let operator = client(observed.operator, "quorate-operator", names.operator_tls_secret())?;
        let progress = Progress {
            is_up_to_date: writes.is_empty(),
            is_loaded: waiting_for.is_empty(),
            written_at,
        };
        let leaves_end = ends.iter().min().copied();
        let mut look_again_at = rotation::look_again_at(self.authority, self.policy, written_at);
        if let Some(end) = leaves_end {
            look_again_at = look_again_at.min(end.as_second() - self.policy.renew_seconds);
        }
        // What waits for members waits for no time.
        let soon = self.now.as_second() + LOOK_AGAIN_SECONDS;
        look_again_at = look_again_at.max(soon);
        if !waiting_for.is_empty() && self.authority.stage() != Stage::Stable {
            look_again_at = soon;
        }
        let outcome = Outcome {
            writes,
            stage: self.authority.stage(),
            waiting_for,
            operator: Some(operator),
            client: Some(for_clients),
            authority_ends: self.authority.current.not_after(),
            leaves_end,
            look_again_at: Timestamp::from_second(look_again_at).unwrap_or(self.now),
            lost_authority: None,
        };
        Ok((outcome, progress))
    }

    /// The files of a member: those that it has, if they will do. All are made anew together, but
    /// for certificates whose CA cannot sign any more.
    fn member(&self, number: i64, found: Option<&MemberFiles>) -> Result<MemberFiles, IssueError> {
        let names = &self.blueprint.names;
        let tls: &Tls = &self.blueprint.spec.tls;
        let of_server = names::of_server(names, number, tls);
        let of_peer = names::of_peer(names, number);
        let common_name = names.member(number);
        if let Some(files) = found {
            let server = self.serves(&files.server, &files.server_key, &common_name, &of_server);
            let peer = self.serves(&files.peer, &files.peer_key, PEER_COMMON_NAME, &of_peer);
            if server && peer && (files.ca == self.bundle || self.authority.is_orphaned()) {
                return Ok(MemberFiles { ca: self.bundle.clone(), ..files.clone() });
            }
        }
        let server = self.issue(&common_name, &of_server, Use::Server)?;
        let peer = self.issue(PEER_COMMON_NAME, &of_peer, Use::Peer)?;
        Ok(MemberFiles {
            ca: self.bundle.clone(),
            server: server.certificate,
            server_key: server.key,
            peer: peer.certificate,
            peer_key: peer.key,
        })
    }

    /// The files of a client, as those of a member.
    fn client(
        &self,
        common_name: &str,
        found: Option<&ClientFiles>,
    ) -> Result<ClientFiles, IssueError> {
        if let Some(files) = found
            && self.serves(&files.certificate, &files.key, common_name, &[])
        {
            return Ok(ClientFiles { ca: self.bundle.clone(), ..files.clone() });
        }
        let Issued { certificate, key } = self.issue(common_name, &[], Use::Client)?;
        Ok(ClientFiles { ca: self.bundle.clone(), certificate, key })
    }

    /// Whether a certificate will do for now: of the right CA and names, with its key, not old.
    fn serves(&self, pem: &[u8], key: &Key, common_name: &str, names: &[String]) -> bool {
        let Ok(leaf) = Certificate::of_pem(pem) else { return false };
        let names: BTreeSet<String> = names.iter().cloned().collect();
        let signer = self.authority.signer();
        // What a lost key has signed is not renewed before the next CA is trusted everywhere.
        let is_of_lost_key =
            self.authority.is_orphaned() && self.authority.current.has_signed(&leaf);
        let is_signed = signer.has_signed(&leaf) || is_of_lost_key;
        // One that ends with its CA is as new as can be.
        let may_be_old = is_of_lost_key || leaf.not_after == signer.not_after();
        let is_fresh = leaf.seconds_left(self.now) > self.policy.renew_seconds
            || leaf.is_valid(self.now) && may_be_old;
        is_signed
            && is_fresh
            && leaf.not_before <= self.now
            && leaf.common_name == common_name
            && leaf.names == names
            && issue::key_pair(key).is_ok_and(|pair| pair.public_key_raw() == leaf.public_key)
    }

    fn issue(
        &self,
        common_name: &str,
        names: &[String],
        purpose: Use,
    ) -> Result<Issued, IssueError> {
        let signer = self.authority.signer();
        let key = signer.key.as_ref().expect("a CA signs that has its key");
        let name = &signer.certificates.first().expect("a CA has a certificate").common_name;
        let validity = Validity {
            now: self.now,
            seconds: self.policy.leaf_seconds,
            end: Some(signer.not_after()),
        };
        issue::leaf(name, key, common_name, names, purpose, validity)
    }

    fn member_secret(&self, number: i64, files: &MemberFiles) -> Secret {
        let name = self.blueprint.names.member_tls_secret(number);
        let metadata = self.blueprint.member_metadata(name, number);
        Secret {
            metadata: self.written_now(metadata),
            type_: Some("Opaque".to_owned()),
            data: Some(data(files.files())),
            ..Secret::default()
        }
    }

    fn written_now(&self, metadata: ObjectMeta) -> ObjectMeta {
        let written_at = self.now.as_second().to_string();
        let annotations = [(WRITTEN_AT.to_owned(), written_at)].into();
        ObjectMeta { annotations: Some(annotations), ..metadata }
    }

    fn client_secret(&self, name: String, files: &ClientFiles) -> Secret {
        Secret {
            metadata: self.written_now(self.blueprint.metadata(name)),
            type_: Some("kubernetes.io/tls".to_owned()),
            data: Some(data(files.files())),
            ..Secret::default()
        }
    }
}
