//! Patches that are not applied but carried out.

use serde_json::Value;

use super::refusal::Refusal;
use super::shape::{ListKind, Shape, key_of};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchKind {
    Apply,
    Merge,
    Strategic,
    Json,
}

impl PatchKind {
    pub(super) fn parse(content_type: &str) -> Option<Self> {
        match content_type.split(';').next()?.trim() {
            "application/apply-patch+yaml" => Some(Self::Apply),
            "application/merge-patch+json" => Some(Self::Merge),
            "application/strategic-merge-patch+json" => Some(Self::Strategic),
            "application/json-patch+json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// As RFC 7386 has it.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(target) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// The same, with lists whose elements have keys merged by those.
pub(super) fn merge_strategically(target: &mut Value, patch: &Value, shape: Shape<'_>) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(target) = target else { return };
    for (name, value) in patch {
        let shape = shape.field(name);
        match (target.get_mut(name), value, shape.list()) {
            (_, Value::Null, _) => {
                target.remove(name);
            }
            (Some(Value::Array(live)), Value::Array(elements), ListKind::Map(keys)) => {
                merge_elements(live, elements, &keys, shape);
            }
            (Some(Value::Array(live)), Value::Array(elements), ListKind::Set) => {
                let new = elements.iter().filter(|element| !live.contains(element)).cloned();
                let new: Vec<Value> = new.collect();
                live.extend(new);
            }
            (_, value, _) => {
                let old = target.entry(name.clone()).or_insert(Value::Null);
                merge_strategically(old, value, shape);
            }
        }
    }
}

fn merge_elements(live: &mut Vec<Value>, patch: &[Value], keys: &[String], shape: Shape<'_>) {
    for element in patch {
        let key = key_of(element, keys);
        let found = live.iter().position(|old| key_of(old, keys) == key);
        match (found, element["$patch"] == "delete") {
            (Some(found), true) => {
                live.remove(found);
            }
            (Some(found), false) => merge_strategically(&mut live[found], element, shape.item()),
            (None, true) => {}
            (None, false) => live.push(element.clone()),
        }
    }
}

/// As RFC 6902 has it, without moves and copies.
pub(super) fn carry_out(target: &mut Value, patch: &Value) -> Result<(), Refusal> {
    let wrong = |what: &str| Refusal::new(422, "Invalid", format!("the patch is wrong: {what}"));
    for step in patch.as_array().ok_or_else(|| wrong("no list"))? {
        let path = step["path"].as_str().ok_or_else(|| wrong("no path"))?;
        let value = &step["value"];
        let operation = step["op"].as_str().unwrap_or_default();
        if operation == "test" {
            if target.pointer(path) != Some(value) {
                return Err(wrong(&format!("testing {path} failed")));
            }
            continue;
        }
        let (parent, last) = path.rsplit_once('/').ok_or_else(|| wrong("the whole object"))?;
        let last = last.replace("~1", "/").replace("~0", "~");
        let missing = || wrong(&format!("there is no {path}"));
        match (target.pointer_mut(parent).ok_or_else(missing)?, operation) {
            (Value::Object(map), "add") => {
                map.insert(last, value.clone());
            }
            (Value::Object(map), "replace") => {
                *map.get_mut(&last).ok_or_else(missing)? = value.clone();
            }
            (Value::Object(map), "remove") => {
                map.remove(&last).ok_or_else(missing)?;
            }
            (Value::Array(all), "add") if last == "-" => all.push(value.clone()),
            (Value::Array(all), operation) => {
                let index: usize = last.parse().map_err(|_| missing())?;
                match operation {
                    "add" if index <= all.len() => all.insert(index, value.clone()),
                    "replace" if index < all.len() => all[index] = value.clone(),
                    "remove" if index < all.len() => {
                        all.remove(index);
                    }
                    _ => return Err(missing()),
                }
            }
            (_, _) => return Err(missing()),
        }
    }
    Ok(())
}
