//! A directory becomes the only member of its cluster, whole or not at all.

use quorate_member::open::{Fresh, OpenError};
use quorate_member::stopped::{self, Despite, Left, LogDamage, StoppedError};
use quorate_raft::NodeId;
use sim_disk::{Corruption, CrashPolicy, FaultyDisk};

use crate::directory::{Running, bootstrap, open, settings};

/// A member of three that has applied all but the last of its entries, and is then cut off.
fn one_of_three() -> (FaultyDisk, Fresh, u64) {
    let disk = FaultyDisk::new(1);
    let fresh = bootstrap(3);
    let mut running = open(&disk, &fresh, 1).unwrap();
    let first = running.opened.boot.entries.clone();
    running.settle(&disk);
    running.apply(&first);
    running.write(&disk, 30);
    let last = running.last;
    disk.crash(CrashPolicy::LoseUnsynced);
    (disk, fresh, last)
}

/// Leave the cluster to it; `each` sees the disk before every operation.
fn leave(
    disk: &FaultyDisk,
    fresh: &Fresh,
    mut each: impl FnMut(&FaultyDisk),
) -> Result<Option<Left>, StoppedError> {
    let mut store_disk = disk.handle("store");
    let settings = settings(fresh, 2);
    let looked = stopped::look(&settings, &*disk.files("wal"), disk.files("store")).unwrap();
    let urls = ["http://here".to_owned()];
    looked.replay(Despite::Nothing)?.leave(&urls, &mut store_disk, &mut || {
        each(disk);
        disk.complete_next()
    })
}

fn voters(running: &Running) -> &[NodeId] {
    &running.opened.boot.checkpoint.conf_state.voters
}

#[test]
fn it_has_everything_that_its_log_holds_and_nobody_else() {
    let (disk, fresh, last) = one_of_three();
    let left = leave(&disk, &fresh, |_| {}).unwrap();
    assert_eq!(left, Some(Left { removed: vec![2, 3], index: last + 1 }));
    disk.crash(CrashPolicy::LoseUnsynced);
    let running = open(&disk, &fresh, 3).unwrap();
    let (opened, boot) = (&running.opened, &running.opened.boot);
    assert_eq!((opened.member, voters(&running)), (1, [NodeId(1)].as_slice()));
    assert_eq!(opened.store.applied_index(), last + 1);
    assert_eq!(opened.store.revision(), 31);
    assert!(boot.entries.is_empty() && boot.repair.is_none());
    assert_eq!((boot.log_start.0, boot.hard_state.commit.0), (last + 1, last + 1));
    // Of a term that none of the three has seen.
    assert!(boot.hard_state.term.0 > 2 && boot.log_start.1 == boot.hard_state.term.0);
    assert!([2, 3].iter().all(|id| opened.store.members().is_removed(*id)));
    drop(running);
    disk.crash(CrashPolicy::LoseUnsynced);
    // Once more changes nothing.
    assert_eq!(leave(&disk, &fresh, |_| {}).unwrap(), None);
}

#[test]
fn a_crash_at_any_operation_leaves_it_as_it_was_or_alone() {
    let (disk, fresh, last) = one_of_three();
    let mut images = Vec::new();
    leave(&disk, &fresh, |disk| {
        for policy in CrashPolicy::EACH {
            images.push(disk.crash_image(policy, images.len() as u64));
        }
    })
    .unwrap();
    for policy in CrashPolicy::EACH {
        images.push(disk.crash_image(policy, 7));
    }
    let (mut as_it_was, mut alone) = (0, 0);
    for image in &images {
        let disk = FaultyDisk::from_image(image, 1);
        let opened = open(&disk, &fresh, 3).unwrap();
        if opened.opened.store.applied_index() == last + 1 {
            assert_eq!(voters(&opened), [NodeId(1)]);
            alone += 1;
        } else {
            assert_eq!(opened.last, last);
            as_it_was += 1;
        }
        drop(opened);
        disk.crash(CrashPolicy::LoseUnsynced);
        // And it can be had again, with all that there was.
        leave(&disk, &fresh, |_| {}).unwrap();
        disk.crash(CrashPolicy::LoseUnsynced);
        let again = open(&disk, &fresh, 4).unwrap();
        assert_eq!((voters(&again), again.opened.store.revision()), ([NodeId(1)].as_slice(), 31));
    }
    assert!(as_it_was > 20 && alone > 0, "{as_it_was} {alone}");
}

fn damage(disk: &FaultyDisk) {
    let log = disk.list().into_iter().map(|(path, _)| path).find(|path| path.ends_with("1.log"));
    disk.corrupt(&log.unwrap(), Corruption::ZeroSector { sector: 8 }).unwrap();
}

#[test]
fn a_log_under_repair_is_whole_when_it_has_everything_again() {
    let (disk, fresh, _) = one_of_three();
    damage(&disk);
    let mut running = open(&disk, &fresh, 2).unwrap();
    let to = running.opened.boot.repair.as_ref().unwrap().last_index;
    running.settle(&disk);
    assert!(running.last + 1 < to, "{} {to}", running.last);
    let look = || {
        let looked = stopped::look(&settings(&fresh, 3), &*disk.files("wal"), disk.files("store"));
        looked.unwrap().log_damage
    };
    assert_eq!(look(), Some(LogDamage::Repairing { to }));
    running.write(&disk, to - running.last - 1);
    assert_eq!(look(), Some(LogDamage::Repairing { to }));
    running.write(&disk, 1);
    assert_eq!(look(), None);
    drop(running);
    disk.crash(CrashPolicy::LoseUnsynced);
    // Alone, it needs nobody to tell it so.
    leave(&disk, &fresh, |_| {}).unwrap();
    disk.crash(CrashPolicy::LoseUnsynced);
    for boot in [4, 5] {
        let running = open(&disk, &fresh, boot).unwrap();
        assert!(running.opened.boot.repair.is_none() && running.opened.findings.is_empty());
        drop(running);
        disk.crash(CrashPolicy::LoseUnsynced);
    }
}

#[test]
fn what_is_damaged_is_named_and_left_alone() {
    let (disk, fresh, _) = one_of_three();
    damage(&disk);
    let before = disk.list();
    match leave(&disk, &fresh, |_| {}) {
        Err(StoppedError::Log(LogDamage::Damaged { .. })) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(disk.list(), before);
    let empty = FaultyDisk::new(2);
    let looked = stopped::look(&settings(&fresh, 1), &*empty.files("wal"), empty.files("store"));
    assert!(matches!(looked.map(drop), Err(OpenError::Log(quorate_wal::OpenError::Empty))));
}
