//! Structural schemas: what they fill in, drop and refuse.

use serde_json::{Map, Value};

/// Fills in what is left out.
pub(super) fn fill_in(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(map) => {
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                if let Some(default) = property.get("default") {
                    let is_missing = match map.get(name) {
                        None => true,
                        Some(value) => value.is_null() && property["nullable"] != true,
                    };
                    if is_missing {
                        map.insert(name.clone(), default.clone());
                    }
                }
                if let Some(value) = map.get_mut(name) {
                    fill_in(value, property);
                }
            }
            if let Some(others) = schema.get("additionalProperties").filter(|it| it.is_object()) {
                map.values_mut().for_each(|value| fill_in(value, others));
            }
        }
        Value::Array(elements) => {
            elements.iter_mut().for_each(|element| fill_in(element, &schema["items"]));
        }
        _ => {}
    }
}

/// Drops what is not named.
pub(super) fn prune(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(map) => {
            let properties = &schema["properties"];
            let others = schema.get("additionalProperties").filter(|others| **others != false);
            let keeps = schema["x-kubernetes-preserve-unknown-fields"] == true;
            map.retain(|name, _| keeps || others.is_some() || properties.get(name).is_some());
            for (name, value) in map {
                match (properties.get(name), others) {
                    (Some(property), _) => prune(value, property),
                    (None, Some(others)) if others.is_object() => prune(value, others),
                    (None, _) => {}
                }
            }
        }
        Value::Array(elements) => {
            elements.iter_mut().for_each(|element| prune(element, &schema["items"]));
        }
        _ => {}
    }
}

/// What is wrong with a value: `path: why`.
pub(super) fn mistakes(value: &Value, schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    look(value, schema, "", &mut found);
    found
}

fn look(value: &Value, schema: &Value, path: &str, found: &mut Vec<String>) {
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    if !is_of_type(value, schema) {
        let wanted = &schema["type"];
        found.push(format!("{path}: Invalid value: {value}: must be of type {wanted}"));
        return;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        found.push(format!("{path}: Unsupported value: {value}"));
    }
    let bounds = [
        ("minimum", value.as_f64(), false),
        ("maximum", value.as_f64(), true),
        ("minLength", value.as_str().map(length), false),
        ("maxLength", value.as_str().map(length), true),
        ("minItems", value.as_array().map(|all| size(all.len())), false),
        ("maxItems", value.as_array().map(|all| size(all.len())), true),
        ("maxProperties", value.as_object().map(|all| size(all.len())), true),
    ];
    for (name, measured, is_upper) in bounds {
        let (Some(measured), Some(bound)) = (measured, schema[name].as_f64()) else { continue };
        if (is_upper && measured > bound) || (!is_upper && measured < bound) {
            found.push(format!("{path}: Invalid value: {value}: {name} is {bound}"));
        }
    }
    match value {
        Value::Object(map) => look_into(map, schema, path, found),
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                look(element, &schema["items"], &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

fn look_into(map: &Map<String, Value>, schema: &Value, path: &str, found: &mut Vec<String>) {
    let below =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !map.contains_key(name) {
            found.push(format!("{}: Required value", below(name)));
        }
    }
    for (name, value) in map {
        let named = schema["properties"].get(name);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        if let Some(schema) = named.or(others) {
            look(value, schema, &below(name), found);
        }
    }
}

fn is_of_type(value: &Value, schema: &Value) -> bool {
    if schema["x-kubernetes-int-or-string"] == true {
        return value.is_string() || value.is_i64() || value.is_u64();
    }
    match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        _ => true,
    }
}

fn length(text: &str) -> f64 {
    size(text.chars().count())
}

fn size(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
