//! The state machine against a naive model of etcd, against scripts, against itself, and against
//! genuine etcd.

mod determinism;
mod generate;
mod genuine;
mod lease;
mod members;
mod model;
mod model_test;
mod ours;
mod request;
mod scripts;
mod stream;
mod tables;
