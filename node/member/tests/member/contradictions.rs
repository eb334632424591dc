//! What a data directory becomes when its files contradict what was acknowledged.

use quorate_disk::{Disk, Ticket};
use quorate_member::identity::Book;
use quorate_member::open::{self, Finding, Fresh, OpenError, Opened, Settings};
use quorate_raft::{Entry, EntryKind, HardState, Index, NodeId, Term};
use quorate_replica::{BatchId, LogBatch, LogMark};
use quorate_store::checkpoint;
use quorate_store::jobs::JobOptions;
use quorate_store::members::Member;
use quorate_store::store::StoreOptions;
use quorate_wal as wal;
use sim_disk::{CrashPolicy, FaultyDisk, FaultyHandle};

fn settings(members: u64, boot: u64) -> Settings {
    let member = |id| Member {
        id,
        peer_urls: Some(vec![format!("http://member-{id}:2380")]),
        ..Member::default()
    };
    Settings {
        fresh: Fresh::Bootstrap {
            cluster: 0xc1,
            member: 1,
            members: (1..=members).map(member).collect(),
        },
        own: Book::new(1).own().clone(),
        boot,
        log: wal::Options { segment_bytes: 16_384, spares_max: 1 },
        store: StoreOptions::default(),
        jobs: JobOptions::default(),
    }
}

fn start(disk: &FaultyDisk, members: u64, boot: u64) -> Result<(Opened, FaultyHandle), OpenError> {
    let (mut log_disk, store_disk) = (disk.handle("wal"), disk.handle("store"));
    let mut opening = open::open(&settings(members, boot), &mut log_disk, store_disk.files())?;
    let mut completions = Vec::new();
    loop {
        match opening.try_finish() {
            Ok(opened) => return Ok((opened, log_disk)),
            Err(unfinished) => opening = unfinished,
        }
        assert!(disk.complete_all() > 0, "opening waits for its disk");
        log_disk.poll(&mut completions);
        for completion in completions.drain(..) {
            opening.on_completion(&mut log_disk, completion).unwrap();
        }
    }
}

fn note_damage(disk: &FaultyDisk) {
    let mut store_disk = disk.handle("store");
    for (ticket, operation) in (0..).zip(checkpoint::note_damage("a record is damaged")) {
        store_disk.submit(Ticket(ticket), operation);
    }
    disk.complete_all();
}

#[test]
fn damage_met_at_run_time_is_had_from_peers_at_the_next_start() {
    let disk = FaultyDisk::new(1);
    let (first, _) = start(&disk, 3, 1).unwrap();
    assert_eq!(first.findings, [Finding::Fresh]);
    disk.crash(CrashPolicy::LoseUnsynced);
    note_damage(&disk);
    disk.crash(CrashPolicy::LoseUnsynced);
    let (second, _) = start(&disk, 3, 2).unwrap();
    assert!(
        matches!(&second.findings[..], [Finding::DamagedStore(what)] if what.contains("a record")),
        "{:?}",
        second.findings
    );
    // It has nothing, and still votes as one that has the three first entries.
    assert!(second.boot.entries.is_empty());
    let repair = second.boot.repair.unwrap();
    assert_eq!((repair.last_index, repair.last_term), (3, 1));
}

#[test]
fn a_lone_member_goes_on_with_what_can_be_read() {
    let disk = FaultyDisk::new(2);
    start(&disk, 1, 1).unwrap();
    disk.crash(CrashPolicy::LoseUnsynced);
    note_damage(&disk);
    disk.crash(CrashPolicy::LoseUnsynced);
    let (second, _) = start(&disk, 1, 2).unwrap();
    assert_eq!(second.findings, []);
    assert_eq!((second.boot.entries.len(), second.boot.repair), (1, None));
}

#[test]
fn a_log_that_ends_before_the_checkpoint_begins_anew_behind_it() {
    let disk = FaultyDisk::new(3);
    let (opened, mut log_disk) = start(&disk, 3, 1).unwrap();
    // A snapshot up to entry 9 becomes the store's checkpoint; the log does not hear of it.
    let Opened { mut store, mut jobs, .. } = opened;
    let mut store_disk = disk.handle("store");
    for index in 1..=9 {
        let entry = quorate_store::entry::Entry {
            index,
            term: 2,
            kind: quorate_store::entry::EntryKind::Normal,
            data: bytes::Bytes::new(),
        };
        store.apply(&entry).unwrap();
    }
    jobs.request_checkpoint();
    let mut completions = Vec::new();
    loop {
        match jobs.step(&mut store, &mut store_disk, quorate_member::Allowed::All).unwrap() {
            quorate_member::Progress::Idle => break,
            quorate_member::Progress::Waiting => {
                disk.complete_all();
                store_disk.poll(&mut completions);
                completions.drain(..).for_each(|completion| jobs.on_completion(completion));
            }
            quorate_member::Progress::More | quorate_member::Progress::Done(_) => {}
        }
    }
    log_disk.poll(&mut completions);
    disk.crash(CrashPolicy::LoseUnsynced);
    let (mut second, mut log_disk) = start(&disk, 3, 2).unwrap();
    assert_eq!((second.boot.log_start, second.boot.entries.len()), ((9, 2), 0));
    assert_eq!(second.boot.hard_state.term, Term(2));
    // What comes next fits, and is there after a restart.
    let (term, index) = (Term(2), Index(10));
    let entry = Entry { kind: EntryKind::Normal, term, index, data: bytes::Bytes::new() };
    let hard_state = HardState { term, vote: NodeId(2), commit: Index(9) };
    let batch = LogBatch {
        batch: BatchId(1),
        hard_state: Some(hard_state),
        mark: None::<LogMark>,
        entries: vec![entry.clone()],
    };
    second.writer.persist(&mut log_disk, batch);
    disk.complete_all();
    disk.crash(CrashPolicy::LoseUnsynced);
    let (third, _) = start(&disk, 3, 3).unwrap();
    assert_eq!((third.boot.log_start, third.boot.entries), ((9, 2), vec![entry]));
}
