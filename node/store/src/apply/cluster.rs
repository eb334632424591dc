//! What the members agree on: ClusterVersionSet, ClusterMemberAttrSet, DowngradeInfoSet.

use quorate_api::membershippb::{
    ClusterMemberAttrSetRequest, ClusterVersionSetRequest, DowngradeInfoSetRequest,
};

use super::Context;
use crate::cluster::Downgrade;
use crate::entry::{Reply, Touched};
use crate::mvcc::ReadError;

impl Context<'_> {
    pub(super) fn cluster_version_set(
        &mut self,
        request: ClusterVersionSetRequest,
    ) -> Result<Reply, ReadError> {
        self.store.tables.cluster.version = Some(request.ver);
        self.changes.cluster = Touched::Yes;
        Ok(Reply::Empty)
    }

    /// A member says its name and its client URLs. One that was removed meanwhile is passed over.
    pub(super) fn cluster_member_attr_set(
        &mut self,
        request: ClusterMemberAttrSetRequest,
    ) -> Result<Reply, ReadError> {
        let ClusterMemberAttrSetRequest { member_id, member_attributes } = request;
        let attributes = member_attributes.unwrap_or_default();
        let members = &mut self.store.tables.members;
        if members.set_attributes(member_id, attributes.name, attributes.client_urls) {
            self.changes.members = Touched::Yes;
        }
        Ok(Reply::Empty)
    }

    pub(super) fn downgrade_info_set(
        &mut self,
        request: DowngradeInfoSetRequest,
    ) -> Result<Reply, ReadError> {
        let DowngradeInfoSetRequest { enabled, ver } = request;
        let target_version = if enabled { ver } else { String::new() };
        self.store.tables.cluster.downgrade = Some(Downgrade { target_version, enabled });
        self.changes.cluster = Touched::Yes;
        Ok(Reply::Empty)
    }
}
