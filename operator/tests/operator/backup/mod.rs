//! Backups: what is decided about them, by tables; and how they are carried, by real processes.

mod azure;
mod clouds;
mod gcs;
mod plan;
mod pods;
mod process;
mod restore;
mod s3;
mod transfer;
mod upkeep;
