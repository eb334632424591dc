//! A cluster: from the resource to the objects that make it up.
//!
//! ```text
//!   observe ─▶ validate ─▶ plan ─▶ status ─▶ build ─▶ apply      one step, then again
//! ```
//!
//! [`observed`], [`validate`], [`plan`], [`status`] and [`build`] are values in, values out.

pub mod build;
pub mod memory;
pub mod names;
pub mod observed;
pub mod plan;
pub mod status;
pub mod validate;
pub mod view;
