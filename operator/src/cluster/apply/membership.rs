//! Steps that members take: who belongs to the cluster, who leads, what is forgotten.
//!
//! Right before the membership is changed it is read again, through a quorum. If it is not the one
//! that the step was planned for, somebody else has changed it, and nothing is asked.

use std::collections::BTreeSet;

use super::{StepError, Work};
use crate::cluster::observe;
use crate::cluster::observed::{KnownMembership, Membership, Number};

impl Work<'_> {
    pub(super) async fn add(&self, number: Number) -> Result<(), StepError> {
        let through = self.confirmed(None).await?;
        let peer_url = self.blueprint.names.peer_url(number, self.blueprint.scheme);
        self.operator.members.add(self.contact, through, &peer_url).await?;
        Ok(())
    }

    pub(super) async fn promote(&self, id: u64) -> Result<(), StepError> {
        let through = self.confirmed(None).await?;
        Ok(self.operator.members.promote(self.contact, through, id).await?)
    }

    /// Through another member: who is removed may not live to answer.
    pub(super) async fn remove(&self, number: Number, id: u64) -> Result<(), StepError> {
        let through = self.confirmed(Some(number)).await?;
        Ok(self.operator.members.remove(self.contact, through, id).await?)
    }

    pub(super) async fn transfer(&self, from: Number, to_id: u64) -> Result<(), StepError> {
        Ok(self.operator.members.transfer(self.contact, from, to_id).await?)
    }

    pub(super) async fn compact(&self, revision: i64) -> Result<(), StepError> {
        let through = self.to_ask(None).ok_or(StepError::NobodyToAsk)?;
        Ok(self.operator.members.compact(self.contact, through, revision).await?)
    }

    /// A member to ask, once it has confirmed that the membership is the one that was looked at.
    async fn confirmed(&self, except: Option<Number>) -> Result<Number, StepError> {
        let Membership::Known(planned) = &self.observed.membership else {
            return Err(StepError::Changed("nobody knows who belongs to the cluster"));
        };
        let through = self.to_ask(except).ok_or(StepError::NobodyToAsk)?;
        let listed = self.operator.members.list(self.contact, through).await?;
        let found = observe::membership(&self.blueprint.names, self.blueprint.scheme, &listed);
        if !is_same(planned, &found) {
            return Err(StepError::Changed("somebody else has changed the membership"));
        }
        if !self.operator.leadership.holds() {
            return Err(StepError::Changed("another operator acts now"));
        }
        Ok(through)
    }

    /// The leader, if it says that it is, or another voter that answers.
    fn to_ask(&self, except: Option<Number>) -> Option<Number> {
        let Membership::Known(known) = &self.observed.membership else { return None };
        let voters = known.members.iter().filter(|member| !member.is_learner);
        let answering = voters.filter_map(|member| {
            let number = member.number.filter(|number| Some(*number) != except)?;
            let says = self.observed.members.get(&number)?.says()?;
            (says.member_id == member.id).then_some((says.leader == member.id, number))
        });
        answering
            .max_by_key(|(leads, number)| (*leads, std::cmp::Reverse(*number)))
            .map(|(_, number)| number)
    }
}

/// Whether two lists have the same members in the same roles, of the same cluster.
fn is_same(planned: &KnownMembership, found: &KnownMembership) -> bool {
    let members = |known: &KnownMembership| -> BTreeSet<(u64, Option<Number>, bool)> {
        known.members.iter().map(|member| (member.id, member.number, member.is_learner)).collect()
    };
    planned.cluster_id == found.cluster_id && members(planned) == members(found)
}

#[cfg(test)]
mod tests {
    use super::is_same;
    use crate::cluster::observed::{KnownMembership, RaftMember};

    #[test]
    fn a_membership_is_the_same_whoever_has_started_meanwhile() {
        let member = |id, number, is_learner, is_started| RaftMember {
            id,
            number: Some(number),
            is_learner,
            is_started,
        };
        let planned = KnownMembership {
            cluster_id: 7,
            members: vec![member(1, 0, false, true), member(2, 1, true, false)],
        };
        let mut found = planned.clone();
        found.members.reverse();
        found.members[0].is_started = true;
        assert!(is_same(&planned, &found));
        found.members[0].is_learner = false;
        assert!(!is_same(&planned, &found), "promoted");
        assert!(!is_same(&planned, &KnownMembership { cluster_id: 8, ..planned.clone() }));
        found.members.pop();
        assert!(!is_same(&planned, &found), "removed");
    }
}
