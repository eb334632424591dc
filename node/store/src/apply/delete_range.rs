//! DeleteRange.

use std::ops::ControlFlow;

use bytes::Bytes;
use quorate_api::etcdserverpb::{DeleteRangeRequest, DeleteRangeResponse};

use super::{Context, header};
use crate::entry::{Answer, Reply};
use crate::mvcc::ReadError;
use crate::mvcc::key_range::KeyRange;
use crate::mvcc::range::read_key_value;

impl Context<'_> {
    pub(super) fn delete_range(
        &mut self,
        request: &DeleteRangeRequest,
    ) -> Result<Reply, ReadError> {
        let response = self.delete_checked(request)?;
        self.commit();
        Ok(Reply::DeleteRange(response))
    }

    /// Delete keys in the pending revision.
    pub(super) fn delete_checked(
        &mut self,
        request: &DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, ReadError> {
        let DeleteRangeRequest { key, range_end, prev_kv } = request;
        let mvcc = &self.store.mvcc;
        let range = KeyRange::new(key.clone(), range_end.clone());
        let mut found = Vec::new();
        mvcc.index().visit(&range, &mut |key, versions| {
            let latest = versions.latest();
            if !latest.is_tombstone() {
                found.push((Bytes::copy_from_slice(key), latest.revision));
            }
            ControlFlow::Continue(())
        });
        let mut prev_kvs = Vec::new();
        if *prev_kv && self.answer == Answer::Wanted {
            for (_, revision) in &found {
                prev_kvs.push(read_key_value(&mvcc.body(*revision)?)?);
            }
        }
        for (key, _) in &found {
            self.delete_key(key);
        }
        Ok(DeleteRangeResponse {
            header: header(self.store.mvcc.read_revision()),
            deleted: i64::try_from(found.len()).expect("a length fits"),
            prev_kvs,
        })
    }

    /// Delete a key in the pending revision, and detach it from its lease.
    pub(super) fn delete_key(&mut self, key: &[u8]) {
        if self.store.mvcc.delete(key) {
            self.store.tables.leases.detach(key);
        }
    }
}
