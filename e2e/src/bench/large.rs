//! A store of a million keys: pages and ranges, memory, snapshots, restarts.

use std::time::Duration;

use anyhow::bail;
use prost::Message as _;
use quorate_api::etcdserverpb::RangeResponse;

use super::Bench;
use super::disturbance::{self, Disturbance};
use super::options::Group;
use super::turn::{drive_and_see, see, us_per};
use crate::load::{Keep, Keys, Load, Pace, Pool, Until, drive, path, range, txn_of_puts, value};
use crate::process::cluster::Cluster;

/// The groups that need the store.
pub(super) const GROUPS: &[Group] =
    &[Group::Pages, Group::Ranges, Group::Memory, Group::Snapshot, Group::Restart];

/// Keys of 64 bytes, as the published figures of memory have them.
const KEYS: Keys = Keys::new("/registry/pods/namespace/", 64);
/// Connections that load, and puts on each at once; a large transaction fills a connection's window.
const LOADERS: u32 = 16;
const PUTS_PER_LOADER: u32 = 16;
/// What a server is left to put its house in order before its memory is looked at.
const SETTLE: Duration = Duration::from_secs(5);
/// What a snapshot of a store of any size here may take.
const SNAPSHOT_WAIT_MAX: Duration = Duration::from_secs(120);
/// Bytes of a mebibyte.
const MIB: f64 = 1_048_576.0;

const NAME: &str = "large";

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let mut clusters = bench.start_all(NAME, 1)?;
    let empty: Vec<u64> =
        clusters.iter().map(Cluster::anonymous_bytes).collect::<anyhow::Result<_>>()?;
    for cluster in &clusters {
        load(bench, cluster)?;
    }
    std::thread::sleep(SETTLE);
    memory(bench, &clusters, &empty, "memory.key")?;
    for cluster in &clusters {
        let ((), seen) = see(cluster, || check_page(bench, cluster))?;
        let disk = as_f64(cluster.disk_bytes()) / MIB;
        bench.note("disk.loaded", cluster.side(), disk, &seen);
    }
    if bench.options.has(Group::Pages) {
        ranges(bench, &clusters, "pages", 1000, 1)?;
    }
    if bench.options.has(Group::Ranges) {
        ranges(bench, &clusters, "ranges", 10_000, 4)?;
    }
    if bench.options.has(Group::Snapshot) {
        snapshots(bench, &clusters)?;
    }
    if bench.options.has(Group::Disturbance) {
        disturbance::turns(bench, &clusters, &Disturbance::Snapshots)?;
    }
    if bench.options.has(Group::Restart) {
        restarts(bench, &mut clusters)?;
        std::thread::sleep(SETTLE);
        memory(bench, &clusters, &empty, "memory.restarted")?;
    }
    drop(clusters);
    bench.clear(NAME);
    Ok(())
}

fn load(bench: &mut Bench, cluster: &Cluster) -> anyhow::Result<()> {
    let keys = bench.options.keys;
    let mut pool = Pool::connect(&cluster.clients(), LOADERS as usize)?;
    let value = value(3);
    let puts = bench.options.puts_per_txn;
    let (path, clients) =
        if puts == 1 { (path::PUT, LOADERS * PUTS_PER_LOADER) } else { (path::TXN, LOADERS) };
    let load = Load {
        path,
        pace: Pace::Closed { clients },
        until: Until::Calls(keys.div_ceil(puts)),
        keep: Keep::Nothing,
    };
    let (outcome, seen) = drive_and_see(cluster, &mut pool, load, |n| match puts {
        1 => KEYS.put(n, &value, 0),
        _ => txn_of_puts(KEYS, n * puts..keys.min((n + 1) * puts), &value),
    })?;
    let rate = as_f64(keys) / outcome.elapsed.as_secs_f64();
    bench.note("load.rate", cluster.side(), rate, &seen);
    bench.say(&format!("{keys} keys loaded: {} {rate:.0}/s", cluster.side()));
    Ok(())
}

/// What comes back is what was loaded: a fast wrong answer counts nothing.
fn check_page(bench: &Bench, cluster: &Cluster) -> anyhow::Result<()> {
    let mut pool = Pool::connect(&cluster.clients(), 1)?;
    let request = range(KEYS.key(0), KEYS.end(), 1000);
    let answer = pool.ask(path::RANGE, request, SNAPSHOT_WAIT_MAX)?;
    let answer = RangeResponse::decode(answer.as_slice())?;
    let is_right = answer.kvs.len() == 1000
        && answer.more
        && u64::try_from(answer.count).is_ok_and(|count| count == bench.options.keys)
        && answer.kvs.last().is_some_and(|kv| kv.key == KEYS.key(999) && kv.value == value(3));
    if !is_right {
        bail!(
            "{} answers a page with {} keys of {}",
            cluster.side(),
            answer.kvs.len(),
            answer.count
        );
    }
    Ok(())
}

fn memory(
    bench: &mut Bench,
    clusters: &[Cluster],
    empty: &[u64],
    metric: &str,
) -> anyhow::Result<()> {
    if !bench.options.has(Group::Memory) {
        return Ok(());
    }
    for (cluster, empty) in clusters.iter().zip(empty) {
        let (bytes, seen) = see(cluster, || cluster.anonymous_bytes())?;
        let per_key = as_f64(bytes.saturating_sub(*empty)) / as_f64(bench.options.keys);
        bench.note(metric, cluster.side(), per_key, &seen);
        bench.say(&format!(
            "{metric}: {} {per_key:.0} B; anonymous {:.0} MiB of {:.0} MiB resident",
            cluster.side(),
            as_f64(bytes) / MIB,
            as_f64(cluster.resident_bytes()?) / MIB
        ));
    }
    Ok(())
}

/// Ranges that begin anywhere and end with the prefix, as a client pages through a list.
fn ranges(
    bench: &mut Bench,
    clusters: &[Cluster],
    name: &str,
    limit: u64,
    clients: u32,
) -> anyhow::Result<()> {
    let starts = bench.options.keys / limit - 1;
    let limit_asked = i64::try_from(limit)?;
    for repetition in 1..=bench.options.repetitions {
        for cluster in clusters {
            let mut pool = Pool::connect(&cluster.clients(), clients as usize)?;
            let load = Load {
                path: path::RANGE,
                pace: Pace::Closed { clients },
                until: Until::Time(bench.options.turn),
                keep: Keep::Nothing,
            };
            let (mut outcome, seen) = drive_and_see(cluster, &mut pool, load, |n| {
                range(KEYS.key(n % starts * limit), KEYS.end(), limit_asked)
            })?;
            if outcome.bytes / outcome.calls.max(1) < limit * 300 {
                bail!("{} answers {name} with too little", cluster.side());
            }
            let cpu = us_per(seen.server_cpu, outcome.calls);
            let p50 = outcome.times.quantile_us(0.5);
            let side = cluster.side();
            bench.note(&format!("{name}.rate"), side, outcome.per_second(), &seen);
            bench.note(&format!("{name}.p50"), side, p50, &seen);
            bench.note(&format!("{name}.cpu"), side, cpu, &seen);
            bench.book.note_generator(name, us_per(outcome.own_cpu, outcome.calls));
            bench.say(&format!(
                "{name} {repetition}: {side} {:.1}/s, p50 {p50:.0} µs, {cpu:.0} µs of server CPU",
                outcome.per_second()
            ));
        }
    }
    Ok(())
}

fn snapshots(bench: &mut Bench, clusters: &[Cluster]) -> anyhow::Result<()> {
    for _ in 0..bench.options.repetitions {
        for cluster in clusters {
            let mut pool = Pool::connect(&cluster.clients(), 1)?;
            let (outcome, seen) = see(cluster, || snapshot(&mut pool))?;
            let side = cluster.side();
            if outcome < bench.options.keys * 300 {
                bail!("{side} makes a snapshot of {outcome} bytes");
            }
            bench.note("snapshot.time", side, seen.elapsed.as_secs_f64(), &seen);
            bench.note("snapshot.bytes", side, as_f64(outcome) / MIB, &seen);
            bench.say(&format!("snapshot: {side} {:.2} s", seen.elapsed.as_secs_f64()));
        }
    }
    Ok(())
}

/// Stream a snapshot and throw it away; its bytes.
pub(super) fn snapshot(pool: &mut Pool) -> anyhow::Result<u64> {
    let load = Load {
        path: path::SNAPSHOT,
        pace: Pace::Closed { clients: 1 },
        until: Until::Calls(1),
        keep: Keep::Nothing,
    };
    // An empty request, framed.
    Ok(drive(pool, load, |_| vec![0; 5])?.bytes)
}

fn restarts(bench: &mut Bench, clusters: &mut [Cluster]) -> anyhow::Result<()> {
    for _ in 0..bench.options.repetitions {
        for cluster in &mut *clusters {
            let restarted = cluster.restart_first()?;
            let side = cluster.side();
            let (time, cpu) = (restarted.time.as_secs_f64(), restarted.cpu.as_secs_f64());
            bench.book.note("restart", side, time, restarted.foreign_share);
            bench.book.note("restart.cpu", side, cpu, restarted.foreign_share);
            bench.say(&format!("restart: {side} {time:.2} s, {cpu:.2} s of CPU"));
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(super) fn as_f64(number: u64) -> f64 {
    number as f64
}
