//! The tests of consensus: etcd's data-driven cases, our own scripts in the same format, the
//! properties of the Raft paper over a small network, and quick checks of quorum and membership
//! against slow references.

mod data;
mod datadriven;
mod describe;
mod environment;
mod hostile;
mod interaction;
mod network;
mod paper;
mod quick;
mod scripts;
mod storage;
