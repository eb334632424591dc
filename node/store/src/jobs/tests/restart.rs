//! What a restart costs, and what it leaves behind.

use sim_disk::CrashPolicy;

use super::model::Entry;
use super::world::{SMALL, World, busy};
use crate::jobs::JobKind;

#[test]
fn a_first_start_begins_empty_and_takes_remains_away() {
    let mut world = World::new(1, SMALL);
    for entry in busy(12) {
        world.apply(entry);
    }
    world.run(JobKind::Flush).unwrap();
    let before = world.files();
    let mut world = world.crash(CrashPolicy::KeepAll);
    assert_eq!(world.checkpointed, 0);
    assert_eq!(world.files(), before, "opening changes nothing");
    world.run(JobKind::Cleanup).unwrap();
    assert!(world.files().is_empty());
    world.run(JobKind::Checkpoint).unwrap();
    assert!(world.files().iter().all(|name| !before.contains(name)), "names are never reused");
    world.store.check().unwrap();
}

#[test]
fn restarts_without_end_leave_few_files() {
    let mut world = World::new(1, SMALL);
    for round in 0..60 {
        world.apply(Entry::Change(vec![(round, 80)]));
        world.run(JobKind::Checkpoint).unwrap();
        world.settle().unwrap();
        world = world.crash(CrashPolicy::LoseUnsynced);
    }
    world.settle().unwrap();
    assert!(world.files().len() < 30, "{:?}", world.files());
    world.store.check().unwrap();
}

/// Nearly names of the store's.
const FOREIGN: [&str; 4] =
    ["segment-1", "checkpoint-zz.manifest", "readme", "segment-00000000000000AB"];

#[test]
fn files_of_others_are_left_alone() {
    let world = World::new(1, SMALL);
    let image = {
        use quorate_disk::{Disk, Operation, Ticket};
        let mut handle = world.disk.handle(super::world::FOLDER);
        for name in FOREIGN {
            handle.submit(Ticket(1), Operation::Create { path: name.into(), size: 5 });
        }
        world.disk.complete_all();
        world.disk.image()
    };
    let mut world = World::from_image(&image, SMALL, Vec::new());
    for entry in busy(40) {
        world.apply(entry);
        world.settle().unwrap();
    }
    let names = world.files();
    assert!(names.len() > FOREIGN.len());
    assert!(FOREIGN.iter().all(|foreign| names.iter().any(|name| name == foreign)), "{names:?}");
}
