//! Every record of a log directory, also of a damaged one, without changing anything.
//!
//! Bodies are opaque here: who prints a log decodes them. Files of former lives, spares and the
//! reserve hold nothing of the log and are left out; those set aside as damaged are in.

use bytes::Bytes;
use quorate_disk::Files;

use crate::reader::Image;
use crate::record::{Frame, FrameKind, HeaderCopy, SECTOR, SEGMENT_HEADER_BYTES, Salt};
use crate::segment::{damaged_path, segment_path};
use crate::{HardState, Identity};

/// What a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A segment's header.
    Segment {
        /// Whose log.
        identity: Identity,
        /// The segment that it continues, and where that one ends; 0 for none.
        previous: (u64, u64),
    },
    /// The head of a batch.
    Batch {
        /// Its number.
        number: u64,
        /// Batches up to this one were durable when it was written.
        synced: u64,
        /// The hard state from here on.
        hard_state: HardState,
    },
    /// A seal: batches up to this number are durable.
    Seal {
        /// That number.
        number: u64,
    },
    /// A mark: the log starts after its index.
    Mark,
    /// An entry.
    Entry,
    /// Sectors in which nothing of this log is readable, between records that are.
    Gap {
        /// Their bytes.
        length: u64,
    },
}

/// Whether a record can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every checksum fits.
    Intact,
    /// The head is intact, what it heads is not.
    BadBody,
    /// One of the two copies is damaged.
    OneCopy,
    /// Nothing can be read.
    Unreadable,
}

/// A record as it lies in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The file, below the log's folder.
    pub file: String,
    /// Where its batch, seal, gap or header begins, in bytes.
    pub offset: u64,
    /// What it is.
    pub kind: Kind,
    /// The index of an entry or mark; else 0.
    pub index: u64,
    /// The term of an entry, mark or hard state; else 0.
    pub term: u64,
    /// The body of an intact entry, the configuration of an intact mark; else empty.
    pub body: Bytes,
    /// Whether it can be trusted.
    pub verdict: Verdict,
}

/// All records, in the order of files and offsets; a file at a time is in memory.
///
/// # Errors
/// If the folder cannot be listed or a file's length not be read. What cannot be read inside a
/// file is [`Verdict::Unreadable`].
pub fn records(
    files: &dyn Files,
) -> std::io::Result<impl Iterator<Item = std::io::Result<Vec<Record>>>> {
    let mut found = Vec::new();
    for name in files.list("")? {
        let stem = name.strip_suffix(".damaged").unwrap_or(&name).strip_suffix(".log");
        let sequence = stem.and_then(|stem| u64::from_str_radix(stem, 16).ok());
        if let Some(sequence) = sequence
            && (*name == *segment_path(sequence) || *name == *damaged_path(sequence))
        {
            found.push((name, sequence));
        }
    }
    let mut identity = None;
    for (name, sequence) in &found {
        if let HeaderCopy::Valid(header) = Image::load_header(files, name)?.header()
            && header.sequence == *sequence
        {
            identity = Some(header.identity);
        }
    }
    Ok(found.into_iter().map(move |(name, sequence)| {
        let image = Image::load(files, &name)?;
        let mut file = File { name, records: Vec::new() };
        file.add_header(&image, sequence);
        if let Some(identity) = identity {
            file.add_frames(&image, Salt::new(&identity, sequence));
        }
        Ok(file.records)
    }))
}

struct File {
    name: String,
    records: Vec<Record>,
}

impl File {
    fn push(&mut self, offset: u64, kind: Kind, verdict: Verdict) -> &mut Record {
        let file = self.name.clone();
        let (index, term, body) = (0, 0, Bytes::new());
        self.records.push(Record { file, offset, kind, index, term, body, verdict });
        self.records.last_mut().expect("just pushed")
    }

    fn add_header(&mut self, image: &Image, sequence: u64) {
        if let HeaderCopy::Valid(header) = image.header()
            && header.sequence == sequence
        {
            let copies = |at: u64| image.from(at).get(..SECTOR as usize).unwrap_or(&[]);
            let are_equal = copies(0) == copies(SECTOR);
            let verdict = if are_equal { Verdict::Intact } else { Verdict::OneCopy };
            let previous = (header.previous_segment, header.previous_end);
            self.push(0, Kind::Segment { identity: header.identity, previous }, verdict);
        }
    }

    fn add_frames(&mut self, image: &Image, salt: Salt) {
        let mut offset = SEGMENT_HEADER_BYTES;
        let mut gap = offset;
        while offset < image.length() {
            let Some(frame) = image.frame(salt, offset) else {
                offset += SECTOR;
                continue;
            };
            if gap < offset {
                self.push(gap, Kind::Gap { length: offset - gap }, Verdict::Unreadable);
            }
            self.add_frame(image, salt, offset, &frame);
            offset = offset.saturating_add(frame.length);
            gap = offset;
        }
    }

    fn add_frame(&mut self, image: &Image, salt: Salt, offset: u64, frame: &Frame) {
        let Frame { number, synced, hard_state, .. } = *frame;
        if frame.kind == FrameKind::Seal {
            self.push(offset, Kind::Seal { number }, Verdict::Intact).term = hard_state.term;
            return;
        }
        let contents = image.contents(salt, offset, frame);
        let verdict = if contents.is_whole { Verdict::Intact } else { Verdict::BadBody };
        self.push(offset, Kind::Batch { number, synced, hard_state }, verdict).term =
            hard_state.term;
        if let Some(mark) = contents.mark {
            let record = self.push(offset, Kind::Mark, Verdict::Intact);
            (record.index, record.term, record.body) = (mark.index, mark.term, mark.conf_state);
        }
        for entry in contents.entries {
            let record = self.push(offset, Kind::Entry, Verdict::Intact);
            (record.index, record.term, record.body) = (entry.index, entry.term, entry.body);
        }
        for (index, term) in contents.bodiless {
            let record = self.push(offset, Kind::Entry, Verdict::BadBody);
            (record.index, record.term) = (index, term);
        }
    }
}
