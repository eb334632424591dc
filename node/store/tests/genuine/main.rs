//! The store against the genuine programs: bbolt, etcdutl, etcdctl, etcd.
//!
//! They are looked for where `e2e/genuine-etcd` puts them. Without them these tests only say,
//! loudly, that they were skipped.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as it does")]
#![allow(clippy::disallowed_methods, reason = "other processes are waited for in real time")]

mod programs;
mod snapshot;
