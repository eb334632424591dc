//! The log on a disk that fails, and on a real one.
#![allow(clippy::unwrap_used, reason = "the panic of a test is its report")]

mod crash;
mod damage;
mod full;
mod inspect;
mod model;
mod proof;
mod real;
mod repair;
mod retention;
mod support;
