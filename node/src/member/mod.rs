//! A running member: the executor of its replica's effects, with threads, disks and clients.
//!
//! ```text
//!   API ──┐                    ┌─► log disk's thread
//!   peers ┼─► Member ─► core ──┼─► applier's thread ─► store ─► watches, answers
//!   ticks ┘                    └─► peers
//!                  background's thread ─► store, store disk's thread
//! ```
//!
//! It decides nothing that the simulator should see: it hands events to the replica and carries out
//! what that wants done, as the simulator's process does.
//!
//! Locks are taken in this order: the core, background's tools, the store, the hub, what waits. No
//! lock is held across an `.await`.

mod alone;
mod applier;
mod background;
mod clock;
mod compactor;
mod core;
mod end;
mod hashes;
mod identity;
mod membership;
pub mod peers;
mod publish;
mod requests;
mod rounds;
mod snapshots;
mod space;
mod start;
mod stop;
mod waiters;
mod watches;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use quorate_api::etcdserverpb as pb;
use quorate_api::member_json;
use quorate_member::route::RequestLimits;
use quorate_raft::{Message, NodeId};
use quorate_replica::{Event, SnapshotOutcome, Standing, Status};
use quorate_store::store::Store;
use quorate_store::watch::Counts;
use tokio::sync::watch;

pub(crate) use identity::BookDisk;
pub use membership::Change;
pub use requests::Here;
pub use snapshots::PinnedSnapshot;
pub use start::{Directory, Drawn, Running, StartError, bootstrap, cluster_of, is_empty, named};
pub(crate) use start::{founder, settings_to_read};
pub use stop::Stop;
pub(crate) use waiters::{Connected, deliver};
pub use watches::WatchStream;

use crate::config::Config;
use applier::Applier;
use background::Background;
use clock::Clock;
use core::Core;
use identity::Identity;
use peers::Peers;
use snapshots::Snapshots;
use space::Space;
use stop::Ending;
use waiters::Waiters;
use watches::Watches;

/// Who a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The cluster.
    pub cluster: u64,
    /// The member.
    pub member: u64,
}

/// Who leads, as far as this member knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The leader.
    pub leader: Option<u64>,
    /// The term.
    pub term: u64,
}

/// Which background work may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// All that is due.
    All,
    /// Flushes alone: the store is being filled.
    Flush,
    /// A checkpoint first.
    Checkpoint,
}

/// A running member. Cheap to clone.
#[derive(Clone)]
pub struct Member(Arc<Shared>);

struct Shared {
    ids: Ids,
    identity: Identity,
    config: Config,
    limits: RequestLimits,
    clock: Clock,
    core: Core,
    applier: Applier,
    store: RwLock<Store>,
    /// Whether a snapshot fills the store, which nobody may read meanwhile. Changed under the
    /// store's lock.
    filling: watch::Sender<bool>,
    watches: Watches,
    waiters: Waiters,
    background: Background,
    snapshots: Snapshots,
    space: Space,
    peers: Arc<dyn Peers>,
    /// What those who must not wait for the store see of the members.
    members: Mutex<Arc<KnownMembers>>,
    leadership: watch::Sender<Leadership>,
    /// The revision up to which compaction has removed what it can.
    compacted: watch::Sender<i64>,
    term: AtomicU64,
    is_published: watch::Sender<bool>,
    ending: Ending,
}

/// The members, as applied.
#[derive(Clone, Debug, Default)]
pub struct KnownMembers {
    /// By id.
    pub members: Vec<member_json::Member>,
    /// Ids that never return.
    pub removed: Vec<u64>,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Member").field("ids", &self.0.ids).finish_non_exhaustive()
    }
}

impl Member {
    /// Who it is.
    #[must_use]
    pub fn ids(&self) -> Ids {
        self.0.ids
    }

    /// What it was started with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The header of an answer that reads nothing.
    #[must_use]
    pub fn header(&self) -> pb::ResponseHeader {
        let revision = self.store().revision();
        self.header_at(revision)
    }

    /// The header of an answer that is true at a revision.
    #[must_use]
    pub fn header_at(&self, revision: i64) -> pb::ResponseHeader {
        pb::ResponseHeader {
            cluster_id: self.0.ids.cluster,
            member_id: self.0.ids.member,
            revision,
            raft_term: self.0.term.load(SeqCst),
        }
    }

    /// The store, to read: for moments only, as it holds up whoever applies. Blocks while a
    /// snapshot fills the store; where that must not be, see
    /// [`readable_store`](Self::readable_store).
    pub fn store(&self) -> RwLockReadGuard<'_, Store> {
        self.0.store_to_read()
    }

    /// The store, to read, once no snapshot fills it. Not to be held across an `.await`.
    pub async fn readable_store(&self) -> RwLockReadGuard<'_, Store> {
        loop {
            if let Some(store) = self.0.try_store() {
                return store;
            }
            let mut filling = self.0.filling.subscribe();
            // The sender lives as long as this member.
            let _ = filling.wait_for(|filling| !*filling).await;
        }
    }

    /// What it says of itself.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.core.status()
    }

    /// The same at no cost.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.0.core.standing()
    }

    /// The leader it knows.
    #[must_use]
    pub fn leader(&self) -> Option<u64> {
        self.0.leadership.borrow().leader
    }

    /// Whether it leads.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.0.leads()
    }

    /// Whether a snapshot is kept for followers.
    #[must_use]
    pub fn has_pinned_snapshot(&self) -> bool {
        self.0.snapshots.pinned.lock().is_some()
    }

    /// Leader and term, and when they change.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.0.leadership.subscribe()
    }

    /// The members, without waiting for the store.
    #[must_use]
    pub fn known_members(&self) -> Arc<KnownMembers> {
        self.0.members.lock().clone()
    }

    /// The hash of a peer's keys at a revision.
    ///
    /// # Errors
    /// What the peer answers, or that it does not.
    pub async fn peer_hash(
        &self,
        peer: &member_json::Member,
        revision: i64,
    ) -> Result<pb::HashKvResponse, quorate_api::Error> {
        self.0.peers.hash_kv(peer, revision).await
    }

    /// Open a watch stream.
    #[must_use]
    pub fn open_watch(&self) -> WatchStream {
        WatchStream::open(self)
    }

    /// What the watches hold, for metrics.
    #[must_use]
    pub fn watch_counts(&self) -> Counts {
        self.0.watches.counts()
    }

    /// A message from a peer that has proved who it is.
    pub fn receive(&self, message: Box<Message>) {
        self.0.submit_in_round(Event::Message(message));
    }

    /// A snapshot from a peer, whole and durable in this file, which the member removes.
    pub fn receive_snapshot(&self, message: Box<Message>, file: PathBuf) {
        if let Some(snapshot) = &message.snapshot {
            self.0.snapshots.put(snapshot.metadata.index.0, file);
        }
        self.0.submit(Event::Message(message));
    }

    /// A peer can be reached since now.
    pub fn peer_connected(&self, peer: u64) {
        self.0.submit(Event::PeerConnected(NodeId(peer)));
    }

    /// A peer can no longer be reached.
    pub fn peer_disconnected(&self, peer: u64) {
        self.0.submit(Event::PeerDisconnected(NodeId(peer)));
        self.0.identity.look();
    }

    /// A message to a peer may have been lost.
    pub fn peer_unreachable(&self, peer: u64) {
        self.0.submit(Event::PeerUnreachable(NodeId(peer)));
    }

    /// How the sending of a snapshot ended.
    pub fn snapshot_sent(&self, peer: u64, outcome: SnapshotOutcome) {
        self.0.submit(Event::SnapshotSent { to: NodeId(peer), outcome });
    }

    /// Begin the member's end for a reason. The first reason counts; says whether this is it.
    pub fn stop(&self, stop: Stop) -> bool {
        self.0.begin_stop(stop)
    }

    /// Wait until the member ends, and why.
    pub async fn ended(&self) -> Stop {
        self.0.ending.wait().await
    }

    /// Wait until the cluster knows the member's name and URLs.
    pub async fn published(&self) {
        let mut published = self.0.is_published.subscribe();
        let _ = published.wait_for(|published| *published).await;
    }

    /// Whether the cluster knows the member's name and URLs.
    #[must_use]
    pub fn is_published(&self) -> bool {
        *self.0.is_published.borrow()
    }
}

impl Shared {
    fn try_store(&self) -> Option<RwLockReadGuard<'_, Store>> {
        let store = self.store.read();
        let is_filling = *self.filling.borrow();
        (!is_filling).then_some(store)
    }

    fn store_to_read(&self) -> RwLockReadGuard<'_, Store> {
        loop {
            if let Some(store) = self.try_store() {
                return store;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    fn on_leadership(&self, leadership: Leadership) {
        let before = self.leadership.send_replace(leadership);
        self.term.store(leadership.term, SeqCst);
        let changed = if before.leader == leadership.leader {
            crate::metrics::Changed::No
        } else {
            crate::metrics::Changed::Yes
        };
        let is_leader = leadership.leader == Some(self.ids.member);
        crate::metrics::leader(leadership.leader.is_some(), is_leader, changed);
        let leader = leadership.leader.map_or_else(|| "none".to_owned(), |id| format!("{id:x}"));
        tracing::info!(leader, term = leadership.term, "leadership");
        self.identity.look();
    }

    /// The members are others, or something of them: who must know is told.
    fn note_members(&self, store: &Store) {
        let known = KnownMembers {
            members: store.members().iter().cloned().collect(),
            removed: store.members().removed().collect(),
        };
        self.identity.forget(known.removed.iter().copied());
        self.peers.set_members(&known.members);
        *self.members.lock() = Arc::new(known);
    }

    /// The store does not give back what was written. With peers, the member ends, and has all
    /// from them at its next start; alone, it goes on with what can still be read.
    fn damaged(&self, what: &str) {
        crate::metrics::damage();
        tracing::error!(what, "data of this member is damaged");
        if self.voters() > 1 {
            self.note_damage(what);
        }
    }

    fn leads(&self) -> bool {
        self.leadership.borrow().leader == Some(self.ids.member)
    }

    /// How many members have a vote, as applied.
    fn voters(&self) -> usize {
        self.members.lock().members.iter().filter(|member| !member.is_learner).count()
    }

    fn note_damage(&self, what: &str) {
        let what = what.to_owned();
        // Whoever found it may hold the store, which the background may be waiting for.
        if self.ending.begin(Stop::Damaged(what.clone())) {
            self.background.note_damage(&what);
        }
    }

    fn stop(&self, stop: Stop) {
        self.begin_stop(stop);
    }

    fn begin_stop(&self, stop: Stop) -> bool {
        let is_first = self.ending.begin(stop.clone());
        if is_first {
            match stop {
                Stop::Asked | Stop::Removed => tracing::info!("{stop}"),
                _ => tracing::error!("{stop}"),
            }
        }
        is_first
    }
}
