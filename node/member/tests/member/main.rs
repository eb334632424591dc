//! A member's directory, log, store and requests, on a disk that fails.

mod directory;
mod log_writer;
mod opening;
mod routes;
mod work;
