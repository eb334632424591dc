//! Loss of power at every operation, with every policy; writes that fail or end late.

use quorate_wal::{Batch, Failure, HardState, Mark, OpenError, Options, Outcome};
use sim_disk::{Corruption, CrashPolicy, FaultKind, FaultyDisk, Image};

use crate::support::{FOLDER, Rig, SMALL, begin_to_resume, entries, held, is_same, open, resume};

/// Batches as an owner would append them, with releases in between.
fn script(rig: &mut Rig, at: u64) {
    match at {
        0 => _ = rig.append(entries(1..=3, 1, 200)),
        1 => _ = rig.append(entries(4..=4, 1, 700)),
        2 => _ = rig.append(entries(3..=6, 2, 300)),
        3 => {
            let mark = Mark { index: 4, term: 2, conf_state: vec![9; 40].into() };
            _ = rig.append(Batch { mark: Some(mark), ..Batch::default() });
        }
        4 => _ = rig.append(entries(7..=9, 2, 600)),
        5 => {
            if rig.acknowledged().is_some_and(|model| model.mark.is_some()) {
                rig.log.release(4);
            }
            _ = rig.append(entries(10..=10, 3, 400));
        }
        6 => _ = rig.append(entries(11..=12, 3, 900)),
        7 => {
            let hard_state = Some(HardState { term: 4, vote: 1, commit: 9 });
            _ = rig.append(Batch { hard_state, ..Batch::default() });
        }
        _ => _ = rig.append(entries(11..=11, 4, 3000)),
    }
}
const SCRIPT: u64 = 9;

/// Both: segments that are soon full, and one that holds the whole script.
const LARGE: Options = Options { segment_bytes: 16 << 10, spares_max: 2 };

fn check_crash(rig: &Rig, options: Options, policy: CrashPolicy, seed: u64) {
    let image = rig.disk.crash_image(policy, seed);
    let disk = FaultyDisk::from_image(&image, seed);
    let place = format!("{policy:?} seed {seed}");
    let (log, recovered) = match open(&disk, options) {
        Ok(opened) => opened,
        Err(OpenError::Empty) => {
            assert_eq!(rig.durable, None, "{place}: an existing log is not empty");
            return;
        }
        Err(error) => panic!("{place}: {error}"),
    };
    assert!(
        matches!(recovered.outcome, Outcome::Clean | Outcome::TornTail { .. }),
        "{place}: a crash damages nothing: {:?}",
        recovered.outcome
    );
    let same = |model: &&crate::support::Model| is_same(&recovered, model);
    assert!(
        rig.allowed().iter().any(same),
        "{place}: {:?}\nallowed {:?}\nrecovered {:?}",
        recovered.outcome,
        rig.allowed(),
        held(&recovered)
    );
    let acknowledged = rig.acknowledged().map(|model| model.hard_state).unwrap_or_default();
    assert!(recovered.hard_state.term >= acknowledged.term, "{place}");
    if recovered.hard_state.term == acknowledged.term && acknowledged.vote > 0 {
        assert_eq!(recovered.hard_state.vote, acknowledged.vote, "{place}");
    }
    if seed.is_multiple_of(3) {
        check_crash_while_resuming(rig, &image, options, seed);
    }
    // It goes on, and what it goes on with survives the next loss of power.
    let mut next = resume(&disk, log, &recovered);
    next.append(entries(next.model().last_index() + 1..=next.model().last_index() + 1, 9, 10));
    next.settle();
    next.disk.crash(CrashPolicy::LoseUnsynced);
    let (_, again) = open(&next.disk, options).unwrap();
    assert_eq!(again.outcome, Outcome::Clean, "{place}");
    assert_eq!(held(&again), *next.model(), "{place}");
}

/// Power fails again, after each operation of going on.
fn check_crash_while_resuming(rig: &Rig, image: &Image, options: Options, seed: u64) {
    for steps in 0.. {
        let disk = FaultyDisk::from_image(image, seed);
        let (log, recovered) = open(&disk, options).unwrap();
        let mut next = begin_to_resume(&disk, log, &recovered);
        let more = (0..steps).all(|_| next.step().unwrap());
        for policy in CrashPolicy::EACH {
            let place = format!("{policy:?} seed {seed}, {steps} steps after the first");
            let disk = FaultyDisk::from_image(&next.disk.crash_image(policy, seed), seed);
            let (_, again) = open(&disk, options).unwrap();
            assert!(
                matches!(again.outcome, Outcome::Clean | Outcome::TornTail { .. }),
                "{place}: a crash damages nothing: {:?}",
                again.outcome
            );
            let same = |model: &&crate::support::Model| is_same(&again, model);
            assert!(rig.allowed().iter().any(same), "{place}: {:?}", held(&again));
            if next.durable.is_some() {
                assert_eq!(again.entries, recovered.entries, "{place}");
            }
        }
        if !more {
            break;
        }
    }
}

#[test]
fn at_every_operation_with_every_policy() {
    let mut states = 0;
    // Some batches wait for the one before, some go with it.
    for pace in 1..=3 {
        let mut rig = Rig::create(pace, SMALL);
        let mut at = 0;
        loop {
            for policy in CrashPolicy::EACH {
                let seeds = if policy == CrashPolicy::Torn { 6 } else { 2 };
                for seed in 0..seeds {
                    check_crash(&rig, SMALL, policy, seed * 1000 + states);
                    states += 1;
                }
            }
            let is_due = pace > 1 || rig.log.is_quiet();
            if at < SCRIPT && is_due && states % pace == 0 {
                script(&mut rig, at);
                at += 1;
            }
            if !rig.step().unwrap() && at == SCRIPT {
                break;
            }
        }
        assert_eq!(rig.durable, rig.history.last().map(|(id, _)| *id));
    }
    assert!(states > 1000, "{states}");
}

#[test]
fn a_killed_process_may_find_what_was_never_synced() {
    let mut rig = Rig::create(1, SMALL);
    rig.settle();
    rig.append(entries(1..=1, 1, 100));
    // The write, not the sync.
    assert!(rig.step().unwrap());
    let disk = rig.disk.clone();
    let (log, recovered) = open(&disk, SMALL).unwrap();
    assert_eq!(recovered.entries.len(), 1);
    let next = resume(&disk, log, &recovered);
    next.disk.crash(CrashPolicy::LoseUnsynced);
    let (_, again) = open(&next.disk, SMALL).unwrap();
    assert_eq!(again.entries, recovered.entries, "resuming has made it durable");
}

#[test]
fn a_failed_write_or_sync_is_final() {
    let mut failures = 0;
    for kind in [FaultKind::WriteError, FaultKind::SyncError] {
        for nth in 1..4 {
            let mut rig = Rig::create(nth, SMALL);
            rig.settle();
            rig.disk.inject(kind, "log/000", nth);
            let mut failure = None;
            for at in 0..3 {
                script(&mut rig, at);
                while failure.is_none() {
                    match rig.step() {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(error) => failure = Some(error),
                    }
                }
                if failure.is_some() {
                    break;
                }
            }
            let Some(Failure::Fatal { source, .. }) = failure else { continue };
            failures += 1;
            assert_eq!(source.raw_os_error(), Some(5));
            for policy in CrashPolicy::EACH {
                check_crash(&rig, SMALL, policy, nth);
            }
        }
    }
    assert_eq!(failures, 6);
}

#[test]
fn late_completions_change_nothing() {
    for options in [SMALL, LARGE] {
        let mut rig = Rig::create(1, options);
        rig.settle();
        for at in 0..SCRIPT {
            script(&mut rig, at);
        }
        assert_eq!(rig.durable, Some(rig.history[0].0));
        for policy in CrashPolicy::EACH {
            for seed in 0..40 {
                check_crash(&rig, options, policy, seed);
            }
        }
        rig.settle();
        check_crash(&rig, options, CrashPolicy::LoseUnsynced, 1);
    }
}

/// Everything in flight, written, nothing synced: what a crash leaves is torn in every way.
fn torn(seed: u64, options: Options) -> FaultyDisk {
    let mut rig = Rig::create(seed, options);
    rig.settle();
    for at in 0..4 {
        script(&mut rig, at);
    }
    for _ in 0..seed % 9 {
        rig.step().unwrap();
    }
    rig.disk.crash(CrashPolicy::Torn);
    rig.disk.clone()
}

#[test]
fn a_crash_while_the_log_is_resumed_changes_nothing() {
    let mut cuts = 0;
    for options in [SMALL, LARGE] {
        for seed in 0..90 {
            let disk = torn(seed, options);
            let (mut log, recovered) = open(&disk, options).unwrap();
            let mut handle = disk.handle(FOLDER);
            let is_torn = matches!(recovered.outcome, Outcome::TornTail { .. });
            let id = if is_torn {
                cuts += 1;
                log.cut_tail(&mut handle, 2)
            } else {
                log.resume(&mut handle, 2)
            };
            let history = vec![(id, held(&recovered))];
            let mut rig = Rig { disk, handle, log, history, durable: None };
            loop {
                for policy in CrashPolicy::EACH {
                    let image = rig.disk.crash_image(policy, seed);
                    let disk = FaultyDisk::from_image(&image, seed);
                    let (_, again) = open(&disk, options).unwrap();
                    let is_whole =
                        matches!(again.outcome, Outcome::Clean | Outcome::TornTail { .. });
                    assert!(is_whole, "{policy:?} {seed}: {:?}", again.outcome);
                    let (one, two) = (held(&again), held(&recovered));
                    assert_eq!((one.mark, one.entries), (two.mark, two.entries));
                }
                if !rig.step().unwrap() {
                    break;
                }
            }
        }
    }
    assert!(cuts > 10, "{cuts}");
}

#[test]
fn writes_that_go_astray_are_no_silent_loss() {
    let mut damaged = 0;
    for kind in [FaultKind::MisdirectedWrite, FaultKind::LostWrite] {
        for seed in 0..60 {
            let mut rig = Rig::create(seed, LARGE);
            rig.settle();
            rig.disk.inject(kind, "log/0000000000000001.log", 1 + seed % 6);
            for at in 0..5 {
                script(&mut rig, at);
                rig.settle();
            }
            let recovered = match open(&rig.disk, LARGE) {
                Ok((_, recovered)) => recovered,
                // Both copies of the only header were written over.
                Err(OpenError::NoHeader { .. }) => continue,
                Err(error) => panic!("{kind:?} {seed}: {error}"),
            };
            match recovered.outcome {
                Outcome::Damaged(_) => damaged += 1,
                Outcome::Clean => assert_eq!(held(&recovered), *rig.model(), "{kind:?} {seed}"),
                outcome => panic!("{kind:?} {seed}: {outcome:?}"),
            }
        }
    }
    assert!(damaged > 30, "{damaged}");
}

#[test]
fn a_last_write_cut_at_each_sector_is_a_torn_tail() {
    for size in [10, 900, 2000] {
        for zeroed in 0..32_u64 {
            let mut rig = Rig::create(zeroed, SMALL);
            rig.settle();
            rig.append(entries(1..=1, 1, 10));
            rig.settle();
            rig.append(entries(2..=3, 1, size / 2));
            assert!(rig.step().unwrap(), "the write, not its sync");
            rig.disk.crash(CrashPolicy::KeepAll);
            let path = "log/0000000000000001.log";
            let mut lost = false;
            // Header, empty batch, seal, first entry, seal: the write begins in sector 6.
            for bit in 0..5 {
                if zeroed & (1 << bit) != 0 && 6 + bit < 8 {
                    let sector = 6 + bit;
                    rig.disk.corrupt(path, Corruption::ZeroSector { sector }).unwrap();
                    lost = true;
                }
            }
            let (log, recovered) = open(&rig.disk, SMALL).unwrap();
            let is_whole = matches!(recovered.outcome, Outcome::Clean | Outcome::TornTail { .. });
            assert!(is_whole, "{size} {zeroed}: {:?}", recovered.outcome);
            assert!(!recovered.entries.is_empty());
            if !lost {
                assert_eq!(recovered.entries.len(), 3);
            }
            let next = resume(&rig.disk, log, &recovered);
            next.disk.crash(CrashPolicy::LoseUnsynced);
            let (_, again) = open(&next.disk, SMALL).unwrap();
            assert_eq!((again.outcome, again.entries), (Outcome::Clean, recovered.entries));
        }
    }
}
