//! The process that does harm.
//!
//! ```text
//!   bench ── starts: e2e harm KIND ADDRESS ──► SCHED_IDLE, or the lowest priority there is
//!     │                                          harm, until its standard input ends
//!     └── keeps its standard input open as long as it is wanted
//! ```
//! Who does harm is on other machines than those whom it is done to. Here they share the
//! processors, so the harm has only what nobody else wants of them: what others notice is then
//! what the server does about it, not what it costs to do it. SCHED_IDLE alone is not enough: a
//! thread that has just had more than its share waits behind an idle process that never sleeps, for
//! a millisecond and more, while the other processor is free. So whoever does harm without waiting
//! for answers sleeps in between, for some microseconds. It ends with whoever started it.

use std::io::Read as _;
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};

use super::hostile::Hostile;
use crate::process::{cpu, guard};

/// The argument that makes this program one.
pub(crate) const COMMAND: &str = "harm";
/// The program that gives another the class in which it runs when nobody else wants to.
const CHRT: &str = "chrt";
/// What is added to the priority of one that has no such class.
const NICE_MOST: i32 = 19;

/// A process that does harm; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Harm {
    process: Child,
    input: Option<ChildStdin>,
}

impl Harm {
    /// Start it.
    pub(super) fn start(hostile: Hostile, address: SocketAddr) -> anyhow::Result<Self> {
        let here = std::env::current_exe()?;
        let arguments = [COMMAND.to_owned(), hostile.id().to_owned(), address.to_string()];
        let mut idle = Command::new(CHRT);
        idle.args(["--idle", "0"]).arg(&here).args(&arguments);
        let mut nice = Command::new(&here);
        nice.args(&arguments);
        let start = |command: &mut Command| {
            guard::spawn(command.stdin(Stdio::piped()).stdout(Stdio::null()))
        };
        let mut process = start(&mut idle)
            .or_else(|_| start(&mut nice))
            .context("what does harm cannot be started")?;
        let input = process.stdin.take();
        Ok(Self { process, input })
    }

    /// The CPU that it has taken so far.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu::of(self.process.id())
    }

    /// End it. An error if it could not do what it was to do.
    pub(super) fn end(mut self) -> anyhow::Result<()> {
        self.input = None;
        let status = self.process.wait()?;
        guard::ended(self.process.id());
        anyhow::ensure!(status.success(), "what does harm failed ({status})");
        Ok(())
    }
}

impl Drop for Harm {
    fn drop(&mut self) {
        self.input = None;
        // It has ended already, or is of no use.
        let _ = self.process.kill();
        let _ = self.process.wait();
        guard::ended(self.process.id());
    }
}

/// Be the process: do harm until the standard input ends.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let [kind, address] = arguments else { anyhow::bail!("harm KIND ADDRESS") };
    let hostile = Hostile::ALL.into_iter().find(|hostile| hostile.id() == kind);
    let hostile = hostile.with_context(|| format!("{kind} is no harm"))?;
    let address = address.parse().with_context(|| format!("{address} is no address"))?;
    // Both only make it milder, or larger: it does without.
    let _ = nice(NICE_MOST);
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    static ENDED: AtomicBool = AtomicBool::new(false);
    std::thread::Builder::new().name("wanted".to_owned()).spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        ENDED.store(true, Ordering::Relaxed);
    })?;
    hostile.go_on(address, &|| ENDED.load(Ordering::Relaxed))
}
