//! A cluster: from the resource to the objects that make it up.
//!
//! ```text
//!   live, members ─▶ observe ─▶ validate ─▶ plan ─▶ status ─▶ build ─▶ apply   one step, then again
//!        asks          pure       pure      pure     pure      pure    writes
//! ```
//!
//! [`observed`], [`observe`], [`validate`], [`plan`], [`status`] and [`build`] are values in, values
//! out. [`reconcile()`] is one look: it asks, has them decide, and writes.

mod apply;
pub mod build;
mod certificates;
mod homes;
mod keep;
pub mod live;
pub mod memory;
pub mod names;
pub mod nodes;
pub mod observe;
pub mod observed;
pub mod plan;
mod reconcile;
pub mod status;
mod tell;
pub mod validate;
pub mod view;

pub use apply::StepError;
pub use reconcile::{Error, Next, reconcile};
