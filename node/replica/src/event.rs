//! What a member hears.
//!
//! An executor hands each event to [`Replica::on`](crate::Replica::on) with the time, and takes
//! the effects with [`Replica::effects`](crate::Replica::effects) after as many events as were
//! waiting: what came together travels together.

use bytes::Bytes;
use quorate_raft::{Message, NodeId, SnapshotMetadata};

use crate::RequestId;
use crate::effect::BatchId;

/// Something that happened to a member.
#[derive(Clone, Debug)]
pub enum Event {
    /// One heartbeat interval has passed.
    Tick,
    /// A peer sent this. The executor vouches for `message.from`.
    Message(Box<Message>),
    /// The transport can reach a peer since now.
    PeerConnected(NodeId),
    /// The transport can no longer reach a peer.
    PeerDisconnected(NodeId),
    /// A message to this peer may have been lost.
    PeerUnreachable(NodeId),

    /// A client wants a request in the log.
    Propose(Proposal),
    /// A client wants another membership.
    ChangeMembership {
        /// Whom to answer.
        request: RequestId,
        /// The wanted change.
        change: MembershipChange,
    },
    /// A client wants to read what is committed now: answered by
    /// [`Effect::ReadReady`](crate::Effect::ReadReady).
    Read {
        /// Whom to answer.
        request: RequestId,
    },
    /// A client keeps a lease alive.
    RenewLease {
        /// Whom to answer.
        request: RequestId,
        /// The lease.
        lease: i64,
    },
    /// A client asks how long a lease still has.
    LeaseTimeLeft {
        /// Whom to answer.
        request: RequestId,
        /// The lease.
        lease: i64,
    },
    /// A client wants another leader.
    TransferLeadership {
        /// Whom to answer.
        request: RequestId,
        /// The wanted leader.
        to: NodeId,
    },
    /// The member is about to stop: a leader hands over to the voter it has been connected to
    /// for longest, and answers when it has or could not.
    HandOver {
        /// Whom to answer.
        request: RequestId,
    },

    /// A log batch is durable; batches become durable in order.
    Persisted(BatchId),
    /// The store has applied entries.
    Applied(Applied),
    /// The store holds a snapshot of its applied state, asked for by
    /// [`Effect::PinSnapshot`](crate::Effect::PinSnapshot).
    SnapshotPinned(SnapshotMetadata),
    /// A snapshot asked for by [`Effect::SendSnapshot`](crate::Effect::SendSnapshot) has been
    /// received whole, or has not.
    SnapshotSent {
        /// To whom.
        to: NodeId,
        /// Whether it arrived.
        outcome: SnapshotOutcome,
    },
    /// The store is, durably, what the snapshot of
    /// [`Effect::InstallSnapshot`](crate::Effect::InstallSnapshot) says.
    SnapshotInstalled {
        /// The snapshot's place in the log.
        index: u64,
        /// What it holds.
        facts: Facts,
    },
    /// The store can restart without the log's entries up to this index.
    Checkpointed {
        /// The last log index that is not needed.
        index: u64,
    },
    /// The disks of the member are full, or have room again.
    DiskRoom(DiskRoom),
    /// Compaction has removed what it could: so many live bytes are left in the store. What
    /// applied entries add is said by [`Event::Applied`].
    LiveBytes(u64),
}

/// Whether the disks of a member take more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskRoom {
    /// There is room to spare.
    Ample,
    /// A write found none. What is left is for what makes room again.
    None,
}

/// A request for the log.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Whom to answer, and the identifier in the request's header.
    pub request: RequestId,
    /// An encoded `InternalRaftRequest` whose header has that identifier.
    pub data: Bytes,
    /// By how many bytes it may make the store grow; zero for requests that must work in a
    /// full store.
    pub growth_bytes: u64,
    /// How much the request matters when the member is behind.
    pub priority: Priority,
}

/// How much a request matters when the member has not applied what is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// A client's.
    Normal,
    /// The cluster's own: lease revokes, alarms, membership attributes.
    High,
}

/// Whether a snapshot reached its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotOutcome {
    /// Received whole.
    Finished,
    /// Not, or nobody knows.
    Failed,
}

/// A wanted membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipChange {
    /// Add a member that votes.
    AddVoter {
        /// Its id.
        member: NodeId,
        /// What the log entry tells of it: etcd's JSON of a member.
        context: Bytes,
    },
    /// Add a member that does not vote.
    AddLearner {
        /// Its id.
        member: NodeId,
        /// What the log entry tells of it: etcd's JSON of a member.
        context: Bytes,
    },
    /// Let a learner vote.
    Promote {
        /// Its id.
        member: NodeId,
        /// What the log entry tells of it: etcd's JSON of a promotion.
        context: Bytes,
    },
    /// Remove a member for good.
    Remove {
        /// Its id.
        member: NodeId,
    },
    /// Change what is known of a member.
    Update {
        /// Its id.
        member: NodeId,
        /// What the log entry tells of it: etcd's JSON of a member.
        context: Bytes,
    },
}

/// What the store says after it applied entries.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// Everything up to here is applied.
    pub index: u64,
    /// The requests among the applied entries, in log order.
    pub requests: Vec<RequestId>,
    /// For each configuration change among them, its log index and whether the store accepted it.
    pub conf_changes: Vec<(u64, ConfChangeVerdict)>,
    /// What happened to leases, in log order.
    pub leases: Vec<LeaseChange>,
    /// The members, if they changed.
    pub members: Option<Vec<MemberFact>>,
    /// The alarms, if they changed.
    pub alarms: Option<Vec<AlarmFact>>,
    /// Bytes that compaction could not free now.
    pub live_bytes: u64,
}

/// Whether the membership allows a configuration change that the log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfChangeVerdict {
    /// It happens.
    Accepted,
    /// It does not, on any member.
    Rejected,
}

/// A change of the replicated leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseChange {
    /// There is a new lease.
    Granted {
        /// The lease.
        lease: i64,
        /// Its time to live in seconds.
        ttl_seconds: i64,
    },
    /// A lease is gone.
    Revoked {
        /// The lease.
        lease: i64,
    },
    /// What a lease has left is in the log.
    Checkpointed {
        /// The lease.
        lease: i64,
        /// Seconds; zero for the whole time to live.
        remaining_seconds: i64,
    },
}

/// A replicated lease as a member finds it at start or in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseFact {
    /// The lease.
    pub lease: i64,
    /// Its time to live in seconds.
    pub ttl_seconds: i64,
    /// What it had left at the last checkpoint, in seconds; zero if there is none.
    pub remaining_seconds: i64,
}

/// What a member's decisions need to know of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberFact {
    /// Its id.
    pub member: NodeId,
    /// Whether it may vote.
    pub role: Role,
    /// Whether it has made itself known since it was added.
    pub presence: Presence,
}

/// Whether a member votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It does.
    Voter,
    /// It only follows the log.
    Learner,
}

/// Whether a member has ever come up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It has published its name.
    Started,
    /// It has been added and not been heard of.
    Unstarted,
}

/// A raised alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlarmFact {
    /// Who raised it.
    pub member: NodeId,
    /// What it says.
    pub kind: AlarmKind,
}

/// The kinds of alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmKind {
    /// The store is full.
    NoSpace,
    /// The member's state differs from the others'.
    Corrupt,
}

/// The replicated facts that a member's decisions rest on.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// All leases.
    pub leases: Vec<LeaseFact>,
    /// All members.
    pub members: Vec<MemberFact>,
    /// All alarms.
    pub alarms: Vec<AlarmFact>,
    /// Bytes that compaction could not free now.
    pub live_bytes: u64,
}
