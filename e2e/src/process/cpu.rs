//! CPU time and memory as `/proc` tells them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// CPU of this process so far.
pub(crate) fn own() -> anyhow::Result<Duration> {
    of_stat(Path::new("/proc/self/stat"))
}

/// CPU of a process so far, all its threads together.
pub(crate) fn of(process: u32) -> anyhow::Result<Duration> {
    of_stat(Path::new(&format!("/proc/{process}/stat")))
}

fn of_stat(path: &Path) -> anyhow::Result<Duration> {
    let text = read(path)?;
    // The name in parentheses may hold anything; the 14th and 15th field are user and system.
    let (_, fields) = text.rsplit_once(')').context("no name in a stat file")?;
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
    Ok(ticks_as_time(ticks))
}

/// Bytes of memory of a process that no file stands behind.
pub(crate) fn anonymous_bytes(process: u32) -> anyhow::Result<u64> {
    kilobytes_of(process, "Anonymous:")
}

/// Bytes of memory of a process in all.
pub(crate) fn resident_bytes(process: u32) -> anyhow::Result<u64> {
    kilobytes_of(process, "Rss:")
}

/// Files that a process has open, sockets among them.
pub(crate) fn open_files(process: u32) -> anyhow::Result<u64> {
    entries_of(&format!("/proc/{process}/fd"))
}

/// Files that a process has open though they have no name any more: their space is not free.
pub(crate) fn nameless_files(process: u32) -> anyhow::Result<u64> {
    let folder = format!("/proc/{process}/fd");
    let entries = fs::read_dir(&folder).with_context(|| format!("{folder} cannot be read"))?;
    let links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let nameless = links.filter(|link| link.to_string_lossy().ends_with(" (deleted)"));
    Ok(u64::try_from(nameless.count())?)
}

/// Threads of a process.
pub(crate) fn threads(process: u32) -> anyhow::Result<u64> {
    entries_of(&format!("/proc/{process}/task"))
}

fn entries_of(folder: &str) -> anyhow::Result<u64> {
    let entries = fs::read_dir(folder).with_context(|| format!("{folder} cannot be read"))?;
    Ok(u64::try_from(entries.count())?)
}

fn kilobytes_of(process: u32, name: &str) -> anyhow::Result<u64> {
    let path = format!("/proc/{process}/smaps_rollup");
    let text = read(Path::new(&path))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    let kilobytes: u64 = number.with_context(|| format!("{path} has no {name}"))?.parse()?;
    Ok(kilobytes * 1024)
}

/// A moment from which on others are watched: processes that are neither this one nor the servers
/// that are measured, and the machine's host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Others {
    machine: Duration,
    own: Duration,
    began: Instant,
}

impl Others {
    /// From now on.
    pub(crate) fn watch() -> anyhow::Result<Self> {
        Ok(Self { machine: machine()?, own: own()?, began: Instant::now() })
    }

    /// The share of the machine that they took so far, if the servers took so much.
    pub(crate) fn share(&self, servers: Duration) -> anyhow::Result<f64> {
        let own = own()?.saturating_sub(self.own);
        let all = machine()?.saturating_sub(self.machine);
        let others = all.saturating_sub(servers + own);
        share_of_machine(others, self.began.elapsed())
    }
}

/// What so much CPU in so much time is of all the machine's.
pub(crate) fn share_of_machine(cpu: Duration, elapsed: Duration) -> anyhow::Result<f64> {
    let cores = u32::try_from(std::thread::available_parallelism()?.get())?;
    Ok(cpu.as_secs_f64() / (elapsed.as_secs_f64() * f64::from(cores)))
}

/// The machine's CPU time so far: spent, or taken by its host.
fn machine() -> anyhow::Result<Duration> {
    let text = read(Path::new("/proc/stat"))?;
    let first = text.lines().next().unwrap_or_default();
    let fields: Vec<u64> =
        first.split_whitespace().skip(1).filter_map(|f| f.parse().ok()).collect();
    let field = |at: usize| fields.get(at).copied().unwrap_or(0);
    // user, nice, system, idle, iowait, irq, softirq, steal
    let busy = field(0) + field(1) + field(2) + field(5) + field(6) + field(7);
    Ok(ticks_as_time(busy))
}

/// The percentage of the last ten seconds in which some task waited for a resource (`cpu`, `io`),
/// if the kernel tells.
pub(crate) fn pressure(resource: &str) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/pressure/{resource}")).ok()?;
    let some = text.lines().find(|line| line.starts_with("some"))?;
    some.split_whitespace().find_map(|field| field.strip_prefix("avg10="))?.parse().ok()
}

fn ticks_as_time(ticks: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_micros(ticks.saturating_mul(1_000_000) / per_second)
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}
