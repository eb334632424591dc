//! A machine: a disk that outlives the member on it, and a clock of its own.

use quorate_disk::{Completion, Disk};
use quorate_member::open::{self, Finding, Fresh, OpenError, Opening, Settings};
use quorate_raft::NodeId;
use quorate_replica::{Config, Time as LocalTime};
use quorate_store::jobs::JobOptions;
use quorate_store::log::LogOptions;
use quorate_store::store::StoreOptions;
use quorate_wal as wal;
use sim_disk::{FaultyDisk, FaultyHandle, HandleId};

use super::process::Process;
use super::profile::Profile;
use crate::history::Time;
use crate::random::Random;

/// Milliseconds between ticks.
pub(crate) const TICK_MS: u64 = 100;
/// Ticks of an election timeout.
pub(crate) const ELECTION_TICKS: u32 = 10;

/// The log's folder, and the store's.
pub(crate) const LOG_FOLDER: &str = "wal";
pub(crate) const STORE_FOLDER: &str = "store";

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
    random: Random,
}

pub(crate) enum Power {
    Off,
    Opening(Box<(Opening, FaultyHandle, FaultyHandle)>),
    On(Box<Process>),
    /// Removed from the cluster.
    Gone,
    /// It refused to start.
    Refused(String),
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

    /// Switch on: open the directory.
    pub(crate) fn open(&mut self, profile: &Profile) -> Result<Vec<Finding>, OpenError> {
        self.incarnation += 1;
        let mut log_disk = self.disk.handle(LOG_FOLDER);
        let store_disk = self.disk.handle(STORE_FOLDER);
        let settings = settings(self.fresh.clone(), u64::from(self.incarnation), profile);
        let opening = open::open(&settings, &mut log_disk, store_disk.files())?;
        let findings = opening.findings().to_vec();
        self.power = Power::Opening(Box::new((opening, log_disk, store_disk)));
        Ok(findings)
    }

    /// Go on with opening after operations have ended; whether the member runs now.
    pub(crate) fn try_start(&mut self, now: Time, profile: &Profile) -> Result<bool, String> {
        let local = self.local(now);
        let Power::Opening(parts) = std::mem::replace(&mut self.power, Power::Off) else {
            return Ok(false);
        };
        let (mut opening, mut log_disk, store_disk) = *parts;
        let mut completions: Vec<Completion> = Vec::new();
        log_disk.poll(&mut completions);
        for completion in completions {
            opening
                .on_completion(&mut log_disk, completion)
                .map_err(|failure| failure.to_string())?;
        }
        match opening.try_finish() {
            Err(opening) => {
                self.power = Power::Opening(Box::new((opening, log_disk, store_disk)));
                Ok(false)
            }
            Ok(opened) => {
                let config = self.config(profile);
                let process = Process::start(opened, config, (log_disk, store_disk), local)
                    .map_err(|error| error.to_string())?;
                self.power = Power::On(Box::new(process));
                Ok(true)
            }
        }
    }

    /// The handles of disks that are in use.
    pub(crate) fn handles(&self) -> Vec<HandleId> {
        match &self.power {
            Power::On(process) => process.handles().to_vec(),
            Power::Opening(parts) => vec![parts.1.id(), parts.2.id()],
            Power::Off | Power::Gone | Power::Refused(_) => Vec::new(),
        }
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
