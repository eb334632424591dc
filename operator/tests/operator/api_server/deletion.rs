//! Deletion: at once, in the time that a pod is given, or when finalizers let go.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::state::{State, has_finalizers};
use super::store::Key;

/// How long a pod that says nothing of it may take to end.
const GRACE_SECONDS: i64 = 30;

impl State {
    /// Deletes an object, or begins to.
    pub(super) fn delete(&mut self, key: &Key, options: &Value) -> Result<Value, Refusal> {
        let old = self.get(key)?;
        let metadata = &old["metadata"];
        for field in ["uid", "resourceVersion"] {
            let asked = &options["preconditions"][field];
            if !asked.is_null() && *asked != metadata[field] {
                let why = format!(
                    "Precondition failed: {field} in precondition: {asked}, in object meta: {}",
                    metadata[field]
                );
                return Err(Refusal::conflict(key.kind, &key.name, &why));
            }
        }
        if options["dryRun"].is_array() {
            return Ok((*old).clone());
        }
        let is_pod = key.kind.name == "Pod";
        let is_running = is_pod
            && old["spec"]["nodeName"].is_string()
            && !matches!(old["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        let asked = options["gracePeriodSeconds"].as_i64();
        let usual = old["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(GRACE_SECONDS);
        let grace = if is_running { asked.unwrap_or(usual) } else { 0 };
        let mut new = (*old).clone();
        let finalizer = match options["propagationPolicy"].as_str() {
            Some("Foreground") => Some("foregroundDeletion"),
            Some("Orphan") => Some("orphan"),
            _ => None,
        };
        if let Some(finalizer) = finalizer
            && metadata["deletionTimestamp"].is_null()
        {
            let mut all = metadata["finalizers"].as_array().cloned().unwrap_or_default();
            all.push(json!(finalizer));
            new["metadata"]["finalizers"] = json!(all);
        }
        if grace == 0 && !has_finalizers(&new) {
            let last = self.store.remove(key);
            if is_pod && let Some(last) = last {
                return Ok((*last).clone());
            }
            return Ok(json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                "details": { "name": key.name, "kind": key.kind.plural, "uid": metadata["uid"] },
            }));
        }
        let is_sooner =
            metadata["deletionGracePeriodSeconds"].as_i64().is_some_and(|old| grace < old);
        if metadata["deletionTimestamp"].is_null() || is_sooner {
            let at = self.clock.now() + SignedDuration::from_secs(grace);
            let at = Timestamp::from_second(at.as_second()).expect("a time");
            new["metadata"]["deletionTimestamp"] = json!(at.to_string());
            new["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
            let managers = self.store.managers(key);
            self.store.set_managers(key, managers);
            return Ok((*self.store.put(key.clone(), new)).clone());
        }
        Ok((*old).clone())
    }
}
