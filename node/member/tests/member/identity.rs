//! The block of a directory: written beside what happens to disks, and held against the log.

use quorate_disk::{Completion, Disk as _};
use quorate_member::identity::{self, Book, Found, Stage};
use quorate_member::open::{self, Finding, OpenError};
use sim_disk::{Corruption, CrashPolicy, FaultKind, FaultyDisk, FaultyHandle};

use crate::directory::{self, CLUSTER, INCARNATION, bootstrap};

fn write(handle: &mut FaultyHandle, file: &mut identity::BookFile, book: &Book) {
    file.write(handle, book);
}

/// Let the disk do everything; what became of the write.
fn finish(
    disk: &FaultyDisk,
    handle: &mut FaultyHandle,
    file: &mut identity::BookFile,
) -> std::io::Result<bool> {
    disk.complete_all();
    let mut completions: Vec<Completion> = Vec::new();
    handle.poll(&mut completions);
    let mut is_durable = false;
    for completion in completions {
        is_durable |= file.on_completion(completion)?;
    }
    Ok(is_durable)
}

fn found(disk: &FaultyDisk) -> Found {
    identity::read(&*disk.files("")).expect("readable").0
}

#[test]
fn a_crash_at_any_operation_leaves_one_of_the_two_books() {
    for operations in 0..8 {
        for seed in 0..20 {
            let disk = FaultyDisk::new(seed);
            let mut books = vec![Found::Missing];
            let (mut handle, (_, mut file)) =
                (disk.handle(""), identity::read(&*disk.files("")).expect("readable"));
            let mut book = Book::new(seed);
            for nonce in 0..operations {
                book.begin(nonce);
                write(&mut handle, &mut file, &book);
                books.push(Found::Book(book.clone()));
                if nonce + 1 < operations {
                    assert!(finish(&disk, &mut handle, &mut file).expect("done"));
                    books.remove(0);
                } else {
                    (0..seed % 5).for_each(|_| assert!(disk.complete_next() || seed > 0));
                }
            }
            disk.crash(CrashPolicy::Any);
            let found = found(&disk);
            let is_first = operations == 1 && found == Found::Unreadable;
            assert!(is_first || books.contains(&found), "{operations}, {seed}: {found:?}");
        }
    }
}

#[test]
fn one_damaged_copy_costs_no_more_than_the_last_write() {
    let disk = FaultyDisk::new(1);
    let (mut handle, (_, mut file)) = (disk.handle(""), identity::read(&*disk.files("")).unwrap());
    let mut book = Book::new(1);
    for nonce in 0..3 {
        book.begin(nonce);
        write(&mut handle, &mut file, &book);
        assert!(finish(&disk, &mut handle, &mut file).unwrap());
    }
    for (offset, boot) in [(40, 3), (40 + (16 << 10), 2)] {
        let copy = disk.image();
        let disk = FaultyDisk::from_image(&copy, 2);
        disk.corrupt(identity::PATH, Corruption::FlipBit { offset, bit: 1 }).unwrap();
        let Found::Book(found) = found(&disk) else { panic!("one copy is whole") };
        assert_eq!(found.own().boot, boot);
        let path = identity::PATH;
        for offset in [40, 40 + (16 << 10)] {
            disk.corrupt(path, Corruption::FlipBit { offset, bit: 2 }).unwrap();
        }
        assert_eq!(identity::read(&*disk.files("")).unwrap().0, Found::Unreadable);
    }
}

#[test]
fn writes_that_fail_one_after_the_other_leave_the_last_whole_copy() {
    for seed in 0..30 {
        let disk = FaultyDisk::new(seed);
        let (mut handle, (_, mut file)) =
            (disk.handle(""), identity::read(&*disk.files("")).unwrap());
        let mut book = Book::new(1);
        for nonce in 0..9 {
            book.begin(nonce);
            write(&mut handle, &mut file, &book);
            if nonce % 3 == 0 {
                assert!(finish(&disk, &mut handle, &mut file).unwrap());
                continue;
            }
            disk.inject(FaultKind::WriteError, "", 1);
            finish(&disk, &mut handle, &mut file).unwrap_err();
            assert!(!file.is_writing());
        }
        let Found::Book(found) = found(&disk) else { panic!("seed {seed}: it was written") };
        // A write that failed may have happened.
        assert!(found.own().boot >= 7, "seed {seed}: {}", found.own().boot);
    }
}

/// A member of so many on a disk, and another time with this book.
fn again(members: u64, change: impl FnOnce(&mut Book)) -> Result<Vec<Finding>, OpenError> {
    let disk = FaultyDisk::new(1);
    let fresh = bootstrap(members);
    drop(directory::open(&disk, &fresh, 1).expect("new"));
    let mut book = Book::new(INCARNATION);
    book.begin(1);
    change(&mut book);
    let settings = open::Settings { own: book.own().clone(), ..directory::settings(&fresh, 2) };
    let (mut log_disk, store_disk) = (disk.handle("wal"), disk.handle("store"));
    let opening = open::open(&settings, &mut log_disk, store_disk.files())?;
    Ok(opening.findings().to_vec())
}

#[test]
fn log_and_block_must_be_of_one_directory() {
    let ours = |book: &mut Book| book.found(CLUSTER, 1, INCARNATION);
    assert_eq!(again(3, ours).unwrap(), []);
    // The end of the founding was not written.
    assert_eq!(again(3, |_| {}).unwrap(), []);
    let other = again(3, |book| book.found(CLUSTER, 2, INCARNATION)).unwrap_err();
    assert!(matches!(other, OpenError::OtherIdentity { member: 2, log_member: 1, .. }), "{other}");
    let other = again(3, |book| book.found(CLUSTER + 1, 1, INCARNATION)).unwrap_err();
    assert!(matches!(other, OpenError::OtherIdentity { .. }), "{other}");
    let other = again(3, |book| book.found(CLUSTER, 1, 6)).unwrap_err();
    assert!(matches!(other, OpenError::OtherDirectory { member: 1, .. }), "{other}");
    let missing = again(3, |book| *book = Book::new(6)).unwrap_err();
    assert!(matches!(missing, OpenError::NoIdentity { member: 1, .. }), "{missing}");
    assert!(missing.to_string().contains("member remove"), "{missing}");
}

#[test]
fn a_lone_member_makes_itself_a_new_block() {
    let findings = again(1, |book| *book = Book::new(6)).unwrap();
    assert_eq!(findings, [Finding::NewIdentity]);
}

#[test]
fn a_block_without_its_log_is_refused() {
    let disk = FaultyDisk::new(1);
    let mut book = Book::new(INCARNATION);
    book.found(CLUSTER, 1, INCARNATION);
    assert_eq!(book.own().stage, Stage::Founded);
    let settings =
        open::Settings { own: book.own().clone(), ..directory::settings(&bootstrap(1), 1) };
    let (mut log_disk, store_disk) = (disk.handle("wal"), disk.handle("store"));
    let refused = open::open(&settings, &mut log_disk, store_disk.files()).err().expect("refused");
    assert!(matches!(refused, OpenError::NoLog { member: 1, .. }), "{refused}");
}

#[test]
fn the_members_to_ask_are_those_of_store_and_log() {
    let disk = FaultyDisk::new(1);
    let running = directory::open(&disk, &bootstrap(3), 1).expect("new");
    // Nothing is applied yet.
    assert_eq!(running.opened.store.members().iter().count(), 0);
    let members = running.opened.members();
    assert_eq!(members.iter().map(|member| member.id).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(members.iter().all(|member| member.peer_urls.is_some()));
}
