//! Entries applied, and the store's background work.

use bytes::Bytes;
use quorate_api::etcdserverpb as pb;
use quorate_api::request::{RequestKind, wrap};
use quorate_member::{Allowed, Progress, applier};
use quorate_raft::{Entry, Index, NodeId, Term};
use quorate_replica::{ConfChangeVerdict, LeaseChange, Presence, RequestId, Role};
use quorate_store::jobs::{JobError, JobKind, Outcome};
use sim_disk::{FaultKind, FaultyDisk};

use crate::directory::{Running, bootstrap, open, put};

fn start(disk: &FaultyDisk) -> Running {
    let mut running = open(disk, &bootstrap(3), 1).unwrap();
    let first = running.opened.boot.entries.clone();
    let batch = running.apply(&first);
    assert_eq!(batch.applied.conf_changes.len(), 3);
    let accepted = |(_, verdict): &(u64, _)| *verdict == ConfChangeVerdict::Accepted;
    assert!(batch.applied.conf_changes.iter().all(accepted));
    let members = batch.applied.members.unwrap();
    assert_eq!(members.len(), 3);
    assert!(members.iter().all(|fact| fact.role == Role::Voter));
    assert_eq!(members[0].presence, Presence::Started);
    assert_eq!(
        applier::conf_state(&running.opened.store).voters,
        [NodeId(1), NodeId(2), NodeId(3)]
    );
    running
}

fn entry(index: u64, data: Bytes) -> Entry {
    Entry { index: Index(index), term: Term(2), data, ..Entry::default() }
}

fn request(id: u64, kind: RequestKind, body: &impl prost::Message) -> Bytes {
    let header = pb::RequestHeader { id, ..pb::RequestHeader::default() };
    wrap(&header, kind, &body.encode_to_vec())
}

#[test]
fn what_was_applied_is_told_in_the_order_of_the_log() {
    let mut running = start(&FaultyDisk::new(1));
    let grant = pb::LeaseGrantRequest { id: 5, ttl: 60 };
    let alarm = pb::AlarmRequest { action: 1, member_id: 2, alarm: 1 };
    let revoke = pb::LeaseRevokeRequest { id: 5 };
    let compact = pb::CompactionRequest { revision: 2, physical: false };
    let entries = [
        entry(4, put(10, "k", "v")),
        entry(5, request(11, RequestKind::LeaseGrant, &grant)),
        entry(6, request(12, RequestKind::Alarm, &alarm)),
        entry(7, Bytes::new()),
        entry(8, request(13, RequestKind::LeaseRevoke, &revoke)),
        entry(9, request(14, RequestKind::Compaction, &compact)),
    ];
    let store = &mut running.opened.store;
    let batch = applier::apply(store, &entries, |id| id == RequestId(10)).unwrap();
    let applied = batch.applied;
    assert_eq!(applied.index, 9);
    assert_eq!(applied.requests, [10, 11, 12, 13, 14].map(RequestId));
    assert_eq!(
        applied.leases,
        [LeaseChange::Granted { lease: 5, ttl_seconds: 60 }, LeaseChange::Revoked { lease: 5 }]
    );
    assert_eq!(applied.alarms.unwrap().len(), 1);
    assert!(applied.members.is_none() && applied.conf_changes.is_empty());
    assert!(batch.compacted);
    assert!(applied.live_bytes > 0);
    let answered: Vec<RequestId> = batch.replies.iter().map(|(id, _)| *id).collect();
    assert_eq!(answered, [RequestId(10)], "only those who wait are answered");
    assert_eq!(batch.records.len(), 1);
    let facts = applier::facts(&running.opened.store);
    assert_eq!((facts.members.len(), facts.alarms.len(), facts.leases.len()), (3, 1, 0));
}

/// A member whose store wants a flush.
fn with_work(disk: &FaultyDisk) -> Running {
    let mut running = start(disk);
    let puts = |index: u64| entry(index, put(index, &format!("k{index}"), &"v".repeat(200)));
    let entries: Vec<Entry> = (4..10).map(puts).collect();
    running.apply(&entries);
    running
}

#[test]
fn jobs_run_step_by_step_until_none_is_due() {
    let disk = FaultyDisk::new(1);
    let mut running = with_work(&disk);
    running.opened.jobs.request_checkpoint();
    let done = running.work(&disk);
    assert!(done.contains(&Progress::Done(Outcome::Flushed)), "{done:?}");
    let written = Progress::Done(Outcome::Checkpointed { applied_index: 9 });
    assert!(done.contains(&written), "{done:?}");
    assert_eq!(running.opened.jobs.running(), None);
    assert_eq!(running.opened.jobs.jobs().checkpointed_index(), 9);
}

#[test]
fn only_flushes_run_while_the_store_becomes_another() {
    let disk = FaultyDisk::new(1);
    let mut running = with_work(&disk);
    running.opened.jobs.request_checkpoint();
    loop {
        let (store, jobs) = (&mut running.opened.store, &mut running.opened.jobs);
        match jobs.step(store, &mut running.store_disk, Allowed::Flush).unwrap() {
            Progress::Idle => break,
            Progress::Waiting => {
                disk.complete_all();
                running.hear_store();
            }
            Progress::More => assert_eq!(jobs.running(), Some(JobKind::Flush)),
            Progress::Done(outcome) => assert_eq!(outcome, Outcome::Flushed),
        }
    }
    assert_eq!(running.opened.jobs.jobs().checkpointed_index(), 0);
}

#[test]
fn a_job_given_up_hears_nothing_of_its_operations() {
    let disk = FaultyDisk::new(1);
    let mut running = with_work(&disk);
    for _ in 0..3 {
        let store = &mut running.opened.store;
        let jobs = &mut running.opened.jobs;
        while jobs.step(store, &mut running.store_disk, Allowed::All).unwrap() == Progress::More {}
        assert!(running.opened.jobs.is_waiting());
        running.opened.jobs.abort(&mut running.opened.store);
        assert!(!running.opened.jobs.is_waiting());
        assert_eq!(running.opened.jobs.running(), None);
    }
    // The old operations end while new ones are on their way.
    running.opened.jobs.request_checkpoint();
    let done = running.work(&disk);
    let written = Progress::Done(Outcome::Checkpointed { applied_index: 9 });
    assert!(done.contains(&written), "{done:?}");
}

#[test]
fn a_full_disk_ends_the_job_and_not_the_member() {
    let disk = FaultyDisk::new(1);
    let mut running = with_work(&disk);
    disk.inject(FaultKind::NoSpace, "store", 1);
    let error = loop {
        let (store, jobs) = (&mut running.opened.store, &mut running.opened.jobs);
        match jobs.step(store, &mut running.store_disk, Allowed::All) {
            Ok(Progress::Idle) => panic!("nothing met the full disk"),
            Ok(_) => {
                disk.complete_all();
                running.hear_store();
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(error, JobError::Full(_)), "{error:?}");
    assert_eq!(running.opened.jobs.running(), None);
    running.opened.jobs.request_checkpoint();
    let done = running.work(&disk);
    let written = Progress::Done(Outcome::Checkpointed { applied_index: 9 });
    assert!(done.contains(&written), "{done:?}");
}
