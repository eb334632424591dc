//! Members come and go.

use quorate_api::Error;
use quorate_api::member_json::{ConfChangeContext, Member};
use quorate_member::open::Fresh;
use quorate_raft::NodeId;
use quorate_replica::MembershipChange;

use super::machine::Power;
use super::{CLUSTER, Happening, MILLIS, Machine, Mark, World};
use crate::check::Violation;

/// Members that a run has at most.
const MEMBERS_MAX: usize = 6;

/// What the run's administrator knows.
#[derive(Debug)]
pub(crate) struct Admin {
    members: Vec<u64>,
    /// Members that do not vote.
    learners: Vec<u64>,
    next: u64,
    least: usize,
    promoting: bool,
    done: bool,
    promoted: u64,
    /// Members that have gone, and that not yet a majority of the others knows to have gone.
    leaving: Vec<u64>,
}

impl Admin {
    pub(crate) fn new(members: u64) -> Self {
        Self {
            members: (1..=members).collect(),
            learners: Vec::new(),
            next: members + 1,
            least: usize::try_from(members).unwrap_or(1),
            promoting: false,
            done: false,
            promoted: 0,
            leaving: Vec::new(),
        }
    }

    /// The members, as far as the administrator knows.
    pub(crate) fn members(&self) -> impl Iterator<Item = u64> {
        self.members.iter().copied()
    }

    /// How many of them vote.
    pub(crate) fn voters(&self) -> usize {
        self.members.len() - self.learners.len()
    }

    /// The others that vote.
    pub(crate) fn voters_but(&self, id: u64) -> impl Iterator<Item = u64> {
        self.members().filter(move |member| *member != id && !self.is_learner(*member))
    }

    pub(crate) fn is_learner(&self, id: u64) -> bool {
        self.learners.contains(&id)
    }

    pub(crate) fn on_result(&mut self, result: Result<(), Error>) {
        if result.is_ok() && self.promoting {
            self.promoted += 1;
        }
        self.promoting = false;
    }

    pub(crate) fn on_gone(&mut self, id: u64) {
        self.members.retain(|member| *member != id);
        self.leaving.push(id);
    }

    /// Whether all that matter know who has gone. Until then its vote is needed, and missed.
    pub(crate) fn is_settled(&self) -> bool {
        self.leaving.is_empty()
    }

    /// From now on nothing changes any more.
    pub(crate) fn stop(&mut self) {
        self.done = true;
    }
}

/// What the log says of a member.
pub(crate) fn member(id: u64) -> Member {
    Member { id, peer_urls: Some(vec![format!("http://member-{id}:2380")]), ..Member::default() }
}

impl World {
    /// Learn the members from whoever has applied most.
    pub(super) fn learn_members(&mut self) {
        let newest = self
            .machines
            .values_mut()
            .filter(|machine| !machine.is_impostor)
            .filter_map(Machine::process)
            .max_by_key(|process| (process.store.applied_index(), process.id()));
        let Some(newest) = newest else { return };
        if newest.store.members().is_empty() {
            return;
        }
        let members = newest.store.members();
        self.admin.members = members.iter().map(|member| member.id).collect();
        let learners = members.iter().filter(|member| member.is_learner);
        self.admin.learners = learners.map(|member| member.id).collect();
    }

    /// Take the next step with the membership.
    pub(super) fn administrate(&mut self) -> Result<(), Violation> {
        self.learn_members();
        self.note_settled();
        if self.admin.promoted > 0 {
            self.marks.reach(Mark::MemberPromoted);
            self.admin.promoted = 0;
        }
        self.furnish();
        if self.admin.done || self.profile.faults.membership_ms == 0 {
            self.after(500 * MILLIS, Happening::Administrate);
            return Ok(());
        }
        let wait = self.profile.faults.membership_ms / 2
            + self.random.below(self.profile.faults.membership_ms);
        self.after(wait * MILLIS, Happening::Administrate);
        // Two at once: the one must wait for the other.
        let count = 1 + u64::from(self.random.chance(1, 3));
        for _ in 0..count {
            if let Some((change, at_leader)) = self.next_change() {
                self.ask_for_change(change, at_leader)?;
            }
        }
        Ok(())
    }

    fn note_settled(&mut self) {
        let majority = self.admin.voters() / 2 + 1;
        let knows = |process: &mut super::process::Process, gone: u64| {
            let members = process.store.members();
            !members.is_empty() && members.iter().all(|member| member.id != gone)
        };
        for gone in std::mem::take(&mut self.admin.leaving) {
            let processes = self.machines.values_mut().filter_map(Machine::process);
            if processes.map(|process| knows(process, gone)).filter(|it| *it).count() < majority {
                self.admin.leaving.push(gone);
            }
        }
    }

    /// Every member has a machine.
    fn furnish(&mut self) {
        let missing: Vec<u64> =
            self.admin.members().filter(|id| !self.machines.contains_key(id)).collect();
        for id in missing {
            let fresh = Fresh::Join { cluster: CLUSTER, member: id };
            let machine = Machine::new(id, fresh, &self.profile, &mut self.random);
            self.machines.insert(id, machine);
            let wait = self.random.below(1_000);
            self.after(wait * MILLIS, Happening::Start { machine: id });
        }
    }

    fn next_change(&mut self) -> Option<(MembershipChange, bool)> {
        if let Some(&learner) = self.admin.learners.first()
            && self.random.chance(4, 5)
        {
            self.admin.promoting = true;
            let mut promoted = member(learner);
            promoted.is_learner = false;
            let context = ConfChangeContext { member: promoted, is_promote: true };
            let context = context.to_json().into();
            return Some((MembershipChange::Promote { member: NodeId(learner), context }, true));
        }
        let impostor = self.admin.members().find(|id| self.is_impostor(*id));
        if let Some(id) = impostor.filter(|id| self.may_remove(*id))
            && self.random.chance(1, 2)
        {
            // What its refusal tells the administrator to do.
            return Some((MembershipChange::Remove { member: NodeId(id) }, false));
        }
        let members = self.admin.members.clone();
        if members.len() > self.admin.least && self.random.chance(2, 3)
            || members.len() >= MEMBERS_MAX
        {
            let id = *self.random.pick(&members).expect("there are members");
            if !self.may_remove(id) {
                return None;
            }
            if Some(id) == self.chaos.leader() {
                self.marks.reach(Mark::LeaderRemoved);
            }
            return Some((MembershipChange::Remove { member: NodeId(id) }, false));
        }
        let id = self.admin.next;
        self.admin.next += 1;
        let mut added = member(id);
        added.is_learner = self.random.chance(3, 4);
        let is_learner = added.is_learner;
        let context = ConfChangeContext { member: added, is_promote: false }.to_json().into();
        let member = NodeId(id);
        let change = if is_learner {
            MembershipChange::AddLearner { member, context }
        } else {
            MembershipChange::AddVoter { member, context }
        };
        Some((change, false))
    }

    /// Whether the run can do without this member.
    fn may_remove(&self, id: u64) -> bool {
        let is_learner = self.admin.learners.contains(&id);
        let voters = self.admin.voters();
        if is_learner {
            return true;
        }
        // The last two: when one goes, the other needs its vote until it knows that it has gone,
        // and who was removed is not there to give it. etcd's administrators know that, too.
        if voters <= 2 {
            return false;
        }
        // Who is refused comes back no more, and goes first.
        if self.admin.members().any(|other| other != id && self.is_impostor(other)) {
            return false;
        }
        // The good copies of what is committed stay a majority.
        let damaged =
            self.machines.values().filter(|machine| machine.is_damaged && machine.id != id).count();
        damaged <= (voters - 2) / 2
    }

    fn ask_for_change(
        &mut self,
        change: MembershipChange,
        at_leader: bool,
    ) -> Result<(), Violation> {
        let on: Vec<u64> = self
            .machines
            .iter()
            .filter(|(_, machine)| matches!(machine.power, Power::On(_)))
            .map(|(id, _)| *id)
            .collect();
        let leader = self.chaos.leader().filter(|id| on.contains(id));
        let asked = if at_leader { leader } else { self.random.pick(&on).copied() };
        let Some(id) = asked else { return Ok(()) };
        let now = self.local(id);
        if let Some(process) = self.machines.get_mut(&id).and_then(Machine::process) {
            process.change_membership(now, change);
        }
        self.settle(id)
    }
}
