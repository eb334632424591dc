//! How puts fare while something else goes on: a snapshot, a compaction, leases revoked in masses,
//! clients that do harm.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use quorate_api::etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest};

use super::Bench;
use super::harm::Harm;
use super::hostile::Hostile;
use super::large::{as_f64, snapshot};
use super::requests::Scattered;
use super::space::{churn, compact};
use super::turn::drive_and_see;
use crate::load::{Keep, Keys, Load, Outcome, Pace, Pool, Until, drive, framed, path, value};
use crate::process::cluster::Cluster;
use crate::process::cpu::share_of_machine;
use crate::process::side::Side;

/// Puts a second: far below what either side can do, so that the quiet state is quiet.
const PUTS_PER_SECOND: f64 = 2000.0;
const KEYS: Keys = Keys::new("/registry/pods/steady/", 40);
const KEY_COUNT: u64 = 10_000;
/// Writes before a compaction.
const HISTORY: u64 = 60_000;
/// Leases revoked a second, and keys on each.
const REVOKES_PER_SECOND: u64 = 1000;
const KEYS_PER_LEASE: u64 = 10;
const LEASED: Keys = Keys::new("/registry/leased/", 40);
/// No lease ends by itself here.
const TTL_SECONDS: i64 = 3600;
/// Calls that prepare a storm at once, and their connections.
const PREPARING: u32 = 64;
const CONNECTIONS: usize = 4;

/// What goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disturbance {
    /// One snapshot after the other.
    Snapshots,
    /// One compaction of some ten thousand revisions.
    Compaction,
    /// A thousand leases a second, with ten keys each.
    Revokes,
    /// Other clients do harm.
    Hostile(Hostile),
}

impl Disturbance {
    fn id(self) -> &'static str {
        match self {
            Self::Snapshots => "snapshot",
            Self::Compaction => "compaction",
            Self::Revokes => "revokes",
            Self::Hostile(hostile) => hostile.id(),
        }
    }
}

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let name = "disturbance";
    let clusters = bench.start_all(name, 1)?;
    turns(bench, &clusters, &Disturbance::Compaction)?;
    turns(bench, &clusters, &Disturbance::Revokes)?;
    drop(clusters);
    bench.clear(name);
    Ok(())
}

/// Puts when it is quiet, and while the disturbance goes on.
pub(super) fn turns(
    bench: &mut Bench,
    clusters: &[Cluster],
    disturbance: &Disturbance,
) -> anyhow::Result<()> {
    let id = disturbance.id();
    let revokes = REVOKES_PER_SECOND * bench.options.turn.as_secs();
    let mut first_lease = 1;
    for repetition in 1..=bench.options.repetitions {
        for cluster in clusters {
            match disturbance {
                Disturbance::Snapshots | Disturbance::Hostile(_) => {}
                Disturbance::Compaction => churn(cluster, HISTORY)?,
                Disturbance::Revokes => lease(cluster, first_lease, revokes)?,
            }
            // Those to whom it happens are there before.
            let mut pool = Pool::connect(&cluster.clients(), CONNECTIONS)?;
            let (quiet, _) = puts(bench, cluster, &mut pool)?;
            let during = match disturbance {
                Disturbance::Hostile(hostile) => during_harm(bench, cluster, &mut pool, *hostile)?,
                Disturbance::Snapshots | Disturbance::Compaction | Disturbance::Revokes => {
                    let ended = AtomicBool::new(false);
                    std::thread::scope(|scope| {
                        let work = scope
                            .spawn(|| disturb(cluster, *disturbance, first_lease, revokes, &ended));
                        let during = puts(bench, cluster, &mut pool);
                        ended.store(true, Ordering::Relaxed);
                        let worked = work.join();
                        worked.map_err(|_| anyhow::anyhow!("the disturbance died"))?.and(during)
                    })?
                }
            };
            note(bench, id, cluster.side(), repetition, quiet, during);
        }
        first_lease += i64::try_from(revokes)?;
    }
    Ok(())
}

type Tail = (f64, f64);

fn note(
    bench: &mut Bench,
    id: &str,
    side: Side,
    repetition: usize,
    quiet: f64,
    (during, foreign_share): Tail,
) {
    let metric = |what: &str| format!("disturbance.{id}.{what}");
    bench.book.note(&metric("quiet"), side, quiet, foreign_share);
    bench.book.note(&metric("during"), side, during, foreign_share);
    bench.book.note(&metric("factor"), side, during / quiet, foreign_share);
    bench.say(&format!(
        "puts during {id} {repetition}: {side} p99 {quiet:.0} µs quiet, {during:.0} µs during"
    ));
}

/// Puts at a steady pace: their p99, and the share of the machine that others took.
fn puts(bench: &Bench, cluster: &Cluster, pool: &mut Pool) -> anyhow::Result<Tail> {
    let value = value(7);
    let mut numbers = Scattered::default();
    let load = Load {
        path: path::PUT,
        pace: Pace::Open { per_second: PUTS_PER_SECOND },
        until: Until::Time(bench.options.turn),
        keep: Keep::Nothing,
    };
    let (mut outcome, seen): (Outcome, _) =
        drive_and_see(cluster, pool, load, |_| KEYS.put(numbers.below(KEY_COUNT), &value, 0))?;
    Ok((outcome.times.quantile_us(0.99), seen.foreign_share))
}

/// The same while a process does harm, which is none of the others.
fn during_harm(
    bench: &Bench,
    cluster: &Cluster,
    pool: &mut Pool,
    hostile: Hostile,
) -> anyhow::Result<Tail> {
    let address = *cluster.clients().first().context("a cluster without members")?;
    let harm = Harm::start(hostile, address)?;
    let (before, began) = (harm.cpu()?, Instant::now());
    let (during, foreign_share) = puts(bench, cluster, pool)?;
    let harm_share = share_of_machine(harm.cpu()?.saturating_sub(before), began.elapsed())?;
    harm.end()?;
    Ok((during, (foreign_share - harm_share).max(0.0)))
}

fn disturb(
    cluster: &Cluster,
    disturbance: Disturbance,
    first_lease: i64,
    revokes: u64,
    ended: &AtomicBool,
) -> anyhow::Result<()> {
    match disturbance {
        Disturbance::Snapshots => {
            while !ended.load(Ordering::Relaxed) {
                snapshot(&mut Pool::connect(&cluster.clients(), 1)?)?;
            }
            Ok(())
        }
        Disturbance::Compaction => compact(cluster),
        // A process does that.
        Disturbance::Hostile(_) => Ok(()),
        Disturbance::Revokes => {
            let mut pool = Pool::connect(&cluster.clients(), CONNECTIONS)?;
            let load = Load {
                path: path::LEASE_REVOKE,
                pace: Pace::Open { per_second: as_f64(REVOKES_PER_SECOND) },
                until: Until::Calls(revokes),
                keep: Keep::Nothing,
            };
            drive(&mut pool, load, |n| {
                framed(&LeaseRevokeRequest { id: lease_id(first_lease, n) })
            })?;
            Ok(())
        }
    }
}

fn lease_id(first: i64, number: u64) -> i64 {
    first.saturating_add(i64::try_from(number).unwrap_or(i64::MAX))
}

/// Grant leases and put keys on them.
fn lease(cluster: &Cluster, first: i64, count: u64) -> anyhow::Result<()> {
    let mut pool = Pool::connect(&cluster.clients(), CONNECTIONS)?;
    let load = |path, calls| Load {
        path,
        pace: Pace::Closed { clients: PREPARING },
        until: Until::Calls(calls),
        keep: Keep::Nothing,
    };
    drive(&mut pool, load(path::LEASE_GRANT, count), |n| {
        framed(&LeaseGrantRequest { ttl: TTL_SECONDS, id: lease_id(first, n) })
    })?;
    let value = value(8);
    drive(&mut pool, load(path::PUT, count * KEYS_PER_LEASE), |n| {
        LEASED.put(n, &value, lease_id(first, n / KEYS_PER_LEASE))
    })?;
    Ok(())
}
