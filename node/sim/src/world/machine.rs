//! A machine: a disk that outlives the member on it, and a clock of its own.

use std::collections::BTreeMap;

use quorate_disk::{Completion, Disk};
use quorate_member::identity::{
    self, Book, BookFile, Claim, Found, LogEnd, Own, ReadError, Remembered,
};
use quorate_member::open::{self, Finding, Fresh, OpenError, Opened, Opening, Settings};
use quorate_raft::NodeId;
use quorate_replica::{Config, Time as LocalTime};
use quorate_store::jobs::JobOptions;
use quorate_store::log::LogOptions;
use quorate_store::store::StoreOptions;
use quorate_wal as wal;
use sim_disk::{CrashPolicy, FaultyDisk, FaultyHandle, HandleId, Image};

use super::process::{Identity, Process};
use super::profile::Profile;
use crate::history::Time;
use crate::random::Random;

/// Milliseconds between ticks.
pub(crate) const TICK_MS: u64 = 100;
/// Ticks of an election timeout.
pub(crate) const ELECTION_TICKS: u32 = 10;

/// The folders of the log, of the store, and of the book.
pub(crate) const LOG_FOLDER: &str = "wal";
pub(crate) const STORE_FOLDER: &str = "store";
const BOOK_FOLDER: &str = "data";

pub(crate) struct Machine {
    pub(crate) id: u64,
    pub(crate) disk: FaultyDisk,
    pub(crate) power: Power,
    /// How often a member was started here.
    pub(crate) incarnation: u32,
    fresh: Fresh,
    /// Parts per thousand by which its clock is faster or slower.
    skew_permille: i64,
    pub(crate) paused_until: Time,
    pub(crate) slow_until: Time,
    /// Damaged, and not yet known to be whole again.
    pub(crate) is_damaged: bool,
    /// No more than its log is damaged.
    pub(crate) is_mendable: bool,
    /// Its disk was emptied or put back: it is not the member that it says it is.
    pub(crate) is_impostor: bool,
    /// Its disk was emptied.
    pub(crate) is_emptied: bool,
    /// The last start before that.
    pub(crate) genuine_until: u32,
    /// Who can tell.
    pub(crate) witnesses: Vec<u64>,
    /// What its member said of itself at each of its starts.
    pub(crate) claims: BTreeMap<u32, Claim>,
    /// A copy of its disk.
    pub(crate) older: Option<Image>,
    random: Random,
}

pub(crate) enum Power {
    Off,
    Opening(Box<Starting>),
    On(Box<Process>),
    /// Removed from the cluster.
    Gone,
    /// It refused to start.
    Refused(String),
}

/// A directory on its way to a member.
pub(crate) struct Starting {
    stage: Stage,
    book: Book,
    file: BookFile,
    disks: Disks,
}

struct Disks {
    log: FaultyHandle,
    store: FaultyHandle,
    book: FaultyHandle,
}

enum Stage {
    /// This start is written into the block.
    Block,
    Log(Box<Opening>),
    /// That there is a log is written into the block.
    Founding(Box<Opened>),
    Ready(Box<Opened>),
}

/// How far a start has come.
pub(crate) enum Start {
    Waiting,
    /// The directory is read, and this was found.
    Found(Vec<Finding>),
    /// It can run.
    Ready,
}

/// Why there is no start.
pub(crate) enum StartFailed {
    Refused(OpenError),
    Disk,
}

impl Starting {
    fn write_book(&mut self) {
        self.file.write(&mut self.disks.book, &self.book);
    }

    fn go_on(&mut self, settings: impl FnOnce(Own) -> Settings) -> Result<Start, StartFailed> {
        let mut completions: Vec<Completion> = Vec::new();
        let mut is_written = false;
        self.disks.book.poll(&mut completions);
        for completion in completions.drain(..) {
            is_written |= self.file.on_completion(completion).map_err(|_| StartFailed::Disk)?;
        }
        match std::mem::replace(&mut self.stage, Stage::Block) {
            Stage::Block if is_written => {
                let settings = settings(self.book.own().clone());
                let Disks { log, store, .. } = &mut self.disks;
                let opening =
                    open::open(&settings, log, store.files()).map_err(StartFailed::Refused)?;
                let findings = opening.findings().to_vec();
                self.stage = Stage::Log(Box::new(opening));
                Ok(Start::Found(findings))
            }
            Stage::Log(mut opening) => {
                self.disks.log.poll(&mut completions);
                for completion in completions {
                    opening
                        .on_completion(&mut self.disks.log, completion)
                        .map_err(|_| StartFailed::Disk)?;
                }
                match opening.try_finish() {
                    Err(opening) => self.stage = Stage::Log(Box::new(opening)),
                    Ok(opened) if self.book.own().stage == identity::Stage::Founded => {
                        self.stage = Stage::Ready(Box::new(opened));
                        return Ok(Start::Ready);
                    }
                    Ok(opened) => {
                        self.book.found(opened.cluster, opened.member, opened.incarnation);
                        self.write_book();
                        self.stage = Stage::Founding(Box::new(opened));
                    }
                }
                Ok(Start::Waiting)
            }
            Stage::Founding(opened) if is_written => {
                self.stage = Stage::Ready(opened);
                Ok(Start::Ready)
            }
            stage @ (Stage::Block | Stage::Founding(_) | Stage::Ready(_)) => {
                self.stage = stage;
                Ok(Start::Waiting)
            }
        }
    }
}

fn log_end(opened: &Opened) -> Option<LogEnd> {
    let end = opened.writer.durable_end(opened.boot.hard_state.commit.0);
    opened.boot.repair.is_none().then_some(end)
}

impl Machine {
    pub(crate) fn new(id: u64, fresh: Fresh, profile: &Profile, random: &mut Random) -> Self {
        let disk = FaultyDisk::new(random.next_u64());
        let skew = random.below(2 * profile.clock_skew_permille + 1).cast_signed();
        Self {
            id,
            disk,
            power: Power::Off,
            incarnation: 0,
            fresh,
            skew_permille: skew - profile.clock_skew_permille.cast_signed(),
            paused_until: Time(0),
            slow_until: Time(0),
            is_damaged: false,
            is_mendable: true,
            is_impostor: false,
            is_emptied: false,
            genuine_until: 0,
            witnesses: Vec::new(),
            claims: BTreeMap::new(),
            older: None,
            random: random.fork(id),
        }
    }

    /// What its clock says.
    pub(crate) fn local(&self, now: Time) -> LocalTime {
        let millis = now.0 / 1_000_000;
        let drift = millis.cast_signed() * self.skew_permille / 1_000;
        LocalTime(millis.saturating_add_signed(drift))
    }

    /// Nanoseconds of the run between two of its ticks.
    pub(crate) fn tick_interval(&self) -> Time {
        let nanos = TICK_MS.cast_signed() * 1_000_000 * 1_000 / (1_000 + self.skew_permille);
        Time(nanos.cast_unsigned())
    }

    pub(crate) fn process(&mut self) -> Option<&mut Process> {
        match &mut self.power {
            Power::On(process) => Some(process),
            Power::Off | Power::Opening(_) | Power::Gone | Power::Refused(_) => None,
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        matches!(self.power, Power::On(_))
    }

    pub(crate) fn is_off(&self) -> bool {
        matches!(self.power, Power::Off)
    }

    /// Its log is whole again: it counts as a copy, and others may be damaged.
    pub(crate) fn on_log_repaired(&mut self) {
        if self.is_mendable {
            self.is_damaged = false;
        }
    }

    /// Switch on: begin with the directory's block.
    pub(crate) fn open(&mut self) -> Result<(), ReadError> {
        self.incarnation += 1;
        let disks = Disks {
            log: self.disk.handle(LOG_FOLDER),
            store: self.disk.handle(STORE_FOLDER),
            book: self.disk.handle(BOOK_FOLDER),
        };
        let (found, file) = identity::read(&*disks.book.files())?;
        let mut starting = Starting { stage: Stage::Block, book: Book::new(0), file, disks };
        starting.book = match found {
            Found::Book(book) => book,
            Found::Missing | Found::Unreadable => Book::new(self.random.next_u64()),
        };
        starting.book.begin(self.random.next_u64());
        starting.write_book();
        self.power = Power::Opening(Box::new(starting));
        Ok(())
    }

    /// Go on with opening after operations have ended.
    pub(crate) fn try_start(&mut self, profile: &Profile) -> Result<Start, StartFailed> {
        let settings = self.settings(profile);
        let Power::Opening(starting) = &mut self.power else { return Ok(Start::Waiting) };
        starting.go_on(|own| Settings { own, ..settings })
    }

    /// Run what was opened.
    pub(crate) fn run(&mut self, now: Time, profile: &Profile) -> Result<(), String> {
        let local = self.local(now);
        let Power::Opening(starting) = std::mem::replace(&mut self.power, Power::Off) else {
            return Ok(());
        };
        let Starting { stage: Stage::Ready(opened), book, file, disks } = *starting else {
            return Ok(());
        };
        let config = self.config(profile);
        let identity = Identity::new(book, file, disks.book);
        let process = Process::start(*opened, config, (disks.log, disks.store), identity, local)
            .map_err(|error| error.to_string())?;
        self.power = Power::On(Box::new(process));
        Ok(())
    }

    /// What the member says of itself, and to whom, once its directory is open.
    pub(crate) fn introduction(&self) -> Option<(Claim, Vec<u64>)> {
        let Power::Opening(starting) = &self.power else { return None };
        let Starting { stage: Stage::Ready(opened), book, .. } = &**starting else { return None };
        let peers = opened.members().iter().map(|member| member.id).collect();
        Some((book.claim(log_end(opened)), peers))
    }

    /// What a member would say of itself that starts on this image.
    pub(crate) fn claim_on(&self, image: &Image, profile: &Profile) -> Option<Claim> {
        let mut scratch = Self {
            disk: FaultyDisk::from_image(image, 0),
            power: Power::Off,
            random: self.random.clone(),
            fresh: self.fresh.clone(),
            older: None,
            witnesses: Vec::new(),
            claims: BTreeMap::new(),
            ..*self
        };
        scratch.open().ok()?;
        while scratch.disk.complete_next() {
            if matches!(scratch.try_start(profile).ok()?, Start::Ready) {
                return scratch.introduction().map(|(claim, _)| claim);
            }
        }
        None
    }

    /// What is remembered here of a peer, for certain.
    pub(crate) fn remembers(&self, peer: u64) -> Option<Remembered> {
        let image = self.disk.crash_image(CrashPolicy::LoseUnsynced, 0);
        let files = FaultyDisk::from_image(&image, 0).files(BOOK_FOLDER);
        match identity::read(&*files).ok()?.0 {
            Found::Book(book) => book.peer(peer).cloned(),
            Found::Missing | Found::Unreadable => None,
        }
    }

    /// The handles of disks that are in use.
    pub(crate) fn handles(&self) -> Vec<HandleId> {
        match &self.power {
            Power::On(process) => process.handles().to_vec(),
            Power::Opening(starting) => {
                let Disks { log, store, book } = &starting.disks;
                vec![log.id(), store.id(), book.id()]
            }
            Power::Off | Power::Gone | Power::Refused(_) => Vec::new(),
        }
    }

    fn settings(&self, profile: &Profile) -> Settings {
        settings(self.fresh.clone(), u64::from(self.incarnation), profile)
    }

    fn config(&mut self, profile: &Profile) -> Config {
        Config {
            member: NodeId(self.id),
            boot: u64::from(self.incarnation) << 20,
            seed: self.random.next_u64(),
            tick_ms: TICK_MS,
            election_ticks: ELECTION_TICKS,
            advance_first_election: profile.advance_first_election,
            pre_vote: true,
            snapshot_entries: profile.snapshot_entries,
            catch_up_entries: profile.catch_up_entries,
            log_bytes_max: 1 << 20,
            message_bytes_max: profile.message_bytes_max,
            inflight_messages_max: profile.inflight_messages_max,
            quota_bytes: profile.quota_bytes,
            strict_reconfiguration: true,
            learners_max: 1,
        }
    }
}

fn settings(fresh: Fresh, boot: u64, profile: &Profile) -> Settings {
    Settings {
        fresh,
        own: Book::new(0).own().clone(),
        boot,
        log: wal::Options { segment_bytes: profile.wal_segment_bytes, spares_max: 2 },
        store: StoreOptions {
            lease_ttl_seconds_min: 2,
            learners_max: 1,
            log: LogOptions {
                segment_bytes: profile.store_segment_bytes,
                flush_bytes: 2 << 10,
                unflushed_bytes_max: 16 << 10,
                resident_bytes: 4 << 10,
            },
        },
        jobs: JobOptions {
            checkpoint_bytes: 64 << 10,
            checkpoint_entries: profile.checkpoint_entries,
            held_bytes: 64 << 10,
        },
    }
}
