//! Volumes that lie on one node: whether that node is still there.
//!
//! A pod without a place does not say which node it misses. Its volume does, if one node alone has
//! it: where that node is gone for good, there is no place for the pod any more, whatever its
//! template says. A volume that all nodes of a zone reach misses none of them, and where its claim
//! was first used (`selected-node`) means nothing by itself.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    Node, NodeSelectorTerm, PersistentVolume, PersistentVolumeClaim, Pod,
};

use super::live::{Live, node_of};
use super::observe::condition;
use super::observed::Number;
use crate::kubernetes::{Error, ErrorKind, Objects};

/// The label in which a node has its own name, or what its provider takes for it.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// The node for which a claim's volume was made.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// Where a volume can be had: on nodes with one of these values in a label that tells them apart.
#[derive(Debug, PartialEq, Eq)]
struct Home {
    label: String,
    names: Vec<String>,
}

/// The members whose pods have no place, and whose volumes lie on nodes that are no longer there.
///
/// # Errors
/// [`Error`], if that cannot be told now.
pub(super) async fn stranded(objects: &Objects, live: &Live) -> Result<BTreeSet<Number>, Error> {
    let mut stranded = BTreeSet::new();
    let unplaced = live.pods.iter().filter(|(_, pod)| is_without_place(pod));
    for (number, claim) in unplaced.filter_map(|(number, _)| live.claims.get_key_value(number)) {
        let is_stranded = match has_lost_its_home(objects, claim).await {
            // Who may not look, or cannot ask for it, knows nothing.
            Err(error) if matches!(error.kind(), ErrorKind::Forbidden | ErrorKind::Invalid) => {
                false
            }
            found => found?,
        };
        if is_stranded {
            stranded.insert(*number);
        }
    }
    Ok(stranded)
}

/// Whether the scheduler says that it has found no node for a pod.
fn is_without_place(pod: &Pod) -> bool {
    node_of(pod).is_none() && condition(pod, "PodScheduled").is_some_and(|(is, _)| is == "False")
}

async fn has_lost_its_home(
    objects: &Objects,
    claim: &PersistentVolumeClaim,
) -> Result<bool, Error> {
    let name = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(false) };
    let Some(volume) = objects.get_global::<PersistentVolume>(name).await? else {
        return Ok(false);
    };
    let annotations = claim.metadata.annotations.as_ref();
    let selected = annotations.and_then(|all| all.get(SELECTED_NODE));
    let Some(homes) = homes(&volume, selected) else { return Ok(false) };
    for home in &homes {
        if is_there(objects, home).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a node is there, by the label or by its name: one that has just been made may not have
/// all of its labels yet.
async fn is_there(objects: &Objects, home: &Home) -> Result<bool, Error> {
    for name in &home.names {
        if objects.get_global::<Node>(name).await?.is_some() {
            return Ok(true);
        }
    }
    let selector = format!("{} in ({})", home.label, home.names.join(","));
    Ok(!objects.list_global_metadata::<Node>(&selector).await?.is_empty())
}

/// Where a volume can be had, if that is only on nodes that it names.
fn homes(volume: &PersistentVolume, selected: Option<&String>) -> Option<Vec<Home>> {
    let required = volume.spec.as_ref()?.node_affinity.as_ref()?.required.as_ref()?;
    let terms = required.node_selector_terms.iter();
    let homes: Option<Vec<Home>> = terms.map(|term| home(term, selected)).collect();
    homes.filter(|homes| !homes.is_empty())
}

/// The node is named by its host name, or by a label of the storage's own with the node's name.
fn home(term: &NodeSelectorTerm, selected: Option<&String>) -> Option<Home> {
    let mut wanted = term.match_expressions.iter().flatten().filter(|one| one.operator == "In");
    wanted.find_map(|one| {
        let names = one.values.clone().filter(|names| !names.is_empty())?;
        let is_its_own = || names.iter().all(|name| Some(name) == selected);
        (one.key == HOSTNAME || is_its_own()).then(|| Home { label: one.key.clone(), names })
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PersistentVolume;
    use serde_json::{Value, json};

    use super::{Home, homes};

    fn of(terms: &Value, selected: Option<&str>) -> Option<Vec<(String, Vec<String>)>> {
        let volume: PersistentVolume = serde_json::from_value(json!({
            "spec": { "nodeAffinity": { "required": { "nodeSelectorTerms": terms } } },
        }))
        .expect("a volume");
        let homes = homes(&volume, selected.map(str::to_owned).as_ref())?;
        Some(homes.into_iter().map(|Home { label, names }| (label, names)).collect())
    }

    fn wants(key: &str, operator: &str, values: &[&str]) -> Value {
        json!({ "key": key, "operator": operator, "values": values })
    }

    #[test]
    fn a_volume_lies_on_nodes_only_if_it_names_them() {
        let term = |all: &[Value]| json!({ "matchExpressions": all });
        let host = |names: &[&str]| wants("kubernetes.io/hostname", "In", names);
        let zone = wants("topology.kubernetes.io/zone", "In", &["z"]);
        let own = wants("storage.example.org/node", "In", &["n1"]);
        let is = |label: &str, names: &[&str]| {
            (label.to_owned(), names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
        };
        let on_host = |names: &[&str]| is("kubernetes.io/hostname", names);
        for (terms, selected, expected) in [
            (json!([term(&[host(&["n1"])])]), None, Some(vec![on_host(&["n1"])])),
            (json!([term(&[host(&["n1", "n2"])])]), None, Some(vec![on_host(&["n1", "n2"])])),
            (json!([term(&[zone.clone(), host(&["n1"])])]), None, Some(vec![on_host(&["n1"])])),
            (
                json!([term(&[host(&["n1"])]), term(&[host(&["n2"])])]),
                None,
                Some(vec![on_host(&["n1"]), on_host(&["n2"])]),
            ),
            (
                json!([term(std::slice::from_ref(&own))]),
                Some("n1"),
                Some(vec![is("storage.example.org/node", &["n1"])]),
            ),
            // A label that may be shared.
            (json!([term(std::slice::from_ref(&own))]), None, None),
            (json!([term(&[own])]), Some("n2"), None),
            (json!([term(std::slice::from_ref(&zone))]), Some("n1"), None),
            // It can be had elsewhere, too.
            (json!([term(&[host(&["n1"])]), term(&[zone])]), None, None),
            (json!([term(&[wants("kubernetes.io/hostname", "NotIn", &["n1"])])]), None, None),
            (json!([term(&[host(&[])])]), None, None),
            (json!([]), Some("n1"), None),
        ] {
            assert_eq!(of(&terms, selected), expected, "{terms} {selected:?}");
        }
        let anywhere = PersistentVolume::default();
        assert_eq!(homes(&anywhere, Some(&"n1".to_owned())), None);
    }
}
