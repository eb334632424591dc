//! The store as jobs persist it, and as a restart finds it.
//!
//! ```text
//!   Store ──pin, export──► checkpoint job ──► files ──open──► IndexLoader + State ──► Store
//! ```
//! Which revisions and which keys belong together is fixed when the job pins the store; apply goes
//! on meanwhile, and compaction is carried out no further.

use bytes::{Bytes, BytesMut};

use crate::checkpoint::{Exported, IndexChunk, IndexSink, Malformed, Source, State};
use crate::log::RevisionLog;
use crate::mvcc::index::{ExportedKey, Loader, decode_versions, encode_versions};
use crate::mvcc::{FIRST_REVISION, Revisions};
use crate::store::{Parts, Store, StoreOptions};
use crate::tables::{Tables, TablesError};

/// Why a checkpoint, whose files are whole, is no store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestartError {
    /// The small tables cannot be read.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// What was restored is not what was stored.
    #[error("the checkpoint at index {applied_index} does not add up to its state hash")]
    StateHash {
        /// Where the checkpoint is.
        applied_index: u64,
    },
}

/// Takes the index of a checkpoint.
#[derive(Debug, Default)]
pub struct IndexLoader {
    loader: Loader,
}

impl IndexSink for IndexLoader {
    fn reset(&mut self) {
        *self = Self::default();
    }

    fn add(&mut self, key: &[u8], versions: &[u8]) -> Result<(), Malformed> {
        let versions = decode_versions(versions).ok_or(Malformed)?;
        self.loader.push(ExportedKey { key: key.to_vec(), versions }).map_err(|_| Malformed)
    }
}

impl Store {
    /// A store from what [`crate::checkpoint::open`] found; an empty one from an empty folder.
    ///
    /// # Errors
    /// If the parts do not fit together.
    pub fn restart(
        options: StoreOptions,
        state: &State,
        loader: IndexLoader,
        log: RevisionLog,
    ) -> Result<Self, RestartError> {
        let is_empty = state.revision < FIRST_REVISION;
        let revisions = if is_empty {
            Revisions { current: FIRST_REVISION, compact_scheduled: -1, compact_finished: -1 }
        } else {
            Revisions {
                current: state.revision,
                compact_scheduled: state.compact_scheduled,
                compact_finished: state.compact_finished,
            }
        };
        let tables = if is_empty { Tables::default() } else { Tables::decode(&state.tables)? };
        let (applied_index, applied_term) = (state.applied_index, state.applied_term);
        let index = loader.loader.finish();
        let parts = Parts { index, log, revisions, tables, applied_index, applied_term };
        let mut store = Self::assemble(options, parts);
        store.set_conf_state(state.conf_state.clone());
        if !is_empty && u128::from(store.state_hash()) != state.state_hash {
            return Err(RestartError::StateHash { applied_index });
        }
        Ok(store)
    }
}

impl Source for Store {
    fn log(&self) -> &RevisionLog {
        self.mvcc.log()
    }

    fn log_mut(&mut self) -> &mut RevisionLog {
        self.mvcc.log_mut()
    }

    fn applied_index(&self) -> u64 {
        Self::applied_index(self)
    }

    fn pin(&mut self) -> State {
        Source::unpin(self);
        self.checkpoint_pin = Some(self.mvcc.pin());
        let Revisions { current, compact_scheduled, compact_finished } = self.mvcc.revisions();
        State {
            applied_index: Self::applied_index(self),
            applied_term: self.applied_term(),
            conf_state: self.conf_state().clone(),
            revision: current,
            compact_scheduled,
            compact_finished,
            tables: self.tables.encode(),
            state_hash: self.state_hash().into(),
        }
    }

    fn unpin(&mut self) {
        if let Some(pin) = self.checkpoint_pin.take() {
            self.mvcc.unpin(&pin);
        }
    }

    fn export(
        &self,
        after: Option<&[u8]>,
        revision: i64,
        keys_max: usize,
        chunk: &mut IndexChunk,
    ) -> Exported {
        let keys = self.mvcc.index().export(after, revision, keys_max);
        let exported = if keys.len() < keys_max { Exported::Wholly } else { Exported::Partly };
        let mut bytes = BytesMut::new();
        for ExportedKey { key, versions } in keys {
            encode_versions(&versions, &mut bytes);
            chunk.push(Bytes::from(key), bytes.split().freeze());
        }
        exported
    }
}
