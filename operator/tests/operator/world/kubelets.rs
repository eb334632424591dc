//! Where pods run, and how that goes: nodes, the scheduler, the kubelets.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use super::World;
use super::backups::origin_of;
use super::machines::Process;
use super::stateful_sets::text;
use super::trust::{SYNC_SECONDS, Trust};
use crate::api_server::{Part, of_kind};

/// How long a node may be silent before it counts as gone.
const SILENT_SECONDS: u64 = 40;

/// How long pods stay on a node that is gone, unless they say otherwise.
const TOLERATED_SECONDS: u64 = 300;

impl World {
    /// Nodes that are silent are called so, and lose their pods later.
    pub(super) fn run_nodes(&mut self) {
        for object in self.server.list(&of_kind::NODE, "") {
            let name = text(&object, "/metadata/name").to_owned();
            let mut machines = self.machines.lock();
            let Some(node) = machines.nodes.get_mut(&name) else { continue };
            node.silent_seconds = if node.is_up { 0 } else { node.silent_seconds + 1 };
            let silent = node.silent_seconds;
            drop(machines);
            let status = if silent >= SILENT_SECONDS { "Unknown" } else { "True" };
            if node_status(&object) != status {
                let _ = self.server.change(&of_kind::NODE, ("", &name), Part::Status, |node| {
                    node["status"]["conditions"] = json!([{ "type": "Ready", "status": status }]);
                });
            }
            if silent == SILENT_SECONDS {
                self.pods_of(&name)
                    .iter()
                    .for_each(|pod| self.tell_pod(pod, "Running", None, false));
            }
            if silent == SILENT_SECONDS + TOLERATED_SECONDS {
                for pod in self.pods_of(&name) {
                    self.delete_pod(&pod, &Value::Null);
                }
            }
        }
        // Pods of nodes that nobody knows any more.
        let nodes = self.server.list(&of_kind::NODE, "");
        for pod in self.server.list(&of_kind::POD, "") {
            let node = text(&pod, "/spec/nodeName");
            let is_known = nodes.iter().any(|known| text(known, "/metadata/name") == node);
            if !node.is_empty() && !is_known {
                self.machines.lock().processes.remove(text(&pod, "/metadata/uid"));
                self.delete_pod(&pod, &json!({ "gracePeriodSeconds": 0 }));
            }
        }
    }

    fn pods_of(&self, node: &str) -> Vec<Value> {
        let pods = self.server.list(&of_kind::POD, "");
        pods.into_iter().filter(|pod| text(pod, "/spec/nodeName") == node).collect()
    }

    fn delete_pod(&self, pod: &Value, options: &Value) {
        let key = (text(pod, "/metadata/namespace"), text(pod, "/metadata/name"));
        let _ = self.server.delete(&of_kind::POD, key, options);
    }

    /// Pods get a node: where their volume is, or else where fewest are.
    pub(super) fn run_scheduler(&mut self) {
        for pod in self.server.list(&of_kind::POD, "") {
            if pod["spec"]["nodeName"].is_string()
                || pod["metadata"]["deletionTimestamp"].is_string()
            {
                continue;
            }
            let key = (text(&pod, "/metadata/namespace"), text(&pod, "/metadata/name"));
            match self.place_for(&pod) {
                Ok(node) => {
                    let _ = self.server.change(&of_kind::POD, key, Part::Object, |pod| {
                        pod["spec"]["nodeName"] = json!(node);
                    });
                }
                Err(why) => {
                    let condition = json!([{
                        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                        "message": why,
                    }]);
                    if pod["status"]["conditions"] != condition {
                        let _ = self.server.change(&of_kind::POD, key, Part::Status, |pod| {
                            pod["status"]["conditions"] = condition;
                        });
                    }
                }
            }
        }
    }

    fn place_for(&mut self, pod: &Value) -> Result<String, String> {
        let namespace = text(pod, "/metadata/namespace");
        let mut volumes = Vec::new();
        for claim in claims_of(pod) {
            let found = self.server.get(&of_kind::CLAIM, namespace, &claim);
            let found =
                found.ok_or_else(|| format!("persistentvolumeclaim {claim:?} not found"))?;
            if found["metadata"]["deletionTimestamp"].is_string() {
                return Err(format!("persistentvolumeclaim {claim:?} is being deleted"));
            }
            if text(&found, "/status/phase") == "Lost" {
                return Err(format!("persistentvolumeclaim {claim:?} is lost"));
            }
            let volume = text(&found, "/spec/volumeName");
            if !volume.is_empty() {
                let found = self.server.get(&of_kind::VOLUME, "", volume);
                volumes.push(found.ok_or("its volume is no more")?);
            }
        }
        let mut busy: BTreeMap<String, usize> = BTreeMap::new();
        for other in self.server.list(&of_kind::POD, "") {
            *busy.entry(text(&other, "/spec/nodeName").to_owned()).or_default() += 1;
        }
        let nodes = self.server.list(&of_kind::NODE, "");
        let fitting = nodes.iter().filter(|node| {
            node["spec"]["unschedulable"] != true
                && node_status(node) == "True"
                && volumes.iter().all(|volume| reaches(node, volume))
                && is_chosen(node, pod)
        });
        let names = fitting.map(|node| text(node, "/metadata/name").to_owned());
        let place =
            names.min_by_key(|name| (busy.get(name).copied().unwrap_or_default(), name.clone()));
        place.ok_or_else(|| "no node fits".to_owned())
    }

    /// The kubelets of nodes that are up see to their pods.
    pub(super) fn run_kubelets(&mut self) {
        for pod in self.server.list(&of_kind::POD, "") {
            let node = text(&pod, "/spec/nodeName");
            if !self.machines.lock().is_up(node) {
                continue;
            }
            let uid = text(&pod, "/metadata/uid").to_owned();
            if pod["metadata"]["deletionTimestamp"].is_string() {
                // It hears that it shall end, and has ended a second later.
                if self.machines.lock().processes.remove(&uid).is_none() {
                    self.delete_pod(&pod, &json!({ "gracePeriodSeconds": 0 }));
                }
                continue;
            }
            if matches!(text(&pod, "/status/phase"), "Failed" | "Succeeded") {
                self.machines.lock().processes.remove(&uid);
                continue;
            }
            match self.what_hinders(&pod) {
                Some((reason, message)) => {
                    self.tell_pod(&pod, "Pending", Some((reason, &message)), false);
                }
                None => self.run_pod(&pod, &uid),
            }
        }
        // Who has no pod any more does not run; on a node that is away it may.
        let pods = self.server.list(&of_kind::POD, "");
        let mut machines = self.machines.lock();
        let up: Vec<String> = machines
            .nodes
            .iter()
            .filter(|(_, node)| node.is_up)
            .map(|(name, _)| name.clone())
            .collect();
        machines.processes.retain(|uid, process| {
            !up.contains(&process.node) || pods.iter().any(|pod| text(pod, "/metadata/uid") == uid)
        });
    }

    /// Why a pod's container cannot be made.
    fn what_hinders(&self, pod: &Value) -> Option<(&'static str, String)> {
        let namespace = text(pod, "/metadata/namespace");
        let volumes = pod["spec"]["volumes"].as_array();
        let of_secret = |volume: &Value| {
            let sources = volume["projected"]["sources"].as_array().cloned().unwrap_or_default();
            let projected: Vec<String> =
                sources.iter().map(|source| text(source, "/secret/name").to_owned()).collect();
            let one = text(volume, "/secret/secretName").to_owned();
            projected.into_iter().chain([one]).filter(|name| !name.is_empty()).collect::<Vec<_>>()
        };
        for name in volumes.into_iter().flatten().flat_map(of_secret) {
            if self.server.get(&of_kind::SECRET, namespace, &name).is_none() {
                return Some(("ContainerCreating", format!("secret {name:?} not found")));
            }
        }
        for claim in claims_of(pod) {
            let found = self.server.get(&of_kind::CLAIM, namespace, &claim);
            if found.is_none_or(|claim| text(&claim, "/status/phase") != "Bound") {
                return Some(("ContainerCreating", format!("claim {claim:?} is not bound")));
            }
        }
        let image = text(pod, "/spec/containers/0/image");
        image
            .contains("missing")
            .then(|| ("ImagePullBackOff", format!("Back-off pulling image {image:?}")))
    }

    fn run_pod(&mut self, pod: &Value, uid: &str) {
        let mut machines = self.machines.lock();
        let container = &pod["spec"]["containers"][0];
        let is_member = container["name"] == "quorate";
        if !is_member {
            drop(machines);
            match text(pod, "/metadata/labels/app.kubernetes.io~1component") {
                "inspection" => self.look_into_volume(pod),
                "backup" | "backup-removal" | "backup-verification" => self.run_task(pod),
                _ => self.tell_pod(pod, "Running", None, true),
            }
            return;
        }
        let is_new = !machines.processes.contains_key(uid);
        let volume = self.volume_of(pod, "data");
        let survivor = self.survivor_of(pod);
        let origin = origin_of(pod);
        let secrets = self.tls_of(pod);
        let is_sync = self.elapsed_seconds.is_multiple_of(SYNC_SECONDS);
        let address = address_of(pod);
        let of_start = || Process {
            namespace: text(pod, "/metadata/namespace").to_owned(),
            pod: text(pod, "/metadata/name").to_owned(),
            node: text(pod, "/spec/nodeName").to_owned(),
            volume: volume.clone(),
            survivor: survivor.clone(),
            origin: origin.clone(),
            arguments: arguments(pod),
            image: text(container, "/image").to_owned(),
            address,
            tls: Trust::default(),
            trouble: Some("it starts".to_owned()),
        };
        let process = machines.processes.entry(uid.to_owned()).or_insert_with(of_start);
        if is_new || is_sync {
            process.tls.load(&secrets);
        }
        if process.trouble.is_some() {
            // A container that starts anew reads its variables anew.
            process.arguments = arguments(pod);
        }
        let process = process.clone();
        let is_ready = process.trouble.is_none()
            && machines.identity(&process).is_some_and(|identity| {
                let group = machines.group(identity.cluster);
                group.is_some_and(|group| group.leader.is_some())
            });
        drop(machines);
        match process.trouble.filter(|_| !is_new) {
            Some(why) => self.tell_crash(pod, &why),
            None => self.tell_pod(pod, "Running", None, is_ready),
        }
    }

    /// What is behind a pod's volume of this name.
    pub(super) fn volume_of(&self, pod: &Value, name: &str) -> String {
        let namespace = text(pod, "/metadata/namespace");
        let mut volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        let volume = volumes.find(|volume| volume["name"] == name);
        let claim = volume.map(|volume| text(volume, "/persistentVolumeClaim/claimName"));
        let found = self.server.get(&of_kind::CLAIM, namespace, claim.unwrap_or_default());
        found.map(|claim| text(&claim, "/spec/volumeName").to_owned()).unwrap_or_default()
    }

    /// The Secrets of its certificates.
    fn tls_of(&self, pod: &Value) -> Vec<Secret> {
        let mut volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        let Some(tls) = volumes.find(|volume| volume["name"] == "tls") else { return Vec::new() };
        let projected = tls["projected"]["sources"].as_array().into_iter().flatten();
        let names = projected.map(|source| text(source, "/secret/name"));
        let names = names.chain([text(tls, "/secret/secretName")]).filter(|name| !name.is_empty());
        let namespace = text(pod, "/metadata/namespace");
        names.filter_map(|name| self.server.read(namespace, name)).collect()
    }

    /// Writes how a pod is, if that has changed.
    fn tell_pod(&self, pod: &Value, phase: &str, waiting: Option<(&str, &str)>, is_ready: bool) {
        let state = match waiting {
            Some((reason, message)) => {
                json!({ "waiting": { "reason": reason, "message": message } })
            }
            None => json!({ "running": {} }),
        };
        self.tell_container(pod, phase, (&state, &json!({})), is_ready);
    }

    /// Writes that a pod's container ends again and again, and what it said.
    fn tell_crash(&self, pod: &Value, why: &str) {
        let container = &pod["spec"]["containers"][0];
        let message = match text(container, "/terminationMessagePolicy") {
            "FallbackToLogsOnError" => format!("it started\nquorate: {why}\n"),
            _ => String::new(),
        };
        let state = json!({
            "waiting": { "reason": "CrashLoopBackOff", "message": "back-off restarting it" },
        });
        let last = json!({
            "terminated": { "exitCode": 1, "reason": "Error", "message": message },
        });
        self.tell_container(pod, "Running", (&state, &last), false);
    }

    fn tell_container(
        &self,
        pod: &Value,
        phase: &str,
        (state, last_state): (&Value, &Value),
        is_ready: bool,
    ) {
        let container = &pod["spec"]["containers"][0];
        let ready = if is_ready { "True" } else { "False" };
        let status = json!({
            "phase": phase, "podIP": address_of(pod).to_string(),
            "conditions": [
                { "type": "PodScheduled", "status": "True" },
                { "type": "Ready", "status": ready },
            ],
            "containerStatuses": [{
                "name": container["name"], "image": container["image"], "imageID": "",
                "ready": is_ready, "restartCount": 0, "state": state, "lastState": last_state,
            }],
        });
        if pod["status"] != status {
            let key = (text(pod, "/metadata/namespace"), text(pod, "/metadata/name"));
            let _ =
                self.server.change(&of_kind::POD, key, Part::Status, |pod| pod["status"] = status);
        }
    }
}

/// Whether a node says that it is ready.
fn node_status(node: &Value) -> &str {
    text(node, "/status/conditions/0/status")
}

/// Each pod has one of its own.
fn address_of(pod: &Value) -> IpAddr {
    let digits = text(pod, "/metadata/uid").rsplit('-').next().unwrap_or_default();
    let number: u32 = digits.parse().unwrap_or_default();
    IpAddr::from(Ipv4Addr::from(0x0a01_0000 + number))
}

pub(super) fn claims_of(pod: &Value) -> Vec<String> {
    let volumes = pod["spec"]["volumes"].as_array();
    let names = volumes
        .into_iter()
        .flatten()
        .map(|volume| text(volume, "/persistentVolumeClaim/claimName").to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

/// Whether a volume can be had on a node.
fn reaches(node: &Value, volume: &Value) -> bool {
    let wanted =
        &volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0];
    let values = wanted["values"].as_array();
    let is = &node["metadata"]["labels"][text(wanted, "/key")];
    values.is_some_and(|values| values.contains(is))
}

/// Whether a node has the labels that a pod asks for.
fn is_chosen(node: &Value, pod: &Value) -> bool {
    let wanted = pod["spec"]["nodeSelector"].as_object();
    wanted.into_iter().flatten().all(|(label, value)| node["metadata"]["labels"][label] == *value)
}

/// What a container is started with; a variable stands for its argument.
fn arguments(pod: &Value) -> Vec<String> {
    let container = &pod["spec"]["containers"][0];
    let given = container["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut arguments: Vec<String> = given.map(str::to_owned).collect();
    for variable in container["env"].as_array().into_iter().flatten() {
        let path = text(variable, "/valueFrom/fieldRef/fieldPath");
        let key =
            path.strip_prefix("metadata.annotations['").and_then(|key| key.strip_suffix("']"));
        let value = match key {
            Some(key) => pod["metadata"]["annotations"][key].as_str().unwrap_or_default(),
            None => text(variable, "/value"),
        };
        if let Some(name) = text(variable, "/name").strip_prefix("ETCD_") {
            arguments.push(format!("--{}={value}", name.to_lowercase().replace('_', "-")));
        }
    }
    arguments
}
