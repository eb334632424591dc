//! The job that writes a checkpoint.
//!
//! ```text
//!   begin: pin state, index, log ──► the tail is flushed ──► locations ──► keys, a chunk a step
//!     ──► sync index file ──► sync names ──► manifest under a temporary name, synced
//!     ──► rename ──► sync names: durable ──► remove the checkpoint before the last one
//! ```
//! Apply goes on all the time. Until the rename, the checkpoint does not exist; after it, it is
//! whole.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use quorate_disk::{Operation, Path};

use super::format::{
    self, BlockKind, FileKind, INDEX_HEADER_BYTES, KeyEncoder, LocationCodec, Manifest,
    SegmentEntry,
};
use super::{Exported, Identity, IndexChunk, Source, State};
use crate::log::locations::Place;
use crate::log::pin::{self, Pin};
use crate::revision::Revision;

/// Keys taken from the index under one lock.
const KEYS_A_STEP: usize = 512;

/// Bytes of a block's body, about.
const BLOCK_BYTES: usize = 256 << 10;

/// Bytes of blocks that are written at once, about.
const WRITE_BYTES: usize = 1 << 20;

/// What the writer wants next.
#[derive(Debug)]
pub(crate) enum Advance {
    /// The tail must be flushed before it goes on.
    Flush,
    /// Operations to carry out.
    Submit(Vec<Operation>),
    /// Call again.
    Again,
    /// The checkpoint is durable.
    Done(Kept),
}

/// A durable checkpoint, as later work needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) number: u64,
    pub(crate) applied_index: u64,
    pub(crate) index_bytes: u64,
    pub(crate) keys: u64,
    pub(crate) segments: Vec<u64>,
}

impl Kept {
    pub(crate) fn of(manifest: &Manifest) -> Self {
        Self {
            number: manifest.number,
            applied_index: manifest.state.applied_index,
            index_bytes: manifest.index_bytes,
            keys: manifest.keys,
            segments: manifest.segments.iter().map(|segment| segment.id).collect(),
        }
    }
}

/// The job.
pub(crate) struct CheckpointWriter {
    number: u64,
    identity: Identity,
    stage: Stage,
    pinned: Option<Pinned>,
    /// Files that may exist, to be removed if the job ends before its time, manifests first.
    files: Vec<Path>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Begin,
    Flushed,
    Locations,
    Keys,
    SyncIndex,
    SyncNames,
    Manifest,
    Rename,
    Finish,
}

struct Pinned {
    state: State,
    pin: Pin,
    /// Live bytes of each segment, by number.
    live: BTreeMap<u32, u64>,
    records: u64,
    keys: u64,
    next_revision: Option<Revision>,
    last_key: Option<Bytes>,
    /// Keys that are in no block yet.
    chunk: IndexChunk,
    is_exported: bool,
    blocks: Blocks,
    next_segment_id: u64,
}

/// The blocks of the index file that are not written yet.
struct Blocks {
    number: u64,
    path: Path,
    /// Where the next write goes.
    start: u64,
    /// Where the next block goes.
    end: u64,
    pieces: Vec<Bytes>,
    open: BytesMut,
    keys: KeyEncoder,
}

impl CheckpointWriter {
    pub(crate) fn new(number: u64, identity: Identity) -> Self {
        Self { number, identity, stage: Stage::Begin, pinned: None, files: Vec::new() }
    }

    fn path(&self, kind: FileKind) -> Path {
        format::file_name(self.number, kind).into()
    }

    /// What can be done without the store: encode locations, and the keys taken last.
    pub(crate) fn prepare(&mut self) {
        let Some(pinned) = &mut self.pinned else {
            return;
        };
        match self.stage {
            Stage::Locations => pinned.encode_locations(),
            Stage::Keys => pinned.encode_keys(),
            _ => {}
        }
    }

    /// Go on; what was submitted has succeeded.
    pub(crate) fn advance<S: Source>(&mut self, source: &mut S) -> Advance {
        match (self.stage, &mut self.pinned) {
            (Stage::Begin, _) | (_, None) => self.begin(source),
            (Stage::Flushed, Some(pinned)) => {
                // What was in the tail has places by now, maybe in segments that are new.
                pinned.pin.segments = pin::pin_segments(&source.log().segments);
                pinned.next_segment_id = source.log().segments.next_id();
                self.stage = Stage::Locations;
                let path = pinned.blocks.path.clone();
                self.files.push(path.clone());
                pinned.blocks.pieces.push(format::index_header(self.number));
                Advance::Submit(vec![Operation::Create { path, size: 0 }])
            }
            (Stage::Locations, Some(pinned)) => {
                if pinned.next_revision.is_none() {
                    self.stage = Stage::Keys;
                }
                pinned.blocks.write_if_large()
            }
            (Stage::Keys, Some(pinned)) => {
                pinned.encode_keys();
                if pinned.is_exported {
                    pinned.blocks.close(BlockKind::Keys);
                    pinned.blocks.close_end();
                    source.unpin();
                    self.stage = Stage::SyncIndex;
                    return pinned.blocks.write();
                }
                pinned.export(source);
                pinned.blocks.write_if_large()
            }
            (Stage::SyncIndex, Some(pinned)) => {
                self.stage = Stage::SyncNames;
                Advance::Submit(vec![Operation::Sync { path: pinned.blocks.path.clone() }])
            }
            (Stage::SyncNames, _) => {
                self.stage = Stage::Manifest;
                Advance::Submit(vec![Operation::SyncDirectory { path: "".into() }])
            }
            (Stage::Manifest, Some(pinned)) => {
                let data = pinned.manifest(self.number, self.identity).encode();
                self.write_manifest(data)
            }
            (Stage::Rename, _) => self.rename(),
            (Stage::Finish, Some(pinned)) => {
                Advance::Done(Kept::of(&pinned.manifest(self.number, self.identity)))
            }
        }
    }

    fn begin<S: Source>(&mut self, source: &mut S) -> Advance {
        let state = source.pin();
        assert_eq!(state.applied_index, source.applied_index(), "a pin is of what is applied");
        let pin = source.log_mut().pin();
        self.pinned = Some(Pinned {
            state,
            pin,
            live: BTreeMap::new(),
            records: 0,
            keys: 0,
            next_revision: Some(Revision::new(i64::MIN, 0)),
            last_key: None,
            chunk: IndexChunk::default(),
            is_exported: false,
            blocks: Blocks {
                number: self.number,
                path: self.path(FileKind::Index),
                start: 0,
                end: INDEX_HEADER_BYTES as u64,
                pieces: Vec::new(),
                open: BytesMut::new(),
                keys: KeyEncoder::default(),
            },
            next_segment_id: 0,
        });
        self.stage = Stage::Flushed;
        Advance::Flush
    }

    fn write_manifest(&mut self, data: Bytes) -> Advance {
        let path = self.path(FileKind::NewManifest);
        self.files.insert(0, path.clone());
        self.stage = Stage::Rename;
        Advance::Submit(vec![
            Operation::Create { path: path.clone(), size: 0 },
            Operation::Write { path: path.clone(), offset: 0, data: vec![data] },
            Operation::Sync { path },
        ])
    }

    fn rename(&mut self) -> Advance {
        let from = self.path(FileKind::NewManifest);
        let to = self.path(FileKind::Manifest);
        self.files.insert(0, to.clone());
        self.stage = Stage::Finish;
        Advance::Submit(vec![
            Operation::Rename { from, to },
            Operation::SyncDirectory { path: "".into() },
        ])
    }

    /// The job ends before its time: the files that may exist, to be removed in this order.
    pub(crate) fn abandon<S: Source>(self, source: &mut S) {
        source.unpin();
        source.log_mut().garbage.extend(self.files);
    }
}

impl Pinned {
    fn encode_locations(&mut self) {
        let Some(next) = self.next_revision else {
            return;
        };
        let mut codec = LocationCodec::default();
        for (revision, slot) in self.pin.locations.iter_from(next) {
            if self.blocks.open.len() >= BLOCK_BYTES {
                self.next_revision = Some(revision);
                self.blocks.close(BlockKind::Locations);
                return;
            }
            let place = match slot.place() {
                Place::Disk(place) => self.pin.sized(place),
                Place::Tail(sequence) => self.pin.batches.place(sequence),
            };
            let place = place.expect("every record that is pinned is in a segment by now");
            *self.live.entry(place.segment).or_default() += place.size;
            self.records += 1;
            codec.encode(revision, place, &mut self.blocks.open);
        }
        self.next_revision = None;
        self.blocks.close(BlockKind::Locations);
    }

    fn export<S: Source>(&mut self, source: &S) {
        let after = self.last_key.as_deref();
        let exported = source.export(after, self.state.revision, KEYS_A_STEP, &mut self.chunk);
        match self.chunk.entries.last() {
            Some((key, _)) => self.last_key = Some(key.clone()),
            None => assert_eq!(exported, Exported::Wholly, "an export must get on"),
        }
        self.is_exported = exported == Exported::Wholly;
    }

    fn encode_keys(&mut self) {
        for (key, versions) in self.chunk.entries.drain(..) {
            self.keys += 1;
            self.blocks.push_key(&key, &versions);
        }
    }

    fn manifest(&self, number: u64, identity: Identity) -> Manifest {
        let entry = |(number, live): (&u32, &u64)| {
            let segment = self.pin.segments.get(number).expect("a segment with records is pinned");
            let (id, length) = (segment.file.id, segment.length);
            SegmentEntry { number: *number, id, length, live: *live }
        };
        Manifest {
            number,
            identity,
            state: self.state.clone(),
            next_segment_id: self.next_segment_id,
            index_bytes: self.blocks.end,
            keys: self.keys,
            records: self.records,
            segments: self.live.iter().map(entry).collect(),
        }
    }
}

impl Blocks {
    fn push_key(&mut self, key: &Bytes, versions: &[u8]) {
        if self.open.len() >= BLOCK_BYTES {
            self.close(BlockKind::Keys);
        }
        self.keys.encode(key, versions, &mut self.open);
    }

    /// What is open becomes a block.
    fn close(&mut self, kind: BlockKind) {
        if self.open.is_empty() {
            return;
        }
        let body = self.open.split().freeze();
        self.add(kind, body);
        self.keys = KeyEncoder::default();
    }

    fn close_end(&mut self) {
        self.add(BlockKind::End, Bytes::new());
    }

    fn add(&mut self, kind: BlockKind, body: Bytes) {
        let header = format::block_header(self.number, self.end, kind, &body);
        self.end += (header.len() + body.len()) as u64;
        self.pieces.extend([header, body]);
    }

    fn write_if_large(&mut self) -> Advance {
        if self.pieces.iter().map(Bytes::len).sum::<usize>() < WRITE_BYTES {
            return Advance::Again;
        }
        self.write()
    }

    fn write(&mut self) -> Advance {
        let data = std::mem::take(&mut self.pieces);
        let offset = std::mem::replace(&mut self.start, self.end);
        Advance::Submit(vec![Operation::Write { path: self.path.clone(), offset, data }])
    }
}
