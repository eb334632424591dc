//! Requests that the member itself puts into the log.
//!
//! They go the way of clients' requests, under names of a lane of their own, and nobody outside
//! waits for their answers.

use bytes::Bytes;
use prost::Message as _;
use quorate_api::etcdserverpb as pb;

use crate::Replica;
use crate::event::{Priority, Proposal};
use crate::quota::AlarmProposal;
use crate::request_id::RequestId;

/// A request of the member's own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Internal {
    /// A client waits for a renewal that goes through the log.
    Renewal { client: RequestId, lease: i64 },
    /// The own alarm is raised or withdrawn.
    Alarm,
}

impl Replica {
    pub(crate) fn propose_alarm(&mut self) {
        if self.leadership.leader.is_none()
            || self.internal.values().any(|own| matches!(own, Internal::Alarm))
        {
            return;
        }
        let action = match self.quota.take_proposal() {
            None => return,
            Some(AlarmProposal::Activate) => pb::alarm_request::AlarmAction::Activate,
            Some(AlarmProposal::Deactivate) => pb::alarm_request::AlarmAction::Deactivate,
        };
        let alarm = pb::InternalRaftRequest {
            alarm: Some(pb::AlarmRequest {
                action: action.into(),
                member_id: self.config.member.0,
                alarm: pb::AlarmType::Nospace.into(),
            }),
            ..pb::InternalRaftRequest::default()
        };
        self.propose_own(alarm, Internal::Alarm);
    }

    /// Put a request of the member's own into the log.
    pub(crate) fn propose_own(&mut self, body: pb::InternalRaftRequest, purpose: Internal) {
        let (request, data) = self.name_own(body);
        let proposal = Proposal { request, data, growth_bytes: 0, priority: Priority::High };
        let deadline = self.deadline();
        match self.proposals.push(self.now, deadline, proposal) {
            Ok(()) => {
                self.internal.insert(request, purpose);
            }
            Err(error) => {
                if let Internal::Renewal { client, .. } = purpose {
                    self.fail(client, error);
                }
            }
        }
    }

    pub(crate) fn finish_own(&mut self, request: RequestId) {
        match self.internal.remove(&request) {
            None | Some(Internal::Alarm) => {}
            Some(Internal::Renewal { client, lease }) => self.renew_lease(client, lease),
        }
    }

    /// Renewals that go through the log, whose clients nobody else answers any more. What is in the
    /// log of them does no harm: it gives the lease its whole time.
    pub(crate) fn take_own_renewals(&mut self) -> Vec<(RequestId, i64)> {
        let mut renewals = Vec::new();
        self.internal.retain(|request, own| match own {
            Internal::Alarm => true,
            Internal::Renewal { client, lease } => {
                self.proposals.finish(*request);
                renewals.push((*client, *lease));
                false
            }
        });
        renewals
    }

    /// Give a request of the member's own its name.
    pub(crate) fn name_own(&mut self, mut body: pb::InternalRaftRequest) -> (RequestId, Bytes) {
        let request = self.ids.next_id();
        body.header = Some(pb::RequestHeader { id: request.0, ..pb::RequestHeader::default() });
        (request, Bytes::from(body.encode_to_vec()))
    }
}
