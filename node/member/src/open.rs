//! How a data directory becomes a member.
//!
//! ```text
//!   log       store's checkpoint
//!    │             │
//!    ├─ empty ─────┼─ empty ──► a new member: of a new cluster, or one that joins
//!    ├─ clean ─────┼─ whole ──► goes on where it was
//!    ├─ torn ──────┤            the tail was never acknowledged: cut
//!    ├─ damaged ───┤            in a cluster: repaired from peers; alone: refused
//!    └─ whole ─────┴─ damaged ► in a cluster: both are laid aside, everything comes from peers,
//!                               and the member votes as if it still had its log; alone: refused
//! ```
//!
//! Nothing is guessed: what is neither whole nor repairable is refused, with the file and the way
//! out. What goes on may answer for what it found only once that is durable, so opening ends
//! with a batch to wait for.

use std::collections::BTreeSet;
use std::sync::Arc;

use quorate_disk::{Completion, Disk, Files};
use quorate_raft::{Entry, EntryKind, HardState, Index, NodeId, Term};
use quorate_replica::{Boot, Checkpoint, Repair, VoteMemory, wire};
use quorate_store::checkpoint;
use quorate_store::jobs::JobOptions;
use quorate_store::members::Member;
use quorate_store::restart::{IndexLoader, RestartError};
use quorate_store::store::{Store, StoreOptions};
use quorate_wal::{self as wal, HardStateCertainty, Log, Outcome};
use thiserror::Error;

use crate::applier;
use crate::{JobRunner, LogWriter};

/// What a member is opened with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What an empty directory becomes.
    pub fresh: Fresh,
    /// Differs at every start.
    pub boot: u64,
    /// For the log.
    pub log: wal::Options,
    /// For the store.
    pub store: StoreOptions,
    /// For the store's jobs.
    pub jobs: JobOptions,
}

/// What an empty directory becomes.
#[derive(Clone, Debug)]
pub enum Fresh {
    /// One of the first members of a new cluster.
    Bootstrap {
        /// The cluster.
        cluster: u64,
        /// This member.
        member: u64,
        /// All of the first members, with this one.
        members: Vec<Member>,
    },
    /// A member that was added to a cluster.
    Join {
        /// The cluster.
        cluster: u64,
        /// This member.
        member: u64,
    },
}

/// Why a directory does not become a member.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] wal::OpenError),
    /// The store cannot be read, and nobody can help.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log lost acknowledged entries, and this member has no peers to get them from.
    #[error(
        "log file {file}, byte {offset}: acknowledged entries from index {index} on are damaged, \
         and this member is alone: restore a backup, or give them up with `quorate log repair \
         --force-truncate`"
    )]
    DamagedAlone {
        /// The file, below the log's folder.
        file: String,
        /// Where the damage begins, in bytes.
        offset: u64,
        /// The first index that is lost.
        index: u64,
    },
    /// An entry that the log vouches for is no entry.
    #[error("the log's entry {index} cannot be read: {source}")]
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong.
        source: wire::WireError,
    },
}

/// What was found, for people and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The directory was empty.
    Fresh,
    /// The log's tail was torn, and was cut.
    TornTail {
        /// The file, below the log's folder.
        file: String,
        /// Where it begins, in bytes.
        offset: u64,
    },
    /// The log is damaged and will be repaired from peers.
    DamagedLog {
        /// The file, below the log's folder.
        file: String,
        /// Where the damage begins, in bytes.
        offset: u64,
        /// The first index that is lost.
        from: u64,
        /// The last index that may have been acknowledged.
        to: u64,
    },
    /// The store is damaged and will be had from peers.
    DamagedStore(String),
    /// The newest checkpoint is damaged; the one before it was taken.
    OlderCheckpoint(String),
    /// The member was under repair when it stopped.
    Repairing {
        /// Up to this index.
        to: u64,
    },
}

/// A directory on its way to a member.
pub struct Opening {
    opened: Opened,
    wait: wal::BatchId,
}

/// A directory that can run as a member.
pub struct Opened {
    /// The cluster.
    pub cluster: u64,
    /// This member.
    pub member: u64,
    /// The log.
    pub writer: LogWriter,
    /// The store.
    pub store: Store,
    /// The store's background work.
    pub jobs: JobRunner,
    /// What the replica starts with.
    pub boot: Boot,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Opening {
    /// Hear the end of an operation of the log's disk.
    ///
    /// # Errors
    /// When the log cannot go on.
    pub fn on_completion(
        &mut self,
        disk: &mut dyn Disk,
        completion: Completion,
    ) -> Result<(), wal::Failure> {
        self.opened.writer.on_completion(disk, completion, &mut crate::Freed::default())
    }

    /// What was found.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.opened.findings
    }

    /// The member, once all that was found is durable.
    ///
    /// # Errors
    /// Gives itself back while it is not.
    #[expect(clippy::result_large_err, reason = "the error is the value itself, handed back")]
    pub fn try_finish(self) -> Result<Opened, Self> {
        if self.opened.writer.log().durable() >= self.wait { Ok(self.opened) } else { Err(self) }
    }
}

/// Open a directory, or make it.
///
/// # Errors
/// [`OpenError`] says what is wrong with which file, and what to do.
pub fn open(
    settings: &Settings,
    log_disk: &mut dyn Disk,
    store_files: Arc<dyn Files>,
) -> Result<Opening, OpenError> {
    match Log::open(&*log_disk.files(), settings.log) {
        Err(wal::OpenError::Empty) => create(settings, log_disk, store_files),
        Err(error) => Err(error.into()),
        Ok((log, recovered)) => go_on(settings, log_disk, store_files, log, recovered),
    }
}

fn create(
    settings: &Settings,
    log_disk: &mut dyn Disk,
    store_files: Arc<dyn Files>,
) -> Result<Opening, OpenError> {
    let (cluster, member, members) = match &settings.fresh {
        Fresh::Bootstrap { cluster, member, members } => (*cluster, *member, members.as_slice()),
        Fresh::Join { cluster, member } => (*cluster, *member, &[][..]),
    };
    let identity = wal::Identity {
        cluster_id: cluster,
        member_id: member,
        incarnation: settings.boot,
        boot: settings.boot,
    };
    let (store, jobs, _) = open_store(settings, identity, store_files, 1)?;
    let (mut log, mut wait) = Log::create(log_disk, identity, settings.log);
    let entries = bootstrap_entries(members);
    let hard_state = HardState {
        term: Term(u64::from(!entries.is_empty())),
        vote: NodeId::NONE,
        commit: Index(entries.len() as u64),
    };
    if !entries.is_empty() {
        wait = log.append(log_disk, bootstrap_batch(&entries, hard_state));
    }
    let boot = Boot { entries, hard_state, facts: applier::facts(&store), ..Boot::default() };
    let opened = Opened {
        cluster,
        member,
        writer: LogWriter::new(log),
        jobs: JobRunner::new(jobs),
        store,
        boot,
        findings: vec![Finding::Fresh],
    };
    Ok(Opening { opened, wait })
}

/// The first entries of a new cluster's log, the same on all of its first members.
fn bootstrap_entries(members: &[Member]) -> Vec<Entry> {
    let mut members: Vec<&Member> = members.iter().collect();
    members.sort_by_key(|member| member.id);
    let entry = |(position, member): (usize, &&Member)| {
        let change = quorate_raft::ConfChange {
            id: 0,
            kind: quorate_raft::ConfChangeKind::AddNode,
            node_id: NodeId(member.id),
            context: member.to_json().into(),
        };
        let index = Index(position as u64 + 1);
        Entry { kind: EntryKind::ConfChange, term: Term(1), index, data: change.encode() }
    };
    members.iter().enumerate().map(entry).collect()
}

fn bootstrap_batch(entries: &[Entry], hard_state: HardState) -> wal::Batch {
    wal::Batch {
        hard_state: Some(hard_state_for_log(hard_state)),
        mark: None,
        entries: entries
            .iter()
            .map(|entry| wal::Entry {
                index: entry.index.0,
                term: entry.term.0,
                body: wire::encode_entry(entry),
            })
            .collect(),
    }
}

fn go_on(
    settings: &Settings,
    log_disk: &mut dyn Disk,
    store_files: Arc<dyn Files>,
    log: Log,
    recovered: wal::Recovered,
) -> Result<Opening, OpenError> {
    let identity = wal::Identity { boot: settings.boot, ..recovered.identity };
    let log_start = recovered.entries.first().map_or_else(
        || recovered.mark.as_ref().map_or(1, |mark| mark.index + 1),
        |entry| entry.index,
    );
    let noted = checkpoint::noted_damage(&*store_files).map_err(StoreError::from)?;
    if let Some(what) = noted
        && has_peers_by_log(settings, &recovered)?
    {
        // A member alone goes on with what can still be read.
        let error = StoreError::Noted(what);
        return start_over(settings, log_disk, store_files, (log, recovered), error);
    }
    match open_store(settings, identity, Arc::clone(&store_files), log_start) {
        Ok((store, jobs, fell_back)) => {
            let mut findings = Vec::new();
            findings.extend(fell_back.map(Finding::OlderCheckpoint));
            resume(settings, log_disk, log, recovered, (store, jobs), findings)
        }
        Err(error) if error.is_damage() => {
            start_over(settings, log_disk, store_files, (log, recovered), error)
        }
        Err(error) => Err(error.into()),
    }
}

/// The store is whole: the log goes on behind it.
fn resume(
    settings: &Settings,
    log_disk: &mut dyn Disk,
    mut log: Log,
    recovered: wal::Recovered,
    (store, jobs): (Store, quorate_store::jobs::Jobs),
    mut findings: Vec<Finding>,
) -> Result<Opening, OpenError> {
    let entries = decode_entries(&recovered.entries)?;
    let has_peers = has_peers(settings, &store, &recovered, &entries);
    let mut repair = None;
    let boot_number = settings.boot;
    let wait = match &recovered.outcome {
        Outcome::Clean => log.resume(log_disk, boot_number),
        Outcome::TornTail { file, offset, .. } => {
            findings.push(Finding::TornTail { file: file.clone(), offset: *offset });
            log.cut_tail(log_disk, boot_number)
        }
        Outcome::Damaged(damage) | Outcome::MissingSegment { damage, .. } => {
            let (from, to) = (damage.first_bad_index, damage.possibly_acknowledged_up_to);
            let (file, offset) = (damage.file.clone(), damage.offset);
            if !has_peers {
                return Err(OpenError::DamagedAlone { file, offset, index: from });
            }
            findings.push(Finding::DamagedLog { file, offset, from, to });
            let to = to.max(from).max(1);
            repair = Some(repair_of(damage, to, recovered.hard_state));
            log.resume_repairing(log_disk, boot_number, to)
        }
    };
    if repair.is_none()
        && let Some(to) = recovered.repairing_until
    {
        findings.push(Finding::Repairing { to });
        let term = recovered.hard_state.term;
        let vote = VoteMemory::UncertainFrom(term);
        repair = Some(Repair { last_index: to, last_term: term, vote });
    }
    let mut boot = boot_of(&store, &recovered, entries, repair);
    let mut wait = wait;
    if begin_at_checkpoint(&mut boot) {
        wait = log.append(log_disk, mark_batch(&boot));
    }
    let opened = Opened {
        cluster: recovered.identity.cluster_id,
        member: recovered.identity.member_id,
        writer: LogWriter::new(log),
        jobs: JobRunner::new(jobs),
        store,
        boot,
        findings,
    };
    Ok(Opening { opened, wait })
}

fn boot_of(
    store: &Store,
    recovered: &wal::Recovered,
    entries: Vec<Entry>,
    repair: Option<Repair>,
) -> Boot {
    let log_start = match (&recovered.mark, entries.first()) {
        (Some(mark), Some(first)) if mark.index + 1 == first.index.0 => (mark.index, mark.term),
        (_, Some(first)) => {
            // Entries before this one were given back. Their last one's term is not known here;
            // the entry's own is the highest that it can be, and nobody is asked for it below
            // the store's applied index.
            (first.index.0 - 1, if first.index.0 == 1 { 0 } else { first.term.0 })
        }
        (Some(mark), None) => (mark.index, mark.term),
        (None, None) => (0, 0),
    };
    Boot {
        checkpoint: Checkpoint {
            index: store.applied_index(),
            term: store.applied_term(),
            conf_state: applier::conf_state(store),
        },
        log_start,
        entries,
        hard_state: HardState {
            term: Term(recovered.hard_state.term),
            vote: NodeId(recovered.hard_state.vote),
            commit: Index(recovered.hard_state.commit),
        },
        facts: applier::facts(store),
        repair,
    }
}

/// Where the log is not what led to the checkpoint, it begins anew behind it: a snapshot was
/// installed and the log did not hear of it, or damage brought back entries that others had
/// replaced. Whether that is so.
fn begin_at_checkpoint(boot: &mut Boot) -> bool {
    let Checkpoint { index, term, .. } = boot.checkpoint;
    let (start, _) = boot.log_start;
    let known = match index.checked_sub(start + 1) {
        // The store ends where the log begins or before: nothing contradicts it.
        None => return false,
        Some(at) => usize::try_from(at).ok().and_then(|at| boot.entries.get(at)),
    };
    if known.is_some_and(|entry| entry.term.0 == term) {
        return false;
    }
    boot.entries.clear();
    boot.log_start = (index, term);
    if boot.hard_state.term.0 < term {
        boot.hard_state.term = Term(term);
        boot.hard_state.vote = NodeId::NONE;
    }
    boot.hard_state.commit = Index(index);
    true
}

/// What tells the log that it begins behind the checkpoint.
fn mark_batch(boot: &Boot) -> wal::Batch {
    wal::Batch {
        hard_state: Some(hard_state_for_log(boot.hard_state)),
        mark: Some(wal::Mark {
            index: boot.checkpoint.index,
            term: boot.checkpoint.term,
            conf_state: wire::encode_conf_state(&boot.checkpoint.conf_state),
        }),
        entries: Vec::new(),
    }
}

fn hard_state_for_log(hard_state: HardState) -> wal::HardState {
    wal::HardState { term: hard_state.term.0, vote: hard_state.vote.0, commit: hard_state.commit.0 }
}

fn repair_of(damage: &wal::Damage, to: u64, hard_state: wal::HardState) -> Repair {
    let known = damage
        .known_lost
        .iter()
        .copied()
        .chain(damage.salvaged.iter().map(|entry| (entry.index, entry.term)))
        .filter(|(index, _)| *index == to)
        .map(|(_, term)| term)
        .max();
    let vote = match damage.hard_state {
        HardStateCertainty::Certain => VoteMemory::Certain,
        HardStateCertainty::AtLeastTerm(term) => VoteMemory::UncertainFrom(term),
    };
    Repair { last_index: to, last_term: known.unwrap_or(hard_state.term), vote }
}

fn decode_entries(entries: &[wal::Entry]) -> Result<Vec<Entry>, OpenError> {
    let decode = |entry: &wal::Entry| {
        wire::decode_entry(entry.body.clone())
            .map_err(|source| OpenError::Entry { index: entry.index, source })
    };
    entries.iter().map(decode).collect()
}

/// Whether others vote, from whom this member can have what it lost.
fn has_peers(
    settings: &Settings,
    store: &Store,
    recovered: &wal::Recovered,
    entries: &[Entry],
) -> bool {
    let applied = store.applied_index();
    // A store that has applied nothing yet does not know the first members.
    let known = if applied > 0 {
        applier::conf_state(store).voters.into_iter().collect()
    } else {
        BTreeSet::new()
    };
    let behind = entries.iter().filter(|entry| entry.index.0 > applied);
    let voters = voters(known, behind);
    voters.iter().any(|voter| voter.0 != recovered.identity.member_id)
        || (applied == 0 && !settings.is_alone())
}

/// The voters after the log's changes.
fn voters<'a>(
    mut voters: BTreeSet<NodeId>,
    entries: impl Iterator<Item = &'a Entry>,
) -> BTreeSet<NodeId> {
    let changes = entries
        .filter(|entry| entry.kind == EntryKind::ConfChange)
        .filter_map(|entry| quorate_raft::ConfChange::decode(&entry.data).ok());
    for change in changes {
        match change.kind {
            quorate_raft::ConfChangeKind::AddNode => {
                voters.insert(change.node_id);
            }
            quorate_raft::ConfChangeKind::RemoveNode => {
                voters.remove(&change.node_id);
            }
            quorate_raft::ConfChangeKind::UpdateNode
            | quorate_raft::ConfChangeKind::AddLearnerNode => {}
        }
    }
    voters
}

/// Whether others vote, as far as a log tells whose store is lost.
fn has_peers_by_log(settings: &Settings, recovered: &wal::Recovered) -> Result<bool, OpenError> {
    let entries = decode_entries(&recovered.entries)?;
    let marked = recovered
        .mark
        .as_ref()
        .and_then(|mark| wire::decode_conf_state(mark.conf_state.clone()).ok())
        .map_or_else(BTreeSet::new, |state| state.voters.into_iter().collect());
    let voters = voters(marked, entries.iter());
    let others = voters.iter().any(|voter| voter.0 != recovered.identity.member_id);
    Ok(others || !settings.is_alone())
}

/// The store is lost: log and store begin anew, empty, and everything comes from peers. The
/// member still stands for what its log held.
fn start_over(
    settings: &Settings,
    log_disk: &mut dyn Disk,
    store_files: Arc<dyn Files>,
    (mut log, recovered): (Log, wal::Recovered),
    error: StoreError,
) -> Result<Opening, OpenError> {
    if !has_peers_by_log(settings, &recovered)? {
        return Err(error.into());
    }
    let last = recovered.entries.last().map_or_else(
        || recovered.mark.as_ref().map_or((0, 0), |mark| (mark.index, mark.term)),
        |entry| (entry.index, entry.term),
    );
    let repair = match &recovered.outcome {
        Outcome::Clean | Outcome::TornTail { .. } => {
            let vote = match recovered.repairing_until {
                None => VoteMemory::Certain,
                Some(_) => VoteMemory::UncertainFrom(recovered.hard_state.term),
            };
            let to = last.0.max(recovered.repairing_until.unwrap_or(0)).max(1);
            let last_term = if to == last.0 { last.1 } else { recovered.hard_state.term };
            Repair { last_index: to, last_term, vote }
        }
        Outcome::Damaged(damage) | Outcome::MissingSegment { damage, .. } => {
            let to = damage.possibly_acknowledged_up_to.max(last.0).max(1);
            repair_of(damage, to, recovered.hard_state)
        }
    };
    let identity = wal::Identity { boot: settings.boot, ..recovered.identity };
    let wait = log.abandon(log_disk, settings.boot, repair.last_index);
    let opened = checkpoint::begin_anew(store_files, open_options(settings, identity, 1))
        .map_err(StoreError::from)?;
    let checkpoint::Opened { state, log: records, jobs, .. } = opened;
    let store = Store::restart(settings.store, &state, IndexLoader::default(), records)
        .map_err(StoreError::from)?;
    let hard_state = HardState {
        term: Term(recovered.hard_state.term),
        vote: NodeId(recovered.hard_state.vote),
        commit: Index(0),
    };
    let boot =
        Boot { hard_state, facts: applier::facts(&store), repair: Some(repair), ..Boot::default() };
    let opened = Opened {
        cluster: identity.cluster_id,
        member: identity.member_id,
        writer: LogWriter::new(log),
        jobs: JobRunner::new(jobs),
        store,
        boot,
        findings: vec![Finding::DamagedStore(error.to_string())],
    };
    Ok(Opening { opened, wait })
}

/// A store, its background work, and the damage for which an older checkpoint was taken.
type OpenStore = (Store, quorate_store::jobs::Jobs, Option<String>);

fn open_store(
    settings: &Settings,
    identity: wal::Identity,
    files: Arc<dyn Files>,
    log_start: u64,
) -> Result<OpenStore, StoreError> {
    let mut loader = IndexLoader::default();
    let opened = checkpoint::open(files, open_options(settings, identity, log_start), &mut loader)?;
    let checkpoint::Opened { state, log, jobs, fell_back } = opened;
    let store = Store::restart(settings.store, &state, loader, log)?;
    Ok((store, jobs, fell_back.map(|damage| damage.to_string())))
}

fn open_options(
    settings: &Settings,
    identity: wal::Identity,
    log_start: u64,
) -> checkpoint::OpenOptions {
    checkpoint::OpenOptions {
        identity: checkpoint::Identity {
            cluster_id: identity.cluster_id,
            member_id: identity.member_id,
        },
        log_start,
        log: settings.store.log,
        jobs: settings.jobs,
    }
}

/// Why a store's folder is no store.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Its files are not what they should be.
    #[error(transparent)]
    Open(#[from] checkpoint::OpenError),
    /// Its files are whole, and contradict each other.
    #[error(transparent)]
    Restart(#[from] RestartError),
    /// It did not give back what was written, the last time that it ran.
    #[error("the store was found damaged while it ran: {0}")]
    Noted(String),
}

impl StoreError {
    /// Whether peers can help.
    fn is_damage(&self) -> bool {
        use checkpoint::OpenError as Open;
        match self {
            Self::Restart(_)
            | Self::Noted(_)
            | Self::Open(Open::Damaged(_) | Open::TooOld { .. } | Open::Gap { .. }) => true,
            Self::Open(Open::Newer { .. } | Open::OtherIdentity { .. } | Open::List(_)) => false,
        }
    }
}

impl Settings {
    /// Whether the member, by what it was started with, has nobody to ask.
    fn is_alone(&self) -> bool {
        match &self.fresh {
            Fresh::Bootstrap { members, .. } => members.len() <= 1,
            Fresh::Join { .. } => false,
        }
    }
}
