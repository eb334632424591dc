//! Claims and the disks behind them, and what goes when its owner goes.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::World;
use super::kubelets::claims_of;
use super::machines::Disk;
use super::stateful_sets::text;
use crate::api_server::{Part, of_kind};

/// The storage class whose volumes any node of their zone reaches; others' are on one node.
const ZONAL: &str = "zonal";

const HOSTNAME: &str = "kubernetes.io/hostname";

impl World {
    /// Claims get a disk on the node of their pod, grow, and go when nobody uses them.
    pub(super) fn run_volumes(&mut self) {
        let pods = self.server.list(&of_kind::POD, "");
        for claim in self.server.list(&of_kind::CLAIM, "") {
            let (namespace, name) =
                (text(&claim, "/metadata/namespace"), text(&claim, "/metadata/name"));
            let mut users = pods.iter().filter(|pod| {
                text(pod, "/metadata/namespace") == namespace
                    && claims_of(pod).iter().any(|used| used == name)
            });
            let user = users.next();
            if claim["metadata"]["deletionTimestamp"].is_string() {
                // A pod that has no node yet does not use it.
                if user.is_none_or(|pod| text(pod, "/spec/nodeName").is_empty()) {
                    let key = (namespace, name);
                    let _ = self.server.change(&of_kind::CLAIM, key, Part::Object, |claim| {
                        claim["metadata"]["finalizers"] = json!([]);
                    });
                }
                continue;
            }
            let node = user.map(|pod| text(pod, "/spec/nodeName")).unwrap_or_default();
            match text(&claim, "/status/phase") {
                "Pending" if !node.is_empty() => self.bind(&claim, node),
                "Bound" => self.look_at_disk(&claim),
                _ => {}
            }
        }
        self.collect_disks();
    }

    fn bind(&mut self, claim: &Value, node: &str) {
        let key = (text(claim, "/metadata/namespace"), text(claim, "/metadata/name"));
        let volume = format!("pv-{}", text(claim, "/metadata/uid"));
        // One of a zone is on no machine of its nodes.
        let is_zonal = text(claim, "/spec/storageClassName") == ZONAL;
        let (label, on) =
            if is_zonal { ("topology.kubernetes.io/zone", "") } else { (HOSTNAME, node) };
        let object = self.server.get(&of_kind::NODE, "", node).unwrap_or_default();
        let place = &object["metadata"]["labels"][label];
        let disk = Disk { node: on.to_owned(), ..Disk::default() };
        self.machines.lock().disks.insert(volume.clone(), disk);
        let object = json!({
            "metadata": { "name": volume },
            "spec": { "nodeAffinity": { "required": { "nodeSelectorTerms": [{
                "matchExpressions": [{ "key": label, "operator": "In", "values": [place] }],
            }] } } },
        });
        let _ = self.server.create(&of_kind::VOLUME, "", object);
        let _ = self.server.change(&of_kind::CLAIM, key, Part::Object, |claim| {
            claim["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] = json!(node);
            claim["spec"]["volumeName"] = json!(volume);
        });
        let size = claim["spec"]["resources"]["requests"]["storage"].clone();
        let _ = self.server.change(&of_kind::CLAIM, key, Part::Status, |claim| {
            claim["status"] = json!({ "phase": "Bound", "capacity": { "storage": size } });
        });
    }

    fn look_at_disk(&mut self, claim: &Value) {
        let key = (text(claim, "/metadata/namespace"), text(claim, "/metadata/name"));
        let is_there = self.machines.lock().disks.contains_key(text(claim, "/spec/volumeName"));
        let wanted = &claim["spec"]["resources"]["requests"]["storage"];
        if !is_there {
            let _ = self.server.change(&of_kind::CLAIM, key, Part::Status, |claim| {
                claim["status"]["phase"] = json!("Lost");
            });
        } else if claim["status"]["capacity"]["storage"] != *wanted {
            let _ = self.server.change(&of_kind::CLAIM, key, Part::Status, |claim| {
                claim["status"]["capacity"]["storage"] = wanted.clone();
            });
        }
    }

    /// A disk goes with its claim. Whoever deletes that of a voter is told so.
    fn collect_disks(&mut self) {
        let claims = self.server.list(&of_kind::CLAIM, "");
        let mut machines = self.machines.lock();
        let gone: Vec<String> = machines
            .disks
            .keys()
            .filter(|volume| !claims.iter().any(|claim| text(claim, "/spec/volumeName") == *volume))
            .cloned()
            .collect();
        for volume in gone {
            machines.disks.remove(&volume);
        }
        for volume in self.server.list(&of_kind::VOLUME, "") {
            let name = text(&volume, "/metadata/name");
            if !machines.disks.contains_key(name) {
                let _ = self.server.delete(&of_kind::VOLUME, ("", name), &Value::Null);
            }
        }
    }

    /// What is owned by nobody that there is goes; foreground deletion waits for it.
    pub(super) fn run_garbage_collector(&mut self) {
        let all = self.server.all();
        let uids: BTreeSet<&str> =
            all.iter().map(|(_, object)| text(object, "/metadata/uid")).collect();
        let is_leaving = |object: &Value| has_finalizer(object, "foregroundDeletion");
        let leaving: BTreeSet<&str> = all
            .iter()
            .filter(|(_, object)| is_leaving(object))
            .map(|(_, object)| text(object, "/metadata/uid"))
            .collect();
        let mut held: BTreeSet<&str> = BTreeSet::new();
        for (key, object) in &all {
            let owners = object["metadata"]["ownerReferences"].as_array();
            let owners: Vec<&Value> = owners.into_iter().flatten().collect();
            for owner in owners.iter().filter(|owner| owner["blockOwnerDeletion"] == true) {
                held.insert(text(owner, "/uid"));
            }
            if owners.is_empty() || object["metadata"]["deletionTimestamp"].is_string() {
                continue;
            }
            let is_leaving = |uid: &str| leaving.contains(uid);
            let is_kept = owners
                .iter()
                .map(|owner| text(owner, "/uid"))
                .any(|uid| uids.contains(uid) && !is_leaving(uid));
            if !is_kept {
                // Who goes first waits for what it owns, too.
                let waits = owners.iter().any(|owner| is_leaving(text(owner, "/uid")));
                let options = json!({
                    "preconditions": { "uid": object["metadata"]["uid"] },
                    "propagationPolicy": if waits { "Foreground" } else { "Background" },
                });
                let place = (key.namespace.as_str(), key.name.as_str());
                let _ = self.server.delete(key.kind, place, &options);
            }
        }
        for (key, object) in &all {
            let is_held = held.contains(text(object, "/metadata/uid"));
            if has_finalizer(object, "foregroundDeletion") && !is_held {
                let place = (key.namespace.as_str(), key.name.as_str());
                let _ = self.server.change(key.kind, place, Part::Object, |object| {
                    let all = object["metadata"]["finalizers"].as_array_mut();
                    if let Some(all) = all {
                        all.retain(|one| one != "foregroundDeletion");
                    }
                });
            }
        }
        self.empty_namespaces();
    }

    /// A namespace that is deleted loses everything in it first.
    fn empty_namespaces(&mut self) {
        for namespace in self.server.list(&of_kind::NAMESPACE, "") {
            if !namespace["metadata"]["deletionTimestamp"].is_string() {
                continue;
            }
            let name = text(&namespace, "/metadata/name");
            let inside = self.server.all().into_iter().filter(|(key, _)| key.namespace == name);
            let mut is_empty = true;
            for (key, _) in inside {
                is_empty = false;
                let _ = self.server.delete(key.kind, (name, &key.name), &Value::Null);
            }
            if is_empty {
                let _ =
                    self.server.change(&of_kind::NAMESPACE, ("", name), Part::Object, |object| {
                        object["metadata"]["finalizers"] = json!([]);
                    });
            }
        }
    }
}

fn has_finalizer(object: &Value, name: &str) -> bool {
    let all = object["metadata"]["finalizers"].as_array();
    all.is_some_and(|all| all.iter().any(|one| one == name))
}
