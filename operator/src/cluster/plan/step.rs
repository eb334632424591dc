//! What a plan comes to.

use std::fmt;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use quorate_operator_api::Reason;

use crate::cluster::observed::{Number, format_id};

/// What is to be done now, and what that is a part of.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The one thing to do, or why there is none.
    pub decision: Decision,
    /// What it is a part of. It is written down before the step is taken.
    pub operation: Option<Doing>,
}

/// One step, or the reason to wait.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// To be taken now; then everything is looked at anew.
    Step(Step),
    /// Nothing is to be done.
    Wait(Wait),
}

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doing {
    /// What.
    pub kind: Kind,
    /// How far.
    pub phase: Phase,
    /// With which member.
    pub member: Option<Number>,
}

/// Makes an enum of words that stand in the status, in both directions.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// As it stands in the status.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)* }
            }

            /// What a status says.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $(stringify!($variant) => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words!(
    /// What can be under way.
    Kind {
        /// The first member comes to be.
        Create,
        /// A member is added.
        Add,
        /// A member is removed.
        Remove,
        /// A member is removed because it failed, and another added.
        Replace,
        /// Members are restarted with something new.
        Update,
        /// Members are stopped.
        Hibernate,
        /// Members are started again.
        Wake,
        /// Volumes grow.
        Grow,
        /// History is forgotten to make room.
        Compact,
        /// Certificates are renewed.
        Certificates,
        /// A lost majority is given up.
        Recover,
    }
);

words!(
    /// How far something is.
    Phase {
        /// The first member is written.
        Seeding,
        /// The first member's volume begins to count.
        Closing,
        /// The cluster's id is written down.
        Latching,
        /// The member is made known to the others.
        Adding,
        /// Its objects are written.
        Starting,
        /// It begins to vote.
        Promoting,
        /// The leadership moves.
        Transferring,
        /// The member is taken from the others.
        Removing,
        /// Its objects are deleted.
        Retiring,
        /// The new template is written.
        Writing,
        /// The pod is deleted, to come back with it.
        Restarting,
        /// A backup is made first.
        BackingUp,
        /// It is being done.
        Running,
        /// Whoever is left is stopped.
        Fencing,
        /// What the volumes hold is looked at.
        Inspecting,
        /// A member is made of the best of them.
        Recovering,
    }
);

/// A step. Each can be taken twice, and cut off before, within and after, without harm.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "numbers, ids and uids are those of what the step is about")]
pub enum Step {
    /// Write the objects of the first member, which begins a cluster.
    Seed { number: Number },
    /// Write the first member's template so that an empty volume no longer begins a cluster.
    CloseSeed { number: Number },
    /// Write down the cluster's id.
    Latch { cluster_id: u64 },
    /// Add a learner to the cluster.
    Add { number: Number },
    /// Write the objects of a member of the cluster, with a pod.
    Start { number: Number },
    /// Make a learner vote.
    Promote { number: Number, id: u64 },
    /// Move the leadership.
    Transfer { from: Number, to: Number, to_id: u64 },
    /// Take a member from the cluster.
    Remove { number: Number, id: u64 },
    /// Delete a StatefulSet, and the member's certificates.
    DeleteSet { number: Number, uid: String, version: String },
    /// Delete a pod; by force, if its node is gone.
    DeletePod { number: Number, uid: String, by_force: bool },
    /// Delete a volume claim.
    DeleteClaim { number: Number, uid: String },
    /// Write a StatefulSet with the template of now.
    WriteTemplate { number: Number },
    /// Delete a pod so that it comes back with the template of now.
    Restart { number: Number, uid: String },
    /// Let a StatefulSet have no pod.
    Stop { number: Number },
    /// Let StatefulSets have their pod again.
    Wake { numbers: Vec<Number> },
    /// Ask for a larger volume.
    Grow { number: Number, bytes: u64 },
    /// Forget history up to a revision.
    Compact { revision: i64 },
    /// Make a backup.
    BackUp,
    /// Take the next stage of the certificates.
    AdvanceCertificates,
    /// Look at what stopped members' volumes hold.
    Inspect { numbers: Vec<Number> },
    /// Make the first member of a new cluster of a stopped member's volume.
    Recover { survivor: Number, number: Number },
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seed { number } => write!(out, "seed {number}"),
            Self::CloseSeed { number } => write!(out, "close-seed {number}"),
            Self::Latch { cluster_id } => write!(out, "latch {}", format_id(*cluster_id)),
            Self::Add { number } => write!(out, "add {number}"),
            Self::Start { number } => write!(out, "start {number}"),
            Self::Promote { number, .. } => write!(out, "promote {number}"),
            Self::Transfer { from, to, .. } => write!(out, "transfer {from} -> {to}"),
            Self::Remove { number, .. } => write!(out, "remove {number}"),
            Self::DeleteSet { number, .. } => write!(out, "delete-set {number}"),
            Self::DeletePod { number, by_force, .. } => {
                write!(out, "delete-pod {number}{}", if *by_force { " by force" } else { "" })
            }
            Self::DeleteClaim { number, .. } => write!(out, "delete-claim {number}"),
            Self::WriteTemplate { number } => write!(out, "write-template {number}"),
            Self::Restart { number, .. } => write!(out, "restart {number}"),
            Self::Stop { number } => write!(out, "stop {number}"),
            Self::Wake { numbers } => write!(out, "wake {numbers:?}"),
            Self::Grow { number, bytes } => write!(out, "grow {number} to {bytes}"),
            Self::Compact { revision } => write!(out, "compact {revision}"),
            Self::BackUp => write!(out, "back-up"),
            Self::AdvanceCertificates => write!(out, "advance-certificates"),
            Self::Inspect { numbers } => write!(out, "inspect {numbers:?}"),
            Self::Recover { survivor, number } => write!(out, "recover {survivor} as {number}"),
        }
    }
}

/// Why nothing is to be done.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "numbers are those of the member that it is about")]
pub enum Wait {
    /// Everything is as wished.
    Idle,
    /// `spec.paused`.
    Paused,
    /// The members are stopped, as wished.
    Hibernating,
    /// Something of the wish is refused, and all else is as wished.
    Rejected,
    /// There are objects that another cluster has left.
    Leftovers,
    /// The first member does not lead yet.
    Beginning(Number),
    /// A majority does not answer.
    QuorumLost,
    /// Nobody answers.
    Unknown,
    /// A member is of another cluster.
    OtherCluster { number: Option<Number>, found: u64 },
    /// A newcomer does not run yet.
    Starting(Number),
    /// A newcomer does not have everything yet.
    CatchingUp(Number),
    /// A newcomer would vote, but others do not answer.
    NotSafeToPromote(Number),
    /// A member does not answer, and is given time to come back.
    MemberDown { number: Number, until: Timestamp },
    /// A member does not answer, and nobody is to be replaced.
    NotHealing(Number),
    /// A member is to be replaced, and its removal would cost the majority.
    NotSafeToRemove(Number),
    /// A member does not answer the operator, and serves all the same.
    OutOfReach(Number),
    /// A member would be restarted, and that would cost the majority.
    NotSafeToStop(Number),
    /// A member did not come back with something new: nobody else gets it.
    UpdateStuck(Number),
    /// A restarted member is not ready yet.
    Returning(Number),
    /// Members are out of date, and somebody else restarts them.
    RestartsElsewhere,
    /// A backup comes first, and is being made.
    BackupRunning,
    /// A backup comes first, and could not be made.
    BackupFailed,
    /// A backup comes first, and there is no place for it.
    BackupWithoutPlace,
    /// A member has no room.
    NoSpace,
    /// Members have yet to read new certificates.
    CertificatesSpreading,
    /// Whoever is left does not stop.
    Fencing(Number),
    /// The volumes are being looked at.
    Inspecting,
    /// No volume is left to go on with.
    NoSurvivor,
    /// The member that was made of the best volume does not lead yet.
    Recovering(Number),
}

impl Wait {
    /// When to look again, if nothing happens before.
    #[must_use]
    pub fn patience(&self, now: Timestamp) -> SignedDuration {
        let seconds = match self {
            Self::Idle
            | Self::Rejected
            | Self::Hibernating
            | Self::RestartsElsewhere
            | Self::NoSpace => 30,
            Self::Paused | Self::Leftovers | Self::OtherCluster { .. } => 60,
            Self::MemberDown { until, .. } => {
                return until
                    .duration_since(now)
                    .clamp(SignedDuration::from_secs(1), SignedDuration::from_secs(10));
            }
            Self::Beginning(_)
            | Self::Starting(_)
            | Self::CatchingUp(_)
            | Self::Returning(_)
            | Self::NotSafeToPromote(_)
            | Self::Recovering(_) => 2,
            Self::QuorumLost
            | Self::Unknown
            | Self::NotHealing(_)
            | Self::NotSafeToRemove(_)
            | Self::NotSafeToStop(_)
            | Self::OutOfReach(_)
            | Self::UpdateStuck(_)
            | Self::BackupRunning
            | Self::BackupFailed
            | Self::BackupWithoutPlace
            | Self::CertificatesSpreading
            | Self::Fencing(_)
            | Self::Inspecting
            | Self::NoSurvivor => 5,
        };
        SignedDuration::from_secs(seconds)
    }

    /// Whether the operator means to go on by itself.
    #[must_use]
    pub fn is_progress(&self) -> bool {
        match self {
            Self::Beginning(_)
            | Self::Starting(_)
            | Self::CatchingUp(_)
            | Self::NotSafeToPromote(_)
            | Self::Returning(_)
            | Self::BackupRunning
            | Self::CertificatesSpreading
            | Self::Fencing(_)
            | Self::Inspecting
            | Self::Recovering(_) => true,
            Self::Idle
            | Self::Paused
            | Self::Hibernating
            | Self::Rejected
            | Self::Leftovers
            | Self::QuorumLost
            | Self::Unknown
            | Self::OtherCluster { .. }
            | Self::MemberDown { .. }
            | Self::NotHealing(_)
            | Self::NotSafeToRemove(_)
            | Self::NotSafeToStop(_)
            | Self::OutOfReach(_)
            | Self::UpdateStuck(_)
            | Self::RestartsElsewhere
            | Self::BackupFailed
            | Self::BackupWithoutPlace
            | Self::NoSpace
            | Self::NoSurvivor => false,
        }
    }

    /// The one word for it.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Idle => Reason::AsDesired,
            Self::Paused => Reason::Paused,
            Self::Hibernating => Reason::Hibernating,
            Self::Rejected => Reason::Rejected,
            Self::Leftovers => Reason::Leftovers,
            Self::Beginning(_) => Reason::Creating,
            Self::QuorumLost => Reason::QuorumLost,
            Self::Unknown => Reason::Unknown,
            Self::OtherCluster { .. } => Reason::ClusterIdMismatch,
            Self::Starting(_) | Self::CatchingUp(_) | Self::NotSafeToPromote(_) => {
                Reason::ScalingUp
            }
            Self::MemberDown { .. }
            | Self::NotHealing(_)
            | Self::NotSafeToRemove(_)
            | Self::NotSafeToStop(_)
            | Self::OutOfReach(_) => Reason::MemberDown,
            Self::UpdateStuck(_) => Reason::UpdateStuck,
            Self::Returning(_) | Self::RestartsElsewhere => Reason::Updating,
            Self::BackupRunning | Self::BackupFailed | Self::BackupWithoutPlace => {
                Reason::BackupFirst
            }
            Self::NoSpace => Reason::NoSpace,
            Self::CertificatesSpreading => Reason::RenewingCertificates,
            Self::Fencing(_) | Self::Inspecting | Self::NoSurvivor | Self::Recovering(_) => {
                Reason::Recovering
            }
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => write!(out, "everything is as wished"),
            Self::Paused => write!(out, "spec.paused is set: nothing is changed"),
            Self::Hibernating => write!(out, "the members are stopped, their volumes kept"),
            Self::Rejected => write!(out, "a part of the specification is refused"),
            Self::Leftovers => write!(
                out,
                "there are objects of an earlier cluster of this name, and none of them is taken \
                 over: delete them, or take another name"
            ),
            Self::Beginning(number) => write!(out, "the first member, {number}, does not lead yet"),
            Self::QuorumLost => write!(
                out,
                "a majority of the members does not answer; nothing is changed until it does"
            ),
            Self::Unknown => {
                write!(out, "no member answers; nothing is changed until a majority does")
            }
            Self::OtherCluster { number: Some(number), found } => {
                write!(out, "member {number} is of another cluster, {}", format_id(*found))
            }
            Self::OtherCluster { number: None, found } => {
                write!(out, "the members are of another cluster, {}", format_id(*found))
            }
            Self::Starting(number) => write!(out, "member {number} is being started"),
            Self::CatchingUp(number) => {
                write!(out, "member {number} does not have everything yet")
            }
            Self::NotSafeToPromote(number) => {
                write!(out, "member {number} waits to vote until the others answer")
            }
            Self::MemberDown { number, .. } => {
                write!(out, "member {number} does not answer, and has time to come back")
            }
            Self::NotHealing(number) => write!(
                out,
                "member {number} does not answer, and healing.enabled is false: it is not replaced"
            ),
            Self::NotSafeToRemove(number) => write!(
                out,
                "member {number} would be replaced, and without it there is no majority"
            ),
            Self::NotSafeToStop(number) => write!(
                out,
                "member {number} would be restarted, and without it there is no majority"
            ),
            Self::OutOfReach(number) => write!(
                out,
                "member {number} does not answer the operator; its pod is ready, so it is not \
                 replaced"
            ),
            Self::UpdateStuck(number) => write!(
                out,
                "member {number} did not come back with what is new: no other member gets it"
            ),
            Self::Returning(number) => {
                write!(out, "member {number} has been restarted and is not ready yet")
            }
            Self::RestartsElsewhere => write!(
                out,
                "update.type is OnDelete: members get what is new when somebody deletes their pods"
            ),
            Self::BackupRunning => write!(out, "a backup is being made before the upgrade"),
            Self::BackupFailed => {
                write!(
                    out,
                    "the backup before the upgrade failed, or could not be restored: nothing is \
                     upgraded; delete it to have another made"
                )
            }
            Self::BackupWithoutPlace => write!(
                out,
                "update.preUpgradeBackup is Required and spec.backup is not set: nothing is \
                 upgraded"
            ),
            Self::NoSpace => write!(out, "a member has no room: it takes no more writes"),
            Self::CertificatesSpreading => {
                write!(out, "members have yet to read the new certificates")
            }
            Self::Fencing(number) => {
                write!(out, "member {number} has to end before the cluster is rebuilt")
            }
            Self::Inspecting => write!(out, "what is left on the volumes is being looked at"),
            Self::NoSurvivor => write!(
                out,
                "no volume is left to rebuild the cluster from: make another of a backup"
            ),
            Self::Recovering(number) => {
                write!(out, "member {number}, made of the survivor, does not lead yet")
            }
        }
    }
}
