//! A batch, a seal, a header as bytes, from the log's present state. Bodies are not copied: the
//! pieces of a write are slices of one buffer of heads, and the bodies themselves.

use bytes::Bytes;

use crate::Batch;
use crate::record::{
    FRAME_BYTES, Frame, FrameKind, MarkKind, RECORD_HEADER_BYTES, RecordHeader, RecordKind, SECTOR,
    SegmentHeader, padded_body,
};
use crate::writer::Log;

impl Log {
    pub(crate) fn header(&self, first_number: u64, synced: u64) -> SegmentHeader {
        SegmentHeader {
            sequence: self.current.sequence,
            identity: self.identity,
            first_number,
            previous_segment: self.current.previous.0,
            previous_end: self.current.previous.1,
            synced,
            first_segment: self.first_segment,
            repair_until: self.repair_until,
            hard_state: self.hard_state,
            last: self.extent.end(),
        }
    }

    pub(crate) fn frame(&self, kind: FrameKind, number: u64, batch: &Batch) -> Frame {
        Frame {
            kind,
            number,
            synced: self.durable,
            previous: self.chain,
            content: 0,
            length: SECTOR,
            hard_state: self.hard_state,
            first_index: batch.entries.first().map_or(0, |entry| entry.index),
            last: self.extent.end(),
            entries: u32::try_from(batch.entries.len()).expect("a batch has fewer entries"),
            mark: MarkKind::None,
            first_segment: self.first_segment,
            repair_until: self.repair_until,
            checksum: 0,
        }
    }

    /// The pieces of a batch at an offset of the current segment. Bodies are not copied.
    pub(crate) fn encode(
        &self,
        number: u64,
        batch: &Batch,
        kind: MarkKind,
        offset: u64,
    ) -> (Vec<Bytes>, Frame) {
        let salt = self.current.salt;
        let records = batch
            .mark
            .iter()
            .map(|mark| (RecordKind::Mark, mark.index, mark.term, &mark.conf_state))
            .chain(
                batch
                    .entries
                    .iter()
                    .map(|entry| (RecordKind::Entry, entry.index, entry.term, &entry.body)),
            );
        let count = batch.entries.len() + 1;
        let mut heads = Vec::with_capacity(count * (RECORD_HEADER_BYTES + 8) + SECTOR as usize);
        let mut cuts = Vec::with_capacity(count);
        let mut content = 0;
        let mut position = FRAME_BYTES;
        heads.resize(FRAME_BYTES, 0);
        for (kind, index, term, body) in records {
            let start = heads.len();
            let header = RecordHeader::new(salt, kind, index, term, body);
            header.encode(salt, offset + position as u64, &mut heads);
            content = crc32c::crc32c_append(content, &heads[start..]);
            cuts.push((heads.len(), body));
            heads.resize(heads.len() + padded_body(body.len()) - body.len(), 0);
            position += RECORD_HEADER_BYTES + padded_body(body.len());
        }
        let length = position.next_multiple_of(SECTOR as usize);
        heads.resize(heads.len() + length - position, 0);
        let mut frame = self.frame(FrameKind::Batch, number, batch);
        frame.mark = kind;
        frame.content = content;
        frame.length = length as u64;
        let mut head = Vec::with_capacity(FRAME_BYTES);
        frame.checksum = frame.encode(salt, offset, &mut head);
        heads[..FRAME_BYTES].copy_from_slice(&head);
        let heads = Bytes::from(heads);
        let mut pieces = Vec::with_capacity(2 * cuts.len() + 1);
        let mut from = 0;
        for (cut, body) in cuts {
            pieces.push(heads.slice(from..cut));
            if !body.is_empty() {
                pieces.push(body.clone());
            }
            from = cut;
        }
        if from < heads.len() {
            pieces.push(heads.slice(from..));
        }
        (pieces, frame)
    }
}

/// Bytes that a batch takes.
pub(crate) fn batch_bytes(batch: &Batch) -> u64 {
    let marks = batch.mark.iter().map(|mark| mark.conf_state.len());
    let bodies = batch.entries.iter().map(|entry| entry.body.len());
    let records: usize =
        marks.chain(bodies).map(|body| RECORD_HEADER_BYTES + padded_body(body)).sum();
    ((FRAME_BYTES + records) as u64).next_multiple_of(SECTOR)
}
