//! Calls that change files, and what strace does to one of them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::process::eventually;

/// The calls by which files change. Strace passes over those that the machine does not have.
const CALLS: &str = "pwritev,pwritev2,pwrite64,fdatasync,fsync,?rename,?renameat,renameat2,?unlink,\
                     unlinkat,openat,ftruncate,fallocate,?mkdir,mkdirat";

/// Whose calls count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// All threads', each on its own.
    All,
    /// The log's thread.
    Log,
    /// The store's thread.
    Store,
}

impl Target {
    pub(super) const ALL: [Self; 3] = [Self::All, Self::Log, Self::Store];

    /// The thread's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Log => "log",
            Self::Store => "store",
        }
    }
}

/// A call: the n-th of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) target: Target,
    call: String,
    nth: usize,
}

impl Point {
    /// Whether the disk has to do for it what can fail.
    pub(super) fn moves_data(&self) -> bool {
        self.takes_room() || ["fdatasync", "fsync"].contains(&self.call.as_str())
    }

    /// Whether it may need more room.
    pub(super) fn takes_room(&self) -> bool {
        ["pwritev", "pwritev2", "pwrite64", "fallocate", "ftruncate"].contains(&self.call.as_str())
    }
}

impl fmt::Display for Point {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} of {}", self.call, self.nth, self.target.name())
    }
}

/// What happens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Inject<'a> {
    /// Every call is written down.
    Nothing { trace: &'a Path },
    /// The member is killed instead of the call.
    Kill,
    /// The call fails, once, and does nothing.
    Error(&'static str),
}

/// What strace is told.
#[derive(Debug)]
pub(super) struct Tracer<'a> {
    target: Target,
    inject: Inject<'a>,
    point: Option<Point>,
}

impl<'a> Tracer<'a> {
    /// One that is not about one call.
    pub(super) fn new(target: Target, inject: Inject<'a>) -> Self {
        Self { target, inject, point: None }
    }

    /// One that is about a call.
    pub(super) fn at(point: &Point, inject: Inject<'a>) -> Self {
        Self { target: point.target, inject, point: Some(point.clone()) }
    }

    fn strace(&self) -> Command {
        let mut command = Command::new("strace");
        command.args(["-qq", "-y"]);
        match self.inject {
            Inject::Nothing { trace } => command.arg("-o").arg(trace),
            Inject::Kill | Inject::Error(_) => command.args(["-o", "/dev/null"]),
        };
        let what = match self.inject {
            Inject::Nothing { .. } => None,
            Inject::Kill => Some("signal=KILL".to_owned()),
            Inject::Error(error) => Some(format!("error={error}")),
        };
        match (&self.point, what) {
            (Some(Point { call, nth, .. }), Some(what)) => {
                command.args(["-e", &format!("trace={call}")]);
                command.args(["-e", &format!("inject={call}:{what}:when={nth}")]);
            }
            _ => {
                command.args(["-e", &format!("trace={CALLS}")]);
            }
        }
        command
    }

    /// The command that starts the member.
    pub(super) fn command(&self, program: Command) -> Command {
        if self.target != Target::All {
            return program;
        }
        let mut strace = self.strace();
        // The member stays this process's child, so that it can be waited for.
        strace.args(["-D", "-f"]).arg(program.get_program());
        for (variable, value) in program.get_envs() {
            if value.is_none() {
                strace.env_remove(variable);
            }
        }
        strace
    }

    /// Trace a thread of a running member, if that is what is wanted.
    pub(super) async fn attach(&self, process: u32) -> Option<Child> {
        if self.target == Target::All {
            return None;
        }
        let thread = thread_named(process, self.target.name());
        let child = self
            .strace()
            .args(["-p", &thread])
            .stderr(Stdio::null())
            .spawn()
            .expect("strace is there");
        let status = format!("/proc/{process}/task/{thread}/status");
        eventually("strace is attached", async || {
            let status = std::fs::read_to_string(&status).ok()?;
            let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?;
            (tracer.trim() != "0").then_some(())
        })
        .await;
        Some(child)
    }
}

fn thread_named(process: u32, name: &str) -> String {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let mut tasks = tasks.map(|task| task.expect("an entry").path());
    let task = tasks.find(|task| {
        std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name)
    });
    let task = task.unwrap_or_else(|| panic!("the member has no thread {name}"));
    task.file_name().expect("a number").to_string_lossy().into_owned()
}

pub(super) fn has_strace() -> bool {
    Command::new("strace").arg("-V").output().is_ok()
}

/// The points of a trace: for each call the numbers that some thread came to, where the call
/// changed a file of the member.
pub(super) fn of_trace(target: Target, trace: &Path) -> Vec<Point> {
    let text = std::fs::read_to_string(trace).expect("strace wrote it");
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut found: BTreeMap<(String, usize), ()> = BTreeMap::new();
    for line in text.lines() {
        // With `-f` a line begins with its thread.
        let (thread, rest) = match line.split_once(' ') {
            Some((thread, rest)) if thread.bytes().all(|byte| byte.is_ascii_digit()) => {
                (thread, rest.trim_start())
            }
            _ => ("", line),
        };
        // What is not a call's beginning: the end of one that was interrupted, or a thread's.
        let Some((call, arguments)) = rest.split_once('(') else { continue };
        if !call.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            continue;
        }
        let count = counts.entry((thread.to_owned(), call.to_owned())).or_default();
        *count += 1;
        let is_of_member = arguments.contains("/data");
        if is_of_member && (call != "openat" || arguments.contains("O_CREAT")) {
            found.insert((call.to_owned(), *count), ());
        }
    }
    found.into_keys().map(|(call, nth)| Point { target, call, nth }).collect()
}
