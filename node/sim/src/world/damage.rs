//! Damage at rest: to the disk of a machine that is down.

use sim_disk::{Corruption, CrashPolicy};

use super::happening::Happening;
use super::machine::{LOG_FOLDER, Machine, Power};
use super::{MICROS, MILLIS, Mark, World};

impl World {
    /// Whether damage to this machine leaves a majority of whole ones.
    pub(super) fn may_corrupt(&self, id: u64) -> bool {
        let damaged =
            self.machines.values().filter(|machine| machine.is_damaged && machine.id != id).count();
        let voters = self.admin.voters();
        self.admin.is_settled() && damaged < voters.saturating_sub(1) / 2
    }

    /// Damage at rest. The log proves that its newest batch was durable by a seal in another
    /// sector: while a seal is missing, or if both are lost, no log can tell damage from a torn
    /// write. So the log is damaged only when it is quiet, and each of its files in one place.
    pub(super) fn corrupt(&mut self, id: u64, folder: &str) {
        let Some(machine) = self.machines.get_mut(&id) else { return };
        let random = self.chaos.random();
        let mut files: Vec<(String, u64)> = machine
            .disk
            .list()
            .into_iter()
            .filter(|(path, length)| path.starts_with(folder) && *length > 0)
            .collect();
        for _ in 0..=random.below(3) {
            let Some((path, length)) = random.pick(&files).cloned() else { return };
            let corruption = if random.chance(1, 2) {
                Corruption::FlipBit { offset: random.below(length), bit: random.below(8) as u8 }
            } else {
                Corruption::ZeroSector { sector: random.below(length.div_ceil(512)) }
            };
            if folder == LOG_FOLDER {
                files.retain(|(other, _)| *other != path);
            }
            let now = self.now;
            self.trace.remark(|| format!("{now} {id} has {path} damaged: {corruption:?}"));
            if machine.disk.corrupt(&path, corruption).is_ok() {
                machine.is_damaged = true;
                machine.is_mendable &= folder == LOG_FOLDER;
            }
        }
        self.judge.on_damaged(id);
    }

    /// Whether the machine's log has written all that it wants to, the newest seal too.
    pub(super) fn is_log_quiet(&mut self, id: u64) -> bool {
        let machine = self.machines.get_mut(&id);
        machine.and_then(Machine::process).is_some_and(|process| process.is_log_quiet())
    }

    /// How a machine goes off whose log is to be damaged. A loss of power can take a seal with it, and
    /// damage on top of that would be two faults at once: the one copy that the other makes
    /// unreadable. But not once the log's end is proved.
    pub(super) fn crash_before_damage(&mut self, id: u64) -> CrashPolicy {
        let machine = self.machines.get_mut(&id);
        let process = machine.and_then(Machine::process);
        if !process.is_some_and(|process| process.is_log_proved()) {
            return CrashPolicy::KeepAll;
        }
        self.chaos.count("log damaged after a loss of power");
        CrashPolicy::Any
    }

    /// A log is whole again: it counts as a copy, and another's may be damaged. Its machine has not
    /// written down yet that nothing is missing.
    pub(super) fn on_log_repaired(&mut self, id: u64, incarnation: u32) {
        self.marks.reach(Mark::RepairedLog);
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.on_log_repaired();
        }
        if self.healed_at.is_some() || self.profile.faults.crash_ms == 0 {
            return;
        }
        if self.chaos.random().chance(1, 2) {
            let wait = self.chaos.random().below(2 * self.profile.disk_us.1);
            self.after(wait * MICROS, Happening::Strike { machine: id, incarnation });
        }
        if self.chaos.random().chance(1, 2) {
            self.damage_another(id);
        }
    }

    fn damage_another(&mut self, than: u64) {
        let is_on = |machine: &&Machine| matches!(machine.power, Power::On(_));
        let others = self.machines.values().filter(|machine| machine.id != than);
        let on: Vec<u64> = others.filter(is_on).map(|machine| machine.id).collect();
        let Some(id) = self.chaos.random().pick(&on).copied() else { return };
        if !self.may_corrupt(id) || !self.is_log_quiet(id) {
            return;
        }
        self.chaos.count("another log damaged");
        let policy = self.crash_before_damage(id);
        self.crash(id, policy);
        self.corrupt(id, LOG_FOLDER);
        let down = self.chaos.random().below(self.profile.faults.down_ms_max) + 10;
        self.after(down * MILLIS, Happening::Start { machine: id });
    }
}
