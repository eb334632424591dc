//! Requests on their way into the log and back as applied.
//!
//! ```text
//!   Propose ──► waiting ──(leader known)──► Raft ──► … ──► Applied: forgotten
//!                  └───────────── deadline ──────────────► Fail
//! ```
//!
//! A request that Raft took is never handed to it again: nobody can tell whether it was lost, and
//! twice is worse than never. But when an entry of a later term has been applied and the request
//! has not, the leader that it was meant for has not put it into the log: it may still be on its
//! way to the next one, and if it does not arrive there soon, its client need not wait longer.

use std::collections::{BTreeMap, VecDeque};

use quorate_api::Error;

use crate::Time;
use crate::config::IN_FLIGHT_MAX;
use crate::event::Proposal;
use crate::request_id::RequestId;

/// All requests that have been neither applied nor failed.
#[derive(Debug, Default)]
pub(crate) struct Proposals {
    /// Not yet handed to Raft, each with its number.
    waiting: VecDeque<(u64, Proposal)>,
    /// The number of the next request: in the order in which they are handed to Raft.
    next: u64,
    /// Every request.
    in_flight: BTreeMap<RequestId, InFlight>,
    /// The same in the order of their deadlines; may name requests that are done.
    deadlines: VecDeque<(Time, RequestId)>,
    /// Terms in which requests were handed to Raft, each with the number behind the last one.
    handed: VecDeque<(u64, u64)>,
    /// Requests that a leader has lost, in the order of the times until which they are waited for;
    /// may name requests that are done.
    lost: VecDeque<(Time, RequestId)>,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    asked: Time,
    /// Its number, if it was in the queue.
    number: Option<u64>,
}

/// A request that is no longer waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expired {
    pub(crate) request: RequestId,
    pub(crate) asked: Time,
    /// Whether the leader that it was handed to has gone without it.
    pub(crate) was_lost: bool,
}

impl Proposals {
    /// Take a request that a client waits for until `deadline`.
    pub(crate) fn push(
        &mut self,
        now: Time,
        deadline: Time,
        proposal: Proposal,
    ) -> Result<(), Error> {
        let number = self.next;
        self.keep(deadline, proposal.request, InFlight { asked: now, number: Some(number) })?;
        self.next += 1;
        self.waiting.push_back((number, proposal));
        Ok(())
    }

    /// Watch over a request that is not in the queue.
    pub(crate) fn track(
        &mut self,
        now: Time,
        deadline: Time,
        request: RequestId,
    ) -> Result<(), Error> {
        self.keep(deadline, request, InFlight { asked: now, number: None })
    }

    fn keep(&mut self, deadline: Time, request: RequestId, one: InFlight) -> Result<(), Error> {
        if self.in_flight.len() >= IN_FLIGHT_MAX {
            return Err(Error::TooManyRequests);
        }
        self.in_flight.insert(request, one);
        self.deadlines.push_back((deadline, request));
        Ok(())
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What waits for Raft, in order.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Proposal> {
        self.waiting.iter().map(|(_, proposal)| proposal)
    }

    /// Raft took the first so many of those that wait, in this term.
    pub(crate) fn on_handed(&mut self, count: usize, term: u64) {
        let Some((number, _)) = self.waiting.drain(..count).next_back() else { return };
        match self.handed.back_mut() {
            Some((newest, behind)) if *newest == term => *behind = number + 1,
            _ => self.handed.push_back((term, number + 1)),
        }
    }

    /// The oldest term in which a request was handed to Raft that may be in flight.
    pub(crate) fn oldest_term(&self) -> Option<u64> {
        self.handed.front().map(|(term, _)| *term)
    }

    /// An entry of this term has been applied: requests of earlier ones are waited for until
    /// `until` at most.
    pub(crate) fn on_term_applied(&mut self, term: u64, until: Time) {
        let mut behind = 0;
        while let Some(&(handed, number)) = self.handed.front()
            && handed < term
        {
            behind = number;
            self.handed.pop_front();
        }
        let is_lost = |one: &InFlight| one.number.is_some_and(|number| number < behind);
        let lost = self.in_flight.iter().filter(|(_, one)| is_lost(one));
        self.lost.extend(lost.map(|(request, _)| (until, *request)));
    }

    /// A request is done. Returns whether it was known.
    pub(crate) fn finish(&mut self, request: RequestId) -> bool {
        self.in_flight.remove(&request).is_some()
    }

    /// The requests that are no longer waited for.
    pub(crate) fn expire(&mut self, now: Time) -> Vec<Expired> {
        let mut expired = Vec::new();
        for (queue, was_lost) in [(&mut self.lost, true), (&mut self.deadlines, false)] {
            while let Some(&(deadline, request)) = queue.front()
                && deadline <= now
            {
                queue.pop_front();
                if let Some(InFlight { asked, .. }) = self.in_flight.remove(&request) {
                    expired.push(Expired { request, asked, was_lost });
                }
            }
        }
        if !expired.is_empty() {
            self.waiting.retain(|(_, proposal)| self.in_flight.contains_key(&proposal.request));
        }
        expired
    }

    pub(crate) fn len(&self) -> usize {
        self.in_flight.len()
    }
}
