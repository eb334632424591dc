//! Our store, driven as a server drives it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use quorate_api::Error;
use quorate_api::etcdserverpb::RequestHeader;
use quorate_api::limits::TXN_OPS_DEFAULT;
use quorate_api::request::{RequestKind, wrap};
use quorate_disk::Files;
use quorate_store::apply::check;
use quorate_store::compaction::Progress;
use quorate_store::entry::{self, Applied, Entry, EntryKind};
use quorate_store::hash::KvHash;
use quorate_store::mvcc::ReadError;
use quorate_store::mvcc::range::RangeCursor;
use quorate_store::store::{Store, StoreOptions};

use crate::request::{Answer, Reply, Request};

/// A disk without files: nothing is flushed in these tests.
struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &str, _: u64, _: usize) -> io::Result<Bytes> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn length(&self, _: &str) -> io::Result<u64> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn list(&self, _: &str) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// A store and what was applied to it.
pub(crate) struct Ours {
    pub(crate) store: Store,
    log: Vec<Entry>,
}

impl Ours {
    pub(crate) fn new() -> Self {
        Self::of(Store::new(Arc::new(NoFiles), StoreOptions::default()))
    }

    /// An empty store, or one that is not to be replayed.
    pub(crate) fn of(store: Store) -> Self {
        Self { store, log: Vec::new() }
    }

    /// Have another store, and apply to it what it does not have, as a log does after a restart.
    pub(crate) fn replay(&mut self, store: Store) {
        self.store = store;
        self.store.set_replayed_until(self.log.len() as u64);
        let applied = usize::try_from(self.store.applied_index()).unwrap();
        for entry in &self.log[applied..] {
            self.store.apply(entry).unwrap();
        }
    }

    /// Apply an entry.
    pub(crate) fn apply(&mut self, kind: EntryKind, data: Bytes) -> Applied {
        let entry = Entry { index: self.store.applied_index() + 1, term: 1, kind, data };
        let applied = self.store.apply(&entry).unwrap();
        self.log.push(entry);
        applied
    }

    /// Apply a request.
    pub(crate) fn request(&mut self, kind: RequestKind, message: &impl Message) -> Applied {
        let data = encode(self.store.applied_index() + 1, kind, message);
        self.apply(EntryKind::Normal, data)
    }

    /// Hash what the last compaction found.
    pub(crate) fn hash_compaction(&mut self) {
        while self.store.mvcc().compaction().is_hash_due() {
            assert_eq!(self.store.prune_step(), Progress::More);
        }
    }

    /// Carry out what compaction decided.
    pub(crate) fn prune(&mut self) {
        while self.store.prune_step() == Progress::More {}
    }

    /// Check and answer a request.
    pub(crate) fn answer(&mut self, request: &Request) -> Answer {
        self.try_answer(request).map_err(|error| error.message().to_owned())
    }

    fn try_answer(&mut self, request: &Request) -> Result<Reply, Error> {
        let refused = |error| match error {
            ReadError::Refused(error) => error,
            ReadError::Damage(damage) => panic!("{damage}"),
        };
        let reply = match request {
            Request::Range(range) => {
                check::check_range(range)?;
                let at_once = self.store.range(range);
                let mut cursor = RangeCursor::new(range.clone());
                let stepwise = loop {
                    match cursor.step(self.store.mvcc()) {
                        Ok(None) => {}
                        Ok(Some(outcome)) => break Ok(outcome),
                        Err(error) => break Err(error),
                    }
                };
                assert_eq!(at_once, stepwise, "steps say what one step says");
                let outcome = at_once.map_err(refused)?;
                return Ok(Reply::Range(outcome.into_response().unwrap()));
            }
            Request::Txn(txn) if check::is_read_only(txn) => {
                check::check_txn(txn, TXN_OPS_DEFAULT)?;
                return Ok(Reply::Txn(self.store.read_txn(txn).map_err(refused)?));
            }
            Request::Hash(revision) => {
                let hash = self.store.hash_kv(*revision).map_err(refused)?;
                let KvHash { hash, revision, compact_revision, current_revision } = hash;
                assert_eq!(current_revision, self.store.revision());
                return Ok(Reply::Hash { hash, revision, compact_revision });
            }
            Request::Put(put) => {
                check::check_put(put)?;
                self.request(RequestKind::Put, put).reply?
            }
            Request::DeleteRange(delete) => {
                check::check_delete_range(delete)?;
                self.request(RequestKind::DeleteRange, delete).reply?
            }
            Request::Txn(txn) => {
                check::check_txn(txn, TXN_OPS_DEFAULT)?;
                self.request(RequestKind::Txn, txn).reply?
            }
            Request::Compact(compaction) => {
                let reply = self.request(RequestKind::Compaction, compaction).reply?;
                self.hash_compaction();
                reply
            }
            Request::Grant(grant) => self.request(RequestKind::LeaseGrant, grant).reply?,
            Request::Revoke(revoke) => self.request(RequestKind::LeaseRevoke, revoke).reply?,
        };
        Ok(match reply {
            entry::Reply::Put(put) => Reply::Put(put),
            entry::Reply::DeleteRange(delete) => Reply::DeleteRange(delete),
            entry::Reply::Txn(txn) => Reply::Txn(txn),
            entry::Reply::Compaction(compaction) => Reply::Compact(compaction),
            entry::Reply::LeaseGrant(grant) => Reply::Grant(grant),
            entry::Reply::LeaseRevoke(revoke) => Reply::Revoke(revoke),
            other => panic!("no request asks for {other:?}"),
        })
    }
}

/// The data of an entry.
pub(crate) fn encode(id: u64, kind: RequestKind, message: &impl Message) -> Bytes {
    let header = RequestHeader { id, ..RequestHeader::default() };
    wrap(&header, kind, &message.encode_to_vec())
}
