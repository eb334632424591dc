//! Misfortune, and its end.

use std::collections::BTreeMap;

use quorate_raft::NodeId;
use sim_disk::{CrashPolicy, FaultKind};

use super::machine::{LOG_FOLDER, Power, STORE_FOLDER};
use super::network::End;
use super::{Happening, MICROS, MILLIS, Machine, Mark, Marks, World, running};
use crate::check::Violation;
use crate::history::Time;
use crate::random::Random;

/// Milliseconds between two throws of the dice.
const WEATHER_MS: u64 = 100;
/// Milliseconds before the end of misfortune at which leadership may be offered to nobody.
const LAST_MS: u64 = 1_500;

/// Milliseconds after which a leader that slept hears the last answers of its own time, at most.
const LATE_ANSWERS_MS_MAX: u64 = 8_000;
/// Milliseconds for which a disk is slow while it takes in a snapshot, at most.
const SLOW_INSTALL_MS_MAX: u64 = 4_000;

/// A leader that is about to sleep through the election of the next one.
#[derive(Clone, Copy, Debug)]
struct Overtaken {
    leader: u64,
    sleeps_at: Time,
    wakes_at: Time,
}

/// Where a loss of power hurts most: between two things that must both be durable, or that
/// others rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tender {
    /// The log is written.
    Write,
    /// A vote is given.
    Vote,
    /// The member leads.
    Lead,
    /// The members are others.
    Members,
    /// A checkpoint is durable.
    Checkpoint,
    /// A snapshot begins to fill the store.
    Install,
}

impl Tender {
    /// Of so many such moments one ends in a crash.
    fn one_in(self) -> u64 {
        match self {
            // Hundreds of times in a run.
            Self::Write => 1_000,
            Self::Vote | Self::Lead | Self::Members | Self::Checkpoint | Self::Install => 12,
        }
    }
}

/// What goes wrong is decided here.
#[derive(Debug)]
pub(crate) struct Chaos {
    random: Random,
    counts: BTreeMap<String, u64>,
    leader: Option<(u64, u64)>,
    joins_at: Option<Time>,
    overtaken: Option<Overtaken>,
    /// A leader that was overtaken is to lead again, from when on.
    returns: Option<(u64, Time)>,
    /// The last misfortune was decided on.
    is_last: bool,
    space_at: Option<Time>,
}

impl Chaos {
    pub(crate) fn new(random: Random) -> Self {
        Self {
            random,
            counts: BTreeMap::new(),
            leader: None,
            joins_at: None,
            overtaken: None,
            returns: None,
            is_last: false,
            space_at: None,
        }
    }

    pub(crate) fn count(&mut self, fault: &str) {
        *self.counts.entry(fault.to_owned()).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.counts.clone()
    }

    pub(super) fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// Who led last, as far as it said.
    pub(crate) fn leader(&self) -> Option<u64> {
        self.leader.map(|(_, leader)| leader)
    }

    pub(crate) fn on_leader(&mut self, leader: u64, term: u64, marks: &mut Marks) {
        match self.leader {
            Some((known, _)) if known >= term => {}
            before => {
                if before.is_some() {
                    marks.reach(Mark::LeaderChanged);
                }
                self.leader = Some((term, leader));
            }
        }
    }

    /// Whether something of this mean time happens now.
    fn strikes(&mut self, mean_ms: u64) -> bool {
        mean_ms > 0 && self.random.chance(WEATHER_MS, mean_ms)
    }
}

impl World {
    pub(super) fn weather(&mut self) -> Result<(), Violation> {
        if self.healed_at.is_some() {
            return Ok(());
        }
        self.after(WEATHER_MS * MILLIS, Happening::Weather);
        let faults = self.profile.faults.clone();
        if self.chaos.joins_at.is_some_and(|at| at <= self.now) {
            self.join();
        }
        if self.chaos.space_at.is_some_and(|at| at <= self.now) {
            self.chaos.space_at = None;
            self.machines.values().for_each(|machine| machine.disk.set_capacity(None));
        }
        if self.chaos.strikes(faults.crash_ms)
            && let Some(id) = self.any_running()
        {
            self.crash_for_a_while(id);
        }
        if self.chaos.strikes(faults.crash_all_ms) {
            self.crash_all();
        }
        if self.chaos.overtaken.is_some_and(|overtaken| overtaken.sleeps_at <= self.now) {
            self.sleep_through_election();
        }
        if self.chaos.joins_at.is_none() && self.chaos.strikes(faults.partition_ms) {
            match self.chaos.leader() {
                Some(leader) if self.chaos.random.chance(1, 4) => self.overtake(leader),
                Some(_) | None => self.partition(),
            }
        }
        if self.chaos.strikes(faults.pause_ms)
            && let Some(id) = self.any_running()
        {
            match self.chaos.leader() {
                Some(leader) if self.chaos.joins_at.is_none() && self.chaos.random.chance(1, 3) => {
                    self.overtake(leader);
                }
                Some(_) | None => self.pause(id),
            }
        }
        if self.chaos.strikes(faults.slow_disk_ms)
            && let Some(id) = self.any_running()
        {
            let until = self.now.plus(Time(self.chaos.random.below(6_000) * MILLIS));
            self.chaos.count("slow disk");
            if let Some(machine) = self.machines.get_mut(&id) {
                machine.slow_until = until;
            }
        }
        if self.chaos.strikes(faults.disk_error_ms)
            && let Some(id) = self.any_running()
        {
            self.break_disk(id);
        }
        if self.chaos.strikes(faults.disk_full_ms)
            && let Some(id) = self.any_running()
        {
            self.fill_disk(id);
        }
        if self.chaos.strikes(faults.transfer_ms) {
            self.transfer()?;
        }
        if let Some((old, at)) = self.chaos.returns
            && at <= self.now
        {
            self.chaos.returns = None;
            if let Some(leader) = self.chaos.leader() {
                self.transfer_to(leader, old)?;
            }
        }
        let last = Time(self.profile.unsafe_ms.saturating_sub(LAST_MS) * MILLIS);
        if self.now >= last && !std::mem::replace(&mut self.chaos.is_last, true) {
            return self.transfer_in_vain();
        }
        Ok(())
    }

    /// A member is where a loss of power hurts most: sometimes it comes now, or while the disk
    /// does what follows.
    pub(super) fn on_tender(&mut self, machine: u64, incarnation: u32, tender: Tender) {
        if self.healed_at.is_some() {
            return;
        }
        if tender == Tender::Install
            && self.profile.faults.slow_disk_ms > 0
            && self.chaos.random.chance(1, 2)
        {
            let length = self.chaos.random.below(SLOW_INSTALL_MS_MAX);
            let until = self.now.plus(Time(length * MILLIS));
            self.chaos.count("slow disk at a snapshot");
            if let Some(machine) = self.machines.get_mut(&machine) {
                machine.slow_until = machine.slow_until.max(until);
            }
        }
        if self.profile.faults.crash_ms > 0 && self.chaos.random.chance(1, tender.one_in()) {
            let wait = self.chaos.random.below(2 * self.profile.disk_us.1);
            self.after(wait * MICROS, Happening::Strike { machine, incarnation });
        }
    }

    pub(super) fn strike(&mut self, id: u64, incarnation: u32) {
        let is_running = running(&mut self.machines, id, incarnation).is_some();
        if is_running && self.healed_at.is_none() {
            self.chaos.count("crash at a tender moment");
            self.crash_for_a_while(id);
        }
    }

    fn any_running(&mut self) -> Option<u64> {
        let on: Vec<u64> = self
            .machines
            .iter()
            .filter(|(_, machine)| matches!(machine.power, Power::On(_)))
            .map(|(id, _)| *id)
            .collect();
        self.chaos.random.pick(&on).copied()
    }

    fn crash_for_a_while(&mut self, id: u64) {
        if self.chaos.leader() == Some(id) {
            self.marks.reach(Mark::LeaderCrashed);
        }
        self.chaos.count("crash");
        let corrupt = self.may_corrupt(id)
            && self.chaos.random.chance(self.profile.faults.corrupt_percent, 100);
        let is_log_quiet = self.is_log_quiet(id);
        let harmed = corrupt.then(|| {
            let is_log = is_log_quiet && self.chaos.random.chance(1, 2);
            if is_log { LOG_FOLDER } else { STORE_FOLDER }
        });
        let policy = match harmed {
            None => CrashPolicy::Any,
            Some(LOG_FOLDER) => self.crash_before_damage(id),
            Some(_) => CrashPolicy::KeepAll,
        };
        self.crash(id, policy);
        match harmed {
            Some(folder) => self.corrupt(id, folder),
            None => self.forget(id),
        }
        let down = self.chaos.random.below(self.profile.faults.down_ms_max) + 10;
        self.after(down * MILLIS, Happening::Start { machine: id });
    }

    fn crash_all(&mut self) {
        self.chaos.count("crash of all");
        self.marks.reach(Mark::AllCrashed);
        let ids: Vec<u64> = self.machines.keys().copied().collect();
        for id in ids {
            self.crash(id, CrashPolicy::Any);
            let down = self.chaos.random.below(3_000) + 10;
            self.after(down * MILLIS, Happening::Start { machine: id });
        }
    }

    fn partition(&mut self) {
        self.chaos.count("partition");
        self.marks.reach(Mark::Partitioned);
        let ids: Vec<u64> = self.machines.keys().copied().collect();
        let random = &mut self.chaos.random;
        let alone = *random.pick(&ids).expect("there are machines");
        let leader = self.chaos.leader.map_or(alone, |(_, leader)| leader);
        let random = &mut self.chaos.random;
        let others = |id: u64| ids.iter().copied().filter(move |other| *other != id);
        let mut cuts: Vec<(End, End)> = Vec::new();
        match random.below(6) {
            0 => cuts.extend(others(alone).map(|other| (End::Member(alone), End::Member(other)))),
            1 => cuts.extend(others(alone).map(|other| (End::Member(other), End::Member(alone)))),
            2 => {
                for other in others(leader) {
                    cuts.push((End::Member(leader), End::Member(other)));
                    cuts.push((End::Member(other), End::Member(leader)));
                }
            }
            3 => {
                cuts.push((End::Clients, End::Member(leader)));
                cuts.push((End::Member(leader), End::Clients));
            }
            4 => {
                let half: Vec<u64> = ids.iter().copied().filter(|_| random.chance(1, 2)).collect();
                for &one in &half {
                    for other in ids.iter().copied().filter(|id| !half.contains(id)) {
                        cuts.push((End::Member(one), End::Member(other)));
                        cuts.push((End::Member(other), End::Member(one)));
                    }
                }
            }
            _ => {
                for &one in &ids {
                    for &other in &ids {
                        if one != other && random.chance(1, 4) {
                            cuts.push((End::Member(one), End::Member(other)));
                        }
                    }
                }
            }
        }
        for (from, to) in cuts {
            self.network.cut(from, to);
            if let (End::Clients, End::Member(id)) = (from, to) {
                self.break_streams_at(id);
            }
        }
        for id in ids {
            self.reconnect(id);
        }
        let length = 200 + self.chaos.random.below(8_000);
        self.chaos.joins_at = Some(self.now.plus(Time(length * MILLIS)));
    }

    /// A leader is overtaken: what its peers answer is held up, then it sleeps, apart from them,
    /// while they choose another. It wakes, thinks that it leads, is asked, and hears the answers
    /// of its own time: at once, or when it has found out, or when it leads again.
    fn overtake(&mut self, leader: u64) {
        self.chaos.count("leader overtaken");
        self.marks.reach(Mark::Partitioned);
        let random = &mut self.chaos.random;
        let sleeps_at = self.now.plus(Time((1 + random.below(4)) * WEATHER_MS * MILLIS));
        let wakes_at = sleeps_at.plus(Time((1_000 + random.below(3_000)) * MILLIS));
        let is_late = random.chance(1, 3);
        let answers = random.below(if is_late { LATE_ANSWERS_MS_MAX } else { 300 });
        let answers_at = wakes_at.plus(Time(answers * MILLIS));
        let joins_at = wakes_at.plus(Time(random.below(2_300) * MILLIS));
        let returns_at = joins_at.plus(Time((500 + random.below(2_000)) * MILLIS));
        for other in self.machines.keys().copied().filter(|id| *id != leader) {
            self.network.hold(End::Member(other), End::Member(leader), answers_at);
        }
        self.chaos.overtaken = Some(Overtaken { leader, sleeps_at, wakes_at });
        self.chaos.joins_at = Some(joins_at);
        self.chaos.returns = is_late.then_some((leader, returns_at));
    }

    fn sleep_through_election(&mut self) {
        let Some(Overtaken { leader, wakes_at, .. }) = self.chaos.overtaken.take() else { return };
        self.network.release();
        let others: Vec<u64> = self.machines.keys().copied().filter(|id| *id != leader).collect();
        for other in others {
            self.network.cut(End::Member(leader), End::Member(other));
            self.network.cut(End::Member(other), End::Member(leader));
        }
        self.reconnect(leader);
        self.sleep(leader, wakes_at);
    }

    fn join(&mut self) {
        self.chaos.joins_at = None;
        self.chaos.overtaken = None;
        self.network.join();
        let ids: Vec<u64> = self.machines.keys().copied().collect();
        for id in ids {
            self.reconnect(id);
        }
    }

    fn pause(&mut self, id: u64) {
        self.chaos.count("pause");
        self.marks.reach(Mark::Paused);
        let length = self.chaos.random.below(6_000);
        self.sleep(id, self.now.plus(Time(length * MILLIS)));
    }

    fn sleep(&mut self, id: u64, until: Time) {
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.paused_until = machine.paused_until.max(until);
            self.queue.push(machine.paused_until, Happening::Resume { machine: id });
        }
    }

    /// A pause ends: what came meanwhile happens now, before all that comes after it.
    pub(super) fn resume(&mut self, id: u64) -> Result<(), Violation> {
        if self.machines.get(&id).is_some_and(|machine| machine.paused_until > self.now) {
            return Ok(());
        }
        let held = self.held.remove(&id).unwrap_or_default();
        held.into_iter().try_for_each(|happening| self.happen(happening))
    }

    fn break_disk(&mut self, id: u64) {
        let Some(machine) = self.machines.get(&id) else { return };
        let random = &mut self.chaos.random;
        let kind = if random.chance(1, 2) { FaultKind::WriteError } else { FaultKind::SyncError };
        let folder = if random.chance(2, 3) { LOG_FOLDER } else { STORE_FOLDER };
        let now = self.now;
        self.trace.remark(|| format!("{now} {id} gets a {kind:?} below {folder}"));
        machine.disk.inject(kind, folder, 1 + random.below(20));
    }

    fn fill_disk(&mut self, id: u64) {
        let Some(machine) = self.machines.get(&id) else { return };
        self.chaos.count("full disk");
        let used: u64 = machine.disk.list().iter().map(|(_, length)| length).sum();
        machine.disk.set_capacity(Some(used + self.chaos.random.below(20_000)));
        let length = self.chaos.random.below(5_000);
        self.chaos.space_at = Some(self.now.plus(Time(length * MILLIS)));
    }

    fn transfer(&mut self) -> Result<(), Violation> {
        let Some(leader) = self.chaos.leader() else { return Ok(()) };
        let ids: Vec<u64> = self.admin.members().filter(|id| *id != leader).collect();
        let Some(&to) = self.chaos.random.pick(&ids) else { return Ok(()) };
        self.transfer_to(leader, to)
    }

    /// Offer leadership to a member that goes down: until the leader gives the transfer up it takes
    /// no requests, its own neither, and then it leads on.
    fn transfer_in_vain(&mut self) -> Result<(), Violation> {
        let Some(leader) = self.chaos.leader() else { return Ok(()) };
        let ids: Vec<u64> = self.admin.members().filter(|id| *id != leader).collect();
        if ids.len() < 2 || self.chaos.random.chance(1, 2) {
            return Ok(());
        }
        let Some(&to) = self.chaos.random.pick(&ids) else { return Ok(()) };
        self.chaos.count("transfer in vain");
        self.crash(to, CrashPolicy::KeepAll);
        self.after(LAST_MS * MILLIS, Happening::Start { machine: to });
        self.transfer_to(leader, to)
    }

    fn transfer_to(&mut self, leader: u64, to: u64) -> Result<(), Violation> {
        let now = self.local(leader);
        self.marks.reach(Mark::Transferred);
        if let Some(process) = self.machines.get_mut(&leader).and_then(Machine::process) {
            process.transfer(now, NodeId(to));
        }
        self.settle(leader)
    }

    /// From now on nothing goes wrong.
    pub(super) fn heal(&mut self) -> Result<(), Violation> {
        self.healed_at = Some(self.now);
        self.admin.stop();
        self.network.heal();
        let ids: Vec<u64> = self.machines.keys().copied().collect();
        for machine in self.machines.values_mut() {
            machine.disk.heal();
            machine.disk.set_capacity(None);
            machine.slow_until = self.now;
            machine.paused_until = self.now.min(machine.paused_until);
        }
        for id in ids {
            self.resume(id)?;
            self.after(0, Happening::Start { machine: id });
            self.reconnect(id);
        }
        self.after(1_000 * MILLIS, Happening::Judge);
        Ok(())
    }
}
