//! Clients that do harm. What others notice of them is measured like any other disturbance.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::Bench;
use super::disturbance::{Disturbance, turns};
use crate::load::{Deaf, Keep, Keys, Load, Pace, Pool, Until, drive, path, range, value};
use crate::process::cluster::Cluster;

/// What they ask for: 12 MiB.
const EVERYTHING: Keys = Keys::new("/registry/everything/", 40);
const KEY_COUNT: u64 = 40_000;
/// Calls that fill the store at once, and their connections.
const PREPARING: u32 = 64;
const CONNECTIONS: usize = 4;
/// Clients that ask for everything and read it.
const READERS: u32 = 4;
/// Clients that ask for everything and do not.
const DEAF: usize = 100;
/// Connections of a crowd; file descriptors of both sides must do.
const CROWD: usize = 5_000;
/// Calls that are taken back between two looks at the clock.
const RESETS: u32 = 50;
/// Calls that are taken back on one connection, at most: a server ends one that does nothing else.
const RESETS_PER_CONNECTION: u32 = 10_000;
/// What it leaves the processor for after each of those looks, at least: the kernel lets even an idle
/// process run on for a millisecond and more beside others (see `harm`).
const BREATH: Duration = Duration::from_micros(10);
/// Between two looks at whether it is over.
const PAUSE: Duration = Duration::from_millis(5);

/// What they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hostile {
    /// Ask for all keys, in a loop.
    Everything,
    /// Ask for all keys, and read nothing.
    Deaf,
    /// Connect, thousands of them.
    Crowd,
    /// Ask, and take it back at once.
    Resets,
}

impl Hostile {
    pub(super) const ALL: [Self; 4] = [Self::Everything, Self::Deaf, Self::Crowd, Self::Resets];

    pub(super) fn id(self) -> &'static str {
        match self {
            Self::Everything => "everything",
            Self::Deaf => "deaf",
            Self::Crowd => "crowd",
            Self::Resets => "resets",
        }
    }

    /// What the table says of it.
    pub(super) fn title(self) -> String {
        match self {
            Self::Everything => format!("{READERS} clients that ask for 12 MiB in a loop"),
            Self::Deaf => format!("{DEAF} clients that ask for 12 MiB and do not read"),
            Self::Crowd => format!("{CROWD} new connections"),
            Self::Resets => "a client that takes its calls back".to_owned(),
        }
    }

    /// Until it is over.
    pub(super) fn go_on(
        self,
        address: SocketAddr,
        is_over: &impl Fn() -> bool,
    ) -> anyhow::Result<()> {
        match self {
            Self::Everything => read_everything(address, is_over),
            Self::Deaf => {
                let mut clients = Vec::new();
                while clients.len() < DEAF && !is_over() {
                    let mut client = Deaf::open(address)?;
                    client.ask(path::RANGE, &everything())?;
                    clients.push(client);
                }
                wait_until(is_over);
                Ok(())
            }
            Self::Crowd => {
                let mut crowd = Vec::new();
                while crowd.len() < CROWD && !is_over() {
                    crowd.push(Deaf::open(address)?);
                }
                wait_until(is_over);
                Ok(())
            }
            Self::Resets => {
                while !is_over() {
                    reset(address, is_over);
                }
                Ok(())
            }
        }
    }
}

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let name = "hostile";
    let clusters = bench.start_all(name, 1)?;
    for cluster in &clusters {
        fill(cluster)?;
    }
    for hostile in Hostile::ALL {
        turns(bench, &clusters, &Disturbance::Hostile(hostile))?;
    }
    drop(clusters);
    bench.clear(name);
    Ok(())
}

fn fill(cluster: &Cluster) -> anyhow::Result<()> {
    let mut pool = Pool::connect(&cluster.clients(), CONNECTIONS)?;
    let value: Bytes = value(9);
    let load = Load {
        path: path::PUT,
        pace: Pace::Closed { clients: PREPARING },
        until: Until::Calls(KEY_COUNT),
        keep: Keep::Nothing,
    };
    drive(&mut pool, load, |n| EVERYTHING.put(n, &value, 0))?;
    Ok(())
}

fn everything() -> Vec<u8> {
    range(EVERYTHING.key(0), EVERYTHING.end(), 0)
}

fn read_everything(address: SocketAddr, is_over: &impl Fn() -> bool) -> anyhow::Result<()> {
    let mut pool = Pool::connect(&[address], CONNECTIONS)?;
    let load = Load {
        path: path::RANGE,
        pace: Pace::Closed { clients: READERS },
        until: Until::Calls(u64::from(READERS)),
        keep: Keep::Nothing,
    };
    while !is_over() {
        drive(&mut pool, load, |_| everything())?;
    }
    Ok(())
}

/// On one connection, until the server has had enough.
fn reset(address: SocketAddr, is_over: &impl Fn() -> bool) {
    let Ok(mut client) = Deaf::open(address) else { return };
    let get = EVERYTHING.get(0);
    for _ in 0..RESETS_PER_CONNECTION / RESETS {
        if is_over() || client.ask_and_reset(path::RANGE, &get, RESETS).is_err() {
            return;
        }
        std::thread::sleep(BREATH);
    }
}

fn wait_until(is_over: &impl Fn() -> bool) {
    while !is_over() {
        std::thread::sleep(PAUSE);
    }
}
