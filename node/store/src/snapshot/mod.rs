//! A store as a bbolt file that genuine etcd tools and members accept, and back.
//!
//! A snapshot for a follower, for a client and for a backup is one thing: the file of
//! [`crate::bbolt`] with etcd's buckets, at one applied index. A client's is followed by the
//! SHA-256 of the file.
//!
//! ```text
//!   store at an applied index                              file on the receiver's disk
//!   ┌──────────────────────────┐  Chunk(bytes) …          ┌───────────────────────────┐
//!   │ small buckets, copied    │──► SnapshotStream ──────►│ SnapshotFile              │
//!   │ revision log, pinned     │    pass 1: sizes         │ Verification, then        │
//!   │                          │    pass 2: bytes         │ Install into the store    │
//!   └──────────────────────────┘                          └───────────────────────────┘
//!
//!   bucket key:  main u64 │ '_' │ sub u64 [│ 't']  →  mvccpb.KeyValue       (big-endian)
//! ```
//!
//! It never holds the data in memory, only one chunk of it, never changes the log that it streams
//! from, and needs the store only at the moment of the pin.
//!
//! Invariants:
//! - What is streamed is what was sized, for both passes read the same pin, and the writer compares
//!   the extents; a record that cannot be read ends the stream in an error.
//! - Bodies travel as they are, so that HashKV is equal on both sides.
//! - A received file is verified before anything of it is used: its digest if it has one, its
//!   pages, keys and records on the way; what is wrong is named.

mod auth_defaults;
mod buckets;
mod capture;
mod conf_state;
mod file;
mod install;
mod meta;
pub(crate) mod record_key;
mod status;
mod stream;

#[cfg(test)]
mod tests;

pub use buckets::{BUCKETS, KEY_BUCKET, META_BUCKET, SmallBuckets, UnknownBucket};
pub use capture::{capture, small_buckets};
pub use file::{DigestRule, FileError, Records, SnapshotFile};
pub use install::{Install, InstallError, NewCluster, Progress, Verification};
pub use meta::{Meta, MetaError};
pub use status::{HashError, Status, hash_kv, status};
pub use stream::{SnapshotStream, Step, StreamError, Trailer};
