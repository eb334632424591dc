//! The store against the genuine programs: bbolt, etcdutl, etcdctl, etcd.
//!
//! They are looked for where `e2e/genuine-etcd` puts them. Without them these tests only say,
//! loudly, that they were skipped.

mod programs;
mod snapshot;
