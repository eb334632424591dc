//! The log itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use quorate_disk::Files;

use super::{ChangeLimit, Damage, DamageKind, Record};
use crate::revision::Revision;

/// How the log uses memory and disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// A segment is sealed at this length, in bytes.
    pub segment_bytes: u64,
    /// A flush is due when this many bytes wait for one.
    pub flush_bytes: u64,
    /// Apply must wait when this many bytes wait for a flush.
    pub unflushed_bytes_max: u64,
    /// Flushed bodies that stay in memory, in bytes.
    pub resident_bytes: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            flush_bytes: 8 << 20,
            unflushed_bytes_max: 64 << 20,
            resident_bytes: 32 << 20,
        }
    }
}

/// Every change that is not compacted, by revision.
pub struct RevisionLog {
    records: BTreeMap<Revision, Record>,
}

impl RevisionLog {
    /// An empty log over the store's folder.
    pub fn new(files: Arc<dyn Files>, options: LogOptions) -> Self {
        let _ = (files, options);
        Self { records: BTreeMap::new() }
    }

    /// Add the records of one main revision, newer than all before, ascending by `sub`. Never
    /// blocks, never fails.
    pub fn append(&mut self, records: Vec<Record>) {
        for record in records {
            self.records.insert(record.revision, record);
        }
    }

    /// The body of the record at `revision`.
    ///
    /// # Errors
    /// [`Damage`] if the disk does not give back what was written.
    pub fn read(&self, revision: Revision) -> Result<Bytes, Damage> {
        self.records.get(&revision).map(|record| record.body.clone()).ok_or(Damage {
            file: String::new(),
            offset: 0,
            revision,
            kind: DamageKind::Missing,
        })
    }

    /// The records of whole main revisions from `from_main` on, in order, up to `limit`.
    ///
    /// # Errors
    /// [`Damage`] if the disk does not give back what was written.
    pub fn changes(&self, from_main: i64, limit: ChangeLimit) -> Result<Vec<Record>, Damage> {
        let _ = limit;
        Ok(self.records.range(Revision::new(from_main, 0)..).map(|(_, r)| r.clone()).collect())
    }

    /// Compaction dropped this record: its bytes are dead. A revision that is not there is
    /// ignored.
    pub fn release(&mut self, revision: Revision) {
        self.records.remove(&revision);
    }

    /// Drop everything, to be filled anew from a snapshot.
    pub fn reset(&mut self) {
        self.records.clear();
    }

    /// Whether apply must wait for a flush before it appends more.
    pub fn must_wait(&self) -> bool {
        false
    }

    /// Bytes of records that are not released.
    pub fn live_bytes(&self) -> u64 {
        self.records.values().map(|record| record.body.len() as u64).sum()
    }

    /// Bytes that the log takes on disk and in its unflushed tail; at least the live bytes.
    pub fn total_bytes(&self) -> u64 {
        self.live_bytes()
    }
}
