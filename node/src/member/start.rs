//! How a member starts: from its directory to its threads.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, RwLock};
use quorate_api::identity::{cluster_id, format_id, member_id};
use quorate_api::member_json;
use quorate_disk::{
    Completion, DirectoryLock, Disk as _, LockError, Measured, RealDisk, Timing, Worker,
};
use quorate_member::founding::Founder;
use quorate_member::identity::{self, Book, Claim, Found, Own, Stage};
use quorate_member::open::{self, Finding, Fresh, OpenError, Opened, Settings};
use quorate_member::route::RequestLimits;
use quorate_member::stopped::StoppedError;
use quorate_raft::NodeId;
use quorate_replica::{BootError, Replica};
use quorate_store::jobs::JobOptions;
use quorate_store::log::LogOptions;
use quorate_store::store::StoreOptions;
use quorate_store::watch::WatchOptions;
use tokio::sync::watch;

use super::alone;
use super::applier::Applier;
use super::background::Background;
use super::clock::Clock;
use super::core::Core;
use super::identity::{BookDisk, Identity};
use super::peers::Peers;
use super::snapshots::Snapshots;
use super::space::Space;
use super::stop::Ending;
use super::waiters::Waiters;
use super::watches::Watches;
use super::{Ids, KnownMembers, Leadership, Member, Shared};
use crate::config::{Config, ConfigError};
use crate::{founding, metrics};

/// Bytes of entries in memory above which Raft's log is cut early.
const LOG_BYTES_MAX: u64 = 64 << 20;

/// Why a member does not start.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("cannot use the folder {}: {source}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error(
        "{} holds a member that was not made to its end: make it again with the same command, \
         which removes what is there",
        .0.display()
    )]
    Unfinished(PathBuf),
    #[error(
        "{} is a data directory of etcd's, which has another format: save a snapshot with etcdctl \
         while etcd serves it, make a directory of that with `quorate snapshot restore`, and name \
         that one in --data-dir",
        .0.display()
    )]
    Etcd(PathBuf),
    #[error("cannot read the data directory: {0}")]
    Identity(#[from] identity::ReadError),
    #[error("cannot write the file `identity` of the data directory: {0}")]
    WriteIdentity(#[source] io::Error),
    #[error("the system has no random number: {0}")]
    Random(#[source] io::Error),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(
        "--force-new-cluster: {0}; nothing is changed: start another member of this cluster \
         with it, or see `quorate recover --help` and `quorate log repair --help`"
    )]
    Alone(#[source] StoppedError),
    #[error("the write-ahead log cannot be written")]
    Log(#[from] quorate_wal::Failure),
    #[error(transparent)]
    Boot(#[from] BootError),
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

/// A member's directory, opened and held.
pub struct Directory {
    locks: Vec<DirectoryLock>,
    opened: Opened,
    book: Book,
    book_disk: BookDisk,
    /// Without a thread yet; the store reads its files.
    store_disk: RealDisk,
    /// What the log's disk has done and the log has not heard.
    leftovers: Vec<Completion>,
    boot: u64,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Directory").field("ids", &self.ids()).finish_non_exhaustive()
    }
}

/// What an empty directory becomes as one of the first members of a new cluster.
#[must_use]
pub fn bootstrap(config: &Config) -> Fresh {
    let (cluster, member, members) = first_members(config);
    Fresh::Bootstrap { cluster, member, members }
}

/// One of the first members of a new cluster, to be made of a backup.
#[must_use]
pub(crate) fn founder(config: &Config) -> Founder {
    let (cluster, member, members) = first_members(config);
    let boot = now_ms();
    let fresh = Fresh::Bootstrap { cluster, member, members: members.clone() };
    let Settings { log, store, jobs, .. } =
        settings(config, fresh, Book::new(boot).own().clone(), boot);
    Founder { cluster, member, members, boot, log, store, jobs }
}

/// How a directory is read on which nobody runs.
#[must_use]
pub(crate) fn settings_to_read(config: &Config) -> Settings {
    let own = Book::new(0).own().clone();
    settings(config, Fresh::Join { cluster: 0, member: 0 }, own, 0)
}

/// The ids of the new cluster and of this member of it, and all first members.
fn first_members(config: &Config) -> (u64, u64, Vec<member_json::Member>) {
    let token = &config.initial_cluster_token;
    let members: Vec<member_json::Member> = config
        .initial_cluster
        .members()
        .iter()
        .map(|(name, urls)| {
            let urls = urls.to_strings();
            member_json::Member {
                id: member_id(&urls, token, None),
                peer_urls: Some(urls),
                name: name.clone(),
                ..member_json::Member::default()
            }
        })
        .collect();
    let ids: Vec<u64> = members.iter().map(|member| member.id).collect();
    let own = members.iter().find(|member| member.name == config.name).map_or(0, |own| own.id);
    (cluster_id(&ids), own, members)
}

/// Whether the directory holds no member yet: neither a log nor a block that tells of one.
///
/// # Errors
/// When that cannot be known, and when a member of etcd's has its data there.
pub fn is_empty(config: &Config) -> Result<bool, StartError> {
    let has_log =
        std::fs::read_dir(config.log_folder()).is_ok_and(|mut entries| entries.next().is_some());
    if has_log || !config.data_dir.exists() {
        return Ok(!has_log);
    }
    let disk = inline(&config.data_dir)?;
    let (found, _) = identity::read(&*disk.files())?;
    let is_empty = match found {
        Found::Book(book) => book.own().stage == Stage::Founding,
        Found::Missing | Found::Unreadable => true,
    };
    if is_empty && is_etcds(&config.data_dir) {
        return Err(StartError::Etcd(config.data_dir.clone()));
    }
    Ok(is_empty)
}

/// Whether a member of etcd's has its data there. A member that began beside them would be a new
/// one, and nobody would be told that the data are not served.
fn is_etcds(data_dir: &Path) -> bool {
    ["snap", "wal"].iter().any(|folder| data_dir.join("member").join(folder).is_dir())
}

/// The cluster that the directory is of, as far as it says so.
///
/// # Errors
/// When that cannot be known.
pub fn cluster_of(config: &Config) -> Result<Option<u64>, StartError> {
    if !config.data_dir.exists() {
        return Ok(None);
    }
    let (found, _) = identity::read(&*inline(&config.data_dir)?.files())?;
    Ok(match found {
        Found::Book(book) => Some(book.own().cluster).filter(|cluster| *cluster != 0),
        Found::Missing | Found::Unreadable => None,
    })
}

/// What is drawn for a start.
#[derive(Clone, Copy, Debug)]
pub struct Drawn {
    /// For the directory, if it is new.
    incarnation: u64,
    /// For this start.
    nonce: u64,
}

impl Drawn {
    /// Two numbers that nobody else has.
    ///
    /// # Errors
    /// When the system has none.
    pub fn new() -> Result<Self, StartError> {
        let mut bytes = [0; 16];
        let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
        let length = filled.map_err(|errno| StartError::Random(errno.into()))?;
        assert_eq!(length, bytes.len(), "so few bytes are given at once");
        let number = u128::from_be_bytes(bytes);
        let [incarnation, nonce] = [(number >> 64) as u64, number as u64];
        Ok(Self { incarnation, nonce })
    }

    /// What a member says of itself whose directory is to be made.
    #[must_use]
    pub fn first_claim(&self) -> Claim {
        let mut book = Book::new(self.incarnation);
        book.begin(self.nonce);
        book.claim(Some(identity::LogEnd::default()))
    }
}

fn inline(folder: &Path) -> Result<RealDisk, StartError> {
    let disk = RealDisk::inline(folder, Arc::new(|_| {}));
    disk.map_err(|source| StartError::Folder { path: folder.to_owned(), source })
}

impl Directory {
    /// Lock and open the directory, or make it. Blocks.
    ///
    /// # Errors
    /// [`StartError`] says what is wrong with which file, and what to do.
    pub fn open(config: &Config, fresh: Fresh, drawn: Drawn) -> Result<Self, StartError> {
        // What an allocator keeps for a thread it gives back when the thread ends: what is only
        // needed to open a directory is not there as long as the member runs.
        std::thread::scope(|scope| {
            let opener = std::thread::Builder::new().name("opener".to_owned());
            let opening = opener.spawn_scoped(scope, || Self::open_here(config, fresh, drawn));
            match opening.map_err(StartError::Thread)?.join() {
                Ok(opened) => opened,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    fn open_here(config: &Config, fresh: Fresh, drawn: Drawn) -> Result<Self, StartError> {
        let mut locks = Vec::new();
        for folder in config.locked_folders() {
            make_folder(&folder)?;
            locks.push(DirectoryLock::acquire(&folder)?);
            if founding::is_unfinished(&folder) {
                return Err(StartError::Unfinished(folder));
            }
        }
        let disk = inline(&config.data_dir)?;
        let (found, file) = identity::read(&*disk.files())?;
        let mut book_disk = BookDisk::new(disk, file);
        let mut book = match found {
            Found::Book(book) => book,
            Found::Missing | Found::Unreadable => Book::new(drawn.incarnation),
        };
        book.begin(drawn.nonce);
        let boot = now_ms();
        let settings = settings(config, fresh, book.own().clone(), boot);
        let mut log_disk = inline(&config.log_folder())?;
        let store_disk = inline(&config.store_folder())?;
        if config.force_new_cluster && !is_empty(config)? {
            alone::force(config, &settings, &log_disk)?;
        }
        // Before the log is made, and before anybody hears of this start.
        // Twice, so that a copy that is damaged later does not take this start with it.
        for _ in 0..2 {
            book_disk.write(&book).map_err(StartError::WriteIdentity)?;
        }
        let mut opening = open::open(&settings, &mut log_disk, store_disk.files())?;
        for finding in opening.findings() {
            say(finding);
        }
        let mut completions = Vec::new();
        let opened = loop {
            // Once a turn: each completion may lead to the next piece of a new segment.
            log_disk.poll(&mut completions);
            for completion in completions.drain(..) {
                opening.on_completion(&mut log_disk, completion)?;
            }
            match opening.try_finish() {
                Ok(opened) => break opened,
                Err(unfinished) => opening = unfinished,
            }
        };
        let mut leftovers = Vec::new();
        log_disk.poll(&mut leftovers);
        if book.own().stage == Stage::Founding {
            book.found(opened.cluster, opened.member, opened.incarnation);
            book_disk.write(&book).map_err(StartError::WriteIdentity)?;
        }
        Ok(Self { locks, opened, book, book_disk, store_disk, leftovers, boot })
    }

    /// What the member says of itself.
    #[must_use]
    pub fn claim(&self) -> Claim {
        let Opened { writer, boot, .. } = &self.opened;
        let end = writer.durable_end(boot.hard_state.commit.0);
        self.book.claim(boot.repair.is_none().then_some(end))
    }

    /// Whether the member was removed for good, as far as the directory tells.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.opened.is_removed()
    }

    /// The members, as far as the directory tells.
    #[must_use]
    pub fn members(&self) -> Vec<member_json::Member> {
        self.opened.members()
    }

    /// Who the directory is of.
    #[must_use]
    pub fn ids(&self) -> Ids {
        Ids { cluster: self.opened.cluster, member: self.opened.member }
    }

    /// Run the member. Peers are not called before this returns.
    ///
    /// # Errors
    /// Log and store do not fit together, or there is no thread to have.
    pub fn run(self, config: Config, peers: Arc<dyn Peers>) -> Result<Running, StartError> {
        let ids = self.ids();
        let Self { locks, opened, book, book_disk, store_disk, leftovers, boot } = self;
        let Opened { mut writer, store, jobs, boot: replica_boot, .. } = opened;
        metrics::identity(ids.member, config.quota_bytes);
        metrics::features(config.gates.iter().map(|gate| (gate.name, gate.stage, gate.is_on)));
        if config.measures_calls {
            metrics::measure_calls();
        }
        let handle: Handle = Arc::new(OnceLock::new());
        let (mut log_disk, log_worker) = log_disk(&config.log_folder(), &handle)?;
        let store_disk = with_thread(store_disk, &handle)?;
        for completion in leftovers {
            writer.on_completion(
                &mut log_disk,
                completion,
                &mut quorate_member::Freed::default(),
            )?;
        }
        let clock = Clock::start();
        let settings = replica_config(&config, ids, boot);
        let limits = RequestLimits {
            txn_ops_max: config.txn_ops_max,
            request_bytes_max: usize::try_from(config.request_bytes_max).unwrap_or(usize::MAX),
            lease_ttl_seconds_min: settings.lease_ttl_min_seconds(),
        };
        let term = replica_boot.hard_state.term.0;
        let replica = Replica::new(settings, replica_boot, clock.now())?;
        let options = WatchOptions {
            fragment_bytes: limits.request_bytes_max + (512 << 10),
            ..WatchOptions::default()
        };
        let compacted = store.mvcc().compaction().finished();
        let shared = Arc::new(Shared {
            ids,
            identity: Identity::new(book, book_disk),
            config,
            limits,
            clock,
            core: Core::new(replica, writer, log_disk, log_worker),
            applier: Applier::default(),
            watches: Watches::new(store.revision(), options),
            store: RwLock::new(store),
            filling: watch::Sender::new(false),
            waiters: Waiters::new(ids.member, boot),
            background: Background::new(jobs, store_disk),
            snapshots: Snapshots::default(),
            space: Space::default(),
            peers,
            members: Mutex::new(Arc::new(KnownMembers::default())),
            leadership: watch::Sender::new(Leadership { leader: None, term }),
            compacted: watch::Sender::new(compacted),
            term: AtomicU64::new(term),
            is_published: watch::Sender::new(false),
            ending: Ending::new(),
        });
        shared.note_members(&shared.store.read());
        let _ = handle.set(Arc::downgrade(&shared));
        // What the disks did before they could say so.
        shared.on_disk();
        let threads = vec![
            thread(&shared, "applier", Shared::run_applier)?,
            thread(&shared, "background", Shared::run_background)?,
            thread(&shared, "identity", Shared::run_identity)?,
            thread(&shared, "ticker", run_ticker)?,
        ];
        Ok(Running { member: Member(shared), threads, _locks: locks })
    }
}

/// A running member with its threads. Ends with [`Running::end`].
pub struct Running {
    pub(super) member: Member,
    pub(super) threads: Vec<JoinHandle<()>>,
    /// Held until the end.
    _locks: Vec<DirectoryLock>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Running").field("member", &self.member).finish_non_exhaustive()
    }
}

impl Running {
    /// The member.
    #[must_use]
    pub fn member(&self) -> &Member {
        &self.member
    }
}

fn make_folder(path: &Path) -> Result<(), StartError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StartError::Folder { path: path.to_owned(), source })
}

/// Milliseconds since the Unix epoch: another number at every start.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn settings(config: &Config, fresh: Fresh, own: Own, boot: u64) -> Settings {
    let lease_ttl_seconds_min =
        replica_config(config, Ids { cluster: 0, member: 0 }, boot).lease_ttl_min_seconds();
    Settings {
        fresh,
        own,
        boot,
        log: quorate_wal::Options {
            segment_bytes: config.segment_bytes,
            ..quorate_wal::Options::default()
        },
        store: StoreOptions {
            lease_ttl_seconds_min,
            learners_max: config.learners_max,
            log: LogOptions { segment_bytes: config.segment_bytes, ..LogOptions::default() },
        },
        jobs: JobOptions::default(),
    }
}

fn replica_config(config: &Config, ids: Ids, boot: u64) -> quorate_replica::Config {
    quorate_replica::Config {
        member: NodeId(ids.member),
        boot,
        seed: boot ^ ids.member,
        tick_ms: config.heartbeat_ms,
        election_ticks: config.election_ticks(),
        advance_first_election: config.advance_first_election,
        pre_vote: config.pre_vote,
        snapshot_entries: config.snapshot_entries,
        catch_up_entries: config.catch_up_entries,
        log_bytes_max: LOG_BYTES_MAX,
        message_bytes_max: quorate_replica::Config::MESSAGE_BYTES_MAX,
        inflight_messages_max: quorate_replica::Config::INFLIGHT_MESSAGES_MAX,
        quota_bytes: config.quota_bytes,
        strict_reconfiguration: config.strict_reconfiguration,
        learners_max: config.learners_max,
    }
}

/// How the disk finds the member that it has news for.
type Handle = Arc<OnceLock<Weak<Shared>>>;

fn waker(handle: &Handle, wake: fn(&Shared)) -> quorate_disk::Waker {
    let handle = handle.clone();
    Box::new(move || {
        if let Some(shared) = handle.get().and_then(Weak::upgrade) {
            wake(&shared);
        }
    })
}

fn log_disk(folder: &Path, handle: &Handle) -> Result<(RealDisk, Worker), StartError> {
    let observer = Arc::new(|measured: Measured| match measured.timing {
        Timing::Write => metrics::wal_write(measured.bytes, measured.duration),
        Timing::Sync => metrics::wal_fsync(measured.duration),
        Timing::Create => {}
    });
    let disk = RealDisk::with_worker(folder, "log", observer, waker(handle, Shared::on_disk));
    disk.map_err(|source| StartError::Folder { path: folder.to_owned(), source })
}

/// The store's disk, whose files the store reads already.
fn with_thread(disk: RealDisk, handle: &Handle) -> Result<RealDisk, StartError> {
    let waker = waker(handle, |shared| shared.background.wake());
    let observer = Arc::new(|measured: Measured| match measured.timing {
        Timing::Write => metrics::store_write(measured.duration),
        Timing::Sync => metrics::store_fsync(measured.duration),
        Timing::Create => {}
    });
    disk.onto_thread("store", observer, waker).map_err(StartError::Thread)
}

fn thread(
    shared: &Arc<Shared>,
    name: &str,
    run: fn(&Shared),
) -> Result<JoinHandle<()>, StartError> {
    let shared = shared.clone();
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || run(&shared)).map_err(StartError::Thread)
}

/// One tick a heartbeat interval; those that were slept through are left out.
fn run_ticker(shared: &Shared) {
    let interval = Duration::from_millis(shared.config.heartbeat_ms.max(1));
    let mut next = Instant::now() + interval;
    while !shared.ticker_ended() {
        let now = Instant::now();
        if now < next {
            std::thread::sleep(next - now);
            continue;
        }
        let late = now - next;
        if late > interval && shared.leads() {
            metrics::heartbeat_send_failure();
            tracing::warn!(
                late = format!("{late:?}"),
                interval = format!("{interval:?}"),
                "leader failed to send out heartbeat on time: the machine is overloaded"
            );
        }
        shared.tick();
        next = (next + interval).max(now);
    }
}

fn say(finding: &Finding) {
    match finding {
        Finding::Fresh => tracing::info!("the data directory is empty: a new member"),
        Finding::TornTail { file, offset } => {
            tracing::info!(file, offset, "the log's last write did not end; it is cut");
        }
        Finding::DamagedLog { file, offset, from, to } => {
            tracing::error!(
                file,
                offset,
                from,
                to,
                "the log is damaged; its entries are taken from peers, and nothing is answered \
                 for until they are there"
            );
        }
        Finding::DamagedStore(what) => {
            tracing::error!(what, "the store is damaged; everything is taken from peers");
        }
        Finding::OlderCheckpoint(what) => {
            tracing::warn!(what, "the newest checkpoint is damaged; the one before it is used");
        }
        Finding::Repairing { to } => tracing::warn!(to, "the log's repair goes on"),
        Finding::NewIdentity => tracing::warn!(
            "the file `{}` was missing or unreadable; this member is alone and makes a new one",
            identity::PATH
        ),
    }
}

/// A member's id as people see it.
#[must_use]
pub fn named(id: u64) -> String {
    format_id(id)
}
