//! Names of other objects in the same namespace.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest name of a cluster. Its longest label is the revision of a member's StatefulSet,
/// `<cluster>-<7 digits>-<10 characters>`, and a label has 63 characters at most.
pub const CLUSTER_NAME_MAX: usize = 40;

/// The name of an object in the resource's own namespace.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
#[schemars(inline)]
pub struct LocalName(
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub String,
);

impl std::fmt::Display for LocalName {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}
