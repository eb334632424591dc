//! One server process.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::cpu::{self, Others};
use super::guard;
use crate::load::{Keys, Pool, path};

/// How long a server may take to answer for the first time: restarts with a million keys too.
const READY_WAIT_MAX: Duration = Duration::from_secs(120);
/// How long one may take to end when it is asked to.
const END_WAIT_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether it is ready or has ended.
const LOOK: Duration = Duration::from_millis(2);
/// Live bytes that both sides allow: nothing here comes near.
const QUOTA_BYTES: u64 = 16 << 30;

/// How a member is started.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) program: PathBuf,
    pub(crate) name: String,
    /// The folder of its data and its log.
    pub(crate) folder: PathBuf,
    pub(crate) client: SocketAddr,
    pub(crate) peer: SocketAddr,
    /// All members, as `--initial-cluster` wants them.
    pub(crate) cluster: String,
    /// What it is told besides.
    pub(crate) arguments: Vec<String>,
}

/// A running member; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Member {
    start: Start,
    process: Child,
}

/// What a restart took, from the start to the first answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restarted {
    pub(crate) time: Duration,
    pub(crate) cpu: Duration,
    /// The share of the machine that others took.
    pub(crate) foreign_share: f64,
}

/// An address of this machine that nobody listens at.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

impl Member {
    /// Start it; it is not ready yet.
    pub(crate) fn start(start: Start) -> anyhow::Result<Self> {
        fs::create_dir_all(&start.folder)?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(start.folder.join("log.txt"))
            .context("no file for a server's log")?;
        let mut command = Command::new(&start.program);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("ETCD_") {
                command.env_remove(variable);
            }
        }
        let (client, peer) = (format!("http://{}", start.client), format!("http://{}", start.peer));
        command
            .args(["--name", &start.name, "--data-dir"])
            .arg(start.folder.join("data"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &start.cluster, "--initial-cluster-state", "new"])
            .args(["--quota-backend-bytes", &QUOTA_BYTES.to_string(), "--log-level", "error"])
            .args(&start.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log));
        let process = guard::spawn(&mut command)
            .with_context(|| format!("{} cannot be started", start.program.display()))?;
        Ok(Self { start, process })
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where clients find it.
    pub(crate) fn client(&self) -> SocketAddr {
        self.start.client
    }

    /// The folder of its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.start.folder.join("data")
    }

    /// Wait until a linearizable read is answered.
    pub(crate) fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_WAIT_MAX;
        loop {
            if let Some(status) = self.process.try_wait()? {
                bail!("{} ended ({status}): {}", self.start.name, self.last_of_log());
            }
            if self.is_ready() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{} is not ready: {}", self.start.name, self.last_of_log());
            }
            std::thread::sleep(LOOK);
        }
    }

    fn is_ready(&self) -> bool {
        let read = Keys::new("/ready/", 8).get(1);
        Pool::connect(&[self.start.client], 1)
            .and_then(|mut pool| pool.ask(path::RANGE, read, READY_WAIT_MAX))
            .is_ok()
    }

    /// End it as an administrator would, start it again with its data, and tell how long it took
    /// from the start to the first answer.
    pub(crate) fn restart(&mut self) -> anyhow::Result<Restarted> {
        kill_process(Pid::from_child(&self.process), Signal::TERM)?;
        let deadline = Instant::now() + END_WAIT_MAX;
        while self.process.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("{} does not end", self.start.name);
            }
            std::thread::sleep(LOOK);
        }
        guard::ended(self.process.id());
        let (others, began) = (Others::watch()?, Instant::now());
        // What ran under the old id has ended; dropping it does nothing more.
        *self = Self::start(self.start.clone())?;
        self.wait_until_ready()?;
        let time = began.elapsed();
        let cpu = cpu::of(self.id())?;
        Ok(Restarted { time, cpu, foreign_share: others.share(cpu)? })
    }

    fn last_of_log(&self) -> String {
        let text = fs::read_to_string(self.start.folder.join("log.txt")).unwrap_or_default();
        text.lines().last().unwrap_or("its log is empty").to_owned()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        guard::ended(self.process.id());
    }
}

/// Bytes that a folder occupies.
pub(crate) fn disk_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // A file may go while it is looked at.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes +=
            if metadata.is_dir() { disk_bytes(&entry.path()) } else { metadata.blocks() * 512 };
    }
    bytes
}
