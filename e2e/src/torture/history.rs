//! One run: members start, clients work, things go wrong, all is healed, and what was seen is
//! judged.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::bail;
use judge::client::{Client as Asker, ClientOptions};
use judge::history::{ClientId, History, Outcome};
use judge::random::Random;
use tokio::task::{LocalSet, spawn_local};

use super::admin::Run;
use super::cluster::{Cluster, NUMBERS_MAX, Wants};
use super::ending;
use super::fault::Fault;
use super::machine;
use super::nemesis::Nemesis;
use super::network::Network;
use super::stage::Stage;

/// All members of a new cluster serve within this.
const READY_WAIT_MAX: Duration = Duration::from_secs(60);
/// A run takes no longer than this for its requests, whatever goes wrong.
const WORK_MAX: Duration = Duration::from_secs(120);
/// Between two steps of what goes wrong.
const STEP: Duration = Duration::from_millis(25);
/// What a ready member says.
const READY: &str = "ready to serve client requests";

/// What a run is made of.
#[derive(Clone, Debug)]
pub(super) struct Plan<'a> {
    pub(super) seed: u64,
    pub(super) operations: usize,
    pub(super) only: Option<Fault>,
    pub(super) network: &'a Network,
    pub(super) program: &'a Path,
    pub(super) folder: &'a Path,
}

/// How a run went.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) members: u8,
    /// Requests that were not turned away at once.
    pub(super) operations: usize,
    pub(super) answered: usize,
    pub(super) unknown: usize,
    pub(super) messages: usize,
    pub(super) revisions: i64,
    pub(super) faults: BTreeMap<Fault, u64>,
    /// Why it is not as it should be, if it is not.
    pub(super) failure: Option<String>,
    /// All that was seen, for a report of a failure.
    pub(super) text: String,
}

/// Carry a run out.
pub(super) fn run(plan: &Plan<'_>) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = LocalSet::new();
    tasks.block_on(&runtime, carry_out(plan))
}

async fn carry_out(plan: &Plan<'_>) -> anyhow::Result<Report> {
    let mut random = Random::new(plan.seed);
    let size = random.weighted(&[(1, 1), (4, 3), (2, 5)]).copied().unwrap_or(3);
    let faults = draw_faults(plan, &mut random, size);
    let has = |fault| faults.iter().any(|(_, drawn)| *drawn == fault);
    plan.network.mend_all(NUMBERS_MAX)?;
    let wants = Wants { clocks: has(Fault::ClockJump), small_disks: has(Fault::FullDisk) };
    let cluster = Cluster::new(plan.network, plan.program, plan.folder, size, &mut random, wants)?;
    let stage = Rc::new(RefCell::new(Stage::new(cluster.members())));
    let nemesis = Rc::new(RefCell::new(Nemesis::new(random.fork(1), faults)));
    let run = Run { cluster: Rc::new(RefCell::new(cluster)), nemesis, stage };
    let result = live(&run, plan, random).await;
    let failure = match result {
        Ok(Ok(_)) => None,
        Ok(Err(violation)) => Some(format!("VIOLATION {violation}")),
        Err(error) => Some(format!("{error:#}")),
    };
    Ok(report(&run, plan, size, failure))
}

type Judged = Result<judge::check::linearizable::Linearization, judge::check::Violation>;

async fn live(run: &Run, plan: &Plan<'_>, mut random: Random) -> anyhow::Result<Judged> {
    start(run).await?;
    let inbox = run.stage.borrow_mut().take_inbox();
    let serving = spawn_local(inbox.serve(run.stage.clone()));
    let administering = spawn_local(run.clone().administer());
    run.stage.borrow().begin();
    for number in 0..random.range(6..17) {
        let (id, options) = (ClientId(number), behaviour(&mut random));
        let asker = Asker::new(id, random.fork(number), options);
        run.stage.borrow_mut().add(id, asker, &options);
    }
    let until = Instant::now() + WORK_MAX;
    while run.stage.borrow().arrived < plan.operations && Instant::now() < until {
        tokio::time::sleep(STEP).await;
        let mut cluster = run.cluster.borrow_mut();
        cluster.look()?;
        run.nemesis.borrow_mut().step(&mut cluster)?;
        drop(cluster);
        run.tell_clients();
        run.stage.borrow_mut().look_at_witness();
    }
    run.stage.borrow_mut().stop();
    {
        let mut cluster = run.cluster.borrow_mut();
        run.nemesis.borrow_mut().heal(&mut cluster)?;
    }
    run.tell_clients();
    let witness = spawn_local({
        let stage = run.stage.clone();
        async move {
            loop {
                tokio::time::sleep(STEP).await;
                stage.borrow_mut().look_at_witness();
            }
        }
    });
    let judged = ending::conclude(run).await;
    for task in [serving, administering, witness] {
        task.abort();
    }
    judged
}

async fn start(run: &Run) -> anyhow::Result<()> {
    let voters = run.cluster.borrow().voters.clone();
    for number in &voters {
        run.cluster.borrow_mut().machine(*number)?.start()?;
    }
    let until = Instant::now() + READY_WAIT_MAX;
    while !run.cluster.borrow().machines.values().all(|it| it.log().contains(READY)) {
        if Instant::now() > until {
            bail!("the members are not ready");
        }
        run.cluster.borrow_mut().look()?;
        tokio::time::sleep(STEP).await;
    }
    run.tell_clients();
    Ok(())
}

/// What may happen in a run: some of all there is, so that runs differ.
fn draw_faults(plan: &Plan<'_>, random: &mut Random, size: u8) -> Vec<(u64, Fault)> {
    let can = |fault: Fault| {
        (size > 1 || !fault.needs_peers())
            && (plan.network.can_cut() || !fault.is_of_network())
            && match fault {
                Fault::ClockJump => machine::fake_clock().is_some(),
                Fault::SlowSync | Fault::FailedSync => machine::has_strace(),
                Fault::FullDisk => rustix::process::geteuid().is_root(),
                _ => true,
            }
    };
    let all = Fault::ALL.iter().filter(|(fault, ..)| can(*fault));
    all.filter(|(fault, ..)| match plan.only {
        Some(only) => *fault == only,
        None => random.chance(1, 2),
    })
    .map(|(fault, _, weight)| (*weight, *fault))
    .collect()
}

/// As the simulator's clients, only quicker.
fn behaviour(random: &mut Random) -> ClientOptions {
    let mut options = ClientOptions::draw(random);
    options.think_ms_max = random.range(4..60);
    options.timeout_ms = random.pick(&[500, 1_000, 2_000]).copied().unwrap_or(1_000);
    options.watch_think_ms_max = random.range(100..1_500);
    options
}

fn report(run: &Run, plan: &Plan<'_>, members: u8, failure: Option<String>) -> Report {
    let (stage, nemesis) = (run.stage.borrow(), run.nemesis.borrow());
    let history = &stage.history;
    let count = |keep: fn(&Outcome) -> bool| {
        history.operations().iter().filter(|operation| keep(&operation.outcome)).count()
    };
    let text = match &failure {
        None => String::new(),
        Some(failure) => tell(run, plan, failure, history, &nemesis.told),
    };
    Report {
        members,
        operations: stage.arrived,
        answered: count(|outcome| matches!(outcome, Outcome::Ok(_) | Outcome::Refused(_))),
        unknown: count(|outcome| matches!(outcome, Outcome::Unknown)),
        messages: history.streams().iter().map(|stream| stream.messages.len()).sum(),
        revisions: stage.revision,
        faults: nemesis.counts.clone(),
        failure,
        text,
    }
}

fn tell(
    run: &Run,
    plan: &Plan<'_>,
    failure: &str,
    history: &History,
    happened: &[String],
) -> String {
    let mut text = format!("seed {}: {failure}\n\nmembers: ", plan.seed);
    text.push_str(&run.cluster.borrow().settings().join(" "));
    text.push_str("\n\nwhat happened:\n");
    for line in happened {
        text.push_str(line);
        text.push('\n');
    }
    text.push_str("\noperations:\n");
    for operation in history.operations() {
        let _ = writeln!(text, "{operation}");
    }
    for stream in history.streams() {
        let _ = writeln!(
            text,
            "\nstream {} of {}, {}..{}",
            stream.id.0,
            stream.session,
            stream.opened,
            stream.closed.map_or_else(String::new, |closed| closed.to_string())
        );
        for (time, message) in &stream.messages {
            let _ = writeln!(text, "  {time} {message:?}");
        }
    }
    text
}

impl Report {
    /// The faults, for a line.
    pub(super) fn faults_text(&self) -> String {
        let all = self.faults.iter().map(|(fault, count)| format!("{fault} {count}"));
        all.collect::<Vec<_>>().join(", ")
    }
}
