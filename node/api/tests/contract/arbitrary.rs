//! Decoders meet arbitrary bytes: they refuse or they read, and what they read is stable.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use quorate_api::etcdserverpb::{InternalRaftRequest, RequestHeader, TxnRequest, WatchResponse};
use quorate_api::member_json::{ConfChangeContext, Member};
use quorate_api::peer::{AppendDecoder, MessageDecoder, decode_snapshot_head};
use quorate_api::request::{RequestKind, split, wrap};
use quorate_api::urls::{InitialCluster, Url};
use quorate_api::version::Version;
use quorate_api::{authpb, leasepb, raftpb, snappb, walpb};

/// Decodes, and if that works, checks that what was read is written and read again alike.
fn read<M: Message + Default + PartialEq>(bytes: &[u8]) {
    if let Ok(message) = M::decode(bytes) {
        assert!(M::decode(message.encode_to_vec().as_slice()) == Ok(message));
    }
}

/// Bytes that often look like the short frames of a stream.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let small = prop_oneof![Just(0_u8), Just(1), Just(2), Just(8), any::<u8>()];
    let zeroes = Just(vec![0_u8; 7]);
    let part = prop_oneof![vec(small, 1..6), zeroes, vec(any::<u8>(), 0..20)];
    vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn messages(bytes in vec(any::<u8>(), 0..200)) {
        read::<InternalRaftRequest>(&bytes);
        read::<TxnRequest>(&bytes);
        read::<WatchResponse>(&bytes);
        read::<raftpb::Message>(&bytes);
        read::<raftpb::ConfChangeV2>(&bytes);
        read::<walpb::Record>(&bytes);
        read::<snappb::Snapshot>(&bytes);
        read::<leasepb::LeaseInternalRequest>(&bytes);
        read::<authpb::Role>(&bytes);
        let _ = split(Bytes::from(bytes));
    }

    #[test]
    fn whatever_is_wrapped_comes_back(
        id: u64,
        username in "[a-z]{0,9}",
        auth_revision: u64,
        kind in proptest::sample::select(RequestKind::ALL.to_vec()),
        request in vec(any::<u8>(), 0..300),
    ) {
        let header = RequestHeader { id, username, auth_revision };
        let wrapped = split(wrap(&header, kind, &request)).unwrap();
        prop_assert_eq!(wrapped.header, header);
        prop_assert_eq!(wrapped.request, Some((kind, Bytes::from(request))));
    }

    #[test]
    fn streams(bytes in frames(), cut in 1_usize..40) {
        let mut whole = BytesMut::from(bytes.as_slice());
        let mut decoder = AppendDecoder::new(2, 1);
        let mut at_once = Vec::new();
        while let Ok(Some(incoming)) = decoder.decode(&mut whole) {
            at_once.push(incoming);
        }
        let mut decoder = AppendDecoder::new(2, 1);
        let mut buffer = BytesMut::new();
        let mut in_parts = Vec::new();
        'parts: for part in bytes.chunks(cut) {
            buffer.extend_from_slice(part);
            loop {
                match decoder.decode(&mut buffer) {
                    Ok(Some(incoming)) => in_parts.push(incoming),
                    Ok(None) => break,
                    Err(_) => break 'parts,
                }
            }
        }
        prop_assert_eq!(at_once, in_parts);
        let mut buffer = BytesMut::from(bytes.as_slice());
        while let Ok(Some(_)) = MessageDecoder.decode(&mut buffer) {}
        let _ = decode_snapshot_head(&mut buffer);
    }

    #[test]
    fn texts(text in ".{0,60}", url in "(http|unix)s?:/{0,3}[\\[\\]%:@?#/a1é ]{0,20}") {
        let _ = Member::from_json(text.as_bytes());
        let _ = ConfChangeContext::from_json(text.as_bytes());
        let _ = Version::parse(&text);
        let _ = InitialCluster::parse(&text);
        for url in [text, url] {
            if let Ok(read) = Url::parse(&url) {
                let again = Url::parse(read.as_str());
                prop_assert_eq!(again.as_ref().map(Url::as_str), Ok(read.as_str()));
                let _ = (read.host().len(), read.port());
            }
        }
    }

    #[test]
    fn members_come_back(id: u64, name in ".{0,20}", urls in vec(".{0,20}", 0..3), learner: bool) {
        let member = Member {
            id,
            peer_urls: Some(urls.clone()),
            is_learner: learner,
            name,
            client_urls: urls,
        };
        prop_assert_eq!(Member::from_json(&member.to_json()).unwrap(), member);
    }
}
