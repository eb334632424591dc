//! Clusters of real processes under load while things go wrong, and what their clients saw, judged
//! as the simulator's histories are.
//!
//! ```text
//!   seed ─► cluster of 1, 3 or 5 ◄── nemesis: kills, pauses, cuts, disks, clocks, members, damage
//!                 ▲
//!                 └── stage: clients of `judge` ─► history ─► ending: healed, agreed ─► judge::check
//! ```
//! The seed decides what is drawn, not when threads and packets run: the same seed asks and harms
//! alike, but is not the same run. What fails is kept: the history, the members' logs and files.

mod admin;
mod ask;
mod cluster;
mod damage;
mod ending;
mod fault;
mod history;
mod machine;
mod nemesis;
mod network;
mod options;
mod stage;
pub(crate) mod sweep;
mod witness;

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use anyhow::{Context as _, bail};

use crate::process::{guard, side};
use fault::Fault;
use history::{Plan, Report};
use network::{Network, Shaping};
use options::Options;

/// What all runs together have met.
#[derive(Debug, Default)]
struct Total {
    runs: u64,
    operations: usize,
    answered: usize,
    unknown: usize,
    messages: usize,
    faults: BTreeMap<Fault, u64>,
    failed: Vec<u64>,
}

/// Run as many histories as asked for.
pub(crate) fn run(arguments: Vec<String>) -> anyhow::Result<()> {
    let Some(options) = options::parse(&arguments)? else { return Ok(()) };
    let program = match &options.quorate {
        Some(program) => program.canonicalize().context("there is no such server")?,
        None => side::build_quorate()?,
    };
    let mut arguments = arguments;
    if options.quorate.is_none() {
        arguments.extend(["--quorate".to_owned(), program.display().to_string()]);
    }
    let network = match options.is_on_loopback {
        true => Network::Loopback("that is what was asked for".to_owned()),
        false => Network::prepare(cluster::NUMBERS_MAX, &arguments)?,
    };
    say_what_is_missing(&network);
    fs::create_dir_all(&options.folder)?;
    let folder = options.folder.canonicalize()?.join(format!("run-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    println!("the members' files are in {}", folder.display());
    guard::watch_signals(folder.clone())?;
    let (began, mut total) = (Instant::now(), Total::default());
    for seed in options.seed..options.seed.saturating_add(options.histories) {
        if options.limit.is_some_and(|limit| began.elapsed() > limit) {
            println!("the time is over");
            break;
        }
        let here = folder.join(format!("seed-{seed}"));
        let plan = Plan {
            seed,
            operations: options.operations,
            only: options.only,
            network: &network,
            program: &program,
            folder: &here,
        };
        let started = Instant::now();
        let report = history::run(&plan)?;
        guard::wait_if_stopped();
        total.add(seed, &report, started);
        if let Some(failure) = &report.failure {
            let file = here.join("history.txt");
            fs::write(&file, &report.text)?;
            println!("seed {seed}: {failure}\n  all of it: {}", file.display());
            println!("  repeat it with: {}", repeat(&options, seed));
        } else if !options.keeps {
            fs::remove_dir_all(&here)?;
        }
    }
    conclude(&total, began)?;
    if total.failed.is_empty() && !options.keeps {
        fs::remove_dir_all(&folder)?;
    }
    Ok(())
}

fn say_what_is_missing(network: &Network) {
    match network {
        Network::Loopback(why) => println!("no partitions and no slow links: {why}"),
        Network::Namespaces { shaping: Shaping::Bucket } => {
            println!("the kernel has no netem: slow links are narrow ones, which delay and drop");
        }
        Network::Namespaces { shaping: Shaping::Netem } => {}
    }
    if machine::fake_clock().is_none() {
        println!("no jumps of clocks: libfaketime is not there (Debian: libfaketime)");
    }
    if !machine::has_strace() {
        println!("no slow and no failing syncs: strace is not there");
    }
    if !rustix::process::geteuid().is_root() {
        println!("no full disks: mounting small ones needs root");
    }
}

fn repeat(options: &Options, seed: u64) -> String {
    let only = options.only.map_or_else(String::new, |fault| format!(" --only {fault}"));
    let operations = options.operations;
    format!(
        "cargo run --release -p e2e -- torture --histories 1 --seed {seed} --ops {operations}{only}"
    )
}

impl Total {
    fn add(&mut self, seed: u64, report: &Report, started: Instant) {
        self.runs += 1;
        self.operations += report.operations;
        self.answered += report.answered;
        self.unknown += report.unknown;
        self.messages += report.messages;
        for (fault, count) in &report.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
        if report.failure.is_some() {
            self.failed.push(seed);
        }
        println!(
            "seed {seed}: {} members, {} operations ({} answered, {} unknown), {} revisions, {} \
             messages of watches, {:.1} s; {}",
            report.members,
            report.operations,
            report.answered,
            report.unknown,
            report.revisions,
            report.messages,
            started.elapsed().as_secs_f64(),
            report.faults_text()
        );
    }
}

fn conclude(total: &Total, began: Instant) -> anyhow::Result<()> {
    println!("\nfaults injected:");
    for (fault, name, _) in Fault::ALL {
        println!("  {:>8}  {name}", total.faults.get(&fault).copied().unwrap_or(0));
    }
    println!(
        "\n{} histories, {} operations ({} answered, {} unknown), {} messages of watches, {:.0} s, \
         {} failed",
        total.runs,
        total.operations,
        total.answered,
        total.unknown,
        total.messages,
        began.elapsed().as_secs_f64(),
        total.failed.len()
    );
    if !total.failed.is_empty() {
        bail!("failed seeds: {:?}", total.failed);
    }
    Ok(())
}
