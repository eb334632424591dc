//! Leadership on its way to another member because somebody asked.

use quorate_api::Error;
use quorate_raft::NodeId;

use crate::effect::Effect;
use crate::request_id::RequestId;
use crate::{Replica, Time};

/// A transfer that has not ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    /// Whom to answer.
    pub(crate) request: RequestId,
    /// Who shall lead.
    pub(crate) to: NodeId,
    /// When it has failed.
    pub(crate) deadline: Time,
}

impl Replica {
    pub(crate) fn on_transfer(&mut self, request: RequestId, to: NodeId) {
        if !self.is_leader() {
            return self.fail(request, Error::NotLeader);
        }
        if to == self.config.member {
            return self.out.push(Effect::LeadershipTransferred { request });
        }
        if !self.node.raft().tracker().configuration.voters.ids().contains(to) {
            return self.fail(request, Error::BadLeaderTransferee);
        }
        self.transfer_to(request, to);
    }

    pub(crate) fn on_hand_over(&mut self, request: RequestId) {
        match self.membership.longest_connected_voter() {
            Some(to) if self.is_leader() => self.transfer_to(request, to),
            _ => self.out.push(Effect::LeadershipTransferred { request }),
        }
    }

    fn transfer_to(&mut self, request: RequestId, to: NodeId) {
        let deadline = self.now + self.config.election_timeout_ms();
        self.transfers.push(Transfer { request, to, deadline });
        self.node.transfer_leadership(to);
    }

    /// Answer transfers that have reached their end.
    pub(crate) fn finish_transfers(&mut self) {
        let leader = self.leadership.leader;
        let done = self.transfers.extract_if(.., |transfer| leader == Some(transfer.to));
        self.out.extend(
            done.map(|transfer| Effect::LeadershipTransferred { request: transfer.request }),
        );
    }

    /// Answer transfers whose time is up.
    pub(crate) fn expire_transfers(&mut self) {
        let now = self.now;
        let late = self.transfers.extract_if(.., |transfer| transfer.deadline <= now);
        self.out.extend(
            late.map(|transfer| Effect::Fail { request: transfer.request, error: Error::Timeout }),
        );
    }

    /// A leader whose disk does not answer within an election timeout gives its place to another.
    pub(crate) fn leave_stalled_disk(&mut self) {
        let limit = self.config.election_timeout_ms();
        let stalled = self.batches.oldest().is_some_and(|since| self.now.since(since) >= limit);
        if stalled && let Some(to) = self.membership.longest_connected_voter() {
            self.node.transfer_leadership(to);
        }
    }
}
