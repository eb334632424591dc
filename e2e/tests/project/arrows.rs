//! Which crate may depend on which.
//!
//! Normal dependencies only: tests may use more. What a crate reaches through others counts.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// A package, the packages of the workspace it may name, and the others it may name; `None` for
/// whatever it likes.
type Rule = (&'static str, &'static [&'static str], Option<&'static [&'static str]>);

const RULES: &[Rule] = &[
    ("quorate-raft", &[], Some(&["bytes", "thiserror"])),
    ("quorate-disk", &[], Some(&["bytes", "rustix", "thiserror"])),
    ("quorate-api", &[], Some(&["bytes", "prost", "serde", "serde_json", "sha1", "thiserror"])),
    ("quorate-wal", &["quorate-disk"], Some(&["bytes", "crc32c", "thiserror"])),
    (
        "quorate-store",
        &["quorate-api", "quorate-disk"],
        Some(&["bytes", "crc32c", "prost", "serde", "serde_json", "sha2", "thiserror"]),
    ),
    ("quorate-replica", &["quorate-api", "quorate-raft"], Some(&["bytes", "prost", "thiserror"])),
    (
        "quorate-member",
        &[
            "quorate-api",
            "quorate-disk",
            "quorate-raft",
            "quorate-replica",
            "quorate-store",
            "quorate-wal",
        ],
        Some(&["bytes", "crc32c", "prost", "thiserror"]),
    ),
    ("judge", &["quorate-api"], Some(&["bytes"])),
    ("sim-disk", &["quorate-disk"], Some(&["bytes"])),
    (
        "sim",
        &[
            "judge",
            "quorate-api",
            "quorate-disk",
            "quorate-member",
            "quorate-raft",
            "quorate-replica",
            "quorate-store",
            "quorate-wal",
            "sim-disk",
        ],
        Some(&["bytes", "prost"]),
    ),
    ("quorate-client", &["quorate-api"], None),
    (
        "quorate",
        &[
            "quorate-api",
            "quorate-client",
            "quorate-disk",
            "quorate-member",
            "quorate-raft",
            "quorate-replica",
            "quorate-store",
            "quorate-wal",
        ],
        None,
    ),
    ("quorate-operator-api", &[], None),
    ("quorate-operator", &["quorate-operator-api", "quorate-client", "quorate-api"], None),
    ("e2e", &["judge", "quorate-operator-api", "quorate-client", "quorate-api"], None),
];

/// What a package never reaches, not even through others.
const NEVER: &[(&str, &[&str])] = &[
    ("quorate", &["kube", "k8s-openapi", "openssl-sys", "native-tls"]),
    ("quorate-operator", &["openssl-sys", "native-tls"]),
    ("quorate-client", &["kube", "openssl-sys"]),
    ("quorate-operator-api", &["tokio"]),
    ("quorate-api", RUNTIME),
    ("quorate-disk", RUNTIME),
    ("quorate-raft", RUNTIME),
    ("quorate-wal", RUNTIME),
    ("quorate-store", RUNTIME),
    ("quorate-replica", RUNTIME),
    ("quorate-member", RUNTIME),
    ("judge", RUNTIME),
    ("sim", RUNTIME),
];

const RUNTIME: &[&str] = &["tonic", "tokio", "hyper", "h2", "async-trait", "rand", "getrandom"];

#[test]
fn every_package_depends_only_on_what_it_may() {
    let direct = direct_dependencies();
    let known: BTreeSet<&str> = RULES.iter().map(|(package, _, _)| *package).collect();
    let workspace: BTreeSet<&str> = direct.keys().map(String::as_str).collect();
    assert_eq!(known, workspace, "a package of the workspace has no rule, or a rule no package");
    for (package, ours, others) in RULES {
        for dependency in &direct[*package] {
            let allowed = if workspace.contains(dependency.as_str()) {
                ours.contains(&dependency.as_str())
            } else {
                others.is_none_or(|others| others.contains(&dependency.as_str()))
            };
            assert!(allowed, "{package} must not depend on {dependency}");
        }
    }
}

#[test]
fn no_package_reaches_what_it_never_may() {
    for (package, never) in NEVER {
        let reached = reached_by(package);
        assert!(reached.contains(*package), "{package} is not in its own tree");
        for name in *never {
            assert!(!reached.contains(*name), "{package} reaches {name}");
        }
    }
}

/// What a package is built with, itself among it, where it is built alone.
fn reached_by(package: &str) -> BTreeSet<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["tree", "--package", package, "--edges", "normal", "--prefix", "none"])
        .args(["--offline", "--locked", "--format", "{p}"])
        .current_dir(super::root())
        .output()
        .expect("cargo runs this test, so it is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// Each package of the workspace with the normal dependencies that its manifest names.
fn direct_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(super::root())
        .output()
        .expect("cargo runs this test, so it is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("there are packages");
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("a list");
            let names = dependencies
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .filter_map(|dependency| dependency["name"].as_str())
                .map(str::to_owned)
                .collect();
            (package["name"].as_str().expect("a name").to_owned(), names)
        })
        .collect()
}
