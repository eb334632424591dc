//! Segments come back with a new life, and nothing of the former one is read.

use quorate_wal::{Outcome, inspect};
use sim_disk::{Corruption, CrashPolicy, FaultyDisk, SECTOR};

use crate::support::{
    FOLDER, Rig, SMALL, begin_to_resume, entries, held, is_same, newest_segment, open,
};

#[test]
fn released_segments_are_used_again() {
    let mut rig = Rig::create(1, SMALL);
    rig.settle();
    for index in 1..200 {
        rig.append(entries(index..=index, 1, 700));
        rig.settle();
        rig.log.release(index - 1);
        assert!(rig.log.segments() <= 3);
    }
    let files = rig.disk.list();
    assert!(files.len() <= 7, "{files:?}");
    assert!(files.iter().all(|(_, length)| *length == 4096), "{files:?}");
}

#[test]
fn an_entry_larger_than_a_segment_has_one_of_its_own() {
    let mut rig = Rig::create(1, SMALL);
    rig.settle();
    for (index, size) in [(1, 10), (2, 50_000), (3, 10), (4, 9000), (5, 1)] {
        rig.append(entries(index..=index, 1, size));
        rig.settle();
    }
    rig.disk.crash(CrashPolicy::LoseUnsynced);
    let (_, recovered) = open(&rig.disk, SMALL).unwrap();
    assert_eq!(held(&recovered), *rig.model());
}

#[test]
fn nothing_of_a_former_life_is_read() {
    let mut rig = Rig::create(1, SMALL);
    rig.settle();
    for index in 1..60 {
        rig.append(entries(index..=index, 1, 300 + (index as usize * 37) % 900));
        rig.settle();
        rig.log.release(index.saturating_sub(1));
    }
    let retained = held(&open(&rig.disk, SMALL).unwrap().1);
    let lowest = retained.entries[0].index;
    let image = rig.disk.image();
    let segment = format!("log/{}", newest_segment(&*rig.disk.files(FOLDER)));
    let mut paths: Vec<(String, u64)> = rig.disk.list();
    paths.retain(|(path, _)| path.ends_with(".log"));
    assert!(paths.iter().any(|(path, _)| *path == segment));
    for (path, length) in paths {
        for sector in 0..length / SECTOR {
            for corruption in [
                Corruption::ZeroSector { sector },
                Corruption::FlipBit { offset: sector * SECTOR + 5, bit: 3 },
            ] {
                rig.disk.corrupt(&path, corruption).unwrap();
                let (_, recovered) = open(&rig.disk, SMALL).unwrap();
                let all = recovered.entries.iter();
                let salvaged = match &recovered.outcome {
                    Outcome::Damaged(damage) => damage.salvaged.clone(),
                    _ => Vec::new(),
                };
                for entry in all.chain(&salvaged) {
                    assert!(entry.index >= lowest, "{path} {corruption:?}: {}", entry.index);
                }
                for file in inspect::records(&*rig.disk.files(FOLDER)).unwrap() {
                    for record in file.unwrap() {
                        let is_entry = record.kind == inspect::Kind::Entry;
                        assert!(!is_entry || record.index >= lowest, "{record:?}");
                    }
                }
                rig.disk.restore(&image);
            }
        }
    }
}

#[test]
fn a_lost_rename_does_not_look_like_a_missing_segment() {
    for seed in 0..60 {
        let mut rig = Rig::create(seed, SMALL);
        rig.settle();
        for index in 1..12 {
            rig.append(entries(index..=index, 1, 1200));
            rig.settle();
        }
        rig.log.release(10);
        rig.append(entries(12..=12, 1, 10));
        for _ in 0..seed % 12 {
            rig.step().unwrap();
        }
        rig.disk.crash(CrashPolicy::Torn);
        let (_, recovered) = open(&rig.disk, SMALL).unwrap();
        let is_whole = matches!(recovered.outcome, Outcome::Clean | Outcome::TornTail { .. });
        assert!(is_whole, "{:?}", recovered.outcome);
        let last = recovered.entries.last().unwrap().index;
        assert!(last >= 11, "{last}");
        assert!(recovered.mark.is_none() && !is_same(&recovered, &Default::default()));
    }
}

/// Only a torn batch says that the old segments are not needed, and cutting it takes that away:
/// they stay until a new batch says it durably.
#[test]
fn what_a_torn_batch_gives_back_is_kept_until_that_is_durable() {
    let mut torn = 0;
    for seed in 0..40 {
        let mut rig = Rig::create(seed, SMALL);
        rig.settle();
        for index in 1..=11 {
            rig.append(entries(index..=index, 1, if index < 11 { 1200 } else { 600 }));
            rig.settle();
        }
        rig.log.release(10);
        // In the same segment, and longer than a sector.
        rig.append(entries(12..=12, 1, 800));
        // The write, not the sync.
        assert!(rig.step().unwrap());
        rig.disk.crash(CrashPolicy::Torn);
        let image = rig.disk.image();
        for steps in 0.. {
            let disk = FaultyDisk::from_image(&image, seed);
            let (log, recovered) = open(&disk, SMALL).unwrap();
            torn += u32::from(matches!(recovered.outcome, Outcome::TornTail { .. }));
            let mut next = begin_to_resume(&disk, log, &recovered);
            let more = (0..steps).all(|_| next.step().unwrap());
            for policy in CrashPolicy::EACH {
                let disk = FaultyDisk::from_image(&next.disk.crash_image(policy, seed), seed);
                let (_, again) = open(&disk, SMALL).unwrap();
                let is_whole = matches!(again.outcome, Outcome::Clean | Outcome::TornTail { .. });
                assert!(is_whole, "{seed} {steps} {policy:?}: {:?}", again.outcome);
                let last = again.entries.last().map(|entry| entry.index);
                assert!(last >= Some(11), "{seed} {steps} {policy:?}: {last:?}");
            }
            if !more {
                break;
            }
        }
    }
    assert!(torn > 100, "{torn}");
}
