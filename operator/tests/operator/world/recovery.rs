//! A lost majority that is given up: pods that look at what volumes hold, and a member that is made of
//! what another had.

use serde_json::{Value, json};

use super::World;
use super::machines::{Identity, Machines, Process};
use super::raft::{Group, Member};
use super::stateful_sets::text;
use crate::api_server::{Part, of_kind};

impl World {
    /// A pod that looks at a volume ends with what it holds.
    pub(super) fn look_into_volume(&self, pod: &Value) {
        let volume = self.volume_of(pod, "survivor");
        let identity = {
            let machines = self.machines.lock();
            machines.disks.get(&volume).and_then(|disk| Some((disk.identity?, disk.clone())))
        };
        let (phase, code, message) = match identity {
            Some((identity, disk)) => {
                let told = json!({
                    "cluster": format!("{:x}", identity.cluster),
                    "lastTerm": disk.term, "lastIndex": disk.index, "damage": "",
                });
                ("Succeeded", 0, told.to_string())
            }
            None => ("Failed", 1, "there is no member's data".to_owned()),
        };
        let container = &pod["spec"]["containers"][0];
        let status = json!({
            "phase": phase,
            "containerStatuses": [{
                "name": container["name"], "image": container["image"], "imageID": "",
                "ready": false, "restartCount": 0,
                "state": { "terminated": { "exitCode": code, "message": message } },
            }],
        });
        let key = (text(pod, "/metadata/namespace"), text(pod, "/metadata/name"));
        let _ = self.server.change(&of_kind::POD, key, Part::Status, |pod| pod["status"] = status);
    }

    /// The volume that a member's directory is made of, if it is made of one.
    pub(super) fn survivor_of(&self, pod: &Value) -> Option<String> {
        let first = &pod["spec"]["initContainers"][0];
        let is_recovery = first["args"][0] == "recover";
        is_recovery.then(|| self.volume_of(pod, "survivor"))
    }
}

impl Machines {
    /// The first member of a cluster that goes on, under another id, with what a disk has.
    pub(super) fn recover(
        &mut self,
        process: &Process,
        survivor: &str,
    ) -> Result<Identity, String> {
        let disk = self.disks.get(survivor).ok_or("there is no such volume")?.clone();
        let old = disk.identity.ok_or("there is no member's data")?;
        let is_of_old = |process: &&Process| {
            self.identity(process).is_some_and(|identity| identity.cluster == old.cluster)
        };
        if let Some(process) = self.processes.values().find(is_of_old) {
            let what = format!("{} runs while its cluster is rebuilt", process.pod);
            self.broken(what.clone());
            return Err(what);
        }
        let former = self.group(old.cluster).cloned().ok_or("its cluster is no more")?;
        self.mark("recover");
        let (id, member) = (0x1000 + self.number(), 0x100_0000 + self.number());
        let name = process.argument("name").unwrap_or_default().to_owned();
        let peer_url = process.peer_url().to_owned();
        self.groups.retain(|group| group.id != old.cluster);
        self.groups.push(Group {
            id,
            members: vec![Member { id: member, name, peer_url, is_learner: false }],
            leader: None,
            term: disk.term + 1,
            // What nobody who is left has is gone.
            acknowledged: former.acknowledged.min(disk.index),
            alarms: Vec::new(),
            ..former
        });
        if let Some(own) = self.disks.get_mut(&process.volume) {
            (own.term, own.index) = (disk.term, disk.index);
        }
        Ok(Identity { cluster: id, member })
    }
}
