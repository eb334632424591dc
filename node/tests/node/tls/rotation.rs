//! Certificates, authorities and lists of what is revoked are replaced again and again, while
//! clients come and go: none of them notices, and what is replaced counts at once.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::CertifiedKey;

use super::authority::{Authority, Identity, as_is};
use super::caller::{
    Caller, DOORS, Door, Outcome, PATIENCE, Sender, certified, range_again, roots,
};
use super::member::{Folder, Member, OK, block_on};

/// How often everything is replaced, unless `QUORATE_ROTATIONS` says another number.
const ROTATIONS: u64 = 1_000;

/// So often there is a new authority, too.
const ROTATIONS_OF_AUTHORITY: u64 = 8;

/// Clients that come, ask and go.
const CALLERS: usize = 4;

/// What clients show and trust. Whoever replaces it waits until nobody uses the old one.
struct Known {
    shown: Arc<CertifiedKey>,
    trusted: Arc<RootCertStore>,
}

/// Files as Kubernetes puts them: names that lead through one link, which is swapped.
fn publish(folder: &Path, number: u64, files: &[(&str, &str)]) {
    let version = format!("version-{number}");
    std::fs::create_dir_all(folder.join(&version)).expect("a folder");
    for (name, text) in files {
        std::fs::write(folder.join(&version).join(name), text).expect("written");
        let link = folder.join(name);
        if !link.exists() {
            symlink(Path::new("..data").join(name), link).expect("a link");
        }
    }
    symlink(&version, folder.join("..next")).expect("a link");
    std::fs::rename(folder.join("..next"), folder.join("..data")).expect("swapped");
    if let Some(old) = number.checked_sub(1) {
        let _ = std::fs::remove_dir_all(folder.join(format!("version-{old}")));
    }
}

type Shared = Arc<parking_lot::RwLock<Arc<Known>>>;

/// Replaces what clients show and trust, and waits until none uses what it was before.
async fn replace(known: &Shared, next: Known) {
    let replaced = std::mem::replace(&mut *known.write(), Arc::new(next));
    let began = Instant::now();
    while Arc::strong_count(&replaced) > 1 {
        assert!(began.elapsed() < PATIENCE, "somebody still uses the old certificate");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

struct Rotation {
    folder: Folder,
    versions: u64,
    authority: Authority,
    /// The one before, as long as somebody may have a certificate of its.
    before: Option<Authority>,
    member: Identity,
    revoked: Vec<u64>,
}

impl Rotation {
    fn publish(&mut self) {
        let mut cas = self.authority.pem.clone();
        let mut lists = self.authority.revoke(&self.revoked, 2120);
        if let Some(before) = &self.before {
            cas.push_str(&before.pem);
            lists.push_str(&before.revoke(&self.revoked, 2120));
        }
        let files = [
            ("member.pem", self.member.chain.as_str()),
            ("member.key", self.member.key.as_str()),
            ("ca.pem", cas.as_str()),
            ("crl.pem", lists.as_str()),
        ];
        publish(&self.folder.0, self.versions, &files);
        self.versions += 1;
    }

    fn trusted(&self) -> Arc<RootCertStore> {
        let before = self.before.as_ref().map_or("", |before| before.pem.as_str());
        roots(&format!("{}{before}", self.authority.pem))
    }
}

const FLAGS: [&str; 10] = [
    "--cert-file=member.pem",
    "--key-file=member.key",
    "--trusted-ca-file=ca.pem",
    "--client-cert-auth",
    "--client-crl-file=crl.pem",
    "--peer-cert-file=member.pem",
    "--peer-key-file=member.key",
    "--peer-trusted-ca-file=ca.pem",
    "--peer-client-cert-auth",
    "--peer-crl-file=crl.pem",
];

/// Comes, asks and goes until it is told to stop; what went wrong.
async fn call(
    known: Shared,
    one: Arc<Member>,
    (stop, calls): (Arc<AtomicBool>, Arc<AtomicU64>),
    first: usize,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for door in DOORS.iter().cycle().skip(first) {
        if stop.load(Ordering::Relaxed) || wrong.len() > 9 {
            break;
        }
        let now = known.read().clone();
        let shown = Some(now.shown.clone());
        let caller = Caller { shown, ..Caller::new(&now.trusted, None) };
        match caller.ask(*door, one.address(*door)).await {
            OK => drop(calls.fetch_add(1, Ordering::Relaxed)),
            outcome => wrong.push(format!("{door:?}: {outcome:?}")),
        }
        drop(now);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    wrong
}

/// Asks over one connection for as long as all the others come and go.
async fn stay(
    mut sender: Sender,
    one: Arc<Member>,
    (stop, calls): (Arc<AtomicBool>, Arc<AtomicU64>),
) -> Vec<String> {
    while !stop.load(Ordering::Relaxed) {
        match range_again(&mut sender, one.client).await {
            Ok(200) => drop(calls.fetch_add(1, Ordering::Relaxed)),
            other => return vec![format!("on the old connection: {other:?}")],
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Vec::new()
}

async fn old_connection(caller: &Caller, one: &Member) -> Sender {
    let stream = caller.connect(one.client, &[b"h2"]).await.expect("it lets a client in");
    let io = TokioIo::new(stream);
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .expect("it speaks HTTP/2");
    tokio::spawn(connection);
    sender
}

/// The certificate that a member shows now.
async fn shown_by(caller: &Caller, one: &Member, door: Door) -> CertificateDer<'static> {
    let stream = caller.connect(one.address(door), &[]).await.expect("it lets a client in");
    let (_, connection) = stream.get_ref();
    let certificates = connection.peer_certificates().expect("it shows a certificate");
    certificates.first().expect("it shows a certificate").clone().into_owned()
}

fn first(identity: &Identity) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(identity.chain.as_bytes()).expect("a certificate")
}

#[test]
fn a_thousand_rotations_cost_no_request() {
    let rotations = std::env::var("QUORATE_ROTATIONS").ok().and_then(|text| text.parse().ok());
    let rotations: u64 = rotations.unwrap_or(ROTATIONS);
    let authority = Authority::root("authority 0", &as_is);
    let member = authority.member("one", &as_is);
    let mut rotation = Rotation {
        folder: Folder::new("rotation"),
        versions: 0,
        member,
        authority,
        before: None,
        revoked: Vec::new(),
    };
    rotation.publish();
    let mut one = Member::start(&rotation.folder, &FLAGS);
    one.wait_until_ready();
    let one = Arc::new(one);
    let mut identity = rotation.authority.client("client 0", &as_is);
    let known = Known { shown: certified(&identity), trusted: rotation.trusted() };
    let known = Arc::new(parking_lot::RwLock::new(Arc::new(known)));
    let signals = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    block_on(async {
        let caller = Caller::new(&rotation.trusted(), Some(&identity));
        let sender = old_connection(&caller, &one).await;
        let mut tasks = vec![tokio::spawn(stay(sender, one.clone(), signals.clone()))];
        for number in 0..CALLERS {
            let task = call(known.clone(), one.clone(), signals.clone(), number);
            tasks.push(tokio::spawn(task));
        }
        for number in 1..=rotations {
            if number % ROTATIONS_OF_AUTHORITY == 0 {
                // First everybody trusts both, then certificates of the new one are used.
                let next = Authority::root(&format!("authority {number}"), &as_is);
                rotation.before = Some(std::mem::replace(&mut rotation.authority, next));
                rotation.revoked.clear();
                rotation.publish();
                let both = Known { shown: certified(&identity), trusted: rotation.trusted() };
                replace(&known, both).await;
            } else if number % ROTATIONS_OF_AUTHORITY == 4 {
                // By now nobody has a certificate of the old one.
                rotation.before = None;
            }
            let next = rotation.authority.client(&format!("client {number}"), &as_is);
            let old = std::mem::replace(&mut identity, next);
            let now = Known { shown: certified(&identity), trusted: rotation.trusted() };
            replace(&known, now).await;
            rotation.revoked.push(old.serial);
            rotation.member = rotation.authority.member("one", &as_is);
            rotation.publish();
            // What was replaced counts for the very next connection, and so does each part of it.
            let door = DOORS[usize::try_from(number).expect("small") % DOORS.len()];
            let caller = Caller::new(&rotation.trusted(), Some(&identity));
            let shown = shown_by(&caller, &one, door).await;
            assert_eq!(shown, first(&rotation.member), "rotation {number}, {door:?}");
            if number % ROTATIONS_OF_AUTHORITY != 0 {
                let revoked = Caller::new(&rotation.trusted(), Some(&old));
                let revoked = revoked.ask(door, one.address(door)).await;
                assert!(matches!(revoked, Outcome::Refused(_)), "{number}, {door:?}: {revoked:?}");
            }
        }
        signals.0.store(true, Ordering::Relaxed);
        let mut wrong = Vec::new();
        for task in tasks {
            wrong.extend(task.await.expect("it does not panic"));
        }
        let calls = signals.1.load(Ordering::Relaxed);
        eprintln!("{rotations} rotations, {calls} calls, {} wrong", wrong.len());
        assert!(wrong.is_empty(), "of {calls} calls:\n{}", wrong.join("\n"));
        assert!(calls >= rotations, "only {calls} calls");
    });
}

#[test]
fn what_is_of_no_use_changes_nothing() {
    let folder = Folder::new("useless");
    let root = Authority::root("root", &as_is);
    let (first_one, second) = (root.member("one", &as_is), root.member("one", &as_is));
    folder.write("member.pem", &first_one.chain);
    folder.write("member.key", &first_one.key);
    folder.write("ca.pem", &root.pem);
    folder.write("crl.pem", &root.revoke(&[], 2120));
    let mut one = Member::start(&folder, &FLAGS);
    one.wait_until_ready();
    let client = root.client("client", &as_is);
    let caller = Caller::new(&roots(&root.pem), Some(&client));
    let shows = |identity: &Identity| {
        let all = block_on(async {
            let mut all = Vec::new();
            for door in [Door::ClientGrpc, Door::Metrics, Door::Peer] {
                all.push(shown_by(&caller, &one, door).await);
            }
            all
        });
        all.iter().all(|shown| *shown == first(identity))
    };
    let shows_soon = |identity: &Identity| {
        let began = Instant::now();
        while !shows(identity) {
            assert!(began.elapsed() < PATIENCE, "it does not show the new certificate");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    // Half of a pair, half of a file, nothing, and no file at all; for longer than a moment.
    let half = second.chain.get(..300).expect("half of it");
    for (name, text) in [
        ("member.pem", Some(second.chain.as_str())),
        ("member.pem", Some(half)),
        ("member.pem", Some("")),
        ("member.pem", None),
        ("ca.pem", Some("no certificate")),
        ("ca.pem", None),
        ("crl.pem", Some("-----BEGIN X509 CRL-----\nMAMC")),
        ("crl.pem", None),
    ] {
        match text {
            Some(text) => folder.write(name, text),
            None => std::fs::remove_file(folder.0.join(name)).expect("removed"),
        }
        let until = Instant::now() + Duration::from_millis(150);
        while Instant::now() < until {
            assert!(shows(&first_one), "{name}: {text:?}");
        }
    }
    // The other half comes, in place.
    folder.write("ca.pem", &root.pem);
    folder.write("crl.pem", &root.revoke(&[], 2120));
    folder.write("member.pem", &second.chain);
    folder.write("member.key", &second.key);
    shows_soon(&second);
    // A list in place, and a new authority in place.
    folder.write("crl.pem", &root.revoke(&[client.serial], 2120));
    let began = Instant::now();
    let other = root.client("other", &as_is);
    for door in DOORS {
        while block_on(caller.ask(door, one.address(door))) == OK {
            assert!(began.elapsed() < PATIENCE, "a revoked client is let in at {door:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        let caller = Caller::new(&roots(&root.pem), Some(&other));
        assert_eq!(block_on(caller.ask(door, one.address(door))), OK, "{door:?}");
    }
    // It is said, once, when the files are left alone.
    folder.write("crl.pem", "no list");
    let said = |log: &str| log.matches("certificates cannot be replaced").count();
    let began = Instant::now();
    let caller = Caller::new(&roots(&root.pem), Some(&other));
    while said(&one.log_text()) == 0 {
        assert!(began.elapsed() < PATIENCE, "{}", one.log_text());
        assert_eq!(block_on(caller.ask(Door::Metrics, one.metrics)), OK);
        std::thread::sleep(Duration::from_millis(50));
    }
    let before = said(&one.log_text());
    for _ in 0..10 {
        assert_eq!(block_on(caller.ask(Door::Metrics, one.metrics)), OK);
    }
    assert_eq!(said(&one.log_text()), before, "{}", one.log_text());
}
