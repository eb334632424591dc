//! Three members that speak TLS with their clients and with each other.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::authority::{Authority, Identity, as_is};
use super::caller::{Caller, DOORS, Door, PATIENCE, roots};
use super::member::{Folder, Member, OK, Ports, block_on};

const FLAGS: [&str; 10] = [
    "--cert-file=clients.pem",
    "--key-file=clients.key",
    "--trusted-ca-file=clients-ca.pem",
    "--client-cert-auth",
    "--peer-cert-file=peers.pem",
    "--peer-key-file=peers.key",
    "--peer-trusted-ca-file=peers-ca.pem",
    "--peer-client-cert-auth",
    "--peer-crl-file=peers-crl.pem",
    "--peer-cert-allowed-cn=peer",
];

struct Cluster {
    members: Vec<Member>,
    clients: Authority,
    peers: Authority,
    folder: Folder,
}

fn start(name: &str) -> Cluster {
    let (clients, peers) = (Authority::root("clients", &as_is), Authority::root("peers", &as_is));
    let folder = Folder::new(name);
    let (client, peer) = (clients.member("member", &as_is), peers.member("peer", &as_is));
    folder.write("clients.pem", &client.chain);
    folder.write("clients.key", &client.key);
    folder.write("clients-ca.pem", &clients.pem);
    folder.write("peers.pem", &peer.chain);
    folder.write("peers.key", &peer.key);
    folder.write("peers-ca.pem", &peers.pem);
    folder.write("peers-crl.pem", &peers.revoke(&[1], 2120));
    let names = ["m1", "m2", "m3"];
    let ports: Vec<Ports> = names.iter().map(|_| Ports::free()).collect();
    let urls: Vec<String> = names
        .iter()
        .zip(&ports)
        .map(|(name, ports)| format!("{name}=https://127.0.0.1:{}", ports.peer))
        .collect();
    let urls = urls.join(",");
    let start = |(name, ports): (&&str, &Ports)| {
        Member::start_in_cluster(&folder, name, *ports, &urls, &FLAGS)
    };
    let mut members: Vec<Member> = names.iter().zip(&ports).map(start).collect();
    for member in &mut members {
        member.wait_until_ready();
    }
    Cluster { members, clients, peers, folder }
}

fn genuine() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("quorate/bin/etcdctl")).filter(|program| program.exists())
}

#[test]
fn members_and_etcdctl_speak_tls() {
    let cluster = start("cluster");
    let identity = cluster.clients.client("client", &as_is);
    let caller = Caller::new(&roots(&cluster.clients.pem), Some(&identity));
    for member in &cluster.members {
        // A peer's certificate is none for clients, nor the other way round.
        for door in DOORS.into_iter().filter(|door| *door != Door::Peer) {
            assert_eq!(block_on(caller.ask(door, member.address(door))), OK, "{door:?}");
        }
        let as_peer = block_on(caller.ask(Door::Peer, member.peer));
        assert_ne!(as_peer, OK);
    }
    let Some(etcdctl) = genuine() else {
        eprintln!("SKIPPED: e2e/genuine-etcd has not built etcdctl");
        return;
    };
    cluster.folder.write("client.pem", &identity.chain);
    cluster.folder.write("client.key", &identity.key);
    let endpoints: Vec<String> =
        cluster.members.iter().map(|member| format!("https://{}", member.client)).collect();
    let ctl = |words: &[&str], files: &[&str]| {
        let output = Command::new(&etcdctl)
            .current_dir(&cluster.folder.0)
            .args(["--endpoints", &endpoints.join(",")])
            .args(["--dial-timeout=20s", "--command-timeout=20s"])
            .args(files)
            .args(words)
            .output()
            .expect("etcdctl runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    };
    let files = ["--cacert=clients-ca.pem", "--cert=client.pem", "--key=client.key"];
    for (words, expected) in [
        (&["put", "a", "1"][..], "OK\n"),
        (&["get", "a"], "a\n1\n"),
        (&["endpoint", "health"], "is healthy"),
        (&["endpoint", "status"], ", 3.7.1, 3.7.0, "),
        (&["member", "list"], "https://127.0.0.1:"),
        (&["lease", "grant", "100"], "lease "),
        (&["lease", "list"], "found 1 leases\n"),
    ] {
        let (success, text) = ctl(words, &files);
        assert!(success && text.contains(expected), "etcdctl {words:?}: {text}");
    }
    let (success, text) = ctl(&["put", "a", "2", "--command-timeout=2s"], &files[..1]);
    assert!(!success, "etcdctl without a certificate: {text}");
}

#[test]
fn peers_change_their_authority_while_they_talk() {
    let mut cluster = start("peers-change");
    let (old, new) = (&cluster.peers, Authority::root("new peers", &as_is));
    let both = roots(&format!("{}{}", old.pem, new.pem));
    let (of_old, of_new) = (old.member("peer", &as_is), new.member("peer", &as_is));
    let everywhere = |what: &str, is_so: &dyn Fn(&Member) -> bool| {
        let began = Instant::now();
        while !cluster.members.iter().all(is_so) {
            assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let lets_in = |member: &Member, identity: &Identity| {
        block_on(Caller::new(&both, Some(identity)).ask(Door::Peer, member.peer)) == OK
    };
    // In the order in which people have to do it: everybody trusts the new authority; everybody
    // has a certificate of it; nobody trusts the old one. The files are written in place.
    let file = |name: &str, text: &str| cluster.folder.write(name, text);
    file("peers-ca.pem", &format!("{}{}", old.pem, new.pem));
    everywhere("trust in the new authority", &|member| lets_in(member, &of_new));
    file("peers.pem", &of_new.chain);
    file("peers.key", &of_new.key);
    let only_new = Caller::new(&roots(&new.pem), Some(&of_new));
    everywhere("new certificates", &|member| block_on(only_new.ask(Door::Peer, member.peer)) == OK);
    file("peers-ca.pem", &new.pem);
    file("peers-crl.pem", &new.revoke(&[1], 2120));
    everywhere("an end of trust in the old authority", &|member| !lets_in(member, &of_old));
    // One that comes back finds only the new authority, and is let in by the others.
    cluster.members.last_mut().expect("three").restart();
    cluster.members.iter_mut().for_each(Member::wait_until_ready);
    let identity = cluster.clients.client("client", &as_is);
    let caller = Caller::new(&roots(&cluster.clients.pem), Some(&identity));
    let began = Instant::now();
    for member in &cluster.members {
        while block_on(caller.ask(Door::ClientGrpc, member.client)) != OK {
            assert!(began.elapsed() < PATIENCE, "it does not serve: {}", member.log_text());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
