//! One side's turn: what it took, and what others took meanwhile.

use std::time::{Duration, Instant};

use super::Bench;
use crate::load::{Load, Outcome, Pool, drive};
use crate::process::cluster::Cluster;
use crate::process::cpu::Others;
use crate::process::side::Side;

/// What was seen during a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) elapsed: Duration,
    /// CPU of all members.
    pub(super) server_cpu: Duration,
    /// The share of the machine that others took, its host among them.
    pub(super) foreign_share: f64,
}

/// Do something with a cluster and look at what it takes.
pub(super) fn see<T>(
    cluster: &Cluster,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<(T, Seen)> {
    let (others, server) = (Others::watch()?, cluster.cpu()?);
    let began = Instant::now();
    let result = work()?;
    let elapsed = began.elapsed();
    let server_cpu = cluster.cpu()?.saturating_sub(server);
    let foreign_share = others.share(server_cpu)?;
    Ok((result, Seen { elapsed, server_cpu, foreign_share }))
}

/// Microseconds of a time per call.
#[expect(clippy::cast_precision_loss, reason = "some millions")]
pub(super) fn us_per(time: Duration, calls: u64) -> f64 {
    time.as_secs_f64() * 1e6 / calls.max(1) as f64
}

/// Drive a load against a cluster and look at what it takes.
pub(super) fn drive_and_see(
    cluster: &Cluster,
    pool: &mut Pool,
    load: Load,
    message: impl FnMut(u64) -> Vec<u8>,
) -> anyhow::Result<(Outcome, Seen)> {
    see(cluster, || drive(pool, load, message))
}

impl Bench {
    /// Note one value of a turn.
    pub(super) fn note(&mut self, metric: &str, side: Side, value: f64, seen: &Seen) {
        self.book.note(metric, side, value, seen.foreign_share);
    }

    /// Start a cluster of each side.
    pub(super) fn start_all(&self, name: &str, size: usize) -> anyhow::Result<Vec<Cluster>> {
        self.sides().into_iter().map(|side| self.start(side, name, size)).collect()
    }

    /// Start a cluster in a folder of its own.
    pub(super) fn start(&self, side: Side, name: &str, size: usize) -> anyhow::Result<Cluster> {
        Cluster::start(side, self.programs.of(side)?, &self.options.folder.join(name), size)
    }

    /// Remove what a group's servers left, once they have ended.
    pub(super) fn clear(&self, name: &str) {
        // It is removed at the end of the run at the latest.
        let _ = std::fs::remove_dir_all(self.options.folder.join(name));
    }
}
