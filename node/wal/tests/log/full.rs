//! A full disk: told before the reserve is touched, and survived as long as it lasts.

use quorate_wal::{Failure, Space};
use sim_disk::{CrashPolicy, FaultKind};

use crate::support::{Rig, SMALL, entries, held, open};

#[test]
fn low_space_is_told_before_the_reserve_is_touched() {
    let mut rig = Rig::create(1, SMALL);
    rig.settle();
    assert_eq!(rig.log.reserve_left(), 4096);
    let used: u64 = rig.disk.list().iter().map(|(_, length)| length).sum();
    rig.disk.set_capacity(Some(used));
    let mut index = 1;
    while rig.log.space() == Space::Ample {
        rig.append(entries(index..=index, 1, 900));
        rig.settle();
        index += 1;
    }
    assert_eq!(rig.log.reserve_left(), 4096, "untouched");
    let Space::Low { bytes } = rig.log.space() else { panic!() };
    assert!(bytes >= 4096);
    let mut stored = index - 1;
    let failure = loop {
        rig.append(entries(index..=index, 1, 900));
        let end = loop {
            match rig.step() {
                Ok(true) => {}
                Ok(false) => break None,
                Err(failure) => break Some(failure),
            }
        };
        match end {
            None => stored = index,
            Some(failure) => break failure,
        }
        index += 1;
    };
    assert!(matches!(failure, Failure::DiskFull), "{failure}");
    assert_eq!(rig.log.reserve_left(), 0);
    rig.disk.crash(CrashPolicy::LoseUnsynced);
    let (_, recovered) = open(&rig.disk, SMALL).unwrap();
    assert_eq!(recovered.entries.len() as u64, stored);
}

#[test]
fn space_returns_with_released_segments() {
    let mut rig = Rig::create(1, SMALL);
    rig.settle();
    let used: u64 = rig.disk.list().iter().map(|(_, length)| length).sum();
    rig.disk.set_capacity(Some(used + 4096));
    let mut index = 1;
    while rig.log.space() == Space::Ample {
        rig.append(entries(index..=index, 1, 900));
        rig.settle();
        index += 1;
    }
    rig.log.release(index - 2);
    rig.append(entries(index..=index, 1, 10));
    rig.settle();
    assert_eq!(rig.log.space(), Space::Ample);
    assert_eq!(rig.log.reserve_left(), 4096);
    for more in index + 1..index + 100 {
        rig.append(entries(more..=more, 1, 900));
        rig.settle();
        rig.log.release(more);
    }
}

#[test]
fn a_write_without_room_goes_to_the_reserve() {
    for nth in 1..6 {
        for in_flight in [1, 3] {
            let mut rig = Rig::create(nth, SMALL);
            rig.settle();
            rig.disk.inject(FaultKind::NoSpace, "log/000", nth);
            let mut index = 1;
            while index < 12 {
                for _ in 0..in_flight {
                    rig.append(entries(index..=index, 1, 700));
                    index += 1;
                }
                rig.settle();
            }
            assert_eq!(rig.durable, rig.history.last().map(|(id, _)| *id));
            rig.disk.crash(CrashPolicy::LoseUnsynced);
            let (_, recovered) = open(&rig.disk, SMALL).unwrap();
            assert_eq!(held(&recovered), *rig.model(), "{nth} {in_flight}");
            assert_eq!(rig.disk.counts()[&FaultKind::NoSpace], 1);
        }
    }
}
