//! What the resources' definitions take and refuse.

mod defaults;
mod rules;
mod shape;
