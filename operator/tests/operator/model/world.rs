//! A small world: objects, volumes on nodes, one Raft group in a few fields.
//!
//! Checked at each step:
//! - one learner at most, and no number is added twice;
//! - a step that the operator takes on a fresh look leaves a majority where there was one;
//! - nothing is removed or deleted on the word of nobody, and no voter's volume is deleted;
//! - one cluster is begun, once its id is written down;
//! - of voters, one at a time runs what does not run;
//! - a leader is the last that is restarted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use quorate_operator::cluster::names::{Names, Scheme};
use quorate_operator::cluster::observed::{
    Answer, Bootstrap, ClaimSeen, KnownMembership, MemberSeen, Membership, NodeSeen, Number,
    Observed, PodPhase, PodSeen, RaftMember, Record, Says, SetSeen,
};
use quorate_operator::cluster::plan::{Decision, Plan, Step, Wait, plan, quorum};
use quorate_operator::cluster::status::{Look, Parts, status};
use quorate_operator::cluster::validate::{Desired, Recovery};
use quorate_operator_api::{ClusterStatus, PreUpgradeBackup};

use super::random::Random;

/// What some history has to reach.
pub(super) const MARKS: [&str; 14] = [
    "seed",
    "latch",
    "add",
    "promote",
    "transfer",
    "remove",
    "replace",
    "restart",
    "delete-claim",
    "stop",
    "wake",
    "crash",
    "stale",
    "lost volume",
];

/// Where members can run.
const NODES: usize = 7;

#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) uid: String,
    pub(super) version: u64,
    pub(super) bootstrap: Bootstrap,
    pub(super) hash: String,
    pub(super) is_stopped: bool,
    pub(super) is_leaving: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub(super) uid: String,
    hash: String,
    node: usize,
    pub(super) leaving_since: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) uid: String,
    pub(super) is_leaving: bool,
}

/// What is on a disk.
#[derive(Clone, Debug, Default)]
struct Volume {
    node: usize,
    /// Cluster and member.
    identity: Option<(u64, u64)>,
    applied: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Objects {
    pub(super) sets: BTreeMap<Number, Set>,
    pub(super) pods: BTreeMap<Number, Pod>,
    pub(super) claims: BTreeMap<Number, Claim>,
}

#[derive(Clone, Debug)]
pub(super) struct Raft {
    pub(super) id: u64,
    pub(super) members: Vec<RaftMember>,
    pub(super) leader: Option<u64>,
    index: u64,
}

pub(super) struct World {
    pub(super) random: Random,
    pub(super) now: Timestamp,
    pub(super) wish: Desired,
    pub(super) status: ClusterStatus,
    pub(super) version: u64,
    pub(super) objects: Objects,
    history: VecDeque<Objects>,
    volumes: BTreeMap<String, Volume>,
    nodes: Vec<bool>,
    pub(super) raft: Option<Raft>,
    pub(super) names: Names,
    pub(super) ever_added: BTreeSet<Number>,
    pub(super) marks: BTreeMap<&'static str, usize>,
    pub(super) broken_rules: Vec<String>,
    counter: u64,
    is_calm: bool,
    last: Option<Plan>,
}

impl World {
    pub(super) fn new(random: Random) -> Self {
        let wish = Desired {
            voters: 3,
            hash: "good-0".to_owned(),
            version: None,
            claim_bytes: 1 << 30,
            auto_grow: None,
            deletes_claims: true,
            is_paused: false,
            hibernates: false,
            heals: true,
            replace_after: SignedDuration::from_secs(60),
            recovery: Recovery::OnDemand,
            restarts: true,
            pre_upgrade_backup: PreUpgradeBackup::Never,
            compacts: true,
            refusals: Vec::new(),
        };
        Self {
            random,
            now: Timestamp::from_second(1_000_000).expect("a time"),
            wish,
            status: ClusterStatus::default(),
            version: 1,
            objects: Objects::default(),
            history: VecDeque::new(),
            volumes: BTreeMap::new(),
            nodes: vec![true; NODES],
            raft: None,
            names: Names::new("demo", "ns"),
            ever_added: BTreeSet::new(),
            marks: BTreeMap::new(),
            broken_rules: Vec::new(),
            counter: 0,
            is_calm: false,
            last: None,
        }
    }

    pub(super) fn fresh(&mut self, kind: &str) -> String {
        self.counter += 1;
        format!("{kind}-{}", self.counter)
    }

    pub(super) fn mark(&mut self, mark: &'static str) {
        *self.marks.entry(mark).or_insert(0) += 1;
    }

    pub(super) fn marks(&self) -> impl Iterator<Item = (&'static str, usize)> + '_ {
        self.marks.iter().map(|(mark, count)| (*mark, *count))
    }

    pub(super) fn broken(&mut self, rule: String) {
        self.broken_rules.push(rule);
    }

    /// Something happens, or not.
    pub(super) fn trouble(&mut self) {
        let pods: Vec<Number> = self.objects.pods.keys().copied().collect();
        match self.random.below(100) {
            0..8 => {
                // A pod is deleted.
                if let Some(number) = self.random.pick(&pods).copied() {
                    self.evict(number);
                }
            }
            8..12 => {
                if let Some(number) = self.random.pick(&pods).copied() {
                    self.lose_volume(number);
                }
            }
            12..16 => {
                let node = self.random.below(NODES);
                if self.nodes[node] && self.nodes.iter().filter(|up| !**up).count() < 3 {
                    self.nodes[node] = false;
                }
            }
            16..24 => {
                let node = self.random.below(NODES);
                self.nodes[node] = true;
            }
            24..27 => self.wish.voters = [1, 3, 3, 5][self.random.below(4)],
            27..30 => {
                let kind = if self.random.once_in(4) { "bad" } else { "good" };
                self.wish.hash = self.fresh(kind);
            }
            30 => self.wish.hibernates = !self.wish.hibernates,
            31 => self.wish.is_paused = !self.wish.is_paused,
            32 => {
                // Somebody deletes a StatefulSet.
                let sets: Vec<Number> = self.objects.sets.keys().copied().collect();
                if let Some(number) = self.random.pick(&sets).copied() {
                    self.delete_set(number);
                }
            }
            33..36 if self.wish.hibernates => self.wish.hibernates = false,
            36..40 if self.wish.is_paused => self.wish.is_paused = false,
            _ => {}
        }
    }

    pub(super) fn calm(&mut self) {
        self.is_calm = true;
        self.nodes.fill(true);
        self.wish.hibernates = false;
        self.wish.is_paused = false;
        if self.wish.hash.starts_with("bad") {
            self.wish.hash = self.fresh("good");
        }
    }

    fn evict(&mut self, number: Number) {
        let now = self.now;
        if let Some(pod) = self.objects.pods.get_mut(&number) {
            pod.leaving_since.get_or_insert(now);
        }
    }

    pub(super) fn delete_set(&mut self, number: Number) {
        if self.objects.sets.remove(&number).is_some() {
            self.evict(number);
        }
    }

    /// A volume is lost, if the cluster can bear it: no operator can help a cluster whose majority
    /// of disks is gone.
    fn lose_volume(&mut self, number: Number) {
        let Some(raft) = &self.raft else { return };
        let is_voter =
            raft.members.iter().any(|member| member.number == Some(number) && !member.is_learner);
        let voters = raft.members.iter().filter(|member| !member.is_learner).count();
        let whole = raft
            .members
            .iter()
            .filter(|member| !member.is_learner && member.number != Some(number))
            .filter(|member| member.number.is_some_and(|number| self.has_its_data(number)))
            .count();
        if self.status.cluster_id.is_none() || (is_voter && whole < quorum(voters)) {
            return;
        }
        if let Some(claim) = self.objects.claims.remove(&number) {
            self.volumes.remove(&claim.uid);
            self.objects.pods.remove(&number);
            self.mark("lost volume");
        }
    }

    fn has_its_data(&self, number: Number) -> bool {
        let volume =
            self.objects.claims.get(&number).and_then(|claim| self.volumes.get(&claim.uid));
        let member = self.raft.as_ref().and_then(|raft| {
            let member = raft.members.iter().find(|member| member.number == Some(number))?;
            Some((raft.id, member.id))
        });
        member.is_some() && volume.and_then(|volume| volume.identity) == member
    }

    /// Whether a member's process runs as the member that it is.
    pub(super) fn runs(&self, number: Number) -> bool {
        let pod = self.objects.pods.get(&number);
        pod.is_some_and(|pod| {
            self.nodes[pod.node] && pod.leaving_since.is_none() && !pod.hash.starts_with("bad")
        }) && self.has_its_data(number)
    }

    pub(super) fn has_quorum(&self) -> bool {
        let Some(raft) = &self.raft else { return false };
        let voters = raft.members.iter().filter(|member| !member.is_learner);
        let running =
            voters.clone().filter(|member| member.number.is_some_and(|number| self.runs(number)));
        running.count() >= quorum(voters.count())
    }

    /// Five seconds pass: Kubernetes, the members, then the operator.
    pub(super) fn moment(&mut self) {
        self.now += SignedDuration::from_secs(5);
        self.history.push_front(self.objects.clone());
        self.history.truncate(6);
        self.run_kubernetes();
        self.run_members();
        self.run_operator();
    }

    fn run_kubernetes(&mut self) {
        // Pods end where their node says so.
        let nodes = self.nodes.clone();
        self.objects.pods.retain(|_, pod| pod.leaving_since.is_none() || !nodes[pod.node]);
        let pods = &self.objects.pods;
        let gone: Vec<Number> = self
            .objects
            .claims
            .iter()
            .filter(|(number, claim)| claim.is_leaving && !pods.contains_key(number))
            .map(|(number, _)| *number)
            .collect();
        for number in gone {
            if let Some(claim) = self.objects.claims.remove(&number) {
                self.volumes.remove(&claim.uid);
            }
        }
        let sets: Vec<(Number, Set)> =
            self.objects.sets.iter().map(|(number, set)| (*number, set.clone())).collect();
        for (number, set) in sets {
            if set.is_stopped {
                self.evict(number);
            } else if !self.objects.pods.contains_key(&number) {
                self.make_pod(number, set.hash);
            }
        }
        let sets = &self.objects.sets;
        let pods = self.objects.pods.keys().copied();
        let orphans: Vec<Number> = pods.filter(|number| !sets.contains_key(number)).collect();
        for number in orphans {
            self.evict(number);
        }
    }

    fn make_pod(&mut self, number: Number, hash: String) {
        if !self.objects.claims.contains_key(&number) {
            let uid = self.fresh("claim");
            // Where fewest members are.
            let busy =
                |node: usize| self.objects.pods.values().filter(|pod| pod.node == node).count();
            let Some(node) =
                (0..NODES).filter(|node| self.nodes[*node]).min_by_key(|node| busy(*node))
            else {
                return;
            };
            self.volumes.insert(uid.clone(), Volume { node, ..Volume::default() });
            self.objects.claims.insert(number, Claim { uid, is_leaving: false });
        }
        let Some(volume) =
            self.objects.claims.get(&number).and_then(|claim| self.volumes.get(&claim.uid))
        else {
            return;
        };
        let node = volume.node;
        if !self.nodes[node] {
            return;
        }
        let uid = self.fresh("pod");
        self.objects.pods.insert(number, Pod { uid, hash, node, leaving_since: None });
    }

    /// Members start on what they find, elect, and get further.
    fn run_members(&mut self) {
        let pods: Vec<(Number, Pod)> =
            self.objects.pods.iter().map(|(number, pod)| (*number, pod.clone())).collect();
        for (number, pod) in pods {
            let is_up = self.nodes[pod.node] && pod.leaving_since.is_none();
            if is_up && !pod.hash.starts_with("bad") {
                self.start(number);
            }
        }
        let has_quorum = self.has_quorum();
        let Some(mut raft) = self.raft.take() else { return };
        self.raft = Some(raft.clone());
        let running: Vec<&RaftMember> = raft
            .members
            .iter()
            .filter(|member| member.number.is_some_and(|number| self.runs(number)))
            .collect();
        let voters: Vec<u64> =
            running.iter().filter(|member| !member.is_learner).map(|member| member.id).collect();
        let numbers: Vec<Number> = running.iter().filter_map(|member| member.number).collect();
        if !has_quorum {
            raft.leader = None;
        } else if raft.leader.is_none_or(|leader| !voters.contains(&leader)) {
            raft.leader = self.random.pick(&voters).copied();
        }
        if raft.leader.is_some() {
            raft.index += 10 + u64::try_from(self.random.below(200)).expect("small");
            for number in numbers {
                if let Some(claim) = self.objects.claims.get(&number)
                    && let Some(volume) = self.volumes.get_mut(&claim.uid)
                {
                    volume.applied = raft.index.min(volume.applied + 2000);
                }
            }
        }
        self.raft = Some(raft);
    }

    fn start(&mut self, number: Number) {
        let Some(claim) = self.objects.claims.get(&number) else { return };
        let uid = claim.uid.clone();
        let Some(volume) = self.volumes.get(&uid) else { return };
        if volume.identity.is_some() {
            return;
        }
        let Some(set) = self.objects.sets.get(&number) else { return };
        let identity = match set.bootstrap {
            Bootstrap::New => {
                if self.status.cluster_id.is_some() {
                    self.broken(format!("member {number} begins a second cluster"));
                }
                self.counter += 1;
                let (cluster, id) = (self.counter, self.counter + 1_000_000);
                let member =
                    RaftMember { id, number: Some(number), is_learner: false, is_started: true };
                self.raft =
                    Some(Raft { id: cluster, members: vec![member], leader: None, index: 100 });
                self.ever_added.insert(number);
                Some((cluster, id))
            }
            Bootstrap::Existing => {
                let has_quorum = self.has_quorum();
                self.raft.as_mut().filter(|_| has_quorum).and_then(|raft| {
                    let cluster = raft.id;
                    let member = raft
                        .members
                        .iter_mut()
                        .find(|member| member.number == Some(number) && !member.is_started)?;
                    member.is_started = true;
                    Some((cluster, member.id))
                })
            }
        };
        if let Some(volume) = self.volumes.get_mut(&uid) {
            volume.identity = identity;
        }
    }

    /// What the operator sees: objects perhaps as they were, members as they are, or nothing.
    fn observe(&mut self) -> (Observed, bool) {
        let is_stale = !self.is_calm && self.random.once_in(12);
        let at = self.random.below(self.history.len().max(1));
        let objects = match self.history.get(at).filter(|_| is_stale) {
            Some(old) => {
                let old = old.clone();
                self.mark("stale");
                old
            }
            None => self.objects.clone(),
        };
        let is_deaf = !self.is_calm && self.random.once_in(15);
        let membership = match &self.raft {
            Some(raft) if raft.leader.is_some() && self.has_quorum() && !is_deaf => {
                let members = raft.members.clone();
                Membership::Known(KnownMembership { cluster_id: raft.id, members })
            }
            _ => Membership::Unknown,
        };
        let numbers: BTreeSet<Number> = objects
            .sets
            .keys()
            .chain(objects.pods.keys())
            .chain(objects.claims.keys())
            .copied()
            .collect();
        let mut members = BTreeMap::new();
        for number in numbers {
            let is_heard = self.is_calm || !self.random.once_in(30);
            members.insert(number, self.member_seen(&objects, number, is_heard && !is_deaf));
        }
        let observed = Observed {
            record: Record::of(&self.status, &self.names),
            membership,
            members,
            alarms: Some(Vec::new()),
            ..Observed::default()
        };
        (observed, is_stale)
    }

    fn member_seen(&self, objects: &Objects, number: Number, is_heard: bool) -> MemberSeen {
        let set = objects.sets.get(&number).map(|set| SetSeen {
            uid: set.uid.clone(),
            version: set.version.to_string(),
            bootstrap: set.bootstrap,
            hash: set.hash.clone(),
            is_stopped: set.is_stopped,
            is_leaving: set.is_leaving,
        });
        let runs = self.runs(number);
        let pod = objects.pods.get(&number).map(|pod| PodSeen {
            uid: pod.uid.clone(),
            hash: pod.hash.clone(),
            version: None,
            phase: PodPhase::Running,
            is_ready: runs && self.has_quorum(),
            leaving_since: pod.leaving_since,
            node: Some(NodeSeen {
                name: format!("node-{}", pod.node),
                zone: None,
                is_ready: self.nodes[pod.node],
            }),
            trouble: (!runs && self.nodes[pod.node]).then(|| "CrashLoopBackOff".to_owned()),
            is_refused: false,
        });
        let claim = objects.claims.get(&number).map(|claim| ClaimSeen {
            uid: claim.uid.clone(),
            is_bound: true,
            is_lost: false,
            requested: 1 << 30,
            capacity: 1 << 30,
            is_leaving: claim.is_leaving,
            is_stranded: false,
        });
        let answer = match &self.raft {
            Some(raft) if runs && is_heard => {
                let volume = self
                    .objects
                    .claims
                    .get(&number)
                    .and_then(|claim| self.volumes.get(&claim.uid))
                    .cloned()
                    .unwrap_or_default();
                let (cluster_id, member_id) = volume.identity.unwrap_or_default();
                Answer::Says(Says {
                    member_id,
                    cluster_id,
                    leader: raft.leader.unwrap_or(0),
                    term: 2,
                    index: raft.index.min(volume.applied + 5),
                    applied: volume.applied,
                    revision: 1,
                    version: String::new(),
                    db_size: 1,
                })
            }
            _ => Answer::Silent,
        };
        MemberSeen { set, pod, claim, answer }
    }

    /// One look, one status, one step; the operator may die between any two of them.
    fn run_operator(&mut self) {
        let (observed, is_stale) = self.observe();
        let made = plan(&self.wish, &observed, self.now);
        let look = Look {
            names: &self.names,
            scheme: Scheme::Https,
            generation: Some(1),
            previous: &self.status,
            desired: &self.wish,
            observed: &observed,
            plan: &made,
            parts: &Parts::default(),
        };
        let next = status(look, self.now);
        if next.next_member < self.status.next_member {
            self.broken("a number is given back".to_owned());
        }
        if self.status.cluster_id.is_some() && next.cluster_id != self.status.cluster_id {
            self.broken("the cluster's id changes".to_owned());
        }
        self.last = Some(made.clone());
        if next != self.status {
            if !self.is_calm && self.random.once_in(25) {
                self.mark("crash");
                return;
            }
            self.status = next;
            self.version += 1;
        }
        let Decision::Step(step) = made.decision else { return };
        if !self.is_calm && self.random.once_in(12) {
            self.mark("crash");
            return;
        }
        if !is_stale {
            self.check_order(&step);
        }
        let is_majority_checked = !is_stale && self.has_quorum() && !self.is_alone();
        self.take(&observed, &step);
        let is_meant = matches!(step, Step::Stop { .. });
        if is_majority_checked && !is_meant && !self.has_quorum() {
            self.broken(format!("{step} costs the majority"));
        }
    }

    /// A leader is restarted when no other is left that is to be.
    fn check_order(&mut self, step: &Step) {
        let Step::Restart { number, .. } = step else { return };
        let Some(raft) = &self.raft else { return };
        let of_number = |member: &&RaftMember| member.number == Some(*number);
        let leads = raft
            .members
            .iter()
            .find(of_number)
            .is_some_and(|member| self.runs(*number) && raft.leader == Some(member.id));
        let is_old = |other: Number| {
            let pod = self.objects.pods.get(&other);
            other != *number && pod.is_some_and(|pod| pod.hash != self.wish.hash)
        };
        let voters = raft.members.iter().filter(|member| !member.is_learner);
        if leads && voters.filter_map(|member| member.number).any(is_old) {
            self.broken(format!("member {number} leads and is restarted before others"));
        }
    }

    /// Whether there is one voter: it has to be restarted, too.
    fn is_alone(&self) -> bool {
        let voters = self.raft.iter().flat_map(|raft| &raft.members);
        voters.filter(|member| !member.is_learner).count() <= 1
    }

    pub(super) fn check(&mut self, seed: u64) {
        if let Some(raft) = &self.raft {
            let learners = raft.members.iter().filter(|member| member.is_learner).count();
            if learners > 1 {
                self.broken(format!("{learners} learners"));
            }
        }
        assert!(
            self.broken_rules.is_empty(),
            "seed {seed}: {:?}\n{}",
            self.broken_rules,
            self.describe()
        );
    }

    pub(super) fn is_at_rest(&self) -> bool {
        let is_idle =
            self.last.as_ref().is_some_and(|plan| plan.decision == Decision::Wait(Wait::Idle));
        let Some(raft) = &self.raft else { return false };
        is_idle
            && raft.members.len() == self.wish.voters
            && raft.members.iter().all(|member| {
                !member.is_learner
                    && member.number.is_some_and(|number| {
                        self.runs(number)
                            && self
                                .objects
                                .pods
                                .get(&number)
                                .is_some_and(|pod| pod.hash == self.wish.hash)
                    })
            })
            && self.objects.sets.len() == self.wish.voters
            && self.objects.claims.len() == self.wish.voters
    }

    pub(super) fn describe(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "wish: {} × {}", self.wish.voters, self.wish.hash);
        let _ = writeln!(out, "plan: {:?}", self.last);
        let _ = writeln!(out, "raft: {:?}", self.raft);
        let _ = writeln!(out, "nodes: {:?}", self.nodes);
        for (number, set) in &self.objects.sets {
            let _ = writeln!(
                out,
                "{number}: runs={} {set:?} {:?} {:?}",
                self.runs(*number),
                self.objects.pods.get(number),
                self.objects.claims.get(number)
            );
        }
        for member in &self.status.members {
            let _ = writeln!(out, "status: {member:?}");
        }
        let _ = writeln!(out, "operation: {:?}", self.status.operation);
        out
    }
}
