//! The operator's tests.

mod backup;
mod build;
mod certificates;
mod charts;
mod definitions;
mod golden;
mod model;
mod plan;
