//! The controller of StatefulSets, as far as one replica and `OnDelete` go.

use serde_json::{Value, json};

use super::World;
use crate::api_server::{Part, of_kind};

impl World {
    pub(super) fn run_stateful_sets(&mut self) {
        for set in self.server.list(&of_kind::STATEFUL_SET, "") {
            if set["metadata"]["deletionTimestamp"].is_string() {
                continue;
            }
            let namespace = text(&set, "/metadata/namespace");
            let pod = format!("{}-0", text(&set, "/metadata/name"));
            let found = self.server.get(&of_kind::POD, namespace, &pod);
            let is_wanted = set["spec"]["replicas"] != 0;
            self.see_to_claims(&set, &pod, is_wanted);
            match (&found, is_wanted) {
                (None, true) => self.make_pod(&set, &pod),
                (Some(pod), _) if pod["metadata"]["deletionTimestamp"].is_string() => {}
                (Some(found), is_wanted) => {
                    let is_over = matches!(text(found, "/status/phase"), "Failed" | "Succeeded");
                    let is_own = owner_uid(found) == text(&set, "/metadata/uid");
                    if is_own && (is_over || !is_wanted) {
                        let _ = self.server.delete(&of_kind::POD, (namespace, &pod), &Value::Null);
                    }
                }
                (None, false) => {}
            }
            self.tell_status(&set, found.as_ref());
        }
    }

    fn make_pod(&mut self, set: &Value, name: &str) {
        let namespace = text(set, "/metadata/namespace");
        let template = &set["spec"]["template"];
        let mut pod = json!({
            "metadata": template["metadata"], "spec": template["spec"],
        });
        let metadata = &mut pod["metadata"];
        metadata["name"] = json!(name);
        metadata["ownerReferences"] = json!([owner(set)]);
        metadata["labels"]["statefulset.kubernetes.io/pod-name"] = json!(name);
        metadata["labels"]["apps.kubernetes.io/pod-index"] = json!("0");
        metadata["labels"]["controller-revision-hash"] = json!(revision(set));
        let mut volumes = pod["spec"]["volumes"].as_array().cloned().unwrap_or_default();
        for claim in claims_of(set, name) {
            volumes.push(json!({
                "name": claim.0, "persistentVolumeClaim": { "claimName": claim.1 },
            }));
        }
        pod["spec"]["volumes"] = json!(volumes);
        let _ = self.server.create(&of_kind::POD, namespace, pod);
    }

    /// Claims are made with their pod, and go with their set if that is the policy.
    fn see_to_claims(&mut self, set: &Value, pod: &str, is_wanted: bool) {
        let namespace = text(set, "/metadata/namespace");
        let policy = text(set, "/spec/persistentVolumeClaimRetentionPolicy/whenDeleted");
        let owners = match policy {
            "Delete" => json!([owner(set)]),
            _ => json!([]),
        };
        let templates = set["spec"]["volumeClaimTemplates"].as_array();
        for template in templates.into_iter().flatten() {
            let short = text(template, "/metadata/name");
            let name = format!("{short}-{pod}");
            let Some(claim) = self.server.get(&of_kind::CLAIM, namespace, &name) else {
                if is_wanted {
                    let mut labels = template["metadata"]["labels"].clone();
                    let selected = set["spec"]["selector"]["matchLabels"].as_object();
                    for (key, value) in selected.into_iter().flatten() {
                        labels[key] = value.clone();
                    }
                    let claim = json!({
                        "metadata": { "name": name, "labels": labels, "ownerReferences": owners },
                        "spec": template["spec"],
                    });
                    let _ = self.server.create(&of_kind::CLAIM, namespace, claim);
                }
                continue;
            };
            let has_owners = claim["metadata"]["ownerReferences"].as_array();
            let is_owned = has_owners.is_some_and(|owners| !owners.is_empty());
            if is_owned != (policy == "Delete") {
                let _ = self.server.change(
                    &of_kind::CLAIM,
                    (namespace, &name),
                    Part::Object,
                    |claim| claim["metadata"]["ownerReferences"] = owners.clone(),
                );
            }
        }
    }

    fn tell_status(&mut self, set: &Value, pod: Option<&Value>) {
        let (namespace, name) = (text(set, "/metadata/namespace"), text(set, "/metadata/name"));
        let ready = u32::from(pod.is_some_and(is_ready));
        let status = json!({
            "observedGeneration": set["metadata"]["generation"],
            "replicas": u32::from(pod.is_some()), "readyReplicas": ready,
            "availableReplicas": ready, "updateRevision": revision(set),
            "currentRevision": revision(set),
        });
        if set["status"] != status {
            let key = (namespace, name);
            let _ = self.server.change(&of_kind::STATEFUL_SET, key, Part::Status, |set| {
                set["status"] = status;
            });
        }
    }
}

/// The claims of a set's pod: the volumes' names, and theirs.
fn claims_of(set: &Value, pod: &str) -> Vec<(String, String)> {
    let templates = set["spec"]["volumeClaimTemplates"].as_array();
    let names = templates.into_iter().flatten().map(|template| text(template, "/metadata/name"));
    names.map(|name| (name.to_owned(), format!("{name}-{pod}"))).collect()
}

fn owner(set: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "name": set["metadata"]["name"],
        "uid": set["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    })
}

/// A short name of a template.
fn revision(set: &Value) -> String {
    let template = set["spec"]["template"].to_string();
    let hash =
        template.bytes().fold(5381_u32, |hash, byte| hash.wrapping_mul(33) ^ u32::from(byte));
    format!("{hash:x}")
}

/// A text in an object; empty if there is none.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The uid of an object's controller.
pub(super) fn owner_uid(object: &Value) -> &str {
    let owners = object["metadata"]["ownerReferences"].as_array();
    let mut owners = owners.into_iter().flatten();
    owners.find(|owner| owner["controller"] == true).map_or("", |owner| text(owner, "/uid"))
}

/// Whether a pod's probe passes.
pub(super) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
