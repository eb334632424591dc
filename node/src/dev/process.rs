//! A member as a process.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::layout::{Layout, Member};
use crate::args::environment::PREFIX;

/// How many of its last lines are shown when a member has ended by itself.
const LAST_LINES: usize = 12;

/// Bytes at the end of a log file in which those lines are looked for.
const LAST_BYTES: u64 = 8 << 10;

/// A running member.
pub(super) struct Process {
    pub(super) name: String,
    pub(super) log: PathBuf,
    child: Child,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Start a member. What it says goes to its log file.
    pub(super) fn start(
        program: &Path,
        layout: &Layout,
        member: &Member,
        folder: &Path,
    ) -> io::Result<Self> {
        let log = folder.join(format!("{}.log", member.name));
        let file = OpenOptions::new().create(true).append(true).open(&log)?;
        let mut command = Command::new(program);
        command
            .args(layout.arguments(member, folder))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            // Ctrl-C is for this process, which stops its members in its own way.
            .process_group(0);
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with(PREFIX)) {
                command.env_remove(name);
            }
        }
        let child = command.spawn()?;
        Ok(Self { name: member.name.clone(), log, child, ended: None })
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            // An error would mean that somebody else has waited for it, which nobody does.
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Ask it to stop.
    pub(super) fn terminate(&mut self) {
        if self.ended().is_some() {
            return;
        }
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It cannot have been replaced: nobody has waited for it.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// End it at once.
    pub(super) fn kill(&mut self) {
        if self.ended().is_none() {
            // Only one that has ended cannot be killed.
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
    }

    /// The last lines that it wrote.
    pub(super) fn last_lines(&self) -> Vec<String> {
        last_lines(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn last_lines(path: &Path) -> io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LAST_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LAST_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LAST_LINES);
    Ok(lines.iter().skip(from).map(|line| (*line).to_owned()).collect())
}
