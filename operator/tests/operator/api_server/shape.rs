//! How lists and maps of objects are merged: by schema for custom resources, by a table for others.

use serde_json::Value;

use super::kinds::Kind;

/// How a list is merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ListKind {
    /// As a whole.
    Atomic,
    /// By its elements.
    Set,
    /// By fields of its elements.
    Map(Vec<String>),
}

/// What is known of a place within an object.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape<'a> {
    /// A schema says it.
    Schema(&'a Value),
    /// The table says it.
    Table { kind: &'a str, parent: &'a str, field: &'a str },
}

impl<'a> Shape<'a> {
    /// Of a whole object, whose schema may be known.
    pub(super) fn of(kind: &'a Kind, schema: Option<&'a Value>) -> Self {
        match schema {
            Some(schema) => Self::Schema(schema),
            None => Self::Table { kind: kind.name, parent: "", field: "" },
        }
    }

    pub(super) fn field(self, name: &'a str) -> Self {
        match self {
            Self::Schema(_) if name == "metadata" => {
                Self::Table { kind: "", parent: "", field: name }
            }
            Self::Schema(schema) => {
                let named = schema.get("properties").and_then(|all| all.get(name));
                let found = named.or_else(|| schema.get("additionalProperties"));
                match found {
                    Some(found) => Self::Schema(found),
                    // Pods' parts in custom resources are not told apart further.
                    None => Self::Table { kind: "", parent: "", field: name },
                }
            }
            Self::Table { kind, field, .. } => Self::Table { kind, parent: field, field: name },
        }
    }

    pub(super) fn item(self) -> Self {
        match self {
            Self::Schema(schema) => Self::Schema(schema.get("items").unwrap_or(&Value::Null)),
            table @ Self::Table { .. } => table,
        }
    }

    pub(super) fn list(self) -> ListKind {
        let by = |keys: &[&str]| ListKind::Map(keys.iter().map(|&key| key.to_owned()).collect());
        match self {
            Self::Schema(schema) => match schema["x-kubernetes-list-type"].as_str() {
                Some("map") => {
                    let keys = schema["x-kubernetes-list-map-keys"].as_array();
                    let keys = keys.into_iter().flatten().filter_map(Value::as_str);
                    ListKind::Map(keys.map(str::to_owned).collect())
                }
                Some("set") => ListKind::Set,
                _ => ListKind::Atomic,
            },
            Self::Table { kind, parent, field } => match (parent, field) {
                (
                    _,
                    "containers" | "initContainers" | "volumes" | "env" | "imagePullSecrets"
                    | "containerStatuses",
                ) => by(&["name"]),
                (_, "volumeMounts") => by(&["mountPath"]),
                (_, "topologySpreadConstraints") => by(&["topologyKey", "whenUnsatisfiable"]),
                (_, "conditions") => by(&["type"]),
                ("metadata", "ownerReferences") => by(&["uid"]),
                ("metadata", "finalizers") => ListKind::Set,
                (_, "ports") if kind == "Service" => by(&["port", "protocol"]),
                ("containers" | "initContainers", "ports") => by(&["containerPort", "protocol"]),
                _ => ListKind::Atomic,
            },
        }
    }

    /// Whether a map is written as a whole.
    pub(super) fn is_atomic_map(self) -> bool {
        match self {
            Self::Schema(schema) => {
                schema["x-kubernetes-map-type"] == "atomic"
                    || schema["x-kubernetes-preserve-unknown-fields"] == true
            }
            Self::Table { field, .. } => matches!(
                field,
                "selector"
                    | "labelSelector"
                    | "podSelector"
                    | "namespaceSelector"
                    | "nodeSelector"
                    | "fieldRef"
                    | "secretKeyRef"
                    | "configMapKeyRef"
                    | "resourceFieldRef"
            ),
        }
    }
}

/// What identifies an element of a list: as `k:{"name":"a"}`.
pub(super) fn key_of(element: &Value, keys: &[String]) -> String {
    let parts: Vec<String> = keys
        .iter()
        .map(|key| {
            let value = match element.get(key) {
                // As the server fills it in.
                None if key == "protocol" => Value::from("TCP"),
                None => Value::Null,
                Some(value) => value.clone(),
            };
            format!("{key:?}:{value}")
        })
        .collect();
    format!("k:{{{}}}", parts.join(","))
}
