//! The operator's role beside the calls that it made: none was refused, no right is without a use.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead as _, BufReader};

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use serde_json::Value;

const USAGE: &str = "usage: e2e rights ROLES.json AUDIT.log [GROUP…]";

/// One right: group, resource with its subresource, verb.
type Right = (String, String, String);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    verb: String,
    object_ref: Option<Object>,
    response_status: Option<Status>,
    #[serde(rename = "requestURI")]
    request_uri: String,
    #[serde(default)]
    annotations: HashMap<String, String>,
}

/// What the API server notes of its authorizers' decision. A namespace that is about to go refuses new
/// objects with the same code, whoever may make them.
const DECISION: &str = "authorization.k8s.io/decision";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: String,
    #[serde(default)]
    api_group: String,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

/// Compare; the groups named behind the files may be without a use.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let [roles, audit, unused_groups @ ..] = arguments else { anyhow::bail!(USAGE) };
    let roles: Value = serde_json::from_reader(File::open(roles).context("the roles")?)?;
    let given = rights_of(&roles);
    ensure!(!given.is_empty(), "the roles have no rules");

    let mut used = BTreeSet::new();
    let mut refused = BTreeSet::new();
    let mut calls = 0;
    for line in BufReader::new(File::open(audit).context("the audit log")?).lines() {
        // The last line may be half written.
        let Ok(event) = serde_json::from_str::<Event>(&line?) else { continue };
        calls += 1;
        let code = event.response_status.map_or(0, |status| status.code);
        if event.annotations.get(DECISION).is_some_and(|decision| decision == "forbid") {
            refused.insert(format!("{} {}", event.verb, event.request_uri));
        }
        if let Some(Object { resource, subresource, api_group }) = event.object_ref {
            let resource = match subresource.as_str() {
                "" => resource,
                part => format!("{resource}/{part}"),
            };
            // Applying what is not there yet asks for both rights.
            if event.verb == "patch" && code == 201 {
                used.insert((api_group.clone(), resource.clone(), "create".to_owned()));
            }
            used.insert((api_group, resource, event.verb));
        }
    }
    ensure!(calls > 0, "the operator has called nobody");
    println!("{calls} calls, {} rights used of {}", used.intersection(&given).count(), given.len());
    for right in used.difference(&given) {
        println!("used through another role: {right:?}");
    }
    ensure!(refused.is_empty(), "refused: {refused:#?}");
    // The API server asks for it when an owner is named; nobody calls it.
    let is_implied = |resource: &str| resource.ends_with("/finalizers");
    let unused: Vec<_> = given
        .difference(&used)
        .filter(|(group, resource, _)| !unused_groups.contains(group) && !is_implied(resource))
        .collect();
    ensure!(unused.is_empty(), "rights without a use: {unused:#?}");
    Ok(())
}

fn rights_of(roles: &Value) -> BTreeSet<Right> {
    let strings = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let mut rights = BTreeSet::new();
    for role in roles["items"].as_array().into_iter().flatten() {
        for rule in role["rules"].as_array().into_iter().flatten() {
            for group in strings(&rule["apiGroups"]) {
                for resource in strings(&rule["resources"]) {
                    for verb in strings(&rule["verbs"]) {
                        rights.insert((group.clone(), resource.clone(), verb));
                    }
                }
            }
        }
    }
    rights
}
