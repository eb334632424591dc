//! The log on the real disk.

use std::path::PathBuf;
use std::sync::Arc;

use quorate_disk::{Disk, RealDisk};
use quorate_wal::{BatchId, Log, Options, Outcome};

use crate::support::{IDENTITY, entries};

/// A folder that is gone after the test.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn wait(log: &mut Log, disk: &mut RealDisk, id: BatchId) {
    let mut completions = Vec::new();
    for _ in 0..10_000_000_u64 {
        disk.poll(&mut completions);
        let mut is_done = false;
        for completion in completions.drain(..) {
            let done = log.on_completion(disk, completion).unwrap();
            is_done |= done.contains(&id);
        }
        if is_done {
            return;
        }
        std::thread::yield_now();
    }
    panic!("{id:?} never became durable");
}

fn live(name: &str, make: impl Fn(&PathBuf) -> RealDisk) {
    let path = std::env::temp_dir().join(format!("quorate-wal-{}-{name}", std::process::id()));
    let folder = Folder(path);
    let options = Options { segment_bytes: 64 << 10, spares_max: 2 };
    {
        let mut disk = make(&folder.0);
        let (mut log, id) = Log::create(&mut disk, IDENTITY, options);
        wait(&mut log, &mut disk, id);
    }
    for life in 0..3 {
        let mut disk = make(&folder.0);
        let (mut log, recovered) = Log::open(&*disk.files(), options).unwrap();
        assert_eq!(recovered.outcome, Outcome::Clean);
        let last = recovered.entries.last().map_or(0, |entry| entry.index);
        assert_eq!(last, life * 60);
        let id = log.resume(&mut disk, life + 2);
        wait(&mut log, &mut disk, id);
        let mut id = id;
        for index in last + 1..=last + 60 {
            id = log.append(&mut disk, entries(index..=index, 1, 1000));
            if index % 7 == 0 {
                wait(&mut log, &mut disk, id);
            }
        }
        if !log.is_quiet() && log.durable() < id {
            wait(&mut log, &mut disk, id);
        }
        log.close(&mut disk);
    }
}

#[test]
fn inline() {
    live("inline", |path| RealDisk::inline(path, Arc::new(|_| {})).unwrap());
}

#[test]
fn threaded() {
    live("threaded", |path| {
        RealDisk::threaded(path, "log", Arc::new(|_| {}), Box::new(|| {})).unwrap()
    });
}
