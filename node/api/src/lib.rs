//! The wire contract of etcd v3.7.1: messages, replicated requests, error texts and codes.
//!
//! ```text
//!   proto/*.proto ──prost──▶ src/gen/*.rs ──▶ the modules below, named as the packages are
//! ```
//!
//! It never depends on a transport, an executor or a clock: the store and the log build on it, and
//! a transport's features would leak into them.
//!
//! Invariants:
//! - Field names, numbers and presence are etcd's, so what is encoded here equals what etcd 3.7.1
//!   encodes from the same values, byte for byte. proto3 fields are left out when zero;
//!   `raftpb`, `walpb`, `snappb` and `etcdserverpb::Metadata` are proto2 and keep presence as
//!   `Option`: `Some(0)` is on the wire, `None` is not, and both read as zero. One exception: a
//!   `Compare` with a `range_end` has its two last fields in the other order.
//! - `bytes` fields are [`bytes::Bytes`], so that decoding from a `Bytes` shares it.
//! - The generated code is checked in, and a test regenerates and compares it.
//! - Rust names follow Rust's case: `ID` is `id`, `peerURLs` is `peer_urls`, `grantedTTL` is
//!   `granted_ttl`. The names of the `.proto` files are those of the JSON gateway.
//!
//! Absent on purpose: `versionpb` only annotates descriptors and puts nothing on the wire, and so
//! do the gateway's HTTP options.

mod error;
pub mod identity;
pub mod limits;
pub mod member_json;
pub mod peer;
pub mod request;
pub mod urls;
pub mod version;

pub use error::{Code, Error};

/// Wraps one generated file: the documentation of messages is in their `.proto` files.
macro_rules! generated {
    ($(#[$doc:meta])* $module:ident, $file:literal) => {
        $(#[$doc])*
        #[allow(missing_docs, reason = "generated; the .proto files carry the comments")]
        #[allow(unreachable_pub, clippy::all, reason = "generated")]
        #[rustfmt::skip]
        pub mod $module {
            include!(concat!("gen/", $file, ".rs"));
        }
    };
}

generated!(
    /// The services of a member and its replicated requests.
    etcdserverpb,
    "etcdserverpb"
);
generated!(
    /// Keys with their revisions, and events.
    mvccpb,
    "mvccpb"
);
generated!(
    /// Users, roles and permissions as they are stored.
    authpb,
    "authpb"
);
generated!(
    /// Membership as the log carries it.
    membershippb,
    "membershippb"
);
generated!(
    /// The Raft protocol between members. Every field has presence; getters read absent as zero.
    raftpb,
    "raftpb"
);
generated!(
    /// Leases as they are stored, and the lease question among members.
    leasepb,
    "leasepb"
);
generated!(
    /// The envelope of a `.snap` file.
    snappb,
    "snappb"
);
generated!(
    /// Records of etcd's write-ahead log.
    walpb,
    "walpb"
);
generated!(
    /// The Lock service.
    v3lockpb,
    "v3lockpb"
);
generated!(
    /// The Election service.
    v3electionpb,
    "v3electionpb"
);
generated!(
    /// gRPC's health check, `grpc.health.v1`.
    healthpb,
    "grpc.health.v1"
);
