//! Damage at rest: every byte, every sector, every file. Never a silent loss, never a panic.

use quorate_disk::Files;
use quorate_wal::{End, HardStateCertainty, Log, OpenError, Outcome, Recovered};
use sim_disk::{Corruption, CrashPolicy, FaultyDisk, SECTOR};

use crate::support::{FOLDER, Model, Rig, SMALL, entries, entry, held, open, resume};

/// A log over three segments, with overwritten entries, cleanly closed.
fn closed_log() -> (FaultyDisk, Model) {
    let mut rig = Rig::create(1, SMALL);
    rig.settle();
    for (first, last, term, size) in
        [(1, 2, 1, 100), (3, 5, 1, 300), (4, 4, 2, 10), (5, 7, 3, 500), (8, 8, 3, 1500)]
    {
        rig.append(entries(first..=last, term, size));
        rig.settle();
    }
    // Two at once: the first is only proved by what follows.
    rig.append(entries(9..=9, 3, 50));
    rig.append(entries(10..=10, 4, 600));
    rig.settle();
    rig.log.close(&mut rig.handle);
    rig.settle();
    let model = rig.model().clone();
    rig.disk.crash(CrashPolicy::LoseUnsynced);
    (rig.disk.clone(), model)
}

/// Nothing acknowledged is lost without a word.
fn check(result: Result<(Log, Recovered), OpenError>, model: &Model, place: &str) -> bool {
    match result {
        Err(error) => panic!("{place}: one fault must not hide the log: {error}"),
        Ok((_, recovered)) => match &recovered.outcome {
            Outcome::Clean | Outcome::TornTail { .. } => {
                let found = held(&recovered);
                assert_eq!(found, *model, "{place}: lost without a word");
                false
            }
            Outcome::Damaged(damage) | Outcome::MissingSegment { damage, .. } => {
                let last = model.last_index();
                assert!(damage.possibly_acknowledged_up_to >= last, "{place}: {damage:?}");
                for known in &recovered.entries {
                    if known.index < damage.first_bad_index {
                        let mut same = model.entries.iter();
                        assert!(same.any(|other| other == known), "{place}: {known:?} {damage:?}");
                    }
                }
                if damage.hard_state == HardStateCertainty::Certain {
                    assert_eq!(recovered.hard_state.term, model.hard_state.term, "{place}");
                    assert_eq!(recovered.hard_state.vote, model.hard_state.vote, "{place}");
                }
                true
            }
        },
    }
}

fn segments(disk: &FaultyDisk) -> Vec<(String, u64)> {
    disk.list().into_iter().filter(|(path, _)| path.ends_with(".log")).collect()
}

#[test]
fn the_undamaged_log_is_clean() {
    let (disk, model) = closed_log();
    let (_, recovered) = open(&disk, SMALL).unwrap();
    assert_eq!(recovered.outcome, Outcome::Clean);
    assert_eq!(held(&recovered), model);
    assert!(segments(&disk).len() >= 4, "{:?}", segments(&disk));
}

#[test]
fn every_flipped_byte() {
    let (disk, model) = closed_log();
    let image = disk.image();
    let mut damaged = 0;
    for (path, length) in segments(&disk) {
        for offset in 0..length {
            let bit = (offset % 8) as u8;
            for bit in [bit, (bit + 3) % 8] {
                disk.corrupt(&path, Corruption::FlipBit { offset, bit }).unwrap();
                let place = format!("{path} byte {offset} bit {bit}");
                damaged += u32::from(check(open(&disk, SMALL), &model, &place));
                disk.restore(&image);
            }
        }
    }
    assert!(damaged > 2000, "{damaged}");
}

#[test]
fn every_zeroed_or_unreadable_sector() {
    let (disk, model) = closed_log();
    let image = disk.image();
    let mut damaged = 0;
    for (path, length) in segments(&disk) {
        for sector in 0..length / SECTOR {
            for corruption in [Corruption::ZeroSector { sector }, Corruption::Unreadable { sector }]
            {
                disk.corrupt(&path, corruption).unwrap();
                let place = format!("{path} {corruption:?}");
                damaged += u32::from(check(open(&disk, SMALL), &model, &place));
                disk.restore(&image);
            }
        }
    }
    assert!(damaged > 10, "{damaged}");
}

#[test]
fn every_missing_segment() {
    let (disk, model) = closed_log();
    let image = disk.image();
    let segments = segments(&disk);
    // The newest is the pre-written next one: it holds nothing yet.
    for (path, _) in segments.iter().rev().skip(1) {
        let name = path.strip_prefix("log/").unwrap().to_owned();
        let mut handle = disk.handle(FOLDER);
        let remove = quorate_disk::Operation::Remove { path: name.as_str().into() };
        quorate_disk::Disk::submit(&mut handle, quorate_disk::Ticket(0), remove);
        disk.complete_all();
        let result = open(&disk, SMALL);
        let (_, recovered) = result.as_ref().unwrap();
        let Outcome::MissingSegment { sequence, .. } = recovered.outcome else {
            panic!("{path}: {:?}", recovered.outcome);
        };
        assert_eq!(format!("{sequence:016x}.log"), name);
        if path != &segments[segments.len() - 2].0 {
            check(result, &model, path);
        }
        disk.restore(&image);
    }
}

#[test]
fn a_zeroed_hole_in_the_middle_is_no_end() {
    let (disk, _) = closed_log();
    let path = segments(&disk)[0].0.clone();
    disk.corrupt(&path, Corruption::ZeroSector { sector: 4 }).unwrap();
    let (_, recovered) = open(&disk, SMALL).unwrap();
    let Outcome::Damaged(damage) = recovered.outcome else { panic!() };
    assert_eq!((damage.file.as_str(), damage.offset), ("0000000000000001.log", 4 * SECTOR));
    assert!(damage.intact_batches_after >= 4);
    assert!(damage.salvaged.iter().any(|entry| entry.index == 10));
    assert_eq!(damage.hard_state, HardStateCertainty::Certain);
}

#[test]
fn a_bad_body_still_tells_index_and_term() {
    let mut rig = Rig::create(1, SMALL);
    rig.append(entries(1..=2, 7, 600));
    rig.append(entries(3..=3, 7, 1));
    rig.settle();
    let files = rig.disk.files(FOLDER);
    let body = entry(2, 7, 600).body;
    let bytes = files.read("0000000000000001.log", 0, 4096).unwrap();
    let at = bytes.windows(600).position(|window| window == &body[..]).unwrap() as u64;
    let flip = Corruption::FlipBit { offset: at + 300, bit: 2 };
    rig.disk.corrupt("log/0000000000000001.log", flip).unwrap();
    let (_, recovered) = open(&rig.disk, SMALL).unwrap();
    let Outcome::Damaged(damage) = recovered.outcome else { panic!() };
    assert_eq!(damage.known_lost, [(2, 7)]);
    assert_eq!(damage.first_bad_index, 1);
    assert_eq!(damage.possibly_acknowledged_up_to, 3);
    let salvaged: Vec<u64> = damage.salvaged.iter().map(|entry| entry.index).collect();
    assert_eq!(salvaged, [1, 3]);
}

#[test]
fn every_prefix_of_a_file_opens_without_panic() {
    let (disk, model) = closed_log();
    let image = disk.image();
    for (path, length) in segments(&disk) {
        let name: quorate_disk::Path = path.strip_prefix("log/").unwrap().into();
        for size in (0..length).step_by(97) {
            let mut handle = disk.handle(FOLDER);
            let cut = quorate_disk::Operation::Truncate { path: name.clone(), size };
            quorate_disk::Disk::submit(&mut handle, quorate_disk::Ticket(0), cut);
            disk.complete_all();
            if let Ok((log, recovered)) = open(&disk, SMALL) {
                let is_named = matches!(
                    recovered.outcome,
                    Outcome::Damaged(_) | Outcome::MissingSegment { .. }
                );
                let is_end = path.ends_with("4.log") || path.ends_with("5.log");
                assert!(is_named || held(&recovered) == model || is_end, "{path} {size}");
                resume(&disk, log, &recovered);
            }
            disk.restore(&image);
        }
    }
}

#[test]
fn foreign_and_newer_files_are_refused_by_name() {
    let disk = FaultyDisk::new(1);
    assert!(matches!(open(&disk, SMALL), Err(OpenError::Empty)));
    let mut handle = disk.handle(FOLDER);
    let mut put = |name: &str, data: Vec<u8>| {
        let path: quorate_disk::Path = name.into();
        let create = quorate_disk::Operation::Create { path: path.clone(), size: 4096 };
        quorate_disk::Disk::submit(&mut handle, quorate_disk::Ticket(0), create);
        let data = vec![data.into()];
        let write = quorate_disk::Operation::Write { path, offset: 0, data };
        quorate_disk::Disk::submit(&mut handle, quorate_disk::Ticket(0), write);
        disk.complete_all();
    };
    put("0000000000000001.log", b"something else".to_vec());
    let Err(OpenError::Foreign { path }) = open(&disk, SMALL) else { panic!() };
    assert_eq!(path, "0000000000000001.log");
    let (disk, _) = closed_log();
    for offset in [8, SECTOR + 8] {
        for bit in [0, 1] {
            let path = "log/0000000000000001.log";
            disk.corrupt(path, Corruption::FlipBit { offset, bit }).unwrap();
        }
    }
    let Err(OpenError::Newer { version, known, .. }) = open(&disk, SMALL) else { panic!() };
    assert_eq!((version, known), (2, 1));
    put("0000000000000000-0000000000000000.wal", vec![0; 8]);
}

#[test]
fn where_a_damaged_log_ended_is_told_by_what_was_written_last() {
    let mut rig = Rig::create(1, SMALL);
    rig.append(entries(1..=3, 3, 100));
    rig.settle();
    rig.append(entries(4..=9, 3, 100));
    rig.settle();
    // A later leader replaces them, by fewer.
    rig.append(entries(5..=6, 5, 100));
    rig.settle();
    let newer = quorate_wal::HardState { term: 7, vote: 2, commit: 4 };
    rig.append(quorate_wal::Batch { hard_state: Some(newer), ..Default::default() });
    rig.settle();
    let (path, offset) = place_of(&rig, &entry(2, 3, 100).body);
    let sector = offset / SECTOR;
    rig.disk.corrupt(&path, Corruption::ZeroSector { sector }).unwrap();
    let (_, recovered) = open(&rig.disk, SMALL).unwrap();
    let Outcome::Damaged(damage) = recovered.outcome else { panic!("{:?}", recovered.outcome) };
    assert_eq!(damage.end, End { term: 5, index: 6 }, "the entries, not the term that came later");
    assert_eq!(damage.possibly_acknowledged_up_to, 9);
    assert_eq!(damage.hard_state, HardStateCertainty::Certain);
    assert_eq!(recovered.hard_state.term, 7);
}

/// The segment in which these bytes are, and where.
fn place_of(rig: &Rig, body: &[u8]) -> (String, u64) {
    for (path, length) in segments(&rig.disk) {
        let name = path.strip_prefix("log/").unwrap();
        let size = usize::try_from(length).unwrap();
        let bytes = rig.disk.files(FOLDER).read(name, 0, size).unwrap();
        if let Some(at) = bytes.windows(body.len()).position(|window| window == body) {
            return (path, at as u64);
        }
    }
    panic!("the bytes are in no segment");
}
