//! Equal entries give equal stores, whatever each does in the background and whoever waits.

use proptest::prelude::*;
use prost::Message;
use quorate_api::request::RequestKind;
use quorate_store::entry::{Answer, Entry, EntryKind};
use quorate_store::tables::Tables;

use crate::generate;
use crate::model::Model;
use crate::model_test::is_refused_early;
use crate::ours::{Ours, encode};
use crate::request::Request;

/// The entry of a request that is replicated.
pub(crate) fn entry(index: u64, request: &Request) -> Option<Entry> {
    let (kind, body) = match request {
        Request::Range(range) => (RequestKind::Range, range.encode_to_vec()),
        Request::Put(put) => (RequestKind::Put, put.encode_to_vec()),
        Request::DeleteRange(delete) => (RequestKind::DeleteRange, delete.encode_to_vec()),
        Request::Txn(txn) => (RequestKind::Txn, txn.encode_to_vec()),
        Request::Compact(compaction) => (RequestKind::Compaction, compaction.encode_to_vec()),
        Request::Grant(grant) => (RequestKind::LeaseGrant, grant.encode_to_vec()),
        Request::Revoke(revoke) => (RequestKind::LeaseRevoke, revoke.encode_to_vec()),
        Request::Hash(_) => return None,
    };
    let header = quorate_api::etcdserverpb::RequestHeader { id: index, ..Default::default() };
    let data = quorate_api::request::wrap(&header, kind, &body);
    Some(Entry { index, term: 1, kind: EntryKind::Normal, data })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn equal_entries_give_equal_stores(
        requests in prop::collection::vec((generate::request(), any::<bool>()), 1..100),
    ) {
        let (mut left, mut right, mut model) = (Ours::new(), Ours::new(), Model::new());
        let mut index = 0;
        for (request, prune) in requests {
            let request = generate::place(request, model.revision());
            if is_refused_early(&request) {
                continue;
            }
            let _ = model.answer(&request);
            let Some(entry) = entry(index + 1, &request) else { continue };
            index += 1;
            let waited = left.store.apply(&entry).unwrap();
            let again = left.store.apply(&entry).unwrap();
            prop_assert!(again.changes == Default::default(), "applied once");
            let quiet = right.store.apply_as(&entry, Answer::Unwanted).unwrap();
            prop_assert_eq!(waited.reply.is_ok(), quiet.reply.is_ok());
            prop_assert_eq!(waited.changes, quiet.changes);
            prop_assert_eq!(left.store.state_hash(), right.store.state_hash());
            if prune {
                left.prune();
            }
        }
        let hash = |ours: &Ours| ours.store.hash_kv(0).unwrap();
        prop_assert_eq!(hash(&left), hash(&right));
        let tables = Tables::decode(&right.store.tables().encode()).unwrap();
        prop_assert_eq!(tables.state_hash(), right.store.tables().state_hash());
        prop_assert_eq!(tables.encode(), left.store.tables().encode());
    }
}

#[test]
fn the_state_hash_tells_states_apart() {
    let put = |value: &'static str| {
        let mut ours = Ours::new();
        let request = quorate_api::etcdserverpb::PutRequest {
            key: "k".into(),
            value: value.into(),
            ..Default::default()
        };
        ours.apply(EntryKind::Normal, encode(1, RequestKind::Put, &request));
        ours.store.state_hash()
    };
    assert_ne!(put("a"), put("b"));
    assert_eq!(put("a"), put("a"));
    assert_ne!(Ours::new().store.state_hash(), put(""));
}
