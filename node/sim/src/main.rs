//! Runs seeds.
//!
//! ```text
//!   sim --seed N            one run, with its fingerprint; again gives the same
//!   sim --seed N --trace    the same, told step by step
//!   sim --seeds A..B        many runs, with what they met; red if a mark is never reached
//!   sim --seeds A..B --until-failure    the same, up to the first that fails
//! ```

use std::collections::BTreeMap;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sim::world::{self, Detail, Mark, Marks, Report};

const USAGE: &str = "\
usage: sim --seed N [--trace]
       sim --seeds A..B [--threads N] [--allow-missing-marks] [--until-failure]

  --seed N               run one seed and print its fingerprint
  --trace                print every step of it
  --seeds A..B           run the seeds from A up to but not including B
  --threads N            how many at a time (default: 2)
  --allow-missing-marks  do not fail when a situation was never met (few seeds cannot meet all)
  --until-failure        begin no other seed once one has failed";

/// What was asked for.
enum Command {
    One { seed: u64, detail: Detail },
    Many { seeds: Range<u64>, threads: usize, marks: MissingMarks, after: AfterFailure },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum MissingMarks {
    Fail,
    Tell,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AfterFailure {
    GoOn,
    End,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(Command::One { seed, detail }) => one(seed, detail),
        Ok(Command::Many { seeds, threads, marks, after }) => many(&seeds, threads, marks, after),
        Err(problem) => {
            eprintln!("sim: {problem}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let (mut seed, mut seeds, mut threads) = (None, None, 2);
    let (mut detail, mut marks) = (Detail::Quiet, MissingMarks::Fail);
    let mut after = AfterFailure::GoOn;
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--seed" => seed = Some(number(&value()?)?),
            "--seeds" => seeds = Some(range(&value()?)?),
            "--threads" => threads = number(&value()?)?.clamp(1, 64) as usize,
            "--trace" => detail = Detail::Verbose,
            "--allow-missing-marks" => marks = MissingMarks::Tell,
            "--until-failure" => after = AfterFailure::End,
            other => return Err(format!("unknown argument {other}")),
        }
    }
    match (seed, seeds) {
        (Some(seed), None) => Ok(Command::One { seed, detail }),
        (None, Some(seeds)) => Ok(Command::Many { seeds, threads, marks, after }),
        (None, None) => Err("nothing to run".to_owned()),
        (Some(_), Some(_)) => Err("either --seed or --seeds".to_owned()),
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number"))
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or(format!("{text:?} is not a range like 0..500"))?;
    let range = number(from)?..number(to)?;
    if range.is_empty() { Err(format!("{text:?} is empty")) } else { Ok(range) }
}

fn one(seed: u64, detail: Detail) -> ExitCode {
    let report = world::run(seed, detail);
    println!(
        "seed {seed}: trace {:016x}, {} steps, {} operations, {} simulated",
        report.trace_hash, report.steps, report.operations, report.time
    );
    for mark in Mark::ALL {
        if report.marks.count(*mark) > 0 {
            println!("  {}", mark.text());
        }
    }
    match &report.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            println!("VIOLATION {violation}");
            ExitCode::FAILURE
        }
    }
}

/// What all runs together have met.
#[derive(Default)]
struct Total {
    runs: u64,
    steps: u64,
    operations: usize,
    nanos: u64,
    marks: Marks,
    faults: BTreeMap<String, u64>,
    failed: Vec<(u64, String)>,
}

impl Total {
    fn add(&mut self, seed: u64, report: Report) {
        self.runs += 1;
        self.steps += report.steps;
        self.operations += report.operations;
        self.nanos = self.nanos.saturating_add(report.time.0);
        self.marks.merge(&report.marks);
        for (fault, count) in report.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        if let Some(violation) = report.violation {
            println!("\nseed {seed}: VIOLATION {violation}");
            println!("  repeat it with: cargo run --release -p sim -- --seed {seed}");
            self.failed.push((seed, violation.to_string()));
        }
    }
}

fn many(seeds: &Range<u64>, threads: usize, marks: MissingMarks, after: AfterFailure) -> ExitCode {
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new(Total::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let report = std::panic::catch_unwind(|| world::run(seed, Detail::Quiet));
                    let mut total = total.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    match report {
                        Ok(report) => total.add(seed, report),
                        Err(_) => {
                            println!("\nseed {seed}: PANIC");
                            println!(
                                "  repeat it with: cargo run --release -p sim -- --seed {seed}"
                            );
                            total.runs += 1;
                            total.failed.push((seed, "panic".to_owned()));
                        }
                    }
                    if total.runs % 10 == 0 {
                        progress(&total, seeds);
                    }
                    if after == AfterFailure::End && !total.failed.is_empty() {
                        return;
                    }
                }
            });
        }
    });
    let total = total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    conclude(&total, marks)
}

fn progress(total: &Total, seeds: &Range<u64>) {
    println!(
        "{}/{} seeds, {} failed, {} operations, {} s simulated",
        total.runs,
        seeds.end - seeds.start,
        total.failed.len(),
        total.operations,
        total.nanos / 1_000_000_000
    );
}

fn conclude(total: &Total, marks: MissingMarks) -> ExitCode {
    println!("\nfaults injected:");
    for (fault, count) in &total.faults {
        println!("  {count:>10}  {fault}");
    }
    println!("situations met:");
    for mark in Mark::ALL {
        println!("  {:>10}  {}", total.marks.count(*mark), mark.text());
    }
    println!(
        "\n{} seeds, {} steps, {} operations, {} s simulated, {} failed",
        total.runs,
        total.steps,
        total.operations,
        total.nanos / 1_000_000_000,
        total.failed.len()
    );
    let missing: Vec<Mark> = total.marks.missing().collect();
    for mark in &missing {
        println!("never met: {}", mark.text());
    }
    if !total.failed.is_empty() || (marks == MissingMarks::Fail && !missing.is_empty()) {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
