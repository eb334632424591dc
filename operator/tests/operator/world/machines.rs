//! What is not an object: nodes, what is on disks, processes, and the clusters that they make up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::backups::File;
use super::raft::Group;
use super::trust::Trust;

/// Everything that runs, and what it runs on.
#[derive(Default)]
pub(crate) struct Machines {
    pub(crate) nodes: BTreeMap<String, Node>,
    /// By the names of their volumes.
    pub(crate) disks: BTreeMap<String, Disk>,
    /// Backups, by their names where they are kept.
    pub(crate) files: BTreeMap<String, File>,
    /// By the uids of their pods.
    pub(crate) processes: BTreeMap<String, Process>,
    pub(crate) groups: Vec<Group>,
    /// Pods that nobody reaches, though they run.
    pub(crate) cut_off: BTreeSet<String>,
    /// Cluster resources whose cluster's id is written down.
    pub(crate) latched: BTreeSet<String>,
    /// What must not be, and was.
    pub(crate) broken: Vec<String>,
    /// What some history has to have reached.
    pub(crate) marks: BTreeMap<&'static str, usize>,
    counter: u64,
}

/// A machine that runs pods.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) is_up: bool,
    /// Seconds for which it has not been heard of.
    pub(crate) silent_seconds: u64,
}

/// What a member's volume holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    /// Where it is.
    pub(crate) node: String,
    pub(crate) identity: Option<Identity>,
    pub(crate) term: u64,
    /// The last entry of the log.
    pub(crate) index: u64,
}

/// Whose a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) cluster: u64,
    pub(crate) member: u64,
}

/// A member's process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) node: String,
    pub(crate) volume: String,
    /// The volume that its directory is made of, if it is made of one.
    pub(crate) survivor: Option<String>,
    /// The backup that its directory is made of, if it is made of one, and that one's hash.
    pub(crate) origin: Option<(String, Option<String>)>,
    pub(crate) arguments: Vec<String>,
    pub(crate) image: String,
    pub(crate) address: IpAddr,
    pub(crate) tls: Trust,
    /// Why it does not serve, if it does not.
    pub(crate) trouble: Option<String>,
}

impl Process {
    /// The value of an argument.
    pub(crate) fn argument(&self, name: &str) -> Option<&str> {
        let prefix = format!("--{name}=");
        self.arguments.iter().find_map(|argument| argument.strip_prefix(&prefix))
    }

    /// Where peers reach it.
    pub(crate) fn peer_url(&self) -> &str {
        self.argument("initial-advertise-peer-urls").unwrap_or_default()
    }
}

impl Machines {
    pub(crate) fn number(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub(crate) fn mark(&mut self, what: &'static str) {
        *self.marks.entry(what).or_default() += 1;
    }

    pub(crate) fn broken(&mut self, what: impl Into<String>) {
        self.broken.push(what.into());
    }

    pub(crate) fn is_up(&self, node: &str) -> bool {
        self.nodes.get(node).is_some_and(|node| node.is_up)
    }

    /// Whether a process can be reached.
    pub(crate) fn is_reachable(&self, process: &Process) -> bool {
        process.trouble.is_none()
            && self.is_up(&process.node)
            && !self.cut_off.contains(&process.pod)
    }

    /// Who a process is, as its disk says.
    pub(crate) fn identity(&self, process: &Process) -> Option<Identity> {
        self.disks.get(&process.volume)?.identity
    }

    /// The process that runs, and can be reached, as this member.
    pub(crate) fn running(&self, cluster: u64, member: u64) -> Option<&Process> {
        let identity = Some(Identity { cluster, member });
        let mut all = self.processes.values();
        all.find(|process| self.is_reachable(process) && self.identity(process) == identity)
    }

    /// The process of a pod that can be reached.
    pub(crate) fn of_pod(&self, namespace: &str, pod: &str) -> Option<&Process> {
        let mut all = self.processes.values();
        all.find(|process| {
            process.namespace == namespace && process.pod == pod && self.is_reachable(process)
        })
    }

    pub(crate) fn group(&self, cluster: u64) -> Option<&Group> {
        self.groups.iter().find(|group| group.id == cluster)
    }

    pub(crate) fn group_mut(&mut self, cluster: u64) -> Option<&mut Group> {
        self.groups.iter_mut().find(|group| group.id == cluster)
    }
}
