//! A member's directory, log, store and requests, on a disk that fails.
#![allow(clippy::unwrap_used, reason = "the panic of a test is its report")]

mod alone;
mod contradictions;
mod directory;
mod founding;
mod identity;
mod log_writer;
mod opening;
mod routes;
mod work;
