//! A member and its transport: each is what the other needs of it.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use quorate_api::Error;
use quorate_api::etcdserverpb::{HashKvResponse, LeaseTimeToLiveResponse};
use quorate_api::member_json;
use quorate_api::version::ETCD_VERSION;
use quorate_member::identity::{Claim, Doubt, Judgement};
use quorate_member::route;
use quorate_raft::Message;
use quorate_replica::SnapshotOutcome;
use quorate_store::log::Damage;
use quorate_store::mvcc::ReadError;
use quorate_store::snapshot::{SnapshotStream, StreamError};

use super::client::{self, AskError};
use super::dial::Dialer;
use super::inbox::{Answer, Inbox, Versions};
use super::send_snapshot::{SnapshotSource, SourceError};
use super::settings::{PeerInfo, Settings};
use super::transport::{Shared, Transport};
use crate::config::Config;
use crate::grpc;
use crate::member::peers::{Asked, Peers};
use crate::member::{Here, Ids, Member, PinnedSnapshot, Stop};

/// What a peer is given to answer a question: a client waits for it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Of a store that may fill its quota: a file holds the store's bytes, and pages around them.
const SNAPSHOT_BYTES_PER_QUOTA: u64 = 8;

/// The smallest bound of a snapshot: a quota can be lowered below what a store holds.
const SNAPSHOT_BYTES_FLOOR: u64 = 64 << 30;

impl Settings {
    /// Of a member with this configuration; arriving snapshots are put into this folder.
    #[must_use]
    pub fn of_member(config: &Config, ids: Ids, snapshot_folder: PathBuf, dialer: Dialer) -> Self {
        let election = Duration::from_millis(config.election_ms);
        Self {
            cluster: ids.cluster,
            member: ids.member,
            listen: config.listen_peer_urls.as_slice().to_vec(),
            advertise: config.initial_advertise_peer_urls.as_slice().to_vec(),
            snapshot_folder,
            snapshot_bytes_max: config
                .quota_bytes
                .map_or(u64::MAX, |quota| quota.saturating_mul(SNAPSHOT_BYTES_PER_QUOTA))
                .max(SNAPSHOT_BYTES_FLOOR),
            dial_timeout: Duration::from_secs(1) + election,
            dialer,
        }
    }
}

/// Reads a pinned snapshot, from the thread that sends it.
struct Pinned {
    pinned: Arc<PinnedSnapshot>,
    stream: Option<SnapshotStream>,
    /// Who hears of damage.
    shared: Arc<Shared>,
}

impl SnapshotSource for Pinned {
    fn next(&mut self) -> Result<Option<bytes::Bytes>, SourceError> {
        let Self { pinned, stream, shared } = self;
        let chunk = stream.get_or_insert_with(|| pinned.stream()).next();
        if let Err(error) = &chunk
            && let Some(StreamError::Damage(damage)) = error.downcast_ref()
        {
            shared.inbox().found_damage(damage);
        }
        chunk
    }
}

impl Peers for Transport {
    fn send(&self, message: Box<Message>) {
        Self::send(self, message);
    }

    fn send_snapshot(&self, message: Box<Message>, snapshot: Arc<PinnedSnapshot>) {
        let shared = self.shared().clone();
        let source = Pinned { pinned: snapshot, stream: None, shared };
        Self::send_snapshot(self, message, Box::new(source));
    }

    fn set_members(&self, members: &[member_json::Member]) {
        let peers: Vec<PeerInfo> =
            members.iter().map(|member| PeerInfo { id: member.id, urls: urls(member) }).collect();
        self.set_peers(&peers);
    }

    fn renew_lease(&self, member: &member_json::Member, lease: i64) -> Asked<'_, i64> {
        let urls = urls(member);
        asked(async move { client::renew_lease(self.dialer(), &urls, lease, ANSWER_TIMEOUT).await })
    }

    fn lease_time_left(&self, member: &member_json::Member, lease: i64) -> Asked<'_, (i64, i64)> {
        let urls = urls(member);
        asked(async move {
            let answer =
                client::lease_time_left(self.dialer(), &urls, lease, false, ANSWER_TIMEOUT).await?;
            Ok((answer.granted_ttl, answer.ttl))
        })
    }

    fn promote(
        &self,
        member: &member_json::Member,
        learner: u64,
    ) -> Asked<'_, Vec<member_json::Member>> {
        let urls = urls(member);
        asked(
            async move { client::promote(self.dialer(), &urls, learner, None, ANSWER_TIMEOUT).await },
        )
    }

    fn version(&self, member: &member_json::Member) -> Asked<'_, String> {
        let urls = urls(member);
        asked(async move {
            Ok(client::fetch_version(self.dialer(), &urls, ANSWER_TIMEOUT).await?.server)
        })
    }

    fn hash_kv(&self, member: &member_json::Member, revision: i64) -> Asked<'_, HashKvResponse> {
        let (urls, cluster) = (urls(member), self.cluster());
        asked(async move {
            client::hash_kv(self.dialer(), &urls, cluster, revision, ANSWER_TIMEOUT).await
        })
    }

    fn stop(&self) {
        Self::stop(self);
    }
}

fn urls(member: &member_json::Member) -> Vec<String> {
    member.peer_urls.clone().unwrap_or_default()
}

/// What a client of this member is told of a peer's answer.
fn asked<'a, T>(answer: impl Future<Output = Result<T, AskError>> + Send + 'a) -> Asked<'a, T> {
    Box::pin(async move {
        answer.await.map_err(|error| match error {
            AskError::Refused(error) => error,
            AskError::Timeout | AskError::Answer { .. } => Error::Timeout,
            AskError::NoAddress | AskError::Dial(_) | AskError::Broken(_) | AskError::Malformed => {
                Error::TimeoutDueToConnectionLost
            }
        })
    })
}

impl Inbox for Member {
    fn is_removed(&self, member: u64) -> bool {
        self.known_members().removed.contains(&member)
    }

    fn attend(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.clone().end_rounds())
    }

    fn claim(&self) -> Claim {
        Self::claim(self)
    }

    fn judge(&self, peer: u64, claim: Option<&Claim>) -> Result<Judgement, Doubt> {
        self.judge_peer(peer, claim)
    }

    fn remember(&self, peer: u64, claim: Claim) -> Answer<'_, ()> {
        Box::pin(self.remember_peer(peer, claim))
    }

    fn doubted(&self, peer: u64, doubt: &Doubt) {
        self.peer_doubted(peer, doubt);
    }

    fn accepted_by(&self, peer: u64) {
        Self::accepted_by(self, peer);
    }

    fn refused_by(&self, peer: u64, why: &str) {
        Self::refused_by(self, peer, why);
    }

    fn receive(&self, message: Box<Message>) {
        Self::receive(self, message);
    }

    fn receive_snapshot(&self, message: Box<Message>, file: PathBuf) -> Answer<'_, ()> {
        Self::receive_snapshot(self, message, file);
        Box::pin(async { Ok(()) })
    }

    fn connected(&self, peer: u64) {
        self.peer_connected(peer);
    }

    fn disconnected(&self, peer: u64) {
        self.peer_disconnected(peer);
    }

    fn unreachable(&self, peer: u64) {
        self.peer_unreachable(peer);
    }

    fn snapshot_sent(&self, peer: u64, outcome: SnapshotOutcome) {
        Self::snapshot_sent(self, peer, outcome);
    }

    fn found_damage(&self, damage: &Damage) {
        Self::found_damage(self, damage);
    }

    fn told_removed(&self, by: u64) {
        // Every connection to every peer hears it, several times until the member has ended.
        if self.stop(Stop::Removed) {
            tracing::error!(by = format!("{by:x}"), "a peer says that this member was removed");
        }
    }

    fn members(&self) -> Vec<member_json::Member> {
        self.known_members().members.clone()
    }

    fn versions(&self) -> Answer<'_, Versions> {
        Box::pin(async move {
            let store = self.readable_store().await;
            let cluster = store.cluster().version.clone();
            let storage = grpc::storage_version(&store);
            Ok(Versions {
                server: ETCD_VERSION.to_owned(),
                cluster: cluster.unwrap_or_else(|| "not_decided".to_owned()),
                storage: if storage.is_empty() { "unknown".to_owned() } else { storage },
            })
        })
    }

    fn promote(&self, member: u64, _: Option<String>) -> Answer<'_, Vec<member_json::Member>> {
        Box::pin(self.promote_here(member))
    }

    fn renew_lease(&self, lease: i64) -> Answer<'_, i64> {
        Box::pin(async move { led(self.renew_lease_here(lease).await?) })
    }

    fn lease_time_left(&self, lease: i64, keys: bool) -> Answer<'_, LeaseTimeToLiveResponse> {
        Box::pin(async move {
            let (granted_ttl, ttl) = led(self.lease_time_left_here(lease).await?)?;
            let keys = if keys {
                route::lease_keys(&*self.readable_store().await, lease)
            } else {
                Vec::new()
            };
            let header = Some(Default::default());
            Ok(LeaseTimeToLiveResponse { header, id: lease, ttl, granted_ttl, keys })
        })
    }

    fn hash_kv(&self, revision: i64) -> Answer<'_, HashKvResponse> {
        Box::pin(async move {
            let hash = self.hash_at(revision).await.map_err(|error| match error {
                ReadError::Refused(error) => error,
                ReadError::Damage(damage) => {
                    self.found_damage(&damage);
                    Error::Corrupt
                }
            })?;
            Ok(HashKvResponse {
                header: Some(self.header_at(hash.current_revision)),
                hash: hash.hash,
                compact_revision: hash.compact_revision,
                hash_revision: hash.revision,
            })
        })
    }

    fn is_downgrade_enabled(&self) -> Answer<'_, bool> {
        Box::pin(async move {
            self.confirm().await?;
            let store = self.readable_store().await;
            Ok(store.cluster().downgrade.as_ref().is_some_and(|downgrade| downgrade.enabled))
        })
    }
}

/// An answer of the leader, which this member may not be.
fn led<T>(answer: Here<T>) -> Result<T, Error> {
    match answer {
        Here::Answer(answer) => Ok(answer),
        Here::Leader(_) => Err(Error::NotLeader),
    }
}
