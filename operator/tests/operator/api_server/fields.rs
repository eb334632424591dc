//! Who has set which field, and what becomes of one that its manager no longer names.
//!
//! A path is a list of `f:NAME`, `k:{…}` and `v:…`, as in `managedFields`. A manager owns leaves:
//! scalars, whole lists and maps, and the being there of a list's element.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::request::Part;
use super::shape::{ListKind, Shape, key_of};

pub(super) type Path = Vec<String>;
pub(super) type Paths = BTreeSet<Path>;

/// Who writes, and how.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Manager {
    pub(super) name: String,
    pub(super) is_apply: bool,
    pub(super) part: Part,
}

pub(super) type Managers = BTreeMap<Manager, Paths>;

/// What nobody owns: it names the object, or is the server's.
const NOBODYS: [&str; 12] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
    "generateName",
    "",
];

/// The leaves of a whole object.
pub(super) fn leaves(object: &Value, shape: Shape<'_>) -> Paths {
    let mut paths = Paths::new();
    for (name, value) in object.as_object().into_iter().flatten() {
        if matches!(name.as_str(), "apiVersion" | "kind") {
            continue;
        }
        let path = vec![format!("f:{name}")];
        if name == "metadata" {
            for (name, value) in value.as_object().into_iter().flatten() {
                if !NOBODYS.contains(&name.as_str()) {
                    let path = vec!["f:metadata".to_owned(), format!("f:{name}")];
                    collect(value, shape.field("metadata").field(name), path, &mut paths);
                }
            }
        } else {
            collect(value, shape.field(name), path, &mut paths);
        }
    }
    paths
}

fn collect(value: &Value, shape: Shape<'_>, path: Path, paths: &mut Paths) {
    let below = |step: String| path.iter().cloned().chain([step]).collect::<Path>();
    match value {
        Value::Null => {}
        Value::Object(map) if !map.is_empty() && !shape.is_atomic_map() => {
            for (name, value) in map {
                collect(value, shape.field(name), below(format!("f:{name}")), paths);
            }
        }
        Value::Array(elements) => match shape.list() {
            ListKind::Atomic => {
                paths.insert(path);
            }
            ListKind::Set => paths.extend(elements.iter().map(|one| below(format!("v:{one}")))),
            ListKind::Map(keys) => {
                for element in elements {
                    let path = below(key_of(element, &keys));
                    paths.insert(path.clone());
                    collect(element, shape.item(), path, paths);
                }
            }
        },
        Value::Object(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            paths.insert(path);
        }
    }
}

/// What is at a path.
pub(super) fn at<'a>(object: &'a Value, path: &[String], shape: Shape<'_>) -> Option<&'a Value> {
    let Some((step, rest)) = path.split_first() else { return Some(object) };
    if let Some(name) = step.strip_prefix("f:") {
        return at(object.get(name)?, rest, shape.field(name));
    }
    let elements = object.as_array()?;
    at(elements.get(position(elements, step, shape)?)?, rest, shape.item())
}

fn position(elements: &[Value], step: &str, shape: Shape<'_>) -> Option<usize> {
    elements.iter().position(|element| match shape.list() {
        ListKind::Map(keys) => key_of(element, &keys) == *step,
        ListKind::Set => format!("v:{element}") == *step,
        ListKind::Atomic => false,
    })
}

/// Lays one object over another.
pub(super) fn merge(live: &mut Value, applied: &Value, shape: Shape<'_>) {
    match (live, applied) {
        (Value::Object(live), Value::Object(applied)) if !shape.is_atomic_map() => {
            for (name, value) in applied {
                match (live.get_mut(name), value) {
                    (_, Value::Null) => {}
                    (Some(old), value) => merge(old, value, shape.field(name)),
                    (None, value) => {
                        live.insert(name.clone(), without_nulls(value));
                    }
                }
            }
        }
        (Value::Array(live), Value::Array(applied)) => match shape.list() {
            ListKind::Atomic => live.clone_from(applied),
            ListKind::Set => {
                for element in applied {
                    if !live.contains(element) {
                        live.push(element.clone());
                    }
                }
            }
            ListKind::Map(keys) => {
                for element in applied {
                    let key = key_of(element, &keys);
                    match live.iter_mut().find(|old| key_of(old, &keys) == key) {
                        Some(old) => merge(old, element, shape.item()),
                        None => live.push(without_nulls(element)),
                    }
                }
            }
        },
        (live, applied) => *live = without_nulls(applied),
    }
}

pub(super) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| !value.is_null());
            let kept = kept.map(|(name, value)| (name.clone(), without_nulls(value)));
            Value::Object(kept.collect::<Map<_, _>>())
        }
        Value::Array(all) => Value::Array(all.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

/// Takes a leaf away, and the maps and lists that it leaves empty.
pub(super) fn remove(object: &mut Value, path: &[String], shape: Shape<'_>) {
    let Some((step, rest)) = path.split_first() else { return };
    match (step.strip_prefix("f:"), object) {
        (Some(name), Value::Object(map)) => {
            if rest.is_empty() {
                map.remove(name);
            } else if let Some(below) = map.get_mut(name) {
                remove(below, rest, shape.field(name));
                if is_empty(below) {
                    map.remove(name);
                }
            }
        }
        (None, Value::Array(elements)) => {
            let Some(found) = position(elements, step, shape) else { return };
            if rest.is_empty() {
                elements.remove(found);
            } else if let Some(element) = elements.get_mut(found) {
                remove(element, rest, shape.item());
            }
        }
        (_, _) => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        _ => false,
    }
}

/// Whether one path is the other, or within it.
fn is_within(inner: &Path, outer: &Path) -> bool {
    inner.starts_with(outer)
}

/// What comes of an applied object: the object, and who owns what.
pub(super) struct Applied {
    pub(super) object: Value,
    pub(super) managers: Managers,
    /// Fields that others own and have otherwise, and who; empty if that is forced.
    pub(super) conflicts: Vec<(String, String)>,
}

/// Applies `wanted` as `manager`.
pub(super) fn apply(
    live: &Value,
    mut managers: Managers,
    wanted: &Value,
    manager: &Manager,
    is_forced: bool,
    shape: Shape<'_>,
) -> Applied {
    let wanted = &without_nulls(wanted);
    let paths = leaves(wanted, shape);
    let mut conflicts = Vec::new();
    for path in &paths {
        if at(live, path, shape) == at(wanted, path, shape) || is_element(path) {
            continue;
        }
        for (other, owned) in &mut managers {
            if other == manager {
                continue;
            }
            let taken: Vec<Path> = owned
                .iter()
                .filter(|theirs| is_within(theirs, path) || is_within(path, theirs))
                .filter(|theirs| !is_element(theirs))
                .cloned()
                .collect();
            if taken.is_empty() {
                continue;
            }
            if is_forced {
                owned.retain(|path| !taken.contains(path));
            } else {
                conflicts.push((path.join("."), other.name.clone()));
            }
        }
    }
    let mut object = live.clone();
    merge(&mut object, wanted, shape);
    let given_up: Vec<Path> = managers
        .get(manager)
        .into_iter()
        .flatten()
        .filter(|path| !paths.contains(*path))
        .cloned()
        .collect();
    let is_others = |path: &Path| {
        let others = managers.iter().filter(|(other, _)| *other != manager);
        let mut owned = others.flat_map(|(_, owned)| owned);
        owned.any(|theirs| is_within(theirs, path))
    };
    // An element goes as a whole; of one that stays, what it is known by stays.
    for path in &given_up {
        let is_wanted = paths.iter().any(|ours| is_within(ours, path));
        if !is_wanted && !is_others(path) && !is_key(path) {
            remove(&mut object, path, shape);
        }
    }
    managers.insert(manager.clone(), paths);
    managers.retain(|_, owned| !owned.is_empty());
    Applied { object, managers, conflicts }
}

/// Whether a path stands for the being there of a list's element.
fn is_element(path: &Path) -> bool {
    path.last().is_some_and(|step| step.starts_with("k:"))
}

/// Whether a path is of a field by which its list's element is known.
fn is_key(path: &Path) -> bool {
    let [.., element, field] = path.as_slice() else { return false };
    let name = field.strip_prefix("f:").unwrap_or_default();
    element.starts_with("k:") && element.contains(&format!("{name:?}:"))
}

/// Who owns what once `manager` has made `new` of `old` otherwise than by applying.
pub(super) fn after_write(
    mut managers: Managers,
    old: &Value,
    new: &Value,
    manager: &Manager,
    shape: Shape<'_>,
) -> Managers {
    let before = leaves(old, shape);
    let after = leaves(new, shape);
    let changed: Paths = after
        .iter()
        .filter(|path| at(old, path, shape) != at(new, path, shape))
        .filter(|path| !(is_element(path) && before.contains(*path)))
        .cloned()
        .collect();
    for owned in managers.values_mut() {
        owned.retain(|path| {
            !changed.contains(path) && (!before.contains(path) || after.contains(path))
        });
    }
    managers.entry(manager.clone()).or_default().extend(changed);
    managers.retain(|_, owned| !owned.is_empty());
    managers
}
