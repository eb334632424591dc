//! The hub beside a whole store: what apply changes is what watchers see, and what the disk does
//! not give back is an error, never a gap.

use bytes::Bytes;
use prost::Message;
use quorate_api::etcdserverpb::{
    InternalRaftRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, WatchCreateRequest,
};

use super::world::{Change, Entry, World};
use crate::entry;
use crate::log::DamageKind;
use crate::store::{Store, StoreOptions};
use crate::watch::{Error, PollLimits, WatchHub, WatchOptions};

#[test]
fn a_revoked_lease_deletes_its_keys_in_one_revision() {
    let files = sim_disk::FaultyDisk::new(1).files("");
    let mut store = Store::new(files, StoreOptions::default());
    let mut hub = WatchHub::new(store.revision(), WatchOptions::default());
    let stream = hub.open_stream();
    let request = WatchCreateRequest {
        key: "a".into(),
        range_end: "z".into(),
        prev_kv: true,
        ..WatchCreateRequest::default()
    };
    hub.create(stream, store.mvcc(), &request).unwrap();

    let put = |key: &'static str| InternalRaftRequest {
        put: Some(PutRequest { key: key.into(), lease: 7, ..PutRequest::default() }),
        ..InternalRaftRequest::default()
    };
    let grant = LeaseGrantRequest { id: 7, ttl: 60 };
    let requests = [
        InternalRaftRequest { lease_grant: Some(grant), ..InternalRaftRequest::default() },
        put("b"),
        put("a"),
        InternalRaftRequest {
            lease_revoke: Some(LeaseRevokeRequest { id: 7 }),
            ..InternalRaftRequest::default()
        },
    ];
    for (index, request) in (1..).zip(requests) {
        let data: Bytes = request.encode_to_vec().into();
        let entry = entry::Entry { index, term: 1, kind: entry::EntryKind::Normal, data };
        let applied = store.apply(&entry).unwrap();
        applied.reply.unwrap();
        hub.publish(applied.changes.records).unwrap();
    }

    let polled = hub.poll(stream, store.mvcc(), PollLimits::default()).unwrap();
    let message = polled.responses[1].to_message(&Default::default()).unwrap();
    let told: Vec<_> = message
        .events
        .iter()
        .map(|event| {
            let kv = event.kv.clone().unwrap();
            let lease = event.prev_kv.as_ref().map(|prev| prev.lease);
            (event.r#type, kv.key, kv.mod_revision, lease)
        })
        .collect();
    let expected = [
        (0, "b".into(), 2, None),
        (0, "a".into(), 3, None),
        (1, "a".into(), 4, Some(7)),
        (1, "b".into(), 4, Some(7)),
    ];
    assert_eq!(told, expected);
}

#[test]
fn an_unreadable_log_is_an_error_and_not_a_gap() {
    let mut world = World::new(WatchOptions { ring_bytes_max: 0, ..WatchOptions::default() });
    let stream = world.hub.open_stream();
    world.put("a", "1");
    world.apply(Entry::Transaction(vec![Change::Delete { key: "a".into() }]));
    world.publish();
    let request = WatchCreateRequest {
        key: "a".into(),
        start_revision: 3,
        prev_kv: true,
        ..WatchCreateRequest::default()
    };
    world.hub.create(stream, &world.mvcc, &request).unwrap();
    // The index knows the previous value, and the log has lost it.
    let lost = crate::revision::Revision { main: 2, sub: 0 };
    world.mvcc.log_mut().release(lost);
    let polled = world.hub.poll(stream, &world.mvcc, PollLimits::default());
    match polled {
        Err(Error::Damage(damage)) => {
            assert_eq!((damage.revision, damage.kind), (lost, DamageKind::Missing));
        }
        other => panic!("{other:?}"),
    }
    assert!(world.hub.poll(stream, &world.mvcc, PollLimits::default()).is_err(), "nor later");
}
