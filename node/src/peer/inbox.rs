//! What the transport needs of the member.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use quorate_api::Error;
use quorate_api::etcdserverpb::{HashKvResponse, LeaseTimeToLiveResponse};
use quorate_api::member_json::Member;
use quorate_member::identity::{Claim, Doubt, Judgement};
use quorate_raft::Message;
use quorate_replica::SnapshotOutcome;
use quorate_store::log::Damage;
use serde_json::Value;

/// An answer that takes time.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// The versions of a member, as `/version` tells them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Of the server.
    pub server: String,
    /// Of the cluster.
    pub cluster: String,
    /// Of the store; empty before etcd 3.6.
    pub storage: String,
}

impl Versions {
    /// The JSON of etcd.
    pub(super) fn to_json(&self) -> String {
        let Self { server, cluster, storage } = self;
        let [server, cluster, storage] =
            [server, cluster, storage].map(|text| Value::from(text.as_str()));
        format!(r#"{{"etcdserver":{server},"etcdcluster":{cluster},"storage":{storage}}}"#)
    }

    /// Reads what [`Versions::to_json`] writes.
    pub(super) fn from_json(json: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(json).ok()?;
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            server: text("etcdserver")?,
            cluster: text("etcdcluster")?,
            storage: text("storage").unwrap_or_default(),
        })
    }
}

/// What the transport tells the member and asks of it. Called by the transport's thread alone,
/// so nothing here may wait: what takes time is an [`Answer`].
///
/// Questions are for this member itself. A member that is not the leader answers
/// [`Error::NotLeader`] instead of asking on, so that no question goes in circles.
pub trait Inbox: Send + Sync {
    /// Whether the cluster has removed this member.
    fn is_removed(&self, member: u64) -> bool;

    /// What the member does on the transport's thread for as long as that runs.
    fn attend(&self) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// What this member says of itself.
    fn claim(&self) -> Claim;

    /// Whether somebody is the peer that it says it is.
    ///
    /// # Errors
    /// Why not.
    fn judge(&self, peer: u64, claim: Option<&Claim>) -> Result<Judgement, Doubt>;

    /// Write down what a peer claims: it is heard after that.
    fn remember(&self, peer: u64, claim: Claim) -> Answer<'_, ()>;

    /// A peer is not who it says it is, and was not heard.
    fn doubted(&self, peer: u64, doubt: &Doubt);

    /// A peer has heard this member.
    fn accepted_by(&self, peer: u64);

    /// A peer does not take this member for the one that it was.
    fn refused_by(&self, peer: u64, why: &str);

    /// A message of a peer.
    fn receive(&self, message: Box<Message>);

    /// A snapshot of a peer, whole and durable under this name in the folder of
    /// [`Settings`](super::Settings). The answer says that Raft has it; whoever is handed the file
    /// removes it.
    fn receive_snapshot(&self, message: Box<Message>, file: PathBuf) -> Answer<'_, ()>;

    /// A peer can be reached since now.
    fn connected(&self, peer: u64);

    /// A peer can no longer be reached.
    fn disconnected(&self, peer: u64);

    /// A message to a peer may have been lost.
    fn unreachable(&self, peer: u64);

    /// How the sending of a snapshot ended.
    fn snapshot_sent(&self, peer: u64, outcome: SnapshotOutcome);

    /// A snapshot for a peer cannot be read: data of this member is damaged.
    fn found_damage(&self, damage: &Damage);

    /// A peer says that this member has been removed from the cluster.
    fn told_removed(&self, by: u64);

    /// The members, as this member knows them.
    fn members(&self) -> Vec<Member>;

    /// The versions of this member.
    fn versions(&self) -> Answer<'_, Versions>;

    /// Let a learner vote, on behalf of the holder of this token.
    fn promote(&self, member: u64, token: Option<String>) -> Answer<'_, Vec<Member>>;

    /// Keep a lease alive: its time to live in seconds.
    fn renew_lease(&self, lease: i64) -> Answer<'_, i64>;

    /// What a lease has left.
    fn lease_time_left(&self, lease: i64, keys: bool) -> Answer<'_, LeaseTimeToLiveResponse>;

    /// The hash of the keys at a revision.
    fn hash_kv(&self, revision: i64) -> Answer<'_, HashKvResponse>;

    /// Whether a downgrade is under way, as the cluster knows now.
    fn is_downgrade_enabled(&self) -> Answer<'_, bool>;
}
