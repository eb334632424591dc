//! A full disk and a broken one, at each operation.

use quorate_disk::Operation;
use sim_disk::{CrashPolicy, FaultKind};

use super::model::Entry;
use super::world::{FOLDER, SMALL, World, busy};
use crate::jobs::{JobError, JobKind, Step};

/// Run the script with the `nth` operation failing; the error that it gave, if it met one.
fn run(kind: FaultKind, nth: u64) -> (World, Option<JobError>) {
    let mut world = World::new(nth, SMALL);
    world.disk.inject(kind, FOLDER, nth);
    let mut met = None;
    for entry in busy(90) {
        world.apply(entry);
        match world.settle() {
            Ok(()) => {}
            Err(error @ JobError::Full(_)) => met = Some(error),
            Err(error) => return (world, Some(error)),
        }
        world.store.check().unwrap();
    }
    (world, met)
}

#[test]
fn a_full_disk_fails_the_job_and_loses_nothing() {
    for nth in 1.. {
        let (mut world, met) = run(FaultKind::NoSpace, nth);
        if met.is_none() {
            assert!(nth > 50, "the script has {nth} writes");
            break;
        }
        assert!(matches!(met, Some(JobError::Full(_))), "{met:?}");
        world.jobs.request_checkpoint();
        world.settle().unwrap();
        assert_eq!(world.checkpointed, world.store.model.applied);
        world.store.check().unwrap();
        world.crash(CrashPolicy::LoseUnsynced);
    }
}

#[test]
fn a_disk_that_stays_full_takes_nothing_but_goes_on_when_it_has_room() {
    let mut world = World::new(1, SMALL);
    world.disk.set_capacity(Some(5000));
    let mut full = 0;
    for entry in busy(200) {
        world.apply(entry);
        match world.settle() {
            Ok(()) => {}
            Err(JobError::Full(_)) => full += 1,
            Err(error) => panic!("{error}"),
        }
        world.store.check().unwrap();
    }
    assert!(full > 10, "the disk was full {full} times");
    assert!(world.store.log.must_wait(), "apply is told to wait");
    world.disk.set_capacity(None);
    world.settle().unwrap();
    assert!(!world.store.log.must_wait());
    world.store.check().unwrap();
    world.crash(CrashPolicy::LoseUnsynced);
}

#[test]
fn a_broken_disk_is_fatal_and_a_restart_recovers() {
    for kind in [FaultKind::WriteError, FaultKind::SyncError] {
        for nth in 1.. {
            let (world, met) = run(kind, nth);
            if met.is_none() {
                assert!(nth > 20, "the script has {nth} such operations");
                break;
            }
            assert!(matches!(met, Some(JobError::Broken(_))), "{met:?}");
            let mut world = world.crash(CrashPolicy::Torn);
            world.settle().unwrap();
            world.store.check().unwrap();
        }
    }
}

/// Step the running job to its next submission.
fn next_submission(world: &mut World) -> Vec<Operation> {
    loop {
        match world.jobs.step(&mut world.store, Vec::new()).unwrap() {
            Step::Submit(operations) => return operations,
            Step::Again => {}
            Step::Done(outcome) => panic!("nothing to submit: {outcome:?}"),
        }
    }
}

#[test]
fn a_file_whose_sync_failed_for_lack_of_room_is_given_up() {
    let mut world = World::new(1, SMALL);
    world.apply(Entry::Change(vec![(1, 100)]));
    world.run(JobKind::Flush).unwrap();
    world.apply(Entry::Change(vec![(2, 100)]));
    world.jobs.start(JobKind::Flush);
    let [Operation::Write { path, offset, .. }, Operation::Sync { .. }] =
        &next_submission(&mut world)[..]
    else {
        panic!("a flush goes on in the segment that has room");
    };
    assert!(*offset > 0);
    let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
    let error = world.jobs.step(&mut world.store, vec![Ok(()), Err(full())]).unwrap_err();
    assert!(matches!(error, JobError::Full(_)));
    world.store.check().unwrap();
    world.jobs.start(JobKind::Flush);
    let again = next_submission(&mut world);
    let [Operation::Create { path: new, .. }, Operation::Write { .. }, Operation::Sync { .. }] =
        &again[..]
    else {
        panic!("a new segment begins: {again:?}");
    };
    assert_ne!(new, path);
}
