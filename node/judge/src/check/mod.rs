//! What must hold, one promise a file.
//!
//! Checks that look at members run at every step and remember what they saw
//! (`observe(..) -> Result<(), Violation>`); checks that look at clients run over a whole
//! [`crate::history::History`]. A check never repairs, guesses or passes for lack of time: what
//! it cannot decide within its limits is a violation of [`Rule::Undecided`].
//!
//! | file | promise |
//! |---|---|
//! | [`raft`] | one leader a term, one log, nothing committed is lost, nothing durable goes back |
//! | [`state_hash`] | equal applied index, equal state |
//! | [`bounded`] | queues and memory stay under their limits |
//! | [`linearizable`] | the clients' history is that of one etcd; gives its order |
//! | [`serializable`] | stale reads are a prefix of it, and do not go back on one member |
//! | [`watch`] | every watcher sees every event once, in order, whole |
//! | [`lease`] | never gone before their time, always after it |
//! | [`durability`] | what was acknowledged is there when all is healed |

pub mod bounded;
pub mod durability;
pub mod lease;
pub mod linearizable;
pub mod raft;
pub mod serializable;
pub mod state_hash;
pub mod watch;

use crate::history::{History, Time};
use std::fmt;

/// What a run tells about itself, besides what its clients saw.
#[derive(Debug, Clone)]
pub struct Circumstances {
    /// How it ended for open watchers.
    pub ending: watch::Ending,
    /// What its leases may rely on.
    pub terms: lease::Terms,
    /// What its members may do when they start again.
    pub after_restart: serializable::AfterRestart,
    /// The cluster when all was healed, if it was. Its changes are the witness.
    pub last: Option<durability::FinalState>,
}

/// Judges what the clients of a run saw: every check of this module over histories, in order.
///
/// # Errors
/// The first promise broken.
pub fn clients(
    history: &History,
    circumstances: &Circumstances,
) -> Result<linearizable::Linearization, Violation> {
    let Circumstances { ending, terms, after_restart, last } = circumstances;
    let none = linearizable::Witness::new();
    let witness = last.as_ref().map_or(&none, |last| &last.changes);
    let watched_to = match ending {
        watch::Ending::Abrupt => 0,
        watch::Ending::Healed { revision, .. } => *revision,
    };
    // What is lost altogether is named best by the check that trusts no order.
    if let Some(last) = last {
        durability::check(history, last)?;
    }
    let linearization = linearizable::check_watched(history, witness, watched_to)?;
    serializable::check(history, &linearization, *after_restart)?;
    watch::check(history, &linearization, *ending)?;
    lease::check(history, &linearization, terms)?;
    if let Some(last) = last {
        durability::check_linearized(&linearization, last)?;
    }
    linearization.undoubted()?;
    Ok(linearization)
}

/// The promises, each by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// At most one leader in a term.
    ElectionSafety,
    /// Equal index and term, equal entries up to there.
    LogMatching,
    /// A leader has everything committed before its term.
    LeaderCompleteness,
    /// A leader commits by counting only what is of its own term.
    LeaderCommit,
    /// A leader never changes its own log but at the end.
    LeaderAppendOnly,
    /// All members commit the same entry at an index.
    StateMachineSafety,
    /// A term never goes back.
    TermMonotone,
    /// A commit index never goes back while the member runs, nor beyond its log.
    CommitMonotone,
    /// An applied index never goes back while the member runs, nor beyond the commit index.
    AppliedMonotone,
    /// One vote a term, kept across restarts.
    SingleVote,
    /// Nobody hears a member that has forgotten what it had.
    Identity,
    /// Whom a member lets vote is whom the log says, as far as it has applied it.
    Configuration,
    /// Equal applied index, equal state.
    StateHash,
    /// Equal revision, equal keys.
    HashKv,
    /// The revision never goes back as entries are applied.
    RevisionMonotone,
    /// A gauge stays under its limit.
    Bounded,
    /// Real time orders revisions.
    RealTime,
    /// Answers are those of one etcd.
    Linearizable,
    /// A refusal's reason is true.
    Refusal,
    /// A serializable answer is that of some prefix of history.
    SerializablePrefix,
    /// Serializable answers do not go back on one member.
    SerializableMonotone,
    /// A watcher hears only of its keys and kinds.
    WatchFilter,
    /// Events come in the order of their revisions.
    WatchOrdered,
    /// No event comes twice.
    WatchUnique,
    /// The events of one revision come together.
    WatchAtomic,
    /// No event is left out.
    WatchReliable,
    /// A watcher begins at its start revision.
    WatchResumable,
    /// Nothing comes from below a progress revision, and everything up to it did.
    WatchBookmarkable,
    /// The previous value is the previous value.
    WatchPrevKv,
    /// An event says truly whether it created its key, and what it wrote.
    WatchEvent,
    /// Nothing from below the start revision.
    WatchStart,
    /// Canceled for compaction only where compacted.
    WatchCompacted,
    /// The stream keeps to its protocol: answers to requests, nothing after the end.
    WatchProtocol,
    /// A lease lives as long as it was promised.
    LeaseEarly,
    /// A lease ends when its time is over.
    LeaseLate,
    /// A lease's remaining time follows from its renewals.
    LeaseTtl,
    /// A lease that is gone stays gone, and so do its keys.
    LeaseGone,
    /// What was acknowledged is there.
    Durable,
    /// The check gave up within its limits.
    Undecided,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which promise.
    pub rule: Rule,
    /// When it showed, if at a moment.
    pub time: Option<Time>,
    /// What was seen: members, indexes, revisions, operations.
    pub text: String,
}

impl Violation {
    /// One that shows at no moment of its own.
    #[must_use]
    pub fn new(rule: Rule, text: impl Into<String>) -> Self {
        Self { rule, time: None, text: text.into() }
    }

    /// One that shows at a moment.
    #[must_use]
    pub fn at(rule: Rule, time: Time, text: impl Into<String>) -> Self {
        Self { rule, time: Some(time), text: text.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.rule)?;
        if let Some(time) = self.time {
            write!(formatter, " at {time}")?;
        }
        write!(formatter, ": {}", self.text)
    }
}

impl std::error::Error for Violation {}
