//! The operator's tests.

mod definitions;
mod model;
mod plan;
