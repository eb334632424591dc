//! Defaults: told once, the same for those who read and those who are asked by the API server.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use quorate_operator_api::{
    BackupSpec, ClusterSpec, Config, Healing, QuorateCluster, Storage, Tls, TlsProvider,
    definitions,
};
use serde_json::{Value, json};

/// Fill in what the API server fills in: the defaults of the schema, from the outside inwards.
fn fill_in(schema: &JSONSchemaProps, value: &mut Value) {
    let Value::Object(object) = value else { return };
    for (name, property) in schema.properties.iter().flatten() {
        if let (None, Some(default)) = (object.get(name), &property.default) {
            object.insert(name.clone(), default.0.clone());
        }
        if let Some(value) = object.get_mut(name) {
            fill_in(property, value);
        }
    }
}

fn spec_schema(kind: &str) -> JSONSchemaProps {
    let definition = definitions().into_iter().find(|found| found.spec.names.kind == kind);
    let version = definition.expect("the kind").spec.versions.remove(0);
    let schema = version.schema.and_then(|schema| schema.open_api_v3_schema).expect("a schema");
    schema.properties.expect("properties").remove("spec").expect("a specification")
}

#[test]
fn an_empty_cluster_is_what_the_api_server_makes_of_it() {
    let mut filled = json!({});
    fill_in(&spec_schema("QuorateCluster"), &mut filled);
    assert_eq!(filled, serde_json::to_value(ClusterSpec::default()).expect("JSON"));
    assert_eq!(filled["replicas"], 3);
    assert_eq!(filled["tls"]["provider"], "Managed");
    assert_eq!(filled["storage"]["pvcRetention"]["whenDeleted"], "Retain");
}

#[test]
fn a_backup_is_what_the_api_server_makes_of_it() {
    let mut filled = json!({ "cluster": "a" });
    fill_in(&spec_schema("QuorateBackup"), &mut filled);
    let spec: BackupSpec = serde_json::from_value(json!({ "cluster": "a" })).expect("a backup");
    assert_eq!(filled, serde_json::to_value(spec).expect("JSON"));
}

#[test]
fn parts_that_are_left_out_in_part_are_filled_in() {
    for (part, given) in [
        ("storage", json!({ "size": "1Gi" })),
        ("tls", json!({ "extraSans": ["a.example"] })),
        ("config", json!({ "autoCompaction": { "mode": "Disabled" } })),
        ("healing", json!({ "enabled": false })),
        ("monitoring", json!({ "serviceMonitor": true })),
        ("update", json!({ "type": "OnDelete" })),
    ] {
        let mut filled = json!({ part: given });
        let read: ClusterSpec = serde_json::from_value(filled.clone()).expect("read");
        fill_in(&spec_schema("QuorateCluster"), &mut filled);
        assert_eq!(filled, serde_json::to_value(read).expect("JSON"), "{part}");
    }
}

#[test]
fn each_part_has_the_defaults_of_an_empty_object() {
    let of_nothing = |value: Value| serde_json::from_value::<ClusterSpec>(value).expect("read");
    let spec = of_nothing(json!({ "storage": {}, "tls": {}, "config": {}, "healing": {} }));
    assert_eq!(spec.storage, Storage::default());
    assert_eq!(spec.tls, Tls::default());
    assert_eq!(spec.config, Config::default());
    assert_eq!(spec.healing, Healing::default());
    assert_eq!(spec, ClusterSpec::default());
    assert_eq!(spec.tls.provider, TlsProvider::Managed);
}

#[test]
fn what_is_not_known_is_left_alone() {
    let newer = json!({
        "apiVersion": "quorate.io/v1alpha1", "kind": "QuorateCluster",
        "metadata": { "name": "a" }, "spec": { "replicas": 1, "inventedLater": true },
    });
    let cluster: QuorateCluster = serde_json::from_value(newer).expect("read");
    assert_eq!(cluster.spec.replicas, 1);
}
