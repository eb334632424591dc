//! LeaseGrant, LeaseRevoke, LeaseCheckpoint.

use quorate_api::Error;
use quorate_api::etcdserverpb::{
    LeaseCheckpointRequest, LeaseCheckpointResponse, LeaseGrantRequest, LeaseGrantResponse,
    LeaseRevokeRequest, LeaseRevokeResponse,
};

use super::Context;
use crate::entry::Reply;
use crate::lease::{LeaseChange, TTL_SECONDS_MAX};
use crate::mvcc::ReadError;

impl Context<'_> {
    pub(super) fn lease_grant(&mut self, request: &LeaseGrantRequest) -> Result<Reply, ReadError> {
        let LeaseGrantRequest { ttl, id } = *request;
        let leases = &mut self.store.tables.leases;
        // The server picks an id before it proposes.
        if id == 0 {
            return Err(Error::LeaseNotFound.into());
        }
        if ttl > TTL_SECONDS_MAX {
            return Err(Error::LeaseTtlTooLarge.into());
        }
        if leases.get(id).is_some() {
            return Err(Error::LeaseExists.into());
        }
        let ttl = ttl.max(self.store.options.lease_ttl_seconds_min);
        leases.insert(id, ttl, 0);
        self.changes.leases.push(LeaseChange::Granted { id, ttl_seconds: ttl });
        let (header, error) = (self.header(), String::new());
        Ok(Reply::LeaseGrant(LeaseGrantResponse { header, id, ttl, error }))
    }

    /// Remove a lease, and its keys in key order in one revision.
    pub(super) fn lease_revoke(
        &mut self,
        request: &LeaseRevokeRequest,
    ) -> Result<Reply, ReadError> {
        let id = request.id;
        let keys = self.store.tables.leases.remove(id).ok_or(Error::LeaseNotFound)?;
        for key in &keys {
            self.delete_key(key);
        }
        self.commit();
        self.changes.leases.push(LeaseChange::Revoked { id });
        Ok(Reply::LeaseRevoke(LeaseRevokeResponse { header: self.header() }))
    }

    /// Store what leases have left. Ones that are gone are passed over.
    pub(super) fn lease_checkpoint(
        &mut self,
        request: &LeaseCheckpointRequest,
    ) -> Result<Reply, ReadError> {
        for checkpoint in &request.checkpoints {
            let (id, remaining_seconds) = (checkpoint.id, checkpoint.remaining_ttl);
            if self.store.tables.leases.checkpoint(id, remaining_seconds) {
                self.changes.leases.push(LeaseChange::Checkpointed { id, remaining_seconds });
            }
        }
        Ok(Reply::LeaseCheckpoint(LeaseCheckpointResponse { header: self.header() }))
    }
}
