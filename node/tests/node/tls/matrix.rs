//! Certificates of clients, each at each door: the good ones get in, the others nowhere, and for
//! the reason that they are bad for.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CustomExtension, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::CertifiedKey;

use super::authority::{Authority, Identity, as_is, hosts, self_signed};
use super::caller::{
    Caller, DOORS, Door, ONLY_1_2, ONLY_1_3, Outcome, certified, certified_der, roots,
};
use super::member::{Folder, Member, OK, block_on, free_port};

/// The alerts that may answer a bad certificate.
const EXPIRED: &[&str] = &["CertificateExpired"];
const UNKNOWN: &[&str] = &["UnknownCA"];
const REVOKED: &[&str] = &["CertificateRevoked"];
const BAD: &[&str] = &["CertificateUnknown"];
const UNFIT: &[&str] = &["UnsupportedCertificate"];
const UNREADABLE: &[&str] = &["DecodeError", "BadCertificate"];
const UNSIGNED: &[&str] = &["DecryptError"];
const NONE: &[&str] = &["CertificateRequired", "HandshakeFailure"];

enum Expected {
    Everywhere,
    Nowhere(&'static [&'static str]),
    /// Everywhere but with peers, who have to be where their certificate says.
    NotAsPeer,
}

use Expected::{Everywhere, NotAsPeer, Nowhere};

struct Case {
    name: &'static str,
    shown: Option<Arc<CertifiedKey>>,
    expected: Expected,
}

fn case(name: &'static str, identity: &Identity, expected: Expected) -> Case {
    Case { name, shown: Some(certified(identity)), expected }
}

/// Everybody who signs, and what the member's files hold of it.
struct World {
    root: Authority,
    intermediate: Authority,
    foreign: Authority,
    cas: String,
    lists: String,
    cases: Vec<Case>,
}

fn build() -> World {
    let root = Authority::root("root", &as_is);
    let intermediate = root.intermediate("intermediate", &as_is);
    let foreign = Authority::root("foreign", &as_is);
    let mut world = World {
        cas: root.pem.clone(),
        lists: String::new(),
        cases: Vec::new(),
        root,
        intermediate,
        foreign,
    };
    world.good();
    world.dates_and_uses();
    world.strangers();
    world.intermediates();
    world.roots();
    world.revoked();
    world.broken();
    world.somewhere_else();
    world
}

impl World {
    fn add(&mut self, name: &'static str, identity: &Identity, expected: Expected) {
        self.cases.push(case(name, identity, expected));
    }

    /// Trusts one more, and adds a client of it.
    fn trust(&mut self, authority: &Authority) {
        self.cas.push_str(&authority.pem);
    }

    fn good(&mut self) {
        let root = &self.root;
        let several = root.intermediate("a", &as_is).intermediate("b", &as_is);
        let any_use = root.issue("any use", &as_is);
        let both = root.member("both uses", &as_is);
        let nameless = root.client("", &|params| {
            params.distinguished_name = rcgen::DistinguishedName::new();
        });
        let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
        let ed25519 = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let rsa = KeyPair::from_pem(include_str!("fixtures/rsa2048.key")).expect("a key");
        let cases = [
            ("a client", root.client("client", &as_is)),
            ("a client by an intermediate", self.intermediate.client("client", &as_is)),
            ("a client by two intermediates", several.client("client", &as_is)),
            ("any use", any_use),
            ("both uses", both),
            ("no name at all", nameless),
            ("a P-384 key", root.issue_to("p384", &p384, &as_is)),
            ("an Ed25519 key", root.issue_to("ed25519", &ed25519, &as_is)),
            ("an RSA key", root.issue_to("rsa", &rsa, &as_is)),
        ];
        for (name, identity) in cases {
            self.add(name, &identity, Everywhere);
        }
        let with_root = self.root.client("client", &as_is);
        let with_root =
            Identity { chain: format!("{}{}", with_root.chain, self.root.pem), ..with_root };
        self.add("its root sent along", &with_root, Everywhere);
        let old = include_str!("fixtures/weak-hash-root.pem");
        self.cas.push_str(old);
        self.add("a signature by RSA and SHA-256", &fixture("sha256"), Everywhere);
    }

    fn dates_and_uses(&mut self) {
        let root = &self.root;
        let dated = |name: &str, from: i32, to: i32| {
            root.client(name, &|params| {
                params.not_before = date_time_ymd(from, 1, 1);
                params.not_after = date_time_ymd(to, 1, 1);
            })
        };
        let used = |name: &str, usage: ExtendedKeyUsagePurpose| {
            root.issue(name, &|params| params.extended_key_usages = vec![usage.clone()])
        };
        let cases = [
            ("expired", dated("expired", 2020, 2021), EXPIRED),
            ("expired long ago", dated("expired", 1990, 1991), EXPIRED),
            ("not yet valid", dated("later", 2110, 2111), EXPIRED),
            ("never valid", dated("never", 2031, 2021), BAD),
            ("a server's", used("server", ExtendedKeyUsagePurpose::ServerAuth), UNFIT),
            ("for code", used("code", ExtendedKeyUsagePurpose::CodeSigning), UNFIT),
            ("for mail", used("mail", ExtendedKeyUsagePurpose::EmailProtection), UNFIT),
            ("for time", used("time", ExtendedKeyUsagePurpose::TimeStamping), UNFIT),
            ("for status", used("status", ExtendedKeyUsagePurpose::OcspSigning), UNFIT),
        ];
        for (name, identity, alerts) in cases {
            self.add(name, &identity, Nowhere(alerts));
        }
    }

    fn strangers(&mut self) {
        self.cases.push(Case { name: "no certificate", shown: None, expected: Nowhere(NONE) });
        let namesake = Authority::root("root", &as_is);
        let half_foreign = self.foreign.intermediate("intermediate", &as_is);
        let foreign = self.foreign.client("client", &as_is);
        let with_root =
            Identity { chain: format!("{}{}", foreign.chain, self.foreign.pem), ..foreign.clone() };
        let self_signed_authority = self_signed("alone", &|params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)
        });
        let good = self.root.client("client", &as_is);
        let cases = [
            ("self-signed", self_signed("alone", &as_is), UNKNOWN),
            ("self-signed, with the root's name", self_signed("root", &as_is), UNSIGNED),
            ("a self-signed authority", self_signed_authority, BAD),
            ("a foreign authority's", foreign, UNKNOWN),
            ("a foreign authority's, with its root", with_root, UNKNOWN),
            ("a namesake of the root", namesake.client("client", &as_is), UNSIGNED),
            ("a foreign intermediate", half_foreign.client("client", &as_is), UNKNOWN),
            ("another's key", good.with_key_of(&self.root.client("other", &as_is)), UNSIGNED),
        ];
        for (name, identity, alerts) in cases {
            self.add(name, &identity, Nowhere(alerts));
        }
    }

    fn intermediates(&mut self) {
        let root = &self.root;
        let dated = |from: i32, to: i32| {
            root.intermediate("dated", &|params| {
                params.not_before = date_time_ymd(from, 1, 1);
                params.not_after = date_time_ymd(to, 1, 1);
            })
        };
        let unconstrained = root.intermediate("no authority", &|params| {
            params.is_ca = IsCa::ExplicitNoCa;
        });
        let silent = root.intermediate("says nothing", &|params| params.is_ca = IsCa::NoCa);
        let length = |length: u8| {
            root.intermediate("short", &|params| {
                params.is_ca = IsCa::Ca(BasicConstraints::Constrained(length));
            })
        };
        let too_long = length(0).intermediate("one more", &as_is);
        let much_too_long =
            length(1).intermediate("one more", &as_is).intermediate("and one", &as_is);
        let mut deep = root.intermediate("0", &as_is);
        for level in ["1", "2", "3", "4", "5", "6", "7", "8", "9"] {
            deep = deep.intermediate(level, &as_is);
        }
        let for_servers = root.intermediate("for servers", &|params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        });
        let strange = root.intermediate("strange", &|params| {
            params.custom_extensions = vec![critical()];
        });
        let named = |permitted: &[&str], excluded: &[&str]| {
            let trees = |names: &[&str]| {
                names.iter().map(|name| GeneralSubtree::DnsName((*name).to_owned())).collect()
            };
            root.intermediate("named", &|params| {
                params.name_constraints = Some(NameConstraints {
                    permitted_subtrees: trees(permitted),
                    excluded_subtrees: trees(excluded),
                });
            })
        };
        let of_host = |authority: &Authority| {
            authority.client("client", &|params| hosts(params, &["localhost"]))
        };
        let missing = self.intermediate.client("client", &as_is);
        let missing = Identity { chain: first(&missing.chain), ..missing };
        let cases = [
            ("an intermediate that is missing", missing, UNKNOWN),
            ("an expired intermediate", dated(2020, 2021).client("client", &as_is), EXPIRED),
            ("an intermediate of later", dated(2110, 2111).client("client", &as_is), EXPIRED),
            ("a leaf as intermediate", unconstrained.client("client", &as_is), BAD),
            ("a silent intermediate", silent.client("client", &as_is), BAD),
            ("a path that is too long", too_long.client("client", &as_is), BAD),
            ("a path that is much too long", much_too_long.client("client", &as_is), BAD),
            ("a path of ten", deep.client("client", &as_is), BAD),
            ("an intermediate for servers", for_servers.client("client", &as_is), UNFIT),
            ("a strange intermediate", strange.client("client", &as_is), BAD),
            ("a name outside of what is permitted", of_host(&named(&["example"], &[])), BAD),
            ("a name that is excluded", of_host(&named(&[], &["localhost"])), BAD),
        ];
        let fine = of_host(&named(&["localhost"], &["example"]));
        for (name, identity, alerts) in cases {
            self.add(name, &identity, Nowhere(alerts));
        }
        self.add("a name that is permitted", &fine, Everywhere);
    }

    /// Roots that stand in the CA file, and still do not count.
    fn roots(&mut self) {
        let dated = |name: &str, from: i32, to: i32| {
            Authority::root(name, &|params| {
                params.not_before = date_time_ymd(from, 1, 1);
                params.not_after = date_time_ymd(to, 1, 1);
            })
        };
        let expired = dated("expired root", 2020, 2021);
        let later = dated("later root", 2110, 2111);
        let no_authority = Authority::root("no root", &|params| params.is_ca = IsCa::ExplicitNoCa);
        let may_not_sign = Authority::root("may not sign", &|params| {
            params.key_usages = vec![KeyUsagePurpose::CrlSign];
        });
        let short = Authority::root("short root", &|params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        });
        let through = short.intermediate("one more", &as_is).client("client", &as_is);
        let cases = [
            ("an expired root", expired.client("client", &as_is), EXPIRED),
            ("a root of later", later.client("client", &as_is), EXPIRED),
            ("a root that is no authority", no_authority.client("client", &as_is), BAD),
            ("a root that may not sign", may_not_sign.client("client", &as_is), BAD),
            ("a path that the root forbids", through, BAD),
        ];
        for (name, identity, alerts) in cases {
            self.add(name, &identity, Nowhere(alerts));
        }
        let allowed = short.client("client", &as_is);
        self.add("a path that the root allows", &allowed, Everywhere);
        let pinned = self_signed("in the file", &as_is);
        let pinned_server = self_signed("a server in the file", &|params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        });
        for authority in [expired, later, no_authority, may_not_sign, short] {
            self.trust(&authority);
        }
        self.cas.push_str(&pinned.chain);
        self.cas.push_str(&pinned_server.chain);
        self.add("in the CA file itself", &pinned, Everywhere);
        self.add("in the CA file itself, a server's", &pinned_server, Nowhere(UNFIT));
    }

    fn revoked(&mut self) {
        let by_root = self.root.client("revoked", &as_is);
        let bad_intermediate = self.root.intermediate("revoked intermediate", &as_is);
        let by_intermediate = self.intermediate.client("revoked", &as_is);
        let forgotten = Authority::root("forgotten", &as_is);
        let (old, old_good) =
            (forgotten.client("revoked", &as_is), forgotten.client("good", &as_is));
        let claimed = Authority::root("claimed", &as_is);
        let liar = Authority::root("claimed", &as_is);
        let of_claimed = claimed.client("client", &as_is);
        let below = bad_intermediate.client("client", &as_is);
        self.lists.push_str(&self.root.revoke(&[by_root.serial, bad_intermediate.serial], 2120));
        self.lists.push_str(&self.intermediate.revoke(&[by_intermediate.serial], 2120));
        // Out of date, and still heeded; and one that its issuer has not signed.
        self.lists.push_str(&forgotten.revoke(&[old.serial], 2022));
        self.lists.push_str(&liar.revoke(&[], 2120));
        self.trust(&forgotten);
        self.trust(&claimed);
        self.add("revoked", &by_root, Nowhere(REVOKED));
        self.add("revoked by an intermediate", &by_intermediate, Nowhere(REVOKED));
        self.add("a revoked intermediate", &below, Nowhere(REVOKED));
        self.add("revoked in a list that is out of date", &old, Nowhere(REVOKED));
        self.add("good in a list that is out of date", &old_good, Everywhere);
        let unsigned = &["HandshakeFailure"];
        self.add("a list that nobody has signed", &of_claimed, Nowhere(unsigned));
    }

    fn broken(&mut self) {
        self.cas.push_str(include_str!("fixtures/short-key-root.pem"));
        let sha1 = BAD;
        self.add("a signature by SHA-1", &fixture("sha1"), Nowhere(sha1));
        self.add("a signature by a short key", &fixture("short-key"), Nowhere(UNSIGNED));
        self.add("of the first version", &fixture("v1"), Nowhere(BAD));
        let strange =
            self.root.client("strange", &|params| params.custom_extensions = vec![critical()]);
        self.add("a strange certificate", &strange, Nowhere(BAD));
        let authority = self.intermediate.as_identity();
        self.add("an authority's own", &authority, Nowhere(BAD));
        let good = self.root.client("client", &as_is);
        let der = CertificateDer::from_pem_slice(good.chain.as_bytes()).expect("a certificate");
        let mut changed = der.to_vec();
        // The last byte of the signature.
        *changed.last_mut().expect("bytes") ^= 1;
        let mut renamed = der.to_vec();
        let at = renamed.windows(6).position(|bytes| bytes == b"client").expect("its name");
        renamed.get_mut(at..at + 6).expect("its name").copy_from_slice(b"admins");
        let mut other_hash = der.to_vec();
        // ecdsa-with-SHA256 becomes ecdsa-with-SHA224, both within and outside of what is signed.
        let oid = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
        for at in 0..other_hash.len() - oid.len() {
            if other_hash.get(at..at + oid.len()) == Some(&oid[..]) {
                *other_hash.get_mut(at + oid.len() - 1).expect("a byte") = 1;
            }
        }
        let half = der.get(..der.len() / 2).expect("half of it").to_vec();
        for (name, bytes, alerts) in [
            (
                "a changed signature",
                changed,
                &["DecryptError", "BadCertificate", "DecodeError"][..],
            ),
            ("a changed name", renamed, UNSIGNED),
            ("a signature by SHA-224", other_hash, sha1),
            ("half a certificate", half, UNREADABLE),
            ("no certificate but bytes", vec![0x30, 0x03, 0x02, 0x01, 0x05], UNREADABLE),
            ("nothing but zeroes", vec![0; 300], UNREADABLE),
        ] {
            let shown = Some(certified_der(vec![bytes.into()], &good.key));
            self.cases.push(Case { name, shown, expected: Nowhere(alerts) });
        }
    }

    /// Of somewhere else: whose it is matters among peers only.
    fn somewhere_else(&mut self) {
        let of = |names: &[&str]| self.root.client("client", &|params| hosts(params, names));
        let cases = [
            ("of this address", of(&["127.0.0.1"]), Everywhere),
            ("of this host", of(&["localhost"]), Everywhere),
            ("of this address among others", of(&["192.0.2.1", "127.0.0.1"]), Everywhere),
            ("of this address and another host", of(&["m.invalid", "127.0.0.1"]), Everywhere),
            ("of another address", of(&["192.0.2.1"]), NotAsPeer),
            ("of another host", of(&["m.invalid"]), NotAsPeer),
            ("of other hosts", of(&["*.peers.invalid", "m.invalid"]), NotAsPeer),
        ];
        for (name, identity, expected) in cases {
            self.add(name, &identity, expected);
        }
    }
}

/// An extension that nobody knows, and must not be passed over.
fn critical() -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55555], vec![5, 0]);
    extension.set_criticality(true);
    extension
}

fn first(chain: &str) -> String {
    let end = "-----END CERTIFICATE-----\n";
    let at = chain.replace("\r\n", "\n").find(end).expect("a certificate");
    chain.replace("\r\n", "\n").get(..at + end.len()).expect("a certificate").to_owned()
}

/// A certificate that rustls would not make, made by other means.
fn fixture(name: &str) -> Identity {
    let chain = match name {
        "sha1" => include_str!("fixtures/sha1.pem"),
        "sha256" => include_str!("fixtures/sha256.pem"),
        "v1" => include_str!("fixtures/v1.pem"),
        "short-key" => include_str!("fixtures/short-key.pem"),
        other => panic!("no fixture {other}"),
    };
    Identity {
        chain: chain.to_owned(),
        key: include_str!("fixtures/client.key").to_owned(),
        serial: 0,
    }
}

/// Asks until the reason is known: what a member says last may be lost when it hangs up.
async fn asked(caller: &Caller, door: Door, member: &Member) -> Outcome {
    let mut outcome = caller.ask(door, member.address(door)).await;
    for _ in 0..20 {
        match &outcome {
            Outcome::Refused(reason) if reason.contains("ConnectionReset") => {}
            Outcome::Refused(reason) if reason.contains("BrokenPipe") => {}
            _ => break,
        }
        outcome = caller.ask(door, member.address(door)).await;
    }
    outcome
}

#[test]
fn no_door_lets_a_bad_certificate_in() {
    let world = build();
    let folder = Folder::new("matrix");
    let member = world.root.member("one", &as_is);
    folder.write("member.pem", &member.chain);
    folder.write("member.key", &member.key);
    folder.write("ca.pem", &world.cas);
    folder.write("crl.pem", &world.lists);
    let mut one = Member::start(
        &folder,
        &[
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
        ],
    );
    one.wait_until_ready();
    let trusted = roots(&world.root.pem);
    let refused = world.cases.iter().filter(|case| matches!(case.expected, Nowhere(_))).count();
    assert!(world.cases.len() >= 60 && refused >= 40, "{} and {refused}", world.cases.len());
    let mut wrong = Vec::new();
    block_on(async {
        for case in &world.cases {
            for door in DOORS {
                for versions in [ONLY_1_2, ONLY_1_3] {
                    let caller = Caller {
                        versions,
                        shown: case.shown.clone(),
                        ..Caller::new(&trusted, None)
                    };
                    let outcome = asked(&caller, door, &one).await;
                    let is_right = match (&case.expected, &outcome) {
                        (Everywhere, outcome) => *outcome == OK,
                        (NotAsPeer, outcome) => (*outcome == OK) == (door != Door::Peer),
                        (Nowhere(_), Outcome::Answered(_)) => false,
                        // In TLS 1.3 a client may write before it hears that it is refused, and
                        // then the reason may be lost.
                        (Nowhere(_), Outcome::Refused(_)) if versions == ONLY_1_3 => true,
                        (Nowhere(alerts), Outcome::Refused(reason)) => {
                            alerts.contains(&reason.as_str())
                        }
                    };
                    if !is_right {
                        let version = versions.first().expect("one").version;
                        wrong.push(format!("{} at {door:?}, {version:?}: {outcome:?}", case.name));
                    }
                }
            }
        }
    });
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_name_in_the_subject_is_not_needed_by_anybody() {
    // What is asked of a client by default is a signature, and nothing of its name.
    let root = Authority::root("root", &as_is);
    let folder = Folder::new("nameless");
    let member = root.member("one", &as_is);
    folder.write("member.pem", &member.chain);
    folder.write("member.key", &member.key);
    folder.write("ca.pem", &root.pem);
    // A CA is enough to demand certificates, as in etcd.
    let mut one = Member::start(
        &folder,
        &[
            "--cert-file=member.pem",
            "--key-file=member.key",
            "--trusted-ca-file=ca.pem",
            "--peer-cert-file=member.pem",
            "--peer-key-file=member.key",
            "--peer-trusted-ca-file=ca.pem",
        ],
    );
    one.wait_until_ready();
    let trusted = roots(&root.pem);
    let identity = root.client("x", &|params| {
        params.distinguished_name.push(DnType::OrganizationName, "system:masters");
    });
    block_on(async {
        for door in DOORS {
            let known = Caller::new(&trusted, Some(&identity));
            assert_eq!(known.ask(door, one.address(door)).await, OK, "{door:?}");
            let unknown = Caller::new(&trusted, None).ask(door, one.address(door)).await;
            assert!(matches!(unknown, Outcome::Refused(_)), "{door:?}: {unknown:?}");
        }
    });
}

#[test]
fn what_is_revoked_stays_outside_when_addresses_are_split() {
    let root = Authority::root("root", &as_is);
    let folder = Folder::new("split");
    let member = root.member("one", &as_is);
    let (good, revoked) = (root.client("good", &as_is), root.client("revoked", &as_is));
    folder.write("member.pem", &member.chain);
    folder.write("member.key", &member.key);
    folder.write("ca.pem", &root.pem);
    folder.write("crl.pem", &root.revoke(&[revoked.serial], 2120));
    let plain = free_port();
    let mut one = Member::start(
        &folder,
        &[
            "--cert-file=member.pem",
            "--key-file=member.key",
            "--trusted-ca-file=ca.pem",
            "--client-crl-file=crl.pem",
            "--peer-cert-file=member.pem",
            "--peer-key-file=member.key",
            &format!("--listen-client-http-urls=https://127.0.0.1:{plain}"),
        ],
    );
    one.wait_until_ready();
    let trusted = roots(&root.pem);
    let plain = std::net::SocketAddr::from(([127, 0, 0, 1], plain));
    block_on(async {
        let doors = [
            (Door::ClientGrpc, one.client),
            (Door::ClientHttp, plain),
            (Door::Metrics, one.metrics),
        ];
        for (door, address) in doors {
            for versions in [ONLY_1_2, ONLY_1_3] {
                let good = Caller { versions, ..Caller::new(&trusted, Some(&good)) };
                assert_eq!(good.ask(door, address).await, OK, "{door:?}");
                let revoked = Caller { versions, ..Caller::new(&trusted, Some(&revoked)) };
                let outcome = revoked.ask(door, address).await;
                assert!(matches!(outcome, Outcome::Refused(_)), "{door:?}: {outcome:?}");
                let nobody = Caller { versions, ..Caller::new(&trusted, None) };
                let outcome = nobody.ask(door, address).await;
                assert!(matches!(outcome, Outcome::Refused(_)), "{door:?}: {outcome:?}");
            }
        }
    });
}
