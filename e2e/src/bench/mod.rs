//! quorate and genuine etcd side by side on this machine: a table of ratios.
//!
//! ```text
//!   options ─► programs ─► groups of measures ─► book ─► table, results file, page
//!                            requests, large, watch, space, disturbance, hostile, floors
//! ```
//! Both sides run at the same time with the same flags and get the same bytes; only one of them
//! has work at a time, in turns, so that what disturbs the machine disturbs both. What is compared
//! is the ratio of two neighbouring turns.
//!
//! It never measures a debug build, never a file system in memory, and says which repetitions were
//! disturbed by other processes.

mod book;
mod catalog;
mod disturbance;
mod floors;
pub(crate) mod harm;
mod hostile;
mod large;
mod options;
mod page;
mod requests;
mod space;
mod table;
mod turn;
mod watching;

use std::fs;
use std::time::Instant;

use anyhow::{Context as _, bail};

use crate::process::machine::{self, Machine};
use crate::process::side::{self, Programs, Side};
use crate::process::{cpu, guard};
use book::{Book, Results};
use options::{Group, Options, Task};

/// Everything that a group of measures needs.
#[derive(Debug)]
struct Bench {
    options: Options,
    programs: Programs,
    book: Book,
    began: Instant,
}

/// Measure, or make the page of what was measured.
pub(crate) fn run(arguments: Vec<String>) -> anyhow::Result<()> {
    let command = options::command(&arguments);
    match options::parse(arguments)? {
        Task::Help => {
            println!("{}", options::HELP);
            Ok(())
        }
        Task::Page { results } => {
            let results = Results::read(&results)?;
            let file = side::root().join("docs/benchmarks.md");
            fs::create_dir_all(side::root().join("docs"))?;
            fs::write(&file, page::page(&results))?;
            println!("{}", file.display());
            Ok(())
        }
        Task::Measure(options) => measure(options, command),
    }
}

fn measure(options: Options, command: String) -> anyhow::Result<()> {
    fs::create_dir_all(&options.folder)
        .with_context(|| format!("{} cannot be made", options.folder.display()))?;
    if let Some((kind, _)) = machine::mount_of(&options.folder)
        && matches!(kind.as_str(), "tmpfs" | "ramfs")
    {
        bail!("{} is in memory: give --dir a folder on a disk", options.folder.display());
    }
    let programs = Programs {
        quorate: match &options.quorate {
            Some(program) => program.clone(),
            None => side::build_quorate()?,
        },
        etcd: match &options.etcd {
            _ if options.is_alone => None,
            Some(program) => Some(program.clone()),
            None => side::find_etcd(),
        },
    };
    if programs.etcd.is_none() && !options.is_alone {
        eprintln!("there is no etcd here and none can be had: quorate is measured alone");
    }
    let mut versions = Vec::new();
    for side in programs.sides() {
        versions.push((side.to_string(), side::version(programs.of(side)?)?));
    }
    let work = options.folder.join(format!("run-{}", std::process::id()));
    fs::create_dir_all(&work)?;
    guard::watch_signals(work.clone())?;
    let machine = Machine::of(&work);
    let date = machine::today();
    let pressure = ["cpu", "io"]
        .iter()
        .filter_map(|resource| Some(((*resource).to_owned(), cpu::pressure(resource)?)))
        .collect();
    let options = Options { folder: work.clone(), ..options };
    let output = options.output.clone();
    let mut bench = Bench { options, programs, book: Book::default(), began: Instant::now() };
    let measured = bench.measure_all();
    guard::wait_if_stopped();
    // What the servers left is of no use to anybody.
    let _ = fs::remove_dir_all(&work);
    let results = Results {
        machine,
        date,
        command,
        versions,
        pressure,
        seconds: bench.began.elapsed().as_secs(),
        repetitions: bench.options.repetitions,
        keys: bench.options.keys,
        puts_per_txn: bench.options.puts_per_txn,
        book: bench.book,
    };
    println!("{}", table::text(&results));
    results.write(&output)?;
    let markdown = output.with_extension("md");
    fs::write(&markdown, page::page(&results))?;
    println!("results: {} and {}", output.display(), markdown.display());
    measured
}

impl Bench {
    /// A group that fails is said and does not keep the others from being measured.
    fn measure_all(&mut self) -> anyhow::Result<()> {
        type Measure = fn(&mut Bench) -> anyhow::Result<()>;
        let all: [(&[Group], Measure); 8] = [
            (&[Group::Floors], floors::measure),
            (&[Group::Put, Group::Get], requests::measure),
            (large::GROUPS, large::measure),
            (&[Group::Watch], watching::measure),
            (&[Group::WatchMemory], space::measure_watches),
            (&[Group::Disk], space::measure_disk),
            (&[Group::Disturbance], disturbance::measure),
            (&[Group::Hostile], hostile::measure),
        ];
        let mut failed = Vec::new();
        for (groups, measure) in all {
            if !groups.iter().any(|group| self.options.has(*group)) {
                continue;
            }
            if let Err(error) = measure(self) {
                self.say(&format!("{groups:?} failed: {error:#}"));
                failed.push(format!("{groups:?}: {error:#}"));
            }
        }
        if failed.is_empty() {
            Ok(())
        } else {
            bail!("not all was measured: {}", failed.join("; "))
        }
    }

    fn say(&self, text: &str) {
        let seconds = self.began.elapsed().as_secs();
        eprintln!("[{:>2}:{:02}] {text}", seconds / 60, seconds % 60);
    }

    fn sides(&self) -> Vec<Side> {
        self.programs.sides()
    }
}
