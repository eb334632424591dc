//! What a request asks for.

use std::collections::BTreeMap;

use http::Method;
use http::request::Parts;

use super::kinds::{self, Kind};
use super::patch::PatchKind;

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) verb: Verb,
    pub(super) kind: &'static Kind,
    /// Empty for all namespaces, and for what is in none.
    pub(super) namespace: String,
    /// Empty for all.
    pub(super) name: String,
    pub(super) part: Part,
    pub(super) query: Query,
    /// Whether objects come without spec and status.
    pub(super) is_metadata_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch(PatchKind),
    Delete,
    DeleteCollection,
}

/// Which part of an object a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Object,
    Status,
    Scale,
    Eviction,
}

/// What stands behind the question mark.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(BTreeMap<String, String>);

impl Verb {
    /// As roles name it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch(_) => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

impl Part {
    /// As paths and roles name it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Object => "",
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Eviction => "eviction",
        }
    }

    fn parse(text: &str, kind: &Kind) -> Option<Self> {
        match text {
            "status" if kind.has_status => Some(Self::Status),
            "scale" if kind.has_scale => Some(Self::Scale),
            "eviction" if kind.name == "Pod" => Some(Self::Eviction),
            _ => None,
        }
    }
}

impl Query {
    fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self(pairs.collect())
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn is_set(&self, key: &str) -> bool {
        matches!(self.get(key), Some("true" | "1"))
    }
}

/// What is behind percent signs and plus signs.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = others.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                bytes.push(byte.unwrap_or(b'%'));
                rest = if byte.is_some() { &others[2..] } else { others };
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Request {
    /// What a request asks for; `None` if there is nothing at its path.
    pub(super) fn parse(parts: &Parts) -> Option<Self> {
        let segments: Vec<&str> =
            parts.uri.path().split('/').filter(|segment| !segment.is_empty()).collect();
        let (group, version, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..]
                if rest.first().is_some_and(|plural| {
                    kinds::at(group, version, plural).is_some_and(|kind| kind.is_namespaced)
                }) =>
            {
                (*namespace, rest)
            }
            rest => ("", rest),
        };
        let (plural, name, part) = match rest {
            [plural] => (*plural, "", None),
            [plural, name] => (*plural, *name, None),
            [plural, name, part] => (*plural, *name, Some(*part)),
            _ => return None,
        };
        let kind = kinds::at(group, version, plural)?;
        let part = match part {
            None => Part::Object,
            Some(text) => Part::parse(text, kind)?,
        };
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let accept = header(parts, "accept");
        Some(Self {
            verb: verb(parts, name, &query)?,
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            part,
            query,
            is_metadata_only: accept.contains("as=PartialObjectMetadata"),
        })
    }
}

fn verb(parts: &Parts, name: &str, query: &Query) -> Option<Verb> {
    let is_one = !name.is_empty();
    Some(match parts.method {
        Method::GET if query.is_set("watch") => Verb::Watch,
        Method::GET if is_one => Verb::Get,
        Method::GET => Verb::List,
        Method::POST => Verb::Create,
        Method::PUT if is_one => Verb::Update,
        Method::PATCH if is_one => Verb::Patch(PatchKind::parse(header(parts, "content-type"))?),
        Method::DELETE if is_one => Verb::Delete,
        Method::DELETE => Verb::DeleteCollection,
        _ => return None,
    })
}

fn header<'a>(parts: &'a Parts, name: &str) -> &'a str {
    parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
