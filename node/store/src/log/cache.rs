//! Blocks of segments that were read before, in memory.
//!
//! ```text
//!   (segment id, block) ──► one of many sets ──► 4 places, filled in turn
//!                           each with a lock of its own
//! ```
//! What a segment holds below its length never changes, so a block is never out of date; one of
//! the active segment may be too short, and is then read again. Records that cross the edge of a
//! block are read on their own.

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
