//! Who is a member: the configuration in force and the rules for changing it.
//!
//! ```text
//!   plain ── simple (at most one voter differs) ──► plain
//!     │                                               ▲
//!     └─ enter joint ──► joint (two majorities) ──────┘ leave joint
//! ```
//! Invariants: nobody is voter and learner at once; a member staged as a learner is a voter of
//! the outgoing half; there is always a voter, except before the very first change.

mod changer;
mod restore;

use std::fmt;

use crate::entry::ConfState;
use crate::node_set::NodeSet;
use crate::quorum::JointConfig;

pub use changer::{Changed, Changer, ConfChangeError};
pub use restore::restore;

/// A configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Configuration {
    /// Who votes.
    pub voters: JointConfig,
    /// Whether the leader leaves the joint configuration by itself.
    pub auto_leave: bool,
    /// Who listens without a vote.
    pub learners: NodeSet,
    /// Voters of the outgoing half that become learners when it goes. They cannot be learners at
    /// once, for until then they vote.
    pub learners_next: NodeSet,
}

impl Configuration {
    /// The configuration as it is stored.
    pub fn to_conf_state(&self) -> ConfState {
        ConfState {
            voters: self.voters.incoming.0.to_vec(),
            learners: self.learners.to_vec(),
            voters_outgoing: self.voters.outgoing.0.to_vec(),
            learners_next: self.learners_next.to_vec(),
            auto_leave: self.auto_leave,
        }
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "voters={}", self.voters)?;
        if !self.learners.is_empty() {
            write!(f, " learners={}", self.learners)?;
        }
        if !self.learners_next.is_empty() {
            write!(f, " learners_next={}", self.learners_next)?;
        }
        if self.auto_leave {
            f.write_str(" autoleave")?;
        }
        Ok(())
    }
}
