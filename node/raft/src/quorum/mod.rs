//! What a majority decides, in one configuration or in two at once.
//!
//! Nothing here knows what the numbers mean: the same code answers which log index is committed,
//! which round of reads is confirmed and who won an election.

mod joint;
mod majority;

pub use joint::JointConfig;
pub use majority::MajorityConfig;

/// How an election stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoteResult {
    /// Votes that are not in yet decide.
    Pending,
    /// A majority can no longer be reached.
    Lost,
    /// A majority said yes.
    Won,
}
