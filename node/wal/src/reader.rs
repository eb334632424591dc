//! Reading segments: bytes, also from a disk with bad places, and what is in them.

use std::io;

use bytes::Bytes;
use quorate_disk::Files;

use crate::record::{
    FRAME_BYTES, Frame, FrameKind, HeaderCopy, MarkKind, RECORD_HEADER_BYTES, RecordHeader,
    RecordKind, SECTOR, SEGMENT_HEADER_BYTES, Salt, SegmentHeader, padded_body,
};
use crate::{Entry, Mark};

/// Bytes that are read at once where a whole read has failed.
const PIECE: u64 = 64 << 10;

/// A segment's bytes. What could not be read is zero.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) bytes: Vec<u8>,
    /// Sectors that could not be read, ascending.
    pub(crate) unreadable: Vec<u64>,
}

impl Image {
    pub(crate) fn load(files: &dyn Files, path: &str) -> io::Result<Self> {
        let length = files.length(path)?;
        Self::load_part(files, path, length)
    }

    /// Only the header's sectors.
    pub(crate) fn load_header(files: &dyn Files, path: &str) -> io::Result<Self> {
        let length = files.length(path)?;
        Self::load_part(files, path, length.min(SEGMENT_HEADER_BYTES))
    }

    fn load_part(files: &dyn Files, path: &str, length: u64) -> io::Result<Self> {
        let size = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if let Ok(bytes) = files.read(path, 0, size) {
            return Ok(Self { bytes: bytes.into(), unreadable: Vec::new() });
        }
        let mut image = Self { bytes: Vec::with_capacity(size), unreadable: Vec::new() };
        let mut at = 0;
        while at < length {
            let piece = PIECE.min(length - at);
            match files.read(path, at, piece as usize) {
                Ok(bytes) => image.bytes.extend_from_slice(&bytes),
                Err(_) => image.load_sectors(files, path, at, at + piece),
            }
            at += piece;
        }
        Ok(image)
    }

    fn load_sectors(&mut self, files: &dyn Files, path: &str, from: u64, to: u64) {
        let mut at = from;
        while at < to {
            let size = SECTOR.min(to - at);
            match files.read(path, at, size as usize) {
                Ok(bytes) => self.bytes.extend_from_slice(&bytes),
                Err(_) => {
                    self.bytes.resize(self.bytes.len() + size as usize, 0);
                    self.unreadable.push(at / SECTOR);
                }
            }
            at += size;
        }
    }

    pub(crate) fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Whether a sector between two offsets could not be read.
    pub(crate) fn is_unreadable(&self, from: u64, to: u64) -> bool {
        self.unreadable.iter().any(|sector| (from / SECTOR..to.div_ceil(SECTOR)).contains(sector))
    }

    /// The bytes from `offset` on.
    pub(crate) fn from(&self, offset: u64) -> &[u8] {
        usize::try_from(offset).ok().and_then(|at| self.bytes.get(at..)).unwrap_or(&[])
    }

    /// The header, by its first copy that says something: valid, else newer, else damaged.
    pub(crate) fn header(&self) -> HeaderCopy {
        let copies = [0, SECTOR].map(|at| {
            let sector = self.from(at);
            SegmentHeader::decode(sector.get(..SECTOR as usize).unwrap_or(&[]))
        });
        match copies {
            [HeaderCopy::Valid(header), _] | [_, HeaderCopy::Valid(header)] => {
                HeaderCopy::Valid(header)
            }
            [HeaderCopy::Newer(one), HeaderCopy::Newer(two)] if one == two => {
                HeaderCopy::Newer(one)
            }
            [HeaderCopy::Foreign, HeaderCopy::Foreign] => HeaderCopy::Foreign,
            [_, _] => HeaderCopy::Damaged,
        }
    }

    pub(crate) fn frame(&self, salt: Salt, offset: u64) -> Option<Frame> {
        Frame::decode(salt, offset, self.from(offset))
    }

    /// What is in the batch that the frame at `offset` heads.
    pub(crate) fn contents(&self, salt: Salt, offset: u64, frame: &Frame) -> Contents {
        let mut contents = Contents::default();
        let length = usize::try_from(frame.length).unwrap_or(usize::MAX);
        let Some(bytes) = self.from(offset).get(..length) else { return contents };
        let has_mark = frame.mark != MarkKind::None;
        let expected = u64::from(has_mark) + u64::from(frame.entries);
        let mut content = 0;
        let mut at = FRAME_BYTES;
        for _ in 0..expected {
            let rest = bytes.get(at..).unwrap_or(&[]);
            let Some(header) = RecordHeader::decode(salt, offset + at as u64, rest) else {
                return contents;
            };
            let (head, rest) = rest.split_at(RECORD_HEADER_BYTES);
            content = crc32c::crc32c_append(content, head);
            let Some(body) = rest.get(..header.length as usize) else { return contents };
            contents.add(salt, &header, body);
            at += RECORD_HEADER_BYTES + padded_body(body.len());
        }
        let counts =
            contents.entries.len() == frame.entries as usize && contents.mark.is_some() == has_mark;
        contents.is_whole = counts && content == frame.content && frame.kind == FrameKind::Batch;
        contents
    }
}

/// What could be read of a batch.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Everything is there and intact.
    pub(crate) is_whole: bool,
    pub(crate) mark: Option<Mark>,
    pub(crate) entries: Vec<Entry>,
    /// Index and term of entries whose bodies are damaged.
    pub(crate) bodiless: Vec<(u64, u64)>,
}

impl Contents {
    fn add(&mut self, salt: Salt, header: &RecordHeader, body: &[u8]) {
        let RecordHeader { kind, index, term, .. } = *header;
        let is_intact = header.is_body(salt, body);
        // A copy, so that an entry does not keep its whole segment in memory.
        match kind {
            RecordKind::Entry if is_intact => {
                self.entries.push(Entry { index, term, body: Bytes::copy_from_slice(body) });
            }
            RecordKind::Entry => self.bodiless.push((index, term)),
            RecordKind::Mark if is_intact => {
                self.mark = Some(Mark { index, term, conf_state: Bytes::copy_from_slice(body) });
            }
            RecordKind::Mark => {}
        }
    }
}
