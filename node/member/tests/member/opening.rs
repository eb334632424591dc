//! How directories become members.

use quorate_disk::{Disk as _, Files as _, Operation, Ticket};
use quorate_member::open::{Finding, Fresh, OpenError};
use sim_disk::{Corruption, CrashPolicy, FaultyDisk};

use crate::directory::{CLUSTER, bootstrap, entries, open, open_with};

const JOIN: Fresh = Fresh::Join { cluster: CLUSTER, member: 9 };

fn refusal(disk: &FaultyDisk, fresh: &Fresh) -> OpenError {
    match open(disk, fresh, 50) {
        Ok(running) => panic!("it opens, with {:?}", running.opened.findings),
        Err(error) => error,
    }
}

/// A member of a cluster of `count` with so many entries and no checkpoint.
fn written(count: u64, puts: u64) -> FaultyDisk {
    let disk = FaultyDisk::new(1);
    let mut running = open(&disk, &bootstrap(count), 1).unwrap();
    running.write(&disk, puts);
    disk.crash(CrashPolicy::LoseUnsynced);
    disk
}

/// The same, with checkpoints.
fn checkpointed(count: u64) -> (FaultyDisk, u64) {
    let disk = FaultyDisk::new(1);
    let mut running = open(&disk, &bootstrap(count), 1).unwrap();
    let first = running.opened.boot.entries.clone();
    running.apply(&first);
    quorate_member::applier::note_conf_state(&mut running.opened.store);
    running.opened.jobs.request_checkpoint();
    running.work(&disk);
    running.write(&disk, 30);
    drop(running);
    disk.crash(CrashPolicy::LoseUnsynced);
    let mut running = open(&disk, &bootstrap(count), 2).unwrap();
    let applied = running.opened.store.applied_index();
    let behind: Vec<_> =
        running.opened.boot.entries.iter().filter(|e| e.index.0 > applied).cloned().collect();
    running.apply(&behind);
    running.opened.jobs.request_checkpoint();
    running.work(&disk);
    let applied = running.opened.store.applied_index();
    disk.crash(CrashPolicy::LoseUnsynced);
    (disk, applied)
}

fn files(disk: &FaultyDisk, part: &str) -> Vec<(String, u64)> {
    let files = disk.list();
    files.into_iter().filter(|(path, _)| path.contains(part)).collect()
}

fn break_file(disk: &FaultyDisk, path: &str, length: u64) {
    for sector in 0..length.div_ceil(512) {
        disk.corrupt(path, Corruption::ZeroSector { sector }).unwrap();
    }
}

fn remove_file(disk: &FaultyDisk, path: &str) {
    let remove = Operation::Remove { path: path.into() };
    disk.handle("").submit(Ticket(0), remove);
    disk.complete_all();
}

#[test]
fn an_empty_directory_becomes_one_of_the_first_members() {
    let disk = FaultyDisk::new(1);
    let running = open(&disk, &bootstrap(3), 1).unwrap();
    let opened = running.opened;
    assert_eq!((opened.cluster, opened.member), (CLUSTER, 1));
    assert_eq!(opened.findings, [Finding::Fresh]);
    assert_eq!(opened.boot.entries.len(), 3, "a change for each of the first members");
    assert_eq!((opened.boot.hard_state.term.0, opened.boot.hard_state.commit.0), (1, 3));
    assert_eq!(opened.boot.repair, None);
}

#[test]
fn an_empty_directory_of_a_member_that_joins_knows_nothing() {
    let opened = open(&FaultyDisk::new(1), &JOIN, 1).unwrap().opened;
    assert_eq!((opened.cluster, opened.member), (CLUSTER, 9));
    assert!(opened.boot.entries.is_empty());
    assert_eq!(opened.boot.hard_state.commit.0, 0);
}

#[test]
fn a_member_goes_on_where_it_was() {
    let disk = written(3, 10);
    let opened = open(&disk, &bootstrap(3), 2).unwrap();
    assert_eq!(opened.opened.findings, []);
    assert_eq!(entries(&opened).len(), 13);
    assert_eq!(opened.opened.boot.hard_state.term.0, 2);
    assert_eq!(opened.opened.boot.hard_state.vote.0, 1);
}

#[test]
fn a_member_goes_on_from_its_checkpoint() {
    let (disk, applied) = checkpointed(3);
    let running = open(&disk, &bootstrap(3), 3).unwrap();
    assert_eq!(running.opened.store.applied_index(), applied);
    assert_eq!(running.opened.boot.checkpoint.index, applied);
    assert_eq!(running.opened.boot.checkpoint.conf_state.voters.len(), 3);
    assert_eq!(running.opened.findings, []);
    assert_eq!(running.opened.boot.facts.members.len(), 3);
}

#[test]
fn a_crash_at_any_operation_of_the_first_opening_can_be_opened_again() {
    for fresh in [bootstrap(1), bootstrap(3), JOIN] {
        let disk = FaultyDisk::new(3);
        let mut images = Vec::new();
        let expected = open_with(&disk, &fresh, 1, |disk| {
            for policy in CrashPolicy::EACH {
                images.push(disk.crash_image(policy, images.len() as u64));
            }
        });
        let expected = entries(&expected.unwrap());
        assert!(images.len() > 20);
        for image in images {
            let disk = FaultyDisk::from_image(&image, 4);
            let running = open(&disk, &fresh, 2).unwrap();
            let found = entries(&running);
            // Without the first members it would wait for somebody to lead it, for ever.
            assert_eq!(found, expected, "{:?}", running.opened.findings);
        }
    }
}

#[test]
fn a_crash_at_any_operation_of_a_later_opening_loses_nothing() {
    let disk = written(3, 12);
    let expected =
        entries(&open(&FaultyDisk::from_image(&disk.image(), 1), &bootstrap(3), 2).unwrap());
    let mut images = Vec::new();
    open_with(&disk, &bootstrap(3), 2, |disk| {
        for policy in CrashPolicy::EACH {
            images.push(disk.crash_image(policy, images.len() as u64));
        }
    })
    .unwrap();
    assert!(!images.is_empty());
    for image in images {
        let running = open(&FaultyDisk::from_image(&image, 4), &bootstrap(3), 3).unwrap();
        assert_eq!(entries(&running), expected);
        assert_eq!(running.opened.boot.repair, None);
    }
}

#[test]
fn a_torn_tail_that_was_never_acknowledged_is_cut() {
    let disk = FaultyDisk::new(5);
    let mut running = open(&disk, &bootstrap(1), 1).unwrap();
    running.write(&disk, 5);
    let durable = running.last;
    let large = crate::directory::put(99, "large", &"x".repeat(3_000));
    running.submit(2, &[large]);
    let log = running.log_disk.id();
    while disk
        .pending()
        .iter()
        .any(|p| matches!(p.operation, quorate_disk::Operation::Write { .. }))
    {
        disk.complete(log, None);
    }
    let mut torn = 0;
    for seed in 0..40 {
        let image = disk.crash_image(CrashPolicy::Torn, seed);
        let running = open(&FaultyDisk::from_image(&image, 1), &bootstrap(1), 2).unwrap();
        assert!(running.last >= durable);
        let is_torn = |finding: &Finding| matches!(finding, Finding::TornTail { .. });
        torn += usize::from(running.opened.findings.iter().any(is_torn));
    }
    assert!(torn > 0, "no crash tore the tail");
}

fn damage_early(disk: &FaultyDisk) {
    // An entry in the middle, with acknowledged ones behind it.
    for (path, length) in files(disk, "wal/0") {
        let length = usize::try_from(length).unwrap();
        let bytes = disk.files("").read(&path, 0, length).unwrap();
        if let Some(at) = bytes.windows(3).position(|key| key == b"k12") {
            let sector = at as u64 / 512;
            return disk.corrupt(&path, Corruption::ZeroSector { sector }).unwrap();
        }
    }
    panic!("the entry is in no segment");
}

#[test]
fn a_damaged_log_is_repaired_in_a_cluster() {
    let disk = written(3, 30);
    damage_early(&disk);
    let running = open(&disk, &bootstrap(3), 2).unwrap();
    let repair = running.opened.boot.repair.unwrap();
    assert!(repair.last_index >= 33, "{repair:?}");
    assert!(running.last < 33);
    let found = &running.opened.findings[0];
    assert!(matches!(found, Finding::DamagedLog { to, .. } if *to >= 33), "{found:?}");
    assert_eq!((repair.last_index, repair.last_term), (33, 2));
    let hard_state = running.opened.boot.hard_state;
    assert_eq!((hard_state.term.0, hard_state.vote.0), (2, 1), "its vote is not lost");
    // After any number of starts it knows as much as at the first.
    for boot in 3..6 {
        disk.crash(CrashPolicy::LoseUnsynced);
        let again = open(&disk, &bootstrap(3), boot).unwrap();
        assert!(again.opened.findings.contains(&Finding::Repairing { to: repair.last_index }));
        assert_eq!(again.opened.boot.repair, Some(repair));
        assert_eq!(again.opened.boot.hard_state, hard_state);
    }
}

#[test]
fn a_member_whose_last_segment_is_gone_goes_on_in_a_term_of_which_it_forgot_nothing() {
    let disk = written(3, 120);
    // Begun and not the pre-written one behind it.
    let segments = files(&disk, "wal/0");
    let begun = |(path, length): &&(String, u64)| {
        disk.files("")
            .read(path, 0, usize::try_from(*length).unwrap())
            .unwrap()
            .iter()
            .any(|at| *at != 0)
    };
    let (last, length) = segments.iter().rfind(begun).unwrap().clone();
    for sector in 0..length / 512 {
        disk.corrupt(&last, Corruption::Unreadable { sector }).unwrap();
    }
    let running = open(&disk, &bootstrap(3), 2).unwrap();
    let boot = &running.opened.boot;
    let repair = boot.repair.unwrap();
    assert!(boot.hard_state.term.0 > 1 << 32 && boot.hard_state.vote.0 == 0, "{boot:?}");
    assert!(repair.last_term > boot.hard_state.term.0, "{repair:?}");
    let hard_state = boot.hard_state;
    disk.crash(CrashPolicy::LoseUnsynced);
    let again = open(&disk, &bootstrap(3), 3).unwrap();
    assert_eq!(again.opened.boot.repair, Some(repair));
    assert_eq!(again.opened.boot.hard_state, hard_state);
}

#[test]
fn a_damaged_log_is_refused_by_a_member_that_is_alone() {
    let disk = written(1, 30);
    damage_early(&disk);
    let refused = refusal(&disk, &bootstrap(1));
    assert!(matches!(refused, OpenError::DamagedAlone { .. }), "{refused}");
    assert!(refused.to_string().contains("are damaged, and this member is alone"));
    assert!(matches!(refusal(&disk, &bootstrap(1)), OpenError::DamagedAlone { .. }), "still");
}

#[test]
fn a_missing_segment_is_damage() {
    let disk = written(3, 120);
    let segments = files(&disk, "wal/0");
    assert!(segments.len() > 2, "{segments:?}");
    remove_file(&disk, &segments[1].0);
    let running = open(&disk, &bootstrap(3), 2).unwrap();
    let repair = running.opened.boot.repair.unwrap();
    assert!(repair.last_index >= 123, "{repair:?}");
    let alone = written(1, 120);
    remove_file(&alone, &files(&alone, "wal/0")[1].0);
    assert!(matches!(refusal(&alone, &bootstrap(1)), OpenError::DamagedAlone { .. }));
}

#[test]
fn the_checkpoint_before_takes_the_place_of_a_damaged_one() {
    let (disk, applied) = checkpointed(3);
    let checkpoints = files(&disk, "checkpoint-");
    let (path, length) = checkpoints
        .iter()
        .rfind(|(path, _)| path.ends_with("state"))
        .unwrap_or(checkpoints.last().unwrap());
    break_file(&disk, path, *length);
    let running = open(&disk, &bootstrap(3), 3).unwrap();
    let found = &running.opened.findings;
    assert!(matches!(found.as_slice(), [Finding::OlderCheckpoint(_)]), "{found:?}");
    assert!(running.opened.store.applied_index() < applied);
    assert!(running.last >= applied, "the log has the rest");
    assert_eq!(running.opened.boot.repair, None);
}

fn lose_store(disk: &FaultyDisk) {
    for (path, length) in files(disk, "store/") {
        break_file(disk, &path, length);
    }
}

#[test]
fn a_member_without_a_whole_checkpoint_begins_anew_and_stands_for_its_log() {
    let (disk, applied) = checkpointed(3);
    lose_store(&disk);
    let running = open(&disk, &bootstrap(3), 3).unwrap();
    let found = &running.opened.findings;
    assert!(matches!(found.as_slice(), [Finding::DamagedStore(_)]), "{found:?}");
    let repair = running.opened.boot.repair.unwrap();
    assert_eq!(repair.last_index, applied);
    assert_eq!(running.opened.boot.hard_state.vote.0, 1, "it knows whom it voted for");
    assert_eq!(running.opened.store.applied_index(), 0);
    assert!(running.opened.boot.entries.is_empty());
    // A crash during that, and it is the same.
    disk.crash(CrashPolicy::LoseUnsynced);
    let again = open(&disk, &bootstrap(3), 4).unwrap();
    assert_eq!(again.opened.boot.repair.unwrap().last_index, applied);
}

#[test]
fn a_member_alone_without_a_whole_checkpoint_is_refused() {
    let (disk, _) = checkpointed(1);
    lose_store(&disk);
    assert!(matches!(refusal(&disk, &bootstrap(1)), OpenError::Store(_)));
}

#[test]
fn a_store_of_another_member_is_refused() {
    let (disk, _) = checkpointed(3);
    let other = FaultyDisk::new(9);
    let fresh = Fresh::Join { cluster: CLUSTER, member: 2 };
    open(&other, &fresh, 1).unwrap();
    // The log of one, the store of another.
    copy(&other, &disk, "wal/");
    let refused = refusal(&disk, &fresh);
    assert!(matches!(refused, OpenError::Store(_)), "{refused}");
}

/// Replace the files below a folder.
fn copy(from: &FaultyDisk, to: &FaultyDisk, folder: &str) {
    let mut handle = to.handle("");
    for (path, _) in files(to, folder) {
        handle.submit(Ticket(0), Operation::Remove { path: path.into() });
    }
    for (path, size) in files(from, folder) {
        let data = from.files("").read(&path, 0, usize::try_from(size).unwrap()).unwrap();
        let path: quorate_disk::Path = path.into();
        handle.submit(Ticket(0), Operation::Create { path: path.clone(), size });
        let write = Operation::Write { path: path.clone(), offset: 0, data: vec![data] };
        handle.submit(Ticket(0), write);
        handle.submit(Ticket(0), Operation::Sync { path });
    }
    to.complete_all();
}
