//! Which kinds there are.

use serde_json::{Value, json};

use super::kinds::{ALL, Kind};
use super::state::State;

/// What stands at a path that is about kinds, if it is one.
pub(super) fn answer(state: &State, path: &str) -> Option<Value> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let here = || ALL.into_iter().filter(|kind| !state.absent.contains(kind));
    match segments.as_slice() {
        ["version"] => Some(json!({
            "major": "1", "minor": "36", "gitVersion": "v1.36.0", "gitCommit": "",
            "gitTreeState": "clean", "buildDate": "", "goVersion": "", "compiler": "",
            "platform": "linux/amd64",
        })),
        ["api"] => Some(json!({
            "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [],
        })),
        ["apis"] => Some(groups(here())),
        ["api", version] => resources("", version, here()),
        ["apis", group, version] => resources(group, version, here()),
        _ => None,
    }
}

fn groups(kinds: impl Iterator<Item = &'static Kind>) -> Value {
    let mut groups: Vec<Value> = Vec::new();
    for kind in kinds.filter(|kind| !kind.group.is_empty()) {
        if groups.iter().any(|group| group["name"] == kind.group) {
            continue;
        }
        let version = json!({ "groupVersion": kind.api_version(), "version": kind.version });
        groups.push(json!({
            "name": kind.group, "versions": [version], "preferredVersion": version,
        }));
    }
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

fn resources(
    group: &str,
    version: &str,
    kinds: impl Iterator<Item = &'static Kind>,
) -> Option<Value> {
    let mut resources = Vec::new();
    for kind in kinds.filter(|kind| kind.group == group && kind.version == version) {
        let parts = [("", true), ("/status", kind.has_status), ("/scale", kind.has_scale)];
        for (part, _) in parts.into_iter().filter(|(_, is_there)| *is_there) {
            resources.push(json!({
                "name": format!("{}{part}", kind.plural), "singularName": "",
                "namespaced": kind.is_namespaced, "kind": kind.name,
                "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
            }));
        }
    }
    let of = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    (!resources.is_empty()).then(|| {
        json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": of,
            "resources": resources,
        })
    })
}
