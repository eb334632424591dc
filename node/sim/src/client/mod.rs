//! Clients of a simulated cluster: what they ask, of whom, and what they make of the answers.
//!
//! A client follows its own knowledge alone (revisions, keys and leases that it has seen), as a
//! real one does. It never reads a clock, waits or sends: it is told what happened and says what
//! it wants done. It judges nothing; the checks of [`crate::check`] do, over the history.
//!
//! ```text
//!   wake ─────────────┐                    ┌─► Ask, GiveUp
//!   on_answer ────────┤  session, knowledge├─► OpenWatch, WatchSend, CloseWatch
//!   on_watch_message ─┤  leases, watches   └─► WakeAt
//!   on_stream_closed ─┘
//! ```
//!
//! Invariants: equal options, seed and events give equal actions; a call ends once, by its answer
//! or by [`Action::GiveUp`]; a value, a lease id, a call and a stream are used once.

mod options;

pub use options::{ClientOptions, Weights};

use crate::history::{ClientId, MemberId, Outcome, Request, Time, WatchMessage};
use crate::random::Random;

/// A request under way, by its number at its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call(pub u64);

/// A watch stream, by its number at its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream(pub u64);

/// What a client wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a request.
    Ask {
        /// To whom.
        member: MemberId,
        /// Its number.
        call: Call,
        /// What is asked.
        request: Request,
    },
    /// Wait no longer: nobody will know whether it happened.
    GiveUp {
        /// The request.
        call: Call,
    },
    /// Open a watch stream.
    OpenWatch {
        /// At whom.
        member: MemberId,
        /// Its number.
        stream: Stream,
    },
    /// Send on a watch stream.
    WatchSend {
        /// The stream.
        stream: Stream,
        /// A request to create, to cancel or to tell progress.
        message: WatchMessage,
    },
    /// Close a watch stream; nothing is heard of it again.
    CloseWatch {
        /// The stream.
        stream: Stream,
    },
    /// Call [`Client::wake`] at that time.
    WakeAt(Time),
}

/// A client.
#[derive(Debug, Clone)]
pub struct Client {
    id: ClientId,
    random: Random,
    options: ClientOptions,
    stopped: bool,
}

impl Client {
    /// A client that does nothing before it is woken.
    #[must_use]
    pub fn new(id: ClientId, random: Random, options: ClientOptions) -> Self {
        Self { id, random, options, stopped: false }
    }

    /// Time has come: at the start, and whenever [`Action::WakeAt`] said.
    pub fn wake(&mut self, now: Time, members: &[MemberId]) -> Vec<Action> {
        let _ = (now, members, self.id, &self.random, self.options);
        Vec::new()
    }

    /// A call ends, with an answer or without. Not for calls that were given up.
    pub fn on_answer(
        &mut self,
        now: Time,
        call: Call,
        outcome: &Outcome,
        members: &[MemberId],
    ) -> Vec<Action> {
        let _ = (now, call, outcome, members);
        Vec::new()
    }

    /// A message arrives on a watch stream.
    pub fn on_watch_message(
        &mut self,
        now: Time,
        stream: Stream,
        message: &WatchMessage,
        members: &[MemberId],
    ) -> Vec<Action> {
        let _ = (now, stream, message, members);
        Vec::new()
    }

    /// A watch stream's connection broke.
    pub fn on_stream_closed(
        &mut self,
        now: Time,
        stream: Stream,
        members: &[MemberId],
    ) -> Vec<Action> {
        let _ = (now, stream, members);
        Vec::new()
    }

    /// No new requests, watchers or streams from now on. Calls under way still end, and streams
    /// stay open.
    pub fn stop(&mut self) {
        self.stopped = true;
    }
}
