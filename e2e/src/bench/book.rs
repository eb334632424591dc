//! What was measured, and the file that keeps it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::process::machine::Machine;
use crate::process::side::Side;

/// The share of the machine that other processes may take before a turn counts as disturbed.
pub(super) const FOREIGN_SHARE_MAX: f64 = 0.10;
/// Medians are taken of undisturbed turns if there are so many.
const UNDISTURBED_MIN: usize = 3;

/// A value of one turn.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Sample {
    pub(super) value: f64,
    /// The share of the machine that was neither ours, the server's nor the generator's.
    pub(super) foreign_share: f64,
}

/// The turns of both sides, in order: what stands at the same place was measured together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Turns {
    pub(super) quorate: Vec<Sample>,
    pub(super) etcd: Vec<Sample>,
}

/// A median and what it lies between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// All values, by the id of their metric.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Book {
    turns: BTreeMap<String, Turns>,
    /// What belongs to the machine, not to a side.
    floors: BTreeMap<String, f64>,
    /// CPU microseconds of the generator per call, by what was called.
    generator: BTreeMap<String, Vec<f64>>,
}

impl Book {
    /// Note a value of a turn.
    pub(super) fn note(&mut self, metric: &str, side: Side, value: f64, foreign_share: f64) {
        let turns = self.turns.entry(metric.to_owned()).or_default();
        let sample = Sample { value, foreign_share };
        match side {
            Side::Quorate => turns.quorate.push(sample),
            Side::Etcd => turns.etcd.push(sample),
        }
    }

    /// Note what the machine can do.
    pub(super) fn note_floor(&mut self, floor: &str, value: f64) {
        self.floors.insert(floor.to_owned(), value);
    }

    /// Note what a call cost the generator.
    pub(super) fn note_generator(&mut self, call: &str, cpu_us: f64) {
        self.generator.entry(call.to_owned()).or_default().push(cpu_us);
    }

    /// The turns of a metric, if it was measured.
    pub(super) fn turns(&self, metric: &str) -> Option<&Turns> {
        self.turns.get(metric)
    }

    /// What the machine can do.
    pub(super) fn floor(&self, floor: &str) -> Option<f64> {
        self.floors.get(floor).copied()
    }

    /// CPU microseconds per call of the generator: what was called, the median.
    pub(super) fn generator(&self) -> Vec<(&str, f64)> {
        let median = |values: &Vec<f64>| spread(values.clone()).map_or(f64::NAN, |s| s.median);
        self.generator.iter().map(|(call, values)| (call.as_str(), median(values))).collect()
    }

    /// The median of a side so far.
    pub(super) fn median(&self, metric: &str, side: Side) -> Option<f64> {
        self.turns.get(metric)?.of(side).map(|spread| spread.median)
    }
}

impl Turns {
    /// Places at which neither side was disturbed, or all if they are too few.
    fn places(&self) -> Vec<usize> {
        let all = 0..self.quorate.len().max(self.etcd.len());
        let is_calm = |turns: &[Sample], at: usize| {
            turns.get(at).is_none_or(|sample| sample.foreign_share <= FOREIGN_SHARE_MAX)
        };
        let calm: Vec<usize> = all
            .clone()
            .filter(|at| is_calm(&self.quorate, *at) && is_calm(&self.etcd, *at))
            .collect();
        if calm.len() >= UNDISTURBED_MIN || calm.len() == all.len() { calm } else { all.collect() }
    }

    /// Whether disturbed turns had to be counted.
    pub(super) fn is_disturbed(&self) -> bool {
        self.places().iter().any(|at| {
            [&self.quorate, &self.etcd].iter().any(|turns| {
                turns.get(*at).is_some_and(|sample| sample.foreign_share > FOREIGN_SHARE_MAX)
            })
        })
    }

    /// The values of a side.
    pub(super) fn of(&self, side: Side) -> Option<Spread> {
        let turns = match side {
            Side::Quorate => &self.quorate,
            Side::Etcd => &self.etcd,
        };
        let places = self.places();
        spread(places.iter().filter_map(|at| turns.get(*at)).map(|sample| sample.value).collect())
    }

    /// Ours by etcd's, turn by turn.
    pub(super) fn ratio(&self) -> Option<Spread> {
        let pair = |at: &usize| Some(self.quorate.get(*at)?.value / self.etcd.get(*at)?.value);
        spread(self.places().iter().filter_map(pair).collect())
    }
}

fn spread(mut values: Vec<f64>) -> Option<Spread> {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let middle = values.get(values.len() / 2)?;
    let median = if values.len().is_multiple_of(2) {
        f64::midpoint(*middle, *values.get(values.len() / 2 - 1)?)
    } else {
        *middle
    };
    Some(Spread { median, low: *values.first()?, high: *values.last()? })
}

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Results {
    pub(super) machine: Machine,
    pub(super) date: String,
    pub(super) command: String,
    /// Side and what it says of itself.
    pub(super) versions: Vec<(String, String)>,
    /// Pressure before the run, in percent of the last ten seconds: what for, how much.
    pub(super) pressure: Vec<(String, f64)>,
    pub(super) seconds: u64,
    pub(super) repetitions: usize,
    pub(super) keys: u64,
    pub(super) puts_per_txn: u64,
    pub(super) book: Book,
}

impl Results {
    /// Read a results file.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("{} cannot be read", file.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is not a results file", file.display()))
    }

    /// Write one.
    pub(super) fn write(&self, file: &Path) -> anyhow::Result<()> {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(file, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| format!("{} cannot be written", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(value: f64, foreign_share: f64) -> Sample {
        Sample { value, foreign_share }
    }

    #[test]
    fn ratios_are_of_neighbouring_turns_and_leave_disturbed_ones_out() {
        let turns = Turns {
            quorate: vec![sample(1.0, 0.0), sample(9.0, 0.5), sample(4.0, 0.0), sample(3.0, 0.0)],
            etcd: vec![sample(2.0, 0.0), sample(1.0, 0.0), sample(4.0, 0.0), sample(12.0, 0.0)],
        };
        let ratio = turns.ratio().expect("three pairs");
        assert!(!turns.is_disturbed());
        assert_eq!((ratio.median, ratio.low, ratio.high), (0.5, 0.25, 1.0));
    }

    #[test]
    fn disturbed_turns_count_when_too_few_are_left_and_it_is_said() {
        let turns = Turns {
            quorate: vec![sample(1.0, 0.5), sample(2.0, 0.0)],
            etcd: vec![sample(2.0, 0.0), sample(2.0, 0.0)],
        };
        assert!(turns.is_disturbed());
        assert_eq!(turns.ratio().expect("two pairs").median, 0.75);
    }
}
