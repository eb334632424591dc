//! Every byte of a small folder flipped, every sector zeroed, every file gone: the right answer,
//! an older checkpoint, or a named error.

use std::sync::Arc;

use quorate_disk::{Disk, Operation, Ticket};
use sim_disk::{Corruption, FaultyDisk, Image};

use super::model::Entry;
use super::world::{FOLDER, SMALL, World, busy, restart};
use crate::checkpoint::{DamageReason, OpenError, OpenOptions};
use crate::jobs::{JobError, JobKind, Outcome};
use crate::log::DamageKind;

/// Two checkpoints with several segments.
fn prepared() -> (Image, Vec<Entry>, u64) {
    let mut world = World::new(1, SMALL);
    for entry in busy(24) {
        world.apply(entry);
    }
    world.run(JobKind::Checkpoint).unwrap();
    let older = world.checkpointed;
    for entry in busy(10) {
        world.apply(entry);
    }
    world.run(JobKind::Checkpoint).unwrap();
    world.run(JobKind::Cleanup).unwrap();
    assert_eq!(world.jobs.log_needed_after(), older);
    assert_eq!(world.checkpointed, 34);
    (world.disk.image(), world.entries, older)
}

#[derive(Default, Debug)]
struct Seen {
    whole: u32,
    fell_back: u32,
    refused: u32,
    damaged: u32,
}

/// Open a damaged folder, with a whole log and with one that is cut after the older checkpoint.
fn probe(image: &Image, entries: &[Entry], corrupt: impl Fn(&FaultyDisk), seen: &mut Seen) {
    for log_start in [1, 35] {
        let disk = FaultyDisk::from_image(image, 1);
        corrupt(&disk);
        let options = OpenOptions { log_start, ..SMALL };
        let restarted = match restart(disk.files(FOLDER), options, entries) {
            Ok(restarted) => restarted,
            Err(OpenError::Damaged(_) | OpenError::TooOld { .. }) => {
                seen.refused += 1;
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        match restarted.fell_back {
            Some(_) => seen.fell_back += 1,
            None => seen.whole += 1,
        }
        let mut world = World::on(disk, options, entries.to_vec()).unwrap();
        let expected = world.store.model.records.clone();
        let mut is_damaged = false;
        for (revision, record) in &expected {
            match world.store.log.read(*revision) {
                Ok(body) => assert_eq!(body, record.body),
                Err(damage) => {
                    assert_eq!(damage.revision, *revision);
                    is_damaged = true;
                }
            }
        }
        seen.damaged += u32::from(is_damaged);
        match world.run(JobKind::Scrub) {
            Ok(outcome) => assert!(!is_damaged && matches!(outcome, Outcome::Scrubbed { .. })),
            Err(JobError::Damaged(_)) => assert!(is_damaged),
            Err(error) => panic!("{error}"),
        }
    }
}

fn each_file(image: &Image) -> Vec<(String, u64)> {
    FaultyDisk::from_image(image, 1).list()
}

#[test]
fn a_flipped_bit_is_never_an_answer() {
    let (image, entries, _) = prepared();
    let mut seen = Seen::default();
    for (path, length) in each_file(&image) {
        for offset in 0..length {
            let bit = (offset % 8) as u8;
            let flip = |disk: &FaultyDisk| {
                disk.corrupt(&path, Corruption::FlipBit { offset, bit }).unwrap();
            };
            probe(&image, &entries, flip, &mut seen);
        }
    }
    assert!(seen.fell_back > 100 && seen.refused > 100 && seen.damaged > 1000, "{seen:?}");
}

#[test]
fn a_lost_sector_is_never_an_answer() {
    let (image, entries, _) = prepared();
    let mut seen = Seen::default();
    for (path, length) in each_file(&image) {
        for sector in 0..length.div_ceil(512) {
            for corruption in [Corruption::ZeroSector { sector }, Corruption::Unreadable { sector }]
            {
                let lose = |disk: &FaultyDisk| disk.corrupt(&path, corruption).unwrap();
                probe(&image, &entries, lose, &mut seen);
            }
        }
    }
    assert!(seen.fell_back > 1 && seen.refused > 1 && seen.damaged > 1, "{seen:?}");
}

#[test]
fn damage_of_the_newest_checkpoint_falls_back_as_far_as_the_log_reaches() {
    let (image, entries, older) = prepared();
    let mut names = each_file(&image).into_iter().map(|(path, _)| path);
    let manifest = names.rfind(|path| path.ends_with(".manifest")).unwrap();
    let open = |log_start| {
        let disk = FaultyDisk::from_image(&image, 1);
        disk.corrupt(&manifest, Corruption::FlipBit { offset: 50, bit: 3 }).unwrap();
        restart(disk.files(FOLDER), OpenOptions { log_start, ..SMALL }, &entries)
    };
    let restarted = open(older + 1).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(restarted.store.model.applied, older);
    let damage = restarted.fell_back.unwrap();
    assert_eq!(damage.reason, DamageReason::Damaged);
    assert!(manifest.ends_with(&damage.file));
    let Err(OpenError::TooOld { damage: found, applied_index, log_start }) = open(older + 2) else {
        panic!("the log does not reach");
    };
    assert_eq!((found, applied_index, log_start), (damage, older, older + 2));
}

#[test]
fn others_files_and_later_formats_are_refused_by_name() {
    let (image, entries, _) = prepared();
    let identity = crate::checkpoint::Identity { cluster_id: 7, member_id: 8 };
    let disk = FaultyDisk::from_image(&image, 1);
    let other = restart(disk.files(FOLDER), OpenOptions { identity, ..SMALL }, &entries);
    assert!(matches!(other, Err(OpenError::OtherIdentity { .. })));

    let gap = restart(disk.files(FOLDER), OpenOptions { log_start: 36, ..SMALL }, &entries);
    assert!(matches!(gap, Err(OpenError::Gap { applied_index: 34, log_start: 36 })));
    let empty = FaultyDisk::new(1);
    let gap = restart(empty.files(FOLDER), OpenOptions { log_start: 2, ..SMALL }, &entries);
    assert!(matches!(gap, Err(OpenError::Gap { applied_index: 0, log_start: 2 })));
}

/// The disk with other first bytes in its newest file of this kind.
fn overwrite(image: &Image, suffix: &str, header: &[u8]) -> FaultyDisk {
    let disk = FaultyDisk::from_image(image, 1);
    let mut paths = each_file(image).into_iter().map(|(path, _)| path);
    let path = paths.rfind(|path| path.contains(suffix)).unwrap();
    let data = vec![bytes::Bytes::copy_from_slice(header)];
    let mut handle = disk.handle("");
    handle.submit(Ticket(1), Operation::Write { path: path.into(), offset: 0, data });
    disk.complete_all();
    disk
}

#[test]
fn a_later_format_is_refused_although_an_older_checkpoint_is_there() {
    let (image, entries, _) = prepared();
    // Magic, version 2, and whatever stands in the rest of the header, with its checksum.
    for (suffix, magic, rest) in
        [(".manifest", b"QRTMANIF", 4), (".index", b"QRTINDEX", 8), ("segment-", b"QRTSEGMT", 8)]
    {
        let mut header = [&magic[..], &2_u32.to_le_bytes(), &vec![0; rest]].concat();
        header.extend(crc32c::crc32c(&header).to_le_bytes());
        let disk = overwrite(&image, suffix, &header);
        match restart(disk.files(FOLDER), SMALL, &entries) {
            Err(OpenError::Newer { file, found: 2, supported: 1 }) => {
                assert!(file.contains(suffix))
            }
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("{suffix} of a later format is taken"),
        }
    }
    let disk = overwrite(&image, ".manifest", b"SQLite format 3\0");
    let restarted = restart(disk.files(FOLDER), SMALL, &entries).map_err(|error| error.to_string());
    let reason = restarted.unwrap_or_else(|error| panic!("{error}")).fell_back.unwrap().reason;
    assert_eq!(reason, DamageReason::Foreign);
}

#[test]
fn a_record_at_another_place_is_not_taken_for_one() {
    let mut world = World::new(1, SMALL);
    world.apply(Entry::Change(vec![(1, 100)]));
    world.apply(Entry::Change(vec![(2, 100)]));
    world.run(JobKind::Flush).unwrap();
    world.store.log.options.resident_bytes = 0;
    world.apply(Entry::Change(vec![(3, 100)]));
    world.run(JobKind::Flush).unwrap();
    let files = Arc::new(Swapped(world.disk.files(FOLDER)));
    world.store.log.files = files;
    let kind = world.store.log.read(crate::revision::Revision::new(1, 0)).unwrap_err().kind;
    assert_eq!(kind, DamageKind::Header);
}

/// Every read of a record gives the one behind it.
struct Swapped(Arc<sim_disk::FaultyFiles>);

impl quorate_disk::Files for Swapped {
    fn read(&self, path: &str, offset: u64, length: usize) -> std::io::Result<bytes::Bytes> {
        self.0.read(path, offset + length as u64, length)
    }

    fn length(&self, path: &str) -> std::io::Result<u64> {
        self.0.length(path)
    }

    fn list(&self, folder: &str) -> std::io::Result<Vec<String>> {
        self.0.list(folder)
    }
}
