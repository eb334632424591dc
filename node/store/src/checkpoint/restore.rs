//! Restart: the newest checkpoint that is whole becomes the log, the index and the small state.
//!
//! A damaged newest checkpoint is passed over for the one before it, if the Raft log still holds
//! what follows that one. Nothing is ever guessed: what cannot be had whole is a named error.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use quorate_disk::{Files, Operation, Path};

use super::format::{self, FileKind, FormatError, Manifest};
use super::loader;
use super::writer::Kept;
use super::{Identity, IndexSink, State};
use crate::jobs::{JobOptions, Jobs};
use crate::log::format as segment_format;
use crate::log::locations::Locations;
use crate::log::segments::{Segment, SegmentFile, Segments};
use crate::log::{LogOptions, RevisionLog};

/// Checkpoints that are kept: the newest, and one to fall back to.
pub(crate) const CHECKPOINTS_KEPT: usize = 2;

/// The file that says of a store that it met damage while it ran.
const DAMAGE_NOTE: &str = "damage-note";
/// Bytes of a note that are read.
const DAMAGE_NOTE_BYTES_MAX: u64 = 4_096;

/// What writes down, durably, that the store's files do not give back what was written. Whoever
/// opens the folder learns of it by [`noted_damage`], for a checkpoint that is whole says nothing
/// of the records it names. The note goes with the first cleanup job.
#[must_use]
pub fn note_damage(what: &str) -> Vec<Operation> {
    let path: Path = DAMAGE_NOTE.into();
    let data = Bytes::copy_from_slice(what.as_bytes());
    vec![
        Operation::Create { path: path.clone(), size: data.len() as u64 },
        Operation::Write { path: path.clone(), offset: 0, data: vec![data] },
        Operation::Sync { path },
        Operation::SyncDirectory { path: "".into() },
    ]
}

/// The damage that the store met while it ran, if it did.
///
/// # Errors
/// [`OpenError::List`].
pub fn noted_damage(files: &dyn Files) -> Result<Option<String>, OpenError> {
    if !files.list("").map_err(OpenError::List)?.iter().any(|name| name == DAMAGE_NOTE) {
        return Ok(None);
    }
    // That it is there says enough, whatever can be read of it.
    let length = files.length(DAMAGE_NOTE).unwrap_or(0).min(DAMAGE_NOTE_BYTES_MAX);
    let length = usize::try_from(length).unwrap_or(0);
    let text = files.read(DAMAGE_NOTE, 0, length).unwrap_or_default();
    Ok(Some(String::from_utf8_lossy(&text).into_owned()))
}

/// How to open a folder.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// Whose data it must be.
    pub identity: Identity,
    /// The first index that the Raft log holds; 1 if it is whole.
    pub log_start: u64,
    /// For the revision log.
    pub log: LogOptions,
    /// For the jobs.
    pub jobs: JobOptions,
}

/// A folder's content.
pub struct Opened {
    /// The small state to go on from; the default for an empty folder. The Raft log is to be
    /// replayed after its applied index.
    pub state: State,
    /// The records.
    pub log: RevisionLog,
    /// The background work.
    pub jobs: Jobs,
    /// The damage for which an older checkpoint was taken, if one was.
    pub fell_back: Option<FileDamage>,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}, byte {offset}: {reason}")]
pub struct FileDamage {
    /// The file's name.
    pub file: String,
    /// Where in the file, in bytes, about.
    pub offset: u64,
    /// What is wrong.
    pub reason: DamageReason,
}

/// Why a file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageReason {
    /// A checksum does not fit, or the content contradicts itself.
    Damaged,
    /// The file is not there.
    Missing,
    /// The file is shorter than it should be.
    Short,
    /// The file is not of this kind at all.
    Foreign,
    /// The disk failed the read.
    Io(io::ErrorKind),
}

impl fmt::Display for DamageReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged => write!(out, "the content is damaged"),
            Self::Missing => write!(out, "the file is missing"),
            Self::Short => write!(out, "the file is too short"),
            Self::Foreign => write!(out, "this is no file of a Quorate store"),
            Self::Io(kind) => write!(out, "reading failed: {kind}"),
        }
    }
}

/// Why a folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No checkpoint is whole.
    #[error("no usable checkpoint ({0}); re-sync this member from its peers, or restore a backup")]
    Damaged(FileDamage),
    /// The newest checkpoint is damaged, and the log does not reach back to the older one.
    #[error(
        "the newest checkpoint cannot be used ({damage}), and the log begins at {log_start}, \
         after the older checkpoint's index {applied_index}; re-sync this member from its peers, \
         or restore a backup"
    )]
    TooOld {
        /// What is wrong with the newest.
        damage: FileDamage,
        /// Where the older checkpoint ends.
        applied_index: u64,
        /// Where the log begins.
        log_start: u64,
    },
    /// Entries between the checkpoint and the log are missing.
    #[error(
        "the log begins at {log_start}, but the checkpoint ends at {applied_index}: files are \
         missing; re-sync this member from its peers, or restore a backup"
    )]
    Gap {
        /// Where the checkpoint ends; 0 if there is none.
        applied_index: u64,
        /// Where the log begins.
        log_start: u64,
    },
    /// A later release wrote this.
    #[error(
        "{file} has format {found}, this release reads up to {supported}; start the release that \
         wrote it"
    )]
    Newer {
        /// The file's name.
        file: String,
        /// Its format.
        found: u32,
        /// The newest format that this release reads.
        supported: u32,
    },
    /// The folder is another member's.
    #[error(
        "{file} belongs to member {:x} of cluster {:x}, not to member {:x} of cluster {:x}",
        found.member_id, found.cluster_id, expected.member_id, expected.cluster_id
    )]
    OtherIdentity {
        /// The file's name.
        file: String,
        /// Whose it is.
        found: Identity,
        /// Whose it should be.
        expected: Identity,
    },
    /// The folder cannot be listed.
    #[error("the store's folder cannot be listed")]
    List(#[source] io::Error),
}

/// Why a checkpoint is not taken.
pub(crate) enum Refusal {
    /// Another may do.
    Damage(FileDamage),
    /// No other may be tried.
    Fatal(OpenError),
}

impl Refusal {
    /// Damage of this file.
    pub(crate) fn damage(file: &str, offset: u64, reason: DamageReason) -> Self {
        Self::Damage(FileDamage { file: file.to_owned(), offset, reason })
    }

    /// A read of this file failed.
    pub(crate) fn read(file: &str, offset: u64, error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => DamageReason::Missing,
            io::ErrorKind::UnexpectedEof => DamageReason::Short,
            kind => DamageReason::Io(kind),
        };
        Self::damage(file, offset, reason)
    }

    /// A header of this file is not what it should be.
    pub(crate) fn format(file: &str, error: FormatError, supported: u32) -> Self {
        match error {
            FormatError::Foreign => Self::damage(file, 0, DamageReason::Foreign),
            FormatError::Damaged => Self::damage(file, 0, DamageReason::Damaged),
            FormatError::Newer(found) => {
                Self::Fatal(OpenError::Newer { file: file.to_owned(), found, supported })
            }
        }
    }
}

/// The store's files in a folder, by kind. Other files are none of ours.
#[derive(Debug, Default)]
struct Listing {
    manifests: BTreeSet<u64>,
    segments: BTreeSet<u64>,
    /// Everything that is the store's, by name.
    names: BTreeSet<String>,
    /// The largest number of a checkpoint's file.
    newest: u64,
}

fn list(files: &dyn Files) -> Result<Listing, OpenError> {
    let mut listing = Listing::default();
    for name in files.list("").map_err(OpenError::List)? {
        if let Some((number, kind)) = format::parse_file_name(&name) {
            listing.newest = listing.newest.max(number);
            if kind == FileKind::Manifest {
                listing.manifests.insert(number);
            }
        } else if let Some(id) = segment_format::parse_file_name(&name) {
            listing.segments.insert(id);
        } else if name != DAMAGE_NOTE {
            continue;
        }
        listing.names.insert(name);
    }
    Ok(listing)
}

/// Open a store's folder, which may be empty, and hand the index to `sink`.
///
/// Writes nothing: files that turn out to be of no use are left to the first cleanup job.
///
/// # Errors
/// [`OpenError`] says what is wrong with which file, and what to do.
pub fn open(
    files: Arc<dyn Files>,
    options: OpenOptions,
    sink: &mut dyn IndexSink,
) -> Result<Opened, OpenError> {
    let listing = list(&*files)?;
    let mut damage: Option<FileDamage> = None;
    for number in listing.manifests.iter().rev() {
        let loaded = match load(&*files, *number, options.identity, sink) {
            Ok(loaded) => loaded,
            Err(Refusal::Fatal(error)) => return Err(error),
            Err(Refusal::Damage(found)) => {
                damage.get_or_insert(found);
                sink.reset();
                continue;
            }
        };
        check_reach(loaded.0.state.applied_index, options.log_start, damage.as_ref())?;
        let older = listing.manifests.range(..number).rev();
        let older: Vec<Kept> = older
            .filter_map(|number| read_manifest(&*files, *number, options.identity).ok())
            .map(|manifest| Kept::of(&manifest))
            .take(CHECKPOINTS_KEPT - 1)
            .collect();
        return Ok(assemble(files, &options, &listing, loaded, older, damage));
    }
    if let Some(damage) = damage {
        return Err(OpenError::Damaged(damage));
    }
    check_reach(0, options.log_start, None)?;
    Ok(begin(files, &options, &listing))
}

fn check_reach(
    applied_index: u64,
    log_start: u64,
    damage: Option<&FileDamage>,
) -> Result<(), OpenError> {
    if log_start <= applied_index.saturating_add(1) {
        return Ok(());
    }
    match damage.cloned() {
        Some(damage) => Err(OpenError::TooOld { damage, applied_index, log_start }),
        None => Err(OpenError::Gap { applied_index, log_start }),
    }
}

/// A checkpoint that is whole: its manifest, and the locations of its records.
type Loaded = (Manifest, Locations, Segments);

fn load(
    files: &dyn Files,
    number: u64,
    identity: Identity,
    sink: &mut dyn IndexSink,
) -> Result<Loaded, Refusal> {
    let manifest = read_manifest(files, number, identity)?;
    let mut segments = check_segments(files, &manifest)?;
    let locations = loader::load(files, &manifest, &mut segments, sink)?;
    Ok((manifest, locations, segments))
}

fn read_manifest(files: &dyn Files, number: u64, identity: Identity) -> Result<Manifest, Refusal> {
    let name = format::file_name(number, FileKind::Manifest);
    let failed = |error: io::Error| Refusal::read(&name, 0, &error);
    let length = files.length(&name).map_err(failed)?;
    let length =
        usize::try_from(length).map_err(|_| Refusal::damage(&name, 0, DamageReason::Damaged))?;
    let bytes = files.read(&name, 0, length).map_err(failed)?;
    let manifest =
        Manifest::decode(&bytes).map_err(|error| Refusal::format(&name, error, format::VERSION))?;
    if manifest.number != number {
        return Err(Refusal::damage(&name, 0, DamageReason::Damaged));
    }
    if manifest.identity != identity {
        return Err(Refusal::Fatal(OpenError::OtherIdentity {
            file: name,
            found: manifest.identity,
            expected: identity,
        }));
    }
    Ok(manifest)
}

/// The segments of a checkpoint, each there, as long as it should be, and itself.
fn check_segments(files: &dyn Files, manifest: &Manifest) -> Result<Segments, Refusal> {
    let mut segments = Segments::new(manifest.next_segment_id);
    let mut seen = BTreeSet::new();
    for entry in &manifest.segments {
        let name = segment_format::file_name(entry.id);
        let length = files.length(&name).map_err(|error| Refusal::read(&name, 0, &error))?;
        if length < entry.length {
            return Err(Refusal::damage(&name, length, DamageReason::Short));
        }
        let header = files
            .read(&name, 0, segment_format::SEGMENT_HEADER_BYTES as usize)
            .map_err(|error| Refusal::read(&name, 0, &error))?;
        segment_format::check_segment_header(&header, entry.id)
            .map_err(|error| Refusal::format(&name, error, segment_format::VERSION))?;
        if !seen.insert(entry.number) || entry.live > entry.length {
            let manifest = format::file_name(manifest.number, FileKind::Manifest);
            return Err(Refusal::damage(&manifest, 0, DamageReason::Damaged));
        }
        let segment = Segment::empty(SegmentFile::new(entry.id));
        segments.insert(entry.number, Segment { length: entry.length, ..segment });
    }
    Ok(segments)
}

fn assemble(
    files: Arc<dyn Files>,
    options: &OpenOptions,
    listing: &Listing,
    (manifest, locations, mut segments): Loaded,
    older: Vec<Kept>,
    fell_back: Option<FileDamage>,
) -> Opened {
    let mut kept = older;
    kept.push(Kept::of(&manifest));
    segments.skip_ids(listing.segments.last().copied());
    let needed = needed_names(&kept);
    let mut log = RevisionLog::with(files, options.log, locations, segments);
    log.garbage = listing.names.difference(&needed).map(|name| Path::from(&**name)).collect();
    let next_number = listing.newest.saturating_add(1);
    let jobs = Jobs::new(options.identity, options.jobs, kept, next_number);
    Opened { state: manifest.state, log, jobs, fell_back }
}

fn needed_names(kept: &[Kept]) -> BTreeSet<String> {
    let checkpoints = kept.iter().flat_map(|kept| {
        [FileKind::Manifest, FileKind::Index].map(|kind| format::file_name(kept.number, kind))
    });
    let segments = kept.iter().flat_map(|kept| kept.segments.iter());
    checkpoints.chain(segments.map(|id| segment_format::file_name(*id))).collect()
}

/// A folder without checkpoints: all that is there are the remains of a first life that did not
/// get as far as a checkpoint.
/// Begin anew in a folder whose content is of no use any more; it is removed by the first cleanup
/// job.
///
/// # Errors
/// [`OpenError::List`].
pub fn begin_anew(files: Arc<dyn Files>, options: OpenOptions) -> Result<Opened, OpenError> {
    let listing = list(&*files)?;
    Ok(begin(files, &options, &listing))
}

fn begin(files: Arc<dyn Files>, options: &OpenOptions, listing: &Listing) -> Opened {
    let mut segments = Segments::new(1);
    segments.skip_ids(listing.segments.last().copied());
    let mut log = RevisionLog::with(files, options.log, Locations::default(), segments);
    log.garbage = listing.names.iter().map(|name| Path::from(&**name)).collect();
    let next_number = listing.newest.saturating_add(1);
    let jobs = Jobs::new(options.identity, options.jobs, Vec::new(), next_number);
    Opened { state: State::default(), log, jobs, fell_back: None }
}
