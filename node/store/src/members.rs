//! Who belongs to the cluster, and who never may again.
//!
//! ```text
//!   (unknown) ── add ──► member ── update, attributes, promote ──► member ── remove ──► removed
//! ```
//! A removed id never returns. Which members vote is Raft's to say; here is what the log says of
//! each: URLs, name, learner or not.

use std::collections::{BTreeMap, BTreeSet};

use quorate_api::Error;
pub use quorate_api::member_json::{ConfChangeContext, Member};

/// What a configuration change asks for, read from its entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Add a member.
    Add {
        /// The member.
        member: Member,
        /// Whether Raft is to add it as a learner.
        learner: bool,
    },
    /// Let a learner vote.
    Promote {
        /// Its id.
        id: u64,
    },
    /// Remove a member.
    Remove {
        /// Its id.
        id: u64,
    },
    /// Change a member's peer URLs.
    Update {
        /// The member.
        member: Member,
    },
}

/// The members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    members: BTreeMap<u64, Member>,
    removed: BTreeSet<u64>,
}

impl Members {
    /// The members by id.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// A member.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<&Member> {
        self.members.get(&id)
    }

    /// Whether a member of this id was removed.
    #[must_use]
    pub fn is_removed(&self, id: u64) -> bool {
        self.removed.contains(&id)
    }

    /// The ids that were removed.
    pub fn removed(&self) -> impl Iterator<Item = u64> {
        self.removed.iter().copied()
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether a change may happen, by etcd's rules.
    ///
    /// # Errors
    /// The reply of a change that must not happen.
    pub fn validate(&self, id: u64, change: &Change, learners_max: usize) -> Result<(), Error> {
        if self.is_removed(id) {
            return Err(Error::MemberNotFound);
        }
        let known = self.members.get(&id);
        match change {
            Change::Promote { .. } => match known {
                None => Err(Error::MemberNotFound),
                Some(member) if !member.is_learner => Err(Error::MemberNotLearner),
                Some(_) => Ok(()),
            },
            Change::Add { .. } if known.is_some() => Err(Error::MemberExists),
            Change::Add { member, learner } => {
                self.check_urls(member, None)?;
                let learners = self.iter().filter(|member| member.is_learner).count();
                if member.is_learner && *learner && learners + 1 > learners_max {
                    return Err(Error::TooManyLearners);
                }
                Ok(())
            }
            Change::Remove { .. } | Change::Update { .. } if known.is_none() => {
                Err(Error::MemberNotFound)
            }
            Change::Remove { .. } => Ok(()),
            Change::Update { member } => self.check_urls(member, Some(id)),
        }
    }

    /// No two members may have a peer URL in common.
    fn check_urls(&self, member: &Member, except: Option<u64>) -> Result<(), Error> {
        let others = self.iter().filter(|other| Some(other.id) != except);
        let taken: BTreeSet<&String> =
            others.flat_map(|other| other.peer_urls.iter().flatten()).collect();
        if member.peer_urls.iter().flatten().any(|url| taken.contains(url)) {
            return Err(Error::PeerUrlExists);
        }
        Ok(())
    }

    /// Make a validated change happen.
    pub(crate) fn change(&mut self, change: Change) {
        match change {
            Change::Add { member, .. } => self.insert(member),
            Change::Promote { id } => {
                if let Some(member) = self.members.get_mut(&id) {
                    member.is_learner = false;
                }
            }
            Change::Remove { id } => {
                self.members.remove(&id);
                self.removed.insert(id);
            }
            Change::Update { member } => {
                if let Some(known) = self.members.get_mut(&member.id) {
                    known.peer_urls = member.peer_urls;
                }
            }
        }
    }

    /// Add a member, or replace it.
    pub(crate) fn insert(&mut self, member: Member) {
        self.members.insert(member.id, member);
    }

    /// Remove all but one, who need not have been a member.
    pub(crate) fn leave_to(&mut self, member: Member) {
        self.removed.extend(self.members.keys());
        self.removed.remove(&member.id);
        self.members.clear();
        self.insert(member);
    }

    /// Note an id as removed.
    pub(crate) fn insert_removed(&mut self, id: u64) {
        self.removed.insert(id);
    }

    /// Set what a member says of itself; whether there is such a member.
    pub(crate) fn set_attributes(
        &mut self,
        id: u64,
        name: String,
        client_urls: Vec<String>,
    ) -> bool {
        let Some(member) = self.members.get_mut(&id) else { return false };
        member.name = name;
        member.client_urls = client_urls;
        true
    }
}

/// A member's key in its table.
pub(crate) fn row_key(id: u64) -> String {
    format!("{id:x}")
}
