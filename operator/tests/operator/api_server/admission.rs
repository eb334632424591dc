//! What is filled in before an object is stored, and what is refused.

use kube::core::cel;
use quorate_operator_api::{QuorateBackup, QuorateCluster};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::kinds::Kind;
use super::refusal::Refusal;
use super::schema;

/// What claims are made of that name no class.
const DEFAULT_CLASS: &str = "standard";

/// What a StatefulSet's specification may change in.
const SET_CHANGES: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

/// Fills in what is left out. `number` is one that nobody else gets.
pub(super) fn fill_in(kind: &Kind, object: &mut Value, old: Option<&Value>, number: u64) {
    let is_new = old.is_none();
    match kind.name {
        "StatefulSet" => {
            let spec = &mut object["spec"];
            or_insert(spec, "replicas", json!(1));
            or_insert(spec, "podManagementPolicy", json!("OrderedReady"));
            or_insert(spec, "revisionHistoryLimit", json!(10));
            or_insert(spec, "updateStrategy", json!({ "type": "RollingUpdate" }));
            let templates = spec["volumeClaimTemplates"].as_array_mut();
            for template in templates.into_iter().flatten() {
                or_insert(template, "apiVersion", json!("v1"));
                or_insert(template, "kind", json!("PersistentVolumeClaim"));
                or_insert(template, "status", json!({ "phase": "Pending" }));
                or_insert(&mut template["spec"], "volumeMode", json!("Filesystem"));
            }
        }
        "Service" => {
            let spec = &mut object["spec"];
            or_insert(spec, "type", json!("ClusterIP"));
            or_insert(spec, "sessionAffinity", json!("None"));
            let given = old.map(|old| old["spec"]["clusterIP"].clone());
            let address = format!("10.96.{}.{}", number / 250 % 250, number % 250 + 1);
            or_insert(spec, "clusterIP", given.unwrap_or(json!(address)));
            for port in spec["ports"].as_array_mut().into_iter().flatten() {
                or_insert(port, "protocol", json!("TCP"));
            }
        }
        "Secret" => {
            or_insert(object, "type", json!("Opaque"));
        }
        "PersistentVolumeClaim" if is_new => {
            or_insert(&mut object["spec"], "volumeMode", json!("Filesystem"));
            or_insert(&mut object["spec"], "storageClassName", json!(DEFAULT_CLASS));
            object["status"] = json!({ "phase": "Pending" });
            or_insert(
                &mut object["metadata"],
                "finalizers",
                json!(["kubernetes.io/pvc-protection"]),
            );
        }
        "Pod" if is_new => object["status"] = json!({ "phase": "Pending" }),
        "Namespace" if is_new => {
            or_insert(&mut object["metadata"], "finalizers", json!(["kubernetes"]));
            object["status"] = json!({ "phase": "Active" });
        }
        _ => {}
    }
}

fn or_insert(object: &mut Value, name: &str, value: Value) {
    if !object.is_object() {
        *object = json!({});
    }
    if object[name].is_null() {
        object[name] = value;
    }
}

/// Refuses what cannot be stored.
pub(super) fn check(
    kind: &Kind,
    name: &str,
    new: &Value,
    old: Option<&Value>,
    schema: Option<&Value>,
) -> Result<(), Refusal> {
    let invalid = |why: String| Err(Refusal::invalid(kind, name, &why));
    if !is_name(name) {
        return invalid(format!("metadata.name: Invalid value: {name:?}"));
    }
    check_metadata(kind, name, new)?;
    if let Some(schema) = schema {
        let mistakes = schema::mistakes(new, schema);
        if !mistakes.is_empty() {
            return invalid(mistakes.join(", "));
        }
        check_rules(kind, name, new, old)?;
    }
    match (kind.name, old) {
        ("StatefulSet", old) => check_set(kind, name, new, old),
        ("PersistentVolumeClaim", Some(old)) => check_claim(kind, name, new, old),
        ("Pod", Some(old)) => {
            let of = |pod: &Value| {
                let spec = pod["spec"].as_object().cloned().unwrap_or_default();
                let fixed = ["tolerations", "activeDeadlineSeconds", "containers", "nodeName"];
                spec.into_iter()
                    .filter(|(key, _)| !fixed.contains(&key.as_str()))
                    .collect::<Vec<_>>()
            };
            if of(new) == of(old) {
                return Ok(());
            }
            invalid("spec: Forbidden: pod updates may not change fields other than …".to_owned())
        }
        ("Service", Some(old)) if new["spec"]["clusterIP"] != old["spec"]["clusterIP"] => {
            invalid("spec.clusterIPs[0]: Invalid value: may not change once set".to_owned())
        }
        ("Secret", Some(old)) if old["immutable"] == true && new["data"] != old["data"] => {
            invalid("data: Forbidden: field is immutable when `immutable` is set".to_owned())
        }
        ("Secret", Some(old)) if new["type"] != old["type"] => {
            invalid("type: Invalid value: field is immutable".to_owned())
        }
        ("Job", Some(old)) if new["spec"]["template"] != old["spec"]["template"] => {
            invalid("spec.template: Invalid value: field is immutable".to_owned())
        }
        ("Event", _) => check_event(kind, name, new),
        _ => Ok(()),
    }
}

fn check_metadata(kind: &Kind, name: &str, new: &Value) -> Result<(), Refusal> {
    let invalid = |why: String| Err(Refusal::invalid(kind, name, &why));
    let metadata = &new["metadata"];
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        let short = key.rsplit('/').next().unwrap_or_default();
        let value = value.as_str().unwrap_or("not a text");
        if !is_label(short) || short.is_empty() || !is_label(value) {
            return invalid(format!("metadata.labels: Invalid value: {key}={value}"));
        }
    }
    let owners = metadata["ownerReferences"].as_array();
    let mut controllers = 0;
    for owner in owners.into_iter().flatten() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().unwrap_or_default().is_empty() {
                return invalid(format!("metadata.ownerReferences.{field}: must not be empty"));
            }
        }
        controllers += u32::from(owner["controller"] == true);
    }
    if controllers > 1 {
        return invalid("metadata.ownerReferences: Only one reference can have controller".into());
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    bytes.len() <= 253
        && ends.into_iter().all(|end| end.copied().is_some_and(is_fine))
        && bytes.iter().all(|byte| is_fine(*byte) || matches!(byte, b'-' | b'.'))
}

/// Of labels' values, and of their keys behind the slash.
fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    bytes.len() <= 63
        && ends.into_iter().flatten().all(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

fn check_set(kind: &Kind, name: &str, new: &Value, old: Option<&Value>) -> Result<(), Refusal> {
    let invalid = |why: &str| Err(Refusal::invalid(kind, name, why));
    let wanted = new["spec"]["selector"]["matchLabels"].as_object();
    let labels = &new["spec"]["template"]["metadata"]["labels"];
    if wanted.is_none_or(|wanted| wanted.iter().any(|(key, value)| labels[key] != *value)) {
        return invalid("spec.template.metadata.labels: `selector` does not match");
    }
    let fixed = |set: &Value| {
        let spec = set["spec"].as_object().cloned().unwrap_or_default();
        spec.into_iter().filter(|(key, _)| !SET_CHANGES.contains(&key.as_str())).collect::<Vec<_>>()
    };
    if old.is_some_and(|old| fixed(old) != fixed(new)) {
        return invalid(
            "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', \
             'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', \
             'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        );
    }
    Ok(())
}

fn check_claim(kind: &Kind, name: &str, new: &Value, old: &Value) -> Result<(), Refusal> {
    let invalid = |why: &str| Err(Refusal::invalid(kind, name, why));
    let fixed = |claim: &Value| {
        let mut spec = claim["spec"].clone();
        spec["resources"] = Value::Null;
        // The volume's name is set once.
        if old["spec"]["volumeName"].is_null() {
            spec["volumeName"] = Value::Null;
        }
        spec
    };
    if fixed(new) != fixed(old) {
        return invalid("spec: Forbidden: spec is immutable after creation except resources");
    }
    let bytes = |claim: &Value| {
        let text = claim["spec"]["resources"]["requests"]["storage"].as_str().unwrap_or_default();
        quorate_operator_api::Size(text.to_owned()).bytes().unwrap_or_default()
    };
    if bytes(new) < bytes(old) {
        return invalid("spec.resources.requests.storage: Forbidden: can not be less");
    }
    if bytes(new) > bytes(old) && old["status"]["phase"] != "Bound" {
        return invalid("spec: Forbidden: only bound claims can be resized");
    }
    if bytes(new) > bytes(old) && old["spec"]["storageClassName"] == "fixed" {
        let message = format!(
            "persistentvolumeclaims \"{name}\" is forbidden: only dynamically provisioned pvc can \
             be resized and the storageclass that provisions the pvc must support resize"
        );
        return Err(Refusal::forbidden(message));
    }
    Ok(())
}

fn check_event(kind: &Kind, name: &str, new: &Value) -> Result<(), Refusal> {
    let invalid = |why: String| Err(Refusal::invalid(kind, name, &why));
    for field in ["eventTime", "reportingController", "reportingInstance", "action", "reason"] {
        if new[field].as_str().unwrap_or_default().is_empty() {
            return invalid(format!("{field}: Required value"));
        }
    }
    if !matches!(new["type"].as_str(), Some("Normal" | "Warning")) {
        return invalid("type: Invalid value".to_owned());
    }
    if new["note"].as_str().is_some_and(|note| note.len() > 1024) {
        return invalid("note: can have at most 1024 bytes".to_owned());
    }
    if new["action"].as_str().is_some_and(|action| action.len() > 128) {
        return invalid("action: can have at most 128 bytes".to_owned());
    }
    if new["regarding"]["namespace"]
        .as_str()
        .is_some_and(|about| new["metadata"]["namespace"] != about)
    {
        return invalid("regarding.namespace: does not match event.namespace".to_owned());
    }
    Ok(())
}

/// The rules of our own kinds.
fn check_rules(kind: &Kind, name: &str, new: &Value, old: Option<&Value>) -> Result<(), Refusal> {
    if old.is_some_and(|old| old["spec"] == new["spec"]) {
        return Ok(());
    }
    let found = match kind.name {
        "QuorateCluster" => rules_of::<QuorateCluster>(new, old),
        "QuorateBackup" => rules_of::<QuorateBackup>(new, old),
        _ => None,
    };
    found.map_or(Ok(()), |why| Err(Refusal::invalid(kind, name, &why)))
}

fn rules_of<T: DeserializeOwned + Serialize + kube::CustomResourceExt>(
    new: &Value,
    old: Option<&Value>,
) -> Option<String> {
    let read = |value: &Value| serde_json::from_value::<T>(value.clone());
    let new = match read(new) {
        Ok(new) => new,
        Err(error) => return Some(error.to_string()),
    };
    let result = match old.map(read) {
        Some(Ok(old)) => cel::validate_cel_update(&new, &old).map_err(|all| format!("{all:?}")),
        Some(Err(_)) | None => cel::validate_cel(&new).map_err(|all| format!("{all:?}")),
    };
    result.err()
}
