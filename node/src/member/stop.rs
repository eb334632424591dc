//! Why and when a member ends.

use std::sync::OnceLock;

use quorate_api::identity::format_id;
use quorate_member::identity::REMEDY;
use tokio::sync::watch;

/// Why a member ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// It was told to.
    #[error("told to stop")]
    Asked,
    /// The cluster removed it.
    #[error("the member has been permanently removed from the cluster")]
    Removed,
    /// A write or sync of its log failed: what is durable is known again after a restart.
    #[error("the write-ahead log cannot be written: {0}")]
    LogFailed(String),
    /// Its store cannot be written.
    #[error("the store cannot be written: {0}")]
    StoreFailed(String),
    /// Its store does not give back what was written. With peers, it is had from them at the next
    /// start.
    #[error("data of this member is damaged: {0}; with peers, the next start takes all from them")]
    Damaged(String),
    /// Peers do not take it for the member that it was.
    #[error("the cluster refuses this member: {why} (says {by}); {REMEDY}")]
    Refused {
        /// Who says so.
        by: String,
        /// What they say.
        why: String,
    },
    /// Something that cannot be: a message or a state that contradicts what is known.
    #[error("the member cannot go on: {0}")]
    Broken(String),
}

impl Stop {
    /// These peers do not take it for the member that it was.
    pub(crate) fn refused(by: &[u64], why: &str) -> Self {
        let by: Vec<String> = by.iter().map(|peer| format_id(*peer)).collect();
        Self::Refused { by: by.join(", "), why: why.to_owned() }
    }
}

/// The member's end, seen by all of its parts.
#[derive(Debug)]
pub(super) struct Ending {
    reason: OnceLock<Stop>,
    is_ending: watch::Sender<bool>,
}

impl Ending {
    pub(super) fn new() -> Self {
        Self { reason: OnceLock::new(), is_ending: watch::Sender::new(false) }
    }

    /// Begin the end. The first reason counts; says whether this is it.
    pub(super) fn begin(&self, stop: Stop) -> bool {
        let is_first = self.reason.set(stop).is_ok();
        self.is_ending.send_replace(true);
        is_first
    }

    /// Why the member ends, if it does.
    pub(super) fn reason(&self) -> Option<&Stop> {
        self.reason.get()
    }

    /// Wait for the end.
    pub(super) async fn wait(&self) -> Stop {
        let mut ending = self.is_ending.subscribe();
        // The sender lives as long as this.
        let _ = ending.wait_for(|is_ending| *is_ending).await;
        self.reason.get().cloned().unwrap_or(Stop::Asked)
    }
}
