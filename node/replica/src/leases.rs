//! What is done about leases: what clients ask, and what the leader's clock says.
//!
//! ```text
//!   RenewLease, LeaseTimeLeft ──► confirmation by a quorum ──► the clock answers
//!   the clock: a lease ends  ───► confirmation by a quorum ──► LeaseRevoke in this leader's log
//! ```
//!
//! When a lease ends is the clock's to say ([`LeaseClock`](crate::lease_clock::LeaseClock)).
//!
//! Invariant: nothing is renewed, told or revoked but under a leadership that a quorum confirmed
//! after it was asked.

use quorate_api::Error;
use quorate_api::etcdserverpb as pb;
use quorate_raft::Entry;

use crate::Replica;
use crate::config::IN_FLIGHT_MAX;
use crate::effect::Effect;
use crate::ended_renewals::EndedRenewal;
use crate::lease_clock::Renewal;
use crate::own_requests::Internal;
use crate::reads::Purpose;
use crate::request_id::RequestId;

impl Replica {
    /// Questions about a lease's time are the leader's to answer.
    pub(crate) fn on_lease_question(&mut self, purpose: Purpose, request: RequestId) {
        match self.leadership.leader {
            None => self.fail(request, Error::NoLeader),
            Some(leader) if !self.is_leader() => {
                self.out.push(Effect::AskLeader { request, leader });
            }
            Some(_) => self.on_read(purpose, request),
        }
    }

    pub(crate) fn renew_lease(&mut self, request: RequestId, lease: i64) {
        if !self.is_leader() {
            return self.on_lease_question(Purpose::RenewLease(request, lease), request);
        }
        match self.leases.renew(lease, self.now) {
            Renewal::NotFound => self.fail(request, Error::LeaseNotFound),
            Renewal::Ended if self.ended_renewals.len() >= IN_FLIGHT_MAX => {
                self.fail(request, Error::TooManyRequests);
            }
            Renewal::Ended => {
                let deadline = self.deadline();
                self.ended_renewals.push(EndedRenewal { client: request, lease, deadline });
            }
            Renewal::NotCounted => {
                self.on_lease_question(Purpose::RenewLease(request, lease), request);
            }
            Renewal::Renewed(ttl_seconds) => {
                self.out.push(Effect::LeaseRenewed { request, ttl_seconds });
            }
            Renewal::AfterCheckpoint(_) => {
                let checkpoint = lease_checkpoint(&[(lease, 0)]);
                self.propose_own(checkpoint, Internal::Renewal { client: request, lease });
            }
        }
    }

    /// The leader is another, or leads anew.
    pub(crate) fn ask_ended_renewals_again(&mut self) {
        for EndedRenewal { client, lease, deadline: _ } in self.ended_renewals.take_all() {
            self.on_lease_question(Purpose::RenewLease(client, lease), client);
        }
    }

    /// Another leads. What waits here for a confirmation or for the log would go on waiting for this
    /// member's store, which may be far behind: its disk is one reason why leaders change.
    pub(crate) fn pass_on_lease_questions(&mut self) {
        if self.is_leader() || self.leadership.leader.is_none() {
            return;
        }
        for purpose in self.reads.take_lease_questions() {
            if let Purpose::RenewLease(request, _) | Purpose::LeaseTimeLeft(request, _) = purpose {
                self.on_lease_question(purpose, request);
            }
        }
        for (client, lease) in self.take_own_renewals() {
            self.on_lease_question(Purpose::RenewLease(client, lease), client);
        }
    }

    pub(crate) fn tell_lease_time(&mut self, request: RequestId, lease: i64) {
        // What was confirmed under an earlier leader does not tell that the clock runs here.
        if !self.is_leader() || !self.leases.is_running() {
            return self.on_lease_question(Purpose::LeaseTimeLeft(request, lease), request);
        }
        match self.leases.time_left(lease, self.now) {
            None => self.fail(request, Error::LeaseNotFound),
            Some((ttl_seconds, remaining_seconds)) => {
                self.out.push(Effect::LeaseTimeLeft { request, ttl_seconds, remaining_seconds });
            }
        }
    }

    pub(crate) fn end_leases(&mut self) {
        let expired = self.leases.take_expired(self.now);
        if !expired.is_empty() {
            let deadline = self.deadline();
            self.reads.push(Purpose::RevokeLeases(expired), deadline);
        }
    }

    pub(crate) fn revoke_leases(&mut self, leases: Vec<i64>) {
        // An end that was counted in an earlier term says nothing: others have led meanwhile.
        let ended = leases.into_iter().filter(|id| self.leases.is_revoking(*id));
        let revokes: Vec<pb::InternalRaftRequest> = ended
            .map(|id| pb::InternalRaftRequest {
                lease_revoke: Some(pb::LeaseRevokeRequest { id }),
                ..pb::InternalRaftRequest::default()
            })
            .collect();
        let count = revokes.len() as u64;
        // What is lost is asked for again after a while.
        if self.propose_of_clock(revokes) {
            self.leases_ended += count;
        }
    }

    /// Put what the lease clock decided into this leader's log at once, or nowhere: waiting, or
    /// forwarded, it could reach the log of a successor that has renewed the lease. The clock
    /// says again what is lost here. Whether Raft took it.
    fn propose_of_clock(&mut self, bodies: Vec<pb::InternalRaftRequest>) -> bool {
        let status = self.node.basic_status();
        let leads = status.soft_state.role == quorate_raft::Role::Leader
            && status.hard_state.term.0 == self.leadership.term;
        if !leads || bodies.is_empty() {
            return false;
        }
        let mut entries = Vec::with_capacity(bodies.len());
        for body in bodies {
            let (_, data) = self.name_own(body);
            entries.push(Entry { data, ..Entry::default() });
        }
        self.propose_entries(entries)
    }

    pub(crate) fn write_lease_checkpoints(&mut self) {
        let due = self.leases.take_checkpoints(self.now);
        if !due.is_empty() && !self.propose_of_clock(vec![lease_checkpoint(&due)]) {
            self.leases.drop_checkpoints(&due);
        }
    }
}

fn lease_checkpoint(leases: &[(i64, i64)]) -> pb::InternalRaftRequest {
    let checkpoints = leases
        .iter()
        .map(|&(id, remaining_ttl)| pb::LeaseCheckpoint { id, remaining_ttl })
        .collect();
    pb::InternalRaftRequest {
        lease_checkpoint: Some(pb::LeaseCheckpointRequest { checkpoints }),
        ..pb::InternalRaftRequest::default()
    }
}
