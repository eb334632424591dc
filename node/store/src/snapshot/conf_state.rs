//! The Raft configuration as etcd keeps it: JSON with Go's field order.

use bytes::Bytes;
use quorate_api::raftpb::ConfState;
use serde::{Deserialize, Serialize};

/// The fields in etcd's order; empty lists are left out.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Json {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    voters: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    learners: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    voters_outgoing: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    learners_next: Vec<u64>,
    auto_leave: bool,
}

/// `{"voters":[1],"auto_leave":false}`.
pub(super) fn encode(conf_state: &ConfState) -> Bytes {
    let ConfState { voters, learners, voters_outgoing, learners_next, auto_leave } =
        conf_state.clone();
    let auto_leave = auto_leave.unwrap_or_default();
    let json = Json { voters, learners, voters_outgoing, learners_next, auto_leave };
    serde_json::to_vec(&json).expect("lists of numbers").into()
}

/// The configuration that the JSON describes.
pub(super) fn decode(json: &[u8]) -> Result<ConfState, serde_json::Error> {
    let Json { voters, learners, voters_outgoing, learners_next, auto_leave } =
        serde_json::from_slice(json)?;
    let auto_leave = Some(auto_leave);
    Ok(ConfState { voters, learners, voters_outgoing, learners_next, auto_leave })
}
