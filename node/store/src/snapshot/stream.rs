//! A store's snapshot as a stream of bytes.

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::buckets::{BUCKETS, KEY_BUCKET, SmallBuckets};
use super::record_key;
use crate::bbolt::{Field, Sizing, WriteError, Writer};
use crate::log::{ChangeLimit, Damage, Pin, PinReader, Record};

/// What one step reads from the log: about what a stream sends at once.
const STEP: ChangeLimit = ChangeLimit { revisions: 512, bytes: 256 << 10 };

/// Records that one step measures, which reads nothing.
const SIZING_STEP: usize = 16 << 10;

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
    /// The log or a bucket holds what a bbolt file cannot.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Streams one snapshot. Call [`SnapshotStream::step`] until it gives [`Step::End`].
pub struct SnapshotStream {
    small: SmallBuckets,
    records: PinReader,
    phase: Phase,
    stream_bytes: Option<u64>,
    digest: Option<Sha256>,
}

enum Phase {
    Sizing(Sizing),
    Writing(Writer),
    Ended,
}

impl SnapshotStream {
    /// A snapshot of the log's pinned records, with the small buckets of the same moment.
    #[must_use]
    pub fn new(small: SmallBuckets, log: Pin, trailer: Trailer) -> Self {
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
            records: PinReader::new(log),
            phase: Phase::Sizing(sizing),
            stream_bytes: None,
            digest,
        }
    }

    /// The stream's length in bytes, trailer included, once the sizing pass is over: before the
    /// first chunk.
    #[must_use]
    pub fn stream_bytes(&self) -> Option<u64> {
        self.stream_bytes
    }

    /// Go on by a bounded amount of work, which may read the disk.
    ///
    /// # Errors
    /// A [`StreamError`]; the stream is then over.
    pub fn step(&mut self) -> Result<Step, StreamError> {
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Sizing(sizing) => self.size(sizing),
            Phase::Writing(writer) => self.write(writer),
            Phase::Ended => Ok(Step::End),
        }
    }

    fn size(&mut self, mut sizing: Sizing) -> Result<Step, StreamError> {
        // A key has one byte more or less, which is nothing to a sizing.
        let add = |body_bytes| sizing.add(record_key::KEY_BYTES_MAX, body_bytes);
        if self.records.measure(SIZING_STEP, add)? > 0 {
            self.phase = Phase::Sizing(sizing);
            return Ok(Step::Again);
        }
        for name in small_after_key() {
            size_bucket(&mut sizing, &self.small, name);
        }
        let layout = sizing.finish();
        let trailer_bytes = if self.digest.is_some() { Sha256::output_size() as u64 } else { 0 };
        self.stream_bytes = Some(layout.file_bytes() + trailer_bytes);
        self.records.rewind();
        let mut writer = Writer::new(layout);
        for name in small_before_key() {
            write_bucket(&mut writer, &self.small, name)?;
        }
        writer.begin_bucket(KEY_BUCKET)?;
        self.phase = Phase::Writing(writer);
        Ok(Step::Again)
    }

    fn write(&mut self, mut writer: Writer) -> Result<Step, StreamError> {
        let records = self.records.read(STEP)?;
        if !records.is_empty() {
            for Record { revision, tombstone, body } in records {
                let key = record_key::of(revision, tombstone);
                writer.put(Field::copied(key.as_ref()), body)?;
            }
            let chunk = writer.take();
            self.phase = Phase::Writing(writer);
            return Ok(self.chunk(chunk));
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
