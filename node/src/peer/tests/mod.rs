//! Transports over loopback, with members that only write down what they hear.

mod answers;
mod genuine;
mod hostile;
mod identity;
mod messages;
mod snapshots;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_api::Error;
use quorate_api::etcdserverpb::{HashKvResponse, LeaseTimeToLiveResponse, ResponseHeader};
use quorate_api::member_json::Member;
use quorate_api::urls::Url;
use quorate_member::identity::{Book, Claim, Doubt, Judgement};
use quorate_raft::{Entry, Index, Message, MessageKind, NodeId, Term};
use quorate_replica::SnapshotOutcome;
use quorate_store::log::Damage;

use super::dial::Dialer;
use super::inbox::{Answer, Inbox, Versions};
use super::settings::{PeerInfo, Settings};
use super::transport::Transport;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a member heard.
struct Ear {
    book: Mutex<Book>,
    accepted_by: Mutex<BTreeSet<u64>>,
    refused_by: Mutex<Vec<(u64, String)>>,
    doubted: Mutex<Vec<(u64, Doubt)>>,
    can_remember: AtomicBool,
    removed: Mutex<BTreeSet<u64>>,
    messages: Mutex<Vec<Message>>,
    snapshots: Mutex<Vec<(Message, PathBuf)>>,
    links: Mutex<Vec<(u64, bool)>>,
    unreachable: AtomicU64,
    sent: Mutex<Vec<(u64, SnapshotOutcome)>>,
    told_removed: AtomicU64,
}

impl Ear {
    fn new(book: Book) -> Self {
        Self {
            book: Mutex::new(book),
            accepted_by: Mutex::default(),
            refused_by: Mutex::default(),
            doubted: Mutex::default(),
            can_remember: AtomicBool::new(true),
            removed: Mutex::default(),
            messages: Mutex::default(),
            snapshots: Mutex::default(),
            links: Mutex::default(),
            unreachable: AtomicU64::default(),
            sent: Mutex::default(),
            told_removed: AtomicU64::default(),
        }
    }
}

/// Of a member that was started so often on this directory, each time under the number's nonce.
fn book(incarnation: u64, boots: u64) -> Book {
    let mut book = Book::new(incarnation);
    (1..=boots).for_each(|boot| book.begin(boot));
    book
}

impl Inbox for Ear {
    fn is_removed(&self, member: u64) -> bool {
        self.removed.lock().contains(&member)
    }

    fn attend(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async {})
    }

    fn claim(&self) -> Claim {
        self.book.lock().claim(None)
    }

    fn judge(&self, peer: u64, claim: Option<&Claim>) -> Result<Judgement, Doubt> {
        self.book.lock().judge(peer, claim)
    }

    fn remember(&self, peer: u64, claim: Claim) -> Answer<'_, ()> {
        let can_remember = self.can_remember.load(Relaxed);
        if can_remember {
            self.book.lock().remember(peer, &claim);
        }
        Box::pin(async move { can_remember.then_some(()).ok_or(Error::NoSpace) })
    }

    fn doubted(&self, peer: u64, doubt: &Doubt) {
        self.doubted.lock().push((peer, doubt.clone()));
    }

    fn accepted_by(&self, peer: u64) {
        self.accepted_by.lock().insert(peer);
    }

    fn refused_by(&self, peer: u64, why: &str) {
        self.refused_by.lock().push((peer, why.to_owned()));
    }

    fn receive(&self, message: Box<Message>) {
        self.messages.lock().push(*message);
    }

    fn receive_snapshot(&self, message: Box<Message>, file: PathBuf) -> Answer<'_, ()> {
        self.snapshots.lock().push((*message, file));
        Box::pin(async { Ok(()) })
    }

    fn connected(&self, peer: u64) {
        self.links.lock().push((peer, true));
    }

    fn disconnected(&self, peer: u64) {
        self.links.lock().push((peer, false));
    }

    fn unreachable(&self, _: u64) {
        self.unreachable.fetch_add(1, Relaxed);
    }

    fn snapshot_sent(&self, peer: u64, outcome: SnapshotOutcome) {
        self.sent.lock().push((peer, outcome));
    }

    fn found_damage(&self, _: &Damage) {}

    fn told_removed(&self, by: u64) {
        self.told_removed.store(by, Relaxed);
    }

    fn members(&self) -> Vec<Member> {
        let peer_urls = Some(vec!["http://a:1".to_owned()]);
        vec![Member { id: 7, peer_urls, name: "<a>".to_owned(), ..Member::default() }]
    }

    fn versions(&self) -> Answer<'_, Versions> {
        let [server, cluster, storage] = ["3.7.1", "3.7.0", "3.7.0"].map(str::to_owned);
        Box::pin(async { Ok(Versions { server, cluster, storage }) })
    }

    fn promote(&self, member: u64, token: Option<String>) -> Answer<'_, Vec<Member>> {
        Box::pin(async move {
            match (member, token.as_deref()) {
                (1, None) => Ok(self.members()),
                (2, _) => Err(Error::MemberNotLearner),
                (3, _) => Err(Error::LearnerNotReady),
                (4, Some("secret")) => Err(Error::NoLeader),
                _ => Err(Error::MemberNotFound),
            }
        })
    }

    fn renew_lease(&self, lease: i64) -> Answer<'_, i64> {
        Box::pin(async move {
            match lease {
                1 => Ok(60),
                2 => Err(Error::NotLeader),
                _ => Err(Error::LeaseNotFound),
            }
        })
    }

    fn lease_time_left(&self, lease: i64, keys: bool) -> Answer<'_, LeaseTimeToLiveResponse> {
        Box::pin(async move {
            if lease != 1 {
                return Err(Error::LeaseNotFound);
            }
            let keys = if keys { vec![Bytes::from_static(b"k")] } else { Vec::new() };
            let (id, ttl, granted_ttl) = (lease, 5, 60);
            Ok(LeaseTimeToLiveResponse { header: None, id, ttl, granted_ttl, keys })
        })
    }

    fn hash_kv(&self, revision: i64) -> Answer<'_, HashKvResponse> {
        Box::pin(async move {
            match revision {
                1 => Err(Error::Compacted),
                9 => Err(Error::FutureRevision),
                _ => Ok(HashKvResponse {
                    header: Some(ResponseHeader { revision: 8, ..ResponseHeader::default() }),
                    hash: u32::MAX,
                    compact_revision: -1,
                    hash_revision: revision,
                }),
            }
        })
    }

    fn is_downgrade_enabled(&self) -> Answer<'_, bool> {
        Box::pin(async { Ok(false) })
    }
}

/// A member with its transport.
struct Node {
    id: u64,
    ear: Arc<Ear>,
    transport: Transport,
    folder: PathBuf,
}

const CLUSTER: u64 = 0xc;

impl Node {
    fn start(id: u64) -> Self {
        Self::start_at(id, CLUSTER, "127.0.0.1:0")
    }

    fn start_at(id: u64, cluster: u64, address: &str) -> Self {
        Self::start_as(id, cluster, address, book(1, 1))
    }

    fn start_as(id: u64, cluster: u64, address: &str, book: Book) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("quorate-peer-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let settings = Settings {
            cluster,
            member: id,
            listen: vec![Url::parse(&format!("http://{address}")).unwrap()],
            advertise: vec![Url::parse("http://127.0.0.1:1").unwrap()],
            snapshot_folder: folder.clone(),
            snapshot_bytes_max: 256 << 20,
            dial_timeout: Duration::from_secs(2),
            dialer: Dialer::default(),
        };
        let ear = Arc::new(Ear::new(book));
        let transport = Transport::bind(settings).unwrap();
        transport.start(ear.clone()).unwrap();
        Self { id, ear, transport, folder }
    }

    fn address(&self) -> String {
        self.transport.addresses().first().unwrap().to_string()
    }

    fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    fn info(&self) -> PeerInfo {
        PeerInfo { id: self.id, urls: vec![self.url()] }
    }

    /// Whether this one is connected to that one.
    fn is_linked(&self, peer: u64) -> bool {
        let links = self.ear.links.lock();
        links.iter().rev().find(|(id, _)| *id == peer).is_some_and(|(_, up)| *up)
    }

    fn received(&self) -> usize {
        self.ear.messages.lock().len()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.transport.stop();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Waits until it is so.
#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Makes them peers, and waits until all of their streams are up.
fn link(nodes: &[&Node]) {
    let peers: Vec<PeerInfo> = nodes.iter().map(|node| node.info()).collect();
    for node in nodes {
        node.transport.set_peers(&peers);
    }
    for node in nodes {
        for peer in peers.iter().filter(|peer| peer.id != node.id) {
            until("streams to come up", || {
                node.is_linked(peer.id) && node.transport.attached(peer.id)
            });
        }
    }
}

fn message(kind: MessageKind, from: u64, to: u64, number: u64) -> Box<Message> {
    let (from, index) = (NodeId(from), Index(number));
    Box::new(Message { from, index, term: Term(3), ..Message::new(kind, NodeId(to)) })
}

fn append(from: u64, to: u64, number: u64, data: Bytes) -> Box<Message> {
    let (term, index) = (Term(3), Index(number + 1));
    let entries = vec![Entry { term, index, data, ..Entry::default() }];
    let append = message(MessageKind::MsgApp, from, to, number);
    Box::new(Message { entries, log_term: term, commit: Index(number), ..*append })
}
