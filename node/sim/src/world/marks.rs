//! What runs have reached.
//!
//! A simulator that never meets a situation says nothing about it. Each mark names one; a set of
//! seeds that leaves a mark unreached is red.

use std::collections::BTreeMap;

macro_rules! marks {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// Situations that a set of runs must have been in.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mark {
            $($(#[$doc])* $name,)*
        }

        impl Mark {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The mark in words.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

marks! {
    /// A leader was elected after the first one.
    LeaderChanged => "the leader changed",
    /// A leader crashed.
    LeaderCrashed => "a leader crashed",
    /// All members crashed at once.
    AllCrashed => "all members crashed at once",
    /// A follower got a snapshot.
    SnapshotInstalled => "a follower installed a snapshot",
    /// A member started from a checkpoint with entries behind it.
    CheckpointRestart => "a member restarted from a checkpoint",
    /// A torn tail was cut.
    TornTail => "a torn tail was cut",
    /// A damaged log was found at start.
    DamagedLog => "a damaged log was found",
    /// A damaged log was repaired from peers.
    RepairedLog => "a damaged log was repaired from peers",
    /// A member met damage in the store.
    DamagedStore => "a damaged store was found",
    /// A member stopped because of a failed write or sync.
    DiskFailed => "a member stopped on a failed disk",
    /// A disk was full.
    DiskFull => "a disk was full",
    /// A lease ended by itself.
    LeaseExpired => "a lease expired",
    /// A lease survived a change of leaders.
    LeaseAcrossLeaders => "a lease lived on under another leader",
    /// A watcher fell behind the ring.
    WatchCaughtUp => "a watcher caught up from the log",
    /// A watcher was canceled by a compaction.
    WatchCompacted => "a watcher was canceled by a compaction",
    /// A progress answer came.
    WatchProgress => "a progress request was answered",
    /// A member was added and promoted.
    MemberPromoted => "a learner was promoted",
    /// A member was removed.
    MemberRemoved => "a member was removed",
    /// A removed member was the leader.
    LeaderRemoved => "the leader was removed",
    /// Leadership was handed over on demand.
    Transferred => "leadership was handed over",
    /// A request's end stayed unknown to its client.
    UnknownOutcome => "a request of unknown outcome",
    /// A read was answered at an old revision.
    OldRevisionRead => "a read at an old revision",
    /// A read or watch found its revision compacted.
    CompactedRead => "a read below the compacted revision",
    /// A segment was collected.
    Collected => "segments were collected",
    /// Two members remembered what the same compaction found.
    CompactionCompared => "two members had hashed the same compaction",
    /// The store was full, and had room again.
    NoSpaceCleared => "a full store had room again",
    /// A member whose disk was emptied was refused.
    WipedRefused => "a member without its disk was refused",
    /// A member with an older disk was refused.
    OldRefused => "a member with an older disk was refused",
    /// A network was cut in two.
    Partitioned => "the network was cut",
    /// A member was paused.
    Paused => "a member was paused",
}

/// How often each mark was reached.
#[derive(Clone, Debug, Default)]
pub struct Marks(BTreeMap<Mark, u64>);

impl Marks {
    pub(crate) fn reach(&mut self, mark: Mark) {
        *self.0.entry(mark).or_default() += 1;
    }

    /// Add those of another run.
    pub fn merge(&mut self, other: &Self) {
        for (&mark, count) in &other.0 {
            *self.0.entry(mark).or_default() += count;
        }
    }

    /// How often a mark was reached.
    #[must_use]
    pub fn count(&self, mark: Mark) -> u64 {
        self.0.get(&mark).copied().unwrap_or_default()
    }

    /// The marks that were never reached.
    pub fn missing(&self) -> impl Iterator<Item = Mark> + '_ {
        Mark::ALL.iter().copied().filter(|mark| self.count(*mark) == 0)
    }
}
