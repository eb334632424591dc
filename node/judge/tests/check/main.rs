//! The judges, judged: histories that must pass, and every kind of lie that must not.
//!
//! Cases that begin with a B number are bugs that etcd had, as a client or an operator saw them.

mod brute;
mod generate;
mod lease_bugs;
mod member_bugs;
mod model_quirks;
mod order_bugs;
mod raft_bugs;
mod random_histories;
mod script;
mod watch_bugs;
