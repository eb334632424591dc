//! A genuine etcd as peer. `e2e/genuine-etcd` provides it; without it nothing is tested here.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::answers::ask;
use super::*;
use crate::peer::client;

/// A genuine member alone in its cluster; ends with the test.
struct Genuine {
    child: Child,
    folder: PathBuf,
    url: String,
}

impl Genuine {
    fn start(binary: &Path) -> Self {
        let folder = std::env::temp_dir().join(format!("quorate-genuine-{}", std::process::id()));
        let port = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            format!("http://{}", listener.local_addr().unwrap())
        };
        let (url, clients) = (port(), port());
        let child = Command::new(binary)
            .args(["--name", "g", "--data-dir", folder.to_str().unwrap()])
            .args(["--listen-peer-urls", &url, "--initial-advertise-peer-urls", &url])
            .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
            .args(["--initial-cluster", &format!("g={url}")])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, folder, url }
    }
}

impl Drop for Genuine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn binary() -> Option<PathBuf> {
    let cache = match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".cache"),
    };
    Some(cache.join("quorate/bin/etcd")).filter(|path| path.exists())
}

#[test]
fn a_genuine_member_is_asked_and_dialled() {
    let Some(binary) = binary() else {
        eprintln!("SKIPPED: no genuine etcd; e2e/genuine-etcd provides it");
        return;
    };
    let genuine = Genuine::start(&binary);
    let urls = [genuine.url.clone()];
    let second = Duration::from_secs(1);
    until("it to come up", || {
        ask(client::fetch_version(&Dialer::default(), &urls, second)).is_ok()
    });
    let version = ask(client::fetch_version(&Dialer::default(), &urls, PATIENCE)).unwrap();
    assert_eq!(version.server, "3.7.1");
    let (cluster, members) =
        ask(client::fetch_members(&Dialer::default(), &urls, PATIENCE)).unwrap();
    let [member] = members.as_slice() else { panic!("{members:?}") };
    assert_eq!(member.peer_urls.as_deref(), Some(urls.as_slice()));
    until("it to lead", || {
        ask(client::fetch_downgrade_enabled(&Dialer::default(), &urls, second)).is_ok()
    });
    let lost = ask(client::renew_lease(&Dialer::default(), &urls, 1, PATIENCE));
    assert!(matches!(lost, Err(client::AskError::Refused(Error::LeaseNotFound))), "{lost:?}");
    let hash = ask(client::hash_kv(&Dialer::default(), &urls, cluster, 0, PATIENCE)).unwrap();
    assert_eq!(hash.hash_revision, 1);

    // It does not know us, so it gives us no stream; but it takes what is posted by one of its
    // cluster, and nothing of another.
    let node = Node::start_at(0xa, cluster, "127.0.0.1:0");
    node.transport.set_peers(&[PeerInfo { id: member.id, urls: urls.to_vec() }]);
    let stranger = Node::start_at(0xb, cluster + 1, "127.0.0.1:0");
    stranger.transport.set_peers(&[PeerInfo { id: member.id, urls: urls.to_vec() }]);
    node.transport.send(message(MessageKind::MsgHeartbeat, node.id, member.id, 0));
    stranger.transport.send(message(MessageKind::MsgHeartbeat, stranger.id, member.id, 0));
    until("the refusal", || stranger.ear.unreachable.load(Relaxed) > 0);
    assert_eq!(node.ear.unreachable.load(Relaxed), 0);
    assert!(!node.is_linked(member.id));
}
