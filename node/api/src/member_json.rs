//! Members as JSON: what conf changes carry as context, and what a member answers at `/members`.
//!
//! The bytes are exactly etcd's, because every member of a mixed cluster stores the ones it is
//! handed: field order, what is left out when empty, `null` for absent peer URLs, and the escapes
//! of Go's encoder, which writes `<`, `>`, `&`, U+2028 and U+2029 as `\u` sequences.

use serde::{Deserialize, Serialize};

/// A member as etcd stores it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Member {
    /// The id, never 0.
    pub id: u64,
    /// Where peers reach the member. `None` is `null`, which a promotion carries.
    #[serde(rename = "peerURLs")]
    pub peer_urls: Option<Vec<String>>,
    /// Whether it only learns, without a vote.
    #[serde(rename = "isLearner", skip_serializing_if = "is_false")]
    pub is_learner: bool,
    /// The name; empty until the member has started.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where clients reach it.
    #[serde(
        rename = "clientURLs",
        skip_serializing_if = "is_empty",
        deserialize_with = "or_empty"
    )]
    pub client_urls: Vec<String>,
}

/// The context of a conf change that adds or promotes a member. An update carries a bare
/// [`Member`], and a removal carries nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfChangeContext {
    /// The member.
    #[serde(flatten)]
    pub member: Member,
    /// Tells a promotion from an addition: both are `ConfChangeAddNode`.
    #[serde(rename = "isPromote")]
    pub is_promote: bool,
}

impl Member {
    /// The JSON of etcd.
    pub fn to_json(&self) -> Vec<u8> {
        to_go_json(self)
    }

    /// Reads a member. Unknown fields are skipped, so a [`ConfChangeContext`] reads as its member.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }
}

impl ConfChangeContext {
    /// The JSON of etcd.
    pub fn to_json(&self) -> Vec<u8> {
        to_go_json(self)
    }

    /// Reads a context. A bare [`Member`] reads as one that is not a promotion.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }
}

/// The members as a JSON array, as `/members` answers, with the line feed that ends it there.
pub fn members_to_json(members: &[Member]) -> Vec<u8> {
    let mut json = to_go_json(&members);
    json.push(b'\n');
    json
}

/// Serializes with the escapes of Go's encoder. The characters stand only inside strings, so
/// replacing them in the whole text is safe.
fn to_go_json<T: Serialize>(value: &T) -> Vec<u8> {
    let json = serde_json::to_string(value).expect("strings, numbers and lists always serialize");
    if !json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return json.into_bytes();
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            _ => escaped.push(character),
        }
    }
    escaped.into_bytes()
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_empty(urls: &[String]) -> bool {
    urls.is_empty()
}

/// Go reads `null` as an empty list.
fn or_empty<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}
