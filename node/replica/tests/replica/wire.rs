//! Raft's values as bytes and back.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;
use quorate_api::raftpb;
use quorate_raft::{
    ConfState, Entry, EntryKind, Index, Message, MessageKind, NodeId, Snapshot, SnapshotMetadata,
    Term,
};
use quorate_replica::wire::{
    WireError, decode_conf_state, decode_entry, encode_conf_state, encode_entry, message_from_pb,
    message_to_pb,
};

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn entry() -> impl Strategy<Value = Entry> {
    let kind = prop_oneof![
        Just(EntryKind::Normal),
        Just(EntryKind::ConfChange),
        Just(EntryKind::ConfChangeV2)
    ];
    (kind, any::<u64>(), any::<u64>(), bytes()).prop_map(|(kind, term, index, data)| Entry {
        kind,
        term: Term(term),
        index: Index(index),
        data,
    })
}

fn conf_state() -> impl Strategy<Value = ConfState> {
    let ids = || vec(any::<u64>().prop_map(NodeId), 0..4);
    (ids(), ids(), ids(), ids(), any::<bool>()).prop_map(
        |(voters, learners, voters_outgoing, learners_next, auto_leave)| ConfState {
            voters,
            learners,
            voters_outgoing,
            learners_next,
            auto_leave,
        },
    )
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    (conf_state(), any::<u64>(), any::<u64>(), bytes()).prop_map(
        |(conf_state, index, term, data)| Snapshot {
            metadata: SnapshotMetadata { conf_state, index: Index(index), term: Term(term) },
            data,
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    (
        (0..MessageKind::ALL.len(), any::<[u64; 8]>(), any::<bool>()),
        (vec(entry(), 0..4), proptest::option::of(snapshot()), bytes()),
    )
        .prop_map(|((kind, numbers, reject), (entries, snapshot, context))| {
            let [to, from, term, log_term, index, commit, vote, hint] = numbers;
            Message {
                kind: MessageKind::ALL[kind],
                to: NodeId(to),
                from: NodeId(from),
                term: Term(term),
                log_term: Term(log_term),
                index: Index(index),
                entries,
                commit: Index(commit),
                vote: NodeId(vote),
                snapshot,
                reject,
                reject_hint: Index(hint),
                context,
                responses: Vec::new(),
            }
        })
}

proptest! {
    #[test]
    fn entries_come_back(entry in entry()) {
        prop_assert_eq!(decode_entry(encode_entry(&entry)).unwrap(), entry);
    }

    #[test]
    fn configurations_come_back(state in conf_state()) {
        prop_assert_eq!(decode_conf_state(encode_conf_state(&state)).unwrap(), state);
    }

    #[test]
    fn messages_come_back(message in message()) {
        let bytes = message_to_pb(message.clone()).encode_to_vec();
        let decoded = raftpb::Message::decode(Bytes::from(bytes)).unwrap();
        prop_assert_eq!(message_from_pb(decoded).unwrap(), message);
    }

    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = decode_entry(bytes.clone());
        let _ = decode_conf_state(bytes.clone());
        if let Ok(message) = raftpb::Message::decode(bytes) {
            let _ = message_from_pb(message);
        }
    }

    #[test]
    fn damaged_messages_are_read_or_refused(
        message in message(), at in any::<prop::sample::Index>(), bit in 0..8_u8,
    ) {
        let mut bytes = message_to_pb(message).encode_to_vec();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if let Ok(message) = raftpb::Message::decode(Bytes::from(bytes)) {
            let _ = message_from_pb(message);
        }
    }
}

#[test]
fn kinds_that_do_not_exist_are_refused() {
    let message = raftpb::Message { r#type: Some(99), ..raftpb::Message::default() };
    assert!(matches!(message_from_pb(message), Err(WireError::Kind(99))));
    let message = raftpb::Message { r#type: Some(-1), ..raftpb::Message::default() };
    assert!(matches!(message_from_pb(message), Err(WireError::Kind(-1))));
    let entry = raftpb::Entry { r#type: Some(3), ..raftpb::Entry::default() };
    assert!(matches!(decode_entry(entry.encode_to_vec().into()), Err(WireError::Kind(3))));
}
