//! A lone member under a scripted load, stopped at a system call that changes a file: killed before
//! it, or told that the disk failed, is full or is slow.
//!
//! ```text
//!   once:  script under strace, which writes down every such call ─► points: thread, call, n-th
//!   each:  script, and what strace does to the n-th call ─► start again ─► everything is there
//! ```
//! Strace counts for each thread on its own. So there are points of all threads, met by whoever
//! comes first to so many calls, from the member's start on; and points of each thread of the disk
//! alone, from when the member is ready.
//!
//! As many points as fit into a test's time are tried, evenly spread over all.
//! `QUORATE_KILL_POINTS` is another number of them, or `all`.

mod points;
mod script;

use std::fmt;

use crate::process::{Folder, Member};
use points::{Inject, Point, Target, Tracer};
use script::Script;

/// Points that are tried without being asked for more.
const POINTS: usize = 8;

/// How a run of the script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By the signal, at the point.
    Killed,
    /// By itself, with an error.
    Refused,
    /// In order: the point was not reached, or did not matter.
    Done,
}

/// What all points of a kind came to.
#[derive(Debug, Default)]
struct Tally {
    killed: usize,
    refused: usize,
    done: usize,
    acknowledged: usize,
}

impl Tally {
    fn add(&mut self, end: End, acknowledged: usize) {
        match end {
            End::Killed => self.killed += 1,
            End::Refused => self.refused += 1,
            End::Done => self.done += 1,
        }
        self.acknowledged += acknowledged;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { killed, refused, done, acknowledged } = self;
        write!(
            formatter,
            "{killed} killed, {refused} ended with an error, {done} went on; {acknowledged} \
             acknowledged requests are there"
        )
    }
}

fn member(folder: &Folder, name: &str) -> Member {
    let mut member = Member::new(folder.path(), name);
    let initial = format!("--initial-cluster={}", member.as_initial());
    member.set_arguments(&[&initial, "--segment-bytes=65536", "--snapshot-count=20"]);
    member
}

/// Every point at which the script may be stopped; none without strace.
async fn all_points(name: &str) -> Option<Vec<Point>> {
    if !points::has_strace() {
        eprintln!("SKIPPED: there is no strace");
        return None;
    }
    let folder = Folder::new(&format!("points-{name}"));
    let mut all = Vec::new();
    for target in Target::ALL {
        let mut member = member(&folder, target.name());
        let trace = folder.path().join(format!("trace-{}.txt", target.name()));
        let tracer = Tracer::new(target, Inject::Nothing { trace: &trace });
        let (end, script) = run(&mut member, &tracer).await;
        assert_eq!(end, End::Done, "{}", member.log());
        script.check(&mut member).await;
        all.extend(points::of_trace(target, &trace));
    }
    Some(all)
}

/// Some of the points, evenly spread.
fn some(points: Vec<Point>) -> Vec<Point> {
    let wanted = match std::env::var("QUORATE_KILL_POINTS") {
        Err(_) => POINTS,
        Ok(all) if all == "all" => points.len(),
        Ok(number) => number.parse().expect("QUORATE_KILL_POINTS is a number, or all"),
    };
    let all = points.len();
    let wanted = wanted.clamp(1, all);
    let chosen = (0..wanted).map(|number| number * all / wanted);
    chosen.map(|at| points[at].clone()).collect()
}

/// Run the script on a new member until it is over, or the member is.
async fn run(member: &mut Member, tracer: &Tracer<'_>) -> (End, Script) {
    let mut script = Script::default();
    let mut attached = None;
    member.start_under(tracer.command(crate::process::quorate()));
    if member.ready_or_ended().await {
        attached = tracer.attach(member.id()).await;
        script.run(member).await;
        if !member.has_ended() {
            member.terminate();
        }
    }
    let status = member.wait_end().await;
    if let Some(mut tracer) = attached {
        tracer.wait().expect("it ends with what it traces");
    }
    let end = match (status.code(), status.success()) {
        (_, true) => End::Done,
        (Some(1), _) => End::Refused,
        (None, _) => End::Killed,
        (Some(code), _) => panic!("the member ended with {code}: {}", member.log()),
    };
    assert!(!member.log().contains("panicked"), "{}", member.log());
    (end, script)
}

async fn try_points(name: &str, points: Vec<Point>, inject: Inject<'_>) -> Tally {
    let folder = Folder::new(name);
    let (mut tally, all) = (Tally::default(), points.len());
    // One for all points: addresses are few.
    let mut member = member(&folder, "m1");
    for (number, point) in points.into_iter().enumerate() {
        let (end, script) = run(&mut member, &Tracer::at(&point, inject)).await;
        if end == End::Refused {
            let said = member.log();
            assert!(said.contains("os error"), "{point}: no error is named: {said}");
        }
        script.check(&mut member).await;
        tally.add(end, script.acknowledged());
        member.begin_anew();
        if number % 50 == 49 {
            eprintln!("{name}: {} of {all} points: {tally}", number + 1);
        }
    }
    eprintln!("{name}: {all} points: {tally}");
    tally
}

#[tokio::test]
async fn a_member_killed_at_any_call_has_what_it_acknowledged() {
    let Some(all) = all_points("killed-at-a-call").await else { return };
    assert!(all.len() > 200, "{} calls change a file: the script is too small", all.len());
    let points = some(all);
    let tried = points.len();
    let tally = try_points("killed-at-a-call", points, Inject::Kill).await;
    assert_eq!(tally.refused, 0);
    assert!(tally.killed * 2 > tried, "most points must be met: {tally}");
}

#[tokio::test]
async fn a_member_whose_disk_fails_at_any_call_has_what_it_acknowledged() {
    let Some(all) = all_points("fails-at-a-call").await else { return };
    let points = some(all.into_iter().filter(Point::moves_data).collect());
    let tried = points.len();
    let tally = try_points("fails-at-a-call", points, Inject::Error("EIO")).await;
    assert!(tally.refused * 2 > tried, "a failure must be fatal: {tally}");
}

#[tokio::test]
async fn a_member_whose_disk_is_full_at_any_call_goes_on() {
    let Some(all) = all_points("full-at-a-call").await else { return };
    let takes_room = |point: &Point| point.takes_room() && point.target != Target::All;
    let points = some(all.into_iter().filter(takes_room).collect());
    let tried = points.len();
    let tally = try_points("full-at-a-call", points, Inject::Error("ENOSPC")).await;
    assert_eq!(tally.done, tried, "a full disk stops nobody: {tally}");
}
