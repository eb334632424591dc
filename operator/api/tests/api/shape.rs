//! What the API server asks of a definition.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaPropsOrArray;
use quorate_operator_api::{CLUSTER_NAME_MAX, definitions};

/// Longest name of a label.
const LABEL_MAX: usize = 63;

fn schemas() -> Vec<(String, JSONSchemaProps)> {
    let schema = |definition: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition| {
        let version = definition.spec.versions.first().expect("a version");
        let schema = version.schema.as_ref().and_then(|all| all.open_api_v3_schema.clone());
        (definition.spec.names.kind.clone(), schema.expect("a schema"))
    };
    definitions().iter().map(schema).collect()
}

/// Call `look` with every schema below this one and its path.
fn walk(path: &str, schema: &JSONSchemaProps, look: &mut impl FnMut(&str, &JSONSchemaProps)) {
    look(path, schema);
    for (name, property) in schema.properties.iter().flatten() {
        walk(&format!("{path}.{name}"), property, look);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        walk(&format!("{path}[]"), items, look);
    }
}

#[test]
fn everything_of_our_own_has_a_type_and_a_description() {
    let foreign = ["affinity", "resources", "tolerations", "topologySpread", "conditions"];
    for (kind, schema) in schemas() {
        walk(&kind, &schema, &mut |path, schema| {
            if foreign.iter().any(|name| path.contains(name)) || path.ends_with("[]") {
                return;
            }
            let is_any = schema.x_kubernetes_int_or_string == Some(true);
            assert!(schema.type_.is_some() || is_any, "{path} has no type");
            let is_root =
                [".metadata", ".apiVersion", ".kind"].iter().any(|end| path.ends_with(end));
            assert!(is_root || schema.description.is_some(), "{path} has no description");
        });
    }
}

#[test]
fn what_users_write_is_bounded() {
    for (kind, schema) in schemas() {
        let spec = schema.properties.expect("properties").remove("spec").expect("spec");
        walk(&kind, &spec, &mut |path, schema| {
            let foreign = ["affinity", "resources", "tolerations", "topologySpread"];
            if foreign.iter().any(|name| path.contains(name)) {
                return;
            }
            match schema.type_.as_deref() {
                Some("string") => assert!(
                    schema.max_length.is_some() || schema.enum_.is_some(),
                    "{path}: a string without end"
                ),
                Some("array") => assert!(schema.max_items.is_some(), "{path}: a list without end"),
                Some("object") if schema.additional_properties.is_some() => {
                    assert!(schema.max_properties.is_some(), "{path}: a map without end");
                }
                Some("integer") => assert!(
                    schema.minimum.is_some() && schema.maximum.is_some(),
                    "{path}: a number without bounds"
                ),
                _ => {}
            }
        });
    }
}

#[test]
fn names_that_are_made_of_a_clusters_fit() {
    let cluster = "c".repeat(CLUSTER_NAME_MAX);
    let longest = format!("{cluster}-9999999-0123456789");
    assert!(longest.len() <= LABEL_MAX, "{} characters", longest.len());
}

#[test]
fn a_cluster_can_be_scaled_and_looked_at() {
    let cluster = &definitions()[0];
    let version = &cluster.spec.versions[0];
    let subresources = version.subresources.as_ref().expect("subresources");
    assert!(subresources.status.is_some());
    let scale = subresources.scale.as_ref().expect("scale");
    assert_eq!(scale.spec_replicas_path, ".spec.replicas");
    assert_eq!(scale.status_replicas_path, ".status.replicas");
    assert_eq!(scale.label_selector_path.as_deref(), Some(".status.selector"));
    let columns = version.additional_printer_columns.iter().flatten();
    let columns: Vec<&str> = columns.map(|column| column.name.as_str()).collect();
    let expected = ["Available", "Members", "Leader", "Version", "Status", "Last Backup", "Age"];
    assert_eq!(columns, expected);
}
