//! Leases: lifetimes, attached keys, what their keepers hear.

use quorate_api::Error;
use quorate_api::etcdserverpb::{
    LeaseCheckpoint, LeaseCheckpointRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest,
};
use quorate_api::request::RequestKind;
use quorate_store::entry::Applied;
use quorate_store::lease::{LeaseChange, TTL_SECONDS_MAX};
use quorate_store::revision::Revision;

use crate::ours::Ours;

fn grant(ours: &mut Ours, id: i64, ttl: i64) -> Applied {
    ours.request(RequestKind::LeaseGrant, &LeaseGrantRequest { ttl, id })
}

fn put(ours: &mut Ours, key: &'static str, lease: i64) -> Applied {
    let put = PutRequest { key: key.into(), lease, ..PutRequest::default() };
    ours.request(RequestKind::Put, &put)
}

fn checkpoint(ours: &mut Ours, id: i64, remaining_ttl: i64) -> Applied {
    let checkpoints = vec![LeaseCheckpoint { id, remaining_ttl }];
    ours.request(RequestKind::LeaseCheckpoint, &LeaseCheckpointRequest { checkpoints })
}

#[test]
fn lifetimes_are_bounded() {
    let mut ours = Ours::new();
    let applied = grant(&mut ours, 7, 1);
    assert_eq!(applied.changes.leases, [LeaseChange::Granted { id: 7, ttl_seconds: 2 }]);
    assert_eq!(grant(&mut ours, 7, 10).reply, Err(Error::LeaseExists));
    assert_eq!(grant(&mut ours, 0, 10).reply, Err(Error::LeaseNotFound));
    assert_eq!(grant(&mut ours, 8, TTL_SECONDS_MAX + 1).reply, Err(Error::LeaseTtlTooLarge));
    assert!(grant(&mut ours, -8, TTL_SECONDS_MAX).reply.is_ok());
    assert_eq!(ours.store.revision(), 1, "leases make no revision");
}

#[test]
fn a_revoke_deletes_the_keys_in_their_order_in_one_revision() {
    let mut ours = Ours::new();
    grant(&mut ours, 1, 10);
    grant(&mut ours, 2, 10);
    for key in ["c", "a", "b", "moved", "freed", "gone"] {
        put(&mut ours, key, 1);
    }
    put(&mut ours, "moved", 2);
    put(&mut ours, "freed", 0);
    let delete =
        quorate_api::etcdserverpb::DeleteRangeRequest { key: "gone".into(), ..Default::default() };
    ours.request(RequestKind::DeleteRange, &delete);
    let revision = ours.store.revision();
    let applied = ours.request(RequestKind::LeaseRevoke, &LeaseRevokeRequest { id: 1 });
    let records = applied.changes.records;
    let revisions: Vec<Revision> = records.iter().map(|record| record.revision).collect();
    assert_eq!(revisions, [0, 1, 2].map(|sub| Revision { main: revision + 1, sub }));
    let bodies: Vec<&[u8]> = records.iter().map(|record| record.body.as_ref()).collect();
    assert_eq!(bodies, [b"\x0a\x01a", b"\x0a\x01b", b"\x0a\x01c"]);
    assert!(records.iter().all(|record| record.tombstone));
    assert_eq!(ours.store.leases().of_key(b"moved"), Some(2));
    assert_eq!(ours.store.leases().of_key(b"freed"), None);
    let again = ours.request(RequestKind::LeaseRevoke, &LeaseRevokeRequest { id: 1 });
    assert_eq!(again.reply, Err(Error::LeaseNotFound));
    // One without keys makes no revision.
    grant(&mut ours, 3, 10);
    let revision = ours.store.revision();
    ours.request(RequestKind::LeaseRevoke, &LeaseRevokeRequest { id: 3 }).reply.unwrap();
    assert_eq!(ours.store.revision(), revision);
}

#[test]
fn checkpoints_are_kept_and_those_of_gone_leases_passed_over() {
    let mut ours = Ours::new();
    grant(&mut ours, 1, 100);
    let before = ours.store.state_hash();
    let applied = checkpoint(&mut ours, 1, 40);
    let change = LeaseChange::Checkpointed { id: 1, remaining_seconds: 40 };
    assert_eq!(applied.changes.leases, [change]);
    assert_eq!(ours.store.leases().get(1).unwrap().remaining_seconds, 40);
    assert_ne!(ours.store.state_hash(), before);
    assert!(checkpoint(&mut ours, 2, 40).changes.leases.is_empty());
    checkpoint(&mut ours, 1, 0);
    assert_eq!(ours.store.state_hash(), before);
}
