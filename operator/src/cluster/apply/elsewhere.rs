//! Steps that others know how to take.

use super::{StepError, Work};
use crate::cluster::observed::Number;

impl Work<'_> {
    /// Makes the backup that comes before another version.
    #[expect(clippy::unused_async, reason = "steps are asynchronous")]
    pub(super) async fn back_up(&self) -> Result<(), StepError> {
        Err(StepError::Unsupported)
    }

    /// Looks at what stopped members' volumes hold.
    #[expect(clippy::unused_async, reason = "steps are asynchronous")]
    pub(super) async fn inspect(&self, _: &[Number]) -> Result<(), StepError> {
        Err(StepError::Unsupported)
    }

    /// Makes the first member of a new cluster of a stopped member's volume.
    #[expect(clippy::unused_async, reason = "steps are asynchronous")]
    pub(super) async fn recover(&self, _: Number, _: Number) -> Result<(), StepError> {
        Err(StepError::Unsupported)
    }
}
