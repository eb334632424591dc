//! What the scenarios on Kubernetes do not say in a shell: `e2e/run` starts these.

mod connector;
pub(crate) mod definitions;
pub(crate) mod rights;
pub(crate) mod writer;
