//! The naive etcd, where etcd surprises.

use bytes::Bytes;
use judge::history::{
    Body, Compare, DeleteRange, KeyRange, Projection, Put, Range, RangeResult, Refusal, Relation,
    Request, Target, Txn, TxnOperation,
};
use judge::model::Model;

fn put(key: &'static str, value: &'static str) -> Request {
    Request::Put(Put::new(key, value))
}

fn delete(keys: KeyRange) -> Request {
    Request::DeleteRange(DeleteRange { keys, prev_kv: true })
}

fn apply(model: &mut Model, request: Request) -> (i64, Body) {
    let response = model.apply(&request).expect("not refused").response;
    (response.revision, response.body)
}

fn range(model: &Model, range: Range) -> RangeResult {
    match model.evaluate(&Request::Range(range)).expect("not refused").response.body {
        Body::Range(result) => result,
        other => panic!("{other:?}"),
    }
}

#[test]
fn revisions_count_effective_writes() {
    let mut model = Model::new();
    assert_eq!(apply(&mut model, delete(KeyRange::all())).0, 1);
    assert_eq!(apply(&mut model, put("a", "1")).0, 2);
    assert_eq!(apply(&mut model, put("a", "2")).0, 3);
    assert_eq!(apply(&mut model, Request::Txn(Txn::default())).0, 3);
    let (revision, Body::DeleteRange { deleted, prev_kvs }) =
        apply(&mut model, delete(KeyRange::all()))
    else {
        panic!("a deletion answers as one");
    };
    assert_eq!((revision, deleted, prev_kvs[0].version), (4, 1, 2));
    apply(&mut model, put("a", "3"));
    let again = model.get_at(b"a", 5).expect("there again");
    assert_eq!((again.create_revision, again.version), (5, 1));
    assert!(model.get_at(b"a", 4).is_none() && model.get_at(b"a", 1).is_none());
}

#[test]
fn ranges_end_as_etcd_writes_them() {
    let mut model = Model::new();
    for key in ["a", "b", "c"] {
        apply(&mut model, put(key, "1"));
    }
    let count = |keys| range(&model, Range::current(keys)).count;
    assert_eq!(count(KeyRange::all()), 3);
    assert_eq!(count(KeyRange::single("b")), 1);
    assert_eq!(count(KeyRange::between("a", "c")), 2);
    assert_eq!(count(KeyRange::between("b", Bytes::from_static(b"\0"))), 2);
    assert_eq!(count(KeyRange::between("c", "a")), 0);
    let limited = range(&model, Range { limit: 2, ..Range::current(KeyRange::all()) });
    assert_eq!((limited.kvs.len(), limited.count, limited.more), (2, 3, true));
    let projection = Projection::CountOnly;
    let counted = Range { limit: 2, projection, ..Range::current(KeyRange::all()) };
    let counted = range(&model, counted);
    assert_eq!((counted.kvs.len(), counted.count, counted.more), (0, 3, false));
}

#[test]
fn compaction_leaves_its_own_revision_readable() {
    let mut model = Model::new();
    apply(&mut model, put("a", "1"));
    apply(&mut model, put("a", "2"));
    apply(&mut model, Request::Compact { revision: 3 });
    let at = |revision| {
        let request = Range { revision, ..Range::current(KeyRange::all()) };
        model.evaluate(&Request::Range(request)).map(|done| done.response.revision)
    };
    assert_eq!(at(2), Err(Refusal::Compacted));
    assert_eq!(at(3), Ok(3));
    assert_eq!(at(4), Err(Refusal::FutureRevision));
    let again = model.evaluate(&Request::Compact { revision: 3 }).map(|_| ());
    assert_eq!(again, Err(Refusal::Compacted));
    let future = model.evaluate(&Request::Compact { revision: 4 }).map(|_| ());
    assert_eq!(future, Err(Refusal::FutureRevision));
}

#[test]
fn absent_keys_compare_as_zero_but_have_no_value() {
    let model = Model::new();
    let holds = |relation, target| {
        let compare = vec![Compare { keys: KeyRange::single("a"), relation, target }];
        let txn = Txn { compare, ..Txn::default() };
        match model.evaluate(&Request::Txn(txn)).expect("not refused").response.body {
            Body::Txn { succeeded, .. } => succeeded,
            other => panic!("{other:?}"),
        }
    };
    assert!(holds(Relation::Equal, Target::Version(0)));
    assert!(holds(Relation::Less, Target::Create(1)));
    assert!(holds(Relation::NotEqual, Target::Lease(3)));
    assert!(!holds(Relation::Greater, Target::Mod(0)));
    assert!(!holds(Relation::NotEqual, Target::Value(Bytes::from_static(b"1"))));
    assert!(!holds(Relation::Equal, Target::Value(Bytes::new())));
}

#[test]
fn a_transaction_sees_its_own_writes_and_writes_no_key_twice() {
    let mut model = Model::new();
    apply(&mut model, put("a", "1"));
    let write = TxnOperation::Put(Put::new("b", "2"));
    let read = TxnOperation::Range(Range::current(KeyRange::all()));
    let nested = Txn { success: vec![write.clone(), read], ..Txn::default() };
    let txn = Txn { success: vec![TxnOperation::Txn(nested)], ..Txn::default() };
    let (revision, body) = apply(&mut model, Request::Txn(txn));
    let Body::Txn { results, .. } = body else { panic!("a transaction answers as one") };
    let Body::Txn { results, .. } = &results[0] else { panic!("and so inside") };
    let Body::Range(seen) = &results[1] else { panic!("a read answers as one") };
    assert_eq!((revision, seen.count, seen.kvs[1].mod_revision), (3, 2, 3));

    let refused = |success: Vec<TxnOperation>, failure: Vec<TxnOperation>| {
        let txn = Request::Txn(Txn { compare: vec![], success, failure });
        model.evaluate(&txn).map(|_| ()) == Err(Refusal::Invalid)
    };
    let delete = |keys| TxnOperation::DeleteRange(DeleteRange { keys, prev_kv: false });
    let all = delete(KeyRange::between("a", "z"));
    let open = delete(KeyRange::all());
    assert!(!refused(vec![open, write.clone()], vec![]), "an end without bound overlaps nothing");
    assert!(refused(vec![write.clone(), write.clone()], vec![]));
    assert!(refused(vec![write.clone(), all.clone()], vec![]));
    assert!(refused(vec![all.clone(), write.clone()], vec![]));
    assert!(!refused(vec![all.clone(), all.clone()], vec![]));
    assert!(!refused(vec![write.clone()], vec![write.clone()]));
    let inner = TxnOperation::Txn(Txn { failure: vec![write.clone()], ..Txn::default() });
    assert!(refused(vec![write.clone(), inner], vec![]));
}

#[test]
fn a_lease_takes_its_keys_in_one_revision() {
    let mut model = Model::new();
    let leased = |key: &'static str| Request::Put(Put { lease: 5, ..Put::new(key, "1") });
    assert_eq!(model.apply(&leased("b")).map(|_| ()), Err(Refusal::LeaseNotFound));
    assert_eq!(apply(&mut model, Request::LeaseGrant { id: 5, ttl: 9 }).0, 1);
    let twice = model.apply(&Request::LeaseGrant { id: 5, ttl: 9 }).map(|_| ());
    assert_eq!(twice, Err(Refusal::LeaseExists));
    apply(&mut model, leased("b"));
    apply(&mut model, leased("a"));
    apply(&mut model, leased("c"));
    apply(&mut model, put("c", "free"));
    let done = model.apply(&Request::LeaseRevoke { id: 5 }).expect("there");
    let keys: Vec<&[u8]> = done.events.iter().map(|event| event.key.as_ref()).collect();
    assert_eq!((done.response.revision, keys), (6, vec![b"a".as_ref(), b"b".as_ref()]));
    let again = model.apply(&Request::LeaseRevoke { id: 5 }).map(|_| ());
    assert_eq!(again, Err(Refusal::LeaseNotFound));
    let (_, body) = apply(&mut model, Request::LeaseKeepAlive { id: 5 });
    assert_eq!(body, Body::LeaseKeepAlive { id: 5, ttl: 0 });
}

#[test]
fn kept_values_need_a_key() {
    let mut model = Model::new();
    let keep = || Request::Put(Put { ignore_value: true, ..Put::new("a", "") });
    assert_eq!(model.apply(&keep()).map(|_| ()), Err(Refusal::KeyNotFound));
    apply(&mut model, put("a", "1"));
    apply(&mut model, keep());
    let kept = model.get_at(b"a", 3).expect("there");
    assert_eq!((kept.value.as_ref(), kept.version), (b"1".as_ref(), 2));
}

#[test]
fn a_key_that_its_transaction_deleted_keeps_nothing() {
    let mut model = Model::new();
    apply(&mut model, put("a", "1"));
    let all = KeyRange { key: Bytes::from_static(b"\0"), end: Bytes::from_static(b"\0") };
    let keep = Put { ignore_value: true, prev_kv: true, ..Put::new("a", "") };
    let success = vec![
        TxnOperation::DeleteRange(DeleteRange { keys: all, prev_kv: false }),
        TxnOperation::Put(keep),
    ];
    let (_, body) = apply(&mut model, Request::Txn(Txn { success, ..Txn::default() }));
    let Body::Txn { results, .. } = body else { panic!("a transaction answers as one") };
    assert_eq!(results[1], Body::Put { prev_kv: None });
    let kept = model.get_at(b"a", 3).expect("put anew");
    assert_eq!((kept.value.as_ref(), kept.create_revision, kept.version), (b"".as_ref(), 3, 1));
}

#[test]
fn inner_conditions_and_revisions_are_those_before_the_transaction() {
    let mut model = Model::new();
    let is_there = Compare {
        keys: KeyRange::single("a"),
        relation: Relation::Greater,
        target: Target::Version(0),
    };
    let inner = Txn {
        compare: vec![is_there],
        success: vec![],
        failure: vec![TxnOperation::Put(Put::new("b", "absent"))],
    };
    let write = TxnOperation::Put(Put::new("a", "1"));
    let success = vec![write.clone(), TxnOperation::Txn(inner)];
    let outer = Txn { success, ..Txn::default() };
    let (_, body) = apply(&mut model, Request::Txn(outer));
    let Body::Txn { results, .. } = body else { panic!("a transaction answers as one") };
    assert!(matches!(results[1], Body::Txn { succeeded: false, .. }), "{results:?}");

    let next = model.revision() + 1;
    let read = Range { revision: next, ..Range::current(KeyRange::all()) };
    let success = vec![TxnOperation::Put(Put::new("a", "2")), TxnOperation::Range(read)];
    let txn = Request::Txn(Txn { success, ..Txn::default() });
    assert_eq!(model.evaluate(&txn).map(|_| ()), Err(Refusal::FutureRevision));
}
