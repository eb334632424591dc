//! What processes hold, and whether it grows.

use std::time::Duration;

use anyhow::{bail, ensure};

use crate::process::cluster::Cluster;

/// What all members hold at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    at: Duration,
    written: u64,
    anonymous_bytes: u64,
    resident_bytes: u64,
    disk_bytes: u64,
    files: u64,
    /// Of these, files that were removed.
    removed: u64,
    threads: u64,
}

impl Sample {
    pub(super) fn of(cluster: &Cluster, at: Duration, written: u64) -> anyhow::Result<Self> {
        let sample = Self {
            at,
            written,
            anonymous_bytes: cluster.anonymous_bytes()?,
            resident_bytes: cluster.resident_bytes()?,
            disk_bytes: cluster.disk_bytes(),
            files: cluster.open_files()?,
            removed: cluster.nameless_files()?,
            threads: cluster.threads()?,
        };
        println!("{}", sample.line());
        Ok(sample)
    }

    fn line(&self) -> String {
        const MEBIBYTE: u64 = 1 << 20;
        format!(
            "{:>5} s  {:>9} writes  memory {:>5} MiB, {:>5} MiB with files  disk {:>6} MiB  {:>5} files, {} removed  {:>4} threads",
            self.at.as_secs(),
            self.written,
            self.anonymous_bytes / MEBIBYTE,
            self.resident_bytes / MEBIBYTE,
            self.disk_bytes / MEBIBYTE,
            self.files,
            self.removed,
            self.threads
        )
    }
}

/// A thing that is held: its name, how much of it, and how much of it nobody minds.
type Held = (&'static str, fn(&Sample) -> u64, u64);

/// Memory that files stand behind is the kernel's to give back, so it is only shown.
const HELD: [Held; 4] = [
    ("anonymous memory", |sample| sample.anonymous_bytes, 8 << 20),
    ("disk", |sample| sample.disk_bytes, 64 << 20),
    ("open files", |sample| sample.files, 16),
    ("threads", |sample| sample.threads, 4),
];

/// All that was seen, in order.
#[derive(Debug, Default)]
pub(super) struct Samples(Vec<Sample>);

impl Samples {
    pub(super) fn add(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Compares the last third with the second.
    pub(super) fn conclude(&self, growth_max: f64) -> anyhow::Result<()> {
        let third = self.0.len() / 3;
        let before = self.0.get(third..2 * third).unwrap_or_default();
        let after = self.0.get(2 * third..).unwrap_or_default();
        ensure!(!before.is_empty(), "there are too few samples");
        let mut grown = Vec::new();
        for (name, of, unminded) in HELD {
            let most = |samples: &[Sample]| samples.iter().map(of).max().unwrap_or_default();
            let (before, after) = (most(before), most(after));
            let ratio = as_f64(after) / as_f64(before.max(1));
            println!(
                "{name}: at most {before} in the second third, {after} in the last: {ratio:.2} ×"
            );
            if ratio > growth_max && after > before.saturating_add(unminded) {
                grown.push(name);
            }
        }
        // One is held for as long as somebody reads it, not for minutes.
        if after.iter().all(|sample| sample.removed > 0) {
            bail!("files that were removed are held: their space is not free");
        }
        if grown.is_empty() {
            return Ok(());
        }
        bail!("grew by more than {growth_max} ×: {}", grown.join(", "))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio of sizes")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::{Sample, Samples};

    fn samples(bytes: impl Fn(u64) -> u64) -> Samples {
        let samples = (0..30).map(|n| Sample { anonymous_bytes: bytes(n), ..Sample::default() });
        Samples(samples.collect())
    }

    #[test]
    fn what_grows_is_found_and_what_only_begins_is_not() {
        let mebibyte = 1 << 20;
        let conclude = |samples: Samples| samples.conclude(1.25);
        assert!(conclude(samples(|n| (100 + n * 10) * mebibyte)).is_err(), "grows");
        assert!(conclude(samples(|n| n.min(8) * 100 * mebibyte)).is_ok(), "begins");
        assert!(conclude(samples(|n| (100 + n % 2 * 90) * mebibyte)).is_ok(), "goes up and down");
        assert!(conclude(samples(|n| n * 100_000)).is_ok(), "too little to mind");
        assert!(conclude(Samples::default()).is_err(), "nothing was seen");
        let removed = |of: fn(u64) -> u64| {
            let samples = (0..30).map(|n| Sample { removed: of(n), ..Sample::default() });
            Samples(samples.collect())
        };
        assert!(conclude(removed(|n| n / 10)).is_err(), "what was removed is held");
        assert!(conclude(removed(|n| n % 2)).is_ok(), "is let go of");
    }
}
