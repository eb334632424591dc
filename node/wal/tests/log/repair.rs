//! Going on after damage: the repair is remembered, whatever happens meanwhile.

use quorate_disk::Files;
use quorate_wal::{End, Log, Options, Outcome, repair};
use sim_disk::{Corruption, CrashPolicy, FaultyDisk};

use crate::support::{FOLDER, Rig, entries, held, open, resume};

/// Two or three of the entries in each.
const SEGMENTS: Options = Options { segment_bytes: 8192, spares_max: 2 };

/// Where the damaged log ended.
const END: End = End { term: 1, index: 10 };

/// Ten entries over several segments, and a hole in the second batch.
fn damaged() -> FaultyDisk {
    let mut rig = Rig::create(1, SEGMENTS);
    for index in 1..=10 {
        rig.append(entries(index..=index, 1, 900));
        rig.settle();
    }
    rig.disk.crash(CrashPolicy::KeepAll);
    let path = "log/0000000000000001.log";
    // Header, first batch, seal; the first entry; then the second.
    let files = rig.disk.files(FOLDER);
    let bytes = files.read("0000000000000001.log", 0, 8192).unwrap();
    let body = crate::support::entry(2, 1, 900).body;
    let at = bytes.windows(900).position(|window| window == &body[..]).unwrap() as u64;
    rig.disk.corrupt(path, Corruption::ZeroSector { sector: at / 512 }).unwrap();
    rig.disk.clone()
}

#[test]
fn a_crash_at_any_point_of_a_repair_keeps_damage_or_repair() {
    let mut repairing = 0;
    for policy in CrashPolicy::EACH {
        for stop_after in 0..20 {
            let disk = damaged();
            let (mut log, recovered) = open(&disk, SEGMENTS).unwrap();
            let Outcome::Damaged(damage) = &recovered.outcome else { panic!() };
            let until = damage.end;
            assert_eq!(until, END);
            let mut handle = disk.handle(FOLDER);
            let id = log.resume_repairing(&mut handle, 2, until, recovered.hard_state);
            let history = vec![(id, held(&recovered))];
            let mut rig = Rig { disk, handle, log, history, durable: None };
            for _ in 0..stop_after {
                rig.step().unwrap();
            }
            for seed in 0..8 {
                let image = rig.disk.crash_image(policy, seed);
                let disk = FaultyDisk::from_image(&image, seed);
                let (log, again) = open(&disk, SEGMENTS).unwrap();
                match again.outcome {
                    Outcome::Damaged(_) => assert_eq!(rig.durable, None, "{policy:?} {stop_after}"),
                    _ => {
                        assert_eq!(again.repairing_until, Some(END), "{policy:?} {stop_after}");
                        repairing += 1;
                    }
                }
                assert_eq!(again.entries.len(), 1);
                assert_eq!(again.hard_state.term, 1);
                resume(&disk, log, &again);
            }
        }
    }
    assert!(repairing > 20, "{repairing}");
}

#[test]
fn a_repair_ends_and_takes_the_damaged_files_with_it() {
    let disk = damaged();
    let (log, recovered) = open(&disk, SEGMENTS).unwrap();
    let mut rig = resume(&disk, log, &recovered);
    let names = disk.files(FOLDER).list("").unwrap();
    assert!(names.iter().any(|name| name.ends_with(".damaged")), "{names:?}");
    assert_eq!(rig.log.repairing_until(), Some(END));
    for index in 2..=10 {
        rig.append(entries(index..=index, 1, 900));
        rig.settle();
    }
    let (_, recovered) = open(&disk, SEGMENTS).unwrap();
    assert_eq!(recovered.repairing_until, Some(END), "each segment says so");
    rig.log.finish_repair(&mut rig.handle);
    rig.settle();
    disk.crash(CrashPolicy::LoseUnsynced);
    let (_, recovered) = open(&disk, SEGMENTS).unwrap();
    assert_eq!(recovered.outcome, Outcome::Clean);
    assert_eq!(recovered.repairing_until, None);
    assert_eq!(recovered.entries.len(), 10);
    let names = disk.files(FOLDER).list("").unwrap();
    assert!(!names.iter().any(|name| name.ends_with(".damaged")), "{names:?}");
}

#[test]
fn a_lone_member_goes_on_only_when_told_to() {
    let disk = damaged();
    let (mut log, _) = open(&disk, SEGMENTS).unwrap();
    let mut handle = disk.handle(FOLDER);
    repair::force_truncate(&mut log, &mut handle, 2);
    disk.complete_all();
    let (_, recovered) = Log::open(&*disk.files(FOLDER), SEGMENTS).unwrap();
    assert_eq!(recovered.outcome, Outcome::Clean);
    assert_eq!(recovered.repairing_until, None);
    assert_eq!(recovered.entries.len(), 1);
}

#[test]
fn damage_upon_damage_is_seen() {
    let disk = damaged();
    let (log, recovered) = open(&disk, SEGMENTS).unwrap();
    let mut rig = resume(&disk, log, &recovered);
    for index in 2..=10 {
        rig.append(entries(index..=index, 2, 900));
        rig.settle();
    }
    // The only batch of the prefix that has entries.
    let bytes = disk.files(FOLDER).read("0000000000000001.log", 0, 8192).unwrap();
    let body = crate::support::entry(1, 1, 900).body;
    let at = bytes.windows(900).position(|window| window == &body[..]).unwrap() as u64;
    let zero = Corruption::ZeroSector { sector: at / 512 };
    disk.corrupt("log/0000000000000001.log", zero).unwrap();
    let (log, recovered) = open(&disk, SEGMENTS).unwrap();
    let Outcome::Damaged(damage) = &recovered.outcome else { panic!("{:?}", recovered.outcome) };
    assert_eq!(damage.end, End { term: 2, index: 10 });
    assert!(recovered.entries.is_empty());
    let rig = resume(&disk, log, &recovered);
    assert_eq!(rig.log.repairing_until(), Some(End { term: 2, index: 10 }));
}
