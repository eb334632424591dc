//! One member's machine: its process, its files, its clock, and what is done to them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::network::Network;
use crate::process::guard;

/// A small disk holds the log's three files, the store, and something else besides.
const SMALL_DISK: &str = "size=64m";
/// What the other leaves free.
const LEFT_FREE_BYTES: u64 = 1 << 20;
/// The file of the other.
const FILLER: &str = "of-another-program";
/// A member whose sync failed has ended within this.
const AFTERMATH: Duration = Duration::from_secs(3);
/// Where Debian has the library that fakes clocks.
const FAKE_CLOCK: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
const FAKE_CLOCK_ARM: &str = "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1";

/// The library that fakes clocks, if it is there.
pub(super) fn fake_clock() -> Option<&'static str> {
    [FAKE_CLOCK, FAKE_CLOCK_ARM].into_iter().find(|path| Path::new(path).exists())
}

/// Whether strace is there.
pub(super) fn has_strace() -> bool {
    Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// What the process should do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Off,
    Running,
    Paused,
}

/// A member's machine.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) number: u8,
    network: Network,
    program: PathBuf,
    folder: PathBuf,
    arguments: Vec<String>,
    process: Option<Child>,
    tracer: Option<Child>,
    traced_until: Option<Instant>,
    pub(super) state: State,
    pub(super) starts: u32,
    has_small_disk: bool,
    has_fake_clock: bool,
    clock_offset: i64,
}

impl Machine {
    /// A machine that is off, with its files in a folder.
    pub(super) fn new(
        number: u8,
        network: &Network,
        program: &Path,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let folder = folder.join(format!("m{number}"));
        fs::create_dir_all(folder.join("data"))?;
        Ok(Self {
            number,
            network: network.clone(),
            program: program.to_owned(),
            folder,
            arguments: Vec::new(),
            process: None,
            tracer: None,
            traced_until: None,
            state: State::Off,
            starts: 0,
            has_small_disk: false,
            has_fake_clock: false,
            clock_offset: 0,
        })
    }

    /// What it is started with from now on, beside who and where it is.
    pub(super) fn set_arguments(&mut self, arguments: Vec<String>) {
        self.arguments = arguments;
    }

    /// Give it a small disk of its own, in memory.
    pub(super) fn mount_small_disk(&mut self) -> anyhow::Result<()> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", SMALL_DISK, "tmpfs"])
            .arg(self.data())
            .output()?;
        ensure!(mounted.status.success(), "a file system cannot be mounted");
        self.has_small_disk = true;
        Ok(())
    }

    /// From its next start on its clock of the day can be set.
    pub(super) fn fake_its_clock(&mut self) {
        self.has_fake_clock = true;
    }

    pub(super) fn name(&self) -> String {
        format!("m{}", self.number)
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(super) fn client_url(&self) -> String {
        self.network.client_url(self.number)
    }

    pub(super) fn peer_url(&self) -> String {
        self.network.peer_url(self.number)
    }

    /// As `--initial-cluster` names it.
    pub(super) fn as_initial(&self) -> String {
        format!("{}={}", self.name(), self.peer_url())
    }

    pub(super) fn has_small_disk(&self) -> bool {
        self.has_small_disk
    }

    pub(super) fn has_fake_clock(&self) -> bool {
        self.has_fake_clock
    }

    pub(super) fn is_traced(&self) -> bool {
        self.tracer.is_some()
    }

    /// Whether what strace did may still end it.
    pub(super) fn is_shaken(&self) -> bool {
        self.is_traced() || self.traced_until.is_some_and(|until| until.elapsed() < AFTERMATH)
    }

    /// Start it, and do not wait.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        ensure!(self.process.is_none(), "{} runs", self.name());
        self.starts += 1;
        let log = File::create(self.log_path())?;
        let (client, peer) = (self.client_url(), self.peer_url());
        let mut command = self.network.command(self.number, &self.program);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("ETCD_") {
                command.env_remove(variable);
            }
        }
        if self.has_fake_clock {
            self.write_clock()?;
            command
                .env("LD_PRELOAD", fake_clock().context("no library")?)
                .env("FAKETIME_TIMESTAMP_FILE", self.clock_path())
                .env("FAKETIME_CACHE_DURATION", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("DONT_FAKE_MONOTONIC", "1");
        }
        command
            .arg(format!("--name={}", self.name()))
            .arg(format!("--data-dir={}", self.data().display()))
            .arg(format!("--listen-client-urls={client}"))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(log));
        self.process = Some(guard::spawn(&mut command).context("the server cannot be started")?);
        self.state = State::Running;
        Ok(())
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join(format!("log-{}.txt", self.starts))
    }

    /// What it has said since its last start.
    pub(super) fn log(&self) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// How it ended by itself, if it has.
    pub(super) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let Some(process) = self.process.as_mut() else { return Ok(None) };
        let ended = process.try_wait()?;
        if ended.is_some() {
            self.forget();
        }
        Ok(ended)
    }

    fn forget(&mut self) {
        if let Some(process) = self.process.take() {
            guard::ended(process.id());
        }
        self.state = State::Off;
        self.detach();
    }

    /// End it at once.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(process) = self.process.as_mut() {
            process.kill()?;
            process.wait()?;
        }
        self.forget();
        Ok(())
    }

    /// It stands still.
    pub(super) fn pause(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)?;
        self.state = State::Paused;
        Ok(())
    }

    /// It goes on.
    pub(super) fn resume(&mut self) -> anyhow::Result<()> {
        if self.state == State::Paused {
            self.signal(Signal::CONT)?;
            self.state = State::Running;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let process = self.process.as_ref().context("it is off")?;
        Ok(kill_process(Pid::from_child(process), signal)?)
    }

    /// Its syncs are met by what strace calls `inject`, until [`Machine::detach`].
    pub(super) fn inject(&mut self, inject: &str) -> anyhow::Result<()> {
        let process = self.process.as_ref().context("it is off")?;
        let mut command = Command::new("strace");
        command
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync"])
            .arg("-e")
            .arg(format!("inject=fdatasync,fsync:{inject}"))
            .args(["-p", &process.id().to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        self.tracer = Some(guard::spawn(&mut command).context("strace cannot be started")?);
        Ok(())
    }

    /// Its syncs are its own again.
    pub(super) fn detach(&mut self) {
        if let Some(mut tracer) = self.tracer.take() {
            // Told to end it lets go of what it traces; killed it would, too.
            let _ = kill_process(Pid::from_child(&tracer), Signal::TERM);
            let _ = tracer.wait();
            guard::ended(tracer.id());
            self.traced_until = Some(Instant::now());
        }
    }

    /// Its clock of the day jumps by so many seconds.
    pub(super) fn jump(&mut self, seconds: i64) -> anyhow::Result<()> {
        self.clock_offset = self.clock_offset.saturating_add(seconds);
        self.write_clock()
    }

    fn write_clock(&self) -> anyhow::Result<()> {
        // Replaced as a whole: a member must not read half of it.
        let new = self.folder.join("clock.new");
        fs::write(&new, format!("{:+}\n", self.clock_offset))?;
        Ok(fs::rename(new, self.clock_path())?)
    }

    fn clock_path(&self) -> PathBuf {
        self.folder.join("clock")
    }

    /// Something else takes all but a little of its small disk.
    pub(super) fn fill(&self) -> anyhow::Result<()> {
        let system = rustix::fs::statvfs(self.data())?;
        let free = system.f_bavail.saturating_mul(system.f_frsize);
        let file = File::create(self.data().join(FILLER))?;
        let bytes = free.saturating_sub(LEFT_FREE_BYTES);
        if bytes > 0 {
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
        }
        Ok(())
    }

    /// It has room again.
    pub(super) fn empty(&self) -> anyhow::Result<()> {
        match fs::remove_file(self.data().join(FILLER)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => bail!(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.kill();
        if self.has_small_disk {
            let _ = Command::new("umount").arg("-l").arg(self.data()).status();
        }
    }
}
