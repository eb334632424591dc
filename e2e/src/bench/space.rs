//! What watches take of memory, and what is left on disk after churn.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use quorate_api::etcdserverpb::{CompactionRequest, PutResponse};

use super::Bench;
use super::large::as_f64;
use super::requests::{MANY, MANY_CONNECTIONS, Scattered};
use super::turn::see;
use super::watching::wait_for;
use crate::load::{Keep, Keys, Load, Pace, Pool, Until, count, drive, framed, path, value, watch};
use crate::process::cluster::Cluster;

/// Ranges that are watched, each by one watch.
const WATCHED: Keys = Keys::new("/registry/pods/watched/", 48);
const CONNECTIONS: usize = 10;
/// Streams with one watch.
const STREAMS: u64 = 1000;
/// Streams of the many watches, and watches on each: their creation fits a stream's first window.
const FULL_STREAMS: u64 = 100;
const WATCHES_PER_STREAM: u64 = 500;
/// What a server is left to put its house in order before it is looked at.
const SETTLE: Duration = Duration::from_secs(2);

const COMPACT: &str = "/etcdserverpb.KV/Compact";
/// Keys that are written again and again, with values of a kibibyte.
const CHURNED: Keys = Keys::new("/registry/events/churn/", 48);
const CHURNED_COUNT: u64 = 5000;
const CHURN_VALUE_REPEATS: usize = 4;
/// Writes between two compactions, and how often that is done: etcd keeps the pages of the largest
/// history that it ever had.
const CHURN_WRITES: u64 = 60_000;
const CHURN_ROUNDS: usize = 4;
/// How long a store may take to give space back after a compaction.
const CHURN_SETTLE: Duration = Duration::from_secs(10);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Memory of watches and streams; each repetition needs new servers.
pub(super) fn measure_watches(bench: &mut Bench) -> anyhow::Result<()> {
    for repetition in 1..=bench.options.repetitions.min(3) {
        let name = format!("watches-{repetition}");
        for side in bench.sides() {
            let cluster = bench.start(side, &name, 1)?;
            let ((stream, watch), seen) = see(&cluster, || memory_of_watches(&cluster))?;
            bench.note("memory.stream", side, stream, &seen);
            bench.note("memory.watch", side, watch, &seen);
            bench.say(&format!("memory: {side} {stream:.0} B a stream, {watch:.0} B a watch"));
        }
        bench.clear(&name);
    }
    Ok(())
}

fn memory_of_watches(cluster: &Cluster) -> anyhow::Result<(f64, f64)> {
    let mut pool = Pool::connect(&cluster.clients(), CONNECTIONS)?;
    let create = |n: u64| watch(WATCHED.key(n), Bytes::new());
    // The first stream of each connection warms what is per connection.
    let mut created = 0;
    let mut open = |pool: &mut Pool, streams: u64, watches: u64| {
        for stream in 0..streams {
            let messages: Vec<u8> = (created..created + watches).flat_map(create).collect();
            created += watches;
            let connection = usize::try_from(stream).unwrap_or(0);
            pool.open_stream(connection, path::WATCH, messages, Keep::Count(count::events));
        }
        wait_for(pool, created * count::CREATED)?;
        std::thread::sleep(SETTLE);
        cluster.anonymous_bytes()
    };
    let connected = open(&mut pool, CONNECTIONS as u64, 1)?;
    let with_streams = open(&mut pool, STREAMS, 1)?;
    let full = open(&mut pool, FULL_STREAMS, WATCHES_PER_STREAM)?;
    let per_stream = as_f64(with_streams.saturating_sub(connected)) / as_f64(STREAMS);
    let watches = as_f64(FULL_STREAMS * WATCHES_PER_STREAM);
    Ok((per_stream, as_f64(full.saturating_sub(with_streams)) / watches))
}

/// Disk after values were written over and over and their history was compacted.
pub(super) fn measure_disk(bench: &mut Bench) -> anyhow::Result<()> {
    let name = "churn";
    for cluster in &bench.start_all(name, 1)? {
        let side = cluster.side();
        let (bytes, seen) = see(cluster, || {
            for _ in 0..CHURN_ROUNDS {
                churn(cluster, CHURN_WRITES)?;
                compact(cluster)?;
            }
            std::thread::sleep(CHURN_SETTLE);
            Ok(cluster.disk_bytes())
        })?;
        let mebibytes = as_f64(bytes) / 1_048_576.0;
        bench.note("disk.churned", side, mebibytes, &seen);
        bench.say(&format!("disk after churn: {side} {mebibytes:.0} MiB"));
    }
    bench.clear(name);
    Ok(())
}

/// Write over a few keys, as many clients.
pub(super) fn churn(cluster: &Cluster, writes: u64) -> anyhow::Result<()> {
    let mut pool = Pool::connect(&cluster.clients(), MANY_CONNECTIONS)?;
    let value = Bytes::from(value(6).repeat(CHURN_VALUE_REPEATS));
    let mut numbers = Scattered::default();
    let load = Load {
        path: path::PUT,
        pace: Pace::Closed { clients: MANY },
        until: Until::Calls(writes),
        keep: Keep::Nothing,
    };
    drive(&mut pool, load, |_| CHURNED.put(numbers.below(CHURNED_COUNT), &value, 0))?;
    Ok(())
}

/// Compact up to now, and wait until the server says that it is done.
pub(super) fn compact(cluster: &Cluster) -> anyhow::Result<()> {
    let mut pool = Pool::connect(&cluster.clients(), 1)?;
    let answer = pool.ask(path::PUT, CHURNED.put(0, &value(6), 0), WAIT_MAX)?;
    let header = PutResponse::decode(answer.as_slice())?.header.unwrap_or_default();
    let request = CompactionRequest { revision: header.revision, physical: true };
    pool.ask(COMPACT, framed(&request), WAIT_MAX)?;
    Ok(())
}
