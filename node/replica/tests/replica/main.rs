//! One member's decisions, and those of small clusters, with a network and disks that do only
//! what the test lets them do.
#![allow(clippy::unwrap_used, reason = "the panic of a test is its report")]

mod boot;
mod cluster;
mod durability;
mod leases;
mod leaving;
mod log_and_snapshots;
mod membership;
mod proposals;
mod quota;
mod reads;
mod repair;
mod wire;
