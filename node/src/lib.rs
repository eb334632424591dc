//! The server process and its commands: the only part that touches clock, sockets and environment.
//!
//! ```text
//!   words, ETCD_* ──► args ──► config ──► server
//!   quorate dev ────► dev      processes of this program, as members of a cluster
//!   quorate log ────► inspect  a member's log, read or repaired
//!   quorate snapshot ► backup  backups made, looked at, and made members of (founding)
//!   quorate recover ─► recovery   the best of what is left of a cluster, made a new one
//! ```
//!
//! It decides nothing that the simulator should see: decisions are the replica's, the store's and
//! Raft's.

mod allocator;
pub mod args;
mod backup;
pub mod client_port;
mod comparison;
pub mod config;
mod dev;
mod founding;
mod grpc;
mod http;
mod inspect;
mod introduction;
pub mod logging;
pub mod member;
mod memory;
pub mod metrics;
mod pace;
pub mod peer;
mod program;
mod recovery;
pub mod server;
mod stopping;
pub mod tls;

pub use program::run;
