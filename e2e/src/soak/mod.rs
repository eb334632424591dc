//! Members under churn for as long as somebody has the time: do memory, files and disk stay?
//!
//! ```text
//!   each second   puts of small and large values, some with a lease │ deletes │ reads of ranges
//!                 a new connection with a watch, as long as a second
//!   each half minute  history is compacted up to now
//!   each ten seconds  what each process holds is looked at ── samples ── judge
//! ```
//! The first third is for growing: caches fill, segments are made that are recycled later. What is
//! held in the last third is compared with the second: growth beyond [`GROWTH_MAX`] is a failure.

mod samples;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use prost::Message as _;
use quorate_api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, PutResponse,
};

use crate::load::{Keep, Keys, Load, Pace, Pool, Until, count, drive, framed, path, range, value};
use crate::process::cluster::Cluster;
use crate::process::guard;
use crate::process::side::{self, Side};
use samples::{Sample, Samples};

const HELP: &str = "\
e2e soak: members under churn; memory, open files and disk must stay as they are

  --minutes N        for how long (60)
  --members N        how many members (3)
  --rate N           writes a second (500)
  --dir DIR          where the members' files go (target/soak)
  --quorate FILE     the server, instead of building it";

/// What the last third may hold beyond the second third, as a factor.
const GROWTH_MAX: f64 = 1.25;
const MEMBERS: usize = 3;
const MINUTES: u64 = 60;
const RATE: u64 = 500;

const KEYS: Keys = Keys::new("/registry/soak/", 40);
const KEY_COUNT: u64 = 20_000;
/// One write of so many has a value of so many times 256 bytes.
const LARGE_EVERY: u64 = 50;
const LARGE_TIMES: usize = 64;
/// One write of so many belongs to a lease, which ends by itself.
const LEASED_EVERY: u64 = 20;
const LEASE_SECONDS: i64 = 30;
/// Keys that go in a second, at once.
const DELETED_AT_ONCE: u64 = 200;
const PAGE: i64 = 500;
const CONNECTIONS: usize = 4;
const CLIENTS: u32 = 16;
const ROUND: Duration = Duration::from_secs(1);
const COMPACT_EVERY: u64 = 30;
const SAMPLE_EVERY: u64 = 10;
const CALL_WAIT_MAX: Duration = Duration::from_secs(60);
/// History by time goes, too; what is compacted here goes sooner.
const ARGUMENTS: [&str; 2] = ["--auto-compaction-mode=periodic", "--auto-compaction-retention=5m"];

const DELETE: &str = "/etcdserverpb.KV/DeleteRange";
const COMPACT: &str = "/etcdserverpb.KV/Compact";

struct Options {
    minutes: u64,
    members: usize,
    rate: u64,
    folder: PathBuf,
    quorate: Option<PathBuf>,
}

/// `e2e soak …`.
pub(crate) fn run(arguments: Vec<String>) -> anyhow::Result<()> {
    let Some(options) = parse(arguments)? else { return Ok(()) };
    let program = match options.quorate.clone() {
        Some(program) => program,
        None => side::build_quorate()?,
    };
    std::fs::create_dir_all(&options.folder)?;
    let folder = options.folder.canonicalize()?.join(format!("run-{}", std::process::id()));
    guard::watch_signals(folder.clone())?;
    let cluster =
        Cluster::start_with(Side::Quorate, &program, &folder, options.members, &ARGUMENTS)?;
    let samples = churn(&cluster, &options)?;
    drop(cluster);
    samples.conclude(GROWTH_MAX)?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

fn churn(cluster: &Cluster, options: &Options) -> anyhow::Result<Samples> {
    let (began, length) = (Instant::now(), Duration::from_secs(options.minutes * 60));
    let mut samples = Samples::default();
    let mut writer = Writer::new(cluster, options.rate)?;
    let mut round = 0;
    while began.elapsed() < length {
        let next = began + ROUND * u32::try_from(round + 1)?;
        writer.round(round).with_context(|| format!("in second {round}"))?;
        let visitor = visit(cluster)?;
        if round % COMPACT_EVERY == COMPACT_EVERY - 1 {
            writer.compact()?;
        }
        if round % SAMPLE_EVERY == 0 {
            samples.add(Sample::of(cluster, began.elapsed(), writer.written)?);
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        drop(visitor);
        round = began.elapsed().as_secs().max(round + 1);
    }
    ensure!(samples.len() >= 6, "too short to tell anything: two minutes at least");
    Ok(samples)
}

/// Somebody who connects, watches and goes.
fn visit(cluster: &Cluster) -> anyhow::Result<Pool> {
    let clients = cluster.clients();
    let mut pool = Pool::connect(&clients, clients.len())?;
    let create = crate::load::watch(KEYS.key(0), KEYS.end());
    for connection in 0..clients.len() {
        pool.open_stream(connection, path::WATCH, create.clone(), Keep::Count(count::events));
    }
    pool.flush()?;
    Ok(pool)
}

struct Writer {
    pool: Pool,
    rate: u64,
    written: u64,
    small: Bytes,
    large: Bytes,
    state: u64,
}

impl Writer {
    fn new(cluster: &Cluster, rate: u64) -> anyhow::Result<Self> {
        let small = value(11);
        let large = Bytes::from(small.repeat(LARGE_TIMES));
        let pool = Pool::connect(&cluster.clients(), CONNECTIONS)?;
        Ok(Self { pool, rate, written: 0, small, large, state: 1 })
    }

    /// A number below a limit, any.
    fn below(&mut self, limit: u64) -> u64 {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % limit
    }

    /// What happens in a second.
    fn round(&mut self, round: u64) -> anyhow::Result<()> {
        let lease = i64::try_from(round)? + 1;
        let grant = LeaseGrantRequest { ttl: LEASE_SECONDS, id: lease };
        self.pool.ask(path::LEASE_GRANT, framed(&grant), CALL_WAIT_MAX)?;
        let keys: Vec<u64> = (0..self.rate).map(|_| self.below(KEY_COUNT)).collect();
        let (small, large) = (self.small.clone(), self.large.clone());
        let load = Load {
            path: path::PUT,
            pace: Pace::Closed { clients: CLIENTS },
            until: Until::Calls(self.rate),
            keep: Keep::Nothing,
        };
        let outcome = drive(&mut self.pool, load, |number| {
            let at = usize::try_from(number).ok().and_then(|number| keys.get(number));
            let value = if number % LARGE_EVERY == 0 { &large } else { &small };
            let lease = if number % LEASED_EVERY == 0 { lease } else { 0 };
            KEYS.put(at.copied().unwrap_or(number), value, lease)
        })?;
        self.written += outcome.calls;
        let first = self.below(KEY_COUNT - DELETED_AT_ONCE);
        let delete = DeleteRangeRequest {
            key: KEYS.key(first),
            range_end: KEYS.key(first + DELETED_AT_ONCE),
            ..DeleteRangeRequest::default()
        };
        self.pool.ask(DELETE, framed(&delete), CALL_WAIT_MAX)?;
        let from = self.below(KEY_COUNT);
        self.pool.ask(path::RANGE, range(KEYS.key(from), KEYS.end(), PAGE), CALL_WAIT_MAX)?;
        Ok(())
    }

    fn compact(&mut self) -> anyhow::Result<()> {
        let answer = self.pool.ask(path::PUT, KEYS.put(0, &self.small, 0), CALL_WAIT_MAX)?;
        let revision = PutResponse::decode(answer.as_slice())?.header.unwrap_or_default().revision;
        let request = CompactionRequest { revision, physical: false };
        self.pool.ask(COMPACT, framed(&request), CALL_WAIT_MAX)?;
        Ok(())
    }
}

/// Read the arguments; nothing if only help is wanted, which is then printed.
fn parse(arguments: Vec<String>) -> anyhow::Result<Option<Options>> {
    let mut options = Options {
        minutes: MINUTES,
        members: MEMBERS,
        rate: RATE,
        folder: side::root().join("target/soak"),
        quorate: None,
    };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut value =
            || arguments.next().with_context(|| format!("{argument} needs a value\n\n{HELP}"));
        match argument.as_str() {
            "--help" | "-h" => {
                println!("{HELP}");
                return Ok(None);
            }
            "--minutes" => options.minutes = number(&argument, &value()?)?,
            "--members" => options.members = number(&argument, &value()?)?,
            "--rate" => options.rate = number(&argument, &value()?)?,
            "--dir" => options.folder = value()?.into(),
            "--quorate" => options.quorate = Some(value()?.into()),
            _ => bail!("{argument} is not known\n\n{HELP}"),
        }
    }
    ensure!(options.minutes >= 2, "--minutes is 2 at least: a shorter look tells nothing");
    ensure!(options.members >= 1 && options.rate >= 1, "--members and --rate are 1 at least");
    Ok(Some(options))
}

fn number<N: std::str::FromStr>(name: &str, text: &str) -> anyhow::Result<N> {
    text.parse().map_err(|_| anyhow::anyhow!("{name} needs a number, not {text}"))
}
