//! The newest records, in memory: those that no segment holds yet, and a bounded number of
//! bytes of those that one does.
//!
//! ```text
//!   ┌─ batches, oldest first ─────────────────────────────┐ ┌─ open ─┐
//!   │ flushed, resident │ flushed │ unflushed │ unflushed │ │        │ ◄── append
//!   └───────────────────┴─────────┴───────────┴───────────┘ └────────┘
//!     ▲ evicted first                ▲ flushed first
//! ```
//! A batch never changes once it is closed, but for learning its places when it is flushed. So
//! it is shared with whoever writes it or keeps a pin on it.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use super::Record;
use super::format::record_bytes;
use super::locations::DiskPlace;

/// Records a batch, at most; a sequence number is the batch's number and 8 bits of index.
const BATCH_RECORDS: usize = 256;

/// A batch is closed at this many bytes, so that a flush works in small portions.
const BATCH_BYTES: u64 = 256 << 10;

/// Records that were appended one after the other.
#[derive(Debug)]
pub(crate) struct Batch {
    number: u64,
    /// The records.
    pub(crate) records: Vec<Record>,
    /// What they take in a segment.
    pub(crate) bytes: u64,
    /// Where they are on disk, once they are durable there.
    pub(crate) places: OnceLock<Vec<DiskPlace>>,
}

impl Batch {
    /// The records with their sequence numbers.
    pub(crate) fn sequenced(&self) -> impl Iterator<Item = (u64, &Record)> {
        (self.number * BATCH_RECORDS as u64..).zip(&self.records)
    }
}

/// Batches in order of their numbers, which follow each other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batches(VecDeque<Arc<Batch>>);

impl Batches {
    fn find(&self, sequence: u64) -> Option<(&Arc<Batch>, usize)> {
        let number = sequence / BATCH_RECORDS as u64;
        let at = number.checked_sub(self.0.front()?.number)?;
        let batch = self.0.get(usize::try_from(at).ok()?)?;
        Some((batch, (sequence % BATCH_RECORDS as u64) as usize))
    }

    /// The record with this sequence number.
    pub(crate) fn get(&self, sequence: u64) -> Option<&Record> {
        let (batch, within) = self.find(sequence)?;
        batch.records.get(within)
    }

    /// Where the record with this sequence number is on disk, if it is flushed.
    pub(crate) fn place(&self, sequence: u64) -> Option<DiskPlace> {
        let (batch, within) = self.find(sequence)?;
        batch.places.get()?.get(within).copied()
    }
}

/// The tail of the log.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    closed: Batches,
    /// How many of `closed`, from the front, are flushed.
    flushed: usize,
    flushed_bytes: u64,
    unflushed_bytes: u64,
    open: Vec<Record>,
    open_bytes: u64,
    /// The number of the batch that is open.
    open_number: u64,
}

impl Tail {
    /// Add a record; gives its sequence number.
    pub(crate) fn push(&mut self, record: Record) -> u64 {
        let sequence = self.open_number * BATCH_RECORDS as u64 + self.open.len() as u64;
        let bytes = record_bytes(record.body.len());
        self.open_bytes += bytes;
        self.unflushed_bytes += bytes;
        self.open.push(record);
        if self.open.len() == BATCH_RECORDS || self.open_bytes >= BATCH_BYTES {
            self.close();
        }
        sequence
    }

    /// Close the open batch, so that it can be shared.
    pub(crate) fn close(&mut self) {
        if self.open.is_empty() {
            return;
        }
        self.open.shrink_to_fit();
        self.closed.0.push_back(Arc::new(Batch {
            number: self.open_number,
            records: std::mem::take(&mut self.open),
            bytes: std::mem::take(&mut self.open_bytes),
            places: OnceLock::new(),
        }));
        self.open_number += 1;
    }

    /// The record with this sequence number.
    pub(crate) fn get(&self, sequence: u64) -> Option<&Record> {
        if sequence / BATCH_RECORDS as u64 == self.open_number {
            return self.open.get((sequence % BATCH_RECORDS as u64) as usize);
        }
        self.closed.get(sequence)
    }

    /// Where a flushed record is on disk.
    pub(crate) fn place(&self, sequence: u64) -> Option<DiskPlace> {
        self.closed.place(sequence)
    }

    /// The closed batches, to share.
    pub(crate) fn batches(&self) -> &Batches {
        &self.closed
    }

    /// The closed batches that no segment holds.
    pub(crate) fn unflushed(&self) -> impl Iterator<Item = &Arc<Batch>> {
        self.closed.0.iter().skip(self.flushed)
    }

    /// The oldest unflushed batch is flushed: its places are set.
    pub(crate) fn on_flushed(&mut self, batch: &Arc<Batch>) {
        let next = self.closed.0.get(self.flushed);
        assert!(next.is_some_and(|next| Arc::ptr_eq(next, batch)), "batches are flushed in order");
        assert!(batch.places.get().is_some(), "a flushed batch has places");
        self.flushed += 1;
        self.flushed_bytes += batch.bytes;
        self.unflushed_bytes -= batch.bytes;
    }

    /// Take the oldest flushed batch out if more than `resident_bytes` of them are here.
    pub(crate) fn evict(&mut self, resident_bytes: u64) -> Option<Arc<Batch>> {
        if self.flushed == 0 || self.flushed_bytes <= resident_bytes {
            return None;
        }
        let batch = self.closed.0.pop_front()?;
        self.flushed -= 1;
        self.flushed_bytes -= batch.bytes;
        Some(batch)
    }

    /// The number of the oldest segment that holds records which are still in memory.
    pub(crate) fn oldest_resident(&self) -> Option<u32> {
        let batch = self.closed.0.front()?;
        batch.places.get()?.first().map(|place| place.segment)
    }

    /// Bytes that no segment holds.
    pub(crate) fn unflushed_bytes(&self) -> u64 {
        self.unflushed_bytes
    }

    /// Bytes of flushed records that are still in memory.
    pub(crate) fn flushed_bytes(&self) -> u64 {
        self.flushed_bytes
    }

    /// Forget everything. Numbers go on, so that none means two records.
    pub(crate) fn clear(&mut self) {
        let open_number = self.open_number + 1;
        *self = Self { open_number, ..Self::default() };
    }
}
