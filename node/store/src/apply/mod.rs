//! Applying committed entries: one file per kind of request.
//!
//! ```text
//!   entry ─► take apart ─► alarms allow it? ─► check ─► change mvcc and tables ─► reply, changes
//! ```
//! A request is checked in full before it changes anything: an error leaves no trace. What a reply
//! says depends on the entries alone, never on this member.

pub mod alarm;
pub mod check;
mod cluster;
mod compaction;
mod conf_change;
mod delete_range;
mod lease;
mod put;
pub mod txn;

use prost::Message;
use quorate_api::Error;
use quorate_api::etcdserverpb::{RangeRequest, ResponseHeader};
use quorate_api::request::{self, RequestKind};

use crate::entry::{Answer, Applied, Changes, Entry, EntryKind, Fatal, Reply};
use crate::mvcc::ReadError;
use crate::store::Store;

/// What applying a request has to work with.
pub(crate) struct Context<'a> {
    pub(crate) store: &'a mut Store,
    pub(crate) changes: Changes,
    pub(crate) answer: Answer,
}

impl Context<'_> {
    /// A header as replies get it here; the server adds the rest.
    pub(crate) fn header(&self) -> Option<ResponseHeader> {
        header(self.store.revision())
    }

    /// Make the pending changes of keys a revision.
    pub(crate) fn commit(&mut self) {
        self.changes.records = self.store.mvcc.commit();
    }
}

/// A header that has only the revision.
pub(crate) fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader { revision, ..ResponseHeader::default() })
}

/// An entry that is applied already.
pub(crate) fn skip() -> Applied {
    Applied { request_id: None, kind: None, reply: Ok(Reply::Empty), changes: Changes::default() }
}

/// Apply an entry.
pub(crate) fn apply(store: &mut Store, entry: &Entry, answer: Answer) -> Result<Applied, Fatal> {
    let mut context = Context { store, changes: Changes::default(), answer };
    let malformed = |what: String| Fatal::Malformed { index: entry.index, what };
    let mut asked = None;
    let (request_id, reply) = match entry.kind {
        EntryKind::Normal if entry.data.is_empty() => return Ok(skip()),
        EntryKind::Normal => {
            let wrapped =
                request::split(entry.data.clone()).map_err(|error| malformed(error.to_string()))?;
            let (kind, body) =
                wrapped.request.ok_or_else(|| malformed("it asks for nothing known".into()))?;
            asked = Some(kind);
            let reply = context
                .request(kind, body)
                .map_err(|error| malformed(format!("{kind:?}: {error}")))?;
            (wrapped.header.id, reply)
        }
        EntryKind::ConfChange => conf_change::apply(&mut context, &entry.data)
            .map_err(|error| malformed(error.to_string()))?,
        EntryKind::ConfChangeV2 => conf_change::apply_v2(&mut context, &entry.data)
            .map_err(|error| malformed(error.to_string()))?,
    };
    let changes = context.changes;
    let reply = match reply {
        Ok(reply) => Ok(reply),
        Err(ReadError::Refused(error)) => {
            assert!(changes.records.is_empty(), "a refused request changes no key");
            Err(error)
        }
        Err(ReadError::Damage(damage)) => return Err(damage.into()),
    };
    let request_id = Some(request_id).filter(|id| *id != 0);
    Ok(Applied { request_id, kind: asked, reply, changes })
}

impl Context<'_> {
    /// Apply a request; the outer error is for bytes that are not the request they claim to be.
    fn request(
        &mut self,
        kind: RequestKind,
        body: bytes::Bytes,
    ) -> Result<Result<Reply, ReadError>, prost::DecodeError> {
        if let Some(refusal) = alarm::gate(&self.store.tables.alarms, kind, &body)? {
            return Ok(Err(refusal.into()));
        }
        Ok(match kind {
            RequestKind::Range => self.range(&RangeRequest::decode(body)?),
            RequestKind::Put => self.put(&Message::decode(body)?),
            RequestKind::DeleteRange => self.delete_range(&Message::decode(body)?),
            RequestKind::Txn => self.txn(&Message::decode(body)?),
            RequestKind::Compaction => self.compaction(&Message::decode(body)?),
            RequestKind::LeaseGrant => self.lease_grant(&Message::decode(body)?),
            RequestKind::LeaseRevoke => self.lease_revoke(&Message::decode(body)?),
            RequestKind::LeaseCheckpoint => self.lease_checkpoint(&Message::decode(body)?),
            RequestKind::Alarm => self.alarm(&Message::decode(body)?),
            RequestKind::ClusterVersionSet => self.cluster_version_set(Message::decode(body)?),
            RequestKind::ClusterMemberAttrSet => {
                self.cluster_member_attr_set(Message::decode(body)?)
            }
            RequestKind::DowngradeInfoSet => self.downgrade_info_set(Message::decode(body)?),
            // etcd's own tests put it in logs; it does nothing there either.
            RequestKind::DowngradeVersionTest => Ok(Reply::Empty),
            RequestKind::AuthEnable
            | RequestKind::AuthDisable
            | RequestKind::Authenticate
            | RequestKind::AuthStatus
            | RequestKind::AuthUserAdd
            | RequestKind::AuthUserDelete
            | RequestKind::AuthUserGet
            | RequestKind::AuthUserChangePassword
            | RequestKind::AuthUserGrantRole
            | RequestKind::AuthUserRevokeRole
            | RequestKind::AuthUserList
            | RequestKind::AuthRoleList
            | RequestKind::AuthRoleAdd
            | RequestKind::AuthRoleDelete
            | RequestKind::AuthRoleGet
            | RequestKind::AuthRoleGrantPermission
            | RequestKind::AuthRoleRevokePermission => Err(Error::NotCapable.into()),
        })
    }

    fn range(&mut self, request: &RangeRequest) -> Result<Reply, ReadError> {
        match self.answer {
            Answer::Wanted => self.store.mvcc.range(request).map(Reply::Range),
            Answer::Unwanted => {
                self.store.mvcc.revision_for(request.revision)?;
                Ok(Reply::Empty)
            }
        }
    }
}
