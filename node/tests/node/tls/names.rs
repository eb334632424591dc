//! Lists of names: who of those that are signed for is let in.

use rcgen::DnType;

use super::authority::{Authority, Identity, as_is, hosts};
use super::caller::{Caller, DOORS, Door, ONLY_1_2, Outcome, roots};
use super::member::{Folder, Member, OK, block_on};

const FILES: [&str; 6] = [
    "--cert-file=member.pem",
    "--key-file=member.key",
    "--trusted-ca-file=ca.pem",
    "--peer-cert-file=member.pem",
    "--peer-key-file=member.key",
    "--peer-trusted-ca-file=ca.pem",
];

/// A member with these flags and files of this root.
fn start(folder: &Folder, root: &Authority, flags: &[&str]) -> Member {
    let member = root.member("one", &as_is);
    folder.write("member.pem", &member.chain);
    folder.write("member.key", &member.key);
    folder.write("ca.pem", &root.pem);
    let mut one = Member::start(folder, &[&FILES[..], flags].concat());
    one.wait_until_ready();
    one
}

/// Asks with each of these at these doors, and compares.
fn check(root: &Authority, one: &Member, doors: &[Door], cases: &[(&str, Identity, bool)]) {
    let trusted = roots(&root.pem);
    let mut wrong = Vec::new();
    block_on(async {
        for (name, identity, is_let_in) in cases {
            for door in doors {
                for versions in [ONLY_1_2, rustls::ALL_VERSIONS] {
                    let caller = Caller { versions, ..Caller::new(&trusted, Some(identity)) };
                    let outcome = caller.ask(*door, one.address(*door)).await;
                    if (outcome == OK) != *is_let_in {
                        wrong.push(format!("{name} at {door:?}: {outcome:?}"));
                    }
                }
            }
        }
    });
    assert!(wrong.is_empty(), "wrong:\n{}", wrong.join("\n"));
}

#[test]
fn a_list_of_hosts_holds_at_every_door() {
    let root = Authority::root("root", &as_is);
    let folder = Folder::new("hosts");
    let one = start(
        &folder,
        &root,
        &[
            "--client-cert-allowed-hostname=good.hosts.example,192.0.2.7",
            "--peer-cert-allowed-hostname=good.hosts.example,192.0.2.7",
            "--peer-skip-client-san-verification",
        ],
    );
    let of = |names: &[&str]| root.client("client", &|params| hosts(params, names));
    let cases = [
        ("the host", of(&["good.hosts.example"]), true),
        ("the host among others", of(&["bad.hosts.example", "good.hosts.example"]), true),
        ("in capitals", of(&["GOOD.hosts.example"]), true),
        ("a wildcard over it", of(&["*.hosts.example"]), true),
        ("the address", of(&["192.0.2.7"]), true),
        ("another host", of(&["bad.hosts.example"]), false),
        ("another address", of(&["192.0.2.8"]), false),
        ("the address as a name", of(&["192.0.2.7.example"]), false),
        ("a longer host", of(&["very.good.hosts.example"]), false),
        ("a host that begins so", of(&["good.hosts.example.invalid"]), false),
        ("a host that ends so", of(&["notgood.hosts.example"]), false),
        ("a wildcard below it", of(&["*.good.hosts.example"]), false),
        ("a part of it", of(&["hosts.example"]), false),
        ("no host", root.client("client", &as_is), false),
        ("the host as common name", root.client("good.hosts.example", &as_is), false),
    ];
    check(&root, &one, &DOORS, &cases);
}

#[test]
fn a_list_of_common_names_holds_for_peers() {
    let root = Authority::root("root", &as_is);
    let folder = Folder::new("common-names");
    let one = start(&folder, &root, &["--peer-cert-allowed-cn=alpha,beta"]);
    let two_names = root.client("alpha", &|params| {
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 41]), "alpha");
    });
    let nameless = root.client("", &|params| {
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "alpha");
    });
    let cases = [
        ("the first", root.client("alpha", &as_is), true),
        ("the second", root.client("beta", &as_is), true),
        ("more than a common name", two_names, true),
        ("another", root.client("gamma", &as_is), false),
        ("in capitals", root.client("Alpha", &as_is), false),
        ("with a space", root.client("alpha ", &as_is), false),
        ("both in one", root.client("alpha,beta", &as_is), false),
        ("none, but an organization", nameless, false),
        ("as host", root.client("gamma", &|params| hosts(params, &["127.0.0.1", "alpha"])), false),
    ];
    check(&root, &one, &[Door::Peer], &cases);
    // Clients are asked for no name.
    let anybody = [("another", root.client("gamma", &as_is), true)];
    check(&root, &one, &[Door::ClientGrpc, Door::ClientHttp, Door::Metrics], &anybody);
}

#[test]
fn the_refused_are_told_about() {
    let root = Authority::root("root", &as_is);
    let folder = Folder::new("told");
    let one = start(&folder, &root, &["--peer-cert-allowed-cn=alpha"]);
    let other = root.client("gamma", &|params| hosts(params, &["192.0.2.1"]));
    let caller = Caller::new(&roots(&root.pem), Some(&other));
    let outcome = block_on(caller.ask(Door::Peer, one.peer));
    assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    let began = std::time::Instant::now();
    while !one.log_text().contains("a connection is refused") {
        assert!(began.elapsed() < super::caller::PATIENCE, "{}", one.log_text());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let log = one.log_text();
    let line = log.lines().find(|line| line.contains("a connection is refused")).expect("a line");
    assert!(line.contains("127.0.0.1") && line.contains("peer"), "{line}");
}
