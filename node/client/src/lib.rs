//! A thin typed client of the etcd v3 API, for tools, tests and the operator.
//!
//! ```text
//!   Client ──▶ endpoint 0   the one that answered last is asked first;
//!          └─▶ endpoint 1   one that cannot be reached is left for the next
//! ```
//!
//! It never serves, caches, or hides an answer: each method is one call of one service, with the
//! messages of [`quorate_api`]. Connections are made when first used: plain HTTP/2, or
//! whatever the caller makes ([`Client::connect_with`]), so that it knows nothing of TLS.
//!
//! Invariants:
//! - Every call but a stream ends within its deadline, on each endpoint that it tries.
//! - A call that changes something is sent at most once. Only one that was never sent, or one that
//!   only reads, goes to another endpoint.
//! - An error whose text is etcd's is [`Error::Etcd`], whatever its code on the wire.

mod client;
mod cluster;
mod error;
mod kv;
mod lease;
mod maintenance;
mod watch;

pub use client::{Client, Options, Responses};
pub use error::Error;
pub use watch::Watch;

/// The generated stubs; the messages are those of [`quorate_api`].
mod stubs {
    #![allow(missing_docs, unreachable_pub, dead_code, clippy::all, reason = "generated")]

    pub(crate) mod etcdserverpb {
        include!("gen/etcdserverpb.rs");
    }

    pub(crate) mod healthpb {
        include!("gen/grpc.health.v1.rs");
    }
}
