//! What people do, and what befalls machines.

use serde_json::{Value, json};

use super::machines::Disk;
use super::raft::Group;
use super::stateful_sets::text;
use super::{NAMESPACE, World};
use crate::api_server::{Part, Refusal, of_kind};

impl World {
    /// Applies a cluster of this specification.
    pub(crate) fn apply(&self, name: &str, spec: &Value) {
        self.apply_in(NAMESPACE, name, spec);
    }

    pub(crate) fn apply_in(&self, namespace: &str, name: &str, spec: &Value) {
        let object = json!({ "metadata": { "name": name }, "spec": spec });
        self.server.create(&of_kind::CLUSTER, namespace, object).expect("a cluster that is taken");
    }

    /// Changes what is asked for.
    pub(crate) fn wish(&self, name: &str, change: impl FnOnce(&mut Value)) {
        self.server
            .change(&of_kind::CLUSTER, (NAMESPACE, name), Part::Object, |cluster| {
                change(&mut cluster["spec"]);
            })
            .expect("a wish that is taken");
    }

    pub(crate) fn scale(&self, name: &str, replicas: i32) {
        self.wish(name, |spec| spec["replicas"] = json!(replicas));
    }

    pub(crate) fn annotate(&self, name: &str, key: &str, value: &str) {
        self.server
            .change(&of_kind::CLUSTER, (NAMESPACE, name), Part::Object, |cluster| {
                cluster["metadata"]["annotations"][key] = json!(value);
            })
            .expect("an annotation");
    }

    pub(crate) fn delete_pod_of(&self, member: &str) {
        let pod = format!("{member}-0");
        let _ = self.server.delete(&of_kind::POD, (NAMESPACE, &pod), &Value::Null);
    }

    /// The claim is deleted, the pod with it, and what was on the volume.
    pub(crate) fn lose_volume_of(&self, member: &str) {
        let claim = format!("data-{member}-0");
        let _ = self.server.delete(&of_kind::CLAIM, (NAMESPACE, &claim), &Value::Null);
        let pod = format!("{member}-0");
        let now = json!({ "gracePeriodSeconds": 0 });
        let _ = self.server.delete(&of_kind::POD, (NAMESPACE, &pod), &now);
    }

    /// What is on a member's volume is gone; the objects stay.
    pub(crate) fn wipe(&self, member: &str) {
        let claim = self.server.get(&of_kind::CLAIM, NAMESPACE, &format!("data-{member}-0"));
        let volume =
            claim.as_ref().map(|claim| text(claim, "/spec/volumeName")).unwrap_or_default();
        let mut machines = self.machines.lock();
        if let Some(disk) = machines.disks.get_mut(volume) {
            *disk = Disk { node: disk.node.clone(), ..Disk::default() };
        }
    }

    /// Whether there is a disk with what this member is, and nobody takes it away.
    pub(crate) fn has_its_disk(&self, name: &str, member: &str) -> bool {
        let Some(group) = self.group(name) else { return false };
        let id = group.members.iter().find(|found| found.name == member).map(|found| found.id);
        let claim = self.server.get(&of_kind::CLAIM, NAMESPACE, &format!("data-{member}-0"));
        let Some(claim) = claim.filter(|claim| claim["metadata"]["deletionTimestamp"].is_null())
        else {
            return false;
        };
        let machines = self.machines.lock();
        let disk = machines.disks.get(text(&claim, "/spec/volumeName"));
        disk.and_then(|disk| disk.identity)
            .is_some_and(|identity| identity.cluster == group.id && Some(identity.member) == id)
    }

    pub(crate) fn node_of(&self, member: &str) -> String {
        let pod = self.server.get(&of_kind::POD, NAMESPACE, &format!("{member}-0"));
        pod.map(|pod| text(&pod, "/spec/nodeName").to_owned()).unwrap_or_default()
    }

    /// A node stops, or comes back.
    pub(crate) fn set_up(&self, node: &str, is_up: bool) {
        if let Some(node) = self.machines.lock().nodes.get_mut(node) {
            node.is_up = is_up;
        }
    }

    /// A node is gone for good, with its disks.
    pub(crate) fn lose_node(&self, node: &str) {
        self.machines.lock().disks.retain(|_, disk| disk.node != node);
        self.lose_node_alone(node);
    }

    /// A node is gone for good, and nobody tells of its disks: their volumes stay bound.
    pub(crate) fn lose_node_alone(&self, node: &str) {
        let mut machines = self.machines.lock();
        machines.nodes.remove(node);
        machines.processes.retain(|_, process| process.node != node);
        drop(machines);
        let _ = self.server.delete(&of_kind::NODE, ("", node), &Value::Null);
    }

    pub(crate) fn cordon(&self, node: &str, is_closed: bool) {
        let _ = self.server.change(&of_kind::NODE, ("", node), Part::Object, |node| {
            node["spec"]["unschedulable"] = json!(is_closed);
        });
    }

    pub(crate) fn delete_cluster(&self, name: &str) -> Result<(), Refusal> {
        self.server.delete(&of_kind::CLUSTER, (NAMESPACE, name), &Value::Null)
    }

    /// The members' cluster of a resource.
    pub(crate) fn group(&self, name: &str) -> Option<Group> {
        let uid = self.cluster(name)?.metadata.uid?;
        let machines = self.machines.lock();
        let mut groups = machines.groups.iter().filter(|group| group.token == uid);
        groups.next_back().cloned()
    }

    /// The voters of a cluster, as the members say, by name.
    pub(crate) fn voters(&self, name: &str) -> Vec<String> {
        let group = self.group(name);
        let members = group.iter().flat_map(Group::voters);
        let mut names: Vec<String> = members.map(|member| member.name.clone()).collect();
        names.sort();
        names
    }

    pub(crate) fn leader(&self, name: &str) -> Option<String> {
        let group = self.group(name)?;
        Some(group.member(group.leader?)?.name.clone())
    }

    pub(crate) fn followers(&self, name: &str) -> Vec<String> {
        let leader = self.leader(name);
        self.voters(name).into_iter().filter(|voter| Some(voter) != leader.as_ref()).collect()
    }

    /// Seconds in which no write was acknowledged, at the longest, since this was last asked.
    pub(crate) fn take_longest_pause(&self, name: &str) -> u64 {
        let Some(group) = self.group(name) else { return 0 };
        let mut machines = self.machines.lock();
        machines
            .group_mut(group.id)
            .map_or(0, |group| std::mem::take(&mut group.longest_pause_seconds))
    }

    pub(crate) fn set_alarm(&self, name: &str, member: &str, of: super::raft::AlarmOf) {
        let Some(group) = self.group(name) else { return };
        let id = group.members.iter().find(|found| found.name == member).map(|found| found.id);
        if let (Some(id), Some(group)) = (id, self.machines.lock().group_mut(group.id)) {
            group.alarms.push((id, of));
        }
    }
}
