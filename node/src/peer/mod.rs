//! The members' connections to each other: etcd's peer protocol over HTTP/1.1, with TLS where the
//! addresses say `https`.
//!
//! ```text
//!              we dial, the peer sends                      the peer dials, we send
//!   GET  /raft/stream/msgapp/<us>  ──► reader ─┐   ┌─ outbox ◄── GET /raft/stream/msgapp/<peer>
//!   GET  /raft/stream/message/<us> ──► reader ─┤   ├─ outbox ◄── GET /raft/stream/message/<peer>
//!                                              ▼   │
//!                                  Inbox ◄── member ── Transport::send
//!                                                  ├─ pipeline ──► POST /raft          (no stream)
//!                                                  └───────────► POST /raft/snapshot (one each)
//! ```
//!
//! It decides nothing about Raft: it carries messages, drops those that it cannot carry and says
//! so. Nothing is sent twice: a message that was handed to a connection is gone with it.
//!
//! Invariants:
//! - [`Transport::send`] never waits and never calls the [`Inbox`], so the member may call it while
//!   it holds its own lock. The inbox is only called by the transport's own thread.
//! - A message reaches the inbox only when it is for this member, from a peer of this cluster that
//!   was not removed, and of a kind that travels. On a stream it comes from the member that was
//!   dialled; only what members forward for others may name another sender.
//! - A member that is not known here may still POST: it may be the leader of a cluster that this
//!   member has to catch up with. Its streams are refused until it is known.
//! - Nobody is heard whose claim contradicts what is remembered of it, neither who asks nor who
//!   answers; who is new is heard once that is written down ([`quorate_member::identity`]).
//! - Everything that waits is bounded in number and bytes; what does not fit is dropped.

mod body;
pub mod client;
mod dial;
mod identity;
mod inbox;
mod of_member;
mod outbox;
mod pipeline;
mod probe;
mod questions;
mod reader;
mod receive_snapshot;
mod remote;
mod send_snapshot;
mod serve;
mod settings;
mod socket;
mod stream_body;
mod transport;

#[cfg(test)]
mod tests;

pub use dial::Dialer;
pub use inbox::{Answer, Inbox, Versions};
pub use send_snapshot::{SnapshotSource, SourceError};
pub use settings::{PeerInfo, Settings};
pub use transport::{StartError, Transport};
