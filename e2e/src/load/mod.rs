//! A light load generator: unary calls and streams of gRPC over HTTP/2, written by hand.
//!
//! ```text
//!   drive ── how many at once, at which rate, until when
//!     └─ Pool ── one thread, one poll, many connections
//!          └─ Connection ── frames out, frames in, flow control
//! ```
//! An operation costs a few microseconds of CPU, so that the servers are measured and not the
//! client. The price is that only what a benchmark needs is understood: headers are compressed
//! once per connection and never decoded, an answer without a message is a failure without a text
//! (ask again with `quorate-client` to hear why).
//!
//! It never opens a connection by itself in the middle of a measurement and never repeats a call.

mod connection;
pub(crate) mod count;
mod deaf;
mod drive;
mod frame;
mod pool;
mod request;
mod times;

pub(crate) use connection::Keep;
pub(crate) use deaf::Deaf;
pub(crate) use drive::{Load, Outcome, Pace, Until, drive};
pub(crate) use pool::{Next, Pool};
pub(crate) use request::{Keys, framed, range, txn_of_puts, value, watch};
pub(crate) use times::Times;

/// The paths of the calls that are measured.
pub(crate) mod path {
    pub(crate) const PUT: &str = "/etcdserverpb.KV/Put";
    pub(crate) const RANGE: &str = "/etcdserverpb.KV/Range";
    pub(crate) const TXN: &str = "/etcdserverpb.KV/Txn";
    pub(crate) const WATCH: &str = "/etcdserverpb.Watch/Watch";
    pub(crate) const SNAPSHOT: &str = "/etcdserverpb.Maintenance/Snapshot";
    pub(crate) const LEASE_GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
    pub(crate) const LEASE_REVOKE: &str = "/etcdserverpb.Lease/LeaseRevoke";
}
