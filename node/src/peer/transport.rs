//! The transport: its thread, its peers, and the way in for the member.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use quorate_api::identity::format_id;
use quorate_api::peer::{
    CLUSTER_ID_HEADER, Claim, IDENTITY_HEADER, MIN_CLUSTER_VERSION_HEADER, PEER_URLS_HEADER,
    SERVER_FROM_HEADER, SERVER_VERSION_HEADER,
};
use quorate_api::urls::Url;
use quorate_api::version::{ETCD_VERSION, MIN_CLUSTER_VERSION};
use quorate_raft::Message;
use quorate_replica::wire;
use thiserror::Error;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Semaphore, watch};

use super::dial::{Connection, DialError, Dialer};
use super::inbox::Inbox;
use super::pipeline;
use super::probe;
use super::reader;
use super::remote::{Remote, Standing};
use super::send_snapshot::{self, SnapshotSource};
use super::serve::{self, Listener};
use super::settings::{PeerInfo, SNAPSHOTS_ARRIVING_MAX, STRANGERS_MAX, Settings};
use super::stream_body::Channel;
use crate::member::Ids;
use crate::metrics;

/// What stopping waits for disk work that is under way.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a transport does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {url}: {source}")]
    Listen {
        /// The address.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// No thread or no event queue.
    #[error("cannot start the peers' thread: {0}")]
    Thread(#[source] io::Error),
}

/// Carries messages between this member and its peers.
pub struct Transport {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    idle: Mutex<Option<Idle>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    addresses: Vec<SocketAddr>,
}

/// What waits for the start.
struct Idle {
    runtime: Runtime,
    listeners: Vec<Listener>,
}

/// What all tasks share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    /// Set before any task runs.
    inbox: OnceLock<Arc<dyn Inbox>>,
    remotes: RwLock<BTreeMap<u64, Arc<Remote>>>,
    runtime: Handle,
    pub(super) snapshots_arriving: Semaphore,
}

impl Transport {
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Listens, without answering yet: the member that answers may need the transport to come up.
    ///
    /// # Errors
    /// When an address is not free, or there is no thread to have.
    pub fn bind(settings: Settings) -> Result<Self, StartError> {
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
        let mut listeners = Vec::new();
        for url in &settings.listen {
            let listener = {
                let _entered = runtime.enter();
                Listener::bind(url, settings.dialer.tls())
            };
            let failed = |source| StartError::Listen { url: url.to_string(), source };
            listeners.push(listener.map_err(failed)?);
        }
        let shared = Arc::new(Shared {
            settings,
            inbox: OnceLock::new(),
            remotes: RwLock::new(BTreeMap::new()),
            runtime: runtime.handle().clone(),
            snapshots_arriving: Semaphore::new(SNAPSHOTS_ARRIVING_MAX),
        });
        Ok(Self {
            shared,
            stop: watch::Sender::new(false),
            addresses: listeners.iter().filter_map(Listener::address).collect(),
            idle: Mutex::new(Some(Idle { runtime, listeners })),
            thread: Mutex::new(None),
        })
    }

    /// How it connects to peers.
    pub(super) fn dialer(&self) -> &Dialer {
        &self.shared.settings.dialer
    }

    /// Where it listens, as far as that is TCP: tells the ports that the system chose.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The cluster that it is of.
    pub(super) fn cluster(&self) -> u64 {
        self.shared.settings.cluster
    }

    /// Answers and dials from now on. The first call counts.
    ///
    /// # Errors
    /// When there is no thread to have.
    pub fn start(&self, inbox: Arc<dyn Inbox>) -> Result<(), StartError> {
        let Some(Idle { runtime, listeners }) = self.idle.lock().take() else { return Ok(()) };
        let _ = self.shared.inbox.set(inbox);
        let shared = self.shared.clone();
        let mut stop = self.stop.subscribe();
        let thread = std::thread::Builder::new().name("peers".to_owned()).spawn(move || {
            send_snapshot::remove_leftovers(&shared.settings.snapshot_folder);
            runtime.block_on(async {
                tokio::spawn(shared.inbox().attend());
                for listener in listeners {
                    tokio::spawn(serve::accept(shared.clone(), listener));
                }
                // An error means that the transport is gone, which is an end too.
                let _ = stop.wait_for(|stop| *stop).await;
            });
            shared.close();
            runtime.shutdown_timeout(STOP_TIMEOUT);
        });
        *self.thread.lock() = Some(thread.map_err(StartError::Thread)?);
        Ok(())
    }

    /// Ends all connections and waits for the thread.
    pub fn stop(&self) {
        self.stop.send_replace(true);
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // It is the thread itself that stops when the last owner is one of its tasks.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }

    /// Sends a message, if its receiver is a peer. Never waits, and never calls the inbox.
    pub fn send(&self, message: Box<Message>) {
        let remote = self.shared.remote(message.to.0);
        if let Some(remote) = remote {
            remote.send(wire::message_to_pb(*message));
        }
    }

    /// Sends a snapshot, and tells the inbox how that ended.
    pub fn send_snapshot(&self, message: Box<Message>, source: Box<dyn SnapshotSource>) {
        send_snapshot::start(&self.shared, wire::message_to_pb(*message), source);
    }

    /// Whether a peer listens to both of the streams that it can have of us.
    #[cfg(test)]
    pub(super) fn attached(&self, id: u64) -> bool {
        let remote = self.shared.member(id);
        remote.is_some_and(|remote| {
            [Channel::Append, Channel::Message]
                .iter()
                .all(|channel| remote.outbox(*channel).is_attached())
        })
    }

    /// The peers are these; this member itself is left out.
    pub fn set_peers(&self, peers: &[PeerInfo]) {
        self.shared.set_peers(peers);
    }
}

/// The headers of a member's requests to its peers.
pub(super) fn headers(ids: Ids, advertise: &[Url], claim: &Claim) -> [(&'static str, String); 6] {
    let urls: Vec<&str> = advertise.iter().map(Url::as_str).collect();
    [
        (SERVER_FROM_HEADER, format_id(ids.member)),
        (SERVER_VERSION_HEADER, ETCD_VERSION.to_owned()),
        (MIN_CLUSTER_VERSION_HEADER, MIN_CLUSTER_VERSION.to_owned()),
        (CLUSTER_ID_HEADER, format_id(ids.cluster)),
        (PEER_URLS_HEADER, urls.join(",")),
        (IDENTITY_HEADER, claim.to_string()),
    ]
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.stop();
        if let Some(idle) = self.idle.lock().take() {
            idle.runtime.shutdown_background();
        }
    }
}

impl Shared {
    pub(super) fn inbox(&self) -> &dyn Inbox {
        self.inbox.get().expect("tasks run only after the start, which sets it").as_ref()
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(super) fn remote(&self, id: u64) -> Option<Arc<Remote>> {
        self.remotes.read().get(&id).cloned()
    }

    /// A peer that the membership has.
    pub(super) fn member(&self, id: u64) -> Option<Arc<Remote>> {
        self.remote(id).filter(|remote| remote.standing == Standing::Member)
    }

    /// Connects to a peer.
    pub(super) async fn dial(&self, url: &Url) -> Result<Connection, DialError> {
        self.settings.dialer.open(url, self.settings.dial_timeout).await
    }

    /// The headers of every request to a peer.
    pub(super) fn headers(&self) -> [(&'static str, String); 6] {
        let Settings { cluster, member, advertise, .. } = &self.settings;
        headers(Ids { cluster: *cluster, member: *member }, advertise, &self.inbox().claim())
    }

    fn set_peers(self: &Arc<Self>, peers: &[PeerInfo]) {
        let mut remotes = self.remotes.write();
        remotes.retain(|id, remote| {
            let stays =
                remote.standing == Standing::Stranger || peers.iter().any(|peer| peer.id == *id);
            if !stays {
                self.part(remote);
            }
            stays
        });
        for peer in peers.iter().filter(|peer| peer.id != self.settings.member) {
            match remotes.get(&peer.id) {
                Some(remote) if remote.standing == Standing::Member => {
                    remote.set_urls(&peer.urls);
                }
                stranger => {
                    if let Some(stranger) = stranger {
                        stranger.close();
                    }
                    remotes.insert(peer.id, self.meet(peer, Standing::Member));
                }
            }
        }
    }

    /// Somebody has sent something who is not known here: it is answered where it says it is.
    pub(super) fn meet_stranger(self: &Arc<Self>, id: u64, urls: &str) {
        if id == 0 || id == self.settings.member || self.remote(id).is_some() {
            return;
        }
        let mut remotes = self.remotes.write();
        let strangers = remotes.values().filter(|remote| remote.standing == Standing::Stranger);
        if strangers.count() >= STRANGERS_MAX || remotes.contains_key(&id) {
            return;
        }
        let urls = urls.split(',').map(str::to_owned).collect();
        let peer = PeerInfo { id, urls };
        remotes.insert(id, self.meet(&peer, Standing::Stranger));
    }

    fn meet(self: &Arc<Self>, peer: &PeerInfo, standing: Standing) -> Arc<Remote> {
        let (remote, posts) = Remote::new(peer, standing);
        pipeline::start(self, &remote, posts);
        if standing == Standing::Member {
            for channel in [Channel::Append, Channel::Message] {
                let reader = reader::run(self.clone(), remote.clone(), channel);
                remote.own(self.runtime.spawn(reader).abort_handle());
            }
            let probe = probe::run(self.clone(), remote.clone());
            remote.own(self.runtime.spawn(probe).abort_handle());
        }
        remote
    }

    /// A peer is no member any more.
    fn part(self: &Arc<Self>, remote: &Arc<Remote>) {
        let was_connected = remote.is_connected();
        remote.close();
        if was_connected {
            let (shared, id) = (self.clone(), remote.id);
            metrics::peer_disconnected(self.settings.member, id);
            self.runtime.spawn(async move { shared.inbox().disconnected(id) });
        }
    }

    fn close(&self) {
        for remote in std::mem::take(&mut *self.remotes.write()).values() {
            remote.close();
        }
    }
}
