//! HashKV: the hash of the history of keys up to a revision.

use quorate_api::Error;

use super::remembered::CompactionHash;
use super::selection::{Asker, Chosen, Selection};
use super::{KvHash, empty};
use crate::log::Damage;
use crate::mvcc::Mvcc;
use crate::snapshot::record_key;

/// Records of one step.
const STEP_RECORDS: usize = 512;

/// HashKV in steps: first what is to be hashed is collected from the index, then it is read in
/// the order of revisions. While it runs, a pin must keep the records. What a compaction left
/// behind is answered at once.
#[derive(Debug)]
pub struct KvHasher(State);

#[derive(Debug)]
enum State {
    Remembered(CompactionHash),
    Selecting(Selection),
    Reading { revision: i64, compact_revision: i64, chosen: Vec<Chosen>, hashed: usize, crc: u32 },
}

impl KvHasher {
    /// Begin at a revision; 0 means the current one.
    ///
    /// # Errors
    /// [`Error::Compacted`] or [`Error::FutureRevision`].
    pub fn new(mvcc: &Mvcc, revision: i64) -> Result<Self, Error> {
        // A compaction to revision 0, which is no revision, must not stand in for the current one;
        // in etcd 3.7.1 it does, so that a member's data are not compared any more.
        if revision > 0
            && let Some(hash) = mvcc.compaction().remembered().get(revision)
        {
            return Ok(Self(State::Remembered(hash)));
        }
        let compact_revision = mvcc.compact_revision();
        if revision > 0 && revision < compact_revision {
            return Err(Error::Compacted);
        }
        if revision > mvcc.current_revision() {
            return Err(Error::FutureRevision);
        }
        let revision = if revision == 0 { mvcc.current_revision() } else { revision };
        Ok(Self(State::Selecting(Selection::new(compact_revision, revision, Asker::Reader))))
    }

    /// Whether nothing is left to compute.
    #[must_use]
    pub fn is_remembered(&self) -> bool {
        matches!(self.0, State::Remembered(_))
    }

    /// Do a step; the hash, once it is complete.
    ///
    /// # Errors
    /// [`Damage`] if the disk does not give back what was written.
    pub fn step(&mut self, mvcc: &Mvcc) -> Result<Option<KvHash>, Damage> {
        let current_revision = mvcc.current_revision();
        match &mut self.0 {
            State::Remembered(hash) => Ok(Some(hash.at(current_revision))),
            State::Selecting(selection) => {
                selection.step(mvcc);
                if selection.is_complete() {
                    let Selection { revision, compact_revision, .. } = *selection;
                    let chosen = selection.take();
                    let (hashed, crc) = (0, empty());
                    self.0 = State::Reading { revision, compact_revision, chosen, hashed, crc };
                }
                Ok(None)
            }
            State::Reading { revision, compact_revision, chosen, hashed, crc } => {
                for change in chosen.iter().skip(*hashed).take(STEP_RECORDS) {
                    let key = record_key::of(change.revision(), change.is_tombstone);
                    *crc = crc32c::crc32c_append(*crc, key.as_ref());
                    *crc = crc32c::crc32c_append(*crc, &mvcc.body(change.revision())?);
                    *hashed += 1;
                }
                let (revision, compact_revision, hash) = (*revision, *compact_revision, *crc);
                let is_complete = *hashed == chosen.len();
                Ok(is_complete.then_some(KvHash {
                    hash,
                    revision,
                    compact_revision,
                    current_revision,
                }))
            }
        }
    }
}
