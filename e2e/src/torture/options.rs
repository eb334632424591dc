//! What is asked for on the command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::fault::Fault;
use crate::process::side;

pub(super) const HELP: &str = "\
e2e torture: clusters of real processes under load while things go wrong; what their clients saw
is judged as the simulator's histories are

  --histories N      how many clusters, one after the other (10)
  --minutes N        begin no other after so many minutes
  --seed N           the first one's seed; the next have the next numbers (1)
  --ops N            requests of a history (5000)
  --only FAULT       only this goes wrong; `--only help` lists what there is
  --dir DIR          where the members' files go (target/torture)
  --on-loopback      make no network namespaces: no way is cut
  --keep             leave the members' files of good runs, too
  --quorate FILE     the server, instead of building it";

/// How it is done.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) histories: u64,
    pub(super) limit: Option<Duration>,
    pub(super) seed: u64,
    pub(super) operations: usize,
    pub(super) only: Option<Fault>,
    pub(super) folder: PathBuf,
    pub(super) is_on_loopback: bool,
    pub(super) keeps: bool,
    pub(super) quorate: Option<PathBuf>,
}

/// Read the arguments; nothing if only help is wanted, which is then printed.
pub(super) fn parse(arguments: &[String]) -> anyhow::Result<Option<Options>> {
    let mut options = Options {
        histories: 10,
        limit: None,
        seed: 1,
        operations: 5_000,
        only: None,
        folder: side::root().join("target/torture"),
        is_on_loopback: false,
        keeps: false,
        quorate: None,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value =
            || arguments.next().with_context(|| format!("{argument} needs a value\n\n{HELP}"));
        match argument.as_str() {
            "--help" | "-h" => {
                println!("{HELP}");
                return Ok(None);
            }
            "--histories" => options.histories = number(argument, value()?)?,
            "--minutes" => {
                let minutes: u64 = number(argument, value()?)?;
                options.limit = Some(Duration::from_secs(minutes.saturating_mul(60)));
            }
            "--seed" => options.seed = number(argument, value()?)?,
            "--ops" => options.operations = number(argument, value()?)?,
            "--only" => options.only = Some(fault(value()?)?),
            "--dir" => options.folder = value()?.into(),
            "--on-loopback" => options.is_on_loopback = true,
            "--keep" => options.keeps = true,
            "--quorate" => options.quorate = Some(value()?.into()),
            _ => bail!("{argument} is not known\n\n{HELP}"),
        }
    }
    Ok(Some(options))
}

fn fault(name: &str) -> anyhow::Result<Fault> {
    Fault::named(name).with_context(|| {
        let all: Vec<&str> = Fault::ALL.iter().map(|(_, name, _)| *name).collect();
        format!("{name} is no fault; there are {}", all.join(", "))
    })
}

fn number<N: std::str::FromStr>(name: &str, text: &str) -> anyhow::Result<N> {
    text.parse().map_err(|_| anyhow::anyhow!("{name} needs a number, not {text}"))
}
