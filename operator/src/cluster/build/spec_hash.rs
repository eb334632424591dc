//! What a member has to be restarted for.

use std::collections::BTreeMap;

use quorate_operator_api::TlsProvider;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Blueprint, flags};

/// The annotation of pods with the hash. A pod whose hash is another one than its StatefulSet's
/// template has is out of date.
pub const ANNOTATION: &str = "quorate.io/spec-hash";

/// Bytes of the hash that are told.
const SHOWN_BYTES: usize = 8;

/// The flag that is told apart: the operator derives it from the volume.
const QUOTA: &str = "quota-backend-bytes";

/// A hash of what the user asks for and running pods do not have until they are restarted. What
/// is left open stays out, so that other defaults of another operator restart nobody; labels and
/// annotations stay out, because pods run as well without.
pub(super) fn of(blueprint: &Blueprint<'_>) -> String {
    let spec = blueprint.spec;
    let pod = &spec.pod;
    let mut parts = BTreeMap::new();
    let mut add = |name: &'static str, value: Value| {
        let is_open = match &value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        };
        if !is_open {
            parts.insert(name, value);
        }
    };
    let mut flags = flags::of_spec(spec, blueprint.volume_bytes);
    if spec.config.quota_backend.is_none() {
        flags.remove(QUOTA);
        add("volume", blueprint.volume_bytes.into());
        add("volumeMax", value(&spec.storage.auto_grow.as_ref().map(|grow| &grow.max_size)));
    }
    add("flags", value(&flags));
    add("image", value(&blueprint.image));
    add("resources", value(&pod.resources));
    add("affinity", value(&pod.affinity));
    add("nodeSelector", value(&pod.node_selector));
    add("tolerations", value(&pod.tolerations));
    add("spread", value(&pod.topology_spread_constraints));
    add("priorityClass", value(&pod.priority_class_name));
    add("overrides", value(&pod.overrides));
    add("tls", value(&spec.tls.provider));
    if spec.tls.provider == TlsProvider::Secret {
        add("tlsSecrets", value(&[&spec.tls.server_secret, &spec.tls.peer_secret]));
    }
    add("restart", value(&blueprint.restart));
    let text = serde_json::to_vec(&parts).expect("keys are strings");
    let digest = Sha256::digest(&text);
    digest.iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

fn value(part: &impl Serialize) -> Value {
    serde_json::to_value(part).expect("parts of a resource that was read from JSON")
}
