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
//! - *What remains open*: batch `e` was synced and acknowledged, nothing that was made after its
//!   sync is there, and then its sectors were damaged. This looks as a torn write looks, in any log.
//!   What is made after a sync is the seal, at once if nothing else is on its way, and every batch
//!   that is begun from then on; a batch that was begun before says no more than those before it.
//!   So what can be lost without a word is what was acknowledged since the newest batch was begun,
//!   and no more. To a process that is killed the seal counts when it is written, right behind the
//!   answer; to a machine without power when it is synced: with the next batch, after a clean end,
//!   or when the log has been idle for a look or two ([`Log::prove_if_idle`]). Batch and seal never
//!   share a sector, so that one bad sector cannot take both. Peers that heard the acknowledgement
//!   still know of it.
//! - A sector that cannot be read where a batch or a segment's header should be is no torn write:
//!   `Damaged`.
//! - A file that must be there by the chain of segment headers and is not:
//!   [`Outcome::MissingSegment`].
//!
//! # Vote and term
//!
//! Every frame and every segment header has the hard state, so that one lost batch loses none.
//! After damage the newest term of all that is readable counts, and a vote in it. It is
//! [`HardStateCertainty::AtLeastTerm`] only if there is damage behind the newest readable frame:
//! the member may have voted in that term or a later one, and acknowledged more than is known. The
//! same frames say where the log ended, so that is known or not together with the vote.
//!
//! # Durable again
//!
//! A process that was killed finds batches in the page cache that no sync has reached. Resuming
//! therefore syncs what is not proved to be durable and appends an empty batch: when that one is
//! durable, so is everything recovered.

mod evidence;
mod folder;
mod prefix;

use std::io;

use quorate_disk::{Files, Path};

use self::evidence::Evidence;
use self::folder::{Folder, State};
use self::prefix::{Prefix, Stop};
use crate::record::Salt;
use crate::repair::Ending;
use crate::retention::Pool;
use crate::segment::{Options, SEGMENT_BYTES_MIN, segment_path};
use crate::writer::{Current, Log, Start};
use crate::{End, Entry, HardState, Identity, Mark};

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
    /// Where the log ended, if the hard state is certain: nothing newer is lost then. Otherwise
    /// where it ended at least.
    pub end: End,
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
    /// The member was under repair until its log ends there, and has not finished. The term is 0 in
    /// a log that did not write it down yet.
    pub repairing_until: Option<End>,
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
    /// Segments to remove when it is durable that they are not needed: what says so may be a
    /// batch that is cut.
    pub(crate) old: Vec<u64>,
    /// Segments with batches that are not proved to be durable.
    pub(crate) unsynced: Vec<Path>,
    /// The highest sequence number of any segment.
    pub(crate) last_sequence: u64,
    /// The highest batch number seen.
    pub(crate) last_number: u64,
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
        let mut prefix = Prefix::new();
        let stop = prefix.accept(files, &folder)?;
        let evidence = Evidence::collect(files, &folder, &prefix, &stop)?;
        Ok(prefix.finish(options, folder, stop, evidence))
    }
}

fn io_error(path: &str) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { path, source }
}

impl Prefix {
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
        let is_unreadable = stop.unreadable || evidence.is_segment_unreadable;
        let is_damaged = is_unreadable || evidence.proof >= self.expected;
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
            repairing_until: (self.repair_until.index > 0).then_some(self.repair_until),
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
        let repair_until = evidence.repair_until.unwrap_or(self.repair_until);
        let end = evidence.end.unwrap_or_else(|| self.extent.end()).max(repair_until);
        let mut newest = self.hard_state;
        absorb(&mut newest, evidence.hard_state);
        Damage {
            file,
            offset,
            first_bad_index: lowest.min(last + 1),
            possibly_acknowledged_up_to: evidence.max_index.max(last).max(end.index),
            end,
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
        let mut pool = Pool { reserve: folder.reserve, spares: folder.spares, ..Pool::default() };
        for at in folder.blank {
            if at == current.sequence + 1 && ending != Ending::Damaged && behind.is_empty() {
                pool.next = Some((at, 0));
            } else if at >= folder.first_segment && (at > current.sequence || is_headless) {
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
            old: folder.old,
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
