//! When work is due.

use super::model::Entry;
use super::world::{SMALL, World};
use crate::jobs::{JobKind, Outcome};

#[test]
fn an_idle_store_has_nothing_to_do() {
    let mut world = World::new(1, SMALL);
    assert_eq!(world.jobs.due(&world.store), None);
    world.jobs.request_checkpoint();
    world.settle().unwrap();
    assert_eq!(world.jobs.due(&world.store), None);
    assert_eq!(world.checkpointed, 0);
}

#[test]
fn work_is_due_by_bytes_and_by_entries() {
    let mut world = World::new(1, SMALL);
    world.apply(Entry::Change(vec![(1, 500)]));
    assert_eq!(world.jobs.due(&world.store), None);
    world.apply(Entry::Change(vec![(1, 500)]));
    assert_eq!(world.jobs.due(&world.store), Some(JobKind::Flush));
    world.settle().unwrap();
    assert_eq!(world.checkpointed, 0);
    for _ in 0..22 {
        world.apply(Entry::Compact { below: 0 });
    }
    assert_eq!(world.jobs.due(&world.store), None);
    world.apply(Entry::Compact { below: 0 });
    assert_eq!(world.jobs.due(&world.store), Some(JobKind::Checkpoint));
    world.settle().unwrap();
    assert_eq!(world.checkpointed, 25);
}

#[test]
fn a_long_job_makes_way_for_the_tail() {
    let mut world = World::new(1, SMALL);
    for at in 0..40 {
        world.apply(Entry::Change(vec![(at, 10)]));
    }
    world.jobs.start(JobKind::Checkpoint);
    let mut steps = 0;
    while world.jobs.is_running() {
        world.step().unwrap();
        world.apply(Entry::Change(vec![(steps % 40, 200)]));
        assert!(!world.store.log.must_wait(), "after {steps} steps");
        steps += 1;
    }
    assert_eq!(world.outcomes, [Outcome::Checkpointed { applied_index: 40 }]);
    world.store.check().unwrap();
}
