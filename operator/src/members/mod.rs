//! Speaking to the members of a cluster.
//!
//! ```text
//!   Contact: names, scheme, the operator's certificate, the addresses of pods
//!      │
//!      ▼
//!   Members ─┬─ visit, list, alarms ─────────────────▶ what a plan is made of
//!            └─ add, promote, remove, transfer, compact ▶ what a step does
//! ```
//!
//! [`Members`] is what the operator needs of members: the real ones are [`Remote`]; simulated ones
//! are others. It never decides, and repeats nothing that may have happened.
//!
//! Invariants:
//! - Each call ends within a few seconds, whether the member is there or not.
//! - A member that does not answer is [`Answer::Silent`], never one that says nothing of interest.
//! - A member is asked under the name in its certificate at the address of its pod: name service
//!   that lags behind leads to nobody else.

mod connector;
mod remote;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::cluster::names::{Names, Scheme};
use crate::cluster::observed::{Alarm, Answer, Number};
use crate::tls::ClientFiles;
use crate::tls::managed::Shown;

pub use remote::Remote;

/// How the members of one cluster are reached.
#[derive(Clone, Debug)]
pub struct Contact {
    /// How they are named.
    pub names: Names,
    /// Whether they speak TLS.
    pub scheme: Scheme,
    /// What the operator shows and trusts; `None` without TLS, or as long as there is nothing.
    pub files: Option<Arc<ClientFiles>>,
    /// The members that have a pod with an address.
    pub addresses: BTreeMap<Number, IpAddr>,
}

/// What a member says of itself, and the certificate that it shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Visit {
    /// What it says.
    pub answer: Answer,
    /// What it shows.
    pub shown: Shown,
}

impl Visit {
    /// Of a member that cannot be reached.
    #[must_use]
    pub fn in_vain() -> Self {
        Self { answer: Answer::Silent, shown: Shown::Unknown }
    }
}

/// The members as one of them knows them, by a read that a quorum has agreed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The cluster's id.
    pub cluster_id: u64,
    /// The members.
    pub members: Vec<ListedMember>,
}

/// A member of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedMember {
    /// Its id.
    pub id: u64,
    /// Its name; empty, if it has never run.
    pub name: String,
    /// Where peers reach it.
    pub peer_urls: Vec<String>,
    /// Whether it only follows.
    pub is_learner: bool,
}

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// The member was not reached. Nothing has happened.
    #[error("member {number} cannot be reached: {reason}")]
    Unreachable {
        /// The member.
        number: Number,
        /// Why.
        reason: String,
    },
    /// The member said no. Nothing has happened.
    #[error("member {number} refuses: {reason}")]
    Refused {
        /// The member.
        number: Number,
        /// Why.
        reason: String,
    },
    /// There was no answer, or none that says enough. It may have happened.
    #[error("member {number} gave no answer: {reason}")]
    Unanswered {
        /// The member.
        number: Number,
        /// Why.
        reason: String,
    },
}

/// What is asked of members. Numbers are those of members of the contact; `through` is the one that
/// is asked.
pub trait Members: Send + Sync {
    /// What a member says of itself.
    fn visit<'a>(&'a self, contact: &'a Contact, number: Number) -> BoxFuture<'a, Visit>;

    /// Who belongs to the cluster, by a linearizable read.
    fn list<'a>(
        &'a self,
        contact: &'a Contact,
        through: Number,
    ) -> BoxFuture<'a, Result<Listed, MemberError>>;

    /// The alarms of all members.
    fn alarms<'a>(
        &'a self,
        contact: &'a Contact,
        through: Number,
    ) -> BoxFuture<'a, Result<Vec<Alarm>, MemberError>>;

    /// Adds a learner with this peer URL, and gives its id.
    fn add<'a>(
        &'a self,
        contact: &'a Contact,
        through: Number,
        peer_url: &'a str,
    ) -> BoxFuture<'a, Result<u64, MemberError>>;

    /// Makes a learner vote.
    fn promote<'a>(
        &'a self,
        contact: &'a Contact,
        through: Number,
        id: u64,
    ) -> BoxFuture<'a, Result<(), MemberError>>;

    /// Removes a member.
    fn remove<'a>(
        &'a self,
        contact: &'a Contact,
        through: Number,
        id: u64,
    ) -> BoxFuture<'a, Result<(), MemberError>>;

    /// Has a leader hand over to another member.
    fn transfer<'a>(
        &'a self,
        contact: &'a Contact,
        from: Number,
        to_id: u64,
    ) -> BoxFuture<'a, Result<(), MemberError>>;

    /// Forgets history up to a revision.
    fn compact<'a>(
        &'a self,
        contact: &'a Contact,
        through: Number,
        revision: i64,
    ) -> BoxFuture<'a, Result<(), MemberError>>;
}
