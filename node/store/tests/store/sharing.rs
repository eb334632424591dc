//! Readers in other threads look at a store that apply has between their steps.

use quorate_api::etcdserverpb::{CompactionRequest, PutRequest, RangeRequest};
use quorate_api::raftpb::ConfState;
use quorate_api::request::RequestKind;
use quorate_store::hash::hash_store;
use quorate_store::mvcc::range::RangeCursor;
use quorate_store::store::Store;

use crate::ours::Ours;

fn put(ours: &mut Ours, number: usize) {
    let key = format!("k{number:05}").into();
    let put = PutRequest { key, ..PutRequest::default() };
    ours.request(RequestKind::Put, &put).reply.unwrap();
}

fn all(revision: i64) -> RangeRequest {
    RangeRequest { key: "k".into(), range_end: "l".into(), revision, ..RangeRequest::default() }
}

#[test]
fn a_store_can_be_shared() {
    fn shared<T: Send + Sync>() {}
    shared::<Store>();
}

#[test]
fn steps_read_at_one_revision_and_begin_anew_when_compaction_overtakes_them() {
    let mut ours = Ours::new();
    for number in 0..2000 {
        put(&mut ours, number);
    }
    let (mut current, mut fixed) = (RangeCursor::new(all(0)), RangeCursor::new(all(2001)));
    for cursor in [&mut current, &mut fixed] {
        assert_eq!(cursor.step(ours.store.mvcc()).unwrap(), None);
    }
    put(&mut ours, 1999);
    put(&mut ours, 3000);
    assert_eq!(current.step(ours.store.mvcc()).unwrap(), None);
    let mut done = RangeCursor::new(all(2001));
    let unchanged = loop {
        if let Some(outcome) = done.step(ours.store.mvcc()).unwrap() {
            break outcome;
        }
    };
    assert_eq!((unchanged.kvs.len(), unchanged.count, unchanged.revision), (2000, 2000, 2003));

    let compaction = CompactionRequest { revision: 2003, physical: false };
    ours.request(RequestKind::Compaction, &compaction).reply.unwrap();
    ours.prune();
    assert!(fixed.step(ours.store.mvcc()).is_err());
    let renewed = loop {
        if let Some(outcome) = current.step(ours.store.mvcc()).unwrap() {
            break outcome;
        }
    };
    assert_eq!((renewed.kvs.len(), renewed.count, renewed.revision), (2001, 2001, 2003));
}

#[test]
fn the_hash_of_everything_tells_stores_apart() {
    let conf_state = ConfState { voters: vec![1], ..ConfState::default() };
    let hash = |ours: &Ours| hash_store(&ours.store, &conf_state).unwrap();
    let (mut left, mut right) = (Ours::new(), Ours::new());
    assert_eq!(hash(&left), hash(&right));
    put(&mut left, 1);
    assert_ne!(hash(&left), hash(&right));
    put(&mut right, 1);
    assert_eq!(hash(&left), hash(&right));
}
