//! A configuration change that was applied, and what follows for a leader.

use crate::conf_change::ConfChangeV2;
use crate::entry::ConfState;
use crate::membership::{Changed, Changer, ConfChangeError};
use crate::raft::Raft;
use crate::replication::WhenEmpty;
use crate::storage::Storage;
use crate::types::{NodeId, Role};

impl<S: Storage> Raft<S> {
    /// Applies a committed change.
    pub(crate) fn apply_conf_change(
        &mut self,
        change: &ConfChangeV2,
    ) -> Result<ConfState, ConfChangeError> {
        let changer = Changer { tracker: &self.tracker, last_index: self.log.last_index() };
        let changed = changer.apply(change)?;
        Ok(self.switch_to(changed))
    }

    /// Puts a configuration in force.
    pub(crate) fn switch_to(&mut self, (configuration, progress): Changed) -> ConfState {
        self.tracker.configuration = configuration;
        self.tracker.progress = progress;
        let conf_state = self.tracker.conf_state();
        if self.role != Role::Leader {
            return conf_state;
        }
        let own = self.tracker.progress.get(self.config.id);
        if own.is_none_or(|progress| progress.is_learner) {
            if self.config.step_down_on_removal {
                self.become_follower(self.term, NodeId::NONE);
            } else {
                self.confirm_reads();
            }
            return conf_state;
        }
        // A smaller quorum may have acknowledged already what the larger one had not.
        if self.maybe_commit() {
            self.broadcast_append();
        } else {
            // Newcomers need not wait for the next heartbeat.
            self.append_to_all(WhenEmpty::Skip);
        }
        self.confirm_reads();
        let voters = &self.tracker.configuration.voters;
        if self.lead_transferee.is_some() && !voters.contains(self.lead_transferee) {
            self.lead_transferee = NodeId::NONE;
        }
        conf_state
    }
}
