//! Many watchers of one range: events a second, with previous values.

use std::time::{Duration, Instant};

use anyhow::bail;

use super::Bench;
use super::large::as_f64;
use super::turn::{see, us_per};
use crate::load::{Keep, Keys, Next, Pool, count, path, value, watch};
use crate::process::cluster::Cluster;

/// The keys that change, all within the watched range.
const KEYS: Keys = Keys::new("/registry/leases/bench/", 40);
const KEY_COUNT: u64 = 100;
/// 1,000 watchers: connections, streams on each, watches on each stream.
const CONNECTIONS: usize = 10;
const STREAMS: usize = 10;
const WATCHES: usize = 10;
const WATCHERS: u64 = (CONNECTIONS * STREAMS * WATCHES) as u64;
/// Writes under way at once.
const WRITERS: u64 = 8;
/// Writes of a turn for each of its seconds.
const WRITES_PER_SECOND: u64 = 150;
/// How long the last events are waited for.
const WAIT_MAX: Duration = Duration::from_secs(60);

const NAME: &str = "watching";

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let clusters = bench.start_all(NAME, 1)?;
    let writes = WRITES_PER_SECOND * bench.options.turn.as_secs();
    for repetition in 1..=bench.options.repetitions {
        for cluster in &clusters {
            let mut pool = watchers(cluster)?;
            let began_with = crate::process::cpu::own()?;
            let ((), seen) = see(cluster, || write_and_wait(&mut pool, writes))?;
            let own = crate::process::cpu::own()?.saturating_sub(began_with);
            let events = WATCHERS * writes;
            let rate = as_f64(events) / seen.elapsed.as_secs_f64();
            let side = cluster.side();
            let cpu = us_per(seen.server_cpu, events);
            bench.note("watch.rate", side, rate, &seen);
            bench.note("watch.cpu", side, cpu, &seen);
            bench.book.note_generator("watch, per event", us_per(own, events));
            bench.say(&format!(
                "watch {repetition}: {side} {rate:.0} events/s, {cpu:.2} µs of server CPU"
            ));
        }
    }
    drop(clusters);
    bench.clear(NAME);
    Ok(())
}

/// Connections with all watches created, the keys written before; the last is for writes.
fn watchers(cluster: &Cluster) -> anyhow::Result<Pool> {
    let mut pool = Pool::connect(&cluster.clients(), CONNECTIONS + 1)?;
    let value = value(4);
    for number in 0..KEY_COUNT {
        pool.ask(path::PUT, KEYS.put(number, &value, 0), WAIT_MAX)?;
    }
    let create = watch(KEYS.key(0), KEYS.end());
    for connection in 0..CONNECTIONS {
        for _ in 0..STREAMS {
            let messages = create.repeat(WATCHES);
            pool.open_stream(connection, path::WATCH, messages, Keep::Count(count::events));
        }
    }
    wait_for(&mut pool, WATCHERS * count::CREATED)?;
    Ok(pool)
}

fn write_and_wait(pool: &mut Pool, writes: u64) -> anyhow::Result<()> {
    let value = value(5);
    let target = pool.counted() + writes * WATCHERS;
    let message = |n: u64| KEYS.put(n % KEY_COUNT, &value, 0);
    let mut begun = 0;
    while begun < WRITERS.min(writes) {
        pool.call(CONNECTIONS, path::PUT, message(begun), Keep::Nothing);
        begun += 1;
    }
    pool.flush()?;
    let deadline = Instant::now() + WAIT_MAX;
    while pool.counted() < target {
        if Instant::now() > deadline {
            bail!("{} events are missing", target - pool.counted());
        }
        pool.turn(Some(Duration::from_millis(100)), |call| {
            call.check()?;
            if begun == writes {
                return Ok(None);
            }
            begun += 1;
            Ok(Some(Next { path: path::PUT, message: message(begun - 1), keep: Keep::Nothing }))
        })?;
    }
    if pool.counted() > target {
        bail!("{} events came twice", pool.counted() - target);
    }
    Ok(())
}

/// Wait until so much was counted.
pub(super) fn wait_for(pool: &mut Pool, target: u64) -> anyhow::Result<()> {
    pool.flush()?;
    let deadline = Instant::now() + WAIT_MAX;
    while pool.counted() < target {
        if Instant::now() > deadline {
            bail!("watches are not created");
        }
        pool.turn(Some(Duration::from_millis(100)), |_| Ok(None))?;
    }
    Ok(())
}
