//! A log on a faulty disk, with what was asked of it.

use bytes::Bytes;
use quorate_disk::{Completion, Disk, Files};
use quorate_wal::{
    Batch, BatchId, End, Entry, Failure, HardState, Identity, Log, Mark, OpenError, Options,
    Outcome, Recovered,
};
use sim_disk::{FaultyDisk, FaultyHandle};

pub(crate) const FOLDER: &str = "log";
pub(crate) const IDENTITY: Identity =
    Identity { cluster_id: 0xc1, member_id: 0x3e, incarnation: 1, boot: 1 };
pub(crate) const SMALL: Options = Options { segment_bytes: 4096, spares_max: 2 };

/// What a log should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) hard_state: HardState,
    pub(crate) mark: Option<Mark>,
    pub(crate) entries: Vec<Entry>,
}

impl Model {
    pub(crate) fn last_index(&self) -> u64 {
        let mark = self.mark.as_ref().map_or(0, |mark| mark.index);
        self.entries.last().map_or(mark, |entry| entry.index)
    }

    pub(crate) fn apply(&mut self, batch: &Batch) {
        if let Some(hard_state) = batch.hard_state {
            self.hard_state = hard_state;
        }
        if let Some(mark) = &batch.mark {
            let fits = |entry: &Entry| entry.index == mark.index && entry.term == mark.term;
            let same = self.mark.as_ref().is_some_and(|old| old.index == mark.index);
            if self.entries.iter().any(fits) || same {
                self.entries.retain(|entry| entry.index > mark.index);
            } else {
                self.entries.clear();
            }
            self.mark = Some(mark.clone());
        }
        if let Some(first) = batch.entries.first() {
            self.entries.retain(|entry| entry.index < first.index);
            self.entries.extend(batch.entries.iter().cloned());
        }
    }
}

pub(crate) fn entry(index: u64, term: u64, size: usize) -> Entry {
    let body: Vec<u8> =
        (0..size).map(|at| (index as u8) ^ (term as u8).rotate_left(4) ^ (at as u8)).collect();
    Entry { index, term, body: Bytes::from(body) }
}

pub(crate) fn entries(range: std::ops::RangeInclusive<u64>, term: u64, size: usize) -> Batch {
    Batch {
        hard_state: Some(HardState { term, vote: term % 3, commit: range.start() - 1 }),
        mark: None,
        entries: range.map(|index| entry(index, term, size)).collect(),
    }
}

/// A log with its disk; every batch and the model after it, by batch number.
pub(crate) struct Rig {
    pub(crate) disk: FaultyDisk,
    pub(crate) handle: FaultyHandle,
    pub(crate) log: Log,
    pub(crate) history: Vec<(BatchId, Model)>,
    pub(crate) durable: Option<BatchId>,
}

impl Rig {
    pub(crate) fn create(seed: u64, options: Options) -> Self {
        let disk = FaultyDisk::new(seed);
        let mut handle = disk.handle(FOLDER);
        let (log, id) = Log::create(&mut handle, IDENTITY, options);
        let history = vec![(id, Model::default())];
        Self { disk, handle, log, history, durable: None }
    }

    pub(crate) fn model(&self) -> &Model {
        &self.history.last().unwrap().1
    }

    pub(crate) fn append(&mut self, batch: Batch) -> BatchId {
        let mut model = self.model().clone();
        model.apply(&batch);
        let id = self.log.append(&mut self.handle, batch);
        self.history.push((id, model));
        id
    }

    /// Complete one operation. False if none is queued.
    pub(crate) fn step(&mut self) -> Result<bool, Failure> {
        let more = self.disk.complete_next();
        let mut completions: Vec<Completion> = Vec::new();
        self.handle.poll(&mut completions);
        for completion in completions {
            for id in self.log.on_completion(&mut self.handle, completion)? {
                assert!(self.durable.is_none_or(|last| last < id), "in order");
                self.durable = Some(id);
            }
        }
        Ok(more)
    }

    pub(crate) fn settle(&mut self) {
        while self.step().unwrap() {}
        assert!(self.log.is_quiet());
    }

    /// The model as of the newest batch that was reported durable.
    pub(crate) fn acknowledged(&self) -> Option<&Model> {
        let durable = self.durable?;
        self.history.iter().rev().find(|(id, _)| *id <= durable).map(|(_, model)| model)
    }

    /// Models that a crash may leave: the acknowledged one, and those submitted after it.
    pub(crate) fn allowed(&self) -> Vec<&Model> {
        let acknowledged = self.durable.unwrap_or(BatchId(0));
        let after = self.history.iter().filter(|(id, _)| *id > acknowledged);
        self.acknowledged().into_iter().chain(after.map(|(_, model)| model)).collect()
    }
}

pub(crate) fn open(disk: &FaultyDisk, options: Options) -> Result<(Log, Recovered), OpenError> {
    Log::open(&*disk.files(FOLDER), options)
}

/// Resume as an owner would, until everything is durable.
pub(crate) fn resume(disk: &FaultyDisk, log: Log, recovered: &Recovered) -> Rig {
    let mut rig = begin_to_resume(disk, log, recovered);
    rig.settle();
    assert_eq!(rig.durable, rig.history.last().map(|(id, _)| *id));
    rig
}

/// Resume as an owner would; everything is submitted and nothing has happened.
pub(crate) fn begin_to_resume(disk: &FaultyDisk, log: Log, recovered: &Recovered) -> Rig {
    let mut handle = disk.handle(FOLDER);
    let mut log = log;
    let id = match &recovered.outcome {
        Outcome::Clean => log.resume(&mut handle, 2),
        Outcome::TornTail { .. } => log.cut_tail(&mut handle, 2),
        Outcome::Damaged(damage) | Outcome::MissingSegment { damage, .. } => {
            let until = End { index: damage.end.index.max(1), ..damage.end };
            log.resume_repairing(&mut handle, 2, until, recovered.hard_state)
        }
    };
    let history = vec![(id, held(recovered))];
    let disk = disk.clone();
    Rig { disk, handle, log, history, durable: None }
}

pub(crate) fn held(recovered: &Recovered) -> Model {
    Model {
        hard_state: recovered.hard_state,
        mark: recovered.mark.clone(),
        entries: recovered.entries.clone(),
    }
}

/// Whether the recovered log is this model. Entries that were given back may be missing below.
pub(crate) fn is_same(recovered: &Recovered, model: &Model) -> bool {
    let from = recovered.entries.first().map_or(u64::MAX, |entry| entry.index);
    let tail: Vec<&Entry> = model.entries.iter().filter(|entry| entry.index >= from).collect();
    let is_prefix_gone = tail.len() == model.entries.len();
    recovered.mark == model.mark
        && is_prefix_gone
        && recovered.entries.iter().eq(tail)
        && recovered.hard_state.commit == model.hard_state.commit
}

pub(crate) fn newest_segment(files: &dyn Files) -> String {
    let names = files.list("").unwrap();
    names.into_iter().rfind(|name| name.ends_with(".log")).unwrap()
}
