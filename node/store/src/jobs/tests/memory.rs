//! Memory and space: bounded by what is live.

use sim_disk::CrashPolicy;

use super::model::Entry;
use super::world::{SMALL, World};
use crate::jobs::JobKind;
use crate::log::locations::{DiskPlace, Locations, Place, Slot};
use crate::revision::Revision;

fn place(main: i64) -> DiskPlace {
    DiskPlace {
        segment: (main % 7) as u32,
        offset: main as u64 * 8,
        size: 8 * (1 + main as u64 % 9),
    }
}

#[test]
fn a_location_takes_about_eight_bytes_and_a_dead_stretch_none() {
    let mut locations = Locations::default();
    for main in 1..=100_000 {
        locations.set(Revision::new(main, 0), Slot::on_disk(place(main)));
    }
    let full = locations.memory_bytes();
    assert!(full < 100_000 * 9, "{full}");
    for main in (1..=99_000).filter(|main| main % 100 != 0) {
        let slot = locations.remove(Revision::new(main, 0)).unwrap();
        assert_eq!(slot.place(), Place::Disk(place(main)));
    }
    let sparse = locations.memory_bytes();
    assert!(sparse < full / 10, "{sparse} of {full}");
    for main in (1..=99_000).filter(|main| main % 100 == 0) {
        locations.remove(Revision::new(main, 0)).unwrap();
    }
    let few = locations.memory_bytes();
    assert!(few < 1_600 * 9, "{few}");
    assert_eq!(locations.iter_from(Revision::default()).count(), 1_000);
}

#[test]
fn a_revision_with_many_changes_keeps_each() {
    let mut locations = Locations::default();
    let mut subs: Vec<i64> = (0..2_000).collect();
    for sub in &subs {
        locations.set(Revision::new(5, *sub), Slot::in_tail(*sub as u64));
    }
    locations.set(Revision::new(6, 3), Slot::in_tail(9));
    assert_eq!(locations.get(Revision::new(6, 0)), None);
    while let Some(sub) = subs.pop() {
        assert_eq!(locations.remove(Revision::new(5, sub)), Some(Slot::in_tail(sub as u64)));
        assert_eq!(locations.get(Revision::new(5, sub)), None);
        let left = locations.iter_from(Revision::new(5, 0)).count();
        assert_eq!(left, subs.len() + 1);
    }
    assert_eq!(locations.remove(Revision::new(6, 3)), Some(Slot::in_tail(9)));
    assert_eq!(locations.memory_bytes(), 0);
}

#[test]
fn space_returns_after_churn() {
    let mut world = World::new(1, SMALL);
    for at in 0..3_000_u32 {
        world.apply(Entry::Change(vec![((at % 10) as u8, 100)]));
        if at % 50 == 0 {
            world.apply(Entry::Compact { below: 5 });
        }
        world.settle().unwrap();
        assert!(!world.store.log.must_wait());
    }
    world.settle().unwrap();
    world.store.check().unwrap();
    // 3,000 records of 128 bytes have been written, about 15 are live at a time.
    let on_disk: u64 = world.disk.list().iter().map(|(_, length)| length).sum();
    assert!(on_disk < 30_000, "{on_disk} bytes in {:?}", world.files());
    assert!(world.store.log.total_bytes() < 24_000, "{}", world.store.log.total_bytes());
    assert!(world.store.log.memory_bytes() < 8_000, "{}", world.store.log.memory_bytes());
    world.crash(CrashPolicy::LoseUnsynced);
}

#[test]
fn a_pin_keeps_its_records_until_it_is_dropped() {
    let mut world = World::new(1, SMALL);
    for at in 0..60 {
        world.apply(Entry::Change(vec![(at % 20, 100)]));
        world.settle().unwrap();
    }
    let pin = world.store.log.pin();
    let expected: Vec<_> = world.store.model.records.values().cloned().collect();
    for at in 0..200 {
        world.apply(Entry::Change(vec![(at % 20, 90)]));
        world.apply(Entry::Compact { below: 0 });
        world.settle().unwrap();
        let records: Vec<_> = pin.records().map(Result::unwrap).collect();
        assert_eq!(records, expected);
    }
    world.jobs.request_checkpoint();
    world.settle().unwrap();
    let held = world.files().len();
    drop(pin);
    world.settle().unwrap();
    assert!(world.files().len() < held, "{:?}", world.files());
    world.store.check().unwrap();
}

#[test]
fn a_reset_log_is_filled_anew() {
    let mut world = World::new(1, SMALL);
    for at in 0..60 {
        world.apply(Entry::Change(vec![(at % 20, 100)]));
        world.step().unwrap();
    }
    world.abort();
    world.store.log.reset();
    assert_eq!(world.store.log.live_bytes(), 0);
    for record in world.store.model.records.clone().into_values() {
        world.store.log.append(vec![record]);
    }
    world.store.check().unwrap();
    world.run(JobKind::Flush).unwrap();
    world.jobs.request_checkpoint();
    world.settle().unwrap();
    world.store.check().unwrap();
    world.crash(CrashPolicy::LoseUnsynced);
}
