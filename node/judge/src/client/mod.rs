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

mod keys;
mod knowledge;
mod leases;
mod options;
mod requests;
mod txns;
mod watches;

pub use options::{ClientOptions, Weights};

use crate::history::{ClientId, MemberId, Outcome, Request, Time, WatchMessage};
use crate::random::Random;
use knowledge::Knowledge;
use leases::Leases;
use std::collections::BTreeMap;
use watches::{Context, Resumes, Watches};

/// Milliseconds after which a client that knows no member looks again.
const MEMBERLESS_MS: u64 = 500;

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

/// A request under way.
#[derive(Debug, Clone)]
struct UnderWay {
    member: MemberId,
    request: Request,
    deadline: Time,
}

/// A client.
#[derive(Debug, Clone)]
pub struct Client {
    id: ClientId,
    random: Random,
    options: ClientOptions,
    stopped: bool,
    knowledge: Knowledge,
    leases: Leases,
    watches: Watches,
    /// The member that it asks, until it has a reason to ask another.
    session: Option<MemberId>,
    calls: BTreeMap<Call, UnderWay>,
    calls_made: u64,
    values: u64,
    next_request: Time,
    /// The next time at which it is going to be woken.
    alarm: Option<Time>,
}

impl Client {
    /// A client that does nothing before it is woken.
    #[must_use]
    pub fn new(id: ClientId, random: Random, options: ClientOptions) -> Self {
        Self {
            id,
            random,
            options,
            stopped: false,
            knowledge: Knowledge::new(),
            leases: Leases::new(id),
            watches: Watches::new(options.streams),
            session: None,
            calls: BTreeMap::new(),
            calls_made: 0,
            values: 0,
            next_request: Time(0),
            alarm: None,
        }
    }

    /// Time has come: at the start, and whenever [`Action::WakeAt`] said.
    pub fn wake(&mut self, now: Time, members: &[MemberId]) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.alarm.is_some_and(|alarm| alarm <= now) {
            self.alarm = None;
        }
        self.give_up(now, &mut actions);
        self.proceed(now, members, actions)
    }

    /// A call ends, with an answer or without. Not for calls that were given up.
    pub fn on_answer(
        &mut self,
        now: Time,
        call: Call,
        outcome: &Outcome,
        members: &[MemberId],
    ) -> Vec<Action> {
        let Some(ended) = self.calls.remove(&call) else { return Vec::new() };
        let UnderWay { member, request, deadline: _ } = ended;
        match outcome {
            Outcome::Ok(response) => self.knowledge.learn_answer(&request, response),
            Outcome::Refused(_) => {}
            Outcome::NotApplied => self.leave(member),
            Outcome::Unknown => {
                self.wonder(&request);
                self.leave(member);
            }
        }
        self.leases.on_outcome(now, &request, outcome, &mut self.random);
        self.proceed(now, members, Vec::new())
    }

    /// A message arrives on a watch stream.
    pub fn on_watch_message(
        &mut self,
        now: Time,
        stream: Stream,
        message: &WatchMessage,
        members: &[MemberId],
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        let resumes = if self.stopped { Resumes::No } else { Resumes::Yes };
        let (watches, mut context) = self.watching(now, members, &mut actions);
        watches.on_message(&mut context, stream, message, resumes);
        self.proceed(now, members, actions)
    }

    /// A watch stream's connection broke.
    pub fn on_stream_closed(
        &mut self,
        now: Time,
        stream: Stream,
        members: &[MemberId],
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        let (watches, mut context) = self.watching(now, members, &mut actions);
        watches.on_closed(&mut context, stream);
        self.proceed(now, members, actions)
    }

    /// No new requests, watchers or streams from now on. Calls under way still end, and streams
    /// stay open.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// Does what is due, and says when something is due again.
    fn proceed(
        &mut self,
        now: Time,
        members: &[MemberId],
        mut actions: Vec<Action>,
    ) -> Vec<Action> {
        if !self.stopped {
            self.ask(now, members, &mut actions);
            let (watches, mut context) = self.watching(now, members, &mut actions);
            watches.step(&mut context);
        }
        if let Some(due) = self.next_due()
            && self.alarm.is_none_or(|alarm| due < alarm)
        {
            let due = due.max(now.plus(Time(1)));
            self.alarm = Some(due);
            actions.push(Action::WakeAt(due));
        }
        actions
    }

    fn watching<'a>(
        &'a mut self,
        now: Time,
        members: &'a [MemberId],
        actions: &'a mut Vec<Action>,
    ) -> (&'a mut Watches, Context<'a>) {
        let Self { random, options, knowledge, watches, .. } = self;
        (watches, Context { now, random, options, knowledge, members, actions })
    }

    fn next_due(&self) -> Option<Time> {
        let deadline = self.calls.values().map(|call| call.deadline).min();
        if self.stopped {
            return deadline;
        }
        let may_ask = self.calls.len() < self.options.calls_max;
        let request = Some(self.next_request).filter(|_| may_ask);
        let renewal = self.leases.next_due().filter(|_| may_ask);
        [deadline, request, renewal, self.watches.next_due()].into_iter().flatten().min()
    }

    fn give_up(&mut self, now: Time, actions: &mut Vec<Action>) {
        let late = self.calls.iter().filter(|(_, call)| call.deadline <= now);
        let late: Vec<Call> = late.map(|(call, _)| *call).collect();
        for call in late {
            let Some(UnderWay { member, request, deadline: _ }) = self.calls.remove(&call) else {
                continue;
            };
            actions.push(Action::GiveUp { call });
            self.wonder(&request);
            self.leave(member);
        }
    }

    /// Nobody knows whether it happened; if it did, a lease may be there.
    fn wonder(&mut self, request: &Request) {
        if let Request::LeaseGrant { id, .. } = request {
            self.knowledge.learn_lease(*id);
        }
    }

    /// Asks as much as it may now, renewals first.
    fn ask(&mut self, now: Time, members: &[MemberId], actions: &mut Vec<Action>) {
        while self.calls.len() < self.options.calls_max {
            let is_due = self.next_request <= now;
            if !is_due && self.leases.next_due().is_none_or(|due| due > now) {
                return;
            }
            let Some(member) = self.member(members) else {
                self.next_request = now.plus(Time::from_millis(MEMBERLESS_MS));
                while self.leases.due(now).is_some() {}
                return;
            };
            self.calls_made += 1;
            let request = match self.leases.due(now) {
                Some(id) => Request::LeaseKeepAlive { id },
                None => {
                    let think = self.random.below(self.options.think_ms_max.max(1));
                    self.next_request = now.plus(Time::from_millis(1 + think));
                    self.some_request()
                }
            };
            let call = Call(self.calls_made);
            let deadline = now.plus(Time::from_millis(self.options.timeout_ms));
            self.calls.insert(call, UnderWay { member, request: request.clone(), deadline });
            actions.push(Action::Ask { member, call, request });
        }
    }

    /// Whom to ask: mostly the one asked before.
    fn member(&mut self, members: &[MemberId]) -> Option<MemberId> {
        let stays = !self.random.chance(1, 30);
        let kept = self.session.filter(|member| stays && members.contains(member));
        self.session = kept.or_else(|| self.random.pick(members).copied());
        self.session
    }

    /// A member failed the client, which mostly goes elsewhere.
    fn leave(&mut self, member: MemberId) {
        if self.session == Some(member) && self.random.chance(2, 3) {
            self.session = None;
        }
    }
}

#[cfg(test)]
mod tests;
