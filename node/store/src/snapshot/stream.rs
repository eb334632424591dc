//! A store's snapshot as a stream of bytes.

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::buckets::{BUCKETS, KEY_BUCKET, SmallBuckets};
use super::record_key;
use crate::bbolt::{Sizing, WriteError, Writer};
use crate::log::{ChangeLimit, Damage, Record, RevisionLog};

/// What one step reads from the log: little enough to let apply in between, and about what a
/// stream sends at once.
const STEP: ChangeLimit = ChangeLimit { revisions: 512, bytes: 256 << 10 };

/// What follows the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trailer {
    /// Nothing: members among each other.
    None,
    /// Its SHA-256, 32 bytes: clients and backups.
    Sha256,
}

/// What a step gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing to send yet.
    Again,
    /// The next bytes of the stream.
    Chunk(Bytes),
    /// Everything has been sent.
    End,
}

/// Why a snapshot cannot be streamed. What was sent is worthless.
#[derive(Debug, Error)]
pub enum StreamError {
    /// The log cannot be read.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// The log's records at or below the revision are not those of the sizing pass.
    #[error("the log changed below revision {revision} while its snapshot was streamed")]
    Moved {
        /// The snapshot's revision.
        revision: i64,
    },
    /// The log or a bucket holds what a bbolt file cannot.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Streams one snapshot. Call [`SnapshotStream::step`] until it gives [`Step::End`]; between two
/// steps the log may grow, but must keep every record at or below the snapshot's revision.
pub struct SnapshotStream {
    small: SmallBuckets,
    revision: i64,
    phase: Phase,
    /// The main revision that is read next.
    next_main: i64,
    tally: Tally,
    sized: Option<Sized>,
    digest: Option<Sha256>,
}

enum Phase {
    Sizing(Sizing),
    Writing(Writer),
    Ended,
}

/// What the sizing pass has found.
struct Sized {
    tally: Tally,
    stream_bytes: u64,
}

impl SnapshotStream {
    /// A snapshot of the log up to and with `revision`, with the small buckets of that moment.
    #[must_use]
    pub fn new(small: SmallBuckets, revision: i64, trailer: Trailer) -> Self {
        let digest = match trailer {
            Trailer::None => None,
            Trailer::Sha256 => Some(Sha256::new()),
        };
        let mut sizing = Sizing::new();
        for name in small_before_key() {
            size_bucket(&mut sizing, &small, name);
        }
        sizing.begin_bucket(KEY_BUCKET);
        Self {
            small,
            revision,
            phase: Phase::Sizing(sizing),
            next_main: 0,
            tally: Tally::default(),
            sized: None,
            digest,
        }
    }

    /// The stream's length in bytes, trailer included, once the sizing pass is over: before the
    /// first chunk.
    #[must_use]
    pub fn stream_bytes(&self) -> Option<u64> {
        self.sized.as_ref().map(|sized| sized.stream_bytes)
    }

    /// Go on by a bounded amount of work.
    ///
    /// # Errors
    /// A [`StreamError`]; the stream is then over.
    pub fn step(&mut self, log: &RevisionLog) -> Result<Step, StreamError> {
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Sizing(sizing) => self.size(sizing, log),
            Phase::Writing(writer) => self.write(writer, log),
            Phase::Ended => Ok(Step::End),
        }
    }

    fn size(&mut self, mut sizing: Sizing, log: &RevisionLog) -> Result<Step, StreamError> {
        let records = self.next_records(log)?;
        if !records.is_empty() {
            for Record { revision: _, tombstone, body } in &records {
                sizing.add(record_key::key_bytes(*tombstone), body.len());
            }
            self.phase = Phase::Sizing(sizing);
            return Ok(Step::Again);
        }
        for name in small_after_key() {
            size_bucket(&mut sizing, &self.small, name);
        }
        let layout = sizing.finish();
        let trailer_bytes = if self.digest.is_some() { Sha256::output_size() as u64 } else { 0 };
        self.sized = Some(Sized {
            tally: std::mem::take(&mut self.tally),
            stream_bytes: layout.file_bytes() + trailer_bytes,
        });
        self.next_main = 0;
        let mut writer = Writer::new(layout);
        for name in small_before_key() {
            write_bucket(&mut writer, &self.small, name)?;
        }
        writer.begin_bucket(KEY_BUCKET)?;
        self.phase = Phase::Writing(writer);
        Ok(Step::Again)
    }

    fn write(&mut self, mut writer: Writer, log: &RevisionLog) -> Result<Step, StreamError> {
        let records = self.next_records(log)?;
        if !records.is_empty() {
            for Record { revision, tombstone, body } in records {
                writer.put(record_key::encode(revision, tombstone), body)?;
            }
            let chunk = writer.take();
            self.phase = Phase::Writing(writer);
            return Ok(self.chunk(chunk));
        }
        let moved = StreamError::Moved { revision: self.revision };
        if self.sized.as_ref().is_none_or(|sized| sized.tally != self.tally) {
            return Err(moved);
        }
        for name in small_after_key() {
            write_bucket(&mut writer, &self.small, name)?;
        }
        let mut chunk = BytesMut::from(writer.take());
        chunk.extend_from_slice(&writer.finish()?);
        if let Some(mut digest) = self.digest.take() {
            digest.update(&chunk);
            chunk.extend_from_slice(&digest.finalize());
        }
        Ok(Step::Chunk(chunk.freeze()))
    }

    fn chunk(&mut self, chunk: Bytes) -> Step {
        if chunk.is_empty() {
            return Step::Again;
        }
        if let Some(digest) = &mut self.digest {
            digest.update(&chunk);
        }
        Step::Chunk(chunk)
    }

    /// The next records at or below the snapshot's revision; none at its end.
    fn next_records(&mut self, log: &RevisionLog) -> Result<Vec<Record>, StreamError> {
        if self.next_main > self.revision {
            return Ok(Vec::new());
        }
        let mut records = log.changes(self.next_main, STEP)?;
        records.truncate(records.partition_point(|r| r.revision.main <= self.revision));
        if let Some(last) = records.last() {
            self.next_main = last.revision.main.saturating_add(1);
        }
        for record in &records {
            self.tally.add(record);
        }
        Ok(records)
    }
}

fn small_before_key() -> impl Iterator<Item = &'static str> {
    BUCKETS.into_iter().take_while(|name| *name != KEY_BUCKET)
}

fn small_after_key() -> impl Iterator<Item = &'static str> {
    BUCKETS.into_iter().skip_while(|name| *name != KEY_BUCKET).skip(1)
}

fn size_bucket(sizing: &mut Sizing, small: &SmallBuckets, name: &str) {
    sizing.begin_bucket(name);
    for (key, value) in small.pairs(name) {
        sizing.add(key.len(), value.len());
    }
}

fn write_bucket(writer: &mut Writer, small: &SmallBuckets, name: &str) -> Result<(), WriteError> {
    writer.begin_bucket(name)?;
    for (key, value) in small.pairs(name) {
        writer.put(key.clone(), value.clone())?;
    }
    Ok(())
}

/// Tells whether two passes have seen the same records.
#[derive(Default, PartialEq, Eq)]
struct Tally {
    records: u64,
    digest: u64,
}

impl Tally {
    fn add(&mut self, record: &Record) {
        let Record { revision, tombstone, body } = record;
        self.records += 1;
        for part in [
            revision.main as u64,
            revision.sub as u64,
            u64::from(*tombstone),
            body.len() as u64,
        ] {
            // A multiplicative mix is enough: nobody chooses the records against it.
            let mixed = (self.digest.rotate_left(5) ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            self.digest = mixed;
        }
    }
}
