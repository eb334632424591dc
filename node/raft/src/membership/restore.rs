//! Builds a configuration from its stored form, through the same changes that could have led to
//! it, so that the rules for changes check it too.

use super::{Changed, Changer, ConfChangeError};
use crate::conf_change::{AutoLeave, ConfChangeKind, ConfChangeSingle};
use crate::entry::ConfState;
use crate::tracker::Tracker;
use crate::types::{Index, NodeId};

/// The configuration that `state` describes. `tracker` gives the limits and should have no
/// members; `last_index` is the end of the log.
pub fn restore(
    tracker: &Tracker,
    last_index: Index,
    state: &ConfState,
) -> Result<Changed, ConfChangeError> {
    let ConfState { voters, learners, voters_outgoing, learners_next, auto_leave } = state;
    let mut tracker = tracker.clone();
    let step = |tracker: &mut Tracker, id: NodeId, kind: ConfChangeKind| {
        let change = ConfChangeSingle { kind, node_id: id };
        let (configuration, progress) =
            Changer { tracker, last_index }.simple(std::slice::from_ref(&change))?;
        tracker.configuration = configuration;
        tracker.progress = progress;
        Ok::<(), ConfChangeError>(())
    };

    if voters_outgoing.is_empty() {
        for id in voters {
            step(&mut tracker, *id, ConfChangeKind::AddNode)?;
        }
        for id in learners.iter().chain(learners_next) {
            step(&mut tracker, *id, ConfChangeKind::AddLearnerNode)?;
        }
    } else {
        // First the outgoing half alone, then everything that differs, as one joint change.
        for id in voters_outgoing {
            step(&mut tracker, *id, ConfChangeKind::AddNode)?;
        }
        let single = |kind| move |id: &NodeId| ConfChangeSingle { kind, node_id: *id };
        let changes: Vec<ConfChangeSingle> = voters_outgoing
            .iter()
            .map(single(ConfChangeKind::RemoveNode))
            .chain(voters.iter().map(single(ConfChangeKind::AddNode)))
            .chain(learners.iter().map(single(ConfChangeKind::AddLearnerNode)))
            .chain(learners_next.iter().map(single(ConfChangeKind::AddLearnerNode)))
            .collect();
        let auto_leave = if *auto_leave { AutoLeave::Yes } else { AutoLeave::No };
        let (configuration, progress) =
            Changer { tracker: &tracker, last_index }.enter_joint(auto_leave, &changes)?;
        tracker.configuration = configuration;
        tracker.progress = progress;
    }

    if tracker.conf_state().is_equivalent(state) {
        Ok((tracker.configuration, tracker.progress))
    } else {
        Err(ConfChangeError::Inconsistent)
    }
}
