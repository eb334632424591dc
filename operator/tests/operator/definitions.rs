//! The manifests of the definitions, which are generated.

use std::path::{Path, PathBuf};

use quorate_operator::manifest;
use quorate_operator_api::definitions;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds")
}

#[test]
fn the_manifests_are_those_of_the_types() {
    let mut expected = Vec::new();
    for definition in definitions() {
        let name = format!("{}.yaml", definition.spec.names.plural);
        let text = manifest(&definition).expect("YAML");
        let path = folder().join(&name);
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            std::fs::create_dir_all(folder()).expect("a folder");
            std::fs::write(&path, &text).expect("written");
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "crds/{name} is not what the types say; UPDATE_GENERATED=1 cargo test -p \
             quorate-operator writes it"
        );
        expected.push(name);
    }
    let mut found: Vec<String> = std::fs::read_dir(folder())
        .expect("crds")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "files in crds/");
}

/// An object that `kubectl apply` keeps is written into an annotation, whose limit is 256 KiB.
#[test]
fn the_manifests_can_be_applied() {
    for definition in definitions() {
        let name = &definition.spec.names.plural;
        let text = manifest(&definition).expect("YAML");
        assert!(text.len() < 200 << 10, "{name}: {} bytes", text.len());
    }
}
