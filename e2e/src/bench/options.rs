//! What is asked for on the command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::process::side;

pub(super) const HELP: &str = "\
e2e bench: quorate and genuine etcd side by side on this machine

  --quick            fewer repetitions, shorter turns, fewer keys: about four minutes
  --repetitions N    turns of each side (5)
  --seconds N        length of a turn (3)
  --keys N           keys of the large store (1000000)
  --puts-per-txn N   how the large store is loaded: 1 as clients do, more to be faster (1)
  --only A,B         only these groups: floors, put, get, pages, ranges, memory, snapshot,
                     restart, watch, watch-memory, disk, disturbance, hostile
  --members A,B      cluster sizes for put and get (1,3)
  --dir DIR          where the servers' data goes; not in memory (target/bench)
  --output FILE      the results file; a page of the same name with .md beside it
                     (target/bench/results.json)
  --quorate FILE     the server to measure, instead of building it
  --etcd FILE        the etcd to measure, instead of building or finding it
  --alone            measure quorate only, for example to profile it
  --page FILE        measure nothing; make docs/benchmarks.md from a results file";

/// What is to be done.
#[derive(Debug)]
pub(super) enum Task {
    Help,
    Page { results: PathBuf },
    Measure(Options),
}

/// Measures that share their servers or their preparation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Floors,
    Put,
    Get,
    Pages,
    Ranges,
    Memory,
    Snapshot,
    Restart,
    Watch,
    WatchMemory,
    Disk,
    Disturbance,
    Hostile,
}

const GROUPS: [(&str, Group); 13] = [
    ("floors", Group::Floors),
    ("put", Group::Put),
    ("get", Group::Get),
    ("pages", Group::Pages),
    ("ranges", Group::Ranges),
    ("memory", Group::Memory),
    ("snapshot", Group::Snapshot),
    ("restart", Group::Restart),
    ("watch", Group::Watch),
    ("watch-memory", Group::WatchMemory),
    ("disk", Group::Disk),
    ("disturbance", Group::Disturbance),
    ("hostile", Group::Hostile),
];

/// How it is measured.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) repetitions: usize,
    /// The length of a turn.
    pub(super) turn: Duration,
    /// Keys of the large store.
    pub(super) keys: u64,
    /// Puts of a transaction that loads them; 1 for plain puts.
    pub(super) puts_per_txn: u64,
    pub(super) only: Vec<Group>,
    /// Cluster sizes for puts and gets.
    pub(super) members: Vec<usize>,
    pub(super) folder: PathBuf,
    pub(super) output: PathBuf,
    pub(super) quorate: Option<PathBuf>,
    pub(super) etcd: Option<PathBuf>,
    pub(super) is_alone: bool,
}

impl Options {
    /// Whether a group is to be measured.
    pub(super) fn has(&self, group: Group) -> bool {
        self.only.contains(&group)
    }
}

/// Puts of a transaction: below the limit of both sides, and below the window of a new connection.
const PUTS_PER_TXN_MAX: u64 = 100;

/// Read the arguments.
pub(super) fn parse(arguments: Vec<String>) -> anyhow::Result<Task> {
    let is_quick = arguments.iter().any(|argument| argument == "--quick");
    let target = side::root().join("target/bench");
    let mut options = Options {
        repetitions: if is_quick { 2 } else { 5 },
        turn: Duration::from_secs(if is_quick { 2 } else { 3 }),
        keys: if is_quick { 200_000 } else { 1_000_000 },
        puts_per_txn: if is_quick { PUTS_PER_TXN_MAX } else { 1 },
        only: GROUPS.iter().map(|(_, group)| *group).collect(),
        members: vec![1, 3],
        output: target.join("results.json"),
        folder: target,
        quorate: None,
        etcd: None,
        is_alone: false,
    };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let (name, mut inline) = match argument.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (argument, None),
        };
        let mut value = || {
            inline
                .take()
                .or_else(|| arguments.next())
                .with_context(|| format!("{name} needs a value"))
        };
        match name.as_str() {
            "--help" | "-h" => return Ok(Task::Help),
            "--quick" => {}
            "--alone" => options.is_alone = true,
            "--repetitions" => options.repetitions = number(&name, &value()?)?,
            "--seconds" => options.turn = Duration::from_secs(number(&name, &value()?)?),
            "--keys" => options.keys = number(&name, &value()?)?,
            "--puts-per-txn" => options.puts_per_txn = number(&name, &value()?)?,
            "--only" => options.only = groups(&value()?)?,
            "--members" => {
                let sizes = value()?;
                options.members =
                    sizes.split(',').map(|size| number(&name, size)).collect::<Result<_, _>>()?;
            }
            "--dir" => options.folder = value()?.into(),
            "--output" => options.output = value()?.into(),
            "--quorate" => options.quorate = Some(value()?.into()),
            "--etcd" => options.etcd = Some(value()?.into()),
            "--page" => return Ok(Task::Page { results: value()?.into() }),
            _ => bail!("{name} is not known\n\n{HELP}"),
        }
    }
    if options.repetitions == 0 || options.turn.is_zero() || options.keys < 10_000 {
        bail!("at least one repetition, one second and 10000 keys");
    }
    if !(1..=PUTS_PER_TXN_MAX).contains(&options.puts_per_txn) {
        bail!("--puts-per-txn is between 1 and {PUTS_PER_TXN_MAX}");
    }
    Ok(Task::Measure(options))
}

/// The command for the page: without folders and files, which are this machine's own.
pub(super) fn command(arguments: &[String]) -> String {
    const OF_THIS_MACHINE: [&str; 4] = ["--dir", "--output", "--quorate", "--etcd"];
    let mut shown = "cargo run --release -p e2e -- bench".to_owned();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let name = argument.split('=').next().unwrap_or_default();
        if !OF_THIS_MACHINE.contains(&name) {
            shown.push(' ');
            shown.push_str(argument);
        } else if name == argument {
            // Its value follows.
            arguments.next();
        }
    }
    shown
}

fn groups(text: &str) -> anyhow::Result<Vec<Group>> {
    text.split(',')
        .map(|name| {
            let known = GROUPS.iter().find(|(known, _)| *known == name);
            known.map(|(_, group)| *group).with_context(|| format!("{name} is no group\n\n{HELP}"))
        })
        .collect()
}

fn number<N: std::str::FromStr>(name: &str, text: &str) -> anyhow::Result<N> {
    text.parse().map_err(|_| anyhow::anyhow!("{name} needs a number, not {text}"))
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn the_command_names_no_place_of_this_machine() {
        let arguments = ["--dir", "/x", "--quick", "--etcd=/y", "--only", "put"].map(str::to_owned);
        assert_eq!(command(&arguments), "cargo run --release -p e2e -- bench --quick --only put");
    }
}
