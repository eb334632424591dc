//! What is generated in the charts: the definitions, and the schema of a cluster's values.

use std::path::{Path, PathBuf};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use quorate_operator::manifest;
use quorate_operator_api::definitions;
use serde_json::{Map, Value, json};

fn charts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts")
}

fn is_generated(path: &str, text: &str) {
    let file = charts().join(path);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&file, text).expect("written");
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == text,
        "charts/{path} is not what the types say; UPDATE_GENERATED=1 cargo test -p \
         quorate-operator writes it"
    );
}

#[test]
fn the_definitions_of_the_chart_are_those_of_the_types() {
    let folder = "quorate-operator/files/crds";
    for definition in definitions() {
        let name = format!("{folder}/{}.yaml", definition.spec.names.plural);
        is_generated(&name, &manifest(&definition).expect("YAML"));
    }
    let found = std::fs::read_dir(charts().join(folder)).expect("the folder").count();
    assert_eq!(found, definitions().len(), "files in charts/{folder}");
}

#[test]
fn the_values_of_a_cluster_are_those_that_the_definition_knows() {
    let strings = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let mut schema = strict(&spec_schema());
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    for (name, of_value) in [
        ("nameOverride", json!({ "type": "string", "maxLength": 40 })),
        ("labels", strings.clone()),
        ("annotations", strings),
        ("global", json!({ "type": "object" })),
    ] {
        let before = schema["properties"][name].take();
        assert_eq!(before, Value::Null, "{name} means something else in the specification");
        schema["properties"][name] = of_value;
    }
    let text = format!("{}\n", serde_json::to_string_pretty(&schema).expect("JSON"));
    is_generated("quorate-cluster/values.schema.json", &text);
}

fn spec_schema() -> Value {
    let of_clusters = |found: &CustomResourceDefinition| found.spec.names.kind == "QuorateCluster";
    let definition = definitions().into_iter().find(of_clusters).expect("the kind");
    let schema = definition.spec.versions[0].schema.clone().and_then(|of| of.open_api_v3_schema);
    let schema = serde_json::to_value(schema.expect("a schema")).expect("JSON");
    schema["properties"]["spec"].clone()
}

/// A definition's schema as one of JSON Schema that takes no property that it does not know. Rules
/// stay with the API server; defaults are its own, too.
fn strict(schema: &Value) -> Value {
    let Value::Object(fields) = schema else { return schema.clone() };
    let mut out = Map::new();
    for (name, value) in fields {
        let value = match name.as_str() {
            "nullable" | "default" | "format" => continue,
            "x-kubernetes-int-or-string" => {
                out.insert("type".to_owned(), json!(["integer", "string"]));
                continue;
            }
            _ if name.starts_with("x-kubernetes-") => continue,
            "properties" => properties(value),
            "items" | "additionalProperties" => strict(value),
            _ => value.clone(),
        };
        out.insert(name.clone(), value);
    }
    let is_object = out.get("type") == Some(&json!("object"));
    if is_object && !out.contains_key("additionalProperties") && out.contains_key("properties") {
        out.insert("additionalProperties".to_owned(), json!(false));
    }
    if fields.get("nullable") == Some(&json!(true)) {
        if let Some(Value::String(of_type)) = out.get("type").cloned() {
            out.insert("type".to_owned(), json!([of_type, "null"]));
        }
        if let Some(Value::Array(values)) = out.get_mut("enum")
            && !values.contains(&Value::Null)
        {
            values.push(Value::Null);
        }
    }
    Value::Object(out)
}

fn properties(of: &Value) -> Value {
    let Value::Object(properties) = of else { return of.clone() };
    Value::Object(properties.iter().map(|(name, of)| (name.clone(), strict(of))).collect())
}
