//! Applies changes to a configuration, or says why they cannot be.

use super::Configuration;
use crate::conf_change::{AutoLeave, ConfChangeKind, ConfChangeSingle, ConfChangeV2, Procedure};
use crate::node_set::NodeSet;
use crate::progress::{Progress, ProgressMap};
use crate::tracker::Tracker;
use crate::types::{Index, NodeId};

/// Why a change cannot be applied to the configuration in force. All members come to the same
/// answer, for it depends on the log alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfChangeError {
    /// A joint configuration must be left before another is entered.
    #[error("config is already joint")]
    AlreadyJoint,
    /// There is no configuration to start from.
    #[error("can't make a zero-voter config joint")]
    NoVotersToJoin,
    /// There is no joint configuration to leave.
    #[error("can't leave a non-joint config")]
    NotJoint,
    /// A joint configuration must be left first.
    #[error("can't apply simple config change in joint config")]
    SimpleInJoint,
    /// Majorities of configurations that differ in more than one voter may not overlap.
    #[error("more than one voter changed without entering joint config")]
    MoreThanOneVoter,
    /// A cluster without voters could never decide anything again.
    #[error("removed all voters")]
    NoVoters,
    /// The stored configuration is not one that changes can lead to.
    #[error("the configuration contradicts itself")]
    Inconsistent,
}

/// What a change leads to.
pub type Changed = (Configuration, ProgressMap);

/// Applies changes to the configuration of `tracker`, which stays as it is.
#[derive(Debug, Clone, Copy)]
pub struct Changer<'a> {
    /// What is changed.
    pub tracker: &'a Tracker,
    /// The end of the log: where the probing of a new member starts.
    pub last_index: Index,
}

impl Changer<'_> {
    /// Applies `change` in the way that it asks for.
    pub fn apply(&self, change: &ConfChangeV2) -> Result<Changed, ConfChangeError> {
        match change.procedure() {
            Procedure::LeaveJoint => self.leave_joint(),
            Procedure::EnterJoint(auto_leave) => self.enter_joint(auto_leave, &change.changes),
            Procedure::Simple => self.simple(&change.changes),
        }
    }

    /// Turns `(1 2 3)` into `(…changed…)&&(1 2 3)`.
    pub fn enter_joint(
        &self,
        auto_leave: AutoLeave,
        changes: &[ConfChangeSingle],
    ) -> Result<Changed, ConfChangeError> {
        let mut draft = self.draft();
        let voters = &mut draft.configuration.voters;
        if voters.is_joint() {
            return Err(ConfChangeError::AlreadyJoint);
        }
        if voters.incoming.0.is_empty() {
            return Err(ConfChangeError::NoVotersToJoin);
        }
        voters.outgoing = voters.incoming.clone();
        draft.change(changes)?;
        draft.configuration.auto_leave = auto_leave == AutoLeave::Yes;
        draft.finish()
    }

    /// Turns `(1 2 4)&&(1 2 3)` into `(1 2 4)`; members staged as learners become such.
    pub fn leave_joint(&self) -> Result<Changed, ConfChangeError> {
        let mut draft = self.draft();
        let Configuration { voters, auto_leave, learners, learners_next } =
            &mut draft.configuration;
        if !voters.is_joint() {
            return Err(ConfChangeError::NotJoint);
        }
        for id in std::mem::take(learners_next).iter() {
            learners.insert(id);
            if let Some(progress) = draft.progress.get_mut(id) {
                progress.is_learner = true;
            }
        }
        for id in std::mem::take(&mut voters.outgoing).0.iter() {
            if !voters.incoming.0.contains(id) && !learners.contains(id) {
                draft.progress.remove(id);
            }
        }
        *auto_leave = false;
        draft.finish()
    }

    /// Applies changes that add up to at most one voter more or less.
    pub fn simple(&self, changes: &[ConfChangeSingle]) -> Result<Changed, ConfChangeError> {
        let mut draft = self.draft();
        if draft.configuration.voters.is_joint() {
            return Err(ConfChangeError::SimpleInJoint);
        }
        draft.change(changes)?;
        let before = &self.tracker.configuration.voters.incoming.0;
        let after = &draft.configuration.voters.incoming.0;
        if difference(before, after) + difference(after, before) > 1 {
            return Err(ConfChangeError::MoreThanOneVoter);
        }
        draft.finish()
    }

    fn draft(&self) -> Draft {
        let mut newcomer =
            Progress::new(self.last_index.max(Index(1)), self.tracker.new_inflights());
        // A newcomer had no chance yet to be heard; counting it as silent could cost the leader
        // its quorum at the next check.
        newcomer.recent_active = true;
        Draft {
            configuration: self.tracker.configuration.clone(),
            progress: self.tracker.progress.clone(),
            newcomer,
        }
    }
}

fn difference(left: &NodeSet, right: &NodeSet) -> usize {
    left.iter().filter(|id| !right.contains(*id)).count()
}

/// A configuration under change.
struct Draft {
    configuration: Configuration,
    progress: ProgressMap,
    /// What a new member starts with.
    newcomer: Progress,
}

impl Draft {
    fn change(&mut self, changes: &[ConfChangeSingle]) -> Result<(), ConfChangeError> {
        for change in changes {
            if change.node_id.is_none() {
                // A change that was refused after it was committed names nobody.
                continue;
            }
            match change.kind {
                ConfChangeKind::AddNode => self.make_voter(change.node_id),
                ConfChangeKind::AddLearnerNode => self.make_learner(change.node_id),
                ConfChangeKind::RemoveNode => self.remove(change.node_id),
                ConfChangeKind::UpdateNode => {}
            }
        }
        if self.configuration.voters.incoming.0.is_empty() {
            return Err(ConfChangeError::NoVoters);
        }
        Ok(())
    }

    fn make_voter(&mut self, id: NodeId) {
        match self.progress.get_mut(id) {
            Some(progress) => progress.is_learner = false,
            None => self.progress.insert(id, self.newcomer.clone()),
        }
        self.configuration.learners.remove(id);
        self.configuration.learners_next.remove(id);
        self.configuration.voters.incoming.0.insert(id);
    }

    fn make_learner(&mut self, id: NodeId) {
        let progress = self.progress.get(id).cloned();
        if progress.as_ref().is_some_and(|progress| progress.is_learner) {
            return;
        }
        self.remove(id);
        let mut progress = progress.unwrap_or_else(|| self.newcomer.clone());
        if self.configuration.voters.outgoing.0.contains(id) {
            self.configuration.learners_next.insert(id);
        } else {
            progress.is_learner = true;
            self.configuration.learners.insert(id);
        }
        self.progress.insert(id, progress);
    }

    fn remove(&mut self, id: NodeId) {
        self.configuration.voters.incoming.0.remove(id);
        self.configuration.learners.remove(id);
        self.configuration.learners_next.remove(id);
        if !self.configuration.voters.outgoing.0.contains(id) {
            self.progress.remove(id);
        }
    }

    /// Checks the module's invariants and gives out the result.
    fn finish(self) -> Result<Changed, ConfChangeError> {
        let Configuration { voters, auto_leave, learners, learners_next } = &self.configuration;
        let is_learner = |id| self.progress.get(id).map(|progress| progress.is_learner);
        let members_tracked = voters.ids().iter().all(|id| is_learner(id) == Some(false));
        let staged_vote = learners_next
            .iter()
            .all(|id| voters.outgoing.0.contains(id) && is_learner(id) == Some(false));
        let learners_listen =
            learners.iter().all(|id| !voters.contains(id) && is_learner(id) == Some(true));
        let plain_is_clean = voters.is_joint() || (learners_next.is_empty() && !auto_leave);
        if members_tracked && staged_vote && learners_listen && plain_is_clean {
            Ok((self.configuration, self.progress))
        } else {
            Err(ConfChangeError::Inconsistent)
        }
    }
}
