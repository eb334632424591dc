//! Put.

use quorate_api::Error;
use quorate_api::etcdserverpb::{PutRequest, PutResponse};
use quorate_api::mvccpb::KeyValue;

use super::{Context, header};
use crate::entry::{Answer, Reply};
use crate::mvcc::range::read_key_value;
use crate::mvcc::record::Content;
use crate::mvcc::{Mvcc, ReadError};
use crate::store::Store;

/// The key as it is now, with the changes of the entry being applied.
fn previous(mvcc: &Mvcc, key: &[u8]) -> Result<Option<KeyValue>, ReadError> {
    let body = mvcc.get_at(key, mvcc.read_revision())?;
    body.as_ref().map(read_key_value).transpose()
}

/// Whether a put can happen.
pub(super) fn check(store: &Store, put: &PutRequest) -> Result<(), Error> {
    if put.lease != 0 && store.leases().get(put.lease).is_none() {
        return Err(Error::LeaseNotFound);
    }
    if put.ignore_value || put.ignore_lease {
        let mvcc = store.mvcc();
        let versions = mvcc.index().get(&put.key);
        if versions.is_none_or(|versions| versions.at(mvcc.read_revision()).is_none()) {
            return Err(Error::KeyNotFound);
        }
    }
    Ok(())
}

impl Context<'_> {
    pub(super) fn put(&mut self, request: &PutRequest) -> Result<Reply, ReadError> {
        check(self.store, request)?;
        let response = self.put_checked(request)?;
        self.commit();
        Ok(Reply::Put(response))
    }

    /// Put a key in the pending revision.
    pub(super) fn put_checked(&mut self, request: &PutRequest) -> Result<PutResponse, ReadError> {
        let PutRequest { key, value, lease, prev_kv, ignore_value, ignore_lease } = request;
        let mvcc = &mut self.store.mvcc;
        let shown = *prev_kv && self.answer == Answer::Wanted;
        let before =
            if shown || *ignore_value || *ignore_lease { previous(mvcc, key)? } else { None };
        let kept = before.clone().unwrap_or_default();
        let value = if *ignore_value { &kept.value } else { value };
        let lease = if *ignore_lease { kept.lease } else { *lease };
        let revision = mvcc.put(&Content { key, value, lease });
        self.store.tables.leases.attach(key, lease);
        Ok(PutResponse { header: header(revision), prev_kv: before.filter(|_| shown) })
    }
}
