//! Blocks of segments that were read before, in memory.
//!
//! ```text
//!   (segment id, block) ──► one of many sets ──► 4 places, filled in turn
//!                           each with a lock of its own
//! ```
//! What a segment holds below its length never changes, so a block is never out of date; one of
//! the active segment may be too short, and is then read again. Records that cross the edge of a
//! block are read on their own, and so is the first one of a block that is not here: only when a
//! second is asked for soon do the others come along. Scattered reads so cost no more than without
//! a cache.

use std::io;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use quorate_disk::Files;

use super::locations::DiskPlace;
use super::segments::SegmentFile;

/// Bytes of a block: reading one costs little more than reading a record does, and neighbours
/// come along.
const BLOCK_BYTES: u64 = 8 << 10;

/// Blocks that compete for the same places.
const WAYS: usize = 4;

/// Blocks of segments, up to a number of bytes.
pub(crate) struct BlockCache {
    sets: Vec<Mutex<Set>>,
}

#[derive(Default)]
struct Set {
    ways: [Option<Block>; WAYS],
    next: usize,
    /// Segment ids and numbers of the blocks that were missed last.
    missed: [(u64, u64); WAYS],
    next_missed: usize,
}

struct Block {
    segment_id: u64,
    number: u64,
    bytes: Bytes,
}

impl BlockCache {
    /// A cache of up to this many bytes, rounded up to four blocks; none if 0.
    pub(crate) fn new(bytes: u64) -> Self {
        let sets = bytes.div_ceil(BLOCK_BYTES * WAYS as u64);
        Self { sets: (0..sets).map(|_| Mutex::default()).collect() }
    }

    /// The bytes at a place of a segment that has `length` bytes.
    pub(crate) fn read(
        &self,
        files: &dyn Files,
        file: &SegmentFile,
        length: u64,
        place: DiskPlace,
    ) -> io::Result<Bytes> {
        let too_large = |_| io::Error::from(io::ErrorKind::UnexpectedEof);
        let size = usize::try_from(place.size).map_err(too_large)?;
        let direct = || files.read(&file.path, place.offset, size);
        let number = place.offset / BLOCK_BYTES;
        let end = place.offset + place.size;
        let Some(set) = self.set(file.id, number).filter(|_| end <= (number + 1) * BLOCK_BYTES)
        else {
            return direct();
        };
        let start = number * BLOCK_BYTES;
        let from = (place.offset - start) as usize;
        if let Some(bytes) = lock(set).find(file.id, number, from + size) {
            return Ok(bytes.slice(from..from + size));
        }
        if lock(set).is_first_miss(file.id, number) {
            return direct();
        }
        let block_bytes = length.saturating_sub(start).min(BLOCK_BYTES) as usize;
        // Without a reader's error of a neighbour.
        match files.read(&file.path, start, block_bytes) {
            Ok(bytes) if bytes.len() >= from + size => {
                let record = bytes.slice(from..from + size);
                lock(set).insert(Block { segment_id: file.id, number, bytes });
                Ok(record)
            }
            Ok(_) | Err(_) => direct(),
        }
    }

    fn set(&self, segment_id: u64, number: u64) -> Option<&Mutex<Set>> {
        let count = self.sets.len() as u64;
        // Neighbours go to neighbouring sets; segments begin at scattered ones.
        let scattered = segment_id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let at = scattered.wrapping_add(number).checked_rem(count)?;
        self.sets.get(usize::try_from(at).ok()?)
    }
}

fn lock(set: &Mutex<Set>) -> std::sync::MutexGuard<'_, Set> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Set {
    fn find(&self, segment_id: u64, number: u64, end: usize) -> Option<Bytes> {
        let is_it = |block: &&Block| block.segment_id == segment_id && block.number == number;
        let found = self.ways.iter().flatten().find(is_it)?;
        (found.bytes.len() >= end).then(|| found.bytes.clone())
    }

    /// Whether the block was not among those missed last; it is from now on.
    fn is_first_miss(&mut self, segment_id: u64, number: u64) -> bool {
        if self.missed.contains(&(segment_id, number)) {
            return false;
        }
        self.next_missed = (self.next_missed + 1) % WAYS;
        if let Some(missed) = self.missed.get_mut(self.next_missed) {
            *missed = (segment_id, number);
        }
        true
    }

    fn insert(&mut self, block: Block) {
        let is_it = |old: &Block| old.segment_id == block.segment_id && old.number == block.number;
        let same = self.ways.iter().position(|way| way.as_ref().is_some_and(is_it));
        let at = same.unwrap_or_else(|| {
            self.next = (self.next + 1) % WAYS;
            self.next
        });
        if let Some(way) = self.ways.get_mut(at) {
            *way = Some(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Bytes that tell where they are from; counts reads.
    struct Counting(AtomicUsize);

    impl Files for Counting {
        fn read(&self, _: &str, offset: u64, length: usize) -> io::Result<Bytes> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok((offset..).take(length).map(|at| (at % 251) as u8).collect())
        }

        fn length(&self, _: &str) -> io::Result<u64> {
            Ok(0)
        }

        fn list(&self, _: &str) -> io::Result<Vec<String>> {
            Ok(Vec::new())
        }
    }

    /// How many reads of the disk it takes to read these places.
    fn reads(cache: &BlockCache, length: u64, offsets: impl Iterator<Item = u64>) -> usize {
        let files = Counting(AtomicUsize::new(0));
        let file = SegmentFile::new(3);
        for offset in offsets {
            let place = DiskPlace { segment: 0, offset, size: 80 };
            let bytes = cache.read(&files, &file, length, place).unwrap();
            let expected: Vec<u8> = (offset..offset + 80).map(|at| (at % 251) as u8).collect();
            assert_eq!(bytes, expected);
        }
        files.0.into_inner()
    }

    #[test]
    fn neighbours_come_along_and_stay() {
        let cache = BlockCache::new(1 << 20);
        let all = || (0..400).map(|at| at * 80);
        // 32,000 bytes are four blocks, each missed twice; three records cross an edge.
        assert_eq!(reads(&cache, 32_000, all()), 4 * 2 + 3);
        assert_eq!(reads(&cache, 32_000, all()), 3);
        assert_eq!(reads(&BlockCache::new(0), 32_000, all()), 400);
    }

    #[test]
    fn scattered_reads_are_as_many_as_they_are() {
        let cache = BlockCache::new(64 << 10);
        let scattered = (0..2000).map(|at| at * 7919 % 2000 * BLOCK_BYTES);
        assert_eq!(reads(&cache, 2000 * BLOCK_BYTES, scattered), 2000);
    }

    #[test]
    fn a_block_that_has_grown_is_read_again() {
        let cache = BlockCache::new(1 << 20);
        assert_eq!(reads(&cache, 160, [0, 80, 0].into_iter()), 2);
        assert_eq!(reads(&cache, 320, [0, 80, 160, 240, 0].into_iter()), 1);
    }
}
