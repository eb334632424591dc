//! A store without meaning on a faulty disk, and the executor of its jobs.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use quorate_disk::{Completion, Disk, Files, Operation, Ticket};
use sim_disk::{CrashPolicy, FaultyDisk, FaultyHandle, Image};

use super::model::{Entry, Model, Versions, decode_versions, encode_versions};
use crate::checkpoint::{
    self, Exported, FileDamage, Identity, IndexChunk, IndexSink, Malformed, OpenError, OpenOptions,
    Source, State,
};
use crate::jobs::{JobError, JobKind, JobOptions, Jobs, Outcome, Step};
use crate::log::{ChangeLimit, Damage, LogOptions, RevisionLog};

pub(super) const FOLDER: &str = "store";

pub(super) const SMALL: OpenOptions = OpenOptions {
    identity: Identity { cluster_id: 7, member_id: 9 },
    log_start: 1,
    log: LogOptions {
        segment_bytes: 2 << 10,
        flush_bytes: 600,
        unflushed_bytes_max: 4 << 10,
        resident_bytes: 500,
    },
    jobs: JobOptions { checkpoint_bytes: 3 << 10, checkpoint_entries: 25, held_bytes: 2 << 10 },
};

pub(super) struct TestStore {
    pub(super) log: RevisionLog,
    pub(super) model: Model,
    pinned: Option<Model>,
}

impl TestStore {
    pub(super) fn apply(&mut self, entry: &Entry) {
        let effect = self.model.apply(entry);
        self.log.append(effect.appended);
        for revision in effect.released {
            self.log.release(revision);
        }
    }

    /// The log gives what the model says, whatever way it is read.
    pub(super) fn check(&self) -> Result<(), Damage> {
        for (revision, record) in &self.model.records {
            assert_eq!(self.log.read(*revision)?, record.body);
        }
        let limit = ChangeLimit { revisions: usize::MAX, bytes: usize::MAX };
        let changes = self.log.changes(0, limit)?;
        assert!(changes.iter().eq(self.model.records.values()), "all changes, and no other");
        assert_eq!(self.log.live_bytes(), self.model.live_bytes());
        assert!(self.log.live_bytes() <= self.log.total_bytes());
        Ok(())
    }
}

impl Source for TestStore {
    fn log(&self) -> &RevisionLog {
        &self.log
    }

    fn log_mut(&mut self) -> &mut RevisionLog {
        &mut self.log
    }

    fn applied_index(&self) -> u64 {
        self.model.applied
    }

    fn pin(&mut self) -> State {
        self.pinned = Some(self.model.clone());
        State {
            applied_index: self.model.applied,
            applied_term: 3,
            conf_state: Bytes::from_static(b"conf"),
            revision: self.model.revision,
            compact_scheduled: self.model.compacted,
            compact_finished: self.model.compacted,
            tables: Bytes::from(vec![5; 40]),
            state_hash: u128::from(self.model.applied) << 70,
        }
    }

    fn unpin(&mut self) {
        self.pinned = None;
    }

    fn export(
        &self,
        after: Option<&[u8]>,
        _revision: i64,
        keys_max: usize,
        chunk: &mut IndexChunk,
    ) -> Exported {
        let index = &self.pinned.as_ref().expect("pinned").index;
        let keys_max = keys_max.min(5);
        let all = index.iter().filter(|(key, _)| after.is_none_or(|after| key[..] > *after));
        for (count, (key, versions)) in all.enumerate() {
            if count == keys_max {
                return Exported::Partly;
            }
            chunk.push(key.clone(), encode_versions(versions));
        }
        Exported::Wholly
    }
}

#[derive(Default)]
pub(super) struct Sink(pub(super) BTreeMap<Bytes, Versions>);

impl IndexSink for Sink {
    fn reset(&mut self) {
        self.0.clear();
    }

    fn add(&mut self, key: &[u8], versions: &[u8]) -> Result<(), Malformed> {
        let versions = decode_versions(versions).ok_or(Malformed)?;
        assert!(self.0.last_key_value().is_none_or(|(last, _)| &last[..] < key));
        self.0.insert(Bytes::copy_from_slice(key), versions);
        Ok(())
    }
}

/// What a restart found.
pub(super) struct Restarted {
    pub(super) store: TestStore,
    pub(super) jobs: Jobs,
    pub(super) fell_back: Option<FileDamage>,
}

/// Open the folder; what is restored must be what the entries up to its applied index give.
/// Records themselves are not read.
pub(super) fn restart(
    files: Arc<dyn Files>,
    options: OpenOptions,
    entries: &[Entry],
) -> Result<Restarted, OpenError> {
    let mut sink = Sink::default();
    let opened = checkpoint::open(files, options, &mut sink)?;
    let applied = usize::try_from(opened.state.applied_index).unwrap();
    let model = Model::after(&entries[..applied]);
    assert_eq!(sink.0, model.index, "the index at {applied}");
    assert_eq!(opened.state.revision, model.revision);
    assert_eq!(opened.log.live_bytes(), model.live_bytes());
    if applied > 0 {
        assert_eq!(opened.state.state_hash, u128::from(model.applied) << 70);
        assert_eq!(&opened.state.conf_state[..], b"conf");
        assert_eq!(opened.state.tables.len(), 40);
    }
    let store = TestStore { log: opened.log, model, pinned: None };
    Ok(Restarted { store, jobs: opened.jobs, fell_back: opened.fell_back })
}

/// A store, its jobs, its disk, and every entry that was ever applied.
pub(super) struct World {
    pub(super) disk: FaultyDisk,
    pub(super) options: OpenOptions,
    pub(super) entries: Vec<Entry>,
    pub(super) store: TestStore,
    pub(super) jobs: Jobs,
    pub(super) checkpointed: u64,
    pub(super) outcomes: Vec<Outcome>,
    handle: FaultyHandle,
    /// Operations under way, and the results that have come.
    submitted: usize,
    results: Vec<io::Result<()>>,
    next_ticket: u64,
}

impl World {
    pub(super) fn new(seed: u64, options: OpenOptions) -> Self {
        Self::on(FaultyDisk::new(seed), options, Vec::new()).unwrap()
    }

    pub(super) fn from_image(image: &Image, options: OpenOptions, entries: Vec<Entry>) -> Self {
        Self::on(FaultyDisk::from_image(image, 1), options, entries).unwrap()
    }

    /// Open what is on the disk and replay the entries after it.
    pub(super) fn on(
        disk: FaultyDisk,
        options: OpenOptions,
        entries: Vec<Entry>,
    ) -> Result<Self, OpenError> {
        let handle = disk.handle(FOLDER);
        let Restarted { mut store, jobs, .. } = restart(handle.files(), options, &entries)?;
        let restored = store.model.applied;
        for entry in &entries[usize::try_from(restored).unwrap()..] {
            store.apply(entry);
        }
        Ok(Self {
            disk,
            options,
            entries,
            store,
            jobs,
            checkpointed: restored,
            outcomes: Vec::new(),
            handle,
            submitted: 0,
            results: Vec::new(),
            next_ticket: 0,
        })
    }

    pub(super) fn apply(&mut self, entry: Entry) {
        self.store.apply(&entry);
        self.entries.push(entry);
    }

    /// Carry out up to `most` operations that are under way.
    pub(super) fn complete(&mut self, most: usize) {
        for _ in 0..most {
            self.disk.complete_next();
        }
        let mut completions: Vec<Completion> = Vec::new();
        self.handle.poll(&mut completions);
        self.results.extend(completions.into_iter().map(|completion| completion.result));
    }

    fn submit(&mut self, operations: Vec<Operation>) {
        self.submitted = operations.len();
        for operation in operations {
            self.next_ticket += 1;
            self.handle.submit(Ticket(self.next_ticket), operation);
        }
    }

    /// One step of the running job, or of the next that is due. False if there is nothing to do.
    pub(super) fn step(&mut self) -> Result<bool, JobError> {
        if !self.jobs.is_running() {
            match self.jobs.due(&self.store) {
                Some(kind) => self.jobs.start(kind),
                None => return Ok(false),
            }
        }
        self.complete(self.under_way());
        self.submitted = 0;
        self.jobs.prepare();
        let results = std::mem::take(&mut self.results);
        match self.jobs.step(&mut self.store, results)? {
            Step::Submit(operations) => self.submit(operations),
            Step::Again => {}
            Step::Done(outcome) => {
                if let Outcome::Checkpointed { applied_index } = outcome {
                    assert!(applied_index >= self.checkpointed);
                    self.checkpointed = applied_index;
                    assert_eq!(self.jobs.checkpointed_index(), applied_index);
                }
                assert!(self.jobs.log_needed_after() <= self.checkpointed);
                self.outcomes.push(outcome);
            }
        }
        Ok(true)
    }

    /// Run the job that is given to its end, after the one that runs.
    pub(super) fn run(&mut self, kind: JobKind) -> Result<Outcome, JobError> {
        while self.jobs.is_running() {
            self.step()?;
        }
        self.jobs.start(kind);
        while self.jobs.is_running() {
            self.step()?;
        }
        Ok(*self.outcomes.last().unwrap())
    }

    /// Do all work that is due.
    pub(super) fn settle(&mut self) -> Result<(), JobError> {
        for _ in 0..5000 {
            if !self.step()? {
                return Ok(());
            }
        }
        panic!("the work does not end: {:?}", self.outcomes);
    }

    /// Give the running job up; what it has under way happens or not.
    pub(super) fn abort(&mut self) {
        self.jobs.abort(&mut self.store);
        self.complete(self.under_way());
        self.submitted = 0;
        self.results.clear();
    }

    /// How many operations the last step submitted that are not carried out.
    pub(super) fn under_way(&self) -> usize {
        self.submitted - self.results.len()
    }

    /// Lose power, start again and replay.
    pub(super) fn crash(self, policy: CrashPolicy) -> Self {
        let Self { disk, options, entries, checkpointed, .. } = self;
        disk.crash(policy);
        let world = Self::on(disk, options, entries).expect("a crash damages nothing");
        assert!(world.checkpointed >= checkpointed, "a durable checkpoint stays");
        world.store.check().expect("a crash damages nothing");
        world
    }

    /// The names of the store's files.
    pub(super) fn files(&self) -> Vec<String> {
        self.handle.files().list("").unwrap()
    }
}

/// A script of entries that makes every kind of work due.
pub(super) fn busy(count: u64) -> Vec<Entry> {
    (0..count)
        .map(|at| match at % 9 {
            8 => Entry::Compact { below: (at % 5) as u8 },
            3 => Entry::Change(vec![(at as u8 % 23, 60), (at as u8 % 5, 0), (at as u8, 33)]),
            _ => Entry::Change(vec![(at as u8 % 31, 20 + (at * 37 % 150) as u16)]),
        })
        .collect()
}
