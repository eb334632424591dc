//! Damage, place by place: every file of a member that is down, at every so many bytes, a byte
//! flipped or a sector zeroed; then it is started, and what it answers is compared with what the
//! whole cluster knows.
//!
//! ```text
//!   of three: kill one ─► harm ─► the others write on ─► start ─► right answers, from peers healed
//!   alone:    a copy ─► harm ─► start ─► right answers, DataLoss for some, or a refusal by name
//! ```
//! A member of three is not given back what it had before its damage: a disk that goes back in time
//! is another fault than one that is damaged. So its files change while the sweep goes through them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use quorate_api::Code;
use quorate_api::etcdserverpb as pb;
use quorate_client::{Client, Error};

use super::cluster::{Cluster, Wants};
use super::damage::{self, Harm};
use super::network::Network;
use crate::process::{guard, side};

const HELP: &str = "\
e2e damage: every file of a member is damaged, place by place

  --members N    1, or 3 (3)
  --harmed N     so many of them at the same time, 1 or 2; the rest is whole (1)
  --stride N     bytes between two places (2048)
  --minutes N    no other place after so many minutes
  --dir DIR      where the members' files go (target/damage)
  --quorate FILE the server, instead of building it";

/// A harmed member is whole, or has refused, within this.
const WAIT_MAX: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);
/// Starts that may be refused before a member of several is whole.
const STARTS_MAX: usize = 6;
/// What is there before anything is harmed.
const WRITES: usize = 300;
const KEYS: usize = 90;
const VALUE_BYTES: usize = 600;
const SETTINGS: [&str; 6] = [
    "--heartbeat-interval=50",
    "--election-timeout=500",
    "--snapshot-count=40",
    "--snapshot-catchup-entries=20",
    "--segment-bytes=65536",
    "--max-learners=1",
];

struct Options {
    members: u8,
    harmed: usize,
    stride: u64,
    limit: Duration,
    folder: PathBuf,
    program: PathBuf,
}

/// What came of the places.
#[derive(Debug, Default)]
struct Tally {
    /// Right answers, and nothing was said of damage: it was where nothing is any more.
    unnoticed: u64,
    /// Right answers, and damage was named.
    healed: u64,
    /// Starts refused with damage named, before it was whole.
    refusals: u64,
    /// Refused with damage named, for good.
    refused: u64,
    /// Right answers but for what was named as lost.
    partly: u64,
}

/// Go through all places.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let Some(options) = parse(arguments)? else { return Ok(()) };
    fs::create_dir_all(&options.folder)?;
    let folder = options.folder.canonicalize()?.join(format!("run-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    guard::watch_signals(folder.clone())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let swept = runtime.block_on(async {
        let mut sweep = Sweep::start(&options, &folder).await?;
        match options.members {
            1 => sweep.alone(&options).await,
            _ => sweep.with_peers(&options).await,
        }
    });
    match swept {
        Ok(()) => Ok(fs::remove_dir_all(&folder)?),
        Err(error) => Err(error.context(format!("the files are in {}", folder.display()))),
    }
}

fn parse(arguments: &[String]) -> anyhow::Result<Option<Options>> {
    let (mut members, mut harmed, mut stride, mut minutes) = (3, 1, 2_048, u64::from(u16::MAX));
    let (mut folder, mut program) = (side::root().join("target/damage"), None);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value =
            || arguments.next().with_context(|| format!("{argument} needs a value\n\n{HELP}"));
        match argument.as_str() {
            "--help" | "-h" => {
                println!("{HELP}");
                return Ok(None);
            }
            "--members" => members = value()?.parse()?,
            "--harmed" => harmed = value()?.parse()?,
            "--stride" => stride = value()?.parse()?,
            "--minutes" => minutes = value()?.parse()?,
            "--dir" => folder = value()?.into(),
            "--quorate" => program = Some(PathBuf::from(value()?)),
            _ => bail!("{argument} is not known\n\n{HELP}"),
        }
    }
    let fits = matches!((members, harmed), (1, 1) | (3, 1 | 2)) && stride > 0;
    ensure!(fits, "one member, or one or two of three, and a stride above 0\n\n{HELP}");
    let program = match program {
        Some(program) => program.canonicalize().context("there is no such server")?,
        None => side::build_quorate()?,
    };
    let limit = Duration::from_secs(minutes.saturating_mul(60));
    Ok(Some(Options { members, harmed, stride, limit, folder, program }))
}

/// Keys with their values.
type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

struct Sweep {
    cluster: Cluster,
    /// Every value that a key ever had.
    written: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
    contents: Contents,
    writes: usize,
    tally: Tally,
}

impl Sweep {
    async fn start(options: &Options, folder: &Path) -> anyhow::Result<Self> {
        let network = Network::Loopback("nothing is cut".to_owned());
        let wants = Wants { clocks: false, small_disks: false };
        let settings = SETTINGS.map(str::to_owned).to_vec();
        let program = &options.program;
        let mut cluster =
            Cluster::with(&network, program, folder, options.members, settings, wants)?;
        for number in 1..=options.members {
            cluster.machine(number)?.start()?;
        }
        let (written, contents) = (BTreeMap::new(), Contents::new());
        let mut sweep = Self { cluster, written, contents, writes: 0, tally: Tally::default() };
        for _ in 0..WRITES {
            sweep.write().await?;
        }
        Ok(sweep)
    }

    fn numbers(&self) -> Vec<u8> {
        self.cluster.machines.keys().copied().collect()
    }

    /// One more write, or sometimes a deletion or a compaction.
    async fn write(&mut self) -> anyhow::Result<()> {
        let number = self.writes;
        self.writes += 1;
        let client = self.cluster.admin(&self.numbers())?;
        let key = format!("key/{:03}", number * 7 % KEYS).into_bytes();
        let value = format!("{number:06}").repeat(VALUE_BYTES / 6).into_bytes();
        let until = Instant::now() + WAIT_MAX;
        loop {
            let answer = match number % 12 {
                5 => client.delete_range(delete(&key)).await.map(|answer| answer.header),
                _ => client.put(put(&key, &value)).await.map(|answer| answer.header),
            };
            match answer {
                Ok(header) => {
                    let revision = header.map_or(0, |header| header.revision);
                    if number % 100 == 99 {
                        let compact = pb::CompactionRequest { revision, physical: true };
                        client.compact(compact).await?;
                    }
                    break;
                }
                Err(error) if Instant::now() > until => bail!("nothing is written: {error}"),
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
        if number % 12 == 5 {
            self.contents.remove(&key);
        } else {
            self.written.entry(key.clone()).or_default().push(value.clone());
            self.contents.insert(key, value);
        }
        Ok(())
    }

    /// The places of a member's files: the n-th of all, over all files in their order.
    fn place(&self, number: u8, nth: u64) -> anyhow::Result<(PathBuf, u64)> {
        let data = self.cluster.machines.get(&number).context("there is one")?.data();
        let files = damage::files(&data)?;
        let all: u64 = files.iter().map(|(_, used)| used).sum();
        let mut at = nth % all.max(1);
        for (path, used) in files {
            if at < used {
                return Ok((path, at));
            }
            at -= used;
        }
        bail!("m{number} has no files")
    }

    fn bytes(&self, number: u8) -> anyhow::Result<u64> {
        let data = self.cluster.machines.get(&number).context("there is one")?.data();
        Ok(damage::files(&data)?.iter().map(|(_, used)| used).sum())
    }

    async fn with_peers(&mut self, options: &Options) -> anyhow::Result<()> {
        let (began, all) = (Instant::now(), self.bytes(1)?);
        let places = all / options.stride * 2;
        println!("{all} bytes, {places} places");
        for case in 0..places {
            if began.elapsed() > options.limit {
                println!("the time is over after {case} places");
                break;
            }
            let harm = if case % 2 == 0 { Harm::Flip } else { Harm::Zero };
            let first = (case % 3) as u8;
            let harmed: Vec<u8> =
                (0..options.harmed as u8).map(|next| 1 + (first + next) % 3).collect();
            for number in &harmed {
                self.cluster.machine(*number)?.kill()?;
            }
            for (turn, number) in harmed.iter().enumerate() {
                // The second is harmed elsewhere.
                let nth = case / 2 * options.stride + turn as u64 * all / 2 + case % 64;
                let (path, at) = self.place(*number, nth)?;
                damage::harm(&path, at, harm)?;
                println!("{case}: {harm:?} at {at} of {} of m{number}", shown(&path));
            }
            if options.harmed == 1 {
                self.write().await?;
            }
            for number in &harmed {
                self.cluster.machine(*number)?.start()?;
            }
            for number in harmed {
                self.until_whole(number).await?;
            }
            if options.harmed == 2 {
                self.write().await?;
            }
            if case % 50 == 49 {
                println!("{} of {places} places: {:?}", case + 1, self.tally);
            }
        }
        self.compare().await?;
        println!("{:?}, {:.0} s", self.tally, began.elapsed().as_secs_f64());
        Ok(())
    }

    /// Wait until a harmed member has everything again; what it says meanwhile is right.
    async fn until_whole(&mut self, number: u8) -> anyhow::Result<()> {
        let until = Instant::now() + WAIT_MAX;
        let mut said = String::new();
        for _ in 0..STARTS_MAX {
            let client = self.cluster.admin(&[number])?;
            loop {
                let machine = self.cluster.machine(number)?;
                let log = machine.log();
                if let Some(status) = machine.ended()? {
                    said.push_str(&log);
                    let named = status.code() == Some(1) && log.contains("damage");
                    ensure!(named, "m{number} ended ({status}):\n{log}");
                    self.tally.refusals += 1;
                    machine.start()?;
                    break;
                }
                if self.is_whole(&client).await? {
                    said.push_str(&log);
                    ensure!(!said.contains("panicked"), "m{number}:\n{said}");
                    match said.contains("damage") {
                        true => self.tally.healed += 1,
                        false => self.tally.unnoticed += 1,
                    }
                    return Ok(());
                }
                ensure!(Instant::now() < until, "m{number} is not whole in time:\n{log}");
                tokio::time::sleep(LOOK).await;
            }
        }
        bail!("{STARTS_MAX} starts of m{number} were refused:\n{said}")
    }

    async fn is_whole(&self, client: &Client) -> anyhow::Result<bool> {
        if let Ok(stale) = client.range(pb::RangeRequest { serializable: true, ..all() }).await {
            for kv in &stale.kvs {
                let known = self.written.get(kv.key.as_ref());
                let is_known = known.is_some_and(|values| values.iter().any(|it| *it == kv.value));
                ensure!(is_known, "{:?} never had {:?}", kv.key, kv.value);
            }
        }
        let Ok(answer) = client.range(all()).await else { return Ok(false) };
        ensure!(contents(&answer) == self.contents, "a wrong answer: {answer:?}");
        let hashes = client.hash_kv(pb::HashKvRequest::default()).await.is_ok();
        Ok(hashes && reads_all(client).await)
    }

    /// All members have the same.
    async fn compare(&self) -> anyhow::Result<()> {
        let whole = self.cluster.admin(&self.numbers())?.range(all()).await?;
        let revision = whole.header.map_or(0, |header| header.revision);
        let mut hashes = Vec::new();
        for number in self.numbers() {
            let client = self.cluster.admin(&[number])?;
            ensure!(contents(&client.range(all()).await?) == self.contents, "m{number} differs");
            // As the current one: of a revision that was compacted to, some may remember a hash.
            let answer = client.hash_kv(pb::HashKvRequest::default()).await?;
            ensure!(answer.hash_revision == revision, "m{number} is at another revision");
            hashes.push(answer.hash);
        }
        ensure!(hashes.iter().all(|hash| *hash == hashes[0]), "hashes differ: {hashes:?}");
        Ok(())
    }

    async fn alone(&mut self, options: &Options) -> anyhow::Result<()> {
        let (began, all) = (Instant::now(), self.bytes(1)?);
        let places = all / options.stride * 2;
        println!("{all} bytes, {places} places");
        let data = self.cluster.machine(1)?.data();
        let copy = data.with_file_name("copy");
        self.cluster.machine(1)?.kill()?;
        copy_folder(&data, &copy)?;
        for case in 0..places {
            if began.elapsed() > options.limit {
                println!("the time is over after {case} places");
                break;
            }
            let harm = if case % 2 == 0 { Harm::Flip } else { Harm::Zero };
            fs::remove_dir_all(&data)?;
            copy_folder(&copy, &data)?;
            let (path, at) = self.place(1, case / 2 * options.stride + case % 64)?;
            if !damage::harm(&path, at, harm)? {
                self.tally.unnoticed += 1;
                continue;
            }
            self.cluster.machine(1)?.start()?;
            self.judge_alone()
                .await
                .with_context(|| format!("{case}: {harm:?} at {at} of {}", shown(&path)))?;
            self.cluster.machine(1)?.kill()?;
            if case % 50 == 49 {
                println!("{} of {places} places: {:?}", case + 1, self.tally);
            }
        }
        println!("{:?}, {:.0} s", self.tally, began.elapsed().as_secs_f64());
        Ok(())
    }

    /// A lone member says what is right, or what is lost.
    async fn judge_alone(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + WAIT_MAX;
        let client = self.cluster.admin(&[1])?;
        loop {
            let machine = self.cluster.machine(1)?;
            let log = machine.log();
            if let Some(status) = machine.ended()? {
                let named = status.code() == Some(1) && log.contains("damage");
                ensure!(named && !log.contains("panicked"), "it ended ({status}):\n{log}");
                self.tally.refused += 1;
                return Ok(());
            }
            if log.contains("ready to serve client requests") {
                break;
            }
            ensure!(Instant::now() < until, "it neither serves nor ends:\n{log}");
            tokio::time::sleep(LOOK).await;
        }
        let mut lost = 0;
        for (key, value) in &self.contents {
            let read = pb::RangeRequest { key: key.clone().into(), ..pb::RangeRequest::default() };
            match client.range(read).await {
                Ok(answer) => {
                    let found = answer.kvs.first().map(|kv| kv.value.to_vec());
                    ensure!(found.as_ref() == Some(value), "{key:?} is {found:?}: a wrong answer");
                }
                Err(Error::Status { code: Code::DataLoss, .. }) => lost += 1,
                Err(error) => bail!("{key:?}: {error}"),
            }
        }
        let counted = client.range(pb::RangeRequest { count_only: true, ..all() }).await?.count;
        ensure!(counted == self.contents.len() as i64, "{counted} keys are counted");
        let said = self.cluster.machine(1)?.log();
        match (lost, said.contains("damage")) {
            (0, false) => self.tally.unnoticed += 1,
            (0, true) => self.tally.healed += 1,
            (_, _) => self.tally.partly += 1,
        }
        Ok(())
    }
}

/// Whether a member reads every record that it has. The hash leaves out what only reads at an old
/// revision need; a snapshot does not.
async fn reads_all(client: &Client) -> bool {
    let Ok(mut chunks) = client.snapshot().await else { return false };
    loop {
        match chunks.next().await {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

fn put(key: &[u8], value: &[u8]) -> pb::PutRequest {
    let (key, value) = (key.to_vec().into(), value.to_vec().into());
    pb::PutRequest { key, value, ..pb::PutRequest::default() }
}

fn delete(key: &[u8]) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key: key.to_vec().into(), ..pb::DeleteRangeRequest::default() }
}

fn all() -> pb::RangeRequest {
    pb::RangeRequest { key: "\0".into(), range_end: "\0".into(), ..pb::RangeRequest::default() }
}

fn contents(answer: &pb::RangeResponse) -> Contents {
    answer.kvs.iter().map(|kv| (kv.key.to_vec(), kv.value.to_vec())).collect()
}

/// A file by its folder and name.
fn shown(path: &Path) -> String {
    let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
    Path::new(folder).join(path.file_name().unwrap_or_default()).display().to_string()
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(status.success(), "{} cannot be copied", from.display());
    Ok(())
}
