//! The examples for newcomers: every field is known, every rule is kept.

use std::path::Path;

use kube::core::cel;
use quorate_operator_api::{QuorateBackup, QuorateCluster};
use serde_json::Value;

#[test]
fn the_examples_are_taken() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples");
    let mut looked_at = 0;
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("an example");
        let given: Value = serde_yaml::from_str(&text).expect("YAML");
        let at = path.display();
        let read = match given["kind"].as_str() {
            Some("QuorateCluster") => {
                let cluster: QuorateCluster = serde_yaml::from_str(&text).expect("a cluster");
                cel::validate_cel(&cluster).unwrap_or_else(|errors| panic!("{at}: {errors:?}"));
                serde_json::to_value(cluster)
            }
            Some("QuorateBackup") => {
                let backup: QuorateBackup = serde_yaml::from_str(&text).expect("a backup");
                cel::validate_cel(&backup).unwrap_or_else(|errors| panic!("{at}: {errors:?}"));
                serde_json::to_value(backup)
            }
            other => panic!("{at}: an example of {other:?}"),
        };
        is_within(&given, &read.expect("JSON"), &at.to_string());
        looked_at += 1;
    }
    assert!(looked_at >= 4, "{looked_at} examples");
}

/// All that was written was understood.
fn is_within(given: &Value, read: &Value, at: &str) {
    match (given, read) {
        (Value::Object(given), Value::Object(read)) => {
            for (name, value) in given {
                let at = format!("{at}.{name}");
                let read = read.get(name).unwrap_or_else(|| panic!("{at} is not known"));
                is_within(value, read, &at);
            }
        }
        (Value::Array(given), Value::Array(read)) => {
            assert_eq!(given.len(), read.len(), "{at}");
            for (given, read) in given.iter().zip(read) {
                is_within(given, read, at);
            }
        }
        _ => assert_eq!(given, read, "{at}"),
    }
}
