//! Which objects of a list are meant.

use serde_json::Value;

/// By labels and by fields.
#[derive(Clone, Debug, Default)]
pub(super) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

#[derive(Clone, Debug)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl Selector {
    pub(super) fn new(labels: Option<&str>, fields: Option<&str>) -> Self {
        let parse = |text: Option<&str>| text.map(requirements).unwrap_or_default();
        Self { labels: parse(labels), fields: parse(fields) }
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        let by_label = self.labels.iter().all(|requirement| {
            requirement.test.holds(labels.get(&requirement.key).and_then(Value::as_str))
        });
        by_label
            && self.fields.iter().all(|requirement| {
                let at = requirement.key.split('.').try_fold(object, |at, key| at.get(key));
                requirement.test.holds(Some(at.and_then(Value::as_str).unwrap_or_default()))
            })
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        let is_among =
            |all: &Vec<String>| value.is_some_and(|value| all.iter().any(|one| one == value));
        match self {
            Self::In(all) => is_among(all),
            Self::NotIn(all) => !is_among(all),
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
        }
    }
}

/// Separated by commas that are not within brackets.
fn requirements(text: &str) -> Vec<Requirement> {
    let mut depth = 0;
    let parts = text.split(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        character == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).map(requirement).collect()
}

fn requirement(text: &str) -> Requirement {
    let of = |key: &str, test| Requirement { key: key.trim().to_owned(), test };
    let one = |value: &str| vec![value.trim().to_owned()];
    let many = |values: &str| {
        let inner = values.trim().trim_start_matches('(').trim_end_matches(')');
        inner.split(',').map(|value| value.trim().to_owned()).collect::<Vec<_>>()
    };
    if let Some((key, values)) = text.split_once(" notin ") {
        return of(key, Test::NotIn(many(values)));
    }
    if let Some((key, values)) = text.split_once(" in ") {
        return of(key, Test::In(many(values)));
    }
    if let Some((key, value)) = text.split_once("!=") {
        return of(key, Test::NotIn(one(value)));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return of(key, Test::In(one(value)));
    }
    match text.strip_prefix('!') {
        Some(key) => of(key, Test::Absent),
        None => of(text, Test::Exists),
    }
}
