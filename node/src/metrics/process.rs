//! This process, read from `/proc` when somebody asks.

use std::fs;
use std::sync::LazyLock;

use prometheus::{Counter, Gauge, IntCounter, IntGauge};

use super::registry::{counter, float_counter, float_gauge, gauge};

struct Process {
    cpu_seconds: Counter,
    resident_bytes: IntGauge,
    virtual_bytes: IntGauge,
    virtual_bytes_max: Gauge,
    network_received: IntCounter,
    network_sent: IntCounter,
    start_seconds: Gauge,
    open_files: IntGauge,
    open_files_max: IntGauge,
    files_used: IntGauge,
    files_limit: IntGauge,
}

static PROCESS: LazyLock<Process> = LazyLock::new(|| Process {
    cpu_seconds: float_counter("process_cpu_seconds_total", "Seconds of processor time."),
    resident_bytes: gauge("process_resident_memory_bytes", "Bytes of memory in use."),
    virtual_bytes: gauge("process_virtual_memory_bytes", "Bytes of address space."),
    virtual_bytes_max: float_gauge(
        "process_virtual_memory_max_bytes",
        "Bytes of address space at most.",
    ),
    network_received: counter(
        "process_network_receive_bytes_total",
        "Bytes received by all that shares the network namespace.",
    ),
    network_sent: counter(
        "process_network_transmit_bytes_total",
        "Bytes sent by all that shares the network namespace.",
    ),
    start_seconds: float_gauge("process_start_time_seconds", "Start, in seconds since 1970."),
    open_files: gauge("process_open_fds", "Open files and sockets."),
    open_files_max: gauge("process_max_fds", "Open files and sockets at most."),
    files_used: gauge("os_fd_used", "Open files and sockets."),
    files_limit: gauge("os_fd_limit", "Open files and sockets at most."),
});

/// What `/proc` says of this process.
pub(super) fn observe() {
    if let Some(files) = open_files() {
        PROCESS.open_files.set(files);
        PROCESS.files_used.set(files);
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.map_or(i64::MAX, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
    PROCESS.open_files_max.set(limit);
    PROCESS.files_limit.set(limit);
    let space = rustix::process::getrlimit(rustix::process::Resource::As).current;
    PROCESS.virtual_bytes_max.set(space.unwrap_or(u64::MAX) as f64);
    if let Some((received, sent)) = network_bytes() {
        raise(&PROCESS.network_received, received);
        raise(&PROCESS.network_sent, sent);
    }
    if let Some(stat) = Stat::read() {
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        let cpu_seconds = stat.cpu_ticks as f64 / ticks_per_second;
        PROCESS.cpu_seconds.inc_by((cpu_seconds - PROCESS.cpu_seconds.get()).max(0.0));
        PROCESS.virtual_bytes.set(stat.virtual_bytes);
        let page = i64::try_from(rustix::param::page_size()).unwrap_or(4096);
        PROCESS.resident_bytes.set(stat.resident_pages.saturating_mul(page));
        if let Some(boot) = boot_seconds() {
            PROCESS.start_seconds.set(boot + stat.start_ticks as f64 / ticks_per_second);
        }
    }
}

/// Let a counter be what the kernel counted.
fn raise(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

/// Bytes received and sent over IP, of `/proc/net/netstat`: a line of names, then one of numbers.
fn network_bytes() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/self/net/netstat").ok()?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("IpExt: "));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let number = |name: &str| {
        let place = names.split(' ').position(|known| known == name)?;
        numbers.split(' ').nth(place)?.parse().ok()
    };
    Some((number("InOctets")?, number("OutOctets")?))
}

fn open_files() -> Option<i64> {
    i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()
}

/// Of `/proc/self/stat`, see proc_pid_stat(5).
struct Stat {
    cpu_ticks: u64,
    start_ticks: u64,
    virtual_bytes: i64,
    resident_pages: i64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// The second field is the program's name in parentheses, which may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        // Of what is left, the first field is the third.
        let field = |number: usize| rest.split_ascii_whitespace().nth(number - 3);
        let number = |at: usize| field(at)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: number(14)?.checked_add(number(15)?)?,
            start_ticks: number(22)?,
            virtual_bytes: i64::try_from(number(23)?).ok()?,
            resident_pages: i64::try_from(number(24)?).ok()?,
        })
    }
}

fn boot_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}
