//! What is asked of objects, carried out: without faults, rights and time-outs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::admission;
use super::clock::Clock;
use super::fields::{self, Manager};
use super::kinds::{self, Kind};
use super::patch::{self, PatchKind};
use super::refusal::Refusal;
use super::request::Part;
use super::schema;
use super::shape::Shape;
use super::store::{Key, Store};

/// The objects, and the rules that they are under.
pub(super) struct State {
    pub(super) clock: Clock,
    pub(super) store: Store,
    /// Of custom resources, by the names of their kinds.
    schemas: BTreeMap<String, Value>,
    /// Kinds that nobody has defined.
    pub(super) absent: BTreeSet<&'static Kind>,
    counter: u64,
}

/// Who writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writer<'a> {
    pub(super) manager: &'a str,
    pub(super) is_dry: bool,
}

/// How an object is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Put,
    Patch,
}

impl State {
    pub(super) fn new(clock: Clock) -> Self {
        let schemas = quorate_operator_api::definitions().into_iter().map(|definition| {
            let version = definition.spec.versions.into_iter().next().expect("a version");
            let schema = version.schema.and_then(|all| all.open_api_v3_schema);
            let schema = serde_json::to_value(schema).expect("a schema");
            (definition.spec.names.kind, schema)
        });
        let schemas = schemas.collect();
        let store = Store::default();
        Self { clock, store, schemas, absent: BTreeSet::new(), counter: 0 }
    }

    fn number(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn shape<'a>(&'a self, kind: &'static Kind) -> Shape<'a> {
        Shape::of(kind, self.schemas.get(kind.name))
    }

    pub(super) fn get(&self, key: &Key) -> Result<Arc<Value>, Refusal> {
        let found = self.store.get(key).cloned();
        found.ok_or_else(|| Refusal::not_found(key.kind, &key.name))
    }

    pub(super) fn create(
        &mut self,
        kind: &'static Kind,
        namespace: &str,
        mut object: Value,
        writer: Writer<'_>,
    ) -> Result<Arc<Value>, Refusal> {
        let number = self.number();
        let metadata = &object["metadata"];
        let name = match (metadata["name"].as_str(), metadata["generateName"].as_str()) {
            (Some(name), _) => name.to_owned(),
            (None, Some(prefix)) => format!("{prefix}{number:05}"),
            (None, None) => {
                let why = "metadata.name: Required value: name or generateName is required";
                return Err(Refusal::invalid(kind, "", why));
            }
        };
        if !metadata["resourceVersion"].is_null() {
            return Err(Refusal::bad_request(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        if metadata["namespace"].as_str().is_some_and(|named| named != namespace) {
            return Err(Refusal::bad_request(
                "the namespace of the object does not match the request",
            ));
        }
        let key = Key { kind, namespace: namespace.to_owned(), name: name.clone() };
        self.check_namespace(&key)?;
        if self.store.get(&key).is_some() {
            return Err(Refusal::already_exists(kind, &name));
        }
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(kind.name);
        object["metadata"]["name"] = json!(name);
        if kind.is_namespaced {
            object["metadata"]["namespace"] = json!(namespace);
        }
        object["metadata"]["uid"] = json!(format!("00000000-0000-4000-8000-{number:012}"));
        object["metadata"]["creationTimestamp"] = json!(self.clock.text());
        if !object["spec"].is_null() {
            object["metadata"]["generation"] = json!(1);
        }
        if kind.has_status
            && let Some(map) = object.as_object_mut()
        {
            map.remove("status");
        }
        self.fill_in(kind, &mut object, None, number);
        admission::check(kind, &name, &object, None, self.schemas.get(kind.name))?;
        let manager = self.manager(writer, Part::Object);
        let managers =
            fields::after_write(BTreeMap::new(), &Value::Null, &object, &manager, self.shape(kind));
        Ok(self.commit(key, object, managers, writer))
    }

    fn check_namespace(&self, key: &Key) -> Result<(), Refusal> {
        if !key.kind.is_namespaced {
            return Ok(());
        }
        let namespace = self.get(&Key {
            kind: &kinds::NAMESPACE,
            namespace: String::new(),
            name: key.namespace.clone(),
        })?;
        if namespace["metadata"]["deletionTimestamp"].is_string() {
            let message = format!("namespace {} is being terminated", key.namespace);
            return Err(Refusal::forbidden(message));
        }
        Ok(())
    }

    fn fill_in(&self, kind: &Kind, object: &mut Value, old: Option<&Value>, number: u64) {
        if let Some(schema) = self.schemas.get(kind.name) {
            let (api_version, name) = (object["apiVersion"].clone(), object["kind"].clone());
            let metadata = object["metadata"].clone();
            schema::prune(object, schema);
            schema::fill_in(object, schema);
            object["apiVersion"] = api_version;
            object["kind"] = name;
            object["metadata"] = metadata;
        }
        admission::fill_in(kind, object, old, number);
    }

    fn manager(&self, writer: Writer<'_>, part: Part) -> Manager {
        Manager { name: writer.manager.to_owned(), is_apply: false, part }
    }

    /// Stores what has been found good.
    fn commit(
        &mut self,
        key: Key,
        mut object: Value,
        managers: fields::Managers,
        writer: Writer<'_>,
    ) -> Arc<Value> {
        let entries = managers.keys().map(|manager| {
            let operation = if manager.is_apply { "Apply" } else { "Update" };
            let mut entry = json!({
                "manager": manager.name, "operation": operation, "fieldsType": "FieldsV1",
                "apiVersion": key.kind.api_version(), "fieldsV1": {},
            });
            if manager.part != Part::Object {
                entry["subresource"] = json!(manager.part.as_str());
            }
            entry
        });
        object["metadata"]["managedFields"] = entries.collect();
        if writer.is_dry {
            object["metadata"]["resourceVersion"] = json!(self.store.revision().to_string());
            return Arc::new(object);
        }
        self.store.set_managers(&key, managers);
        self.store.put(key, object)
    }

    /// Puts another in an object's place.
    pub(super) fn replace(
        &mut self,
        key: &Key,
        part: Part,
        object: Value,
        writer: Writer<'_>,
    ) -> Result<Arc<Value>, Refusal> {
        let needs_version = key.kind.is_custom || key.kind.name == "Lease";
        if needs_version && object["metadata"]["resourceVersion"].is_null() {
            let why =
                "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update";
            return Err(Refusal::invalid(key.kind, &key.name, why));
        }
        self.write(key, (part, Way::Put), writer, move |_| Ok(object))
    }

    /// Changes an object that there is, or one part of it.
    pub(super) fn update(
        &mut self,
        key: &Key,
        part: Part,
        writer: Writer<'_>,
        change: impl FnOnce(&Value) -> Result<Value, Refusal>,
    ) -> Result<Arc<Value>, Refusal> {
        self.write(key, (part, Way::Patch), writer, change)
    }

    fn write(
        &mut self,
        key: &Key,
        (part, way): (Part, Way),
        writer: Writer<'_>,
        change: impl FnOnce(&Value) -> Result<Value, Refusal>,
    ) -> Result<Arc<Value>, Refusal> {
        let old = self.get(key)?;
        let new = self.next(key, (part, way), &old, change(&old)?)?;
        let manager = self.manager(writer, part);
        let managers = self.store.managers(key);
        let managers = fields::after_write(managers, &old, &new, &manager, self.shape(key.kind));
        self.finish(key, &old, new, managers, writer)
    }

    /// What there will be, with everything kept that this part is not about.
    fn next(
        &self,
        key: &Key,
        (part, way): (Part, Way),
        old: &Value,
        change: Value,
    ) -> Result<Value, Refusal> {
        let asked = &change["metadata"];
        let differs = |field: &str| {
            let (asked, is) = (&asked[field], &old["metadata"][field]);
            !asked.is_null() && asked != "" && asked != is
        };
        if differs("resourceVersion") {
            return Err(Refusal::modified(key.kind, &key.name));
        }
        // An object that is put in another's place carries its uid as a precondition; a patch does
        // not, and would change what nobody may.
        if differs("uid") {
            return Err(match way {
                Way::Put => {
                    let why = format!(
                        "Precondition failed: UID in precondition: {}, UID in object meta: {}",
                        asked["uid"], old["metadata"]["uid"]
                    );
                    Refusal::conflict(key.kind, &key.name, &why)
                }
                Way::Patch => {
                    let why = "metadata.uid: Invalid value: field is immutable";
                    Refusal::invalid(key.kind, &key.name, why)
                }
            });
        }
        let mut new = match part {
            Part::Object => {
                let mut new = change;
                if key.kind.has_status
                    && let Some(map) = new.as_object_mut()
                {
                    map.remove("status");
                    if let Some(status) = old.get("status") {
                        map.insert("status".to_owned(), status.clone());
                    }
                }
                new
            }
            Part::Status => {
                let mut new = old.clone();
                new["status"] = change["status"].clone();
                new
            }
            Part::Scale | Part::Eviction => {
                let mut new = old.clone();
                new["spec"]["replicas"] = change["spec"]["replicas"].clone();
                new
            }
        };
        new["apiVersion"] = old["apiVersion"].clone();
        new["kind"] = old["kind"].clone();
        for field in [
            "name",
            "namespace",
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "resourceVersion",
            "managedFields",
        ] {
            match old["metadata"].get(field) {
                Some(value) => new["metadata"][field] = value.clone(),
                None => {
                    if let Some(map) = new["metadata"].as_object_mut() {
                        map.remove(field);
                    }
                }
            }
        }
        self.fill_in(key.kind, &mut new, Some(old), 0);
        admission::check(key.kind, &key.name, &new, Some(old), self.schemas.get(key.kind.name))?;
        Ok(new)
    }

    fn finish(
        &mut self,
        key: &Key,
        old: &Value,
        mut new: Value,
        managers: fields::Managers,
        writer: Writer<'_>,
    ) -> Result<Arc<Value>, Refusal> {
        if new == *old && managers == self.store.managers(key) {
            return self.get(key);
        }
        if new["spec"] != old["spec"] {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or_default();
            new["metadata"]["generation"] = json!(generation + 1);
        }
        let is_leaving = new["metadata"]["deletionTimestamp"].is_string();
        let waits = new["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or_default() > 0;
        if is_leaving && !waits && !has_finalizers(&new) && !writer.is_dry {
            self.store.remove(key);
            return Ok(Arc::new(new));
        }
        Ok(self.commit(key.clone(), new, managers, writer))
    }

    /// Carries out a patch that is not to be applied.
    pub(super) fn patch(
        &mut self,
        key: &Key,
        part: Part,
        kind: PatchKind,
        patch: &Value,
        writer: Writer<'_>,
    ) -> Result<Arc<Value>, Refusal> {
        let old = self.get(key)?;
        let mut changed = (*old).clone();
        match kind {
            PatchKind::Json => patch::carry_out(&mut changed, patch)?,
            PatchKind::Strategic if key.kind.is_custom => {
                return Err(Refusal::new(415, "UnsupportedMediaType", "no strategic merge here"));
            }
            PatchKind::Strategic => {
                let shape = self.shape(key.kind);
                patch::merge_strategically(&mut changed, patch, shape);
            }
            PatchKind::Merge | PatchKind::Apply => patch::merge(&mut changed, patch),
        }
        self.update(key, part, writer, move |_| Ok(changed))
    }

    /// Applies an object's fields.
    pub(super) fn apply(
        &mut self,
        key: &Key,
        part: Part,
        wanted: &Value,
        is_forced: bool,
        writer: Writer<'_>,
    ) -> Result<Arc<Value>, Refusal> {
        if wanted["kind"] != key.kind.name || wanted["apiVersion"] != key.kind.api_version() {
            return Err(Refusal::bad_request("apiVersion and kind must be those of the request"));
        }
        if !wanted["metadata"]["managedFields"].is_null() {
            return Err(Refusal::bad_request("metadata.managedFields must be nil"));
        }
        let named = &wanted["metadata"]["name"];
        if !named.is_null() && *named != key.name {
            return Err(Refusal::bad_request("metadata.name does not match the request"));
        }
        let manager = Manager { name: writer.manager.to_owned(), is_apply: true, part };
        let Some(old) = self.store.get(key).cloned() else {
            return self.create_applied(key, part, wanted, manager, writer);
        };
        let mut wanted_part = wanted.clone();
        if let Some(map) = wanted_part.as_object_mut() {
            match part {
                Part::Object if key.kind.has_status => drop(map.remove("status")),
                Part::Object => {}
                Part::Status | Part::Scale | Part::Eviction => {
                    map.retain(|name, _| name == "status");
                }
            }
        }
        let shape = self.shape(key.kind);
        let managers = self.store.managers(key);
        let applied = fields::apply(&old, managers, &wanted_part, &manager, is_forced, shape);
        if let Some((field, other)) = applied.conflicts.first() {
            let message = format!(
                "Apply failed with {} conflicts: conflict with {other:?}: {field}",
                applied.conflicts.len()
            );
            return Err(Refusal::new(409, "Conflict", message));
        }
        let mut change = applied.object;
        for field in ["uid", "resourceVersion"] {
            change["metadata"][field] = wanted["metadata"][field].clone();
        }
        let new = self.next(key, (part, Way::Patch), &old, change)?;
        self.finish(key, &old, new, applied.managers, writer)
    }

    fn create_applied(
        &mut self,
        key: &Key,
        part: Part,
        wanted: &Value,
        manager: Manager,
        writer: Writer<'_>,
    ) -> Result<Arc<Value>, Refusal> {
        if part != Part::Object {
            return Err(Refusal::not_found(key.kind, &key.name));
        }
        for field in ["uid", "resourceVersion"] {
            let asked = &wanted["metadata"][field];
            if !asked.is_null() && asked != "" {
                let why = format!(
                    "{field} mismatch: the provided object specified {field} {asked}, and no \
                     existing object was found"
                );
                return Err(Refusal::conflict(key.kind, &key.name, &why));
            }
        }
        let mut object = fields::without_nulls(wanted);
        object["metadata"]["name"] = json!(key.name);
        let owned = fields::leaves(&object, self.shape(key.kind));
        let made = self.create(key.kind, &key.namespace, object, writer)?;
        if !writer.is_dry {
            self.store.set_managers(key, [(manager, owned)].into());
        }
        Ok(made)
    }
}

pub(super) fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty())
}
