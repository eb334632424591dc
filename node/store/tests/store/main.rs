//! The state machine against a naive model of etcd, against scripts, against itself, and against
//! genuine etcd.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod compaction_hash;
mod determinism;
mod generate;
mod genuine;
mod lease;
mod members;
mod model;
mod model_test;
mod ours;
mod request;
mod restart;
mod scripts;
mod sharing;
mod stream;
mod tables;
