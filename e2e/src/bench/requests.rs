//! Puts and linearizable gets, of one client and of many, on clusters of one and three members.

use std::net::SocketAddr;

use bytes::Bytes;

use super::Bench;
use super::options::Group;
use super::turn::{Seen, drive_and_see, us_per};
use crate::load::{Keep, Keys, Load, Outcome, Pace, Pool, Until, path, value};
use crate::process::cluster::Cluster;
use crate::process::side::Side;

/// Keys that are written and read, again and again: pods of a middling cluster.
const KEYS: Keys = Keys::new("/registry/pods/bench/", 32);
const KEY_COUNT: u64 = 10_000;
/// "Many clients": 8 connections with 32 calls each.
pub(super) const MANY: u32 = 256;
pub(super) const MANY_CONNECTIONS: usize = 8;
/// The share of etcd's highest rate at which tails are compared.
const TAIL_RATE_SHARE: f64 = 0.7;

#[derive(Clone, Copy)]
enum Clients {
    One,
    Many,
    /// So many calls a second.
    AtRate(f64),
}

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    for size in bench.options.members.clone() {
        let name = format!("requests-{size}");
        let clusters = bench.start_all(&name, size)?;
        for cluster in &clusters {
            let mut pool = Pool::connect(&[cluster.leader()?], MANY_CONNECTIONS)?;
            let load = load(path::PUT, Clients::Many, Until::Calls(KEY_COUNT));
            let value = value(1);
            crate::load::drive(&mut pool, load, |n| KEYS.put(n, &value, 0))?;
        }
        for call in [Group::Put, Group::Get] {
            if bench.options.has(call) {
                measure_call(bench, &clusters, size, call)?;
            }
        }
        drop(clusters);
        bench.clear(&name);
    }
    Ok(())
}

fn measure_call(
    bench: &mut Bench,
    clusters: &[Cluster],
    size: usize,
    call: Group,
) -> anyhow::Result<()> {
    let name = if call == Group::Put { "put" } else { "get" };
    for clients in [Clients::One, Clients::Many] {
        for repetition in 1..=bench.options.repetitions {
            for cluster in clusters {
                let (mut outcome, seen) = turn(bench, cluster, call, clients)?;
                note(bench, cluster.side(), size, name, clients, &mut outcome, &seen);
                bench.say(&format!(
                    "{name}, {} of {size}, {repetition}: {} {:.0}/s, {:.1} µs of server CPU, {:.1} \
                     of ours; others {:.0} %",
                    match clients {
                        Clients::One => "1 client",
                        Clients::Many | Clients::AtRate(_) => "256 clients",
                    },
                    cluster.side(),
                    outcome.per_second(),
                    us_per(seen.server_cpu, outcome.calls),
                    us_per(outcome.own_cpu, outcome.calls),
                    seen.foreign_share * 100.0
                ));
            }
        }
    }
    let etcd = bench.book.median(&format!("put.{size}.many.rate"), Side::Etcd);
    if let (Group::Put, Some(etcd)) = (call, etcd) {
        for _ in 0..bench.options.repetitions {
            for cluster in clusters {
                let clients = Clients::AtRate(etcd * TAIL_RATE_SHARE);
                let (mut outcome, seen) = turn(bench, cluster, call, clients)?;
                let p99 = outcome.times.quantile_us(0.99);
                bench.note(&format!("put.{size}.many.p99at70"), cluster.side(), p99, &seen);
                bench.say(&format!(
                    "put of {size} at {:.0}/s: {} p99 {p99:.0} µs",
                    outcome.per_second(),
                    cluster.side()
                ));
            }
        }
    }
    Ok(())
}

fn turn(
    bench: &Bench,
    cluster: &Cluster,
    call: Group,
    clients: Clients,
) -> anyhow::Result<(Outcome, Seen)> {
    // One client is on the leader, many are on all members alike.
    let (addresses, connections): (Vec<SocketAddr>, usize) = match clients {
        Clients::One => (vec![cluster.leader()?], 1),
        Clients::Many | Clients::AtRate(_) => (cluster.clients(), connections(cluster)),
    };
    let mut pool = Pool::connect(&addresses, connections)?;
    let value: Bytes = value(2);
    let mut numbers = Scattered::default();
    let until = Until::Time(bench.options.turn);
    if call == Group::Put {
        let load = load(path::PUT, clients, until);
        drive_and_see(cluster, &mut pool, load, |_| KEYS.put(numbers.next(), &value, 0))
    } else {
        let load = load(path::RANGE, clients, until);
        drive_and_see(cluster, &mut pool, load, |_| KEYS.get(numbers.next()))
    }
}

/// As many connections as are spread evenly over the members.
fn connections(cluster: &Cluster) -> usize {
    MANY_CONNECTIONS.next_multiple_of(cluster.clients().len())
}

fn load(path: &'static str, clients: Clients, until: Until) -> Load {
    let pace = match clients {
        Clients::One => Pace::Closed { clients: 1 },
        Clients::Many => Pace::Closed { clients: MANY },
        Clients::AtRate(per_second) => Pace::Open { per_second },
    };
    Load { path, pace, until, keep: Keep::Nothing }
}

fn note(
    bench: &mut Bench,
    side: Side,
    size: usize,
    call: &str,
    clients: Clients,
    outcome: &mut Outcome,
    seen: &Seen,
) {
    let (p50, p99) = (outcome.times.quantile_us(0.5), outcome.times.quantile_us(0.99));
    let own = us_per(outcome.own_cpu, outcome.calls);
    match clients {
        Clients::One => {
            bench.note(&format!("{call}.{size}.one.p50"), side, p50, seen);
            bench.note(&format!("{call}.{size}.one.p99"), side, p99, seen);
        }
        Clients::Many | Clients::AtRate(_) => {
            let cpu = us_per(seen.server_cpu, outcome.calls);
            bench.note(&format!("{call}.{size}.many.rate"), side, outcome.per_second(), seen);
            bench.note(&format!("{call}.{size}.many.p50"), side, p50, seen);
            bench.note(&format!("{call}.{size}.many.p99"), side, p99, seen);
            bench.note(&format!("{call}.{size}.many.cpu"), side, cpu, seen);
            bench.book.note_generator(&format!("{call}, 256 clients"), own);
        }
    }
}

/// Numbers of keys, scattered and the same for both sides.
#[derive(Debug, Default)]
pub(super) struct Scattered(u64);

impl Scattered {
    pub(super) fn next(&mut self) -> u64 {
        self.below(KEY_COUNT)
    }

    pub(super) fn below(&mut self, count: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % count
    }
}
