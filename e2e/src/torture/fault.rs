//! What can go wrong, by name.

use std::fmt;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// kill -9 of one member.
    KillOne,
    /// kill -9 of a majority.
    KillMajority,
    /// kill -9 of all.
    KillAll,
    /// A member stands still (SIGSTOP).
    Pause,
    /// What one member sends to another goes nowhere.
    OneWay,
    /// Two members do not hear each other.
    Partial,
    /// A member hears nobody, and nobody hears it.
    Isolate,
    /// The leader and the clients do not hear each other.
    LeaderFromClients,
    /// The leader and its peers do not hear each other.
    LeaderFromPeers,
    /// A member's link is slow.
    SlowLink,
    /// A member's clock of the day jumps.
    ClockJump,
    /// A member's syncs take long.
    SlowSync,
    /// A member's sync fails.
    FailedSync,
    /// A member's disk is full.
    FullDisk,
    /// Leadership is handed on.
    MoveLeader,
    /// A member is added as a learner and promoted.
    AddMember,
    /// A member is removed.
    RemoveMember,
    /// Everything but the newest revision is forgotten.
    Compact,
    /// Files of a member are damaged while it is down.
    Damage,
}

impl Fault {
    /// All of them, with their names and how often each is drawn against the others.
    pub(super) const ALL: [(Self, &str, u64); 19] = [
        (Self::KillOne, "kill-one", 8),
        (Self::KillMajority, "kill-majority", 3),
        (Self::KillAll, "kill-all", 2),
        (Self::Pause, "pause", 5),
        (Self::OneWay, "one-way", 4),
        (Self::Partial, "partial", 4),
        (Self::Isolate, "isolate", 4),
        (Self::LeaderFromClients, "leader-from-clients", 3),
        (Self::LeaderFromPeers, "leader-from-peers", 4),
        (Self::SlowLink, "slow-link", 3),
        (Self::ClockJump, "clock-jump", 3),
        (Self::SlowSync, "slow-sync", 3),
        (Self::FailedSync, "failed-sync", 3),
        (Self::FullDisk, "full-disk", 3),
        (Self::MoveLeader, "move-leader", 3),
        (Self::AddMember, "add-member", 3),
        (Self::RemoveMember, "remove-member", 3),
        (Self::Compact, "compact", 3),
        (Self::Damage, "damage", 4),
    ];

    /// The kind with a name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| *known == name).map(|(fault, ..)| *fault)
    }

    /// Whether it cuts or slows ways.
    pub(super) fn is_of_network(self) -> bool {
        match self {
            Self::OneWay
            | Self::Partial
            | Self::Isolate
            | Self::LeaderFromClients
            | Self::LeaderFromPeers
            | Self::SlowLink => true,
            Self::KillOne
            | Self::KillMajority
            | Self::KillAll
            | Self::Pause
            | Self::ClockJump
            | Self::SlowSync
            | Self::FailedSync
            | Self::FullDisk
            | Self::MoveLeader
            | Self::AddMember
            | Self::RemoveMember
            | Self::Compact
            | Self::Damage => false,
        }
    }

    /// Whether it takes a second member.
    pub(super) fn needs_peers(self) -> bool {
        match self {
            Self::KillMajority
            | Self::OneWay
            | Self::Partial
            | Self::Isolate
            | Self::LeaderFromPeers
            | Self::MoveLeader
            | Self::RemoveMember
            | Self::Damage => true,
            Self::KillOne
            | Self::KillAll
            | Self::Pause
            | Self::LeaderFromClients
            | Self::SlowLink
            | Self::ClockJump
            | Self::SlowSync
            | Self::FailedSync
            | Self::FullDisk
            | Self::AddMember
            | Self::Compact => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Self::ALL.iter().find(|(fault, ..)| fault == self);
        formatter.write_str(known.map_or("", |(_, name, _)| name))
    }
}
