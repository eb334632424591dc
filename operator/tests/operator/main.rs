//! The operator's tests.

mod build;
mod certificates;
mod definitions;
mod golden;
mod model;
mod plan;
