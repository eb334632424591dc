//! etcd's own data-driven cases, line for line except for log lines: those texts are each
//! implementation's own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use quorate_raft::membership::Changer;
use quorate_raft::quorum::{JointConfig, MajorityConfig, VoteResult};
use quorate_raft::{AutoLeave, ConfChangeError, Index, NodeId, NodeSet, ProgressStatus, Tracker};

use crate::datadriven::{self, Directive};
use crate::describe;
use crate::environment::Environment;
use crate::interaction;

/// The data beside the project, or that of the Go module if there is a Go toolchain.
fn data_folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/raft-testdata");
    if beside.is_dir() {
        return Some(beside);
    }
    let go = Command::new("go")
        .args(["mod", "download", "-json", "go.etcd.io/raft/v3@v3.7.0"])
        .current_dir(std::env::temp_dir())
        .output()
        .ok()?;
    let answer = String::from_utf8(go.stdout).ok()?;
    let line = answer.lines().find_map(|line| line.trim().strip_prefix("\"Dir\": \""))?;
    let folder = PathBuf::from(line.trim_end_matches(',').trim_end_matches('"'));
    folder.is_dir().then_some(folder)
}

/// Every script in `folder`, or nothing but a loud word if there is no data at all.
fn scripts(folder: &str) -> Option<Vec<(PathBuf, Vec<Directive>)>> {
    let Some(data) = data_folder() else {
        eprintln!(
            "SKIPPED: no etcd raft test data: neither ../shared/raft-testdata beside the \
             project nor a Go toolchain that gives go.etcd.io/raft/v3@v3.7.0"
        );
        return None;
    };
    let mut paths: Vec<PathBuf> = std::fs::read_dir(data.join(folder))
        .expect("the folder of scripts")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let parse = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a script");
        let directives = datadriven::parse(&text);
        (path, directives)
    };
    Some(paths.into_iter().map(parse).collect())
}

/// What counts of an output: no log lines, and nothing if that is all or it only says ok.
fn essence(output: &str) -> Vec<&str> {
    let is_log = |line: &str| {
        let line = line.trim_start();
        ["DEBUG ", "INFO ", "WARN ", "ERROR "].iter().any(|level| line.starts_with(level))
    };
    let lines: Vec<&str> = output.lines().filter(|line| !is_log(line)).collect();
    if lines == ["ok"] { Vec::new() } else { lines }
}

/// Runs every script of `folder` and compares; checks that there are as many as there must be.
fn run_all<State>(
    folder: &str,
    (files, directives): (usize, usize),
    new_state: impl Fn() -> State,
    run: impl Fn(&mut State, &Directive) -> String,
) {
    let Some(scripts) = scripts(folder) else { return };
    assert_eq!(scripts.len(), files, "scripts in {folder}");
    let count: usize = scripts.iter().map(|(_, directives)| directives.len()).sum();
    assert_eq!(count, directives, "directives in {folder}");
    let mut compared = 0;
    for (path, directives) in &scripts {
        let mut state = new_state();
        for directive in directives {
            let output = run(&mut state, directive);
            let (expected, actual) = (essence(&directive.expected), essence(&output));
            compared += expected.len();
            assert!(
                expected == actual,
                "{}:{}: {}\n--- expected\n{}\n--- actual\n{}",
                path.display(),
                directive.line,
                directive.command,
                expected.join("\n"),
                actual.join("\n")
            );
        }
    }
    assert!(compared > directives, "hardly anything was compared");
}

#[test]
fn interaction_scripts_of_etcd_pass() {
    run_all("testdata", (28, 558), Environment::new, interaction::run);
}

#[test]
fn confchange_scripts_of_etcd_pass() {
    let new_state = || (Tracker::new(10, 0), Index::ZERO);
    run_all("confchange/testdata", (9, 58), new_state, |(tracker, last_index), directive| {
        let result = run_change(tracker, *last_index, directive);
        *last_index = last_index.next();
        match result {
            Ok(()) => {
                let mut text = format!("{}\n", tracker.configuration);
                for (id, progress) in tracker.progress.iter() {
                    let status = ProgressStatus::from(progress);
                    let _ = writeln!(text, "{}: {}", id.0, describe::progress(&status));
                }
                text
            }
            Err(error) => format!("{error}\n"),
        }
    });
}

fn run_change(
    tracker: &mut Tracker,
    last_index: Index,
    directive: &Directive,
) -> Result<(), ConfChangeError> {
    let changes = interaction::parse_changes(&directive.input);
    let changer = Changer { tracker, last_index };
    let (configuration, progress) = match directive.command.as_str() {
        "simple" => changer.simple(&changes)?,
        "enter-joint" => {
            let is_auto = directive.value("autoleave") == Some("true");
            changer.enter_joint(if is_auto { AutoLeave::Yes } else { AutoLeave::No }, &changes)?
        }
        "leave-joint" => changer.leave_joint()?,
        other => panic!("unknown command {other}"),
    };
    tracker.configuration = configuration;
    tracker.progress = progress;
    Ok(())
}

#[test]
fn quorum_scripts_of_etcd_pass() {
    run_all("quorum/testdata", (4, 127), || (), |(), directive| run_quorum(directive));
}

/// The inputs in the order of the voters, those of both halves first; `_` leaves one out.
fn assign(config: &JointConfig, order: &[NodeId], inputs: &[String]) -> BTreeMap<NodeId, String> {
    let mut seen = NodeSet::default();
    let mut unused = inputs.iter();
    let mut assigned = BTreeMap::new();
    for id in order {
        if seen.contains(*id) {
            continue;
        }
        seen.insert(*id);
        let input = unused.next().expect("an input for each voter");
        if input != "_" {
            assigned.insert(*id, input.clone());
        }
    }
    assert_eq!(seen, config.ids());
    assert!(unused.next().is_none(), "more inputs than voters");
    assigned
}

fn run_quorum(directive: &Directive) -> String {
    let ids = |key| -> Vec<NodeId> {
        let values = directive.values(key).iter().filter(|value| *value != "zero");
        values.map(|value| NodeId(value.parse().expect("a voter"))).collect()
    };
    let is_joint = !directive.values("cfgj").is_empty();
    let majority = |ids: &[NodeId]| MajorityConfig(ids.iter().copied().collect());
    let (incoming, outgoing) = (ids("cfg"), ids("cfgj"));
    let config = JointConfig { incoming: majority(&incoming), outgoing: majority(&outgoing) };
    let swapped =
        JointConfig { incoming: config.outgoing.clone(), outgoing: config.incoming.clone() };
    let order: Vec<NodeId> = incoming.iter().chain(&outgoing).copied().collect();
    if directive.command == "vote" {
        let votes = assign(&config, &order, directive.values("votes"));
        let vote = |id| votes.get(&id).map(|vote| vote == "y");
        let result = config.vote_result(vote);
        assert_eq!(result, swapped.vote_result(vote), "the halves are alike");
        assert!(is_joint || result == config.incoming.vote_result(vote));
        return match result {
            VoteResult::Pending => "VotePending\n".to_owned(),
            VoteResult::Lost => "VoteLost\n".to_owned(),
            VoteResult::Won => "VoteWon\n".to_owned(),
        };
    }
    assert_eq!(directive.command, "committed");
    let acked = assign(&config, &order, directive.values("idx"));
    let acked = |id| acked.get(&id).map(|index| Index(index.parse().expect("an index")));
    let result = config.committed_index(acked);
    assert_eq!(result, swapped.committed_index(acked), "the halves are alike");
    let own_twin =
        JointConfig { incoming: config.incoming.clone(), outgoing: config.incoming.clone() };
    assert!(is_joint || result == own_twin.committed_index(acked));
    let result = if result == Index::MAX { "∞".to_owned() } else { result.to_string() };
    format!("{}{result}\n", bars(&config.ids(), acked))
}

/// A little chart of what each voter has acknowledged.
fn bars(voters: &NodeSet, acked: impl Fn(NodeId) -> Option<Index>) -> String {
    let count = voters.len();
    if count == 0 {
        return "<empty majority quorum>".to_owned();
    }
    let reached = |id| acked(id).unwrap_or(Index::ZERO);
    let mut text = format!("{}    idx\n", " ".repeat(count));
    for id in voters.iter() {
        let below = voters.iter().filter(|other| reached(*other) < reached(id)).count();
        let bar = match acked(id) {
            None => format!("?{}", " ".repeat(count)),
            Some(_) => format!("{}>{}", "x".repeat(below), " ".repeat(count - below)),
        };
        let _ = writeln!(text, "{bar} {:5}    (id={id})", reached(id).0);
    }
    text
}
