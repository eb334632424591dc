//! Every rule with a case on either side, as `rules.yaml` tells them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::core::cel;
use quorate_operator_api::{OWNED_FLAGS, QuorateBackup, QuorateCluster, definitions};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    rule: String,
    #[serde(default = "clusters")]
    kind: String,
    #[serde(default)]
    taken: Vec<Value>,
    #[serde(default)]
    refused: Vec<Value>,
    #[serde(default)]
    changes: Sides<(Value, Value)>,
    #[serde(default)]
    names: Sides<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sides<T> {
    #[serde(default = "Vec::new")]
    taken: Vec<T>,
    #[serde(default = "Vec::new")]
    refused: Vec<T>,
}

impl<T> Default for Sides<T> {
    fn default() -> Self {
        Self { taken: Vec::new(), refused: Vec::new() }
    }
}

fn clusters() -> String {
    "QuorateCluster".to_owned()
}

fn rules() -> Vec<Rule> {
    serde_yaml::from_str(include_str!("rules.yaml")).expect("the rules' cases")
}

fn resource<T: DeserializeOwned>(kind: &str, name: &str, spec: &Value) -> T {
    serde_json::from_value(json!({
        "apiVersion": "quorate.io/v1alpha1", "kind": kind,
        "metadata": { "name": name }, "spec": spec,
    }))
    .unwrap_or_else(|error| panic!("{spec}: {error}"))
}

/// What the local rules say; nothing, if they take it.
fn of_creation(kind: &str, name: &str, spec: &Value) -> String {
    match kind {
        "QuorateBackup" => {
            refusals(cel::validate_cel(&resource::<QuorateBackup>(kind, name, spec)))
        }
        _ => refusals(cel::validate_cel(&resource::<QuorateCluster>(kind, name, spec))),
    }
}

fn of_change(kind: &str, (old, new): &(Value, Value)) -> String {
    match kind {
        "QuorateBackup" => {
            let of = |spec| resource::<QuorateBackup>(kind, "a", spec);
            refusals(cel::validate_cel_update(&of(new), &of(old)))
        }
        _ => {
            let of = |spec| resource::<QuorateCluster>(kind, "a", spec);
            refusals(cel::validate_cel_update(&of(new), &of(old)))
        }
    }
}

fn refusals<T, E: std::fmt::Debug>(result: Result<T, E>) -> String {
    result.err().map(|errors| format!("{errors:?}")).unwrap_or_default()
}

#[test]
fn what_is_right_is_taken() {
    for rule in rules() {
        for spec in &rule.taken {
            assert_eq!(of_creation(&rule.kind, "a", spec), "", "{}: {spec}", rule.rule);
        }
        for change in &rule.changes.taken {
            assert_eq!(of_change(&rule.kind, change), "", "{}: {change:?}", rule.rule);
        }
        for name in &rule.names.taken {
            assert_eq!(of_creation(&rule.kind, name, &json!({})), "", "{}: {name}", rule.rule);
        }
    }
}

#[test]
fn what_is_wrong_is_refused_with_the_rules_message() {
    for rule in rules() {
        let mut found = Vec::new();
        for spec in &rule.refused {
            found.push((spec.to_string(), of_creation(&rule.kind, "a", spec)));
        }
        for change in &rule.changes.refused {
            found.push((format!("{change:?}"), of_change(&rule.kind, change)));
        }
        for name in &rule.names.refused {
            found.push((name.clone(), of_creation(&rule.kind, name, &json!({}))));
        }
        assert!(!found.is_empty(), "{}: no case is refused", rule.rule);
        for (case, message) in found {
            let words = &rule.rule;
            assert!(message.contains(words), "{case}: {words:?} is not in {message:?}");
        }
    }
}

#[test]
fn every_rule_has_cases() {
    let rules = rules();
    let mut messages = Vec::new();
    for definition in definitions() {
        let schema = definition.spec.versions[0].schema.as_ref();
        let schema = schema.and_then(|all| all.open_api_v3_schema.as_ref()).expect("a schema");
        collect_messages(schema, &mut messages);
    }
    assert!(messages.len() > 20, "{messages:?}");
    for message in messages {
        assert!(rules.iter().any(|rule| message.contains(&rule.rule)), "no case for {message:?}");
    }
}

fn collect_messages(schema: &JSONSchemaProps, messages: &mut Vec<String>) {
    for rule in schema.x_kubernetes_validations.iter().flatten() {
        messages.push(rule.message.clone().expect("a rule has a message"));
    }
    for property in schema.properties.iter().flatten().map(|(_, property)| property) {
        collect_messages(property, messages);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        collect_messages(items, messages);
    }
}

#[test]
fn each_flag_of_the_operator_has_a_case() {
    let rules = rules();
    let refused = |flag: &str| {
        let case = json!({ "config": { "extraArgs": { flag: "a" } } });
        rules
            .iter()
            .any(|rule| rule.rule == "the operator sets itself" && rule.refused.contains(&case))
    };
    for flag in OWNED_FLAGS {
        assert!(refused(flag), "{flag}");
    }
}
