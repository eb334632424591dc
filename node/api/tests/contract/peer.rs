//! The streams of the peer protocol, against bytes that etcd's encoders wrote.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use quorate_api::peer::{
    AppendDecoder, AppendEncoder, CLUSTER_ID_HEADER, FrameError, Incoming,
    MIN_CLUSTER_VERSION_HEADER, MessageDecoder, Refusal, SERVER_VERSION_HEADER, check_peer,
    decode_snapshot_head, encode_heartbeat, encode_message,
};
use quorate_api::raftpb::{Entry, Message, MessageType};

use crate::golden::{append, entry, snapshot};
use crate::vector;

fn next(term: u64, log_term: u64, index: u64, commit: u64, entries: Vec<Entry>) -> Message {
    Message {
        term: Some(term),
        log_term: Some(log_term),
        index: Some(index),
        commit: Some(commit),
        entries,
        ..append()
    }
}

/// The stream of the vectors; `None` is the link's heartbeat.
fn stream() -> Vec<Option<Message>> {
    let text = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    vec![
        Some(append()),
        Some(next(5, 5, 12, 11, vec![entry(5, 13, text("y")), entry(5, 14, text(""))])),
        None,
        Some(next(5, 5, 14, 14, vec![])),
        Some(next(6, 5, 14, 14, vec![entry(6, 15, text("z"))])),
        Some(next(6, 6, 15, 15, vec![])),
        Some(next(6, 6, 10, 15, vec![])),
    ]
}

#[test]
fn append_stream_is_etcds() {
    let mut encoder = AppendEncoder::default();
    let mut decoder = AppendDecoder::new(2, 1);
    for (at, message) in stream().into_iter().enumerate() {
        let mut bytes = BytesMut::new();
        match &message {
            Some(message) => encoder.encode(message, &mut bytes),
            None => encoder.encode_heartbeat(&mut bytes),
        }
        assert_eq!(bytes, vector(&format!("msgappv2_{at}")).as_slice(), "frame {at}");
        let decoded = decoder.decode(&mut bytes).unwrap().unwrap();
        match message {
            Some(message) => assert_eq!(decoded, Incoming::Message(Box::new(message))),
            None => assert_eq!(decoded, Incoming::LinkHeartbeat),
        }
        assert!(bytes.is_empty());
    }
}

#[test]
fn append_stream_may_arrive_byte_by_byte() {
    let all: Vec<u8> = (0..7).flat_map(|at| vector(&format!("msgappv2_{at}"))).collect();
    let mut decoder = AppendDecoder::new(2, 1);
    let mut buffer = BytesMut::new();
    let mut decoded = Vec::new();
    for byte in all {
        buffer.extend_from_slice(&[byte]);
        decoded.extend(decoder.decode(&mut buffer).unwrap());
    }
    let expected: Vec<Incoming> = stream()
        .into_iter()
        .map(|message| {
            message.map_or(Incoming::LinkHeartbeat, |message| Incoming::Message(Box::new(message)))
        })
        .collect();
    assert_eq!(decoded, expected);
}

#[test]
fn only_an_append_takes_the_short_form() {
    let mut encoder = AppendEncoder::default();
    let mut bytes = BytesMut::new();
    encoder.encode(&append(), &mut bytes);
    bytes.clear();
    let heartbeat =
        Message { r#type: Some(MessageType::MsgHeartbeat.into()), ..next(5, 5, 12, 12, vec![]) };
    encoder.encode(&heartbeat, &mut bytes);
    assert_eq!(bytes.first(), Some(&2));
}

#[test]
fn append_stream_refuses_what_cannot_be() {
    let refuse =
        |bytes: &[u8]| AppendDecoder::new(2, 1).decode(&mut BytesMut::from(bytes)).unwrap_err();
    assert_eq!(refuse(&[3]), FrameError::UnknownKind(3));
    let limit = 512 * 1024 * 1024;
    let too_long = FrameError::TooLong { bytes: u64::MAX, limit };
    assert_eq!(refuse(&[2, 255, 255, 255, 255, 255, 255, 255, 255]), too_long);
    let mut entries = vec![1, 0, 0, 0, 0, 0, 0, 0, 1];
    entries.extend([255; 8]);
    assert_eq!(refuse(&entries), too_long);
    let malformed = [2, 0, 0, 0, 0, 0, 0, 0, 1, 0xff];
    assert!(matches!(refuse(&malformed), FrameError::Malformed(_)));
    // A count that no stream can hold allocates nothing and waits for bytes.
    let mut endless = BytesMut::from(&[1, 255, 255, 255, 255, 255, 255, 255, 255][..]);
    assert_eq!(AppendDecoder::new(2, 1).decode(&mut endless), Ok(None));
}

#[test]
fn message_stream_is_etcds() {
    let mut bytes = BytesMut::new();
    encode_message(&snapshot(), &mut bytes);
    assert_eq!(bytes, vector("message_frame").as_slice());
    encode_heartbeat(&mut bytes);
    bytes.extend_from_slice(&[0; 7]);
    let message = MessageDecoder.decode(&mut bytes).unwrap();
    assert_eq!(message, Some(Incoming::Message(Box::new(snapshot()))));
    assert_eq!(MessageDecoder.decode(&mut bytes).unwrap(), Some(Incoming::LinkHeartbeat));
    assert_eq!(MessageDecoder.decode(&mut bytes).unwrap(), None);
    assert_eq!(bytes.len(), 7, "an incomplete frame stays");
}

#[test]
fn a_snapshot_is_a_message_and_a_database() {
    let mut bytes = BytesMut::from(vector("message_frame").as_slice());
    bytes.extend_from_slice(b"database");
    assert_eq!(decode_snapshot_head(&mut bytes).unwrap(), Some(snapshot()));
    assert_eq!(bytes, b"database".as_slice());
    let mut long = BytesMut::from(&(64 * 1024 * 1024 + 1_u64).to_be_bytes()[..]);
    assert!(matches!(decode_snapshot_head(&mut long), Err(FrameError::TooLong { .. })));
}

#[test]
fn peers_are_checked_for_version_then_cluster() {
    let headers = |server, cluster| {
        BTreeMap::from([
            (SERVER_VERSION_HEADER, server),
            (MIN_CLUSTER_VERSION_HEADER, "3.0.0"),
            (CLUSTER_ID_HEADER, cluster),
        ])
    };
    let check =
        |headers: BTreeMap<&str, &'static str>| check_peer(0xab, |name| headers.get(name).copied());
    assert_eq!(check(headers("3.6.5", "ab")), Ok(()));
    assert_eq!(check(headers("2.3.0", "cd")), Err(Refusal::IncompatibleVersion));
    assert_eq!(check(headers("3.6.5", "cd")), Err(Refusal::ClusterIdMismatch));
    assert_eq!(check(BTreeMap::new()), Err(Refusal::IncompatibleVersion));
    assert_eq!(Refusal::from_body("cluster ID mismatch\n"), Some(Refusal::ClusterIdMismatch));
    assert_eq!(Refusal::ClusterIdMismatch.status(), 412);
}
