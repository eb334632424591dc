//! From when on damage to what was acknowledged last is told from a write that was cut.

use quorate_disk::Files;
use quorate_wal::{BatchId, Options, Outcome};
use sim_disk::{Corruption, CrashPolicy, FaultyDisk};

use crate::support::{FOLDER, Rig, entries, entry, open};

const OPTIONS: Options = Options { segment_bytes: 64 << 10, spares_max: 2 };
const PATH: &str = "0000000000000001.log";

/// A log with a few entries, of which each is one batch, and quiet.
fn quiet(last: u64) -> Rig {
    let mut rig = Rig::create(1, OPTIONS);
    rig.settle();
    for index in 1..=last {
        rig.append(entries(index..=index, 1, 600));
        rig.settle();
    }
    rig
}

/// Until this batch is durable and nothing more has happened.
fn complete_up_to(rig: &mut Rig, batch: BatchId) {
    while rig.durable.is_none_or(|durable| durable < batch) {
        assert!(rig.step().unwrap(), "it becomes durable");
    }
}

/// What a start finds after a crash, and damage to the entry.
fn found(rig: &Rig, policy: CrashPolicy, index: u64) -> Outcome {
    let disk = FaultyDisk::from_image(&rig.disk.crash_image(policy, 1), 1);
    let size = usize::try_from(OPTIONS.segment_bytes).unwrap();
    let bytes = disk.files(FOLDER).read(PATH, 0, size).unwrap();
    let body = entry(index, 1, 600).body;
    let at = bytes.windows(600).position(|window| window == &body[..]).unwrap() as u64;
    let path = format!("{FOLDER}/{PATH}");
    disk.corrupt(&path, Corruption::FlipBit { offset: at + 300, bit: 1 }).unwrap();
    open(&disk, OPTIONS).unwrap().1.outcome
}

fn is_damaged(rig: &Rig, policy: CrashPolicy, index: u64) -> bool {
    match found(rig, policy, index) {
        Outcome::Damaged(damage) => {
            assert!(damage.first_bad_index <= index, "{damage:?}");
            true
        }
        Outcome::TornTail { .. } => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_seal_that_is_written_proves_the_end_to_a_process_that_was_killed() {
    let mut rig = quiet(3);
    assert!(is_damaged(&rig, CrashPolicy::KeepAll, 3));
    let last = rig.append(entries(4..=4, 1, 600));
    complete_up_to(&mut rig, last);
    // Its sync has ended, and its seal has not reached the disk: this is what cannot be told.
    assert!(!is_damaged(&rig, CrashPolicy::LoseUnsynced, 4));
    assert!(is_damaged(&rig, CrashPolicy::LoseUnsynced, 3), "what is before it can");
    rig.settle();
    assert!(is_damaged(&rig, CrashPolicy::KeepAll, 4));
}

#[test]
fn a_batch_that_was_begun_before_another_was_durable_does_not_prove_it() {
    let mut rig = quiet(3);
    let fourth = rig.append(entries(4..=4, 1, 600));
    rig.append(entries(5..=5, 1, 600));
    complete_up_to(&mut rig, fourth);
    assert!(!is_damaged(&rig, CrashPolicy::KeepAll, 4));
    assert!(is_damaged(&rig, CrashPolicy::KeepAll, 3));
    // One that was begun afterwards does, as soon as it is written.
    let sixth = rig.append(entries(6..=6, 1, 600));
    complete_up_to(&mut rig, sixth);
    assert!(is_damaged(&rig, CrashPolicy::KeepAll, 4));
}

#[test]
fn the_end_of_an_idle_log_is_proved_to_a_machine_without_power() {
    let mut rig = quiet(3);
    assert!(!is_damaged(&rig, CrashPolicy::LoseUnsynced, 3), "its seal was in the page cache");
    rig.log.prove_if_idle(&mut rig.handle);
    assert!(rig.log.is_quiet(), "it may be that more comes");
    rig.log.prove_if_idle(&mut rig.handle);
    assert!(!rig.log.is_proved(), "not yet");
    rig.settle();
    assert!(rig.log.is_proved());
    assert!(is_damaged(&rig, CrashPolicy::LoseUnsynced, 3));
    rig.log.prove_if_idle(&mut rig.handle);
    assert!(rig.log.is_quiet(), "once is enough");
}

#[test]
fn a_log_that_is_not_idle_has_no_syncs_of_its_own() {
    let mut rig = quiet(3);
    for index in 4..=8 {
        rig.append(entries(index..=index, 1, 600));
        rig.log.prove_if_idle(&mut rig.handle);
        rig.settle();
        rig.log.prove_if_idle(&mut rig.handle);
        rig.settle();
        rig.append(entries(index + 1..=index + 1, 1, 600));
        rig.settle();
    }
    rig.append(entries(10..=10, 1, 600));
    rig.log.prove_if_idle(&mut rig.handle);
    rig.log.prove_if_idle(&mut rig.handle);
    rig.settle();
    assert!(!is_damaged(&rig, CrashPolicy::LoseUnsynced, 10), "it was on its way");
}

#[test]
fn a_clean_end_is_proved_with_a_batch_on_its_way_too() {
    for is_settled in [true, false] {
        let mut rig = quiet(3);
        rig.append(entries(4..=4, 1, 600));
        if is_settled {
            rig.settle();
        }
        rig.log.close(&mut rig.handle);
        rig.settle();
        assert!(is_damaged(&rig, CrashPolicy::LoseUnsynced, 4), "settled: {is_settled}");
    }
}
