//! What the resources' definitions take and refuse.

mod defaults;
mod examples;
mod rules;
mod shape;
