//! A member with a store and a hub, and a history that can be applied anew.

use quorate_api::etcdserverpb::{ResponseHeader, WatchCreateRequest, WatchResponse};

use crate::compaction::{Progress, Trace};
use crate::log::{LogOptions, Record};
use crate::mvcc::Mvcc;
use crate::mvcc::record::Content;
use crate::watch::{PollLimits, StreamId, WatchHub, WatchOptions};

/// One change of a key.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Put { key: Vec<u8>, value: Vec<u8> },
    Delete { key: Vec<u8> },
}

/// What the log of the cluster holds.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Transaction(Vec<Change>),
    Compact(i64),
}

pub(super) fn empty_mvcc() -> Mvcc {
    Mvcc::new(sim_disk::FaultyDisk::new(1).files(""), LogOptions::default())
}

pub(super) fn apply(mvcc: &mut Mvcc, entry: &Entry) -> Vec<Record> {
    match entry {
        Entry::Transaction(changes) => {
            for change in changes {
                match change {
                    Change::Put { key, value } => {
                        mvcc.put(&Content { key, value, lease: 0 });
                    }
                    Change::Delete { key } => {
                        mvcc.delete(key);
                    }
                }
            }
            mvcc.commit()
        }
        Entry::Compact(revision) => {
            mvcc.schedule_compaction(*revision, Trace::Hash);
            Vec::new()
        }
    }
}

pub(super) fn prune(mvcc: &mut Mvcc) {
    while mvcc.prune_step() == Progress::More {}
}

/// The member, and the cluster's log of which it may lag.
pub(super) struct World {
    pub(super) mvcc: Mvcc,
    pub(super) hub: WatchHub,
    pub(super) log: Vec<Entry>,
    /// Records that were applied and not published.
    pub(super) unpublished: Vec<Record>,
}

impl World {
    pub(super) fn new(options: WatchOptions) -> Self {
        let mvcc = empty_mvcc();
        let hub = WatchHub::new(mvcc.current_revision(), options);
        Self { mvcc, hub, log: Vec::new(), unpublished: Vec::new() }
    }

    /// Apply an entry without publishing it.
    pub(super) fn apply(&mut self, entry: Entry) {
        self.unpublished.extend(apply(&mut self.mvcc, &entry));
        self.log.push(entry);
    }

    pub(super) fn publish(&mut self) -> Vec<StreamId> {
        self.hub.publish(std::mem::take(&mut self.unpublished)).unwrap()
    }

    pub(super) fn put(&mut self, key: &str, value: &str) -> Vec<StreamId> {
        let change = Change::Put { key: key.into(), value: value.into() };
        self.apply(Entry::Transaction(vec![change]));
        self.publish()
    }

    pub(super) fn compact(&mut self, revision: i64) {
        self.apply(Entry::Compact(revision));
        prune(&mut self.mvcc);
    }

    /// Install a snapshot of the cluster's log up to `entries`.
    pub(super) fn install(&mut self, entries: usize) -> Vec<StreamId> {
        self.mvcc = empty_mvcc();
        for entry in &self.log[..entries] {
            apply(&mut self.mvcc, entry);
        }
        prune(&mut self.mvcc);
        self.unpublished.clear();
        self.hub.on_snapshot_installed(&self.mvcc)
    }

    pub(super) fn watch(&mut self, stream: StreamId, key: &str, end: &str, start: i64) {
        let request = WatchCreateRequest {
            key: key.to_owned().into(),
            range_end: end.to_owned().into(),
            start_revision: start,
            ..WatchCreateRequest::default()
        };
        self.hub.create(stream, &self.mvcc, &request).unwrap();
    }

    /// One poll's responses, and whether there is more.
    pub(super) fn poll(
        &mut self,
        stream: StreamId,
        limits: PollLimits,
    ) -> (Vec<WatchResponse>, bool) {
        let polled = self.hub.poll(stream, &self.mvcc, limits).unwrap();
        let header = ResponseHeader { cluster_id: 1, member_id: 2, revision: 0, raft_term: 3 };
        let messages = polled.responses.iter().map(|r| r.to_message(&header).unwrap());
        (messages.collect(), polled.more)
    }

    /// Everything that the stream is told until it has nothing more to say.
    pub(super) fn drain(&mut self, stream: StreamId) -> Vec<WatchResponse> {
        let mut all = Vec::new();
        for _ in 0..100_000 {
            let (responses, more) = self.poll(stream, PollLimits::default());
            all.extend(responses);
            if !more {
                return all;
            }
        }
        panic!("the stream never ends");
    }
}
