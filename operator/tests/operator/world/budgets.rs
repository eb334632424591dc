//! How many pods may be evicted: the controller of budgets, and evictions.

use serde_json::{Value, json};

use super::stateful_sets::{is_ready, text};
use super::{NAMESPACE, World};
use crate::api_server::{Part, of_kind};

/// The pods of a budget that serve.
fn healthy(budget: &Value, pods: &[Value]) -> usize {
    let serves = |pod: &&Value| {
        is_of(budget, pod) && is_ready(pod) && pod["metadata"]["deletionTimestamp"].is_null()
    };
    pods.iter().filter(serves).count()
}

fn is_of(budget: &Value, pod: &Value) -> bool {
    let wanted = budget["spec"]["selector"]["matchLabels"].as_object();
    let labels = &pod["metadata"]["labels"];
    budget["metadata"]["namespace"] == pod["metadata"]["namespace"]
        && wanted.is_some_and(|all| all.iter().all(|(key, value)| labels[key] == *value))
}

fn least(budget: &Value) -> usize {
    let least = budget["spec"]["minAvailable"].as_u64().unwrap_or_default();
    usize::try_from(least).unwrap_or_default()
}

impl World {
    /// Budgets say how much room they have.
    pub(super) fn run_budgets(&mut self) {
        let pods = self.server.list(&of_kind::POD, "");
        for budget in self.server.list(&of_kind::BUDGET, "") {
            let (healthy, least) = (healthy(&budget, &pods), least(&budget));
            let status = json!({
                "observedGeneration": budget["metadata"]["generation"],
                "currentHealthy": healthy, "desiredHealthy": least,
                "disruptionsAllowed": healthy.saturating_sub(least),
                "expectedPods": pods.iter().filter(|pod| is_of(&budget, pod)).count(),
            });
            if budget["status"] != status {
                let key = (text(&budget, "/metadata/namespace"), text(&budget, "/metadata/name"));
                let _ = self.server.change(&of_kind::BUDGET, key, Part::Status, |budget| {
                    budget["status"] = status;
                });
            }
        }
    }

    /// Evicts a pod as a drain does, if its budgets have room. Who does not serve may always go.
    pub(crate) fn evict(&self, pod: &str) -> Result<(), String> {
        let Some(found) = self.server.get(&of_kind::POD, NAMESPACE, pod) else { return Ok(()) };
        let pods = self.server.list(&of_kind::POD, NAMESPACE);
        for budget in self.server.list(&of_kind::BUDGET, NAMESPACE) {
            let (healthy, least) = (healthy(&budget, &pods), least(&budget));
            if is_of(&budget, &found) && is_ready(&found) && healthy <= least {
                return Err(format!("the budget needs {least} of {healthy}"));
            }
        }
        self.server.delete(&of_kind::POD, (NAMESPACE, pod), &Value::Null).map_err(|no| no.message)
    }
}
