//! Reads an index file: locations are put into their table, keys handed on, in one pass.

use bytes::Bytes;
use quorate_disk::Files;

use super::IndexSink;
use super::format::{
    self, BLOCK_HEADER_BYTES, BlockKind, FileKind, INDEX_HEADER_BYTES, LocationCodec, Manifest,
};
use super::restore::{DamageReason, Refusal};
use crate::log::locations::{Locations, Slot};
use crate::log::segments::Segments;
use crate::revision::Revision;

/// Bytes read at once, unless a block is larger.
const WINDOW_BYTES: u64 = 4 << 20;

/// Read the checkpoint's index file; `segments` get their live bytes and large records.
pub(crate) fn load(
    files: &dyn Files,
    manifest: &Manifest,
    segments: &mut Segments,
    sink: &mut dyn IndexSink,
) -> Result<Locations, Refusal> {
    let name = format::file_name(manifest.number, FileKind::Index);
    let mut loader = Loader {
        reader: Reader {
            files,
            name: &name,
            length: manifest.index_bytes,
            window_start: 0,
            window: Bytes::new(),
        },
        manifest,
        segments,
        sink,
        locations: Locations::default(),
        newest: None,
        records: 0,
        keys: 0,
        key: Vec::new(),
    };
    loader.run()?;
    Ok(loader.locations)
}

/// A file, read from front to back.
struct Reader<'a> {
    files: &'a dyn Files,
    name: &'a str,
    length: u64,
    window_start: u64,
    window: Bytes,
}

struct Loader<'a> {
    reader: Reader<'a>,
    manifest: &'a Manifest,
    segments: &'a mut Segments,
    sink: &'a mut dyn IndexSink,
    locations: Locations,
    newest: Option<Revision>,
    records: u64,
    keys: u64,
    key: Vec<u8>,
}

impl Reader<'_> {
    fn damaged(&self, offset: u64) -> Refusal {
        Refusal::damage(self.name, offset, DamageReason::Damaged)
    }

    fn read(&mut self, offset: u64, length: u64) -> Result<Bytes, Refusal> {
        let end = offset.checked_add(length).filter(|end| *end <= self.length);
        let end = end.ok_or_else(|| self.damaged(offset))?;
        if offset < self.window_start || end > self.window_start + self.window.len() as u64 {
            let wanted = WINDOW_BYTES.max(length).min(self.length - offset);
            let wanted = usize::try_from(wanted).map_err(|_| self.damaged(offset))?;
            self.window = self
                .files
                .read(self.name, offset, wanted)
                .map_err(|error| Refusal::read(self.name, offset, &error))?;
            self.window_start = offset;
        }
        let from = (offset - self.window_start) as usize;
        let to = from + length as usize;
        if to > self.window.len() {
            return Err(Refusal::damage(self.name, offset, DamageReason::Short));
        }
        Ok(self.window.slice(from..to))
    }
}

impl Loader<'_> {
    fn run(&mut self) -> Result<(), Refusal> {
        let number = self.manifest.number;
        let header = self.reader.read(0, INDEX_HEADER_BYTES as u64)?;
        format::check_index_header(&header, number)
            .map_err(|error| Refusal::format(self.reader.name, error, format::VERSION))?;
        let mut offset = INDEX_HEADER_BYTES as u64;
        loop {
            let header = self.reader.read(offset, BLOCK_HEADER_BYTES as u64)?;
            let length = format::block_body_bytes(&header);
            let length = length.ok_or_else(|| self.reader.damaged(offset))?;
            let body = self.reader.read(offset + BLOCK_HEADER_BYTES as u64, length)?;
            let kind = format::check_block(number, offset, &header, &body);
            let is_sound = match kind {
                Some(BlockKind::Locations) => self.add_locations(&body).is_some(),
                Some(BlockKind::Keys) => self.add_keys(&body).is_some(),
                Some(BlockKind::End) => true,
                None => false,
            };
            if !is_sound {
                return Err(self.reader.damaged(offset));
            }
            offset += BLOCK_HEADER_BYTES as u64 + length;
            if kind == Some(BlockKind::End) {
                return self.check_totals(offset);
            }
        }
    }

    fn add_locations(&mut self, body: &[u8]) -> Option<()> {
        let mut rest = body;
        let mut codec = LocationCodec::default();
        while !rest.is_empty() {
            let (revision, place) = codec.decode(&mut rest)?;
            if self.newest.is_some_and(|newest| revision <= newest) {
                return None;
            }
            self.newest = Some(revision);
            let segment = self.segments.get_mut(place.segment)?;
            segment.live = segment.live.checked_add(place.size)?;
            if place.offset + place.size > segment.length || segment.live > segment.length {
                return None;
            }
            segment.note_size(place);
            self.locations.set(revision, Slot::on_disk(place));
            self.records += 1;
        }
        Some(())
    }

    fn add_keys(&mut self, body: &[u8]) -> Option<()> {
        let mut rest = body;
        let mut key = Vec::new();
        while !rest.is_empty() {
            let versions = format::decode_key(&mut rest, &mut key)?;
            if self.keys > 0 && key <= self.key {
                return None;
            }
            self.sink.add(&key, versions).ok()?;
            self.key.clone_from(&key);
            self.keys += 1;
        }
        Some(())
    }

    fn check_totals(&self, end: u64) -> Result<(), Refusal> {
        let Manifest { index_bytes, keys, records, segments, .. } = self.manifest;
        let live = segments.iter().all(|entry| {
            self.segments.get(entry.number).is_some_and(|segment| segment.live == entry.live)
        });
        let is_whole = *index_bytes == end && *keys == self.keys && *records == self.records;
        if is_whole && live { Ok(()) } else { Err(self.reader.damaged(end)) }
    }
}
