//! Which membership changes are safe now.
//!
//! Whether a change makes sense at all (the member exists, its addresses are new) is the store's
//! to say when it applies the entry, the same on all members. Here it is asked beforehand whether
//! the cluster would keep a working quorum: with etcd's rules, on the member that was asked.

use std::collections::BTreeMap;

use quorate_api::Error;
use quorate_raft::NodeId;

use crate::Time;
use crate::config::{Config, HEALTH_INTERVAL_MS};
use crate::event::{MemberFact, MembershipChange, Presence, Role};

/// A learner is caught up when it has nine tenths of what the leader has (etcd's
/// `readyPercentThreshold`).
const LEARNER_READY_TENTHS: u64 = 9;

/// The members, and since when each can be reached.
#[derive(Debug)]
pub(crate) struct Membership {
    this: NodeId,
    members: Vec<MemberFact>,
    connected_since: BTreeMap<NodeId, Time>,
}

impl Membership {
    pub(crate) fn new(this: NodeId, members: Vec<MemberFact>) -> Self {
        Self { this, members, connected_since: BTreeMap::new() }
    }

    pub(crate) fn set_members(&mut self, members: Vec<MemberFact>) {
        self.members = members;
    }

    pub(crate) fn on_connected(&mut self, peer: NodeId, now: Time) {
        self.connected_since.entry(peer).or_insert(now);
    }

    pub(crate) fn on_disconnected(&mut self, peer: NodeId) {
        self.connected_since.remove(&peer);
    }

    /// Whether the change leaves a quorum that is there and connected.
    ///
    /// # Errors
    /// As etcd's strict reconfiguration check answers.
    pub(crate) fn check(
        &self,
        change: &MembershipChange,
        config: &Config,
        now: Time,
    ) -> Result<(), Error> {
        match change {
            MembershipChange::AddVoter { .. } if config.strict_reconfiguration => {
                self.check_add_voter(now)
            }
            MembershipChange::AddLearner { .. } => self.check_add_learner(config, now),
            MembershipChange::Promote { member, .. } => {
                self.check_is_learner(*member)?;
                if config.strict_reconfiguration { self.check_promote() } else { Ok(()) }
            }
            MembershipChange::Remove { member } if config.strict_reconfiguration => {
                self.check_remove(*member, now)
            }
            MembershipChange::AddVoter { .. }
            | MembershipChange::Remove { .. }
            | MembershipChange::Update { .. } => Ok(()),
        }
    }

    /// Whether a learner that has `matched` of `last` log entries may vote.
    pub(crate) fn check_caught_up(matched: u64, last: u64) -> Result<(), Error> {
        if matched.saturating_mul(10) < last.saturating_mul(LEARNER_READY_TENTHS) {
            return Err(Error::LearnerNotReady);
        }
        Ok(())
    }

    /// The connected voter that has been so for longest, other than this member.
    pub(crate) fn longest_connected_voter(&self) -> Option<NodeId> {
        self.voters()
            .filter_map(|fact| Some((self.connected_since.get(&fact.member)?, fact.member)))
            .filter(|(_, member)| *member != self.this)
            .min()
            .map(|(_, member)| member)
    }

    /// Whether a member has been connected since a time in the past.
    pub(crate) fn reached(&self, member: NodeId, since: Time) -> bool {
        member == self.this
            || self.connected_since.get(&member).is_some_and(|connected| *connected <= since)
    }

    fn voters(&self) -> impl Iterator<Item = &MemberFact> + Clone {
        self.members.iter().filter(|fact| fact.role == Role::Voter)
    }

    fn check_is_learner(&self, member: NodeId) -> Result<(), Error> {
        match self.members.iter().find(|fact| fact.member == member) {
            None => Err(Error::MemberNotFound),
            Some(fact) if fact.role == Role::Voter => Err(Error::MemberNotLearner),
            Some(_) => Ok(()),
        }
    }

    fn check_add_voter(&self, now: Time) -> Result<(), Error> {
        let started = self.voters().filter(|fact| fact.presence == Presence::Started).count();
        let members = self.voters().count() + 1;
        // One started member may always get a second: a cluster of one has no other way to grow.
        let grows_from_one = started == 1 && members == 2;
        if !grows_from_one && started < members / 2 + 1 {
            return Err(Error::MemberNotEnoughStarted);
        }
        self.check_quorum_with_one_more(now)
    }

    fn check_add_learner(&self, config: &Config, now: Time) -> Result<(), Error> {
        let learners = self.members.iter().filter(|fact| fact.role == Role::Learner).count();
        if learners >= config.learners_max {
            return Err(Error::TooManyLearners);
        }
        if config.strict_reconfiguration { self.check_quorum_with_one_more(now) } else { Ok(()) }
    }

    fn check_promote(&self) -> Result<(), Error> {
        let started = 1 + self.voters().filter(|fact| fact.presence == Presence::Started).count();
        let members = self.voters().count() + 1;
        if started < members / 2 + 1 {
            return Err(Error::MemberNotEnoughStarted);
        }
        Ok(())
    }

    fn check_remove(&self, member: NodeId, now: Time) -> Result<(), Error> {
        let Some(leaving) = self.voters().find(|fact| fact.member == member) else {
            return Ok(());
        };
        let rest = self.voters().filter(|fact| fact.member != member);
        let members = rest.clone().count();
        let started = rest.filter(|fact| fact.presence == Presence::Started).count();
        if started < members / 2 + 1 {
            return Err(Error::MemberNotEnoughStarted);
        }
        // A member that cannot be reached takes nothing from the quorum by leaving.
        if !self.is_connected(leaving.member, now, 0) {
            return Ok(());
        }
        let active = self.voters().filter(|fact| self.is_connected(fact.member, now, 0)).count();
        if active.saturating_sub(1) < 1 + self.voters().count().saturating_sub(1) / 2 {
            return Err(Error::Unhealthy);
        }
        Ok(())
    }

    /// A new member counts as one that is away. Who votes alone may always get a second.
    fn check_quorum_with_one_more(&self, now: Time) -> Result<(), Error> {
        let is_there = |fact: &&MemberFact| self.is_connected(fact.member, now, HEALTH_INTERVAL_MS);
        let (voters, there) = (self.voters().count(), self.voters().filter(is_there).count());
        let quorum = voters.div_ceil(2) + 1;
        if voters == 1 || there >= quorum { Ok(()) } else { Err(Error::Unhealthy) }
    }

    fn is_connected(&self, member: NodeId, now: Time, for_ms: u64) -> bool {
        member == self.this
            || self.connected_since.get(&member).is_some_and(|since| now.since(*since) >= for_ms)
    }
}
