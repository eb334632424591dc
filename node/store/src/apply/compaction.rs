//! Compaction: decided here, carried out by the prune job.

use quorate_api::Error;
use quorate_api::etcdserverpb::{CompactionRequest, CompactionResponse};

use super::Context;
use crate::compaction::Trace;
use crate::entry::Reply;
use crate::mvcc::ReadError;

impl Context<'_> {
    pub(super) fn compaction(&mut self, request: &CompactionRequest) -> Result<Reply, ReadError> {
        let is_replayed = self.store.is_replaying();
        let mvcc = &mut self.store.mvcc;
        if request.revision <= mvcc.compact_revision() {
            return Err(Error::Compacted.into());
        }
        if request.revision > mvcc.current_revision() {
            return Err(Error::FutureRevision.into());
        }
        let trace = if is_replayed { Trace::None } else { Trace::Hash };
        mvcc.schedule_compaction(request.revision, trace);
        self.changes.compaction = Some(request.revision);
        Ok(Reply::Compaction(CompactionResponse { header: self.header() }))
    }
}
