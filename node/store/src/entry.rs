//! What the state machine is fed, and what it says of it.

use bytes::Bytes;
use quorate_api::Error;
use quorate_api::etcdserverpb::{
    AlarmResponse, CompactionResponse, DeleteRangeResponse, LeaseCheckpointResponse,
    LeaseGrantResponse, LeaseRevokeResponse, PutResponse, TxnResponse,
};
use quorate_api::request::RequestKind;

use crate::lease::LeaseChange;
use crate::log::{Damage, Record};
use crate::members::Member;
use crate::mvcc::range::RangeOutcome;

/// How an entry's data is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// An encoded `InternalRaftRequest`, or nothing (a new leader's first entry).
    Normal,
    /// An encoded `raftpb.ConfChange`.
    ConfChange,
    /// An encoded `raftpb.ConfChangeV2`.
    ConfChangeV2,
}

/// One committed entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Position in the Raft log, from 1.
    pub index: u64,
    /// The term it was proposed in.
    pub term: u64,
    /// How to read `data`.
    pub kind: EntryKind,
    /// The message, encoded as `kind` says.
    pub data: Bytes,
}

/// Whether anybody waits for the reply of an entry on this member. It changes nothing but how
/// complete the reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Somebody waits.
    Wanted,
    /// Nobody does: reads that only the reply needs are left out.
    Unwanted,
}

/// What applying an entry did.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The id that the request's proposer waits under; `None` if there is none.
    pub request_id: Option<u64>,
    /// What was asked; `None` if nothing was, or if members are changed.
    pub kind: Option<RequestKind>,
    /// The reply, equal on all members. Headers have the revision only: ids and term are the
    /// server's.
    pub reply: Result<Reply, Error>,
    /// What changed.
    pub changes: Changes,
}

/// A request's reply.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each is the message of its request")]
pub enum Reply {
    /// Nothing to say: an empty entry, an agreement of the cluster, an entry applied before.
    Empty,
    Range(RangeOutcome),
    Put(PutResponse),
    DeleteRange(DeleteRangeResponse),
    Txn(TxnResponse),
    /// The compaction is decided; for a `physical` one, wait until it is finished.
    Compaction(CompactionResponse),
    LeaseGrant(LeaseGrantResponse),
    LeaseRevoke(LeaseRevokeResponse),
    LeaseCheckpoint(LeaseCheckpointResponse),
    Alarm(AlarmResponse),
    /// The members after a configuration change, by id.
    Members(Vec<Member>),
}

/// What an entry changed, for those who must act on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// The records of the entry's revision; empty if it made none. For watches.
    pub records: Vec<Record>,
    /// What happened to leases.
    pub leases: Vec<LeaseChange>,
    /// Members, or what is known of one.
    pub members: Touched,
    /// Alarms.
    pub alarms: Touched,
    /// The cluster's version or downgrade.
    pub cluster: Touched,
    /// For a configuration change: what Raft is to do.
    pub conf_change: Option<ConfChangeVerdict>,
    /// A compaction was decided at this revision.
    pub compaction: Option<i64>,
}

/// Whether something is not as before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Touched {
    /// As before.
    #[default]
    No,
    /// Not as before.
    Yes,
}

/// Whether the membership allows a configuration change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfChangeVerdict {
    /// Raft applies it: the entry's data.
    Accepted(Bytes),
    /// Raft applies a change of nobody instead.
    Rejected,
}

/// Why this member must stop: never a reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// Its disk does not give back what was written.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// The entry is not what this release can apply: skipping it would make members differ.
    #[error("entry {index} of the log cannot be applied: {what}")]
    Malformed {
        /// Its position in the log.
        index: u64,
        /// What is wrong with it.
        what: String,
    },
}
