//! Whom a member talks to: the certificates of the members that it connects to. The other
//! direction is tested with whole members.

#[path = "../../../tests/node/tls/authority.rs"]
#[expect(dead_code, reason = "the tests of whole members need the rest of it")]
mod authority;

use std::path::PathBuf;
use std::sync::Arc;

use quorate_api::urls::Url;
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::accept::Acceptor;
use super::*;
use authority::{Authority, Identity, as_is, hosts, self_signed};

/// A folder that is gone with its value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("quorate-tls-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A member that shows this, and with these trusts.
fn member(folder: &Folder, name: &str, shown: &Identity, change: impl Fn(&mut Asked)) -> Arc<Live> {
    let mut asked = Asked {
        certificate: folder.write(&format!("{name}.pem"), &shown.chain),
        key: folder.write(&format!("{name}.key"), &shown.key),
        version_min: "TLS1.2".to_owned(),
        ..Asked::default()
    };
    change(&mut asked);
    Live::load(Options::check(Side::Peers, &asked).unwrap()).unwrap()
}

/// One connects to the other, under this address; whether they understand each other.
async fn meet(from: &Arc<Live>, to: &Arc<Live>, url: &str) -> Result<(), String> {
    let acceptor = Acceptor::new(to);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let answers = async {
        if let Some(mut stream) = acceptor.accept(accepted).await {
            let mut word = [0; 5];
            if stream.read_exact(&mut word).await.is_ok() {
                let _ = stream.write_all(&word).await;
                let _ = stream.shutdown().await;
            }
        }
    };
    let asks = async {
        let url = Url::parse(url).unwrap();
        let mut stream = connect(Some(from), &url, socket).await?;
        stream.write_all(b"hello").await?;
        let mut word = [0; 5];
        stream.read_exact(&mut word).await?;
        assert_eq!(&word, b"hello");
        Ok(())
    };
    let (asked, ()) = tokio::join!(asks, answers);
    asked.map_err(|error: std::io::Error| error.to_string())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(future)
}

const HERE: &str = "https://127.0.0.1:2380";

#[test]
fn a_member_talks_to_none_with_a_bad_certificate() {
    let folder = Folder::new("servers");
    let root = Authority::root("root", &as_is);
    let foreign = Authority::root("foreign", &as_is);
    let namesake = Authority::root("root", &as_is);
    let intermediate = root.intermediate("intermediate", &as_is);
    let lost = root.intermediate("lost", &as_is);
    let short = root.intermediate("short", &|params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    let leaf = root.intermediate("leaf", &|params| params.is_ca = IsCa::ExplicitNoCa);
    let used = |usage: ExtendedKeyUsagePurpose| {
        root.member("peer", &|params| params.extended_key_usages = vec![usage.clone()])
    };
    let dated = |from: i32, to: i32| {
        root.member("peer", &|params| {
            params.not_before = date_time_ymd(from, 1, 1);
            params.not_after = date_time_ymd(to, 1, 1);
        })
    };
    let of = |names: &[&str]| root.member("peer", &|params| hosts(params, names));
    let revoked = root.member("peer", &as_is);
    let pinned = self_signed("peer", &|params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let lists = root.revoke(&[revoked.serial, lost.serial], 2120);
    let ca = folder.write("ca.pem", &format!("{}{}", root.pem, pinned.chain));
    let crl = folder.write("crl.pem", &lists);
    let dialler = member(&folder, "dialler", &root.member("peer", &as_is), |asked| {
        asked.trusted_ca.clone_from(&ca);
        asked.revoked.clone_from(&crl);
        asked.common_names = "peer".to_owned();
    });
    let good = "";
    for (name, shown, url, error) in [
        ("good", root.member("peer", &as_is), HERE, good),
        ("by name", of(&["m.example"]), "https://m.example:2380", good),
        ("by an intermediate", intermediate.member("peer", &as_is), HERE, good),
        ("for servers", used(ExtendedKeyUsagePurpose::ServerAuth), HERE, good),
        ("in the CA file itself", pinned, HERE, good),
        ("expired", dated(2020, 2021), HERE, "expired"),
        ("not yet valid", dated(2110, 2111), HERE, "not valid yet"),
        ("a client's", used(ExtendedKeyUsagePurpose::ClientAuth), HERE, "InvalidPurpose"),
        ("for code", used(ExtendedKeyUsagePurpose::CodeSigning), HERE, "InvalidPurpose"),
        ("another address", of(&["192.0.2.1"]), HERE, "not valid for name"),
        ("another name", of(&["n.example"]), "https://m.example:2380", "not valid for name"),
        ("a name for an address", of(&["m.example"]), HERE, "not valid for name"),
        ("no name", of(&[]), HERE, "not valid for name"),
        ("another common name", root.member("other", &as_is), HERE, "ApplicationVerification"),
        ("foreign", foreign.member("peer", &as_is), HERE, "UnknownIssuer"),
        ("a namesake's", namesake.member("peer", &as_is), HERE, "BadSignature"),
        ("self-signed", self_signed("alone", &as_is), HERE, "UnknownIssuer"),
        ("revoked", revoked, HERE, "Revoked"),
        ("by a revoked intermediate", lost.member("peer", &as_is), HERE, "Revoked"),
        ("by a leaf", leaf.member("peer", &as_is), HERE, "EndEntityUsedAsCa"),
        (
            "too long a path",
            short.intermediate("more", &as_is).member("peer", &as_is),
            HERE,
            "PathLenConstraintViolated",
        ),
    ] {
        // Whoever is asked does not ask back: what counts here is what the one who asks thinks.
        let server = member(&folder, "server", &shown, |_| {});
        let met = block_on(meet(&dialler, &server, url));
        match met {
            Ok(()) => assert_eq!(error, good, "{name} is talked to"),
            Err(text) => {
                assert!(!error.is_empty() && text.contains(error), "{name}: {text}");
            }
        }
    }
    // Who trusts nobody talks to nobody, and says what is missing.
    let lonely = member(&folder, "lonely", &root.member("peer", &as_is), |_| {});
    let met = block_on(meet(&lonely, &dialler, HERE)).expect_err("nobody is trusted");
    assert!(met.contains("--peer-trusted-ca-file is not set"), "{met}");
}

#[test]
fn members_that_make_their_certificates_hide_what_they_say() {
    let folder = Folder::new("made");
    let urls = [Url::parse(HERE).unwrap(), Url::parse("https://[::1]:2380").unwrap()];
    let made = |name: &str| {
        let asked = Asked { is_automatic: true, years: 1, ..Asked::default() };
        let options = Options::check(Side::Peers, &asked).unwrap();
        options.check_used(false).unwrap();
        load(&options, &folder.0.join(name), &urls).unwrap()
    };
    let (one, other) = (made("one"), made("other"));
    assert_eq!(block_on(meet(&one, &other, HERE)), Ok(()));
    assert_eq!(block_on(meet(&other, &one, "https://elsewhere.example:1")), Ok(()));
    // Whoever trusts an authority does not trust them.
    let root = Authority::root("root", &as_is);
    let ca = folder.write("ca.pem", &root.pem);
    let careful = member(&folder, "careful", &root.member("peer", &as_is), |asked| {
        asked.trusted_ca.clone_from(&ca);
    });
    assert!(block_on(meet(&careful, &one, HERE)).is_err());
    assert!(block_on(meet(&one, &careful, HERE)).is_err());
}
