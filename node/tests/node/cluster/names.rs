//! Members that are known by names, whose addresses change.
//!
//! Each member sees a file of the test where the machine's `/etc/hosts` is, in a mount namespace
//! of its own. Where that is not allowed, the test says so.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::process::quorate;

/// A table of names for members alone.
struct Hosts(PathBuf);

impl Hosts {
    fn new(folder: &Path) -> Self {
        Self(folder.join("hosts"))
    }

    /// From now on the members' names are these. Written where it is: others have it mounted.
    fn write(&self, members: &[Member]) {
        let lines = members.iter().map(|member| format!("{} {}\n", member.address(), host(member)));
        std::fs::write(&self.0, lines.collect::<String>()).expect("written");
    }

    /// The program, or another one, where the table is the machine's.
    fn under(&self, program: Command) -> Command {
        let mut command = Command::new("unshare");
        let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
        command.args(["-m", "sh", "-c", script]).arg(&self.0).arg(program.get_program());
        command.args(program.get_args());
        for (variable, value) in program.get_envs() {
            if value.is_none() {
                command.env_remove(variable);
            }
        }
        command
    }

    fn is_allowed(&self) -> bool {
        self.under(Command::new("true")).output().is_ok_and(|output| output.status.success())
    }
}

fn host(member: &Member) -> String {
    format!("{}.quorate.test", member.name)
}

#[tokio::test]
async fn names_are_resolved_again_when_a_member_has_moved() {
    let folder = Folder::new("cluster-names");
    let hosts = Hosts::new(folder.path());
    let mut members: Vec<Member> =
        ["m1", "m2", "m3"].iter().map(|name| Member::new(folder.path(), name)).collect();
    for member in &mut members {
        let name = host(member);
        member.set_peer_host(&name);
    }
    hosts.write(&members);
    if !hosts.is_allowed() {
        eprintln!("SKIPPED: a mount namespace of one's own is not allowed here");
        return;
    }
    let initial: Vec<String> = members.iter().map(Member::as_initial).collect();
    let initial = format!("--initial-cluster={}", initial.join(","));
    for member in &mut members {
        member.set_arguments(&[&initial]);
        member.start_under(hosts.under(quorate()));
    }
    let mut cluster = Cluster { members, written: BTreeMap::new(), folder };
    cluster.wait_ready().await;
    cluster.put_many("before", 5).await;
    // One after the other comes back elsewhere, the leader as well; in the end nobody is where the
    // cluster began.
    for at in 0..3 {
        cluster.members[at].terminate();
        assert_eq!(cluster.members[at].wait_end().await.code(), Some(0));
        cluster.members[at].move_away();
        hosts.write(&cluster.members);
        cluster.put_many(&format!("without-{at}"), 3).await;
        cluster.members[at].start_under(hosts.under(quorate()));
        cluster.wait_ready().await;
        // The next one goes: so this one is needed, and everybody must have found it.
        cluster.put_many(&format!("with-{at}"), 3).await;
        cluster.check().await;
    }
}
