//! Requests on their way into the log and back as applied.
//!
//! ```text
//!   Propose ──► waiting ──(leader known)──► Raft ──► … ──► Applied: forgotten
//!                  └───────────── deadline ──────────────► Fail
//! ```
//!
//! A request that Raft took is never handed to it again: nobody can tell whether it was lost, and
//! twice is worse than never.

use std::collections::{BTreeMap, VecDeque};

use quorate_api::Error;

use crate::Time;
use crate::config::IN_FLIGHT_MAX;
use crate::event::Proposal;
use crate::request_id::RequestId;

/// All requests that have been neither applied nor failed.
#[derive(Debug, Default)]
pub(crate) struct Proposals {
    /// Not yet handed to Raft.
    waiting: VecDeque<Proposal>,
    /// Every request, with the time it was asked.
    in_flight: BTreeMap<RequestId, Time>,
    /// The same in the order of their deadlines; may name requests that are done.
    deadlines: VecDeque<(Time, RequestId)>,
}

impl Proposals {
    /// Take a request that a client waits for until `deadline`.
    pub(crate) fn push(
        &mut self,
        now: Time,
        deadline: Time,
        proposal: Proposal,
    ) -> Result<(), Error> {
        self.track(now, deadline, proposal.request)?;
        self.waiting.push_back(proposal);
        Ok(())
    }

    /// Watch over a request that is not in the queue.
    pub(crate) fn track(
        &mut self,
        now: Time,
        deadline: Time,
        request: RequestId,
    ) -> Result<(), Error> {
        if self.in_flight.len() >= IN_FLIGHT_MAX {
            return Err(Error::TooManyRequests);
        }
        self.in_flight.insert(request, now);
        self.deadlines.push_back((deadline, request));
        Ok(())
    }

    /// The requests to hand to Raft now.
    pub(crate) fn take_waiting(&mut self) -> VecDeque<Proposal> {
        std::mem::take(&mut self.waiting)
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Raft did not take these: they go on waiting, in front.
    pub(crate) fn put_back(&mut self, mut proposals: VecDeque<Proposal>) {
        proposals.append(&mut self.waiting);
        self.waiting = proposals;
    }

    /// A request is done. Returns whether it was known.
    pub(crate) fn finish(&mut self, request: RequestId) -> bool {
        self.in_flight.remove(&request).is_some()
    }

    /// The requests whose deadline has come, with the time they were asked.
    pub(crate) fn expire(&mut self, now: Time) -> Vec<(RequestId, Time)> {
        let mut expired = Vec::new();
        while let Some(&(deadline, request)) = self.deadlines.front() {
            if deadline > now {
                break;
            }
            self.deadlines.pop_front();
            if let Some(asked) = self.in_flight.remove(&request) {
                expired.push((request, asked));
            }
        }
        if !expired.is_empty() {
            self.waiting.retain(|proposal| self.in_flight.contains_key(&proposal.request));
        }
        expired
    }

    pub(crate) fn len(&self) -> usize {
        self.in_flight.len()
    }
}
