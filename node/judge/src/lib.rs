//! What clients ask and see, and whether one etcd could have answered so.
//!
//! Two kinds of runs are judged here by the same rules: the simulator's, in virtual time, and those
//! of real processes. Both drive the same clients and write down the same history.
//!
//! ```text
//!   random ─► client ─► requests ─► (a cluster, simulated or real) ─► answers ─┐
//!                 ▲                                                 wire       │
//!                 └────────────────────────────────────────────────────────────┤
//!                                                                              ▼
//!   history ─► check::linearizable ─► Linearization ─► check::{serializable, watch, lease,
//!                                                              durability} ─► Violation
//! ```
//! Nothing here reads a clock, starts a thread, sends or waits; and nothing here knows the
//! server's code, so that no mistake of the server can be one of its judge as well.

pub mod check;
pub mod client;
pub mod history;
pub mod model;
pub mod random;
pub mod wire;
