//! What a member wants done.
//!
//! Effects are carried out in the order given, each kind by whoever does such work: the log, the
//! transport, the store, the clients' connections. Only [`Effect::Send`] names something that
//! must be durable first; all else may happen as soon as its worker comes to it.

use quorate_api::Error;
use quorate_raft::{ConfState, Entry, HardState, Message, NodeId, SnapshotMetadata};

use crate::{Repair, RequestId};

/// The name of a log batch: counts up from one at each start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// Something a member wants done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Append to the log with one write and one sync, then say
    /// [`Event::Persisted`](crate::Event::Persisted). Batches are appended in order.
    Persist(LogBatch),
    /// Send to a peer, but not before this batch is durable. A batch that is durable already
    /// when the effect is taken does not stand here.
    Send {
        /// What to send; `message.to` says to whom.
        message: Box<Message>,
        /// What must be durable first.
        after: Option<BatchId>,
    },
    /// Apply committed entries to the store, answer the local clients whose requests they are,
    /// then say [`Event::Applied`](crate::Event::Applied).
    Apply(Vec<Entry>),
    /// The store has all that a linearizable read must see: carry it out.
    ReadReady {
        /// Whose read.
        request: RequestId,
    },
    /// A lease lives on.
    LeaseRenewed {
        /// Whom to answer.
        request: RequestId,
        /// Its time to live in seconds.
        ttl_seconds: i64,
    },
    /// What a lease has left.
    LeaseTimeLeft {
        /// Whom to answer.
        request: RequestId,
        /// Granted, in seconds.
        ttl_seconds: i64,
        /// Left, in seconds.
        remaining_seconds: i64,
    },
    /// The leader is another, as asked.
    LeadershipTransferred {
        /// Whom to answer.
        request: RequestId,
    },
    /// The request fails, or nobody will hear of its end in time. If the client still waits,
    /// this is its answer.
    Fail {
        /// Whom to answer.
        request: RequestId,
        /// Why.
        error: Error,
    },
    /// The wanted lease belongs to the leader's clock: ask there.
    AskLeader {
        /// Whose question.
        request: RequestId,
        /// Whom to ask.
        leader: NodeId,
    },
    /// Pin the store's applied state for followers, then say
    /// [`Event::SnapshotPinned`](crate::Event::SnapshotPinned). An earlier pin that is not being
    /// sent can go.
    PinSnapshot,
    /// Send a snapshot message with the pinned state, then say
    /// [`Event::SnapshotSent`](crate::Event::SnapshotSent).
    SendSnapshot {
        /// The message; `message.to` says to whom, its snapshot which pin.
        message: Box<Message>,
    },
    /// Nobody needs the pinned state any more.
    ReleaseSnapshot,
    /// Make the store what the received snapshot says, durably, then say
    /// [`Event::SnapshotInstalled`](crate::Event::SnapshotInstalled). All entries that were to be
    /// applied before come first.
    InstallSnapshot(SnapshotMetadata),
    /// The log's entries up to this index may go.
    ReleaseLog {
        /// The last index that is not needed.
        index: u64,
    },
    /// Leader or term are other than before.
    Leadership {
        /// The leader, or none.
        leader: Option<NodeId>,
        /// The term.
        term: u64,
    },
    /// The log's end turned out to be lost: what is persisted from now on says that the log is under
    /// repair.
    RepairBegun(Repair),
    /// The log has everything again that it had lost.
    RepairDone,
    /// The member must stop.
    Halt(Halt),
}

/// What the log writes as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogBatch {
    /// Its name.
    pub batch: BatchId,
    /// The new hard state, if it changed.
    pub hard_state: Option<HardState>,
    /// The log starts anew behind this snapshot, which the store holds durably.
    pub mark: Option<LogMark>,
    /// New entries; they replace those of the log from the first one's index.
    pub entries: Vec<Entry>,
}

/// Where a log starts that does not start at its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogMark {
    /// The last index before the log's first.
    pub index: u64,
    /// That index' term.
    pub term: u64,
    /// The configuration there.
    pub conf_state: ConfState,
}

/// Why a member must stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// It is no longer a member.
    Removed,
    /// Something that cannot be: a message or a state that contradicts what is known.
    Broken(String),
}
