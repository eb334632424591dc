//! What must never be, looked at each second.
//!
//! - One learner at most; no name, URL or id of a member is used twice; no second cluster begins
//!   once the id of the first is written down (`raft`).
//! - No acknowledged write is missing in a leader (`raft`).
//! - The operator deletes the StatefulSet or the volume of nobody who is a member, and of nobody
//!   while no majority is there.
//! - What the operator does, on what it has just seen, leaves a majority where there was one.
//! - Numbers only count up; the cluster's id stays, unless `DataLossPossible` says why it does not.
//! - `Available` is not said of a cluster without a majority for long.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use quorate_operator_api::QuorateCluster;
use serde_json::Value;

use super::World;
use super::machines::Machines;
use super::raft::{Group, quorum};
use super::stateful_sets::text;
use crate::api_server::{Call, of_kind};

/// How long `Available` may be said of a cluster that has lost its majority.
const LATE_SECONDS: u64 = 45;

/// How long after something has befallen machines nobody asks who took the majority.
const DISTURBED_SECONDS: u64 = 3;

/// What was seen before.
#[derive(Default)]
pub(crate) struct Seen {
    /// URLs and ids of members: there, or gone for good.
    members: BTreeMap<(String, String), bool>,
    next_member: BTreeMap<String, i64>,
    ids: BTreeMap<String, String>,
    /// Clusters of members that had a majority a second ago.
    with_majority: BTreeSet<u64>,
    /// For how many seconds a cluster has had none.
    without: BTreeMap<u64, u64>,
    undisturbed_seconds: u64,
    pub(super) calls: Vec<Call>,
}

impl World {
    /// Something befalls machines now: the operator is not to blame for what follows at once.
    pub(crate) fn disturb(&mut self) {
        self.seen.undisturbed_seconds = 0;
    }

    pub(super) fn check(&mut self) {
        self.seen.undisturbed_seconds += 1;
        let calls = self.server.take_calls();
        let clusters: Vec<QuorateCluster> = self
            .server
            .list(&of_kind::CLUSTER, "")
            .into_iter()
            .filter_map(|cluster| serde_json::from_value(cluster).ok())
            .collect();
        let mut broken = Vec::new();
        {
            let machines = self.machines.lock();
            self.seen.check_members(&machines, &mut broken);
            check_deletions(&calls, &machines, &clusters, &mut broken);
            let (is_exact, is_down) =
                self.server.faults(|faults| (faults.lag == 0, faults.is_down));
            if is_down || !is_exact {
                // Nobody can say anything, or of the past alone.
                self.seen.without.clear();
            }
            self.seen.check_majorities(&machines, &clusters, is_exact, &mut broken);
        }
        self.seen.check_statuses(&clusters, &mut broken);
        let mut machines = self.machines.lock();
        broken.append(&mut machines.broken);
        drop(machines);
        self.seen.calls.extend(calls);
        assert!(broken.is_empty(), "{broken:#?}\n{}", self.describe());
    }

    /// All calls of the API server until now.
    pub(crate) fn calls(&self) -> &[Call] {
        &self.seen.calls
    }

    /// Everything that helps to see why.
    pub(crate) fn describe(&self) -> String {
        let mut out = format!("at {}\n", self.clock.text());
        for cluster in self.server.list(&of_kind::CLUSTER, "") {
            let _ = writeln!(out, "{} wants {}", text(&cluster, "/metadata/name"), cluster["spec"]);
            let status = &cluster["status"];
            for name in ["clusterID", "nextMember", "operation", "members"] {
                let _ = writeln!(out, "  {name}: {}", status[name]);
            }
            for condition in status["conditions"].as_array().into_iter().flatten() {
                let of = |field: &str| text(condition, field).to_owned();
                let (kind, is, reason) = (of("/type"), of("/status"), of("/reason"));
                let _ = writeln!(out, "  {kind}={is} {reason}: {}", of("/message"));
            }
        }
        let machines = self.machines.lock();
        for group in &machines.groups {
            let _ = writeln!(out, "cluster of members: {group:?}");
        }
        for (name, node) in &machines.nodes {
            let _ = writeln!(out, "{name}: up={}", node.is_up);
        }
        for process in machines.processes.values() {
            let disk = machines.disks.get(&process.volume);
            let (pod, node, trouble) = (&process.pod, &process.node, &process.trouble);
            let _ = writeln!(out, "{pod} on {node}: {trouble:?} {disk:?}");
        }
        drop(machines);
        for kind in [&of_kind::POD, &of_kind::CLAIM, &of_kind::STATEFUL_SET] {
            for object in self.server.list(kind, "") {
                let leaves = text(&object, "/metadata/deletionTimestamp");
                let (name, phase) = (text(&object, "/metadata/name"), &object["status"]["phase"]);
                let conditions = &object["status"]["conditions"];
                let _ = writeln!(out, "{} {name} {phase} {leaves} {conditions}", kind.name);
            }
        }
        for (reason, note) in self.events() {
            let _ = writeln!(out, "event {reason}: {note}");
        }
        for replica in &self.replicas {
            let _ = writeln!(out, "{}", replica.describe());
        }
        out
    }
}

impl Seen {
    fn check_members(&mut self, machines: &Machines, broken: &mut Vec<String>) {
        for group in &machines.groups {
            let learners = group.members.len() - group.voters().count();
            if learners > 1 {
                broken.push(format!("{learners} learners in {:x}", group.id));
            }
            let now: BTreeSet<String> = group
                .members
                .iter()
                .flat_map(|member| [member.peer_url.clone(), format!("{:x}", member.id)])
                .collect();
            let known = self.members.iter_mut().filter(|((token, _), _)| *token == group.token);
            for ((_, what), is_there) in known {
                if !*is_there && now.contains(what) {
                    broken.push(format!("{what} is a member again"));
                }
                *is_there = now.contains(what);
            }
            for what in now {
                self.members.insert((group.token.clone(), what), true);
            }
        }
    }

    fn check_statuses(&mut self, clusters: &[QuorateCluster], broken: &mut Vec<String>) {
        for cluster in clusters {
            let Some(uid) = cluster.metadata.uid.clone() else { continue };
            let Some(status) = &cluster.status else { continue };
            let last = self.next_member.entry(uid.clone()).or_default();
            if status.next_member < *last {
                broken.push(format!("the next member is {} after {last}", status.next_member));
            }
            *last = status.next_member;
            let Some(id) = &status.cluster_id else {
                if self.ids.contains_key(&uid) {
                    broken.push("the cluster's id is forgotten".to_owned());
                }
                continue;
            };
            let old = self.ids.insert(uid, id.clone());
            let is_rebuilt = status.conditions.iter().any(|condition| {
                condition.type_ == "DataLossPossible" && condition.status == "True"
            });
            if old.is_some_and(|old| old != *id) && !is_rebuilt {
                broken.push(format!("the cluster's id becomes {id}"));
            }
        }
    }

    fn check_majorities(
        &mut self,
        machines: &Machines,
        clusters: &[QuorateCluster],
        is_exact: bool,
        broken: &mut Vec<String>,
    ) {
        let mut with_majority = BTreeSet::new();
        for group in &machines.groups {
            let cluster =
                clusters.iter().find(|one| one.metadata.uid.as_ref() == Some(&group.token));
            let Some(cluster) = cluster else { continue };
            let is_there = has_majority(machines, group);
            if is_there {
                with_majority.insert(group.id);
                self.without.remove(&group.id);
                continue;
            }
            let seconds = self.without.entry(group.id).or_default();
            *seconds += 1;
            let is_said = cluster
                .status
                .iter()
                .flat_map(|status| &status.conditions)
                .any(|said| said.type_ == "Available" && said.status == "True");
            if *seconds > LATE_SECONDS && is_said && self.undisturbed_seconds > LATE_SECONDS {
                broken.push(format!("{:x} has no majority and is called available", group.id));
            }
            let is_asked_for = cluster.spec.hibernate || group.voters().count() <= 1;
            let is_own = self.undisturbed_seconds > DISTURBED_SECONDS;
            if self.with_majority.contains(&group.id) && is_own && is_exact && !is_asked_for {
                broken
                    .push(format!("{:x} has lost its majority, and nobody else did it", group.id));
            }
        }
        self.with_majority = with_majority;
    }
}

fn has_majority(machines: &Machines, group: &Group) -> bool {
    let voters = group.voters().count();
    let running = group.voters().filter(|member| machines.running(group.id, member.id).is_some());
    voters > 0 && running.count() >= quorum(voters)
}

/// Whom the operator deletes is no member, and a majority is there to say so.
fn check_deletions(
    calls: &[Call],
    machines: &Machines,
    clusters: &[QuorateCluster],
    broken: &mut Vec<String>,
) {
    for call in calls.iter().filter(|call| call.verb == "delete" && call.code == 200) {
        let member = match call.resource.as_str() {
            "statefulsets" => Some(call.name.as_str()),
            "persistentvolumeclaims" => {
                call.name.strip_prefix("data-").and_then(|name| name.strip_suffix("-0"))
            }
            _ => None,
        };
        let Some((name, _)) = member.and_then(|member| member.rsplit_once('-')) else { continue };
        let cluster = clusters.iter().find(|cluster| {
            cluster.metadata.name.as_deref() == Some(name)
                && cluster.metadata.namespace.as_deref() == Some(call.namespace.as_str())
        });
        let Some(uid) = cluster.and_then(|cluster| cluster.metadata.uid.as_ref()) else { continue };
        if !machines.latched.contains(uid) {
            continue;
        }
        let group = machines.groups.iter().rfind(|group| group.token == *uid);
        let Some(group) = group else { continue };
        let is_member = group.members.iter().any(|one| Some(one.name.as_str()) == member);
        if is_member {
            broken.push(format!("{} {} of a member is deleted", call.resource, call.name));
        }
    }
}

/// What there is in the end, with members named by their rank: equal for equal wishes, whatever
/// happened on the way.
pub(crate) fn end_state(world: &World, name: &str) -> Vec<String> {
    let prefix = format!("{name}-");
    let mut numbers: Vec<i64> = world
        .server
        .list(&of_kind::STATEFUL_SET, super::NAMESPACE)
        .iter()
        .filter_map(|set| text(set, "/metadata/name").strip_prefix(&prefix)?.parse().ok())
        .collect();
    numbers.sort_unstable();
    let ranked = |text: &str| {
        numbers.iter().enumerate().fold(text.to_owned(), |text, (rank, number)| {
            let is_end = |rest: &str| !rest.starts_with(|next: char| next.is_ascii_digit());
            let mut out = String::new();
            let mut rest = text.as_str();
            let wanted = format!("{prefix}{number}");
            while let Some(at) = rest.find(&wanted) {
                let behind = &rest[at + wanted.len()..];
                out.push_str(&rest[..at]);
                out.push_str(&if is_end(behind) {
                    format!("{prefix}<{rank}>")
                } else {
                    wanted.clone()
                });
                rest = behind;
            }
            out + rest
        })
    };
    let mut lines = Vec::new();
    for (key, object) in world.server.all() {
        if key.namespace != super::NAMESPACE || matches!(key.kind.name, "Event" | "Lease") {
            continue;
        }
        let mut line = format!("{} {}", key.kind.name, ranked(&key.name));
        match key.kind.name {
            "StatefulSet" => {
                let spec = &object["spec"];
                let hash = &spec["template"]["metadata"]["annotations"]["quorate.io/spec-hash"];
                let _ = write!(line, " {} {hash}", spec["replicas"]);
            }
            "QuorateCluster" => {
                let conditions = object["status"]["conditions"].as_array();
                for condition in conditions.into_iter().flatten() {
                    let of = |field: &str| text(condition, field).to_owned();
                    let _ = write!(line, " {}={}/{}", of("/type"), of("/status"), of("/reason"));
                }
                let members = object["status"]["members"].as_array().map_or(0, Vec::len);
                let _ = write!(line, " {members} members, {}", object["status"]["operation"]);
            }
            "Pod" => {
                let labels: &Value = &object["metadata"]["labels"]["quorate.io/role"];
                let _ = write!(line, " {labels}");
            }
            _ => {}
        }
        lines.push(line);
    }
    lines.sort();
    lines
}
