//! What a member needs of its peers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use quorate_api::Error;
use quorate_api::etcdserverpb::HashKvResponse;
use quorate_api::member_json;
use quorate_raft::Message;

use super::snapshots::PinnedSnapshot;

/// What takes time to ask.
pub type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Carries messages and questions to peers. What is sent may be lost; what is lost is said to the
/// member by [`Member::peer_unreachable`](super::Member::peer_unreachable).
pub trait Peers: Send + Sync {
    /// Send a message. Never waits and never calls the member.
    fn send(&self, message: Box<Message>);

    /// Send a snapshot, and say how it ended by
    /// [`Member::snapshot_sent`](super::Member::snapshot_sent). Never waits.
    fn send_snapshot(&self, message: Box<Message>, snapshot: Arc<PinnedSnapshot>);

    /// The members are these now, this one among them.
    fn set_members(&self, members: &[member_json::Member]);

    /// Ask a member to keep a lease alive: its time to live in seconds.
    fn renew_lease(&self, member: &member_json::Member, lease: i64) -> Asked<'_, i64>;

    /// Ask a member what a lease has: granted and left, in seconds.
    fn lease_time_left(&self, member: &member_json::Member, lease: i64) -> Asked<'_, (i64, i64)>;

    /// Ask a member to let a learner vote.
    fn promote(
        &self,
        member: &member_json::Member,
        learner: u64,
    ) -> Asked<'_, Vec<member_json::Member>>;

    /// The version that a member states, if it answers.
    fn version(&self, member: &member_json::Member) -> Asked<'_, String>;

    /// The hash of a member's keys at a revision.
    fn hash_kv(&self, member: &member_json::Member, revision: i64) -> Asked<'_, HashKvResponse>;

    /// End all connections.
    fn stop(&self);
}

/// Of a member that has none.
#[derive(Debug)]
pub struct NoPeers;

impl Peers for NoPeers {
    fn send(&self, _: Box<Message>) {}

    fn send_snapshot(&self, _: Box<Message>, _: Arc<PinnedSnapshot>) {}

    fn set_members(&self, _: &[member_json::Member]) {}

    fn renew_lease(&self, _: &member_json::Member, _: i64) -> Asked<'_, i64> {
        Box::pin(async { Err(Error::NoLeader) })
    }

    fn lease_time_left(&self, _: &member_json::Member, _: i64) -> Asked<'_, (i64, i64)> {
        Box::pin(async { Err(Error::NoLeader) })
    }

    fn promote(&self, _: &member_json::Member, _: u64) -> Asked<'_, Vec<member_json::Member>> {
        Box::pin(async { Err(Error::NoLeader) })
    }

    fn version(&self, _: &member_json::Member) -> Asked<'_, String> {
        Box::pin(async { Err(Error::NoLeader) })
    }

    fn hash_kv(&self, _: &member_json::Member, _: i64) -> Asked<'_, HashKvResponse> {
        Box::pin(async { Err(Error::NoLeader) })
    }

    fn stop(&self) {}
}
