//! Raft's values as etcd's `raftpb` messages, which is how they stand in the log and travel.
//!
//! A zero is left out: readers of both kinds take an absent field for zero. Messages to the local
//! workers never travel, so responses have no place here.

use bytes::Bytes;
use prost::Message as _;
use quorate_api::raftpb;
use quorate_raft::{
    ConfState, Entry, EntryKind, HardState, Index, Message, MessageKind, NodeId, Snapshot,
    SnapshotMetadata, Term,
};
use thiserror::Error;

/// Bytes that are no message of this protocol.
#[derive(Debug, Error)]
pub enum WireError {
    /// They do not parse.
    #[error("cannot read the message: {0}")]
    Decode(#[from] prost::DecodeError),
    /// They name a kind of entry or message that does not exist.
    #[error("unknown kind {0}")]
    Kind(i32),
}

/// An entry as the log holds it.
#[must_use]
pub fn encode_entry(entry: &Entry) -> Bytes {
    entry_to_pb(entry.clone()).encode_to_vec().into()
}

/// An entry from the log; shares `bytes`.
///
/// # Errors
/// When the bytes are not an entry.
pub fn decode_entry(bytes: Bytes) -> Result<Entry, WireError> {
    entry_from_pb(raftpb::Entry::decode(bytes)?)
}

/// A configuration as the log and checkpoints hold it.
#[must_use]
pub fn encode_conf_state(state: &ConfState) -> Bytes {
    conf_state_to_pb(state).encode_to_vec().into()
}

/// A configuration from the log or a checkpoint.
///
/// # Errors
/// When the bytes are not a configuration.
pub fn decode_conf_state(bytes: Bytes) -> Result<ConfState, WireError> {
    Ok(conf_state_from_pb(raftpb::ConfState::decode(bytes)?))
}

/// A message for a peer.
#[must_use]
pub fn message_to_pb(message: Message) -> raftpb::Message {
    raftpb::Message {
        r#type: i32::try_from(message.kind.number()).ok(),
        to: some(message.to.0),
        from: some(message.from.0),
        term: some(message.term.0),
        log_term: some(message.log_term.0),
        index: some(message.index.0),
        entries: message.entries.into_iter().map(entry_to_pb).collect(),
        commit: some(message.commit.0),
        vote: some(message.vote.0),
        snapshot: message.snapshot.map(snapshot_to_pb),
        reject: message.reject.then_some(true),
        reject_hint: some(message.reject_hint.0),
        context: Some(message.context).filter(|context| !context.is_empty()),
        responses: Vec::new(),
    }
}

/// A message from a peer.
///
/// # Errors
/// When it names a kind that does not exist.
pub fn message_from_pb(message: raftpb::Message) -> Result<Message, WireError> {
    let number = message.r#type.unwrap_or_default();
    let kind = u64::try_from(number)
        .ok()
        .and_then(MessageKind::from_number)
        .ok_or(WireError::Kind(number))?;
    Ok(Message {
        kind,
        to: NodeId(message.to.unwrap_or_default()),
        from: NodeId(message.from.unwrap_or_default()),
        term: Term(message.term.unwrap_or_default()),
        log_term: Term(message.log_term.unwrap_or_default()),
        index: Index(message.index.unwrap_or_default()),
        entries: message.entries.into_iter().map(entry_from_pb).collect::<Result<_, _>>()?,
        commit: Index(message.commit.unwrap_or_default()),
        vote: NodeId(message.vote.unwrap_or_default()),
        snapshot: message.snapshot.map(snapshot_from_pb),
        reject: message.reject.unwrap_or_default(),
        reject_hint: Index(message.reject_hint.unwrap_or_default()),
        context: message.context.unwrap_or_default(),
        responses: Vec::new(),
    })
}

/// A hard state as etcd writes it.
#[must_use]
pub fn hard_state_to_pb(state: HardState) -> raftpb::HardState {
    raftpb::HardState {
        term: some(state.term.0),
        vote: some(state.vote.0),
        commit: some(state.commit.0),
    }
}

fn some(number: u64) -> Option<u64> {
    (number != 0).then_some(number)
}

/// An entry as a message.
#[must_use]
pub fn entry_to_pb(entry: Entry) -> raftpb::Entry {
    let kind = match entry.kind {
        EntryKind::Normal => None,
        EntryKind::ConfChange => Some(raftpb::EntryType::EntryConfChange.into()),
        EntryKind::ConfChangeV2 => Some(raftpb::EntryType::EntryConfChangeV2.into()),
    };
    raftpb::Entry {
        term: some(entry.term.0),
        index: some(entry.index.0),
        r#type: kind,
        data: Some(entry.data).filter(|data| !data.is_empty()),
    }
}

/// An entry from a message.
///
/// # Errors
/// When it names a kind that does not exist.
pub fn entry_from_pb(entry: raftpb::Entry) -> Result<Entry, WireError> {
    let kind = match entry.r#type.unwrap_or_default() {
        0 => EntryKind::Normal,
        1 => EntryKind::ConfChange,
        2 => EntryKind::ConfChangeV2,
        other => return Err(WireError::Kind(other)),
    };
    Ok(Entry {
        kind,
        term: Term(entry.term.unwrap_or_default()),
        index: Index(entry.index.unwrap_or_default()),
        data: entry.data.unwrap_or_default(),
    })
}

/// A configuration as a message.
#[must_use]
pub fn conf_state_to_pb(state: &ConfState) -> raftpb::ConfState {
    let numbers = |ids: &[NodeId]| ids.iter().map(|id| id.0).collect();
    raftpb::ConfState {
        voters: numbers(&state.voters),
        learners: numbers(&state.learners),
        voters_outgoing: numbers(&state.voters_outgoing),
        learners_next: numbers(&state.learners_next),
        auto_leave: state.auto_leave.then_some(true),
    }
}

/// A configuration from a message.
#[must_use]
pub fn conf_state_from_pb(state: raftpb::ConfState) -> ConfState {
    let ids = |numbers: Vec<u64>| numbers.into_iter().map(NodeId).collect();
    ConfState {
        voters: ids(state.voters),
        learners: ids(state.learners),
        voters_outgoing: ids(state.voters_outgoing),
        learners_next: ids(state.learners_next),
        auto_leave: state.auto_leave.unwrap_or_default(),
    }
}

fn snapshot_to_pb(snapshot: Snapshot) -> raftpb::Snapshot {
    raftpb::Snapshot {
        data: Some(snapshot.data).filter(|data| !data.is_empty()),
        metadata: Some(raftpb::SnapshotMetadata {
            conf_state: Some(conf_state_to_pb(&snapshot.metadata.conf_state)),
            index: some(snapshot.metadata.index.0),
            term: some(snapshot.metadata.term.0),
        }),
    }
}

fn snapshot_from_pb(snapshot: raftpb::Snapshot) -> Snapshot {
    let metadata = snapshot.metadata.unwrap_or_default();
    Snapshot {
        metadata: SnapshotMetadata {
            conf_state: conf_state_from_pb(metadata.conf_state.unwrap_or_default()),
            index: Index(metadata.index.unwrap_or_default()),
            term: Term(metadata.term.unwrap_or_default()),
        },
        data: snapshot.data.unwrap_or_default(),
    }
}
