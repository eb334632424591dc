//! Steps that others know how to take.

use super::{StepError, Work};
use crate::cluster::build::Member;
use crate::cluster::observed::Number;
use crate::{backup, recovery};

impl Work<'_> {
    /// Makes the backup that comes before another version.
    pub(super) async fn back_up(&self) -> Result<(), StepError> {
        Ok(backup::before_upgrade(self.operator, self.cluster).await?)
    }

    /// Looks at what stopped members' volumes hold.
    pub(super) async fn inspect(&self, numbers: &[Number]) -> Result<(), StepError> {
        let cluster_id = self.observed.record.cluster_id;
        let cluster_id = cluster_id.ok_or(StepError::Changed("the cluster has not begun"))?;
        let objects = &self.operator.objects;
        Ok(recovery::inspect(objects, self.blueprint, cluster_id, numbers).await?)
    }

    /// Makes the first member of a new cluster of a stopped member's volume.
    pub(super) async fn recover(
        &mut self,
        survivor: Number,
        number: Number,
    ) -> Result<(), StepError> {
        self.ensure_certificates(number).await?;
        let claim = self.blueprint.names.claim(survivor);
        self.write_set(&Member::heir(number, claim), None).await
    }

    /// A cluster's id is written down. If it is that of one that was rebuilt, what was looked at
    /// for that is not needed any more.
    pub(super) async fn latch(&self) -> Result<(), StepError> {
        if !recovery::is_under_way(&self.observed.record) {
            return Ok(());
        }
        Ok(recovery::clear(&self.operator.objects, self.blueprint).await?)
    }
}
