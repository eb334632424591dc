//! Members that come back without what they had, and who hears whom.
//!
//! A disk is emptied, or an older copy of it put back, only where every other voter can tell: where
//! what each remembers, durably, contradicts what the member will say of itself. Then none of them
//! may hear it, whatever else goes wrong. Who cannot tell is no fault of the rule: a copy that was
//! put back within seconds looks like a restart to those that were away.

use quorate_member::identity::{Claim, Remembered, Situation, Trial, Verdict};
use quorate_raft::Message;
use sim_disk::{CrashPolicy, FaultyDisk, Image};

use super::happening::Happening;
use super::network::End;
use super::process::{Hearing, Life};
use super::{MILLIS, Machine, Mark, World};
use crate::check::Violation;

/// Milliseconds until a member hears that a peer does not hear it.
const REFUSAL_MS: u64 = 5;

impl World {
    /// Whether this machine's member is not the one that it says it is.
    pub(super) fn is_impostor(&self, id: u64) -> bool {
        self.machines.get(&id).is_some_and(|machine| machine.is_impostor)
    }

    /// What the peers that can be reached say to a member before it runs.
    pub(super) fn introduce(&mut self, id: u64) -> Option<String> {
        let machine = self.machines.get_mut(&id)?;
        let (claim, peers) = machine.introduction()?;
        let life = (id, machine.incarnation);
        machine.claims.insert(life.1, claim.clone());
        let mut trial = Trial::default();
        for &peer in peers.iter().filter(|peer| **peer != id) {
            if self.is_cut_off(id, peer) {
                continue;
            }
            let machine = self.machines.get_mut(&peer);
            let Some(process) = machine.and_then(Machine::process) else { continue };
            match process.takes(id, &claim) {
                Ok(()) => trial.on_accepted(peer),
                Err(why) => drop(trial.on_refused(peer, &why)),
            }
        }
        match trial.judge(Situation { member: id, leader: None, voters: &peers }) {
            Verdict::GoOn => None,
            Verdict::Stop { why, .. } => {
                self.note_refusal(id);
                Some(why)
            }
        }
    }

    /// A member hears from its leader that it had more than it has. One whose disk was put back has
    /// found out by itself what its peers were to tell it: it is under repair as one that was
    /// damaged, and may be heard, unless there is more against it than the end of its log.
    pub(super) fn on_end_lost(&mut self, id: u64) -> Result<(), Violation> {
        if !self.is_impostor(id) {
            return Err(self.judge.lost_end(self.now, id));
        }
        let voters: Vec<u64> = self.admin.voters_but(id).collect();
        let known: Vec<Remembered> = voters
            .iter()
            .filter_map(|voter| self.machines.get(voter).and_then(|machine| machine.remembers(id)))
            .collect();
        let Some(machine) = self.machines.get_mut(&id) else { return Ok(()) };
        let incarnation = machine.incarnation;
        let Some(claim) = machine.process().map(|process| process.claim()) else { return Ok(()) };
        if known.iter().any(|known| contradicts(known, &claim)) {
            self.note_refusal(id);
            self.crash(id, CrashPolicy::KeepAll);
            return self.on_refused(id, "its peers know more of it");
        }
        machine.claims.insert(incarnation, claim);
        machine.witnesses.clear();
        Ok(())
    }

    fn is_cut_off(&self, one: u64, other: u64) -> bool {
        let (one, other) = (End::Member(one), End::Member(other));
        self.network.is_cut(one, other) || self.network.is_cut(other, one)
    }

    fn note_refusal(&mut self, id: u64) {
        let Some(machine) = self.machines.get(&id) else { return };
        if machine.is_impostor {
            self.marks.reach(if machine.is_emptied {
                Mark::WipedRefused
            } else {
                Mark::OldRefused
            });
        }
    }

    /// Whether a member hears a message.
    pub(super) fn is_heard(
        &mut self,
        to: u64,
        sender: Life,
        message: &Message,
    ) -> Result<bool, Violation> {
        let (from, sent_by) = sender;
        let Some(claim) = self.claim_of(sender) else { return Ok(false) };
        if self.is_shunned(to, sender) {
            return Ok(false);
        }
        let Some(process) = self.machines.get_mut(&to).and_then(Machine::process) else {
            return Ok(false);
        };
        match process.hears(sender, &claim) {
            Hearing::Unwritten => Ok(false),
            Hearing::Refused(why) => {
                self.note_refusal(from);
                let (machine, incarnation, by) = (from, sent_by, to);
                let refuse = Happening::Refuse { machine, incarnation, by, why };
                self.after(REFUSAL_MS * MILLIS, refuse);
                Ok(false)
            }
            Hearing::Heard => {
                if self.is_witness(to, sender) {
                    return Err(self.judge.on_impostor_heard(self.now, to, message));
                }
                self.on_heard(to, sender);
                Ok(true)
            }
        }
    }

    /// Whether a member can tell that another is an impostor since this start. Of one that was removed
    /// it has forgotten everything: what that one says means nothing any more.
    fn is_witness(&mut self, id: u64, (impostor, incarnation): Life) -> bool {
        let process = self.machines.get_mut(&id).and_then(Machine::process);
        if process.is_some_and(|process| process.store.members().is_removed(impostor)) {
            return false;
        }
        self.machines.get(&impostor).is_some_and(|machine| {
            machine.witnesses.contains(&id) && incarnation > machine.genuine_until
        })
    }

    /// Whether the sender knows that somebody else is at the receiver's address.
    fn is_shunned(&mut self, to: u64, (from, sent_by): Life) -> bool {
        let Some(receiver) = self.machines.get(&to) else { return true };
        let life = (to, receiver.incarnation);
        let Some(claim) = self.claim_of(life) else { return false };
        self.process_of(from, sent_by).is_some_and(|process| process.shuns(life, &claim))
    }

    /// What a member said of itself at this one of its starts.
    fn claim_of(&self, (id, incarnation): Life) -> Option<Claim> {
        self.machines.get(&id)?.claims.get(&incarnation).cloned()
    }

    /// The sender hears that it is heard, and says how far it is.
    fn on_heard(&mut self, to: u64, (from, sent_by): Life) {
        let Some(sender) = self.process_of(from, sent_by) else { return };
        sender.accepted_by(to);
        let claim = sender.claim();
        if let Some(process) = self.machines.get_mut(&to).and_then(Machine::process) {
            process.note_claim((from, sent_by), &claim);
        }
    }

    /// A member that is down comes back without its disk, or with an older one; or a copy is made
    /// of it.
    pub(super) fn forget(&mut self, id: u64) {
        let percent = self.profile.faults.forget_percent;
        if percent == 0 {
            return;
        }
        let older = self.machines.get_mut(&id).and_then(|machine| machine.older.take());
        let random = self.chaos.random();
        let empty = FaultyDisk::new(0).image();
        let image = match older {
            Some(older) if random.chance(2, 3) => older,
            Some(_) | None if random.chance(percent, 200) => empty.clone(),
            Some(_) | None => {
                if let Some(machine) = self.machines.get_mut(&id) {
                    machine.older = Some(machine.disk.image());
                }
                return;
            }
        };
        if self.may_corrupt(id) {
            self.put_back(id, &image);
        }
    }

    /// Put an image on a machine's disk, if all other voters can tell.
    fn put_back(&mut self, id: u64, image: &Image) {
        let Some(machine) = self.machines.get(&id) else { return };
        let Some(claim) = machine.claim_on(image, &self.profile) else { return };
        let voters: Vec<u64> = self.admin.voters_but(id).collect();
        let can_tell = |voter: &u64| {
            let remembered = self.machines.get(voter).and_then(|machine| machine.remembers(id));
            remembered.is_some_and(|known| contradicts(&known, &claim))
        };
        if !voters.iter().all(can_tell) || self.admin.is_learner(id) {
            return;
        }
        let is_emptied = image_is_empty(image);
        self.chaos.count(if is_emptied { "disk emptied" } else { "older disk put back" });
        let now = self.now;
        self.trace.remark(|| format!("{now} {id} has lost its disk, emptied: {is_emptied}"));
        let Some(machine) = self.machines.get_mut(&id) else { return };
        machine.disk.restore(image);
        machine.is_damaged = true;
        machine.is_mendable = false;
        machine.is_impostor = true;
        machine.is_emptied = is_emptied;
        machine.witnesses = voters;
        machine.genuine_until = machine.incarnation;
    }
}

/// Whether what is remembered of a member says that it had more: told apart from the rule itself,
/// which is on trial.
fn contradicts(known: &Remembered, claim: &Claim) -> bool {
    let is_newer = claim.incarnation == known.incarnation && claim.boot > known.boot;
    let (acknowledged, in_term) = known.acknowledged;
    let is_shorter = claim.end.is_some_and(|end| {
        end.index < known.committed || (end.term == in_term && end.index < acknowledged)
    });
    !is_newer || is_shorter
}

fn image_is_empty(image: &Image) -> bool {
    FaultyDisk::from_image(image, 0).list().is_empty()
}
