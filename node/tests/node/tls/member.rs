//! A member with certificates in a folder, as a process.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::caller::{Door, Outcome, PATIENCE};

/// A port that nobody has, and the next one gets another.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// A folder that is gone with its value.
pub(super) struct Folder(pub PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let name = format!("tls-{}-{name}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).expect("written");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("left behind: {}", self.0.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// The program, without the variables of whoever runs the tests.
pub(super) fn quorate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("ETCD_") {
            command.env_remove(variable);
        }
    }
    command
}

/// A running member, alone in its cluster or not. It ends with the test.
pub(super) struct Member {
    process: Child,
    /// What it was started with.
    command: Command,
    pub(super) client: SocketAddr,
    pub(super) metrics: SocketAddr,
    pub(super) peer: SocketAddr,
    log: PathBuf,
}

/// Where a member will be.
#[derive(Clone, Copy)]
pub(super) struct Ports {
    pub(super) client: u16,
    pub(super) metrics: u16,
    pub(super) peer: u16,
}

impl Ports {
    pub(super) fn free() -> Self {
        Self { client: free_port(), metrics: free_port(), peer: free_port() }
    }
}

fn spawn(command: &mut Command, log: &Path) -> Child {
    let log = std::fs::File::create(log).expect("a file");
    command.stderr(Stdio::from(log)).spawn().expect("the program is there")
}

impl Member {
    /// Starts one alone, which finds the files of its flags in its folder.
    pub(super) fn start(folder: &Folder, flags: &[&str]) -> Self {
        let ports = Ports::free();
        let cluster = format!("one=https://127.0.0.1:{}", ports.peer);
        Self::start_in_cluster(folder, "one", ports, &cluster, flags)
    }

    pub(super) fn start_in_cluster(
        folder: &Folder,
        name: &str,
        ports: Ports,
        cluster: &str,
        flags: &[&str],
    ) -> Self {
        let log = folder.0.join(format!("{name}.log"));
        let url = |port: u16| format!("https://127.0.0.1:{port}");
        let (client, metrics, peer) = (url(ports.client), url(ports.metrics), url(ports.peer));
        let mut command = quorate();
        command
            .current_dir(&folder.0)
            .args(["--name", name, "--data-dir", name])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-metrics-urls", &metrics])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", cluster])
            .args(flags);
        let process = spawn(&mut command, &log);
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let (client, metrics, peer) =
            (address(ports.client), address(ports.metrics), address(ports.peer));
        Self { process, command, client, metrics, peer, log }
    }

    /// Kills it and starts it again.
    pub(super) fn restart(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.process = spawn(&mut self.command, &self.log);
    }

    /// Waits until it serves clients.
    pub(super) fn wait_until_ready(&mut self) {
        let began = Instant::now();
        while !self.log_text().contains("ready to serve client requests") {
            if let Ok(Some(status)) = self.process.try_wait() {
                panic!("it has ended with {status}:\n{}", self.log_text());
            }
            assert!(began.elapsed() < PATIENCE, "not ready:\n{}", self.log_text());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    pub(super) fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(super) fn address(&self, door: Door) -> SocketAddr {
        match door {
            Door::ClientGrpc | Door::ClientHttp => self.client,
            Door::Metrics => self.metrics,
            Door::Peer => self.peer,
        }
    }

    /// The bytes that it has in memory.
    pub(super) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        let kibibytes = line.trim().split(' ').next().and_then(|number| number.parse::<u64>().ok());
        kibibytes.expect("a number") * 1024
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log_text());
        }
    }
}

/// Runs what waits, on this thread.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

pub(super) const OK: Outcome = Outcome::Answered(200);
