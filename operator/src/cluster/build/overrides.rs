//! What the user knows better about pods.

use k8s_openapi::api::core::v1::PodSpec;
use quorate_operator_api::PodOverrides;
use serde_json::Value;

use super::BuildError;

/// Merge what the user says into a pod.
///
/// # Errors
/// [`BuildError::Overrides`] if the result is no pod.
pub(super) fn merge(pod: PodSpec, overrides: &PodOverrides) -> Result<PodSpec, BuildError> {
    let refused = |error: serde_json::Error| BuildError::Overrides(error.to_string());
    let mut value = serde_json::to_value(pod).map_err(refused)?;
    merge_values(&mut value, &Value::Object(overrides.0.clone()));
    serde_json::from_value(value).map_err(refused)
}

/// As RFC 7386 has it: objects are merged, null removes, all else replaces. But lists of things that
/// all have a name are merged by it, as containers, volumes and variables are.
fn merge_values(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, patch) in patch {
                if patch.is_null() {
                    target.remove(key);
                } else {
                    merge_values(target.entry(key.clone()).or_insert(Value::Null), patch);
                }
            }
        }
        (Value::Array(target), Value::Array(patch)) if are_named(target) && are_named(patch) => {
            for item in patch {
                match target.iter_mut().find(|found| found["name"] == item["name"]) {
                    Some(found) => merge_values(found, item),
                    None => target.push(without_nulls(item)),
                }
            }
        }
        (target, patch) => *target = without_nulls(patch),
    }
}

fn are_named(items: &[Value]) -> bool {
    !items.is_empty() && items.iter().all(|item| item["name"].is_string())
}

/// A null removes what is not there either.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), without_nulls(value)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            value.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::merge_values;

    #[test]
    fn a_patch_is_merged() {
        let mut value = json!({
            "a": { "b": 1, "c": 2 },
            "containers": [{ "name": "x", "image": "i" }],
            "list": [1, 2],
        });
        merge_values(
            &mut value,
            &json!({
                "a": { "b": null, "d": { "e": null, "f": 1 } },
                "containers": [{ "name": "x", "args": ["1"] }, { "name": "y" }],
                "list": [3],
            }),
        );
        assert_eq!(
            value,
            json!({
                "a": { "c": 2, "d": { "f": 1 } },
                "containers": [{ "name": "x", "image": "i", "args": ["1"] }, { "name": "y" }],
                "list": [3],
            })
        );
    }
}
