//! The real disk, on a temporary folder.
#![allow(clippy::unwrap_used, reason = "the panic of a test is its report")]

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use quorate_disk::{
    Completion, DirectoryLock, Disk, LockError, Measured, Operation, RealDisk, Ticket, Timing,
};

/// A folder that is gone after the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("quorate-disk-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn write(path: &str, offset: u64, data: &[&'static str]) -> Operation {
    let data = data.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect();
    Operation::Write { path: path.into(), offset, data }
}

fn wait(disk: &mut RealDisk, count: usize) -> Vec<Completion> {
    let mut completions = Vec::new();
    for _ in 0..10_000 {
        disk.poll(&mut completions);
        if completions.len() >= count {
            return completions;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("only {} of {count} completions", completions.len());
}

fn story() -> Vec<Operation> {
    vec![
        Operation::CreateDirectory { path: "x/y".into() },
        Operation::Create { path: "x/a".into(), size: 300_000 },
        write("x/a", 10, &["one", "two"]),
        write("x/a", 16, &["three"]),
        Operation::Sync { path: "x/a".into() },
        write("x/a", 300_000, &["end"]),
        Operation::Sync { path: "x/a".into() },
        Operation::SyncDirectory { path: "x".into() },
        Operation::Rename { from: "x/a".into(), to: "x/b".into() },
        Operation::Create { path: "x/a".into(), size: 4 },
        Operation::Remove { path: "x/none".into() },
        Operation::SyncDirectory { path: "".into() },
        Operation::Truncate { path: "x/a".into(), size: 2 },
    ]
}

fn tell(disk: &mut RealDisk) {
    let operations = story();
    let count = operations.len();
    for (ticket, operation) in operations.into_iter().enumerate() {
        disk.submit(Ticket(ticket as u64), operation);
    }
    for (at, completion) in wait(disk, count).into_iter().enumerate() {
        assert_eq!(completion.ticket, Ticket(at as u64), "completions keep the order");
        completion.result.unwrap();
    }
    let files = disk.files();
    assert_eq!(files.list("x").unwrap(), ["a", "b"]);
    assert_eq!(&files.read("x/b", 9, 13).unwrap()[..], b"\0onetwothree\0");
    assert_eq!(&files.read("x/b", 300_000, 3).unwrap()[..], b"end");
    assert_eq!(files.length("x/a").unwrap(), 2);
    assert_eq!(files.read("x/a", 0, 3).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(files.length("x/c").unwrap_err().kind(), io::ErrorKind::NotFound);
    assert!(files.list("none").unwrap().is_empty());
}

#[test]
fn inline_does_everything_at_once() {
    let folder = Folder::new("inline");
    let measured: Arc<Mutex<Vec<Measured>>> = Arc::default();
    let sink = measured.clone();
    let observer = Arc::new(move |one| sink.lock().unwrap().push(one));
    let mut disk = RealDisk::inline(&folder.0, observer).unwrap();
    tell(&mut disk);
    let measured = measured.lock().unwrap();
    let bytes: u64 =
        measured.iter().filter(|one| one.timing == Timing::Write).map(|one| one.bytes).sum();
    assert_eq!(bytes, 14);
    assert_eq!(measured.iter().filter(|one| one.timing == Timing::Sync).count(), 4);
    let mode = |path: &str| std::fs::metadata(folder.0.join(path)).unwrap().permissions().mode();
    assert_eq!(mode("x") & 0o777, 0o700);
    assert_eq!(mode("x/a") & 0o777, 0o600);
}

#[test]
fn the_thread_does_the_same_and_wakes() {
    let folder = Folder::new("threaded");
    let woken = Arc::new(AtomicU64::new(0));
    let count = woken.clone();
    let waker = Box::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let mut disk = RealDisk::threaded(&folder.0, "log", Arc::new(|_| {}), waker).unwrap();
    tell(&mut disk);
    assert!(woken.load(Ordering::SeqCst) > 0);
    disk.submit(Ticket(1), write("x/none", 0, &["x"]));
    assert_eq!(wait(&mut disk, 1)[0].result.as_ref().unwrap_err().kind(), io::ErrorKind::NotFound);
    disk.submit(Ticket(2), Operation::Create { path: "x/last".into(), size: 5 });
    drop(disk);
    assert_eq!(std::fs::metadata(folder.0.join("x/last")).unwrap().len(), 5);
}

#[test]
fn readers_of_a_disk_that_goes_onto_a_thread_let_go_of_what_is_removed() {
    let folder = Folder::new("onto-thread");
    let observer = || -> Arc<dyn Fn(Measured) + Send + Sync> { Arc::new(|_| {}) };
    let mut disk = RealDisk::inline(&folder.0, observer()).unwrap();
    let files = disk.files();
    disk.submit(Ticket(0), Operation::Create { path: "old".into(), size: 4096 });
    let mut disk = disk.onto_thread("store", observer(), Box::new(|| {})).unwrap();
    assert_eq!(wait(&mut disk, 1)[0].ticket, Ticket(0), "nothing that ended is forgotten");
    assert_eq!(files.length("old").unwrap(), 4096);
    disk.submit(Ticket(1), Operation::Remove { path: "old".into() });
    assert!(wait(&mut disk, 1)[0].result.is_ok());
    assert_eq!(files.length("old").unwrap_err().kind(), io::ErrorKind::NotFound);
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let held: Vec<PathBuf> = links.filter(|link| link.starts_with(&folder.0)).collect();
    assert!(held.is_empty(), "{held:?}");
}

#[test]
fn a_worker_says_who_does_it() {
    let folder = Folder::new("worker");
    let (mut disk, worker) =
        RealDisk::with_worker(&folder.0, "log", Arc::new(|_| {}), Box::new(|| {})).unwrap();
    assert!(!worker.has_work());
    disk.submit(Ticket(0), Operation::Create { path: "f".into(), size: 4096 });
    assert!(worker.has_work());
    assert!(!worker.try_run(), "nothing is known of the disk yet");
    worker.wake();
    assert!(wait(&mut disk, 1)[0].result.is_ok());
    let mut here = 0;
    for round in 0..200_u64 {
        let data = vec![Bytes::from(round.to_le_bytes().to_vec())];
        disk.submit(Ticket(2 * round), Operation::Write { path: "f".into(), offset: round, data });
        disk.submit(Ticket(2 * round + 1), Operation::Sync { path: "f".into() });
        if worker.try_run() {
            here += 1;
            assert!(!worker.has_work());
        } else {
            worker.wake();
        }
        let done = wait(&mut disk, 2);
        let tickets: Vec<u64> = done.iter().map(|completion| completion.ticket.0).collect();
        assert_eq!(tickets, [2 * round, 2 * round + 1]);
        assert!(done.iter().all(|completion| completion.result.is_ok()));
    }
    println!("{here} of 200 on the caller's thread");
    assert_eq!(&disk.files().read("f", 199, 8).unwrap()[..], 199_u64.to_le_bytes());
    // What makes a file, or is large, is left to the thread.
    disk.submit(Ticket(1_000), Operation::Create { path: "g".into(), size: 1 });
    assert!(!worker.try_run());
    worker.wake();
    wait(&mut disk, 1);
    let data = vec![Bytes::from(vec![1; 1 << 20])];
    disk.submit(Ticket(1_001), Operation::Write { path: "g".into(), offset: 0, data });
    assert!(!worker.try_run());
    drop(disk);
    assert_eq!(std::fs::metadata(folder.0.join("g")).unwrap().len(), 1 << 20);
}

#[test]
fn nothing_is_left_behind_between_thread_and_worker() {
    let folder = Folder::new("worker-race");
    let (disk, worker) =
        RealDisk::with_worker(&folder.0, "log", Arc::new(|_| {}), Box::new(|| {})).unwrap();
    let disk = Mutex::new(disk);
    disk.lock().unwrap().submit(Ticket(0), Operation::Create { path: "f".into(), size: 64 });
    worker.wake();
    let next = AtomicU64::new(1);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..300 {
                    let mut disk = disk.lock().unwrap();
                    let ticket = next.fetch_add(1, Ordering::SeqCst);
                    disk.submit(Ticket(ticket), write("f", 1, &["x"]));
                    drop(disk);
                    if !worker.try_run() {
                        worker.wake();
                    }
                }
            });
        }
    });
    let done = wait(&mut disk.lock().unwrap(), 901);
    let tickets: Vec<u64> = done.iter().map(|completion| completion.ticket.0).collect();
    assert_eq!(tickets, (0..901).collect::<Vec<_>>());
}

#[test]
fn many_pieces_are_one_write() {
    let folder = Folder::new("pieces");
    let mut disk = RealDisk::inline(&folder.0, Arc::new(|_| {})).unwrap();
    disk.submit(Ticket(1), Operation::Create { path: "f".into(), size: 0 });
    let pieces: Vec<Bytes> = (0..5000_u32).map(|at| at.to_le_bytes().to_vec().into()).collect();
    let expected: Vec<u8> = pieces.iter().flatten().copied().collect();
    let path = "f".into();
    disk.submit(Ticket(2), Operation::Write { path, offset: 3, data: pieces });
    assert!(wait(&mut disk, 2).into_iter().all(|completion| completion.result.is_ok()));
    assert_eq!(&disk.files().read("f", 3, 20_000).unwrap()[..], expected);
}

/// Everything is submitted before anybody knows of the failure.
#[test]
fn what_was_not_written_gets_no_name() {
    let folder = Folder::new("unwritten");
    let mut disk = RealDisk::inline(&folder.0, Arc::new(drop)).unwrap();
    // No file system has files of that size.
    let too_far = 1 << 62;
    let operations = [
        Operation::Create { path: "new".into(), size: 512 },
        write("new", too_far, &["lost"]),
        write("new", 0, &["kept"]),
        Operation::Sync { path: "new".into() },
        Operation::Rename { from: "new".into(), to: "done".into() },
        Operation::Remove { path: "new".into() },
        Operation::Create { path: "new".into(), size: 512 },
        Operation::Rename { from: "new".into(), to: "done".into() },
    ];
    let count = operations.len();
    for (ticket, operation) in operations.into_iter().enumerate() {
        disk.submit(Ticket(ticket as u64), operation);
    }
    let results: Vec<bool> =
        wait(&mut disk, count).iter().map(|completion| completion.result.is_ok()).collect();
    assert_eq!(results, [true, false, true, true, false, true, true, true]);
    assert_eq!(std::fs::metadata(folder.0.join("done")).unwrap().len(), 512);
}

#[test]
fn a_directory_has_one_user() {
    let folder = Folder::new("lock");
    std::fs::create_dir_all(&folder.0).unwrap();
    let lock = DirectoryLock::acquire(&folder.0).unwrap();
    assert!(matches!(DirectoryLock::acquire(&folder.0), Err(LockError::Held(_))));
    drop(lock);
    DirectoryLock::acquire(&folder.0).unwrap();
    assert!(matches!(DirectoryLock::acquire(&folder.0.join("none")), Err(LockError::Io { .. })));
}
