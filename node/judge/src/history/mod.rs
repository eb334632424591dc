//! What clients saw: every request with when it was asked and what came back, and every message
//! of every watch stream.
//!
//! A history holds observations only. It never says what the cluster did inside; the checks in
//! [`crate::check`] decide whether one etcd could have answered so.
//!
//! ```text
//!   invoked ────────── returned        Ok         happened in between, with this answer
//!   invoked ────────── returned        Refused    changed nothing; the answer is checked too
//!   invoked ────────── returned        NotApplied changed nothing, says nothing
//!   invoked ─────── ─ ─ ─ ─ ─ ─ ─ ─    Unknown    happened at any later time, or never
//! ```
//! Invariant: an operation returns at or after its invocation and completes once.

mod request;
mod response;
mod watch;

pub use request::{
    Compare, Consistency, DeleteRange, KeyRange, Projection, Put, Range, Relation, Request, Target,
    Txn, TxnOperation,
};
pub use response::{Body, KeyValue, RangeResult, Refusal, Response};
pub use watch::{Event, EventKind, WatchCreate, WatchMessage, WatchStream};

use std::fmt;

/// A moment of virtual time: nanoseconds since the run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    /// Later than everything that happens.
    pub const NEVER: Self = Self(u64::MAX);

    /// A moment in whole seconds since the run began.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// A moment in whole milliseconds since the run began.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// This moment and `other`'s nanoseconds more, at most [`Time::NEVER`].
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// This moment less `other`'s nanoseconds, at least the beginning of the run.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NEVER {
            return formatter.write_str("never");
        }
        write!(formatter, "{}.{:06}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000 / 1000)
    }
}

/// A member's id, as its cluster knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

/// A client of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// Position of an operation in its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub usize);

/// Position of a watch stream in its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub usize);

/// Who asked whom. A restart of the member is a new incarnation, and breaks its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session {
    /// The client that asked.
    pub client: ClientId,
    /// The member that was asked.
    pub member: MemberId,
    /// How often that member had started before.
    pub incarnation: u32,
}

impl fmt::Display for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, member, incarnation } = self;
        write!(formatter, "client {} at member {:x}/{incarnation}", client.0, member.0)
    }
}

/// How an operation ended for its client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Answered.
    Ok(Response),
    /// Refused by the state machine: nothing changed, and the reason must be true.
    Refused(Refusal),
    /// Surely not applied, for a reason outside the state machine (no leader known, overload).
    NotApplied,
    /// Time-out, broken connection or no answer yet: may happen at any time after the invocation.
    Unknown,
}

/// One request and what its client knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Position in the history.
    pub id: OperationId,
    /// Who asked whom.
    pub session: Session,
    /// When the client asked.
    pub invoked: Time,
    /// When the client stopped waiting; none while it waits.
    pub returned: Option<Time>,
    /// What was asked.
    pub request: Request,
    /// What came back; `Unknown` while the client waits.
    pub outcome: Outcome,
}

impl Operation {
    /// The answer, if there was one.
    #[must_use]
    pub fn response(&self) -> Option<&Response> {
        match &self.outcome {
            Outcome::Ok(response) => Some(response),
            Outcome::Refused(_) | Outcome::NotApplied | Outcome::Unknown => None,
        }
    }

    /// The answer with the time at which it came.
    #[must_use]
    pub fn answered(&self) -> Option<(Time, &Response)> {
        Some((self.returned?, self.response()?))
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, session, invoked, returned, request, outcome } = self;
        let returned = returned.unwrap_or(Time::NEVER);
        write!(formatter, "#{} [{invoked}..{returned}] {session}: {request:?} → ", id.0)?;
        match outcome {
            Outcome::Ok(response) => write!(formatter, "{response:?}"),
            Outcome::Refused(refusal) => write!(formatter, "refused {refusal:?}"),
            Outcome::NotApplied => formatter.write_str("not applied"),
            Outcome::Unknown => formatter.write_str("unknown"),
        }
    }
}

/// Everything that the clients of one run saw.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    operations: Vec<Operation>,
    streams: Vec<WatchStream>,
}

impl History {
    /// A history of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A client asks. Until [`History::complete`] the outcome is unknown.
    pub fn invoke(&mut self, time: Time, session: Session, request: Request) -> OperationId {
        let id = OperationId(self.operations.len());
        let outcome = Outcome::Unknown;
        let operation = Operation { id, session, invoked: time, returned: None, request, outcome };
        self.operations.push(operation);
        id
    }

    /// A client stops waiting for `id`.
    ///
    /// # Panics
    /// If `id` is not of this history, completed before, or `time` is before its invocation.
    pub fn complete(&mut self, id: OperationId, time: Time, outcome: Outcome) {
        let operation = self.operations.get_mut(id.0).expect("the id is of this history");
        assert!(operation.returned.is_none(), "{operation} completes twice");
        assert!(time >= operation.invoked, "{operation} completes before it was invoked");
        operation.returned = Some(time);
        operation.outcome = outcome;
    }

    /// A client opens a watch stream.
    pub fn open_stream(&mut self, time: Time, session: Session) -> StreamId {
        let id = StreamId(self.streams.len());
        let messages = Vec::new();
        self.streams.push(WatchStream { id, session, opened: time, closed: None, messages });
        id
    }

    /// A message passes the client's end of a stream, in either direction.
    ///
    /// # Panics
    /// If the stream is not of this history, or closed.
    pub fn message(&mut self, id: StreamId, time: Time, message: WatchMessage) {
        let stream = self.streams.get_mut(id.0).expect("the id is of this history");
        assert!(stream.closed.is_none(), "a closed stream carries no message");
        stream.messages.push((time, message));
    }

    /// A stream ends, for whatever reason. Closing twice changes nothing.
    ///
    /// # Panics
    /// If the stream is not of this history.
    pub fn close_stream(&mut self, id: StreamId, time: Time) {
        let stream = self.streams.get_mut(id.0).expect("the id is of this history");
        stream.closed.get_or_insert(time);
    }

    /// All operations, in the order of their invocation.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// All operations, for a test that plants a fault.
    pub fn operations_mut(&mut self) -> &mut [Operation] {
        &mut self.operations
    }

    /// All watch streams, in the order in which they were opened.
    #[must_use]
    pub fn streams(&self) -> &[WatchStream] {
        &self.streams
    }

    /// All watch streams, for a test that plants a fault.
    pub fn streams_mut(&mut self) -> &mut [WatchStream] {
        &mut self.streams
    }
}
