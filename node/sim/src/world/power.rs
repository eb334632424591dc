//! Machines are switched on and go off, by themselves or not.
//!
//! ```text
//!   Start ──► opens its directory ──► runs ──► stops by itself ──► Start, after a while
//!                 │                     └────► crash: what the disk keeps is drawn
//!                 └─► refused: only a machine whose disk was damaged may
//! ```

use quorate_member::open::Finding;
use sim_disk::CrashPolicy;

use super::happening::Happening;
use super::machine::{Power, Start, StartFailed};
use super::process::Stop;
use super::{MILLIS, Mark, NOTICE_MS, PROGRESS_MS, World};
use crate::check::Violation;
use crate::history::Outcome;

impl World {
    /// Switch a machine on.
    pub(super) fn start(&mut self, id: u64) -> Result<(), Violation> {
        let Some(machine) = self.machines.get_mut(&id) else { return Ok(()) };
        if !machine.is_off() {
            return Ok(());
        }
        if machine.open().is_err() {
            self.on_failed_start(id);
        }
        self.settle(id)
    }

    /// An operation of a start has ended.
    pub(super) fn go_on_starting(&mut self, id: u64) -> Result<(), Violation> {
        let Some(machine) = self.machines.get_mut(&id) else { return Ok(()) };
        match machine.try_start(&self.profile) {
            Ok(Start::Waiting) => {}
            Ok(Start::Found(findings)) => {
                for finding in &findings {
                    self.on_finding(id, finding)?;
                }
            }
            Ok(Start::Ready) => {
                if let Some(why) = self.introduce(id) {
                    return self.on_refused(id, &why);
                }
                let Some(machine) = self.machines.get_mut(&id) else { return Ok(()) };
                match machine.run(self.now, &self.profile) {
                    Ok(()) => self.on_started(id),
                    Err(_) => self.on_failed_start(id),
                }
            }
            Err(StartFailed::Refused(error)) => self.on_refused(id, &error.to_string())?,
            Err(StartFailed::Disk) => self.on_failed_start(id),
        }
        Ok(())
    }

    fn on_failed_start(&mut self, id: u64) {
        self.chaos.count("failed start");
        self.crash(id, CrashPolicy::KeepAll);
    }

    pub(super) fn on_started(&mut self, id: u64) {
        let Some(machine) = self.machines.get_mut(&id) else { return };
        let incarnation = machine.incarnation;
        let interval = machine.tick_interval();
        if let Some(process) = machine.process()
            && process.store.applied_index() > 0
        {
            self.marks.reach(Mark::CheckpointRestart);
        }
        self.after(interval.0, Happening::Tick { machine: id, incarnation });
        let progress = Happening::TickProgress { machine: id, incarnation };
        self.after(PROGRESS_MS * MILLIS, progress);
        self.after(MILLIS, Happening::Job { machine: id, incarnation });
        self.reconnect(id);
    }

    fn on_finding(&mut self, id: u64, finding: &Finding) -> Result<(), Violation> {
        let now = self.now;
        self.trace.remark(|| format!("{now} {id} finds {finding:?}"));
        match finding {
            Finding::TornTail { .. } => self.marks.reach(Mark::TornTail),
            Finding::DamagedLog { .. } => self.marks.reach(Mark::DamagedLog),
            Finding::DamagedStore(_) | Finding::OlderCheckpoint(_) => {
                self.marks.reach(Mark::DamagedStore);
            }
            Finding::Fresh | Finding::Repairing { .. } | Finding::NewIdentity => {}
        }
        if let Finding::DamagedLog { .. } | Finding::DamagedStore(_) = finding {
            if !self.machines.get(&id).is_some_and(|machine| machine.is_damaged) {
                return Err(self.judge.refused(self.now, id, &format!("{finding:?}")));
            }
            // Damage can be met long after it was done: the member begins with less.
            self.judge.on_damaged(id);
        }
        Ok(())
    }

    pub(super) fn on_refused(&mut self, id: u64, why: &str) -> Result<(), Violation> {
        let damaged = self.machines.get(&id).is_some_and(|machine| machine.is_damaged);
        let Some(machine) = self.machines.get_mut(&id) else { return Ok(()) };
        machine.power = Power::Refused(why.to_owned());
        self.chaos.count("refused start");
        if damaged { Ok(()) } else { Err(self.judge.refused(self.now, id, why)) }
    }

    pub(super) fn on_stop(&mut self, id: u64, stop: Stop) -> Result<(), Violation> {
        let now = self.now;
        self.trace.remark(|| format!("{now} {id} stops: {stop:?}"));
        match stop {
            Stop::Removed => {
                self.marks.reach(Mark::MemberRemoved);
                self.crash(id, CrashPolicy::KeepAll);
                self.admin.on_gone(id);
                if let Some(machine) = self.machines.get_mut(&id) {
                    machine.power = Power::Gone;
                }
                return Ok(());
            }
            Stop::DiskFailed => self.marks.reach(Mark::DiskFailed),
            Stop::DiskFull => self.marks.reach(Mark::DiskFull),
            Stop::Damaged(_) => {
                self.marks.reach(Mark::DamagedStore);
                // The member's last act: to write down that its store is damaged.
                if let Some(machine) = self.machines.get(&id) {
                    for handle in machine.handles() {
                        while machine.disk.complete(handle, None) {}
                    }
                }
            }
            Stop::Refused(why) => {
                self.crash(id, CrashPolicy::KeepAll);
                return self.on_refused(id, &why);
            }
            Stop::Broken(why) => {
                if let Some(violation) = self.judge.on_broken(self.now, id, &why) {
                    return Err(violation);
                }
            }
        }
        self.crash(id, CrashPolicy::KeepAll);
        let delay = 100 + self.random.below(1_000);
        self.after(delay * MILLIS, Happening::Start { machine: id });
        Ok(())
    }

    /// Power off, at once.
    pub(super) fn crash(&mut self, id: u64, policy: CrashPolicy) {
        let Some(machine) = self.machines.get_mut(&id) else { return };
        if matches!(machine.power, Power::Gone | Power::Refused(_)) {
            return;
        }
        if !machine.is_impostor {
            self.judge.on_crash(id, machine.process().map(|process| &*process));
        }
        machine.power = Power::Off;
        let now = self.now;
        self.trace.remark(|| format!("{now} {id} crashes: {policy:?}"));
        machine.disk.crash(policy);
        self.busy.retain(|(owner, _), _| *owner != id);
        for (client, call) in self.links.calls_at(id) {
            let outcome = Box::new(Outcome::Unknown);
            self.after(NOTICE_MS * MILLIS, Happening::Answer { client, call, outcome });
        }
        self.break_streams_at(id);
        self.reconnect(id);
    }
}
