//! Clusters of members in a few fields: who belongs to them, who leads, what is acknowledged.
//!
//! A member is a disk with an identity and a process on it. A leader is elected from a majority that
//! is there: who has most leads. What a majority of disks has is acknowledged, and checked against
//! whoever leads: one that lacks some of it is a lost write.

use super::machines::{Disk, Identity, Machines, Process};

/// Entries that a leader writes each second.
const WRITES: u64 = 20;

/// Entries that a member can be sent each second.
const CATCH_UP: u64 = 2000;

/// Learners that a cluster takes.
const LEARNERS_MAX: usize = 1;

/// A cluster.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) id: u64,
    /// The cluster resource whose members began it.
    pub(crate) token: String,
    pub(crate) members: Vec<Member>,
    pub(crate) leader: Option<u64>,
    pub(crate) term: u64,
    /// What a majority had.
    pub(crate) acknowledged: u64,
    /// Whether somebody writes.
    pub(crate) is_written: bool,
    pub(crate) alarms: Vec<(u64, AlarmOf)>,
    /// Seconds in a row in which nothing was acknowledged.
    pub(crate) pause_seconds: u64,
    /// The longest of them since somebody asked.
    pub(crate) longest_pause_seconds: u64,
    /// Whether forgetting history makes no room.
    pub(crate) is_full_for_good: bool,
    /// What history is forgotten up to.
    pub(crate) compacted: i64,
}

/// A member, as the others know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) peer_url: String,
    pub(crate) is_learner: bool,
}

/// What an alarm is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AlarmOf {
    Space,
    Damage,
}

/// Why a cluster does not do what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum No {
    /// No majority answers.
    Unavailable,
    NotFound,
    Exists,
    TooManyLearners,
    /// As etcd's strict check has it.
    Unhealthy,
    NotCaughtUp,
    NotLearner,
}

impl Group {
    pub(crate) fn voters(&self) -> impl Iterator<Item = &Member> + Clone {
        self.members.iter().filter(|member| !member.is_learner)
    }

    pub(crate) fn member(&self, id: u64) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }
}

pub(crate) fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

impl Machines {
    /// One second of all clusters.
    pub(crate) fn run_members(&mut self) {
        let uids: Vec<String> = self.processes.keys().cloned().collect();
        for uid in uids {
            self.start(&uid);
        }
        for at in 0..self.groups.len() {
            let mut group = self.groups[at].clone();
            self.run_group(&mut group);
            self.groups[at] = group;
        }
    }

    /// A process finds out who it is; what keeps it from that is tried again.
    fn start(&mut self, uid: &str) {
        let Some(process) = self.processes.get(uid).cloned() else { return };
        if !self.is_up(&process.node) {
            return;
        }
        let is_refused =
            process.arguments.iter().any(|argument| argument.contains("does-not-start"));
        let found = match self.identity(&process) {
            _ if is_refused => Err("a flag is wrong".to_owned()),
            Some(identity) => self.check_membership(identity),
            None => self.find_identity(&process),
        };
        if let Some(process) = self.processes.get_mut(uid) {
            process.trouble = found.err();
        }
    }

    fn check_membership(&self, identity: Identity) -> Result<(), String> {
        let group = self.group(identity.cluster).ok_or("its cluster is no more")?;
        // Who does not hear from the others does not know.
        let is_member = group.member(identity.member).is_some() || group.leader.is_none();
        is_member.then_some(()).ok_or_else(|| "it was removed from its cluster".to_owned())
    }

    /// What an empty directory becomes.
    fn find_identity(&mut self, process: &Process) -> Result<(), String> {
        let state = process.argument("initial-cluster-state").unwrap_or("existing");
        let identity = match (state, &process.survivor) {
            ("new", Some(survivor)) => self.recover(process, survivor)?,
            ("new", None) => match &process.origin {
                Some(origin) => self.restore(process, origin)?,
                None => self.begin(process)?,
            },
            _ => self.join(process)?,
        };
        let disk = self.disks.get_mut(&process.volume).ok_or("there is no disk")?;
        disk.identity = Some(identity);
        Ok(())
    }

    pub(super) fn begin(&mut self, process: &Process) -> Result<Identity, String> {
        let token = process.argument("initial-cluster-token").unwrap_or_default().to_owned();
        let name = process.argument("name").unwrap_or_default().to_owned();
        let own = format!("{name}={}", process.peer_url());
        if process.argument("initial-cluster") != Some(&own) {
            return Err("a first member begins alone".to_owned());
        }
        // A cluster whose id is not written down yet has promised nothing.
        if self.latched.contains(&token) {
            let what = format!("{name} begins a second cluster");
            self.broken(what.clone());
            return Err(what);
        }
        self.groups.retain(|group| group.token != token);
        self.mark("begin");
        let (id, member) = (0x1000 + self.number(), 0x100_0000 + self.number());
        let first =
            Member { id: member, name, peer_url: process.peer_url().to_owned(), is_learner: false };
        self.groups.push(Group {
            id,
            token,
            members: vec![first],
            leader: None,
            term: 1,
            acknowledged: 0,
            is_written: true,
            alarms: Vec::new(),
            pause_seconds: 0,
            longest_pause_seconds: 0,
            is_full_for_good: false,
            compacted: 0,
        });
        Ok(Identity { cluster: id, member })
    }

    /// Asks those that it is told of who it is.
    fn join(&self, process: &Process) -> Result<Identity, String> {
        let listed = process.argument("initial-cluster").unwrap_or_default();
        let urls = listed.split(',').filter_map(|pair| Some(pair.split_once('=')?.1));
        let others = urls.filter(|url| *url != process.peer_url());
        let asked = others.filter_map(|url| {
            let peer = self.processes.values().find(|peer| peer.peer_url() == url)?;
            let identity = self.identity(peer).filter(|_| self.is_reachable(peer))?;
            self.group(identity.cluster)?.member(identity.member)?;
            self.group(identity.cluster)
        });
        let group = asked.into_iter().next().ok_or("none of the others answers")?;
        let own = group.members.iter().find(|member| member.peer_url == process.peer_url());
        let own = own.ok_or("no member has its peer URLs")?;
        // Its peers remember that there was a directory.
        if !own.name.is_empty() {
            return Err("the cluster refuses this member: it has another data directory than \
                        before; remove this member from the cluster (etcdctl member remove)"
                .to_owned());
        }
        Ok(Identity { cluster: group.id, member: own.id })
    }

    fn disk_of(&mut self, cluster: u64, member: u64) -> Option<&mut Disk> {
        let volume = self.running(cluster, member)?.volume.clone();
        self.disks.get_mut(&volume)
    }

    fn run_group(&mut self, group: &mut Group) {
        for member in &mut group.members {
            // Who joined publishes its name.
            let process = self.running(group.id, member.id);
            if let Some(name) = process.and_then(|process| process.argument("name")) {
                member.name = name.to_owned();
            }
        }
        self.elect(group);
        let before = group.acknowledged;
        if let Some(leader) = group.leader {
            self.replicate(group, leader);
        }
        if group.acknowledged > before || !group.is_written {
            group.pause_seconds = 0;
        } else {
            group.pause_seconds += 1;
            group.longest_pause_seconds = group.longest_pause_seconds.max(group.pause_seconds);
        }
    }

    fn elect(&mut self, group: &mut Group) {
        let running: Vec<u64> = group
            .voters()
            .map(|member| member.id)
            .filter(|member| self.running(group.id, *member).is_some())
            .collect();
        if running.len() < quorum(group.voters().count()) {
            group.leader = None;
            return;
        }
        if group.leader.is_some_and(|leader| running.contains(&leader)) {
            return;
        }
        let end = |member: u64| {
            let process = self.running(group.id, member);
            let disk = process.and_then(|process| self.disks.get(&process.volume));
            disk.map(|disk| (disk.term, disk.index)).unwrap_or_default()
        };
        let Some(leader) = running.into_iter().max_by_key(|member| end(*member)) else { return };
        let (_, index) = end(leader);
        if index < group.acknowledged {
            self.broken(format!(
                "cluster {:x}: {} acknowledged writes are lost",
                group.id,
                group.acknowledged - index
            ));
        }
        group.term += 1;
        group.leader = Some(leader);
    }

    fn replicate(&mut self, group: &mut Group, leader: u64) {
        let (id, term) = (group.id, group.term);
        let written = if group.is_written { WRITES } else { 1 };
        let Some(disk) = self.disk_of(id, leader) else { return };
        disk.term = term;
        disk.index += written;
        let last = disk.index;
        for member in group.members.iter().filter(|member| member.id != leader) {
            if let Some(disk) = self.disk_of(id, member.id) {
                disk.term = term;
                disk.index = last.min(disk.index + CATCH_UP);
            }
        }
        // What a majority has.
        let mut ends: Vec<u64> = group
            .voters()
            .map(|member| {
                let process = self.running(id, member.id);
                let disk = process.and_then(|process| self.disks.get(&process.volume));
                disk.map_or(0, |disk| disk.index)
            })
            .collect();
        ends.sort_unstable_by(|one, other| other.cmp(one));
        let acknowledged = ends.get(quorum(ends.len()) - 1).copied().unwrap_or_default();
        group.acknowledged = group.acknowledged.max(acknowledged);
    }

    /// Whether a majority is there, with so many more voters that are not.
    fn has_majority_with(&self, group: &Group, more: usize) -> bool {
        let voters = group.voters().count();
        let running = group.voters().filter(|member| self.running(group.id, member.id).is_some());
        (voters == 1 && running.clone().count() == 1) || running.count() >= quorum(voters + more)
    }

    /// The cluster, if its leader hears of a question.
    fn led(&self, cluster: u64) -> Result<Group, No> {
        let group = self.group(cluster).filter(|group| {
            group.leader.is_some_and(|leader| self.running(cluster, leader).is_some())
                && self.has_majority_with(group, 0)
        });
        group.cloned().ok_or(No::Unavailable)
    }

    /// Who belongs to a cluster, as a majority says.
    pub(crate) fn list(&self, cluster: u64) -> Result<Group, No> {
        self.led(cluster)
    }

    pub(crate) fn add_learner(&mut self, cluster: u64, peer_url: &str) -> Result<u64, No> {
        let group = self.led(cluster)?;
        if group.members.iter().any(|member| member.peer_url == peer_url) {
            return Err(No::Exists);
        }
        if group.members.iter().filter(|member| member.is_learner).count() >= LEARNERS_MAX {
            return Err(No::TooManyLearners);
        }
        if !self.has_majority_with(&group, 1) {
            return Err(No::Unhealthy);
        }
        let id = 0x100_0000 + self.number();
        let member =
            Member { id, name: String::new(), peer_url: peer_url.to_owned(), is_learner: true };
        self.mark("add");
        if let Some(group) = self.group_mut(cluster) {
            group.members.push(member);
        }
        Ok(id)
    }

    pub(crate) fn promote(&mut self, cluster: u64, id: u64) -> Result<(), No> {
        let group = self.led(cluster)?;
        let member = group.member(id).ok_or(No::NotFound)?;
        if !member.is_learner {
            return Err(No::NotLearner);
        }
        let end = |member: u64| {
            let process = self.running(cluster, member);
            let disk = process.and_then(|process| self.disks.get(&process.volume));
            disk.map_or(0, |disk| disk.index)
        };
        if end(id) * 10 < end(group.leader.unwrap_or_default()) * 9 {
            return Err(No::NotCaughtUp);
        }
        self.mark("promote");
        let members = self.group_mut(cluster).map(|group| &mut group.members);
        for member in members.into_iter().flatten().filter(|member| member.id == id) {
            member.is_learner = false;
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, cluster: u64, id: u64) -> Result<(), No> {
        let group = self.led(cluster)?;
        let member = group.member(id).ok_or(No::NotFound)?;
        let is_there = |member: &Member| self.running(cluster, member.id).is_some();
        if !member.is_learner {
            let rest = group.voters().filter(|voter| voter.id != id);
            let active = rest.clone().filter(|voter| is_there(voter)).count();
            if active < quorum(rest.count()) {
                if is_there(member) {
                    return Err(No::Unhealthy);
                }
                self.broken(format!("the removal of {id:x} would cost the majority"));
                return Err(No::Unhealthy);
            }
        }
        if group.leader == Some(id) && group.voters().count() > 1 {
            self.mark("removed leader");
        }
        self.mark(if self.running(cluster, id).is_some() { "remove" } else { "replace" });
        if let Some(group) = self.group_mut(cluster) {
            group.members.retain(|member| member.id != id);
            if group.leader == Some(id) {
                group.leader = None;
            }
        }
        Ok(())
    }

    pub(crate) fn move_leader(&mut self, cluster: u64, to: u64) -> Result<(), No> {
        let group = self.led(cluster)?;
        let member = group.member(to).ok_or(No::NotFound)?;
        if member.is_learner || self.running(cluster, to).is_none() {
            return Err(No::Unhealthy);
        }
        self.mark("transfer");
        if let Some(group) = self.group_mut(cluster) {
            group.leader = Some(to);
            group.term += 1;
        }
        Ok(())
    }

    pub(crate) fn compact(&mut self, cluster: u64, revision: i64) -> Result<(), No> {
        self.led(cluster)?;
        self.mark("compact");
        if let Some(group) = self.group_mut(cluster) {
            group.compacted = group.compacted.max(revision);
            let stays = group.is_full_for_good;
            group.alarms.retain(|(_, of)| stays || *of != AlarmOf::Space);
        }
        Ok(())
    }
}
