//! Changes of the membership.

use std::time::{SystemTime, UNIX_EPOCH};

use quorate_api::Error;
use quorate_api::identity::member_id;
use quorate_api::member_json::{self, ConfChangeContext};
use quorate_raft::NodeId;
use quorate_replica::{Event, MembershipChange};
use quorate_store::entry::Reply;

use super::waiters::Answer;
use super::{Member, Stop};

/// A wanted membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Add a member.
    Add {
        /// Where its peers reach it.
        peer_urls: Vec<String>,
        /// Whether it only learns.
        is_learner: bool,
    },
    /// Let a learner vote.
    Promote(u64),
    /// Remove a member for good.
    Remove(u64),
    /// Give a member other peer URLs.
    Update {
        /// Who.
        member: u64,
        /// Where its peers reach it.
        peer_urls: Vec<String>,
    },
}

impl Member {
    /// Add a member: it, and the members there are then.
    ///
    /// # Errors
    /// The client's answer.
    pub async fn add_member(
        &self,
        peer_urls: Vec<String>,
        is_learner: bool,
    ) -> Result<(member_json::Member, Vec<member_json::Member>), Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let id = member_id(&peer_urls, "", Some(i64::try_from(now).unwrap_or(i64::MAX)));
        let mut peer_urls = peer_urls;
        peer_urls.sort();
        let peer_urls = Some(peer_urls);
        let member =
            member_json::Member { id, peer_urls, is_learner, ..member_json::Member::default() };
        let context = ConfChangeContext { member: member.clone(), is_promote: false };
        let context = context.to_json().into();
        let change = if is_learner {
            MembershipChange::AddLearner { member: NodeId(id), context }
        } else {
            MembershipChange::AddVoter { member: NodeId(id), context }
        };
        Ok((member, self.change_raft(change).await?))
    }

    /// Change the membership: the members there are then.
    ///
    /// # Errors
    /// The client's answer.
    pub async fn change_membership(
        &self,
        change: Change,
    ) -> Result<Vec<member_json::Member>, Error> {
        match change {
            Change::Add { peer_urls, is_learner } => {
                self.add_member(peer_urls, is_learner).await.map(|(_, members)| members)
            }
            Change::Promote(learner) => self.promote(learner).await,
            Change::Remove(member) if member == self.ids().member => self.remove_this().await,
            Change::Remove(member) => self.remove(member).await,
            Change::Update { member: id, mut peer_urls } => {
                peer_urls.sort();
                let peer_urls = Some(peer_urls);
                let member =
                    member_json::Member { id, peer_urls, ..member_json::Member::default() };
                let context = member.to_json().into();
                self.change_raft(MembershipChange::Update { member: NodeId(id), context }).await
            }
        }
    }

    async fn remove(&self, member: u64) -> Result<Vec<member_json::Member>, Error> {
        self.change_raft(MembershipChange::Remove { member: NodeId(member) }).await
    }

    /// Remove this member. Its log need not come so far that the change is applied here: peers
    /// send it nothing more, and say that it is no member. Whoever asked must hear of it all the
    /// same, as asking again would find nobody to remove.
    async fn remove_this(&self) -> Result<Vec<member_json::Member>, Error> {
        let this = self.ids().member;
        tokio::select! {
            members = self.remove(this) => members,
            () = self.removed() => {
                let known = self.known_members();
                Ok(known.members.iter().filter(|member| member.id != this).cloned().collect())
            }
        }
    }

    /// Wait until this member is none any more.
    async fn removed(&self) {
        if self.ended().await != Stop::Removed {
            std::future::pending().await
        }
    }

    /// Let a learner vote: who leads knows whether it is ready.
    async fn promote(&self, learner: u64) -> Result<Vec<member_json::Member>, Error> {
        match self.promote_here(learner).await {
            Err(Error::NotLeader) => {
                let leader = self.leader().ok_or(Error::NoLeader)?;
                let leader = self.member(leader)?;
                self.0.peers.promote(&leader, learner).await
            }
            answer => answer,
        }
    }

    /// The same, if this member leads.
    ///
    /// # Errors
    /// [`Error::NotLeader`], or the client's answer.
    pub async fn promote_here(&self, learner: u64) -> Result<Vec<member_json::Member>, Error> {
        if !self.is_leader() {
            return Err(Error::NotLeader);
        }
        // Another member may have told of the learner before it was applied here.
        self.confirm().await?;
        let member = member_json::Member { id: learner, ..member_json::Member::default() };
        let context = ConfChangeContext { member, is_promote: true }.to_json().into();
        let change = MembershipChange::Promote { member: NodeId(learner), context };
        let promoted = self.change_raft(change).await;
        match &promoted {
            Ok(_) => crate::metrics::learner_promoted(),
            Err(error) => crate::metrics::learner_promotion_failure(error.message()),
        }
        promoted
    }

    async fn change_raft(
        &self,
        change: MembershipChange,
    ) -> Result<Vec<member_json::Member>, Error> {
        let request = self.0.waiters.next_id();
        match self.0.ask(request, Event::ChangeMembership { request, change }).await? {
            Answer::Reply(Ok(Reply::Members(members))) => Ok(members),
            Answer::Reply(Err(error)) => Err(error),
            _ => Ok(self.known_members().members.clone()),
        }
    }

    /// What is known of a member.
    pub(super) fn member(&self, id: u64) -> Result<member_json::Member, Error> {
        let known = self.known_members();
        known.members.iter().find(|member| member.id == id).cloned().ok_or(Error::NoLeader)
    }
}
