//! The log's folder, by names and headers: which segments the log goes through.

use quorate_disk::{Files, Path};

use super::{OpenError, io_error};
use crate::Identity;
use crate::reader::Image;
use crate::record::{Frame, HeaderCopy, SECTOR, SEGMENT_HEADER_BYTES, Salt, SegmentHeader};
use crate::segment::{FileName, Options, segment_path};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Begun(SegmentHeader),
    /// Frames without a header.
    Headless,
    Missing,
}

/// A segment that the log goes through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Live {
    pub(super) sequence: u64,
    pub(super) state: State,
}

/// The folder, by names and headers.
pub(super) struct Folder {
    pub(super) live: Vec<Live>,
    pub(super) blank: Vec<u64>,
    pub(super) superseded: Vec<u64>,
    /// Below the first segment that is needed.
    pub(super) old: Vec<u64>,
    pub(super) spares: Vec<Path>,
    pub(super) useless: Vec<Path>,
    pub(super) reserve: Option<u64>,
    pub(super) identity: Identity,
    pub(super) last_sequence: u64,
    pub(super) first_segment: u64,
}

impl Folder {
    pub(super) fn read(files: &dyn Files, options: &Options) -> Result<Self, OpenError> {
        let names = files.list("").map_err(io_error(""))?;
        let mut segments = Vec::new();
        let (mut spares, mut useless, mut reserve) = (Vec::new(), Vec::new(), None);
        for name in names {
            let is_whole =
                || files.length(&name).is_ok_and(|length| length == options.segment_bytes);
            match FileName::parse(&name) {
                FileName::Segment(sequence) => segments.push(sequence),
                FileName::Foreign => return Err(OpenError::Foreign { path: name }),
                FileName::Reserve if is_whole() => reserve = Some(options.segment_bytes),
                FileName::Spare if is_whole() => spares.push(name.into()),
                FileName::Reserve | FileName::Spare | FileName::Creating => {
                    useless.push(name.into());
                }
                FileName::Damaged | FileName::Unknown => {}
            }
        }
        let (begun, others) = read_headers(files, &segments)?;
        let Some(newest) = begun.last() else {
            return Err(match segments.first() {
                None => OpenError::Empty,
                Some(sequence) => OpenError::NoHeader { path: segment_path(*sequence).to_string() },
            });
        };
        let identity = newest.identity;
        let first_segment = first_needed(files, newest)?;
        let (mut headless, mut blank) = (Vec::new(), Vec::new());
        for sequence in others {
            let path = segment_path(sequence);
            let image = Image::load(files, &path).map_err(io_error(&path))?;
            let salt = Salt::new(&identity, sequence);
            let mut offsets = (0..image.length()).step_by(SECTOR as usize);
            if offsets.any(|offset| image.frame(salt, offset).is_some())
                || image.is_unreadable(0, SEGMENT_HEADER_BYTES)
            {
                headless.push(sequence);
            } else {
                blank.push(sequence);
            }
        }
        let mut folder = Self {
            live: Vec::new(),
            blank,
            superseded: Vec::new(),
            old: segments.iter().copied().filter(|at| *at < first_segment).collect(),
            spares,
            useless,
            reserve,
            identity,
            last_sequence: segments.last().copied().unwrap_or(0),
            first_segment,
        };
        folder.link(&begun, &headless);
        Ok(folder)
    }

    /// Follow the headers from the newest segment back to the first that is needed.
    fn link(&mut self, begun: &[SegmentHeader], headless: &[u64]) {
        let Some(newest) = begun.last() else { return };
        let mut live = Vec::new();
        let mut at = newest.sequence;
        while at >= self.first_segment && at > 0 {
            let header = begun.iter().find(|header| header.sequence == at);
            let (state, previous) = match header {
                Some(header) => (State::Begun(*header), header.previous_segment),
                None if headless.contains(&at) => (State::Headless, at - 1),
                None => (State::Missing, at - 1),
            };
            live.push(Live { sequence: at, state });
            // Before a hole, only what really is there.
            let previous = match state {
                State::Begun(_) => previous.min(at - 1),
                State::Headless | State::Missing => begun
                    .iter()
                    .map(|header| header.sequence)
                    .filter(|sequence| *sequence < at)
                    .max()
                    .unwrap_or(0),
            };
            at = previous;
        }
        live.reverse();
        let is_live = |sequence: u64| live.iter().any(|live: &Live| live.sequence == sequence);
        self.superseded = begun
            .iter()
            .map(|header| header.sequence)
            .chain(headless.iter().copied())
            .filter(|at| *at >= self.first_segment && *at < newest.sequence && !is_live(*at))
            .collect();
        let last = self.last_sequence;
        let behind = (newest.sequence + 1..=last).take_while(|at| {
            headless.iter().any(|other| other >= at) || self.blank.iter().any(|other| other >= at)
        });
        let mut behind: Vec<Live> = behind
            .filter_map(|sequence| {
                let state = if headless.contains(&sequence) {
                    State::Headless
                } else if self.blank.contains(&sequence) {
                    return None;
                } else {
                    State::Missing
                };
                Some(Live { sequence, state })
            })
            .collect();
        live.append(&mut behind);
        self.live = live;
    }
}

/// The valid headers, ascending, and the segments without one.
fn read_headers(
    files: &dyn Files,
    segments: &[u64],
) -> Result<(Vec<SegmentHeader>, Vec<u64>), OpenError> {
    let (mut begun, mut others): (Vec<SegmentHeader>, _) = (Vec::new(), Vec::new());
    let mut foreign = None;
    for &sequence in segments {
        let path = segment_path(sequence);
        let image = Image::load_header(files, &path).map_err(io_error(&path))?;
        match image.header() {
            // Else a header of the file's former life: the segment is not begun.
            HeaderCopy::Valid(header) if header.sequence == sequence => begun.push(header),
            HeaderCopy::Valid(_) | HeaderCopy::Damaged => others.push(sequence),
            HeaderCopy::Newer(version) => {
                let known = crate::record::VERSION;
                return Err(OpenError::Newer { path: path.to_string(), version, known });
            }
            HeaderCopy::Foreign => {
                if image.unreadable.is_empty() && image.bytes.iter().any(|byte| *byte != 0) {
                    foreign.get_or_insert_with(|| path.to_string());
                }
                others.push(sequence);
            }
        }
    }
    match foreign {
        Some(path) if begun.is_empty() => {
            let image = Image::load(files, &path).map_err(io_error(&path))?;
            // Frames that only lack the header which could vouch for them.
            let is_ours = image.bytes.chunks(SECTOR as usize).any(Frame::has_magic);
            Err(if is_ours { OpenError::NoHeader { path } } else { OpenError::Foreign { path } })
        }
        _ => Ok((begun, others)),
    }
}

/// The first segment that is needed, as the newest readable record says.
fn first_needed(files: &dyn Files, newest: &SegmentHeader) -> Result<u64, OpenError> {
    let path = segment_path(newest.sequence);
    let image = Image::load(files, &path).map_err(io_error(&path))?;
    let salt = Salt::new(&newest.identity, newest.sequence);
    let mut first = newest.first_segment;
    let mut offset = SEGMENT_HEADER_BYTES;
    while offset < image.length() {
        match image.frame(salt, offset) {
            Some(frame) => {
                first = first.max(frame.first_segment);
                offset = offset.saturating_add(frame.length);
            }
            None => offset += SECTOR,
        }
    }
    Ok(first.min(newest.sequence))
}
