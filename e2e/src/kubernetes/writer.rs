//! A client that never stops writing, and asks in the end whether everything is there that was
//! acknowledged.
//!
//! ```text
//!   put w/0 ─► acknowledged ─► put w/1 ─► …      one at a time, each until it is acknowledged
//!                   └── how long since the one before? ── the longest gap
//!   SIGTERM ─► range w/ ─► each acknowledged key has its value, or is lost
//! ```
//! Prints a line a second, and a last one that begins with `result:`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use quorate_api::etcdserverpb::{PutRequest, RangeRequest};
use quorate_client::{Client, Error, Options};
use tokio::signal::unix::{SignalKind, signal};

use super::connector::Connector;

/// Between two writes, so that a small machine has time for what is tested.
const PAUSE: Duration = Duration::from_millis(5);
/// A member that does not answer for so long is left for another.
const CALL_WAIT_MAX: Duration = Duration::from_secs(1);
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(1);
/// After a failure, before the next try.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
const REPORT_EVERY: Duration = Duration::from_secs(1);
const PAGE_KEYS: i64 = 5_000;
/// Reading what was written may take so many tries, a second apart.
const READ_TRIES: usize = 60;

const USAGE: &str = "usage: e2e writer [--tls FOLDER] ENDPOINT…";

/// What there is to tell.
#[derive(Default)]
struct Tally {
    /// Keys 0 to this one, without it, are acknowledged.
    acknowledged: u64,
    failures: u64,
    last_failure: String,
    longest_gap: Duration,
    /// How many writes were acknowledged before the longest gap.
    gap_at: u64,
}

/// Write until SIGTERM, then look.
pub(crate) fn run(arguments: Vec<String>) -> anyhow::Result<()> {
    let mut endpoints = Vec::new();
    let mut folder: Option<PathBuf> = None;
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--tls" => folder = Some(arguments.next().context(USAGE)?.into()),
            flag if flag.starts_with('-') => bail!("{USAGE}"),
            _ => endpoints.push(argument),
        }
    }
    ensure!(!endpoints.is_empty(), "{USAGE}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = connect(&endpoints, folder)?;
        let tally = write(&client).await?;
        let lost = look(&client, tally.acknowledged).await?;
        println!(
            "result: acknowledged {} lost {} longest_gap_ms {} after {} failures {}",
            tally.acknowledged,
            lost.len(),
            tally.longest_gap.as_millis(),
            tally.gap_at,
            tally.failures
        );
        ensure!(lost.is_empty(), "lost: {:?}", lost.iter().take(20).collect::<Vec<_>>());
        Ok(())
    })
}

fn connect(endpoints: &[String], folder: Option<PathBuf>) -> anyhow::Result<Client> {
    let options = Options {
        call_timeout: CALL_WAIT_MAX,
        connect_timeout: CONNECT_WAIT_MAX,
        ..Options::default()
    };
    Ok(match folder {
        Some(folder) => Client::connect_with(endpoints, options, &Connector::of_folder(&folder)?)?,
        None => Client::connect(endpoints, options)?,
    })
}

async fn write(client: &Client) -> anyhow::Result<Tally> {
    let mut end = signal(SignalKind::terminate())?;
    let mut tally = Tally::default();
    let mut last_ack: Option<Instant> = None;
    let mut reported = Instant::now();
    loop {
        let put = tokio::select! {
            put = client.put(put_of(tally.acknowledged)) => put,
            _ = end.recv() => return Ok(tally),
        };
        match put {
            Ok(_) => {
                tally.note_acknowledged(last_ack);
                last_ack = Some(Instant::now());
            }
            Err(error) => tally.note_failure(&error),
        }
        if reported.elapsed() >= REPORT_EVERY {
            reported = Instant::now();
            println!(
                "acknowledged {} longest_gap_ms {} failures {} {}",
                tally.acknowledged,
                tally.longest_gap.as_millis(),
                tally.failures,
                tally.last_failure
            );
            tally.last_failure.clear();
        }
        let pause = if last_ack.is_some() { PAUSE } else { RETRY_PAUSE };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = end.recv() => return Ok(tally),
        }
    }
}

impl Tally {
    fn note_acknowledged(&mut self, before: Option<Instant>) {
        let gap = before.map_or(Duration::ZERO, |before| before.elapsed());
        if gap > self.longest_gap {
            self.longest_gap = gap;
            self.gap_at = self.acknowledged;
        }
        self.acknowledged += 1;
    }

    fn note_failure(&mut self, error: &Error) {
        self.failures += 1;
        self.last_failure = error.to_string();
    }
}

fn key(number: u64) -> String {
    format!("w/{number:012}")
}

/// Written twice, when an answer was lost, it is the same.
fn put_of(number: u64) -> PutRequest {
    PutRequest { key: key(number).into(), value: number.to_string().into(), ..Default::default() }
}

/// The acknowledged numbers that are not there, or not with their value.
async fn look(client: &Client, acknowledged: u64) -> anyhow::Result<Vec<u64>> {
    let mut lost = Vec::new();
    let mut expected = 0;
    while expected < acknowledged {
        let page = read(client, expected).await?;
        let last = page.last().map(|(key, _)| key.clone());
        let mut found = page.into_iter().peekable();
        while expected < acknowledged && last.as_ref().is_some_and(|last| key(expected) <= *last) {
            let of_key = found.next_if(|(found, _)| *found == key(expected));
            if of_key.is_none_or(|(_, value)| value != expected.to_string()) {
                lost.push(expected);
            }
            expected += 1;
        }
        if last.is_none() {
            lost.extend(expected..acknowledged);
            break;
        }
    }
    Ok(lost)
}

/// A page of keys and values from this number on.
async fn read(client: &Client, from: u64) -> anyhow::Result<Vec<(String, String)>> {
    let request = RangeRequest {
        key: key(from).into(),
        range_end: "w0".into(),
        limit: PAGE_KEYS,
        ..Default::default()
    };
    let mut last = None;
    for _ in 0..READ_TRIES {
        match client.range(request.clone()).await {
            Ok(found) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let pairs = found.kvs.iter().map(|pair| (text(&pair.key), text(&pair.value)));
                return Ok(pairs.collect());
            }
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    bail!("what was written cannot be read: {last:?}")
}
