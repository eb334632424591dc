//! The operator's tests.

mod api_server;
mod backup;
mod build;
mod certificates;
mod charts;
mod definitions;
mod failures;
mod golden;
mod histories;
mod model;
mod plan;
mod scenarios;
mod world;
