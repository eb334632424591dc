//! What is readable behind the intact prefix, and what it proves.

use quorate_disk::{Files, Path};

use super::folder::{Folder, State};
use super::prefix::{Prefix, Stop};
use super::{OpenError, absorb, io_error};
use crate::reader::Image;
use crate::record::{
    Frame, FrameKind, RECORD_HEADER_BYTES, RecordHeader, SECTOR, SEGMENT_HEADER_BYTES, Salt,
    SegmentHeader,
};
use crate::segment::segment_path;
use crate::{End, Entry, HardState};

/// What is found behind the intact prefix.
#[derive(Default)]
pub(super) struct Evidence {
    /// The highest batch that was durable for certain.
    pub(super) proof: u64,
    pub(super) max_index: u64,
    pub(super) first_index: Option<u64>,
    /// The head of the first batch that is missing is readable.
    pub(super) is_hole_known: bool,
    pub(super) hard_state: HardState,
    /// Where the log ended and its repair ends, as the newest readable frame or header says.
    pub(super) end: Option<End>,
    pub(super) repair_until: Option<End>,
    pub(super) intact: u64,
    pub(super) known_lost: Vec<(u64, u64)>,
    pub(super) salvaged: Vec<Entry>,
    pub(super) last_number: u64,
    /// A segment behind cannot be read where its header should be: it may be begun.
    pub(super) is_segment_unreadable: bool,
    /// There is damage behind the newest frame.
    pub(super) is_end_damaged: bool,
    pub(super) wipe: Vec<(Path, u64, u64)>,
}

impl Evidence {
    pub(super) fn collect(
        files: &dyn Files,
        folder: &Folder,
        prefix: &Prefix,
        stop: &Stop,
    ) -> Result<Self, OpenError> {
        let mut evidence = Self { is_end_damaged: stop.unreadable, ..Self::default() };
        for (at, live) in folder.live.iter().enumerate().skip(stop.live) {
            let path = segment_path(live.sequence);
            if let State::Begun(header) = live.state {
                evidence.add_header(&header, at > stop.live);
            }
            if live.state == State::Missing {
                evidence.is_end_damaged = true;
                continue;
            }
            let image = Image::load(files, &path).map_err(io_error(&path))?;
            if at > stop.live && live.state == State::Headless {
                evidence.is_segment_unreadable |= image.is_unreadable(0, SEGMENT_HEADER_BYTES);
            }
            let from = if at == stop.live { stop.offset } else { 0 };
            let limit = match folder.live.get(at + 1).map(|next| next.state) {
                Some(State::Begun(next)) if next.previous_segment == live.sequence => {
                    next.previous_end.min(image.length())
                }
                _ => image.length(),
            };
            let salt = Salt::new(&folder.identity, live.sequence);
            let mut end = evidence.scan(&image, salt, from, limit, prefix.expected);
            if at > stop.live && live.state != State::Headless {
                end = end.max(SEGMENT_HEADER_BYTES);
            }
            if end > from {
                evidence.wipe.push((path, from, end));
            }
        }
        Ok(evidence)
    }

    fn add_header(&mut self, header: &SegmentHeader, is_behind: bool) {
        self.proof = self.proof.max(header.synced);
        if is_behind {
            absorb(&mut self.hard_state, header.hard_state);
            self.max_index = self.max_index.max(header.last.index);
            self.end = Some(header.last);
            self.repair_until = Some(header.repair_until);
            self.is_end_damaged = false;
        }
    }

    /// Look at every sector; where the traces end.
    fn scan(&mut self, image: &Image, salt: Salt, from: u64, limit: u64, expected: u64) -> u64 {
        let mut offset = from;
        let mut end = from;
        while offset < limit {
            if let Some(frame) = image.frame(salt, offset) {
                self.add_frame(image, salt, offset, &frame, expected);
                offset = offset.saturating_add(frame.length).min(limit);
                end = offset;
                continue;
            }
            if image.is_unreadable(offset, offset + SECTOR) {
                self.is_end_damaged = true;
            }
            let sector = image.from(offset);
            for within in (0..SECTOR).step_by(8) {
                let bytes = sector.get(within as usize..).unwrap_or(&[]);
                if bytes.len() >= RECORD_HEADER_BYTES
                    && RecordHeader::decode(salt, offset + within, bytes).is_some()
                {
                    self.is_end_damaged = true;
                    end = offset + SECTOR;
                }
            }
            offset += SECTOR;
        }
        end
    }

    fn add_frame(&mut self, image: &Image, salt: Salt, offset: u64, frame: &Frame, expected: u64) {
        self.proof = self.proof.max(frame.synced);
        self.last_number = self.last_number.max(frame.number);
        self.max_index = self.max_index.max(frame.last.index);
        self.end = Some(frame.last);
        self.repair_until = Some(frame.repair_until);
        absorb(&mut self.hard_state, frame.hard_state);
        // Its own hard state is readable, whatever is before it.
        self.is_end_damaged = false;
        if frame.kind == FrameKind::Seal {
            return;
        }
        self.is_hole_known |= frame.number == expected;
        if frame.first_index > 0 {
            let first = self.first_index.unwrap_or(u64::MAX).min(frame.first_index);
            self.first_index = Some(first);
        }
        let contents = image.contents(salt, offset, frame);
        self.intact += u64::from(contents.is_whole);
        self.known_lost.extend(contents.bodiless);
        self.salvaged.extend(contents.entries);
    }
}
