//! A directory as it would be opened, without a change to it.

use std::sync::Arc;

use quorate_disk::Files;
use quorate_raft::Entry;
use quorate_store::checkpoint;
use quorate_store::jobs::Jobs;
use quorate_store::store::Store;
use quorate_wal as wal;

use super::resume::{begin_at_checkpoint, boot_of};
use super::{OpenError, Settings, StoreError, decode_entries, log_start, open_store};

/// What a directory holds.
pub(crate) struct Read {
    /// The store as of its checkpoint, or why there is none.
    pub(crate) store: Result<Store, StoreError>,
    /// The store's jobs, if there is a store.
    pub(crate) jobs: Option<Jobs>,
    /// The log's entries, of which those behind the checkpoint are to be applied.
    pub(crate) entries: Vec<Entry>,
    /// Index and term of the last entry.
    pub(crate) last: (u64, u64),
}

pub(crate) fn read(
    settings: &Settings,
    store_files: Arc<dyn Files>,
    recovered: &wal::Recovered,
) -> Result<Read, OpenError> {
    let entries = decode_entries(&recovered.entries)?;
    let end = entries.last().map(|entry| (entry.index.0, entry.term.0));
    let end = end.or(recovered.mark.as_ref().map(|mark| (mark.index, mark.term)));
    let end = end.unwrap_or_default();
    let store = match checkpoint::noted_damage(&*store_files).map_err(StoreError::from)? {
        Some(what) => Err(StoreError::Noted(what)),
        None => open_store(settings, recovered.identity, store_files, log_start(recovered)),
    };
    let (store, jobs) = match store {
        Ok((store, jobs, _)) => (store, jobs),
        Err(error) => return Ok(Read { store: Err(error), jobs: None, entries, last: end }),
    };
    let mut boot = boot_of(&store, recovered, entries, None);
    begin_at_checkpoint(&mut boot);
    let last = boot.entries.last().map(|entry| (entry.index.0, entry.term.0));
    let last = last.unwrap_or_default().max((store.applied_index(), store.applied_term()));
    Ok(Read { store: Ok(store), jobs: Some(jobs), entries: boot.entries, last })
}
