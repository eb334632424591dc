//! What the steps do in the world: as the operator's shell carries them out, with preconditions on
//! deletes and on the membership.

use quorate_operator::cluster::observed::{Bootstrap, Membership, Number, Observed, RaftMember};
use quorate_operator::cluster::plan::{Step, quorum};

use super::world::{Set, World};

impl World {
    pub(super) fn take(&mut self, observed: &Observed, step: &Step) {
        let is_known = matches!(observed.membership, Membership::Known(_));
        let needs_quorum = |world: &mut Self| {
            if !is_known {
                world.broken(format!("{step} on nobody's word"));
            }
        };
        match step {
            Step::Seed { number } => {
                self.mark("seed");
                // Created, and never written over.
                if !self.objects.sets.contains_key(number) {
                    self.write_set(*number, Bootstrap::New);
                }
            }
            Step::CloseSeed { number } => {
                if let Some(set) = self.objects.sets.get_mut(number) {
                    set.bootstrap = Bootstrap::Existing;
                    set.version += 1;
                }
            }
            // Written with the status.
            Step::Latch { .. } => self.mark("latch"),
            Step::Start { number } => self.write_set(*number, Bootstrap::Existing),
            Step::WriteTemplate { number } => {
                if let Some(set) = self.objects.sets.get(number) {
                    let bootstrap = set.bootstrap;
                    self.write_set(*number, bootstrap);
                }
            }
            Step::Add { number } => {
                needs_quorum(self);
                self.add(observed, *number);
            }
            Step::Promote { number, id } => {
                needs_quorum(self);
                self.promote(observed, *number, *id);
            }
            Step::Transfer { to, to_id, .. } => {
                self.mark("transfer");
                let runs = self.runs(*to);
                if let Some(raft) = self.raft.as_mut().filter(|_| runs) {
                    raft.leader = Some(*to_id);
                }
            }
            Step::Remove { number, id } => {
                needs_quorum(self);
                self.remove(observed, *number, *id);
            }
            Step::DeleteSet { number, uid, version } => {
                needs_quorum(self);
                let set = self.objects.sets.get(number);
                if set.is_some_and(|set| set.uid == *uid && set.version.to_string() == *version) {
                    self.delete_set(*number);
                }
            }
            Step::DeletePod { number, uid, .. } => {
                needs_quorum(self);
                if self.objects.pods.get(number).is_some_and(|pod| pod.uid == *uid) {
                    self.objects.pods.remove(number);
                }
            }
            Step::DeleteClaim { number, uid } => {
                needs_quorum(self);
                self.mark("delete-claim");
                let is_member = self.raft.as_ref().is_some_and(|raft| {
                    raft.members.iter().any(|member| member.number == Some(*number))
                });
                if let Some(claim) =
                    self.objects.claims.get_mut(number).filter(|claim| claim.uid == *uid)
                {
                    claim.is_leaving = true;
                    if is_member {
                        self.broken(format!("the volume of member {number} is deleted"));
                    }
                }
            }
            Step::Restart { number, uid } => {
                self.mark("restart");
                let now = self.now;
                if let Some(pod) = self.objects.pods.get_mut(number).filter(|pod| pod.uid == *uid) {
                    pod.leaving_since.get_or_insert(now);
                }
            }
            Step::Stop { number } => {
                self.mark("stop");
                if !self.wish.hibernates {
                    self.broken(format!("member {number} is stopped"));
                }
                if let Some(set) = self.objects.sets.get_mut(number) {
                    set.is_stopped = true;
                    set.version += 1;
                }
            }
            Step::Wake { numbers } => {
                self.mark("wake");
                for number in numbers {
                    if let Some(set) = self.objects.sets.get_mut(number) {
                        set.is_stopped = false;
                        set.version += 1;
                    }
                }
            }
            Step::Grow { .. }
            | Step::Compact { .. }
            | Step::BackUp
            | Step::AdvanceCertificates
            | Step::Inspect { .. }
            | Step::Recover { .. } => self.broken(format!("{step} is not part of this world")),
        }
    }

    fn write_set(&mut self, number: Number, bootstrap: Bootstrap) {
        let hash = self.wish.hash.clone();
        if let Some(set) = self.objects.sets.get_mut(&number) {
            set.hash = hash;
            set.bootstrap = bootstrap;
            set.is_stopped = false;
            set.version += 1;
            return;
        }
        let uid = self.fresh("set");
        let set = Set { uid, version: 1, bootstrap, hash, is_stopped: false, is_leaving: false };
        self.objects.sets.insert(number, set);
    }

    /// Whether the members are still those that were seen.
    fn is_as_seen(&self, observed: &Observed) -> bool {
        let seen = match &observed.membership {
            Membership::Known(known) => &known.members,
            Membership::Unknown => return false,
        };
        self.has_quorum() && self.raft.as_ref().is_some_and(|raft| raft.members == *seen)
    }

    fn add(&mut self, observed: &Observed, number: Number) {
        if !self.is_as_seen(observed) {
            return;
        }
        self.mark("add");
        if !self.ever_added.insert(number) {
            self.broken(format!("number {number} is added twice"));
        }
        let id: u64 = self.fresh("id").trim_start_matches("id-").parse().expect("a number");
        if let Some(raft) = &mut self.raft {
            raft.members.push(RaftMember {
                id: id + 1_000_000,
                number: Some(number),
                is_learner: true,
                is_started: false,
            });
        }
    }

    fn promote(&mut self, observed: &Observed, number: Number, id: u64) {
        if !self.is_as_seen(observed) || !self.runs(number) {
            return;
        }
        self.mark("promote");
        let member = self
            .raft
            .as_mut()
            .and_then(|raft| raft.members.iter_mut().find(|member| member.id == id));
        if let Some(member) = member {
            member.is_learner = false;
        }
    }

    fn remove(&mut self, observed: &Observed, number: Number, id: u64) {
        if !self.is_as_seen(observed) {
            return;
        }
        let Some(raft) = &self.raft else { return };
        let others: Vec<Number> = raft
            .members
            .iter()
            .filter(|member| !member.is_learner && member.id != id)
            .filter_map(|member| member.number)
            .collect();
        // As members check it themselves.
        let running = others.iter().filter(|number| self.runs(**number)).count();
        if running < quorum(others.len()) {
            self.broken(format!("the removal of {number} would cost the majority"));
            return;
        }
        let is_dead = !self.runs(number);
        self.mark(if is_dead { "replace" } else { "remove" });
        if let Some(raft) = &mut self.raft {
            raft.members.retain(|member| member.id != id);
            if raft.leader == Some(id) {
                raft.leader = None;
            }
        }
    }
}
