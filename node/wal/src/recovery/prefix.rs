//! The intact prefix: batches in order, as long as number, chain and checksums fit.

use quorate_disk::Files;

use super::folder::{Folder, State};
use super::{OpenError, absorb, io_error};
use crate::extent::Extent;
use crate::reader::{Contents, Image};
use crate::record::{
    Frame, FrameKind, MarkKind, SECTOR, SEGMENT_HEADER_BYTES, Salt, SegmentHeader,
};
use crate::segment::{Closed, segment_path};
use crate::{End, Entry, HardState, Mark};

/// Where reading in order came to its end.
#[derive(Debug)]
pub(super) struct Stop {
    /// Which of the live segments.
    pub(super) live: usize,
    pub(super) offset: u64,
    /// What is there could not be read.
    pub(super) unreadable: bool,
    /// A header or batch of the log is behind: it is no end.
    pub(super) is_hole: bool,
}

/// The intact prefix.
pub(super) struct Prefix {
    pub(super) expected: u64,
    pub(super) chain: Option<u32>,
    pub(super) synced: u64,
    pub(super) hard_state: HardState,
    pub(super) mark: Option<Mark>,
    pub(super) entries: Vec<Entry>,
    pub(super) extent: Extent,
    pub(super) repair_until: End,
    pub(super) closed: Vec<Closed>,
    /// The last segment of the prefix and where it ends.
    pub(super) current: Option<(SegmentHeader, u64, u64, u64)>,
    /// Segment and number of its newest batch, for each segment.
    pub(super) newest: Vec<(u64, u64)>,
}

impl Prefix {
    pub(super) fn new() -> Self {
        Self {
            expected: 1,
            chain: None,
            synced: 0,
            hard_state: HardState::default(),
            mark: None,
            entries: Vec::new(),
            extent: Extent::default(),
            repair_until: End::default(),
            closed: Vec::new(),
            current: None,
            newest: Vec::new(),
        }
    }

    /// Read batches in order as far as they are intact.
    pub(super) fn accept(&mut self, files: &dyn Files, folder: &Folder) -> Result<Stop, OpenError> {
        let mut stop = Stop { live: 0, offset: 0, unreadable: false, is_hole: true };
        for (at, live) in folder.live.iter().enumerate() {
            stop = Stop { live: at, offset: 0, unreadable: false, is_hole: true };
            let State::Begun(header) = live.state else { return Ok(stop) };
            if at > 0 && header.first_number < self.expected {
                return Ok(stop);
            }
            self.expected = header.first_number;
            self.repair_until = header.repair_until;
            absorb(&mut self.hard_state, header.hard_state);
            let path = segment_path(live.sequence);
            let image = Image::load(files, &path).map_err(io_error(&path))?;
            let limit = match folder.live.get(at + 1).map(|next| next.state) {
                Some(State::Begun(next)) if next.previous_segment == live.sequence => {
                    Some(next.previous_end)
                }
                _ => None,
            };
            if let Some((header, _, max_index, length)) = self.current.take() {
                let sequence = header.sequence;
                self.closed.push(Closed { sequence, max_index, length });
            }
            self.synced = self.synced.max(header.synced.min(self.expected.saturating_sub(1)));
            let offset = self.accept_segment(&image, &header, limit);
            stop.offset = offset;
            stop.is_hole = limit.is_some();
            let salt = Salt::new(&header.identity, header.sequence);
            let end = offset + image.frame(salt, offset).map_or(SECTOR, |frame| frame.length);
            let next = folder.live.get(at + 1).map(|next| next.state);
            if limit != Some(offset) && (limit.is_some() || next != Some(State::Missing)) {
                stop.unreadable = image.is_unreadable(offset, end);
                return Ok(stop);
            }
        }
        Ok(stop)
    }

    /// Where the intact batches of a segment end.
    fn accept_segment(&mut self, image: &Image, header: &SegmentHeader, limit: Option<u64>) -> u64 {
        let salt = Salt::new(&header.identity, header.sequence);
        let end = limit.unwrap_or(image.length());
        let mut offset = SEGMENT_HEADER_BYTES;
        let mut max_index = 0;
        while offset < end {
            let frame = image.frame(salt, offset);
            offset = match frame {
                Some(frame) if self.is_seal(&frame) => {
                    self.synced = self.synced.max(frame.number);
                    offset + SECTOR
                }
                Some(frame) if self.is_next(&frame) && frame.length <= end - offset => {
                    let contents = image.contents(salt, offset, &frame);
                    let last = contents.entries.last().map_or(0, |entry| entry.index);
                    if !self.accept_batch(&frame, contents) {
                        break;
                    }
                    max_index = max_index.max(last);
                    self.newest.retain(|(sequence, _)| *sequence != header.sequence);
                    self.newest.push((header.sequence, frame.number));
                    offset + frame.length
                }
                // A seal that is lost, and no batch with it.
                _ if self.chain.is_some() && self.goes_on(image, salt, offset + SECTOR, limit) => {
                    offset + SECTOR
                }
                _ => break,
            };
        }
        self.current = Some((*header, offset, max_index, image.length()));
        offset
    }

    fn goes_on(&self, image: &Image, salt: Salt, offset: u64, limit: Option<u64>) -> bool {
        limit == Some(offset) || image.frame(salt, offset).is_some_and(|frame| self.is_next(&frame))
    }

    fn is_seal(&self, frame: &Frame) -> bool {
        frame.kind == FrameKind::Seal
            && frame.number + 1 == self.expected
            && self.chain == Some(frame.previous)
    }

    fn is_next(&self, frame: &Frame) -> bool {
        frame.kind == FrameKind::Batch
            && frame.number == self.expected
            && self.chain.is_none_or(|chain| chain == frame.previous)
    }

    fn accept_batch(&mut self, frame: &Frame, contents: Contents) -> bool {
        let Contents { is_whole, mark, entries, .. } = contents;
        let first = entries.first().map(|entry| entry.index);
        let ascend = first.is_none_or(|first| {
            entries.iter().map(|entry| entry.index).eq((first..).take(entries.len()))
        });
        if !is_whole || !ascend {
            return false;
        }
        let mut extent = self.extent.clone();
        if let Some(mark) = &mark {
            extent.mark(mark, frame.mark);
        }
        // The first entries after segments that were given back need not join the mark.
        if first.is_some_and(|first| extent.has_entries() && !extent.fits(first)) {
            return false;
        }
        extent.append(&entries);
        self.extent = extent;
        if let Some(mark) = mark {
            if frame.mark == MarkKind::Keeps {
                self.entries.retain(|entry| entry.index > mark.index);
            } else {
                self.entries.clear();
            }
            self.mark = Some(mark);
        }
        if let Some(first) = first {
            while self.entries.last().is_some_and(|entry| entry.index >= first) {
                self.entries.pop();
            }
            self.entries.extend(entries);
        }
        self.hard_state = frame.hard_state;
        self.synced = self.synced.max(frame.synced);
        self.repair_until = frame.repair_until;
        self.chain = Some(frame.checksum);
        self.expected += 1;
        true
    }
}
