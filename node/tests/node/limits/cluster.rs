//! Three members, of which the leader is met.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use quorate_client::{Client, Options};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::clients::free_port;

const MEMBERS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);
/// Long enough for memory to be given back twice.
const RETAINED_LOOK: Duration = Duration::from_millis(2_500);

/// How many of something: as the variable says.
pub(super) fn figure(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// How many connections: as the variable says, but no more than this machine allows files.
pub(super) fn connections(variable: &str, default: usize) -> usize {
    let wanted = figure(variable, default);
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let files = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| files as usize);
    // A member keeps some for itself, and this process has other tests.
    let possible = files.saturating_sub(1_000);
    if wanted > possible {
        eprintln!("SCALED DOWN: {variable}={wanted} needs more files than the {files} allowed");
        return possible;
    }
    wanted
}

/// Members that end with this.
pub(super) struct Cluster {
    members: Vec<Child>,
    client_ports: Vec<u16>,
    peer_ports: Vec<u16>,
    leader: usize,
    /// Removed at the end, but for a test that fails: three logs are hundreds of megabytes.
    folder: PathBuf,
}

impl Cluster {
    pub(super) fn start(name: &str, arguments: &[&str]) -> Self {
        Self::start_with(name, |_| arguments.iter().map(|&argument| argument.into()).collect())
    }

    /// Members with arguments of their own, by number.
    pub(super) fn start_with(name: &str, arguments: impl Fn(usize) -> Vec<String>) -> Self {
        let name = format!("limits-{name}-{}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        let client_ports: Vec<u16> = (0..MEMBERS).map(|_| free_port()).collect();
        let peer_ports: Vec<u16> = (0..MEMBERS).map(|_| free_port()).collect();
        let initial: Vec<String> = peer_ports
            .iter()
            .enumerate()
            .map(|(number, port)| format!("m{number}=http://127.0.0.1:{port}"))
            .collect();
        let members = client_ports
            .iter()
            .zip(&peer_ports)
            .enumerate()
            .map(|(number, (client, peer))| {
                let log = std::fs::File::create(folder.join(format!("m{number}.log")));
                member(&folder, number, *client, *peer)
                    .arg(format!("--initial-cluster={}", initial.join(",")))
                    .args(arguments(number))
                    .stderr(Stdio::from(log.expect("a file")))
                    .spawn()
                    .expect("the program is there")
            })
            .collect();
        let mut cluster = Self { members, client_ports, peer_ports, leader: 0, folder };
        cluster.await_leader();
        cluster
    }

    fn await_leader(&mut self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let leads = |number: &usize| {
                let page = page(self.client_ports[*number], "/metrics").unwrap_or_default();
                value(&page, "etcd_server_is_leader") == Some(1.0)
            };
            let ready = |port: &u16| page(*port, "/readyz").is_some_and(|page| page.contains("ok"));
            if self.client_ports.iter().all(ready)
                && let Some(leader) = (0..MEMBERS).find(leads)
            {
                self.leader = leader;
                break;
            }
            assert!(Instant::now() < until, "no leader: see {}", self.folder.display());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The leader's address.
    pub(super) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.client_ports[self.leader]).into()
    }

    /// Where the leader listens for its peers.
    pub(super) fn peer_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.peer_ports[self.leader]).into()
    }

    /// The headers by which the leader takes a request for one of a peer.
    pub(super) async fn peer_headers(&self) -> String {
        let other = (self.leader + 1) % MEMBERS;
        let endpoint = format!("http://127.0.0.1:{}", self.client_ports[other]);
        let client = Client::connect(&[endpoint], Options::default()).expect("an address");
        let status = client.status().await.expect("a status");
        let (header, leader) = (status.header.expect("a header"), status.leader);
        let (cluster, from) = (header.cluster_id, header.member_id);
        format!(
            "x-server-from: {from:x}\r\nx-server-version: 3.7.1\r\n\
             x-min-cluster-version: 3.0.0\r\nx-etcd-cluster-id: {cluster:x}\r\n\
             x-raft-to: {leader:x}\r\n"
        )
    }

    /// Everybody runs, and no thread of anybody has panicked.
    pub(super) fn assert_nobody_panicked(&self) {
        for number in 0..MEMBERS {
            let log = self.folder.join(format!("m{number}.log"));
            let log = std::fs::read_to_string(log).expect("a log");
            assert!(!log.contains("panicked at"), "m{number}: {log}");
            let port = self.client_ports[number];
            assert!(page(port, "/readyz").is_some(), "m{number} is not ready");
        }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The leader's memory, in bytes.
    pub(super) fn resident(&self) -> u64 {
        let path = format!("/proc/{}/statm", self.members[self.leader].id());
        let statm = std::fs::read_to_string(path).expect("it runs");
        let pages: u64 = statm.split(' ').nth(1).expect("a field").parse().expect("a number");
        pages * rustix::param::page_size() as u64
    }

    /// What of the leader's memory it keeps, in bytes: the least that it has for a while. What was
    /// freed goes back to the system once a second.
    pub(super) async fn retained(&self) -> u64 {
        let until = Instant::now() + RETAINED_LOOK;
        let mut least = self.resident();
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(100)).await;
            least = least.min(self.resident());
        }
        least
    }

    /// A number that the leader counts.
    pub(super) async fn metric(&self, name: &str) -> f64 {
        let page = page(self.client_ports[self.leader], "/metrics").expect("a page");
        value(&page, name).unwrap_or_else(|| panic!("no {name} in\n{page}"))
    }

    pub(super) async fn await_metric(&self, name: &str, wanted: f64) {
        let until = Instant::now() + PATIENCE;
        while self.metric(name).await < wanted {
            assert!(Instant::now() < until, "{name} is not {wanted}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The leader leads, without another election.
    pub(super) async fn assert_same_leader(&self) {
        let client = Client::connect(&[self.endpoint()], Options::default()).expect("an address");
        let status = client.status().await.expect("a status");
        let member = status.header.expect("a header").member_id;
        assert_eq!(status.leader, member, "another leads");
        assert_eq!(self.metric("etcd_server_leader_changes_seen_total").await, 1.0);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.kill();
            let _ = member.wait();
        }
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn member(folder: &Path, number: usize, client: u16, peer: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("ETCD_") {
            command.env_remove(variable);
        }
    }
    command
        .arg(format!("--name=m{number}"))
        .arg(format!("--data-dir={}", folder.join(format!("m{number}")).display()))
        .arg(format!("--listen-client-urls=http://127.0.0.1:{client}"))
        .arg(format!("--advertise-client-urls=http://127.0.0.1:{client}"))
        .arg(format!("--listen-peer-urls=http://127.0.0.1:{peer}"))
        .arg(format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"));
    command
}

/// A page over plain HTTP, if there is one.
fn page(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.1 200").then_some(answer)
}

/// The value of a metric without labels.
fn value(page: &str, name: &str) -> Option<f64> {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}
