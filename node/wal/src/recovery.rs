//! What a log directory says after a stop of any kind, and what it cannot say.
//!
//! # Torn or damaged?
//!
//! ```text
//!           intact prefix                hole              evidence
//!   ├ 40 ┤├ 41 ┤├ seal 41 ┤├ 42 ┤ │ ?????????????? │ ├ 44, synced 42 ┤├ seal 44 ┤
//!                                   ▲ batch 43 should be here
//!                                                      └── proof: 44 was synced, so 43 was
//! ```
//!
//! Recovery reads batches in order, as long as number, chain and checksums fit. Where they end,
//! it goes on sector by sector to the end of the log, and collects every frame of this life.
//!
//! - *A record that claims `synced = k` is true.* It is made only after the sync of batch `k` has
//!   completed. So if batch `e` is not there, and anything found claims `synced ≥ e`, then `e` was
//!   durable, perhaps acknowledged, and is gone: [`Outcome::Damaged`]. Nothing is cut.
//! - *If nothing claims it*, `e` may have been in flight: a crash may keep any subset of the
//!   sectors of `e` and of the batches behind it. They are cut: [`Outcome::TornTail`] if there is
//!   a trace of them, [`Outcome::Clean`] if not.
//! - *What remains open*: batch `e` was synced and acknowledged, its seal and no later batch
//!   reached the disk, and then its sectors were damaged. This looks as a torn write looks, in any
//!   log. The window is the time between the end of a sync and the next write-back of its page;
//!   a clean close and any later batch close it. Batch and seal never share a sector, so that one
//!   bad sector cannot take both.
//! - A sector that cannot be read where a batch should be is no torn write: `Damaged`.
//! - A file that must be there by the chain of segment headers and is not:
//!   [`Outcome::MissingSegment`].
//!
//! # Vote and term
//!
//! Every frame and every segment header has the hard state, so that one lost batch loses none.
//! After damage the newest term of all that is readable counts, and a vote in it. It is
//! [`HardStateCertainty::AtLeastTerm`] only if there is damage behind the newest readable frame:
//! the member may have voted in that term or a later one, and must not vote in it again.
//!
//! # Durable again
//!
//! A process that was killed finds batches in the page cache that no sync has reached. Resuming
//! therefore syncs what is not proved to be durable and appends an empty batch: when that one is
//! durable, so is everything recovered.

use std::io;

use quorate_disk::{Files, Path};

use crate::extent::Extent;
use crate::reader::{Contents, Image};
use crate::record::{
    Frame, FrameKind, HeaderCopy, MarkKind, RECORD_HEADER_BYTES, RecordHeader, SECTOR,
    SEGMENT_HEADER_BYTES, Salt, SegmentHeader,
};
use crate::repair::Ending;
use crate::retention::Pool;
use crate::segment::{Closed, FileName, Options, SEGMENT_BYTES_MIN, segment_path};
use crate::writer::{Current, Log, Start};
use crate::{Entry, HardState, Identity, Mark};

/// Why there is no log to recover.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no log in the folder, or its creation did not become durable.
    #[error("there is no log here")]
    Empty,
    /// The folder belongs to something else.
    #[error("{path} is not a log file of ours: the folder belongs to another program")]
    Foreign {
        /// The file that is not ours.
        path: String,
    },
    /// A newer release wrote the log.
    #[error("{path} has log format {version}, this release reads up to {known}")]
    Newer {
        /// The file.
        path: String,
        /// Its format.
        version: u32,
        /// The newest format that this release reads.
        known: u32,
    },
    /// No segment has a readable header: nothing says whose log it is.
    #[error("{path}: both copies of the header are damaged, and no other segment is readable")]
    NoHeader {
        /// The file.
        path: String,
    },
    /// The disk does not answer.
    #[error("log file {path} cannot be read")]
    Io {
        /// The file or folder.
        path: String,
        /// What the disk said.
        source: io::Error,
    },
}

/// Whether the recovered hard state is the newest that the member had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HardStateCertainty {
    /// It is.
    Certain,
    /// A newer one may be lost: the member has seen at least this term, and may have voted in it.
    AtLeastTerm(u64),
}

/// Damage to acknowledged records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file, below the log's folder.
    pub file: String,
    /// Where the first batch that is not readable begins or should begin, in bytes.
    pub offset: u64,
    /// The lowest index that the lost batches may have written. Recovered entries from here on
    /// may be older versions.
    pub first_bad_index: u64,
    /// The highest index that the member may have acknowledged.
    pub possibly_acknowledged_up_to: u64,
    /// Whether vote and term are known.
    pub hard_state: HardStateCertainty,
    /// How many batches behind the hole are intact.
    pub intact_batches_after: u64,
    /// Index and term of lost entries whose heads are readable.
    pub known_lost: Vec<(u64, u64)>,
    /// Entries behind the hole, intact, in the order they were written.
    pub salvaged: Vec<Entry>,
}

/// What was found at the end of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is there behind the last batch.
    Clean,
    /// The last batches were being written, and nothing proves that they were acknowledged.
    TornTail {
        /// The file, below the log's folder.
        file: String,
        /// Where the first of them begins, in bytes.
        offset: u64,
        /// The highest index they may have held; 0 if it is not readable.
        written_up_to: u64,
    },
    /// Acknowledged batches are damaged; what was recovered is the prefix before them.
    Damaged(Damage),
    /// A segment is not there; what was recovered is the prefix before it.
    MissingSegment {
        /// The segment's sequence number.
        sequence: u64,
        /// What else is known.
        damage: Damage,
    },
}

/// What the log holds.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Whose log it is; `boot` as the newest segment has it.
    pub identity: Identity,
    /// The newest hard state; `commit` as the newest intact batch has it.
    pub hard_state: HardState,
    /// The newest mark.
    pub mark: Option<Mark>,
    /// The entries after the mark that are not given back, without gap.
    pub entries: Vec<Entry>,
    /// The member was under repair up to this index and has not finished.
    pub repairing_until: Option<u64>,
    /// How the log ends.
    pub outcome: Outcome,
}

/// What resuming needs to know.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) ending: Ending,
    /// The intact prefix has no segment.
    pub(crate) is_headless: bool,
    /// Zeroes to write over traces: file, from, to.
    pub(crate) wipe: Vec<(Path, u64, u64)>,
    /// Segments behind the hole.
    pub(crate) behind: Vec<u64>,
    /// Segments that an earlier repair has left.
    pub(crate) superseded: Vec<u64>,
    /// Files to remove.
    pub(crate) useless: Vec<Path>,
    /// Segments with batches that are not proved to be durable.
    pub(crate) unsynced: Vec<Path>,
    /// The highest sequence number of any segment.
    pub(crate) last_sequence: u64,
    /// The highest batch number seen.
    pub(crate) last_number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Begun(SegmentHeader),
    /// Frames without a header.
    Headless,
    Missing,
}

/// A segment that the log goes through.
#[derive(Clone, Copy, Debug)]
struct Live {
    sequence: u64,
    state: State,
}

/// The folder, by names and headers.
struct Folder {
    live: Vec<Live>,
    blank: Vec<u64>,
    superseded: Vec<u64>,
    /// Below the first segment that is needed.
    old: Vec<u64>,
    spares: Vec<Path>,
    useless: Vec<Path>,
    reserve: Option<u64>,
    identity: Identity,
    last_sequence: u64,
    first_segment: u64,
}

impl Log {
    /// Read the log. It must be resumed before it takes batches: [`Log::resume`] after
    /// [`Outcome::Clean`], [`Log::cut_tail`] after [`Outcome::TornTail`],
    /// [`Log::resume_repairing`] or [`repair::force_truncate`](crate::repair::force_truncate)
    /// after damage. Nothing is changed until then. Reads block.
    ///
    /// # Errors
    /// [`OpenError`] if there is no log, or one that this release cannot read.
    pub fn open(files: &dyn Files, options: Options) -> Result<(Self, Recovered), OpenError> {
        assert!(options.segment_bytes >= SEGMENT_BYTES_MIN, "a segment must hold a batch");
        let folder = Folder::read(files, &options)?;
        let mut scan = Scan::new();
        let stop = scan.accept(files, &folder)?;
        let evidence = Evidence::collect(files, &folder, &scan, &stop)?;
        Ok(scan.finish(options, folder, stop, evidence))
    }
}

fn io_error(path: &str) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { path, source }
}

impl Folder {
    fn read(files: &dyn Files, options: &Options) -> Result<Self, OpenError> {
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
        Some(path) if begun.is_empty() => Err(OpenError::Foreign { path }),
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

/// Where reading in order came to its end.
#[derive(Debug)]
struct Stop {
    /// Which of the live segments.
    live: usize,
    offset: u64,
    /// What is there could not be read.
    unreadable: bool,
    /// A header or batch of the log is behind: it is no end.
    is_hole: bool,
}

/// The intact prefix.
struct Scan {
    expected: u64,
    chain: Option<u32>,
    synced: u64,
    hard_state: HardState,
    mark: Option<Mark>,
    entries: Vec<Entry>,
    extent: Extent,
    repair_until: u64,
    closed: Vec<Closed>,
    /// The last segment of the prefix and where it ends.
    current: Option<(SegmentHeader, u64, u64, u64)>,
    /// Segment and number of its newest batch, for each segment.
    newest: Vec<(u64, u64)>,
}

impl Scan {
    fn new() -> Self {
        Self {
            expected: 1,
            chain: None,
            synced: 0,
            hard_state: HardState::default(),
            mark: None,
            entries: Vec::new(),
            extent: Extent::default(),
            repair_until: 0,
            closed: Vec::new(),
            current: None,
            newest: Vec::new(),
        }
    }

    /// Read batches in order as far as they are intact.
    fn accept(&mut self, files: &dyn Files, folder: &Folder) -> Result<Stop, OpenError> {
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

    fn finish(
        mut self,
        options: Options,
        folder: Folder,
        stop: Stop,
        evidence: Evidence,
    ) -> (Log, Recovered) {
        let live = folder.live.get(stop.live);
        let sequence = live.map_or(0, |live| live.sequence);
        let file = segment_path(sequence).to_string();
        let offset = stop.offset;
        let is_missing = live.is_some_and(|live| live.state == State::Missing);
        let is_damaged = stop.unreadable || evidence.proof >= self.expected;
        let (outcome, ending) = if is_missing {
            let damage = self.damage(file, offset, &evidence);
            (Outcome::MissingSegment { sequence, damage }, Ending::Damaged)
        } else if is_damaged {
            (Outcome::Damaged(self.damage(file, offset, &evidence)), Ending::Damaged)
        } else if stop.is_hole || !evidence.wipe.is_empty() {
            let written_up_to = evidence.max_index;
            (Outcome::TornTail { file, offset, written_up_to }, Ending::Torn)
        } else {
            (Outcome::Clean, Ending::Clean)
        };
        absorb(&mut self.hard_state, evidence.hard_state);
        let recovered = Recovered {
            identity: folder.identity,
            hard_state: self.hard_state,
            mark: self.mark.clone(),
            entries: std::mem::take(&mut self.entries),
            repairing_until: (self.repair_until > 0).then_some(self.repair_until),
            outcome,
        };
        (self.into_log(options, folder, stop, ending, evidence), recovered)
    }

    fn damage(&self, file: String, offset: u64, evidence: &Evidence) -> Damage {
        let last = self.extent.last_index();
        let lowest = if evidence.is_hole_known {
            evidence.first_index.unwrap_or(last + 1)
        } else {
            self.hard_state.commit.max(self.mark.as_ref().map_or(0, |mark| mark.index)) + 1
        };
        let mut newest = self.hard_state;
        absorb(&mut newest, evidence.hard_state);
        Damage {
            file,
            offset,
            first_bad_index: lowest.min(last + 1),
            possibly_acknowledged_up_to: evidence.max_index.max(last).max(self.repair_until),
            hard_state: if evidence.is_end_damaged {
                HardStateCertainty::AtLeastTerm(newest.term)
            } else {
                HardStateCertainty::Certain
            },
            intact_batches_after: evidence.intact,
            known_lost: evidence.known_lost.clone(),
            salvaged: evidence.salvaged.clone(),
        }
    }

    fn into_log(
        self,
        options: Options,
        folder: Folder,
        stop: Stop,
        ending: Ending,
        evidence: Evidence,
    ) -> Log {
        let is_headless = self.current.is_none();
        let current = match self.current {
            Some((header, offset, max_index, length)) => Current {
                sequence: header.sequence,
                path: segment_path(header.sequence),
                salt: Salt::new(&header.identity, header.sequence),
                offset,
                length,
                max_index,
                previous: (header.previous_segment, header.previous_end),
            },
            None => Current {
                sequence: folder.last_sequence,
                path: segment_path(folder.last_sequence),
                salt: Salt::new(&folder.identity, folder.last_sequence),
                offset: 0,
                length: 0,
                max_index: 0,
                previous: (0, 0),
            },
        };
        let synced = self.synced;
        let unsynced = self.newest.iter().filter(|(_, number)| *number > synced);
        let unsynced = unsynced.map(|(sequence, _)| segment_path(*sequence)).collect();
        let there = folder.live.iter().filter(|live| live.state != State::Missing);
        let behind = there.map(|live| live.sequence);
        let behind: Vec<u64> = behind.filter(|at| *at > current.sequence || is_headless).collect();
        let mut useless = folder.useless;
        useless.extend(folder.old.iter().map(|at| segment_path(*at)));
        let mut pool = Pool { reserve: folder.reserve, spares: folder.spares, ..Pool::default() };
        for at in folder.blank {
            if at == current.sequence + 1 && ending != Ending::Damaged && behind.is_empty() {
                pool.next = Some((at, 0));
            } else if at > current.sequence || at < folder.first_segment || is_headless {
                useless.push(segment_path(at));
            }
        }
        debug_assert!(stop.live < folder.live.len());
        let plan = Plan {
            ending,
            is_headless,
            wipe: evidence.wipe,
            behind,
            superseded: folder.superseded,
            useless,
            unsynced,
            last_sequence: folder.last_sequence,
            last_number: evidence.last_number.max(self.expected - 1),
        };
        let mut log = Log::start(Start {
            options,
            identity: folder.identity,
            current,
            number: self.expected - 1,
            chain: self.chain.unwrap_or(0),
        });
        log.durable = synced;
        log.closed = self.closed.into();
        log.pool = pool;
        log.hard_state = self.hard_state;
        log.mark = self.mark;
        log.extent = self.extent;
        log.first_segment = folder.first_segment;
        log.first_segment_durable = folder.first_segment;
        log.repair_until = self.repair_until;
        log.plan = Some(plan);
        log
    }
}

/// Take over term and vote that may be newer; a vote in the same term only if there is none. Never
/// the commit index: it may count entries that are not recovered.
fn absorb(into: &mut HardState, other: HardState) {
    if other.term > into.term {
        into.term = other.term;
        into.vote = other.vote;
    } else if other.term == into.term && into.vote == 0 {
        into.vote = other.vote;
    }
}

/// What is found behind the intact prefix.
#[derive(Default)]
struct Evidence {
    /// The highest batch that was durable for certain.
    proof: u64,
    max_index: u64,
    first_index: Option<u64>,
    /// The head of the first batch that is missing is readable.
    is_hole_known: bool,
    hard_state: HardState,
    intact: u64,
    known_lost: Vec<(u64, u64)>,
    salvaged: Vec<Entry>,
    last_number: u64,
    /// There is damage behind the newest frame.
    is_end_damaged: bool,
    wipe: Vec<(Path, u64, u64)>,
}

impl Evidence {
    fn collect(
        files: &dyn Files,
        folder: &Folder,
        scan: &Scan,
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
            let from = if at == stop.live { stop.offset } else { 0 };
            let limit = match folder.live.get(at + 1).map(|next| next.state) {
                Some(State::Begun(next)) if next.previous_segment == live.sequence => {
                    next.previous_end.min(image.length())
                }
                _ => image.length(),
            };
            let salt = Salt::new(&folder.identity, live.sequence);
            let mut end = evidence.scan(&image, salt, from, limit, scan.expected);
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
            self.max_index = self.max_index.max(header.last_index);
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
        self.max_index = self.max_index.max(frame.last_index);
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
